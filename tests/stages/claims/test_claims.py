"""Claims: the verdict follows its rule, the stage writes its record, what is wrong is one line."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages import params
from stages.claims import __main__ as stage
from stages.claims import modes
from stages.claims.record import Check, Claim, Contrast, over_seeds, worst
from stages.claims.runs import Runs
from stages.command import command
from stages.report.mathml import mathml
from stages.settings import InputError
from stages.verdicts import DIRECTIONS, PAIRS

ROOT = Path(__file__).resolve().parents[3]
HEAD = """split: {salt: s}
validate: {}
datasets:
  d: {domain: images, source: builtin, name: digits, options: {}, validate: {}, prepare: {}}
train: {}
"""


def claim(*checks, tests=()):
    return Claim("s", "f", "p", "d", "t", "c", list(checks), list(tests))


def test_the_rule_of_equalities():
    good, bad, lost = Check("a", 1.0005, 1.0), Check("b", 1.002, 1.0), Check("c", math.nan, 1.0, 1e9)
    assert claim(good).verdict == "holds"
    assert [claim(*c).verdict for c in ((good, bad), (lost,), ())] == ["does not hold"] * 3
    assert Check("a", 2.0, 3.0, 0.0, "at most").passes and not Check("a", 3.1, 3.0, 0.0, "at most").passes
    assert Check("a", 3.1, 3.0, 0.0, "at least").passes and not Check("a", 2.0, 3.0, 1e-3, "at least").passes
    assert Check("a", 0.010005, 0.01).passes and not Check("a", 0.0101, 0.01).passes, "a tolerance is a share of what is expected"
    assert Check("a", 5e-4, 0.0).passes and not Check("a", 2e-3, 0.0).passes
    assert Check("a", math.inf, math.inf).passes and not Check("a", 1e300, math.inf).passes and not Check("a", math.inf, 1.0).passes


def test_a_check_over_seeds_has_an_interval_and_the_worst_is_found():
    found = over_seeds("a", [1.0, 2.0, 3.0], 2.0).record()
    assert found["measured"] == 2.0 and found["interval"] == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    check = worst("a", [1.0, 5.2, -2.8], [1.0, 5.0, -3.1])
    assert (check.measured, check.expected) == (-2.8, -3.1)
    assert [over_seeds("a", [0.2, 0.9, 1.2], 1.0, 0.0, relation).passes for relation in ("at most", "at least")] == [False, False]
    assert over_seeds("a", [0.2, 0.9], 1.0, 0.0, "at most").measured == 0.9 and math.isnan(over_seeds("a", [0.2, math.nan], 1.0).measured)
    assert math.isnan(worst("a", [1.0, math.nan], 1.0).measured)


def test_the_record_of_a_direction_has_the_largest_p_and_no_verdict():
    record = claim(tests=[Contrast("a", (1.0, 1.1, 0.9, 1.0, 1.2)), Contrast("b", (0.1, -0.2, 0.3, 0.0, 0.1))])
    record = record.record("c99", [0, 1, 2, 3, 4])
    assert record["kind"] == "D" and "verdict" not in record and record["p"] == record["tests"][1]["p"] > record["tests"][0]["p"]


def entry(theme="games", seeds=(0,)):
    return params.Claim(theme, tuple(seeds))


def test_wrong_entries_are_one_line_each():
    with pytest.raises(InputError, match="unknown theme 'game'; allowed: .*games.* \\(did you mean 'games'\\?\\)"):
        stage.experiment("c10", entry("game"), "w")
    with pytest.raises(InputError, match="w: unknown claim of theme games 'c11'; allowed: c10"):
        stage.experiment("c11", entry(), "w")
    with pytest.raises(InputError, match="w.seeds: found \\[0\\], but a paired test needs at least 5 seeds; list more"):
        stage.experiment("c12", entry("discriminator"), "w")
    with pytest.raises(InputError, match="w: c17 reads trained runs; its place is under comparisons: in the params file"):
        stage.experiment("c17", entry("autoencoders"), "w")
    with pytest.raises(InputError, match="w: c10 trains what it needs itself; its place is under claims: in the params file"):
        stage.experiment("c10", params.Comparison("games", ("a",) * 5), "w")


@pytest.mark.parametrize(("text", "line"), [
    ("claims: {c10: {theme: games, seeds: []}}\nruns: {}\n", "claims.c10.seeds: expected at least one seed, each once, found []"),
    ("comparisons: {c17: {theme: autoencoders, runs: [r, r]}}\nruns: {r: {family: vae, dataset: d, features: none}}\n",
     "comparisons.c17.runs: expected 5 names, found 2; repeat the last where fewer are compared"),
    ("comparisons: {c17: {theme: autoencoders, runs: [r, r, r, r, x]}}\nruns: {r: {family: vae, dataset: d, features: none}}\n",
     "comparisons.c17.runs: unknown run 'x'; allowed: r"),
    ("claims: {c17: {theme: games}}\ncomparisons: {c17: {theme: games, runs: [r, r, r, r, r]}}\n"
     "runs: {r: {family: vae, dataset: d, features: none}}\n", "comparisons.c17: c17 stands under claims: too; keep one"),
])
def test_wrong_params_are_one_line_each(tmp_path, text, line):
    (tmp_path / "params.yaml").write_text(HEAD + text)
    with pytest.raises(InputError) as error:
        params.load(tmp_path / "params.yaml")
    assert str(error.value).endswith(line)


@pytest.fixture
def compared(tmp_path, monkeypatch, capsys):
    """(code, stderr, record) of comparison c17 in a project whose runs have `metrics` {run: {metric: values}}."""

    def run(metrics):
        names = ["a", "b", "c", "d", "e"]
        runs = "\n".join(f"  {name}: {{family: vae, dataset: d, features: none}}" for name in names)
        (tmp_path / "params.yaml").write_text(
            f"{HEAD}runs:\n{runs}\ncomparisons:\n  c17: {{theme: autoencoders, runs: [{', '.join(names)}]}}\n")
        (tmp_path / "reports/metrics").mkdir(parents=True)
        for name, found in metrics.items():
            whole = {key: {"mean": 0, "n": len(values), **({"values": values} if len(values) > 1 else {})}
                     for key, values in found.items()}
            (tmp_path / f"reports/metrics/{name}.json").write_text(json.dumps({"headline": "kl", **whole, "baselines": {}}))
        places = ["--params", str(tmp_path / "params.yaml"), "--reports", str(tmp_path / "reports")]
        monkeypatch.setattr(sys, "argv", ["claims", "c17", *places])
        code = 0
        try:
            command(stage.main)
        except SystemExit as stop:
            code = stop.code
        path = tmp_path / "reports/claims/c17.json"
        return code, capsys.readouterr().err, json.loads(path.read_text()) if path.exists() else None

    return run


def steady(i, seeds=5):
    wiggle = [0.01 * ((7 * seed + i) % 5) for seed in range(seeds)]
    return {"kl": [9 - i + w for w in wiggle], "distortion": [10 + i + w for w in wiggle],
            "mig": [(0.1, 0.2, 0.3, 0.4, 0.2)[i] + w for w in wiggle]}


def test_a_comparison_reads_its_runs_seed_by_seed(compared):
    code, _, record = compared({name: steady(i) for i, name in enumerate("abcde")})
    assert code == 0 and record["kind"] == "D" and record["p"] < 1e-4 and record["seeds"] == [0, 1, 2, 3, 4]
    assert record["tests"][0]["differences"] == pytest.approx([1 + 0.01 * ((7 * s) % 5) - 0.01 * ((7 * s + 1) % 5) for s in range(5)])


def test_a_planted_direction_turns_the_p_of_a_comparison(compared):
    wrong = {name: steady(4 - i) for i, name in enumerate("abcde")}
    assert compared(wrong)[2]["p"] > 0.99


@pytest.mark.parametrize(("metrics", "line"), [
    ({"a": steady(0)}, "comparisons.c17: run b has not been trained and measured (no {}/b.json); "
                       "run python -m pipelines.repro evaluate@b first"),
    ({name: steady(0, 1) for name in "abcde"}, "comparisons.c17: run a has 1 seed in {}, but a paired test needs at least 5; "
                                               "list more under runs.a.seeds (the study profile does)"),
    ({name: {**steady(0), "mig": [1.0]} for name in "abcde"},
     "comparisons.c17: mig of run a could not be measured for every seed (1 of 5), so nothing can be paired; train run a longer, or with "
     "other settings"),
    ({name: {"kl": [1.0] * 5, "distortion": [1.0] * 5} for name in "abcde"},
     "comparisons.c17: metrics of run a: unknown metric 'mig'; allowed: kl, distortion"),
])
def test_a_comparison_that_cannot_be_made_is_one_line(compared, tmp_path, metrics, line):
    code, error, record = compared(metrics)
    assert code == 2 and record is None and error.endswith(line.format(tmp_path / "reports/metrics") + "\n")


@pytest.fixture(scope="module")
def study():
    """params.yaml with the study profile laid over it."""
    whole, over = (yaml.safe_load((ROOT / name).read_text()) for name in ("params.yaml", "profiles/study.yaml"))

    def laid(below, above):
        both = isinstance(below, dict) and isinstance(above, dict)
        return {**below, **{key: laid(below.get(key), value) for key, value in above.items()}} if both else above

    return laid(whole, over)


def test_every_claim_of_the_list_is_in_the_study_with_the_keys_that_dvc_reads(study):
    entries = {**study["claims"], **study["comparisons"]}
    assert sorted(entries) == [f"c{i:02}" for i in range(1, 34)]
    assert len([name for name in entries if name not in yaml.safe_load((ROOT / "params.yaml").read_text())["claims"]]) == DIRECTIONS
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for section in ("claims", "comparisons"):
        keys = {key.rpartition(".")[2] for key in definition[section]["do"]["params"]}
        assert all(keys <= set(entry) for entry in study[section].values())


def test_the_runs_of_a_comparison_have_enough_paired_seeds(study):
    few = {run for entry in study["comparisons"].values() for run in entry["runs"] if len(study["runs"][run]["seeds"]) < PAIRS}
    assert not few


class Asked(Runs):
    """Runs that have every metric of names.json and note what is asked of them."""

    def __init__(self, names):
        self.names, self.seeds, self.asked = tuple(names), PAIRS, set()

    def values(self, i, metric):
        self.asked.add(metric)
        return tuple(0.1 * i + 0.01 * seed for seed in range(PAIRS))

    def baseline(self, i, name, metric):
        self.asked.add(metric)
        return 0.5


def test_a_comparison_asks_for_metrics_that_evaluation_has(study, monkeypatch):
    known = json.loads((ROOT / "stages/evaluate/names.json").read_text())
    monkeypatch.setattr(modes, "game", lambda *given: (None, np.full((10, 8), 1 / 8)))
    monkeypatch.setattr(modes, "small_models", lambda *given: [(0.0, 0.0)] * 4)
    for name, entry in study["comparisons"].items():
        function, settings = stage.experiment(name, params.Comparison(entry["theme"], tuple(entry["runs"])), name)
        runs = Asked(entry["runs"])
        claim = function(settings(), runs)
        assert runs.asked <= set(known), f"{name} asks for {runs.asked - set(known)}"
        assert mathml(claim.formula) and claim.figures and claim.turn and claim.changes and claim.source
        for place in re.findall(r"(?:runs|datasets|comparisons|claims)\.[a-z0-9-]+", claim.turn):
            section, entry_name = place.split(".")
            assert entry_name in study[section], f"{name}: {claim.turn}"


def start(name, folder):
    return subprocess.run([sys.executable, "-m", "stages.claims", name, "--reports", folder], cwd=ROOT, capture_output=True, text=True)


def test_the_stage_writes_its_record(tmp_path):
    done = start("c10", tmp_path)
    record = json.loads((tmp_path / "claims/c10.json").read_text())
    assert done.returncode == 0 and record["verdict"] == "holds" and "12 of 12 checks pass" in done.stdout
    bad = start("c99", tmp_path)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1
    assert bad.stderr.startswith("error: claims: unknown claim 'c99'; allowed: c01, c02")
