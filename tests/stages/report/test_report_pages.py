"""The report as files: what it shows, that it stands on its own, that data cannot break out of it, and that bad input is one line."""

import json
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from stages.command import USAGE, command
from stages.report import __main__ as report

HOSTILE = """"' onload=alert(1)><script>alert(1)</script><img src=http://example.org/x.png>"""
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Elements of a page in order, with attributes, parents and text."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.elements, self.open, self.texts = path, [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"{self.path.name}: </{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attrs for name, attrs, _ in self.elements if name == tag]


def render(folder: Path, monkeypatch) -> dict[str, Page]:
    reports = folder / "reports"
    given = {"reports": reports, "params": folder / "params.yaml", "names": folder / "names.json", "benches": folder / "benches"}
    monkeypatch.setattr(sys, "argv", ["report", *(part for name, path in given.items() for part in (f"--{name}", str(path)))])
    command(report.main)
    return {str(p.relative_to(reports)): Page(p) for p in [reports / "index.html", *sorted((reports / "pages").iterdir())]}


def refused(folder: Path, monkeypatch, capsys) -> str:
    """The one line that the report ends with."""
    with pytest.raises(SystemExit) as end:
        render(folder, monkeypatch)
    assert end.value.code == USAGE
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    return line


def test_every_run_dataset_and_metric_has_its_place(make, monkeypatch):
    pages = render(make(), monkeypatch)
    assert set(pages) == {
        "index.html",
        "pages/claims.html",
        "pages/goals.html",
        "pages/questions.html",
        "pages/studies.html",
        "pages/validation.html",
        "pages/glossary.html",
        *(f"pages/domain-{d}.html" for d in ("receipts", "corpora", "graphs", "images")),
        *(f"pages/run-{r}.html" for r in ("skipgram", "prod2vec", "deepwalk", "transe", "classifier", "vae", "gan")),
    }
    index = pages["index.html"].text
    assert "behind co-counts" in index and "ahead of Gaussian" in index and "43.8 ± 1.8" in index
    assert "4 of 5 datasets passed" in index
    run = pages["pages/run-vae.html"]
    for shown in (
        "3f9a0c",
        "12,345",
        "model.dimension 32",
        "train.threads 2",
        "Linear probe",
        "0.967",
        "Reproducible to the bit yes",
        "3 seeds",
    ):
        assert shown in run.text, shown
    assert "train.threads 1" not in run.text  # the run's own setting wins over the common one
    assert [img["alt"] for img in run.all("img")] == ["squares", "A grid of random grey squares"]
    assert [(img["width"], img["height"]) for img in run.all("img")] == [("64", "32"), ("320", "160")]
    assert len([a for a in run.all("svg") if a.get("role") == "img"]) == 2  # loss with its validation, and kl
    images = pages["pages/domain-images.html"].text
    assert "floor" in images and "Accuracy" in images and " KL " not in images  # KL stands at one run alone
    assert "ends are nodes" in pages["pages/validation.html"].text and "17" in pages["pages/validation.html"].text
    assert "44.2 ± 1.8" in run.text and "over 3 seeds" in run.text and "On public data" in pages["pages/studies.html"].text
    assert "reported by vae , gan" in pages["pages/glossary.html"].text


def test_a_collapsed_code_is_called_so_and_no_other(make, monkeypatch):
    folder = make()
    path = folder / "reports" / "metrics" / "vae.json"
    given = json.loads(path.read_text())
    for units, kl, shown in ((0.0, 0.5, "0 active units and a KL of 0.500 nats"), (3.0, 0.02, "3 active units and a KL of 0.0200 nats"),
                             (None, 0.02, "with a KL of 0.0200 nats"), (1.0, 0.2, None), (None, 4.0, None)):
        given["kl"]["mean"] = kl
        given.pop("active_units", None)
        path.write_text(json.dumps(given if units is None else {**given, "active_units": {"mean": units, "sd": None, "n": 1}}))
        pages = render(folder, monkeypatch)
        text = pages["pages/run-vae.html"].text
        assert ("The code has collapsed" in text) == (shown is not None) and (shown or "") in text
        assert "collapsed" not in pages["pages/run-gan.html"].text  # has neither metric


def test_text_from_data_is_escaped_everywhere(make, monkeypatch):
    pages = render(make(mark=HOSTILE), monkeypatch)
    for name, page in pages.items():
        assert [a.get("src", "").rpartition("/")[2] for a in page.all("script")] == ["charts.js"], name
        assert all(a["src"].endswith("grid.png") or a["src"].startswith("../study/") for a in page.all("img")), name
        assert not [key for _, attrs, _ in page.elements for key in attrs if key.startswith("on")], name
    for name in ("run-vae", "domain-graphs", "studies", "validation", "glossary", "../index"):
        name = f"pages/{name}.html".replace("pages/../", "")
        assert "<script>alert(1)</script>" in pages[name].text, name  # shown as the text that it is


