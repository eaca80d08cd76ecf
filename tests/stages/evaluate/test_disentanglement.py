"""Disentanglement metrics on a representation that must score 1, one that must score chance, and one that fools careless code."""

import itertools
import math
import statistics
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import minimize
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


def test_sap_by_hand():
    """One factor of four values: unit 1 names it, score 1; unit 2 its half, right in 1/2 where chance is 1/4, score 1/3; the gap is 2/3."""
    factor = np.tile(np.arange(4), 50)[:, None]
    codes = np.concatenate([factor, factor // 2], 1).astype(float)
    assert d.sap(codes, factor, np.arange(200) >= 120) == pytest.approx(2 / 3)


def drawn_rows(factors, rng, size):
    """A factor and rows that share one of its values, as the papers' algorithms draw them."""
    factor = int(rng.choice(np.arange(factors.shape[1])))
    value = factors[rng.integers(len(factors)), factor]
    return factor, rng.choice([i for i in range(len(factors)) if factors[i, factor] == value], size)


def test_factor_vae_is_the_paper_s_algorithm_written_out():
    rng = np.random.default_rng(5)
    codes = PERFECT + 0.8 * PERFECT.std(0) * np.random.default_rng(1).normal(size=PERFECT.shape)
    deviation = [statistics.pstdev(unit.tolist()) for unit in codes.T]
    votes = []
    for _ in range(120):
        factor, rows = drawn_rows(GRID, rng, 8)
        scaled = [statistics.pvariance((codes[rows, u] / deviation[u]).tolist()) for u in range(codes.shape[1])]
        votes.append((scaled.index(min(scaled)), factor))
    first, second = Counter(votes[:60]), votes[60:]
    winner = {u: max(range(4), key=lambda f, u=u: first[u, f]) for u in range(4)}
    expected = sum(winner[u] == factor for u, factor in second) / 60
    assert 0.3 < expected < 0.95  # neither perfect nor chance, or nothing would be shown
    assert d.factor_vae(codes, GRID, 5, votes=60, size=8) == pytest.approx(expected)


def test_beta_vae_is_the_paper_s_algorithm_written_out():
    """A classifier of the fixed factor from mean |z_a - z_b| of pairs; here by conjugate gradients, not the library's solver."""
    rng = np.random.default_rng(7)
    codes = PERFECT + 0.8 * PERFECT.std(0) * np.random.default_rng(1).normal(size=PERFECT.shape)
    x, y = [], []
    for _ in range(240):
        factor, rows = drawn_rows(GRID, rng, 16)
        x.append([sum(abs(codes[a, u] - codes[b, u]) for a, b in zip(rows[:8], rows[8:], strict=True)) / 8 for u in range(4)])
        y.append(factor)
    x, y = np.array(x), np.array(y)
    x = (x - x[:120].mean(0)) / x[:120].std(0)
    bordered, targets = np.column_stack([x, np.ones(240)]), np.eye(4)[y]

    def objective(w):  # C = 1: half the squared weights, the intercept free
        logits = bordered[:120] @ w.reshape(5, 4)
        logits = logits - logits.max(1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        free = np.array([[1.0]] * 4 + [[0.0]]) * w.reshape(5, 4)
        return -np.log((p * targets[:120]).sum(1)).sum() + 0.5 * (free**2).sum(), (bordered[:120].T @ (p - targets[:120]) + free).ravel()

    fitted = minimize(objective, np.zeros(20), jac=True, method="CG", options={"gtol": 1e-6, "maxiter": 5000}).x.reshape(5, 4)
    expected = ((bordered[120:] @ fitted).argmax(1) == y[120:]).mean()
    assert 0.3 < expected < 0.99
    assert d.beta_vae(codes, GRID, 7, points=120, size=8) == pytest.approx(expected, abs=1 / 120)
