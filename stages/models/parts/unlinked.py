"""Skip-gram with negative sampling over walks, whose noise is never a neighbour of the node that it is noise to.

    -log s(z_u . y_v) - sum_{i=1..k, n_i not v, (u, n_i) no edge} log s(-z_u . y_{n_i}),   n_i ~ P, drawn for each pair (u, v) anew

A draw that is v itself or linked to u is dropped, as parts/skipgram.py drops the target. What the fast kernels there share between the
pairs of a window, the noise, cannot be shared here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.models.parts.sampling import below, draw, stream
from stages.models.parts.walks import find


@njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True, cache=True)
def _train(paths, indptr, indices, inputs, outputs, noise, window, shrink, k, lr_first, lr_last, state):
    width = inputs.shape[1]
    change = np.empty(width, np.float32)
    examples, loss = 0, 0.0
    for walk in range(len(paths)):
        lr = np.float32(lr_first + (lr_last - lr_first) * walk / len(paths))
        for place in range(paths.shape[1]):
            v = np.int64(paths[walk, place])
            if v < 0:
                break
            reach = 1 + below(state, window) if shrink else window
            for c in range(max(0, place - reach), min(paths.shape[1], place + reach + 1)):
                u = np.int64(paths[walk, c])
                if c == place or u < 0:
                    continue
                change[:] = 0
                for i in range(k + 1):
                    row = v if i == 0 else draw(state, noise)
                    if i > 0 and (row == v or find(indices, indptr[u], indptr[u + 1], row) >= 0):
                        continue
                    score = np.float32(0.0)
                    for j in range(width):
                        score += inputs[u, j] * outputs[row, j]
                    sign = np.float64(-score if i == 0 else score)
                    share = 1.0 / (1.0 + np.exp(-sign))  # of the wrong answer
                    loss += np.log1p(np.exp(sign)) if sign < 30.0 else sign
                    step = np.float32(lr * share if i == 0 else -lr * share)
                    for j in range(width):
                        change[j] += step * outputs[row, j]
                        outputs[row, j] += step * inputs[u, j]
                for j in range(width):
                    inputs[u, j] += change[j]
                examples += 1
    return examples, loss


def train(paths: np.ndarray, indptr: np.ndarray, indices: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, noise: np.ndarray, *,
          window: int, shrink: bool, k: int, rates: tuple[float, float], seed: int, epoch: int, part: int) -> tuple[int, float]:
    """Train float32 [N, D] tables in place over the walks int32 [n, length] (-1: ended), in their order. (pairs, mean loss in nats).

    indptr, indices: the graph, rows sorted; noise: an alias table; rates: (first, last) learning rate.
    """
    first, last = map(float, rates)
    examples, loss = _train(paths, indptr, indices, inputs, outputs, noise, window, shrink, k, first, last, stream(seed, epoch, part))
    return examples, loss / max(examples, 1)