def test_nothing_is_asked_from_outside_and_every_link_leads_somewhere(make, monkeypatch):
    folder = make()
    pages = render(folder, monkeypatch)
    ids = {page.path.resolve(): {attrs["id"] for _, attrs, _ in page.elements if "id" in attrs} for page in pages.values()}
    for name, page in pages.items():
        found = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
        assert len(found) == len(set(found)), f"{name}: an id stands twice"
        for _tag, attrs, _ in page.elements:
            for target in (attrs.get("href"), attrs.get("src")):
                if target is None or target.endswith(("provenance.html", "history.html")):
                    continue
                parts = urlsplit(target)
                assert not parts.scheme and not parts.netloc, (name, target)
                path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
                assert path.is_file(), (name, target)
                assert not parts.fragment or unquote(parts.fragment) in ids[path], (name, target)
            assert not {"srcset", "style", "action"} & set(attrs), name
    css = (folder / "reports/assets/style.css").read_text()
    assert "url(" not in css and "@import" not in css
    js = (folder / "reports/assets/charts.js").read_text().replace("http://www.w3.org/2000/svg", "")
    assert "http" not in js and "fetch" not in js and "innerHTML" not in js


def test_pages_are_made_for_keyboards_and_screen_readers(make, monkeypatch):
    for name, page in render(make(without=("gan",)), monkeypatch).items():
        assert page.all("html")[0]["lang"] == "en" and page.open == [], name
        levels = [int(tag[1]) for tag, *_ in page.elements if tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1 and levels.count(1) == 1, name
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (name, levels)
        assert {"header", "nav", "main", "footer"} <= {tag for tag, *_ in page.elements}, name
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}, name
        for attrs in page.all("div"):
            if attrs.get("class") == "scroll":
                assert attrs["role"] == "region" and attrs["tabindex"] == "0" and attrs["aria-label"], name
        assert all("scope" in attrs for attrs in page.all("th")), name
        tags = [tag for tag, *_ in page.elements]
        assert tags.count("table") == tags.count("caption"), name
        for _, _, parents in (e for e in page.elements if e[0] == "table"):
            assert "div" in parents or "article" in parents, name
        assert len([a for a in page.all("a") if a.get("aria-current") == "page"]) == (0 if "run-" in name else 1), name


def test_same_inputs_give_the_same_bytes(make, monkeypatch, tmp_path):
    folder = make()
    render(folder, monkeypatch)
    written = {p: p.read_bytes() for part in ("pages", "assets") for p in (folder / "reports" / part).iterdir()}
    index = (folder / "reports/index.html").read_bytes()
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    render(copy, monkeypatch)
    assert (copy / "reports/index.html").read_bytes() == index
    assert {p.name: p.read_bytes() for part in ("pages", "assets") for p in (copy / "reports" / part).iterdir()} == {
        p.name: v for p, v in written.items()
    }


def test_a_run_left_out_is_shown_as_missing_with_nothing_of_what_lies_there(make, monkeypatch, capsys):
    folder = make()
    (folder / "reports/samples/vae/details.json").write_text("broken: nobody reads it")
    arguments = ["report", "--reports", str(folder / "reports"), "--params", str(folder / "params.yaml"), "--without"]
    monkeypatch.setattr(sys, "argv", [*arguments, "vae", "--without", "gan"])
    command(report.main)
    index, run = (Page(folder / "reports" / name) for name in ("index.html", "pages/run-vae.html"))
    assert "2 without metrics" in index.text and "43.8" not in index.text and "ahead of Gaussian" not in index.text
    assert "Not run yet, or failed" in run.text and "43.8" not in run.text and not run.all("svg")
    assert all(img["src"].startswith("../study/") for img in run.all("img")), "what was published is another run"
    assert "0.975" in index.text  # the classifier on the same data stands
    monkeypatch.setattr(sys, "argv", [*arguments, "vea"])
    with pytest.raises(SystemExit):
        command(report.main)
    assert "--without: unknown run 'vea'" in capsys.readouterr().err


def test_a_run_without_metrics_is_named_and_the_rest_stands(make, monkeypatch):
    pages = render(make(without=("transe",)), monkeypatch)
    assert "transe" in pages["index.html"].text and "1 without metrics" in pages["index.html"].text
    assert "no result for these settings" in pages["pages/run-transe.html"].text
    assert "model.dimension" in pages["pages/run-transe.html"].text
    assert "No metrics (not run yet, or failed): transe" in pages["pages/domain-graphs.html"].text


def test_a_claim_shows_its_verdict_and_its_numbers_and_an_untested_one_says_so(make, monkeypatch):
    page = render(make(), monkeypatch)["pages/claims.html"]
    assert "does not hold" in page.text and "the statement" in page.text and "1.005" in page.text and "not tested yet" in page.text
    assert "at least infinite" in page.text and "Not tested yet, or only in a larger profile: C01, C02" in page.text


