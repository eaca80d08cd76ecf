"""Movements against hand-computed ones, the rule for noise by value, and the command on a repository of commits."""

from __future__ import annotations

import json
import math
import sys

import pytest

from pipelines import movements
from pipelines.compare import compare, markdown, tolerances
from pipelines.metrics import Value
from pipelines.movements import movement, renames, standard_error
from pipelines.revisions import Objects, Revision
from stages.params import Compare, Tolerance
from stages.settings import InputError
from tests.pipelines.conftest import sh

NAMES = {"auc": {"better": "higher"}, "fid": {"better": "lower"}, "kl": {"better": "none"}}


def of(mean, sd=None, n=1):
    return {"mean": mean, "sd": sd, "n": n}


def judged(first, last, better="higher", settings=None, baseline="", **more):
    return movement("vae", (baseline, "auc"), [first, last], better, settings or Compare(relative=0.1), True, **more)


@pytest.mark.parametrize(("first", "last", "better", "settings", "verdict", "gain", "allowed"), [
    (2.0, 1.8, "higher", Compare(relative=0.1), "within", -0.2, 0.2),  # exactly what is allowed is allowed
    (2.0, 1.79, "higher", Compare(relative=0.1), "regressed", -0.21, 0.2),
    (2.0, 1.79, "lower", Compare(relative=0.1), "improved", 0.21, 0.2),
    (2.0, 2.3, "lower", Compare(relative=0.1, absolute=0.3), "within", -0.3, 0.3),  # the larger of the two
    (-2.0, -2.5, "higher", Compare(relative=0.1), "regressed", -0.5, 0.2),  # a share of the size, whatever the sign
    (0.0, -0.01, "higher", Compare(relative=0.1), "regressed", -0.01, 0.0),
    (2.0, 9.0, "none", Compare(relative=0.1), "moved", None, 0.2),
    (2.0, 1.0, "higher", Compare(metrics={"auc": Tolerance(absolute=1.0)}), "within", -1.0, 1.0),
    (2.0, 1.0, "higher", Compare(metrics={"auc": Tolerance(better="lower")}), "improved", 1.0, 0.04),
    (2.0, 1.0, "higher", Compare(metrics={"auc": Tolerance(better="none")}), "moved", None, 0.04),
    (2.0, 2.0, "higher", Compare(), "same", 0.0, 0.04),
])
def test_verdicts_without_seeds(first, last, better, settings, verdict, gain, allowed):
    found = judged(Value(first), Value(last), better, settings)
    assert (found.verdict, found.gain, found.allowed) == (verdict, pytest.approx(gain), pytest.approx(allowed))


def test_the_standard_error_is_of_the_pooled_deviation():
    # (4 seeds, sd 3) and (2 seeds, sd 1): s² = (3·9 + 1·1) / 4 = 7, SE = √(7 · (1/4 + 1/2))
    assert standard_error(Value(0, 3.0, 4), Value(0, 1.0, 2)) == (pytest.approx(math.sqrt(7 * 0.75)), "seeds")
    # one seed has no deviation of its own: that of the other side holds for both
    assert standard_error(Value(0), Value(0, 2.0, 3)) == (pytest.approx(2 * math.sqrt(1 + 1 / 3)), "seeds")
    assert standard_error(Value(0), Value(0)) == (0.0, "")
    assert standard_error(Value(0), Value(0), Value(9, 2.0, 3)) == (pytest.approx(2 * math.sqrt(2)), "study, 3 seeds")
    assert standard_error(Value(0, 1.0, 2), Value(0, 1.0, 2), Value(9, 50.0, 3)) == (1.0, "seeds")  # its own seeds win over the study


def test_a_movement_within_the_noise_of_the_seeds_is_no_regression():
    settings = Compare(relative=0.0, z=2.0)
    first, error = Value(10.0, 1.0, 5), math.sqrt(2 / 5)
    assert judged(first, Value(10 - 1.99 * error, 1.0, 5), "higher", settings).verdict == "within"
    assert judged(first, Value(10 - 2.01 * error, 1.0, 5), "higher", settings).verdict == "regressed"
    assert judged(first, Value(10 - 1.99 * error, 1.0, 5), "higher", Compare(relative=0.0, z=1.9)).verdict == "regressed"
    assert judged(Value(10.0), Value(9.0), "higher", settings).verdict == "regressed"
    assert judged(Value(10.0), Value(9.0), "higher", settings, study=Value(0, 1.0, 3)).verdict == "within"  # 1 < 2 · √2


