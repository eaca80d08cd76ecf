import itertools

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from stages.evaluate import ranking


def slow_rank(scores, target):
    """The mean place of the target over every order of the tied items that sorting by score allows."""
    places = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            places.append(order.index(target) + 1)
    return np.mean(places)


def test_ranks_equal_the_mean_over_all_enumerated_orders():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (12, 6)).astype(float)
    targets = rng.integers(0, 6, 12)
    expected = [slow_rank(s, t) for s, t in zip(scores, targets, strict=True)]
    assert ranking.realistic_ranks(scores, targets).tolist() == expected


def test_only_allowed_candidates_compete():
    scores = np.array([[5.0, 4.0, 3.0, 3.0]])
    allowed = np.array([[True, False, False, True]])
    assert ranking.realistic_ranks(scores, np.array([2]), allowed).tolist() == [2.5]


def test_a_constant_score_is_chance_and_the_truth_is_one():
    n = 9
    constant = ranking.realistic_ranks(np.zeros((4, n)), np.arange(4))
    assert constant.tolist() == [(n + 1) / 2] * 4
    perfect = ranking.realistic_ranks(np.eye(n), np.arange(n))
    assert ranking.mrr(perfect) == ranking.hit_rate(perfect, 1) == ranking.ndcg(perfect, 10) == 1.0


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        ranking.realistic_ranks(np.array([[np.nan, 1.0]]), np.array([0]))


def test_ndcg_equals_sklearn():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(30, 40))
    targets = rng.integers(0, 40, 30)
    relevance = np.eye(40)[targets]
    assert ranking.ndcg(ranking.realistic_ranks(scores, targets), 10) == pytest.approx(ndcg_score(relevance, scores, k=10))


def test_hit_rate_and_mrr_by_value():
    ranks = np.array([1.0, 2.0, 10.0, 10.5])
    assert ranking.hit_rate(ranks, 10) == 0.75
    assert ranking.mrr(ranks) == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 10.5) / 4)


def test_top_k_breaks_ties_by_id_whichever_way_it_sorts():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 4, (50, 30)).astype(float)
    for k in (3, 20, 40):
        expected = [sorted(range(30), key=lambda i: (-row[i], i))[:k] for row in scores]
        assert ranking.top_k(scores, k).tolist() == expected


def test_coverage_counts_each_item_once():
    assert ranking.catalogue_coverage(np.array([[0, 1], [1, 2]]), 6) == 0.5


def test_auc_equals_sklearn_with_ties():
    rng = np.random.default_rng(3)
    positive, negative = rng.integers(1, 6, 40).astype(float), rng.integers(0, 5, 70).astype(float)
    truth = np.r_[np.ones(40), np.zeros(70)]
    assert ranking.auc(positive, negative) == pytest.approx(roc_auc_score(truth, np.r_[positive, negative]))


def test_average_precision_against_its_definition_and_ties():
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores, right = rng.permutation(9).astype(float), rng.random(9) < 0.4
        right[0] = True
        order, hits, total = np.argsort(-scores), 0, 0.0
        for place, i in enumerate(order, 1):
            if right[i]:
                hits, total = hits + 1, total + (hits + 1) / place
        ranks = ranking.realistic_ranks_of(scores, right)
        assert ranking.average_precision(ranks) == pytest.approx(total / right.sum())
    assert ranking.realistic_ranks_of(np.array([1.0, 1, 1, 0]), np.array([True, False, False, False])).tolist() == [2.0]
