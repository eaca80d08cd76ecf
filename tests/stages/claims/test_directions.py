"""Claims of kind D: where the numbers are as stated they hold, and a planted wrong direction or formula turns them to `does not hold`."""

import importlib
import json
import typing

import numpy as np
import pytest
import torch

from stages import verdicts
from stages.claims import discriminator, modes
from stages.claims.runs import Runs
from stages.claims.trials import trained
from stages.settings import InputError

SEEDS = 6
PLAY = modes.game  # itself, behind the fixture
WIGGLE = 0.01 * np.array([0.3, -0.7, 0.5, 0.1, -0.4, 0.2])

# of each comparison: theme, and for every metric the level of each of its runs, as the claim says
STATED = {
    "c08": ("modes", {"modes": (4, 8, 10, 24), "high_quality": (0.2, 0.9, 0.1, 0.8)}),
    "c17": ("autoencoders", {"kl": (9, 8, 7, 6, 5), "distortion": (1, 2, 3, 4, 5), "mig": (0.1, 0.2, 0.3, 0.5, 0.2)}),
    "c18": ("adversarial", {"fid": (40, 10, 45, 60, 70), "sharpness": (0.5, 0.9), "probe_accuracy": (0.9, 0.1),
                            "probe_accuracy_inverted": (0.95, 0.6)}),
    "c20": ("embeddings", {"rows_per_token": (11, 40, 11), "inflection_mrr_rare": (0.02, 0.05, 0.03),
                           "inflection_accuracy": (0.08, 0.04, 0.05)}),
    "c21": ("embeddings", {"ndcg_10_pairs_0": (0.1, 0.1, 0.12, 0.3, 0.6), "ndcg_10_pairs_10_up": (0.8, 0.8, 0.75, 0.7, 0.7)}),
    "c22": ("embeddings", {"hits_10_tail_1_n": (0.1, 0.5), "hits_10_head_n_1": (0.1, 0.6), "hits_10_head_n_n": (0.1, 0.4),
                           "hits_10_tail_n_n": (0.1, 0.4), "hits_10_head_1_n": (0.5, 0.6), "hits_10_tail_n_1": (0.5, 0.6),
                           "spread_tail_1_n": (0.6, 0.9), "spread_head_n_1": (0.6, 0.9), "spread_head_n_n": (0.7, 0.9),
                           "spread_tail_n_n": (0.7, 0.9)}),
    "c26": ("sequences", {"mse": (0.17, 0.005, 1, 1), "accuracy": (0.5, 0.5, 0.86, 0.99)}),
    "c27": ("sequences", {"alignment": (0.1, 0.9), "exact_match_long": (0.1, 0.9), "exact_match_short": (0.5, 0.9)}),
    "c28": ("sequences", {"exposure_gap_words": (0.3, 0.1, 0.05, 0.01, 0.01), "accuracy_free": (0.6, 0.6, 0.2, 1, 1)}),
    "c29": ("translation", {"label_kept_matched": (0.9, 0.3, 0.5, 0.5), "colour_shift": (5, 5, 2, 9)}),
    "c30": ("translation", {"psnr_y": (29, 27, 28.5), "fid": (40, 20, 38)}),
    "c31": ("adversarial", {"fid": (30, 20, 29, 19), "probe_accuracy": (0.5, 0.6, 0.65, 0.8)}),
    "c32": ("adversarial", {"fid": (20, 15), "hungarian_accuracy": (0.6, 0.8)}),
    "c33": ("modes", {"kl": (0.02, 1, 3, 3, 2), "active_units": (0.1, 2, 9, 30, 9), "mutual_information": (0.01, 0.5, 1, 2, 3)}),
}
BASELINES = {"floor": {"sharpness": 1.0}, "mean": {"mse": 0.17}, "most_frequent_tag": {"accuracy": 0.85},
             "uniform_attention": {"alignment": 0.3}, "chance": {"label_kept_matched": 0.2}}
STILL, HOPS = np.full((10, 8), 1 / 8), np.eye(8)[np.arange(10) % 8]
SMALL = [(1.9, 1.0), (0.03, 1.0), (1.8, 1.0), (0.1, 0.125)]  # information and coverage of C33's small models


@pytest.fixture(autouse=True)
def played(monkeypatch):
    """The small models of C08 and C33 as they come out, without training."""
    monkeypatch.setattr(modes, "game", lambda objective, seed, *rest: (None, HOPS if objective == "saturating" else STILL))
    monkeypatch.setattr(modes, "small_models", lambda settings, seed: [(a + WIGGLE[seed % SEEDS], b) for a, b in SMALL])


def compared(name, folder, levels):
    """(verdict, claim) of a comparison whose runs have these levels, with a little noise that differs between runs."""
    count = len(next(iter(levels.values())))
    names = tuple(f"run{i}" for i in range(count)) + (f"run{count - 1}",) * (5 - count)
    baselines = {name: {key: {"mean": value} for key, value in of.items()} for name, of in BASELINES.items()}
    for i in range(count):
        found = {key: {"mean": 0, "n": SEEDS, "values": list(values[i] * (1 + np.roll(WIGGLE, i)))} for key, values in levels.items()
                 if i < len(values)}
        (folder / f"run{i}.json").write_text(json.dumps({**found, "baselines": baselines}))
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
    if metric == "exact_match_short":  # of these too the claim says only that their gain is the smaller one
        turned[metric] = (0.05, 1.0)
    assert compared(name, tmp_path, turned)[0] == "does not hold"


