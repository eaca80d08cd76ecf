"""How well word vectors predict held-out contexts, and who is near whom."""

from __future__ import annotations

import numpy as np

ROWS = 512  # centre words scored at once
BUCKETS = ((1, 9), (10, 99), (100, 999), (1000, np.inf))


def context_pairs(tokens: np.ndarray, offsets: np.ndarray, window: int, limit: int, seed: int) -> np.ndarray:
    """[n, 2] (centre, context) within `window` words of one another in a document; a seeded sample of `limit` if there are more.

    The window is full width, not drawn from 1..window as in training: every distance counts alike.
    """
    tokens = np.asarray(tokens, np.int64)
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    found = []
    for distance in range(1, window + 1):
        same = np.flatnonzero(document[distance:] == document[:-distance])
        pair = np.stack([tokens[same], tokens[same + distance]], 1)
        found += [pair, pair[:, ::-1]]
    pairs = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    pairs = pairs[(pairs >= 0).all(1)]
    return pairs[np.sort(np.random.default_rng(seed).permutation(len(pairs))[:limit])] if len(pairs) > limit else pairs


def noise_distribution(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """P(n) proportional to count^power (Mikolov et al. 2013)."""
    weights = np.asarray(counts, np.float64) ** power * (np.asarray(counts) > 0)
    return weights / weights.sum()


def pair_losses(inputs: np.ndarray, outputs: np.ndarray, pairs: np.ndarray, noise: np.ndarray, negatives: int,
                bias: np.ndarray | None = None) -> np.ndarray:
    """Negative-sampling loss of each (centre, context) pair in nats [n], with the expectation over the noise taken exactly:

    -log s(out_c . in_w + b_c) - k sum_n P(n) log s(-(out_n . in_w + b_n)).
    """
    bias = np.zeros(len(outputs)) if bias is None else bias
    centres, row = np.unique(pairs[:, 0], return_inverse=True)
    losses = np.empty(len(pairs))
    order = np.argsort(row, kind="stable")
    bounds = np.searchsorted(row[order], np.arange(len(centres) + 1))
    for start in range(0, len(centres), ROWS):
        stop = min(start + ROWS, len(centres))
        logits = inputs[centres[start:stop]] @ outputs.T + bias
        expected = negatives * (np.logaddexp(0.0, logits) @ noise)
        members = order[bounds[start] : bounds[stop]]
        local = row[members] - start
        losses[members] = np.logaddexp(0.0, -logits[local, pairs[members, 1]]) + expected[local]
    return losses


def unigram_bias(counts: np.ndarray, noise: np.ndarray, negatives: int) -> np.ndarray:
    """The best output bias when the centre word says nothing: log f(c) - log(k P(c)), f the training frequency (never-seen words: -20)."""
    frequency = np.asarray(counts, np.float64) / np.sum(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.log(frequency) - np.log(negatives * noise)
    return np.where(np.isfinite(bias), bias, -20.0)


def by_frequency(losses: np.ndarray, centres: np.ndarray, counts: np.ndarray) -> list[list]:
    """Rows [training count of the centre word, pairs, mean loss], from rare to frequent; buckets without pairs are left out."""
    seen, rows = np.asarray(counts)[centres], []
    for low, high in BUCKETS:
        inside = (seen >= low) & (seen <= high)
        if inside.any():
            rows.append([f"{low} or more" if np.isinf(high) else f"{low}-{high}", int(inside.sum()), float(losses[inside].mean())])
    return rows


def nearest(vectors: np.ndarray, rows: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(ids [n, k], cosines [n, k]) of the nearest other vectors, best first, ties by id."""
    from stages.evaluate.ranking import top_k

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = (unit[rows] @ unit.T).astype(np.float64)
    cosines[np.arange(len(rows)), rows] = -np.inf
    ids = top_k(cosines, min(k, len(vectors) - 1))
    return ids, np.take_along_axis(cosines, ids, 1)
