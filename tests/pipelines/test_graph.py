"""The graph as DVC knows it: order, targets, what is stale and why."""

from __future__ import annotations

import shutil
import sys
import time

import pytest

from pipelines.graph import Graph, plan
from stages.settings import InputError
from tests.pipelines.conftest import dvc, sh


def test_stages_come_in_running_order_with_root_relative_names(done, monkeypatch):
    monkeypatch.chdir(done / "data")  # DVC's own addressing would be ../dvc.yaml:train@vae here
    graph = Graph(done)
    assert set(graph.stages) == {f"prepare@{d}" for d in ("shop", "digits")} | {
        f"{group}@{run}" for group in ("train", "evaluate") for run in ("emb", "vae", "gan")} | {"report"}
    seen = set()
    for name, stage in graph.stages.items():
        assert seen.issuperset(stage.needs), name
        seen.add(name)
    vae = graph.stages["train@vae"]
    assert (vae.needs, vae.outs, vae.deps) == (("prepare@digits",), ("data/models/vae",), ("work.py", "data/prepared/digits"))
    assert vae.params == (("params.yaml", "train"), ("params.yaml", "runs.vae.model"))
    assert (vae.resource, graph.stages["report"].resource) == ("gpu", "cpu")
    assert list(Graph(done).stages) == list(graph.stages)


def test_nothing_is_stale_after_dvc_repro(done):
    assert plan(Graph(done)).stages == {}


def test_a_stage_that_never_ran_says_only_that(project):
    wanted = plan(Graph(project))
    assert len(wanted.stages) == 9
    assert set(map(tuple, wanted.why.values())) == {("never run",)}


@pytest.mark.parametrize(("change", "stage", "why"), [
    (("params.yaml", "model: {d: 3}", "model: {d: 5}"), "train@vae", "params.yaml: runs.vae.model modified"),
    (("dvc.yaml", "--out reports/index.html", "--out ./reports/index.html"), "report", "its command changed"),
    (("work.py", "began = ", "began  = "), "prepare@shop", "work.py modified"),
])
def test_reasons_name_what_changed(done, change, stage, why):
    file, before, after = change
    text = (done / file).read_text()
    assert before in text
    (done / file).write_text(text.replace(before, after))
    assert why in plan(Graph(done)).why[stage]


def test_a_missing_output_and_a_changed_one_are_reasons(done):
    (done / "reports/metrics/gan.json").write_text("{}")
    shutil.rmtree(done / "data/models/vae")
    wanted = plan(Graph(done))
    assert "reports/metrics/gan.json modified" in wanted.why["evaluate@gan"]
    assert "data/models/vae deleted" in wanted.why["train@vae"]
    assert list(wanted.stages) == [name for name in Graph(done).stages if name in ("train@vae", "evaluate@vae", "evaluate@gan", "report")]


def test_what_hangs_on_a_stale_stage_is_planned_without_a_reason(done):
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("n: 3", "n: 30"))
    wanted = plan(Graph(done))
    assert list(wanted.stages) == ["prepare@shop", "train@emb", "evaluate@emb", "report"]
    assert [bool(why) for why in wanted.why.values()] == [True, False, False, False]


def test_targets_are_stages_groups_or_outputs_and_bring_what_they_need(project):
    graph = Graph(project)
    assert graph.resolve(["train@vae"]) == ["train@vae"]
    assert set(graph.resolve(["train"])) == {"train@emb", "train@vae", "train@gan"}
    assert graph.resolve(["reports/metrics/../metrics/vae.json", "data/models/vae"]) == ["evaluate@vae", "train@vae"]
    assert list(plan(graph, ["evaluate@vae"]).stages) == ["prepare@digits", "train@vae", "evaluate@vae"]
    line = r"unknown target 'evalute@vae'; allowed: .*, train, evaluate, report \(did you mean 'evaluate@vae'\?\)"
    with pytest.raises(InputError, match=line):
        graph.resolve(["evalute@vae"])


def test_force_runs_the_targets_and_only_them(done):
    wanted = plan(Graph(done), ["train@vae"], force=True)
    assert wanted.why == {"train@vae": ["forced"]}
    assert len(plan(Graph(done), force=True).stages) == 9


def test_a_project_dvc_cannot_read_is_one_line(done):
    (done / "dvc.yaml").write_text("stages:\n  a: {cmd: echo, deps: [\"${nowhere}\"]}\n")
    with pytest.raises(InputError, match="DVC cannot read the project: .*nowhere") as caught:
        Graph(done)
    assert "\n" not in str(caught.value)


def test_the_answers_are_those_of_dvc_status(done):
    text = (done / "params.yaml").read_text()
    (done / "params.yaml").write_text(text.replace("lr: 1", "lr: 2").replace("salt: a", "salt: b").replace("k: 1", "k: 2"))
    said = dvc(done, "status").stdout
    assert {line[:-1] for line in said.splitlines() if line and not line[0].isspace()} == set(Graph(done).stale())


def test_planning_120_stages_is_fast_and_imports_no_prefect(tmp_path):
    """About a second on an idle machine; the bound leaves room for a busy one, the count of processor time does not."""
    runs = ", ".join(f"r{i}: {{m: {i}}}" for i in range(120))
    (tmp_path / "params.yaml").write_text(f"train: 1\nruns: {{{runs}}}\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    foreach: ${runs}\n    do:\n      cmd: touch out/${key}\n"
                                       "      params: [train, \"runs.${key}.m\"]\n      outs: [\"out/${key}\"]\n")
    dvc(tmp_path, "init", "-q", "--no-scm")
    code = ("import sys, time; from pipelines.graph import Graph, plan; n = len(plan(Graph('.')).stages); "
            "print(n, time.process_time(), sorted(m for m in sys.modules if m.partition('.')[0] in ('prefect', 'torch', 'pandas')))")
    began = time.monotonic()
    number, seconds, found = sh(tmp_path, sys.executable, "-c", code).stdout.split(maxsplit=2)
    assert (number, found.strip()) == ("120", "[]")
    assert float(seconds) < 2.0, seconds
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("common", "own", "threads"), [("threads: 1", "", 1), ("threads: 2", "", 2), ("threads: 2", "threads: 3", 3),
                                                        ("threads: many", "", 1)])
def test_threads_of_a_training_are_its_runs_own_or_those_of_all(project, common, own, threads):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("threads: 1", common).replace("model:", f"train: {{{own}}}, model:"))
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace('params: [train, "runs.${key}.model"]', 'params: ["runs.${key}.train", train]'))
    stages = Graph(project).stages
    assert stages["train@vae"].threads == threads and stages["evaluate@vae"].threads == 1


def test_threads_of_any_stage_are_in_its_meta(project):
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("meta: {resource: gpu}", "meta: {resource: gpu, threads: 4}"))
    assert Graph(project).stages["train@vae"].threads == 4
    (project / "dvc.yaml").write_text(text.replace("meta: {resource: gpu}", "meta: {resource: gpu, threads: 0}"))
    with pytest.raises(InputError, match="stage train@emb: meta.threads is cores, a whole number of at least 1; found 0"):
        Graph(project)