def test_a_claim_of_a_larger_profile_is_shown_with_the_verdict_of_all_of_its_kind(make, monkeypatch):
    page = render(make(), monkeypatch)["pages/claims.html"]
    assert "holds: 1, does not hold: 1, not decided at this scale: 0" in page.text
    assert "p of the claim 0.000100, after Holm's correction 0.00150" in page.text


def test_the_page_of_a_removed_run_vanishes(make, monkeypatch):
    folder = make()
    render(folder, monkeypatch)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    del params["runs"]["prod2vec"]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    pages = render(folder, monkeypatch)
    assert "pages/run-prod2vec.html" not in pages
    assert "Metrics without an entry in params.yaml , not shown: prod2vec" in pages["index.html"].text
    assert sorted(p.name for p in (folder / "reports").iterdir()) == [
        "assets",
        "claims",
        "curves",
        "index.html",
        "metrics",
        "pages",
        "paper",
        "samples",
        "study",
        "validation",
    ]


def test_an_empty_folder_gives_pages_that_say_so(make, monkeypatch):
    folder = make()
    shutil.rmtree(folder / "reports")
    (folder / "reports").mkdir()
    (folder / "names.json").unlink()
    pages = render(folder, monkeypatch)
    assert "No run has metrics yet" in pages["index.html"].text
    assert "not validated yet" in pages["pages/validation.html"].text
    assert "No metric is named yet" in pages["pages/glossary.html"].text
    (folder / "params.yaml").write_text("split: {salt: x}\nvalidate: {}\ndatasets: {}\ntrain: {}\nruns: {}\n")
    left = {"index.html", "pages/questions.html", "pages/validation.html", "pages/glossary.html"}
    assert set(pages := render(folder, monkeypatch)) == left
    assert "names no run" in pages["index.html"].text


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics/vae.json", '{"headline": "fid", "fi', "metrics/vae.json: not readable as JSON"),
        ("metrics/vae.json", "[1]", "metrics/vae.json: expected a mapping"),
        ("metrics/vae.json", '{"headline": "fidd", "fid": {"mean": 1}}', "unknown metric 'fidd'; allowed: fid (did you mean 'fid'?)"),
        ("metrics/vae.json", '{"headline": "fid", "fid": {"mean": "low"}}', "fid.mean: expected a number or nothing (null), found 'low'"),
        (
            "metrics/vae.json",
            '{"headline": "fid", "fid": {"mean": 1}, "baselines": {"pca": {"fid": 3}}}',
            "baselines.pca.fid: expected a mapping, found '3'",
        ),
        ("curves/vae.csv", "step,loss\n1,2\n", "curves/vae.csv: expected a header seed,step,loss"),
        ("curves/vae.csv", "seed,step,loss\n0,1,2\n0,2\n", "curves/vae.csv: line 3 has 2 cells, the header 3"),
        ("curves/vae.csv", "seed,step,loss\n0,1,x\n", "curves/vae.csv: line 2: could not convert string to float: 'x'"),
        (
            "samples/vae/details.json",
            '{"pictures": [{"file": "../gan/grid.png", "title": "t", "alt": "a"}]}',
            "pictures[0].file: no picture '../gan/grid.png'",
        ),
        (
            "samples/vae/details.json",
            '{"pictures": [{"file": "details.json", "title": "t", "alt": "a"}]}',
            "details.json: not a PNG picture",
        ),
        ("samples/vae/details.json", '{"pictures": [{"file": "grid.png", "title": "t"}]}', "pictures[0].alt: missing"),
        (
            "samples/vae/details.json",
            '{"tables": [{"title": "t", "columns": ["a", "b"], "rows": [[1]]}]}',
            "tables[0].rows[0]: 1 cells for 2 columns",
        ),
        (
            "validation/digits/summary.json",
            '{"success": true, "rows": "many", "quarantined": 0}',
            "rows: expected a whole number, found 'many'",
        ),
        (
            "../names.json",
            '{"fid": {"title": "FID", "better": "smaller"}}',
            "fid.better: unknown value 'smaller'; allowed: higher, lower, none",
        ),
        ("../params.yaml", "runs: [", "params.yaml: line 1"),
    ],
)
def test_a_broken_file_is_one_line_and_the_old_report_stays(make, monkeypatch, capsys, file, content, said):
    folder = make()
    (folder / "reports/index.html").write_text("the old one")
    (folder / "reports" / file).write_text(content)
    assert said in refused(folder, monkeypatch, capsys)
    assert (folder / "reports/index.html").read_text() == "the old one" and not (folder / "reports/pages").exists()


def test_a_missing_folder_is_one_line(make, monkeypatch, capsys):
    folder = make()
    shutil.rmtree(folder / "reports")
    assert "reports: no such folder; --reports is the folder that holds metrics/" in refused(folder, monkeypatch, capsys)
    assert not (folder / "reports").exists()
