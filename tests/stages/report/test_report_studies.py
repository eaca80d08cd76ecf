"""Published studies, the literature beside them, and questions answered by runs that differ in one switch."""

import math
from pathlib import Path

import pytest
import yaml
from scipy import stats

from stages.files import read_json
from stages.report.compare import metric_line
from stages.report.inputs import Name, Value
from stages.report.studies import PROFILES, Question, answers, read_figures, read_questions, read_studies, sentence, welch
from stages.settings import InputError

ROOT = Path(__file__).resolve().parents[3]
NAMES = {"mrr": Name("MRR", "higher"), "loss": Name("Loss", "lower")}


def test_the_interval_is_that_of_welch_s_test():
    a, b = [0.31, 0.29, 0.33, 0.30], [0.25, 0.27, 0.22]
    values = [Value(sum(x) / len(x), stats.tstd(x), len(x)) for x in (a, b)]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert welch(*values) == pytest.approx((expected.high - expected.low) / 2, rel=1e-9)


def test_no_interval_from_one_seed():
    assert welch(Value(1.0, 0.1, 3), Value(2.0, None, 1)) is None


def line(key, *values):
    return metric_line(NAMES, key, [(str(i), False, [v] if v else []) for i, v in enumerate(values)])


def test_the_sentence_names_the_best_in_the_metric_s_own_direction_and_what_is_not_decided():
    runs = ["0", "1", "2"]
    said = sentence(NAMES, runs, line("loss", Value(2.0, 0.01, 5), Value(1.0, 0.01, 5), Value(1.001, 0.01, 5)))
    assert said.startswith("Loss: best is 1 (1.00)")
    first, second = said.split(": ", 1)[1].split("; ")[1:]
    assert "from 2, not decided" in first and "from 0" in second and "not decided" not in second
    assert sentence(NAMES, runs, line("mrr", Value(0.1), Value(0.2), None)).startswith("MRR: best is 1")
    assert "no interval" in sentence(NAMES, runs, line("mrr", Value(0.1), Value(0.2), None))
    assert sentence(NAMES, runs, line("mrr", Value(0.1), Value(0.1), None)) == "MRR: 0.100 for all."


def test_a_question_compares_only_measured_runs_and_lists_the_settings_that_differ(make):
    from stages import params
    from stages.report.inputs import read_inputs

    project = make()
    inputs = read_inputs(project / "reports", params.load(project / "params.yaml"), project / "names.json")
    question = Question("?", "؟", "", ["mrr", "fid"], ["vae", "gan", "never-run"])
    found = answers(question, inputs, read_studies(project / "reports"))
    assert [(a.profile, a.runs, [one.key for one in a.lines]) for a in found] == [
        ("workspace", ["vae", "gan"], ["fid"]), ("study", ["vae", "gan"], ["fid"]), ("paper", ["vae", "gan"], ["fid"])]
    assert ("model.dimension", [13, 14]) in found[1].differ and not any(key == "model.note" for key, _ in found[1].differ)
    assert answers(Question("?", "؟", "", ["mrr"], ["vae", "gan"]), inputs, {}) == []
    across = Question("?", "؟", "", ["mrr"], ["prod2vec", "transe"])  # the same metric on other data is no comparison
    assert answers(across, inputs, read_studies(project / "reports")) == []


def test_a_broken_published_file_is_one_line(make):
    project = make()
    (project / "reports/study/vae.json").write_text('{"headline": "fid"}')
    with pytest.raises(InputError, match=r"vae\.json: headline"):
        read_studies(project / "reports")


def runs_there_are() -> set[str]:
    files = [ROOT / "params.yaml", *(ROOT / "profiles").glob("*.yaml")]
    return {run for file in files for run in yaml.safe_load(file.read_text(encoding="utf-8")).get("runs") or {}}


def test_questions_and_figures_name_runs_and_metrics_that_exist():
    names, runs = read_json(ROOT / "stages/evaluate/names.json"), runs_there_are()
    for key, question in read_questions().items():
        assert set(question.runs) <= runs, (key, set(question.runs) - runs)
        assert set(question.metrics) <= set(names), (key, set(question.metrics) - set(names))
        assert question.fa and question.metrics
    for run, figures in read_figures().items():
        assert run in runs
        assert all(figure.metric in names and math.isfinite(figure.figure) and figure.source for figure in figures)


def test_every_profile_with_published_runs_has_its_place():
    assert set(PROFILES) == {"study", "paper"}