def test_what_is_lost_is_worse_and_what_is_taken_out_is_not():
    assert judged(Value(1.0), None).verdict == "lost"
    assert judged(Value(1.0), Value(None)).verdict == "lost"  # it is no longer defined
    assert movement("vae", ("", "auc"), [Value(1.0), None], "higher", Compare(), wanted=False).verdict == "gone"
    assert judged(None, Value(1.0)).verdict == "new"
    assert judged(Value(1.0), Value(0.1), baseline="spectral").verdict == "moved"  # a baseline never fails anybody
    assert judged(Value(1.0), None, baseline="spectral").verdict == "gone"


def metrics(folder, run, **content):
    path = folder / "reports/metrics" / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def commit(folder, name):
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-q", "--allow-empty", "-m", name)
    sh(folder, "git", "tag", name)


LOCK = """\
schema: '2.0'
stages:
  ingest@digits:
    cmd: x
    params: {{data/sources.json: {{digits: {{size: {size}}}}}}}
    outs: [{{path: data/raw/digits, md5: r{size}}}]
  train@vae:
    cmd: x
    deps: [{{path: data/raw/digits, md5: r{size}}}, {{path: model.py, md5: {code}}}]
    params: {{params.yaml: {{runs.vae.model: {{d: {d}, k: [1, 2]}}, train: {{lr: 1}}}}}}
    outs: [{{path: data/models/vae, md5: m{d}}}]
  evaluate@vae:
    cmd: x
    deps: [{{path: data/models/vae, md5: m{d}}}]
    params: {{params.yaml: {{runs.vae.evaluate: {{}}}}}}
    outs: [{{path: reports/metrics/vae.json, md5: e}}]
"""
ENVIRONMENT = {"environments": {"a": {"processor": "one", "instructions": ["avx2"], "versions": {"torch": "1"}},
                                "b": {"processor": "one", "instructions": ["avx2", "avx512f"], "versions": {"torch": "2"}}}}


@pytest.fixture
def history(tmp_path):
    """Three commits: first, a damaged second, a third in which things moved."""
    sh(tmp_path, "git", "init", "-q")
    (tmp_path / "stages/evaluate").mkdir(parents=True)
    (tmp_path / "stages/evaluate/names.json").write_text(json.dumps(NAMES))
    entry = {"dataset": "digits", "model": {"d": 2}}
    (tmp_path / "params.yaml").write_text(json.dumps({"runs": {"vae": entry, "old": {"x": 1}, "out": {"x": 2}, "stay": {}}}))
    (tmp_path / "dvc.lock").write_text(LOCK.format(size=3, code="c1", d=2))
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/provenance.json").write_text(json.dumps({**ENVIRONMENT, "runs": {"vae": "a", "stay": "a"}}))
    metrics(tmp_path, "vae", headline="auc", auc=of(0.8), fid=of(40.0), kl=of(5.0), parameters=7, reproducible=True,
            baselines={"pca": {"auc": of(0.5)}})
    metrics(tmp_path, "old", headline="auc", auc=of(0.7))
    metrics(tmp_path, "out", headline="auc", auc=of(0.6))
    metrics(tmp_path, "stay", headline="auc", auc=of(0.9))
    commit(tmp_path, "one")
    (tmp_path / "reports/metrics/vae.json").write_text('{"headline": "auc", "auc"')
    commit(tmp_path, "two")
    (tmp_path / "params.yaml").write_text(json.dumps({"runs": {"vae": {**entry, "model": {"d": 3}}, "fresh": {"x": 1}, "stay": {}}}))
    (tmp_path / "dvc.lock").write_text(LOCK.format(size=4, code="c2", d=3))
    (tmp_path / "reports/provenance.json").write_text(json.dumps({**ENVIRONMENT, "runs": {"vae": "b", "stay": "a"}}))
    metrics(tmp_path, "vae", headline="auc", auc=of(0.6), fid=of(30.0), kl=of(9.0), baselines={"pca": {"auc": of(0.4)}})
    for run in ("old", "out"):
        (tmp_path / f"reports/metrics/{run}.json").unlink()
    metrics(tmp_path, "fresh", headline="auc", auc=of(0.7))
    commit(tmp_path, "three")
    return tmp_path


