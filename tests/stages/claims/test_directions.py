"""Claims of kind D: where the numbers are as stated they hold, and a planted wrong direction or formula turns them to `does not hold`."""

import importlib
import json
import typing

import numpy as np
import pytest

from stages import verdicts
from stages.claims import discriminator, sequences
from stages.claims.runs import Runs

SEEDS = 6
WIGGLE = 0.01 * np.array([0.3, -0.7, 0.5, 0.1, -0.4, 0.2])

# of each comparison: theme, and for every metric the level of each of its runs, as the claim says
STATED = {
    "c08": ("modes", {"modes": (4, 8, 10, 24), "high_quality": (0.2, 0.9, 0.1, 0.8)}),
    "c17": ("autoencoders", {"kl": (9, 8, 7, 6, 5), "distortion": (1, 2, 3, 4, 5), "mig": (0.1, 0.2, 0.3, 0.5, 0.2)}),
    "c18": ("adversarial", {"fid": (40, 10), "sharpness": (0.5, 0.9)}),
    "c21": ("embeddings", {"ndcg_10_pairs_0": (0.1, 0.2, 0.3, 0.6, 0.5), "ndcg_10_pairs_10_up": (0.8, 0.8, 0.8, 0.7, 0.7)}),
    "c22": ("embeddings", {"hits_10_tail_1_n": (0.1, 0.5), "hits_10_head_n_1": (0.1, 0.6), "hits_10_head_n_n": (0.1, 0.4),
                           "hits_10_tail_n_n": (0.1, 0.4), "hits_10_head_1_n": (0.5, 0.6), "hits_10_tail_n_1": (0.5, 0.6)}),
    "c29": ("translation", {"label_kept_matched": (0.9, 0.3, 0.5, 0.5), "colour_shift": (5, 5, 2, 9)}),
    "c30": ("translation", {"psnr_y": (29, 27), "fid": (40, 20)}),
    "c31": ("adversarial", {"fid": (30, 20, 29, 19), "probe_accuracy": (0.5, 0.6, 0.65, 0.8)}),
    "c32": ("adversarial", {"fid": (20, 15), "hungarian_accuracy": (0.6, 0.8)}),
}
BASELINES = {"floor": {"sharpness": {"mean": 1.0}}, "chance": {"label_kept_matched": {"mean": 0.2}}}


def compared(name, folder, levels):
    """(verdict, claim) of a comparison whose runs have these levels, with a little noise that differs between runs."""
    count = len(next(iter(levels.values())))
    names = tuple(f"run{i}" for i in range(count)) + (f"run{count - 1}",) * (5 - count)
    for i in range(count):
        found = {key: {"mean": 0, "n": SEEDS, "values": list(values[i] * (1 + np.roll(WIGGLE, i)))} for key, values in levels.items()}
        (folder / f"run{i}.json").write_text(json.dumps({**found, "baselines": BASELINES}))
    function = getattr(importlib.import_module(f"stages.claims.{STATED[name][0]}"), name)
    claim = function(typing.get_type_hints(function)["settings"](), Runs(names, folder, name))
    return verdict(claim), claim


def verdict(claim):
    record = claim.record("c", [0])
    return verdicts.direction([test["interval"] for test in record["tests"]], verdicts.holm({"c": record["p"]})["c"])


@pytest.mark.parametrize("name", STATED)
def test_it_holds_where_the_runs_are_as_stated(tmp_path, name):
    found, claim = compared(name, tmp_path, STATED[name][1])
    assert found == "holds" and claim.verdict is None and claim.figures


@pytest.mark.parametrize(("name", "metric"), [(name, metric) for name, (_, levels) in STATED.items() for metric in levels])
def test_a_metric_that_goes_the_other_way_turns_it(tmp_path, name, metric):
    """Each metric of the claim alone, runs in reversed order (differences change their sign)."""
    levels = STATED[name][1]
    turned = {**levels, metric: tuple(max(levels[metric]) + min(levels[metric]) - level for level in levels[metric])}
    if metric in ("hits_10_head_1_n", "hits_10_tail_n_1"):  # of these the claim says only that their gain is the smaller one
        turned[metric] = (0.1, 2.0)
    if metric == "ndcg_10_pairs_10_up":
        turned[metric] = (0.1, 0.1, 0.1, 0.8, 0.8)
    if metric == "sharpness":
        turned[metric] = (0.9, 0.5)
    assert compared(name, tmp_path, turned)[0] == "does not hold"


def test_runs_that_differ_by_noise_alone_decide_nothing(tmp_path):
    assert compared("c32", tmp_path, {"fid": (20, 20), "hungarian_accuracy": (0.6, 0.6)})[0] == "not decided at this scale"


def test_the_main_effects_of_the_two_scores_by_hand(tmp_path):
    _, claim = compared("c31", tmp_path, STATED["c31"][1])
    fid, z, x = (np.mean(test.differences) for test in claim.tests)
    assert (fid, z, x) == pytest.approx((10.0, 0.175, 0.125), abs=0.01)


def test_c12_holds_and_a_wrong_optimum_turns_it(monkeypatch):
    settings, seeds = discriminator.C12(steps=(10, 100, 400)), list(range(5))
    assert verdict(discriminator.c12(settings, seeds)) == "holds"
    monkeypatch.setattr(discriminator, "optimal", lambda p, q: q / (p + q))  # V is held against that of the swapped densities
    assert verdict(discriminator.c12(settings, seeds)) == "does not hold"


def test_the_sequences_are_those_of_the_problems():
    rng = np.random.default_rng(0)
    x, y = sequences.adding(50, 12, rng)
    assert (x[:, :, 1].sum(1) == 2).all() and (x[:, :6, 1].sum(1) == 1).all() and np.allclose((x[..., 0] * x[..., 1]).sum(1), y)
    assert ((x[..., 0] >= 0) & (x[..., 0] <= 1)).all()
    x, y = sequences.copying(50, 12, rng)
    tokens = x.argmax(2)
    assert (tokens[:, :3] == y).all() and (tokens[:, 3:9] == 8).all() and (tokens[:, 9] == 9).all() and (tokens[:, 10:] == 8).all()


def test_c26_is_measured_against_its_baselines(monkeypatch):
    errors = {("adding", "rnn"): 1.0, ("adding", "lstm"): 0.05, ("copying", "rnn"): 0.87, ("copying", "lstm"): 0.02}
    seeds = list(range(5))
    monkeypatch.setattr(sequences, "outcome", lambda cell, task, settings, seed: (errors[task, cell] + WIGGLE[seed], [(1.0, 1.0)]))
    assert verdict(sequences.c26(sequences.C26(), seeds)) == "holds"
    for key, wrong in ((("adding", "rnn"), 0.1), (("copying", "lstm"), 0.8)):
        monkeypatch.setitem(errors, key, wrong)
        assert verdict(sequences.c26(sequences.C26(), seeds)) == "does not hold"
        monkeypatch.setitem(errors, key, 1.0 if key[1] == "rnn" else 0.02)


def test_an_untrained_reader_is_at_the_baseline():
    tiny = sequences.C26(length=12, hidden=4, steps=2, rows=200)
    errors = [sequences.outcome(cell, task, tiny, 0)[0] for cell in ("rnn", "lstm") for task in ("adding", "copying")]
    assert all(error > 0.7 for error in errors)
