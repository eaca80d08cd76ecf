"""Goals: each outcome by value, and a page that says what is missed and by how much."""

from pathlib import Path

import pytest
import yaml

from stages.files import read_json
from stages.params import load
from stages.report.goals import Goal, measure, reached, read_goals
from stages.report.inputs import Metrics, Value, read_inputs
from stages.report.pages import render
from stages.report.studies import Beyond, read_questions, read_studies
from stages.settings import InputError

VALUES = {"ours": Metrics("a", {"a": Value(3.0, 1.0, 3, values=[2.0, 2.5, 4.5])}, {"pca": {"a": Value(2.0, None, 1)}}, None, None, None),
          "theirs": Metrics("a", {"a": Value(6.0, None, 1)}, {}, None, None, None),
          "beside": Metrics("a", {"a": Value(2.0, 1.0, 3, values=[1.0, 2.0, 3.0])}, {}, None, None, None),
          "pca": Metrics("a", {"a": Value(99.0, None, 1)}, {}, None, None, None),
          "unkept": Metrics("a", {"a": Value(3.0, 1.0, 3)}, {}, None, None, None)}


@pytest.mark.parametrize(("goal", "measured", "missed"), [
    (Goal("a", at_least=2.9), 3.0, 0), (Goal("a", at_least=3.5), 3.0, 0.5), (Goal("a", at_most=3.0), 3.0, 0),
    (Goal("a", at_least=3.0, of="median"), 2.5, 0.5), (Goal("a", at_most=2.0), 3.0, 1.0),
    (Goal("a", at_least=0.5, than="pca"), 1.0, 0), (Goal("a", at_most=-2, than="theirs"), -3.0, 0),
    (Goal("a", at_most=0.4, than="theirs", ratio=True), 0.5, 0.1),
    (Goal("b", at_least=0), None, None), (Goal("a", at_least=0, than="absent"), None, None)])
def test_a_goal_is_reached_or_missed_by_what_it_lacks(goal, measured, missed):
    found = measure("study", "ours", goal, VALUES)
    assert found.measured == measured and found.n == (0 if goal.metric == "b" else 3)
    assert found.missed is None if missed is None else found.missed == pytest.approx(missed)
    assert measure("study", "absent", goal, VALUES).missed is None


def test_a_difference_over_seeds_is_decided_where_its_interval_leaves_the_goal_out():
    """Gaps 1, .5, 1.5: mean 1, deviation .5, half the interval 4.303 x .5 / sqrt 3."""
    found = measure("study", "ours", Goal("a", at_least=0, than="beside"), VALUES)
    assert found.measured == pytest.approx(1.0) and found.margin == pytest.approx(4.3027 * 0.5 / 3**0.5, rel=1e-4) and not found.decided
    assert measure("study", "ours", Goal("a", at_least=-1, than="beside"), VALUES).decided
    alone = measure("study", "ours", Goal("a", at_least=0.9, than="pca"), VALUES)
    assert alone.decided and alone.margin is None and alone.measured == 1.0, "the own baseline, not the run of that name"
    assert measure("study", "unkept", Goal("a", at_least=0, of="median"), VALUES).missed is None, "no median of values that were not kept"


def test_what_the_repository_measured_is_held_against_every_goal_of_it():
    """A metric that a published run lacks would look like a run that was never made."""
    for part in ("study", "paper"):
        for run, given in read_goals()[part].items():
            try:
                found = read_json(Path("reports") / part / f"{run}.json")
            except InputError:
                continue
            assert {g.metric for g in given} <= {*found}, f"{part}.{run}"


def test_a_goal_that_is_missed_says_what_was_tried(make):
    folder = make()
    inputs = read_inputs(folder / "reports", load(folder / "params.yaml"), folder / "names.json")
    for found in reached(read_goals(), inputs, read_studies(Path("reports"))):
        if found.part != "default" and (found.missed or not found.decided):
            assert found.goal.tried, f"{found.part}.{found.run}.{found.goal.metric}"


def test_the_own_goals_name_runs_and_metrics_that_exist():
    """A goal of a run that is no more, or of a misspelt metric, would stay `not run` for ever."""
    names, params = set(yaml.safe_load(open("stages/evaluate/names.json", encoding="utf-8"))), load("params.yaml")
    known = {"default": set(params.runs)}
    for part in ("study", "paper"):
        known[part] = known["default"] | set(yaml.safe_load(open(f"profiles/{part}.yaml", encoding="utf-8"))["runs"])
    baselines = {"bicubic", "pca", "lda", "gaussian"}
    for part, runs in read_goals().items():
        for run, given in runs.items():
            assert run in known[part], f"{part}.{run}"
            assert {g.metric for g in given} <= names and {g.than for g in given} - {""} <= known[part] | baselines


def test_wrong_goals_are_one_line(tmp_path):
    for text, told in (("late: {}", "unknown part 'late'; allowed: default, study, paper"),
                       ("study: {vae: [{metric: a}]}", r"study.vae\[0\]: give one of at_least and at_most"),
                       ("study: {vae: [{metric: a, at_most: 1, ratio: true}]}", r"study.vae\[0\]: ratio is of what `than` names"),
                       ("study: {vae: [{metric: a, at_most: 1, thn: gan}]}", "thn.*did you mean 'than'"),
                       ("study: {vae: [{metric: a, at_least: much}]}", r"study.vae\[0\].*at_least")):
        (tmp_path / "goals.yaml").write_text(text)
        with pytest.raises(InputError, match=told):
            read_goals(tmp_path / "goals.yaml")


def test_the_page_says_what_is_missed(make):
    folder = make()
    inputs = read_inputs(folder / "reports", load(folder / "params.yaml"), folder / "names.json")
    key = inputs.runs["vae"].metrics.headline
    hostile = "<b>nothing</b>"
    given = {"default": {"vae": [Goal(key, at_least=1e9, tried=hostile)], "gan": [Goal(key, at_least=-1e9)]},
             "paper": {"later": [Goal(key, at_most=1)]}}
    pages = render(inputs, Beyond(read_studies(folder / "reports"), read_questions(), {}, given))
    page = pages["pages/goals.html"]
    assert page.count("missed by") == 1 and page.count("not run</span>") == 1 and "&lt;b&gt;nothing" in page
    assert hostile not in page and "missed by" in pages["pages/run-vae.html"] and "pages/goals.html" in pages["index.html"]
    assert "pages/goals.html" not in render(inputs, Beyond())