def test_the_worst_movement_is_first_then_the_best_with_what_changed_beside_it(history):
    found = compare(history, ["one", "three"])
    told = [(m.run, m.baseline, m.metric, m.verdict, m.gain and round(m.gain, 6)) for m in found.movements]
    assert told == [("vae", "", "auc", "regressed", -0.2), ("vae", "", "fid", "improved", 10.0), ("vae", "", "kl", "moved", None),
                    ("vae", "pca", "auc", "moved", -0.1), ("out", "", "auc", "gone", None),
                    ("fresh", "", "auc", "same", 0.0), ("stay", "", "auc", "same", 0.0)]
    assert found.movements[0].relative == pytest.approx(-0.25)
    assert found.changes["vae"] == {"params": ["model.d: 2 → 3", "data/sources.json: digits.size: 3 → 4"], "data": ["data/raw/digits"],
                                    "code": ["model.py"]}
    assert found.warnings == ["run old is now called fresh", "not the same environment: instructions: avx2 → avx2 avx512f (vae)",
                              "not the same environment: torch: 1 → 2 (vae)"]
    assert [m.metric for m in found.regressed] == ["auc"]


def test_a_corrupt_file_of_an_old_commit_is_a_note_and_loses_nothing(history):
    found = compare(history, ["one", "two", "three"])
    assert [None if v is None else v.mean for v in next(m for m in found.movements if m.metric == "fid").values] == [40.0, None, 30.0]
    assert any(w.startswith("two: reports/metrics/vae.json: not readable") for w in found.warnings)
    onto = compare(history, ["one", "two"])  # the damaged side is the last: nothing is lost, it cannot be told
    assert not onto.regressed and {m.verdict for m in onto.movements if m.run == "vae"} == {"gone"}


def test_a_run_that_is_still_wanted_and_has_no_metrics_is_lost(history):
    (history / "reports/metrics/stay.json").unlink()
    found = compare(history, ["three"])
    assert [(m.run, m.verdict) for m in found.regressed] == [("stay", "lost")]


def test_two_runs_that_could_be_the_old_one_are_not_taken_for_it(history):
    states = [movements.state(Revision(history, rev)) for rev in ("one", "three")]
    assert renames(*states) == {"fresh": "old"}
    states[1].params["runs"]["twin"] = states[0].params["runs"]["old"]
    states[1].metrics["twin"] = {}
    assert renames(*states) == {}


def test_the_study_lends_its_deviation_to_a_run_with_the_same_settings(history):
    (history / "params.yaml").write_text(json.dumps({"train": {"lr": 1}, "runs": {"vae": {"dataset": "digits", "seeds": [0]}, "stay": {}}}))
    study = history / "reports/study/vae.json"
    study.parent.mkdir()
    for lr, noise in ((1, "study, 3 seeds"), (2, "")):
        study.write_text(json.dumps({"auc": of(0.7, 0.1, 3), "params": {"dataset": "digits", "seeds": [0, 1, 2], "train": {"lr": lr}}}))
        found = next(m for m in compare(history, ["one"]).movements if m.metric == "auc" and m.run == "vae" and not m.baseline)
        assert (found.noise, found.verdict) == (noise, "within" if noise else "regressed")  # 0.2 < 2 · 0.1 · √2


def test_measured_on_another_split_is_not_comparable(history):
    metrics(history, "vae", headline="auc", auc=of(0.1), split="valid")
    found = compare(history, ["three"])
    assert next(m.verdict for m in found.movements if (m.run, m.metric, m.baseline) == ("vae", "auc", "")) == "moved"
    assert "vae: measured on the validation split" in " ".join(found.warnings)


