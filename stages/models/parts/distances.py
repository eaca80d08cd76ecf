"""Distances of queries to all rows of a table, for ranking: nothing but the distances is kept."""

from __future__ import annotations

import numpy as np
from numba import njit

DISTANCES = {"l1": 1, "l2": 2, "squared_l2": 3}
BLOCK = 128  # rows of the table at a time: their coordinates stay in the nearest cache
FAST = {"contract", "nsz"}


@njit(fastmath=FAST, nogil=True, cache=True)
def _sum_gaps(query, block, total):
    """total[j] = sum_i |query_i - block_ij|; four coordinates at a time: one trip of the totals through the cache, not four."""
    fours = len(query) // 4 * 4
    total[:] = 0
    for i in range(0, fours, 4):
        a, b, c, d = query[i], query[i + 1], query[i + 2], query[i + 3]
        for j in range(BLOCK):
            total[j] += abs(a - block[i, j]) + abs(b - block[i + 1, j]) + abs(c - block[i + 2, j]) + abs(d - block[i + 3, j])
    for i in range(fours, len(query)):
        for j in range(BLOCK):
            total[j] += abs(query[i] - block[i, j])


@njit(fastmath=FAST, nogil=True, cache=True)
def _sum_squares(query, block, total):
    """total[j] = sum_i (query_i - block_ij)^2, as _sum_gaps."""
    fours = len(query) // 4 * 4
    total[:] = 0
    for i in range(0, fours, 4):
        a, b, c, d = query[i], query[i + 1], query[i + 2], query[i + 3]
        for j in range(BLOCK):
            e, f, g, h = a - block[i, j], b - block[i + 1, j], c - block[i + 2, j], d - block[i + 3, j]
            total[j] += e * e + f * f + g * g + h * h
    for i in range(fours, len(query)):
        for j in range(BLOCK):
            total[j] += (query[i] - block[i, j]) ** 2


@njit(fastmath=FAST, nogil=True, cache=True)
def _project(block, normal, projected):
    """projected_j = e_j - (w.e_j) w for the columns e_j of the block."""
    along = np.zeros(BLOCK, np.float32)
    for i in range(len(normal)):
        for j in range(BLOCK):
            along[j] += normal[i] * block[i, j]
    for i in range(len(normal)):
        for j in range(BLOCK):
            projected[i, j] = block[i, j] - along[j] * normal[i]


@njit(fastmath=FAST, nogil=True, cache=True)
def _distances(queries, table, normals, distance, out):
    (n, dimension), planes = table.shape, len(normals) > 0
    block, total = np.zeros((dimension, BLOCK), np.float32), np.empty(BLOCK, np.float32)
    seen = np.empty_like(block) if planes else block
    for start in range(0, n, BLOCK):
        width = min(BLOCK, n - start)
        for j in range(width):
            for i in range(dimension):
                block[i, j] = table[start + j, i]
        for q in range(len(queries)):
            if planes:
                _project(block, normals[q], seen)
            if distance == 1:
                _sum_gaps(queries[q], seen, total)
            else:
                _sum_squares(queries[q], seen, total)
            if distance == 2:
                total[:] = np.sqrt(total)
            out[q, start : start + width] = total[:width]


def distances(queries: np.ndarray, table: np.ndarray, distance: str, normals: np.ndarray | None = None) -> np.ndarray:
    """float32 [B, N]: distance of each query [B, D] to each row e of the table [N, D], or to e - (w.e) w with normals w [B, D].

    `distance` is a name in DISTANCES. Equal rows get equal distances to the bit wherever they stand, so that ties are ties; a matrix
    product does not promise that.
    """
    queries, table = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(table, np.float32)
    normals = np.empty((0, 1), np.float32) if normals is None else np.ascontiguousarray(normals, np.float32)
    out = np.empty((len(queries), len(table)), np.float32)
    _distances(queries, table, normals, DISTANCES[distance], out)
    return out
