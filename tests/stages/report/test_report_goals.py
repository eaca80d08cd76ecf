"""Goals: each outcome by value, and a page that says what is missed and by how much."""

import pytest
import yaml

from stages.params import load
from stages.report import goals
from stages.report.goals import Goal, Reached, measure, read_goals
from stages.report.inputs import Metrics, Name, Value, read_inputs
from stages.report.pages import render
from stages.report.studies import Beyond, read_questions, read_studies
from stages.settings import InputError

VALUES = {"ours": Metrics("a", {"a": Value(3.0, 1.0, 3, values=[2.0, 2.5, 4.5])}, {"pca": {"a": Value(2.0, None, 1)}}, None, None, None),
          "theirs": Metrics("a", {"a": Value(6.0, None, 1)}, {}, None, None, None)}


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
    assert page.count("missed by") == 1 and page.count(">not run<") + page.count("not run</span>") >= 1 and "&lt;b&gt;nothing" in page
    assert hostile not in page and "missed by" in pages["pages/run-vae.html"] and "pages/goals.html" in pages["index.html"]
    assert "pages/goals.html" not in render(inputs, Beyond())


def test_names():
    assert goals.PARTS.keys() == {"default", "study", "paper"} and Reached("study", "a", Goal("a", at_least=1), 1.0, 1).missed == 0
    assert Name("a")
