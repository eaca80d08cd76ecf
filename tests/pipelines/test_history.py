"""The page of every metric over the commits, and the record of what runs ran on."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

import pytest

from pipelines import history, provenance
from pipelines.metrics import Value
from pipelines.processes import Outcome
from tests.pipelines.conftest import sh
from tests.pipelines.test_compare import commit, metrics, of


@pytest.fixture
def repository(tmp_path):
    """Four commits: auc moves twice, fid stays, kl comes and goes; one changes no metrics; one is damaged."""
    sh(tmp_path, "git", "init", "-q")
    names = {"auc": {"title": "AUC", "better": "higher"}, "fid": {"title": "FID", "better": "lower"}}
    (tmp_path / "stages/evaluate").mkdir(parents=True)
    (tmp_path / "stages/evaluate/names.json").write_text(json.dumps(names))
    metrics(tmp_path, "vae", headline="auc", auc=of(0.5), fid=of(9.0), baselines={"pca": {"auc": of(0.1)}})
    commit(tmp_path, "one")
    metrics(tmp_path, "vae", headline="auc", auc=of(0.7), fid=of(9.0), kl=of(1.0))
    metrics(tmp_path, "gan", headline="fid", fid=of(3.0))
    commit(tmp_path, "two")
    (tmp_path / "README").write_text("")
    commit(tmp_path, "elsewhere")
    (tmp_path / "reports/metrics/gan.json").write_text("{")
    metrics(tmp_path, "vae", headline="auc", auc=of(0.65), fid=of(9.0), kl=of(1.0))
    sh(tmp_path, "git", "add", "-A")
    sh(tmp_path, "git", "commit", "-q", "-m", "</script><script>alert(1)</script>")
    (tmp_path / "reports/metrics/gan.json").unlink()
    metrics(tmp_path, "vae", headline="auc", auc=of(0.6), fid=of(9.0))
    commit(tmp_path, "three")
    return tmp_path


def points(found, run, metric):
    series = next(s for s in found.series[run] if s.metric == metric)
    return [(index, value.mean if value else None) for index, value in series.points]


def test_every_metric_wherever_it_changed(repository):
    found = history.history(repository)
    assert [c.subject for c in found.commits] == ["one", "two", "</script><script>alert(1)</script>", "three"]
    assert points(found, "vae", "auc") == [(0, 0.5), (1, 0.7), (2, 0.65), (3, 0.6)]
    assert points(found, "vae", "fid") == [(0, 9.0)]
    assert points(found, "vae", "kl") == [(1, 1.0), (3, None)]
    assert points(found, "gan", "fid") == [(1, 3.0), (2, None)]  # damaged, then removed
    assert [s.metric for s in found.series["vae"]] == ["auc", "fid", "kl"]  # the headline first
    assert len(found.broken) == 1 and found.broken[0].endswith(": gan.json")
    metrics(repository, "vae", headline="auc", auc=of(0.9))
    assert points(history.history(repository), "vae", "auc")[-1] == (4, 0.9)  # the workspace comes last
    assert points(history.history(repository, 2), "vae", "auc") == [(0, 0.65), (1, 0.6), (2, 0.9)]  # the state before the last two counts


def test_a_branch_that_was_merged_is_one_commit_of_the_line(repository):
    sh(repository, "git", "checkout", "-q", "-b", "side", "two")
    metrics(repository, "new", headline="auc", auc=of(0.2))
    commit(repository, "aside")
    sh(repository, "git", "checkout", "-q", "master")
    sh(repository, "git", "merge", "-q", "--no-ff", "-m", "merged", "side")
    found = history.history(repository)
    assert [c.subject for c in found.commits][-2:] == ["three", "merged"] and points(found, "new", "auc") == [(4, 0.2)]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_without_a_report_the_pages_link_to_nothing_and_have_their_own_style(repository):
    path, other = history.render(repository), provenance.render(repository, {}, {"report": Outcome("not run")})
    for text in (path.read_text(), other.read_text()):
        tags = Page(text).tags
        assert not [tag for tag in tags if "href" in tag[1] or "src" in tag[1]] and ("style", {}) in tags
        assert "has not been rendered here yet" in text and "What the report shows" not in text
    assert ".notice {" in path.read_text() and "pointermove" in path.read_text()
    (repository / "reports/index.html").write_text("")
    for page in (history.render(repository), provenance.render(repository, {}, {})):  # there is one now
        assert "index.html" in [a.get("href") for a in Page(page.read_text()).all("a")]
        assert "has not been rendered" not in page.read_text()


def test_the_page_is_whole_offline_labelled_and_escaped(repository):
    (repository / "reports/index.html").write_text("")
    path = history.render(repository)
    text = path.read_text()
    page = Page(text)
    assert "alert(1)" in text and len(page.all("script")) == 2  # the report's and the filter's
    addresses = [a.get("href") or a.get("src") for _, a in page.tags if a.get("href") or a.get("src")]
    assert not [a for a in addresses if re.match(r"\w+:|//", a)] and "http" not in text.replace("http://www.w3.org", "")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for chart in page.all("svg"):
        assert chart["role"] == "img" and set(chart["aria-labelledby"].split()) <= set(ids)
    assert [a["data-metric"] for a in page.all("figure")] == ["auc"]
    assert {a["data-metric"] for a in page.all("tr") if "data-metric" in a} == {"fid", "kl"}
    assert len(page.all("label")) == 2 and any("aria-live" in a for a in page.all("output"))
    assert all("scope" in a for a in page.all("th"))
    assert "first 0.500, last 0.600, lowest 0.500, highest 0.700." in text
    before = path.stat().st_mtime_ns
    assert history.render(repository).stat().st_mtime_ns == before  # nothing new: left as it is
    path.write_text("")
    assert history.render(repository).read_text() == text
    metrics(repository, "vae", headline="auc", auc=of(0.9))
    assert history.render(repository).read_text() != text


def test_without_git_and_without_metrics_there_is_a_page(tmp_path):
    assert "No commit has a metrics file yet" in history.render(tmp_path).read_text()


def test_two_hundred_commits_are_read_quickly(tmp_path):
    stream = ["reset refs/heads/master"]
    for number in range(200):
        stream += ["commit refs/heads/master", f"committer t <t@t> {1_700_000_000 + number} +0000", "data 1", "x"]
        for run in range(10):
            content = json.dumps({"headline": "m0", **{f"m{k}": of(number + run + k / 7) for k in range(10)}})
            stream += [f"M 100644 inline reports/metrics/r{run}.json", f"data {len(content)}", content]
    sh(tmp_path, "git", "init", "-q")
    sh(tmp_path, "git", "fast-import", "--quiet", input="\n".join(stream) + "\n")
    began = time.process_time()
    found = history.history(tmp_path, 200)
    assert time.process_time() - began < 3  # a process a file would be 2,000 of them
    assert len(found.commits) == 201 and points(found, "r3", "m1")[199] == (199, pytest.approx(202 + 1 / 7))


def test_a_line_has_a_gap_where_the_metric_was_not_measured():
    series = history.Series("vae", "auc", [(0, Value(1.0)), (2, None), (4, Value(2.0))])
    commits = [history.Commit(f"{n}" * 9, "", "", {}) for n in range(6)]
    lines = history.drawn(series, commits).lines
    assert [labels for _, labels in lines] == ["000000000:1.00 111111111:1.00", "444444444:2.00 555555555:2.00"]
    left = [float(pair.split(",")[0]) for points, _ in lines for pair in points.split()]
    assert left == sorted(left)


def test_what_ran_is_recorded_by_run_and_nothing_else_changes_the_file(tmp_path, monkeypatch):
    path = tmp_path / "reports/provenance.json"
    for run in ("vae", "gan"):
        metrics(tmp_path, run)
    provenance.record(tmp_path, {"train@vae": Outcome("unchanged"), "evaluate@vae": Outcome("restored"), "report": Outcome("done")})
    assert not path.exists()
    provenance.record(tmp_path, {"train@vae": Outcome("done"), "evaluate@gan": Outcome("done")})
    first = json.loads(path.read_text())
    assert set(first["runs"]) == {"vae", "gan"} and list(first["environments"]) == [first["runs"]["vae"]]
    noted = first["environments"][first["runs"]["vae"]]
    assert set(noted) >= {"system", "processor", "instructions", "versions"}
    assert "torch" in noted["versions"] and "dvc" not in noted["versions"]
    text = path.read_bytes()
    provenance.record(tmp_path, {"train@vae": Outcome("done"), "train@gan": Outcome("failed")})
    assert path.read_bytes() == text  # the same machine leaves the same bytes
    monkeypatch.setattr(provenance, "processor", lambda: "another")
    provenance.record(tmp_path, {"evaluate@vae": Outcome("done")})
    second = json.loads(path.read_text())
    assert second["runs"]["gan"] == first["runs"]["gan"] != second["runs"]["vae"] and len(second["environments"]) == 2
    path.write_text("{")
    (tmp_path / "reports/metrics/gan.json").unlink()
    provenance.record(tmp_path, {"evaluate@vae": Outcome("done"), "evaluate@gan": Outcome("done")})
    assert list(json.loads(path.read_text())["runs"]) == ["vae"]