def test_runs_that_differ_by_noise_alone_decide_nothing(tmp_path):
    assert compared("c32", tmp_path, {"fid": (20, 20), "hungarian_accuracy": (0.6, 0.6)})[0] == "not decided at this scale"


def test_runs_of_other_seeds_are_not_paired(tmp_path):
    compared("c32", tmp_path, STATED["c32"][1])
    names, trained = ("run0", "run1"), {"run0": [0, 1, 2, 3, 4, 5], "run1": [0, 1, 2, 3, 4, 6]}
    with pytest.raises(InputError, match=r"c32: seeds \[0, 1, 2, 3, 4, 6\] of run run1 are not those of run run0 .* list the same under"):
        Runs(names, tmp_path, "c32", trained)
    assert Runs(names, tmp_path, "c32", {**trained, "run1": [0, 1, 2, 3, 4, 5, 6]}).seeds == SEEDS


def test_the_main_effects_of_the_two_scores_by_hand(tmp_path):
    _, claim = compared("c31", tmp_path, STATED["c31"][1])
    fid, z, x = (np.mean(test.differences) for test in claim.tests)
    assert (fid, z, x) == pytest.approx((10.0, 0.175, 0.125), abs=0.01)


def test_c12_holds_and_a_wrong_optimum_turns_it(monkeypatch):
    settings, seeds = discriminator.C12(steps=(10, 100, 400)), list(range(5))
    assert verdict(discriminator.c12(settings, seeds)) == "holds"
    monkeypatch.setattr(discriminator, "optimal", lambda p, q: q / (p + q))  # V is held against that of the swapped densities
    assert verdict(discriminator.c12(settings, seeds)) == "does not hold"


def test_c08_wants_the_saturating_game_to_hop(tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "game", lambda objective, seed, *rest: (None, STILL if objective == "saturating" else HOPS))
    assert compared("c08", tmp_path, STATED["c08"][1])[0] == "does not hold"


@pytest.mark.parametrize("wrong", [(1, 0, 2, 3), (0, 3, 2, 1), (0, 1, 3, 2)])
def test_c33_wants_each_collapse_to_lose_its_own(tmp_path, monkeypatch, wrong):
    """The VAEs swapped; the collapsed ones swapped; the games swapped."""
    monkeypatch.setattr(modes, "small_models", lambda settings, seed: [(SMALL[i][0] + WIGGLE[seed % SEEDS], SMALL[i][1]) for i in wrong])
    assert compared("c33", tmp_path, STATED["c33"][1])[0] == "does not hold"


def test_hops_coverage_and_information_by_hand():
    half = np.array([[0.5, 0.5] + [0] * 6, [0, 0.5, 0.5] + [0] * 5])
    assert modes.moved(np.repeat(half, 9, 0)) == 0  # the one move is in the earlier half
    assert modes.moved(np.concatenate([half[:1].repeat(6, 0), half, half, half])) == 0.5
    assert modes.coverage(half.mean(0)) == 3 / 8 and modes.coverage(np.array([0.985] + [0.0125, 0.0025] + [0] * 5)) == 2 / 8
    assert modes.information(np.eye(8)) == pytest.approx(np.log(8)) and modes.information(np.full((5, 8), 1 / 8)) == pytest.approx(0)
    joint, slow = half / 2, 0.0
    for i in range(2):
        for k in range(8):
            if joint[i, k]:
                slow += joint[i, k] * np.log(joint[i, k] / (joint[i].sum() * joint[:, k].sum()))
    assert modes.information(half) == pytest.approx(slow)


def test_the_modes_of_a_ring_are_those_of_its_points():
    points = torch.from_numpy(modes.ring(4000, 0))
    assert np.bincount(modes.nearest(points), minlength=8) / 4000 == pytest.approx(np.full(8, 1 / 8), abs=0.02)
    assert modes.nearest(torch.from_numpy(modes.PLACES)).tolist() == list(range(8))
    right = torch.from_numpy(modes.PLACES).float()
    told = modes.by_code(lambda z, generator: right[(z[..., 0] > 0).long()], 0, 50, 3)
    assert set(map(tuple, told.tolist())) == {tuple(np.eye(8)[0]), tuple(np.eye(8)[1])}


def test_a_decoder_that_can_do_without_its_code_leaves_it_and_one_that_cannot_reads_it():
    points = {"x": modes.ring(5000, 0)}
    told = [modes.information(modes.by_code(trained(lambda able=able: modes.Coder(able, 32), points, 0, steps=300, batch_size=256,
                                                    lr=3e-3)[0].draw, 0, 200, 50)) for able in (False, True)]
    assert told[0] > 1.0 and told[1] < 0.4


def test_a_generator_far_ahead_of_its_discriminator_collapses():
    model, shares = PLAY("saturating", 0, 120, 32, 20)
    assert shares.shape == (40, 8) and shares.sum(1) == pytest.approx(np.ones(40)) and modes.coverage(shares[-1]) <= 0.5
