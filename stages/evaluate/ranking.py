"""Ranks and what is computed from them. Ties get the mean of the ranks they span (the "realistic" rank), so a constant score is chance."""

from __future__ import annotations

import numpy as np


def realistic_ranks(scores: np.ndarray, targets: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """Rank of each row's target among its candidates, 1 is best: 1 + #(better) + #(other candidates equal) / 2.

    scores [B, N], higher is better; targets [B]; allowed [B, N] bool says which candidates compete (the target always does).
    Returns float64 [B]. Raises ValueError for NaN scores: every comparison with NaN is false, which would rank it first.
    """
    own = np.take_along_axis(scores, targets[:, None], 1)
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: they cannot be ranked")
    greater, equal = scores > own, scores == own
    np.put_along_axis(equal, targets[:, None], False, 1)
    if allowed is not None:
        greater &= allowed
        equal &= allowed
    return 1.0 + greater.sum(1) + equal.sum(1) / 2.0


def hit_rate(ranks: np.ndarray, k: int) -> float:
    """Share of targets ranked in the first k; never scaled by 1/k."""
    return _mean(ranks <= k)


def ndcg(ranks: np.ndarray, k: int) -> float:
    """NDCG@k with one relevant item a query: mean of 1 / log2(1 + rank) where rank <= k, else 0."""
    return _mean(np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0))


def mrr(ranks: np.ndarray, k: int | None = None) -> float:
    """Mean reciprocal rank; with k, ranks beyond it count 0 (MRR@k)."""
    return _mean(1.0 / ranks if k is None else np.where(ranks <= k, 1.0 / ranks, 0.0))


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Ids of the k best of each row, best first, equal scores by id. scores [B, N] -> int64 [B, min(k, N)]."""
    k = min(k, scores.shape[1])
    if scores.shape[1] > 4 * k:
        near = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        cut = np.take_along_axis(scores, near, 1).min(1, keepdims=True)
        tied = (scores == cut).sum(1) > (np.take_along_axis(scores, near, 1) == cut).sum(1)
        order = np.lexsort((near, -np.take_along_axis(scores, near, 1)), axis=1)
        best = np.take_along_axis(near, order, 1)
        if tied.any():  # a tie across the border: which ids were kept is the partition's whim, so sort those rows whole
            best[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
        return best
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def catalogue_coverage(recommended: np.ndarray, items: int) -> float:
    """Share of the catalogue that is recommended at least once. recommended: ids of any shape."""
    return len(np.unique(recommended)) / items


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties half (the area under the ROC curve)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def realistic_ranks_of(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Ranks of the right ones among all of one list, best first, ties by their mean rank: [n], bool [n] -> float64 [right ones], rising."""
    higher = (scores[None] > scores[right][:, None]).sum(1)
    equal = (scores[None] == scores[right][:, None]).sum(1)
    return np.sort(higher + (equal + 1) / 2)


def average_precision(ranks: np.ndarray) -> float:
    """Average precision of one list from the rising ranks of its right ones: the mean of i / rank of the i-th. Without ties exact."""
    return float((np.arange(1, len(ranks) + 1) / ranks).clip(max=1.0).mean())
