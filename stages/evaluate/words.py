"""How well word vectors predict held-out contexts, and who is near whom."""

from __future__ import annotations

import numpy as np

ROWS = 512  # centre words scored at once
BUCKETS = ((1, 9), (10, 99), (100, 999), (1000, np.inf))


def context_pairs(tokens: np.ndarray, offsets: np.ndarray, window: int, limit: int, seed: int, shrink: bool = False,
                  skip: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(pairs [n, 2] of two words within `window` of one another in a document, both ways round; weights [n]).

    shrink: a pair at distance d weighs (window - d + 1) / window, its probability when the reach is drawn from 1..window; else 1.
    window 0 is the whole document, where shrink has no meaning. The word `skip` and negative ids are taken out first, so that their
    neighbours move together. Of more than `limit` pairs a seeded sample is kept.
    """
    tokens = np.asarray(tokens, np.int64)
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kept = (tokens >= 0) & (tokens != skip) if skip is not None else tokens >= 0
    tokens, document = tokens[kept], document[kept]
    reach = window or int(np.diff(offsets).max(initial=1)) - 1
    pairs, weights = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for distance in range(1, reach + 1):
        same = np.flatnonzero(document[distance:] == document[:-distance])
        pair = np.stack([tokens[same], tokens[same + distance]], 1)
        pairs += [pair, pair[:, ::-1]]
        weights.append(np.full(2 * len(pair), (window - distance + 1) / window if shrink and window else 1.0))
    pairs, weights = np.concatenate(pairs), np.concatenate(weights)
    kept = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:limit]) if len(pairs) > limit else slice(None)
    return pairs[kept], weights[kept]


def target_counts(tokens: np.ndarray, offsets: np.ndarray, window: int, size: int, shrink: bool = False,
                  skip: int | None = None) -> np.ndarray:
    """Weight [size] with which each word is predicted by the pairs of `context_pairs` without a limit; no pair is made."""
    tokens = np.asarray(tokens, np.int64)
    document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kept = (tokens >= 0) & (tokens != skip) if skip is not None else tokens >= 0
    tokens, document = tokens[kept], document[kept]
    lengths = np.bincount(document, minlength=len(offsets) - 1)
    before = np.arange(len(tokens)) - (np.cumsum(lengths) - lengths)[document]

    def weight(others):
        near = np.minimum(others, window) if window else others
        return near * (2 * window - near + 1) / (2 * window) if shrink and window else near  # sum over d of (window - d + 1) / window
    return np.bincount(tokens, weight(before) + weight(lengths[document] - 1 - before), minlength=size).astype(np.float64)


def rows_per_token(contexts: float, centres: int, outputs: int, per_pair: bool) -> float:
    """Rows of both tables that a pass reads and changes a token, of `contexts` words beside `centres` tokens.

    Input rows: every word of a window. Output rows: `outputs` (the target and its noise) a window, or a pair with noise of its own.
    """
    return (contexts + outputs * (contexts if per_pair else centres)) / centres


def noise_distribution(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """P(n) proportional to count^power (Mikolov et al. 2013)."""
    weights = np.asarray(counts, np.float64) ** power * (np.asarray(counts) > 0)
    return weights / weights.sum()


def pair_losses(inputs: np.ndarray, outputs: np.ndarray, pairs: np.ndarray, noise: np.ndarray, negatives: int,
                bias: np.ndarray | None = None) -> np.ndarray:
    """Negative-sampling loss of each pair (word read, word predicted) in nats [n], the expectation over the noise taken exactly:

    -log s(w_t . e_c + b_t) - k sum_{n != t} P(n) log s(-(w_n . e_c + b_n)); noise equal to the target is dropped, as in training.
    """
    bias = np.zeros(len(outputs)) if bias is None else bias
    read, row = np.unique(pairs[:, 0], return_inverse=True)
    losses = np.empty(len(pairs))
    order = np.argsort(row, kind="stable")
    bounds = np.searchsorted(row[order], np.arange(len(read) + 1))
    for start in range(0, len(read), ROWS):
        stop = min(start + ROWS, len(read))
        logits = inputs[read[start:stop]] @ outputs.T + bias
        against = np.logaddexp(0.0, logits)
        expected = against @ noise
        members = order[bounds[start] : bounds[stop]]
        local, target = row[members] - start, pairs[members, 1]
        own, other = logits[local, target], against[local, target]
        losses[members] = other - own + negatives * (expected[local] - noise[target] * other)
    return losses


def unigram_bias(counts: np.ndarray, noise: np.ndarray, negatives: int) -> np.ndarray:
    """The best output bias when the word read says nothing: log f(t) - log(k P(t) (1 - f(t))), f the training frequency.

    1 - f because noise equal to the target is dropped. Words never seen, and words that are never noise, get -20 and 20.
    """
    frequency = np.asarray(counts, np.float64) / np.sum(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.log(frequency) - np.log(negatives * noise * (1.0 - frequency))
    return np.clip(np.where(frequency > 0, bias, -20.0), -20.0, 20.0)  # any other NaN stays one and is refused with the metrics


def by_frequency(losses: np.ndarray, weights: np.ndarray, read: np.ndarray, counts: np.ndarray) -> list[tuple[str, int, float]]:
    """(training count of the word read, pairs, weighted mean loss) of each bucket, rare first; buckets without pairs are left out."""
    seen, rows = np.asarray(counts)[read], []
    for low, high in BUCKETS:
        inside = (seen >= low) & (seen <= high)
        if inside.any():
            name = f"{low} or more" if np.isinf(high) else f"{low}-{high}"
            rows.append((name, int(inside.sum()), float(np.average(losses[inside], weights=weights[inside]))))
    return rows


def nearest(vectors: np.ndarray, rows: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(ids [n, k], cosines [n, k]) of the nearest other vectors, best first, ties by id."""
    from stages.evaluate.ranking import top_k

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = (unit[rows] @ unit.T).astype(np.float64)
    cosines[np.arange(len(rows)), rows] = -np.inf
    ids = top_k(cosines, min(k, len(vectors) - 1))
    return ids, np.take_along_axis(cosines, ids, 1)
