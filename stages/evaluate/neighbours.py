"""Nearest vectors by cosine, exact: one pass of float32 products over all of them. A million of 128 numbers take well under 100 ms."""

from __future__ import annotations

import numpy as np

ROWS = 1 << 18  # vectors a block: its scores stay in the cache


class Neighbours:
    """An index over vectors [N, D]; it holds a normalised float32 copy. A zero vector has cosine 0 to everything."""

    def __init__(self, vectors: np.ndarray):
        vectors = np.asarray(vectors, np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32))
        self.unit = vectors / np.maximum(lengths, np.float32(1e-30))[:, None]

    def nearest(self, query: np.ndarray, k: int = 10, skip: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(ids [k], cosines [k]) of the vectors nearest to `query` [D], best first, equal cosines by id; the row `skip` is left out."""
        query = np.asarray(query, np.float32)
        query = query / np.maximum(np.linalg.norm(query), np.float32(1e-30))
        ids, cosines = [], []
        for start in range(0, len(self.unit), ROWS):
            scores = self.unit[start : start + ROWS] @ query
            best = _largest(scores, min(k + (skip is not None), len(scores)))
            ids.append(best + start)
            cosines.append(scores[best])
        ids, cosines = np.concatenate(ids), np.concatenate(cosines)
        kept = ids != skip
        ids, cosines = ids[kept], cosines[kept]
        order = np.lexsort((ids, -cosines))[:k]
        return ids[order], cosines[order]


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Ids of at least the k largest, unsorted, ties with the last included: few block maxima are partitioned in place of all scores."""
    if len(scores) <= 64 * k:
        return np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[-k])
    rest = len(scores) % 64
    heads = scores[: len(scores) - rest].reshape(-1, 64).max(1)
    bound = np.partition(heads, len(heads) - k)[-k]  # k block maxima reach it, so no smaller score is among the k largest
    return np.flatnonzero(scores >= bound)
