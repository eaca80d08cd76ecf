"""Disentanglement metrics on a representation that must score 1, one that must score chance, and one that fools careless code."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from stages.evaluate import disentanglement as d

GRID = np.array(list(itertools.product(range(3), range(4), range(5), range(6))) * 3)
RNG = np.random.default_rng(0)
TEST = RNG.random(len(GRID)) < 0.3
PERFECT = GRID[:, [2, 0, 3, 1]] * np.array([1.0, -2.0, 0.5, 3.0]) + 0.01 * RNG.random((len(GRID), 4))
USELESS = RNG.normal(size=(len(GRID), 4))
DUPLICATED = np.concatenate([PERFECT, PERFECT + 0.01 * RNG.random(PERFECT.shape)], 1)
COLLAPSED = np.concatenate([PERFECT, 1e-4 * RNG.normal(size=(len(GRID), 6))], 1)


@pytest.fixture(scope="module")
def found():
    shown = {"perfect": PERFECT, "useless": USELESS, "duplicated": DUPLICATED, "collapsed": COLLAPSED}
    return {name: d.scores(codes, GRID, TEST, 0) for name, codes in shown.items()}


def test_a_perfect_representation_scores_one(found):
    for name, value in found["perfect"].items():
        assert value == pytest.approx(1.0, abs=0.02), name


def test_a_useless_one_scores_chance(found):
    useless = found["useless"]
    assert useless["mig"] < 0.03 and useless["sap"] < 0.08 and useless["dci"] < 0.1
    assert useless["factorvae"] < 0.45 and useless["betavae"] < 0.45  # the best constant guess is 1/4 of the factors, and noise of votes


def test_a_duplicated_one_loses_where_a_gap_to_the_second_unit_counts_and_only_there(found):
    doubled = found["duplicated"]
    assert doubled["mig"] < 0.1 and doubled["sap"] < 0.05  # the second unit knows as much
    assert doubled["dci_completeness"] < 0.75  # two units answer for each factor
    assert doubled["dci"] > 0.95 and doubled["factorvae"] > 0.98 and doubled["betavae"] > 0.98  # each unit still answers for one


def test_collapsed_units_are_not_voted_for(found):
    assert found["collapsed"]["factorvae"] == pytest.approx(found["perfect"]["factorvae"], abs=0.02)
    assert d.factor_vae(1e-3 * USELESS, GRID, 0) == 0.0


def test_a_rotated_representation_is_entangled():
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    scaled = PERFECT / PERFECT.std(0)
    assert d.mig(scaled @ turn, GRID) < 0.35 * d.mig(scaled, GRID)


def test_mutual_information_is_that_of_the_library_and_an_entropy_with_itself():
    x, y = RNG.integers(0, 5, 400), RNG.integers(0, 3, 400)
    y = np.where(RNG.random(400) < 0.5, x % 3, y)
    assert d.mutual_information(x, y) == pytest.approx(mutual_info_score(x, y), rel=1e-9)
    assert d.mutual_information(np.arange(4), np.arange(4)) == pytest.approx(math.log(4))


def test_mig_by_hand():
    """One factor of four values: unit 1 knows it (log 4), unit 2 its half (log 2), so the gap is (log 4 - log 2) / log 4."""
    factor = np.tile(np.arange(4), 25)[:, None]
    codes = np.concatenate([factor, factor // 2], 1).astype(float)
    assert d.mig(codes, factor) == pytest.approx(0.5)


def test_dci_of_an_importance_matrix_by_hand():
    matrix = np.array([[0.8, 0.2], [0.0, 1.0], [0.0, 0.0]])
    h = -(0.8 * math.log2(0.8) + 0.2 * math.log2(0.2))
    columns = [np.array([1.0, 0.0, 0.0]), np.array([0.2 / 1.2, 1 / 1.2, 0.0])]
    complete = [1 + sum(p * math.log(p, 3) for p in c if p > 0) for c in columns]
    disentangled, completeness = d.entropies(matrix)
    assert disentangled == pytest.approx(0.5 * (1 - h) + 0.5 * 1.0)
    assert completeness == pytest.approx(np.mean(complete))


def test_a_factor_that_does_not_vary_is_left_out():
    still = np.concatenate([GRID, np.zeros((len(GRID), 1), int)], 1)
    assert d.mig(PERFECT, still) == pytest.approx(d.mig(PERFECT, GRID))
    assert d.factor_vae(PERFECT, still, 0) > 0.98 and d.sap(PERFECT, still, TEST) > 0.98