@pytest.mark.parametrize("net", ["features", "inception"])
def test_measured_under_other_weights_is_not_comparable(history, net):
    commit(history, "four")
    metrics(history, "vae", headline="auc", auc=of(0.6), **{net: "1f"})
    assert "vae: measured under another feature net; FID and its kin are not comparable" in compare(history, ["four"]).warnings
    commit(history, "five")
    metrics(history, "vae", headline="auc", auc=of(0.7), **{net: "1f"})
    assert not any("another feature net" in warning for warning in compare(history, ["five"]).warnings)


def run(folder, *arguments):
    return sh(folder, sys.executable, "-m", "pipelines.compare", *arguments)


def test_the_command(history):
    failed = run(history, "one", "three", "--fail")
    assert failed.returncode == 1
    rows = [line.split() for line in failed.stdout.splitlines()]
    assert ["vae", "auc", "↑", "0.8", "0.6", "-0.2", "(-25.0%)", "±0.016", "regressed"] in rows, failed.stdout
    assert failed.stdout.splitlines()[-1] == "one → three: 1 regressed, 1 improved, 1 moved, 1 gone; 2 the same"
    held = run(history, "one", "three", "--json")
    assert held.returncode == 0 and json.loads(held.stdout)["regressed"] == 1
    assert json.loads(held.stdout)["movements"][0]["values"][0] == {"mean": 0.8, "sd": None, "n": 1}
    (history / "params.yaml").write_text("compare: {metrics: {auc: {relative: 0.3}}}")
    assert run(history, "one", "three", "--fail").returncode == 0
    assert "nothing moved" in run(history).stdout  # the last commit against the workspace


def test_a_revision_given_twice_is_noted_once(history):
    (history / "reports/provenance.json").unlink()
    assert [line.partition(":")[0] for line in compare(history, ["workspace", "workspace"]).warnings] == ["workspace"]


def test_markdown_keeps_its_columns(history):
    metrics(history, "vae", headline="auc", **{"a|<b>": of(1.0)})
    text = markdown(compare(history, ["three"]))
    assert "a\\|&lt;b>" in text and "| vae | auc ↑ | 0.6 | - |" in text


@pytest.mark.parametrize(("arguments", "said"), [
    (["oen"], "error: revision: unknown revision 'oen'; allowed: any commit, workspace; branch master; tag two, three, one "
              "(did you mean 'one'?)\n"),
    (["empty", "one"], "error: empty: no readable file in reports/metrics/; allowed: what `git log -- reports/metrics` lists, "
                       "or workspace\n"),
])
def test_wrong_revisions_are_one_line(history, arguments, said):
    sh(history, "git", "rm", "-rq", "reports/metrics")
    commit(history, "empty")
    sh(history, "git", "checkout", "-q", "three")
    if arguments == ["oen"]:
        sh(history, "git", "tag", "-d", "empty")
    found = run(history, *arguments)
    assert (found.returncode, found.stderr) == (2, said)


def test_wrong_tolerances_are_one_line(tmp_path):
    for text, said in (("compare: {relativ: 0.1}", "params.yaml.compare.relativ: unknown setting; allowed: absolute, relative, z, metrics"),
                       ("compare: {metrics: {fdi: {absolute: 1}}}", r"params.yaml.compare.metrics: unknown metric 'fdi'; .* mean 'fid'\?"),
                       ("compare: {metrics: {fid: {better: up}}}", "metrics.fid.better: expected one of higher, lower, none"),
                       ("compare: {z: -1}", "params.yaml.compare.z: -1.0 is out of range; allowed: at least 0.0")):
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(InputError, match=said):
            tolerances(tmp_path)


def test_objects_of_many_commits_come_through_one_process(history):
    with Objects(history) as objects:
        assert objects.read("one:params.yaml").startswith(b'{"runs"')
        assert objects.read("one:nothing") is None and objects.read("one:reports") is None
        assert objects.read("two:reports/metrics/vae.json") == b'{"headline": "auc", "auc"'
