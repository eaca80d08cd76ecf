"""The table of results and the provenance page."""

from __future__ import annotations

import json

import pytest

from pipelines import provenance, summary
from pipelines.processes import Outcome
from stages.settings import InputError


def metrics(folder, run, **content):
    path = folder / "reports/metrics" / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def of(mean, sd=0.0, n=1):
    return {"mean": mean, "sd": sd, "n": n}


@pytest.fixture
def results(tmp_path):
    (tmp_path / "params.yaml").write_text("runs:\n  gan: {dataset: digits}\n  emb: {dataset: shop}\n  late: {dataset: shop}\n")
    metrics(tmp_path, "gan", headline="fid", fid=of(11.25, 0.5, 3), baselines={"floor": {"fid": of(3.1)}, "gaussian": {"fid": of(110.3)},
                                                                              "kmeans": {"fid": of(44.0)}, "pca": {"accuracy": of(1.0)}})
    metrics(tmp_path, "emb", headline="ndcg_10", ndcg_10=of(0.16344), baselines={"popularity": {"ndcg_10": of(0.07)},
                                                                                "co_counts": {"ndcg_10": of(None)}})
    (tmp_path / "stages/evaluate").mkdir(parents=True)
    (tmp_path / "stages/evaluate/names.json").write_text(json.dumps({"fid": {"better": "lower"}, "ndcg_10": {"better": "higher"}}))
    (tmp_path / "reports/timing").mkdir()
    (tmp_path / "reports/timing/gan.json").write_text('{"seconds": 12.34}')
    return tmp_path


def test_rows_have_the_best_baseline_in_the_metrics_direction(results):
    assert summary.rows(results, ["gan", "emb", "late"]) == [
        summary.Row("gan", "digits", "fid", "11.25 ± 0.5", "kmeans 44", "12.3"),
        summary.Row("emb", "shop", "ndcg_10", "0.1634", "popularity 0.07", "-")]  # late has no metrics yet
    (results / summary.NAMES).write_text(json.dumps({"fid": {"better": "higher"}}))
    assert summary.rows(results, ["gan"])[0].baseline == "gaussian 110.3"


def test_rows_of_runs_that_failed_or_were_not_run_have_no_old_numbers(results):
    ended = {"train@gan": Outcome("failed"), "evaluate@gan": Outcome("not run"), "train@late": Outcome("unchanged"),
             "evaluate@late": Outcome("not run"), "evaluate@emb": Outcome("done")}
    assert [(row.run, row.metric, row.value, row.baseline) for row in summary.rows(results, ["gan", "emb", "late"], ended)] == [
        ("gan", "-", "failed", "-"), ("emb", "ndcg_10", "0.1634", "popularity 0.07"), ("late", "-", "not run", "-")]
    assert summary.metric_rows(results, summary.unmeasured(ended))[0]["run"] == "emb"


@pytest.mark.parametrize(("ended", "value"), [
    ({"train@gan": "done", "evaluate@gan": "restored"}, None),
    ({"train@gan": "done", "evaluate@gan": "failed"}, "failed"),
    ({"train@gan": "done", "evaluate@gan": "interrupted"}, "not run"),
    ({"train@gan": "done"}, "not run"),  # trained anew, and nobody asked for the evaluation
    ({"train@gan": "unchanged"}, None),
    ({"report": "failed", "prepare@digits": "failed"}, None),
])
def test_whose_metrics_are_old(ended, value):
    assert summary.unmeasured({name: Outcome(state) for name, state in ended.items()}) == ({"gan": value} if value else {})


def test_a_headline_without_a_value_is_one_line(results):
    path = metrics(results, "gan", headline="fdi", fid=of(1.0))
    with pytest.raises(InputError, match=f"{path}: headline 'fdi' is not a metric of it; delete the file and rerun evaluate@gan"):
        summary.rows(results, ["gan"])


def test_table_is_aligned():
    text = summary.table([summary.Row("a", "digits", "fid", "1", "-", "9.0"), summary.Row("longer", "b", "auc", "0.5", "x 0.4", "110.0")])
    assert text.splitlines() == ["run     dataset  headline  value  best baseline  seconds",
                                 "------  -------  --------  -----  -------------  -------",
                                 "a       digits   fid       1      -                  9.0",
                                 "longer  b        auc       0.5    x 0.4            110.0"]
    assert summary.table([]) == ""


def test_metric_rows_are_all_metrics(results):
    rows = summary.metric_rows(results)
    assert rows[1] == {"run": "gan", "metric": "fid", "mean": 11.25, "sd": 0.5, "n": 3, "best baseline": "kmeans", "its mean": 44.0}
    assert [row["run"] for row in rows] == ["emb", "gan"]


def test_runs_of_stage_names():
    assert summary.runs_of(["prepare@shop", "train@vae", "evaluate@emb", "evaluate@vae", "report"]) == ["vae", "emb"]


def test_provenance_names_failures_escaped_and_data(results):
    (results / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train@vae:\n    cmd: x\n"
                                      "    outs:\n    - {path: data/models/vae, md5: abc.dir, size: 7, nfiles: 2}\n")
    outcomes = {"train@vae": Outcome("failed", 3.0, "error: <script>alert(1)</script> & more"), "report": Outcome("done")}
    page = provenance.render(results, {"train@vae": 3.04, "report": 1.0}, outcomes)
    first = page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in first and "<script" not in first
    assert "data/models/vae" in first and "abc.dir" in first and "not in a git repository" in first
    assert 'src="' not in first and "http" not in first
    assert provenance.render(results, {"report": 1.0, "train@vae": 3.04}, outcomes).read_text() == first
    assert "Not everything ran" not in provenance.render(results, {}, {"report": Outcome("done")}).read_text()


def test_provenance_counts_what_differs_from_the_commit(done):
    before = provenance.facts(done)
    assert len(before["commit"]) == 40 and before["changed"] == []
    (done / "work.py").write_text("")
    assert provenance.facts(done)["changed"] == [" M work.py"]
    assert {out["path"] for out in before["data"]} >= {"data/models/vae", "reports/metrics/vae.json"}
