"""The report that is rendered after a failure: what is old is left out, what went wrong is named."""

from __future__ import annotations

import sys

import pytest

from stages.report.__main__ import main
from stages.settings import InputError


def render(folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["report", "--names", "names.json", *arguments])
    main()
    return {path.name: path.read_text() for path in [folder / "reports/index.html", *(folder / "reports/pages").glob("*.html")]}


def test_what_failed_is_named_and_what_is_old_left_out(make, monkeypatch):
    folder = make()
    before = render(folder, monkeypatch)
    assert "Not everything ran" not in before["index.html"]
    pages = render(folder, monkeypatch, "--without", "vae", "--without", "runs.gan", "--without", "datasets.digits",
                   "--failed", "train@vae: error: <b>NaN</b>")
    assert "Not everything ran" in pages["index.html"] and "<li>train@vae: error: &lt;b&gt;NaN&lt;/b&gt;</li>" in pages["index.html"]
    nothing = "there is no result for these settings"
    assert nothing in pages["run-vae.html"] and nothing in pages["run-gan.html"] and nothing not in before["run-vae.html"]
    assert pages["validation.html"].count("validation/digits/index.html") < before["validation.html"].count("validation/digits/index.html")


@pytest.mark.parametrize(("key", "line"), [("vea", "--without: unknown run 'vea'"), ("runs.vea", "--without: unknown run 'vea'"),
                                           ("datasets.x", "--without: unknown dataset 'x'"),
                                           ("split.test", "--without split.test: unknown section 'split'")])
def test_a_name_that_is_not_there_is_one_line(make, monkeypatch, key, line):
    with pytest.raises(InputError, match=line):
        render(make(), monkeypatch, "--without", key)
