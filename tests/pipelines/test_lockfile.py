"""dvc.lock, written entry by entry: the bytes of DVC's own writer, and left to it where the file is not as DVC leaves it."""

from __future__ import annotations

import io
import re

import pytest

from pipelines import lockfile
from tests.pipelines.conftest import ROOT

ENTRY = {"cmd": "python work.py train vae --read data/prepared/digits --out data/models/vae --with a-very-long-line that-is-folded here",
         "deps": [{"path": "work.py", "hash": "md5", "md5": "0123", "size": 12}],
         "params": {"params.yaml": {"on": "off", "n": 0.5, "empty": {}, "list": [], "rates": [0.1, 1e-05], "text": "yes", "octal": "012",
                                    "none": None, "flag": True, "colon": "a: b", "hash": "a #b", "é": "ü"}},
         "outs": [{"path": "data/models/vae", "hash": "md5", "md5": "ab.dir", "size": 3, "nfiles": 1}]}


def by_dvc(text, changed):
    """What DVC's own writer makes of it."""
    from dvc.utils.serialize._yaml import _dump, parse_yaml_for_update

    data, stream = parse_yaml_for_update(text, "dvc.lock"), io.StringIO()
    data["stages"].update(changed)
    _dump(data, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def real():
    """dvc.lock as DVC left it, of some of its stages: DVC's writer takes 0.7 s for all."""
    head, *stages = re.split(r"(?m)^(?=  \S)", (ROOT / "dvc.lock").read_text(encoding="utf-8"))
    return head + "".join(text for at, text in enumerate(stages) if at < 8 or text.startswith(("  train@vae:", "  report:")))


@pytest.mark.parametrize("name", ["train@vae", "a new one", "plain", "new@a-b.c_d"])
def test_an_entry_is_written_as_dvc_writes_it(real, name):
    found = lockfile.replaced(real, {name: ENTRY})
    assert found in (None, by_dvc(real, {name: ENTRY})) and "  train@vae:\n" in real and "  report:\n" in real
    if " " not in name:
        assert found is not None  # written here, not left to DVC


@pytest.mark.parametrize("change", [
    lambda text: text.replace("schema: '2.0'", 'schema: "2.0"'), lambda text: text + "datasets: []\n", lambda text: "# mine\n" + text,
    lambda text: text.replace("    cmd:", "\n    cmd:", 1), lambda text: text[:-1], lambda text: text.replace("\n", "\r\n"),
    lambda text: "schema: '2.0'\nstages: {}\n", lambda text: "", lambda text: text.replace("  report:", "  'report':"),
])
def test_what_dvc_would_not_have_written_is_left_to_dvc(real, change):
    assert change(real) != real and lockfile.replaced(change(real), {"train@vae": ENTRY}) is None


@pytest.mark.parametrize("text", ["a\n\nb", "a\n  b: c\n", "x " * 100, "'", "\t", "- a", "é " * 60])
def test_text_of_any_kind(real, text):
    changed = {"train@vae": {"cmd": text}}
    assert lockfile.replaced(real, changed) in (None, by_dvc(real, changed))


def test_order_and_settle(tmp_path):
    text = by_dvc(lockfile.HEAD + "  a:\n    cmd: a\n  b:\n    cmd: b\n", {name: {"cmd": name} for name in "dce"})
    (tmp_path / "dvc.lock").write_text(text)
    assert lockfile.order(tmp_path) == list("abdce") and lockfile.order(tmp_path / "nowhere") == []
    lockfile.settle(tmp_path, "ab", "edcba")
    assert lockfile.order(tmp_path) == list("abedc")
    (tmp_path / "dvc.lock").write_text("# mine\n" + (tmp_path / "dvc.lock").read_text())
    lockfile.finish(tmp_path, "bacde")  # nothing was noted
    assert lockfile.order(tmp_path) == list("abedc")
    lockfile.begin(tmp_path)
    (tmp_path / "dvc.lock.123").write_text("half")
    lockfile.settle(tmp_path, [], "edcba")  # a flow that was killed left what ended first
    lockfile.begin(tmp_path)
    lockfile.finish(tmp_path, "edcba")
    assert lockfile.order(tmp_path) == list("abedc") and not list(tmp_path.glob("dvc.lock.*"))
    lockfile.settle(tmp_path, [], "abcde")
    assert (tmp_path / "dvc.lock").read_text() == "# mine\n" + by_dvc(lockfile.HEAD + "  a:\n    cmd: a\n", {n: {"cmd": n} for n in "bcde"})


def test_a_flow_that_failed_leaves_no_trace_in_the_order(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_text(lockfile.HEAD + "  a:\n    cmd: a\n")
    lockfile.begin(tmp_path)
    path.write_text(by_dvc(path.read_text(), {name: {"cmd": name} for name in "dc"}))
    lockfile.finish(tmp_path, "abcd", whole=False)
    assert lockfile.order(tmp_path) == list("acd")
    lockfile.begin(tmp_path)
    path.write_text(by_dvc(path.read_text(), {"b": {"cmd": "b"}}))
    lockfile.finish(tmp_path, "abcd")
    assert lockfile.order(tmp_path) == list("abcd") and not (tmp_path / lockfile.NOTE).exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        lockfile.write(str(path), "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
