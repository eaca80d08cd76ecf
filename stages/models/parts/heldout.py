"""Negative-sampling loss of documents that were not trained on: plain loops in float64, apart from the kernels that train."""

from __future__ import annotations

import numpy as np
from numba import njit

from stages.models.parts.sampling import draw, stream
from stages.models.parts.skipgram import window_around


@njit(nogil=True, cache=True)
def _heldout(tokens, offsets, inputs, outputs, bias, noise, keep, window, shrink, k, cbow, state):
    longest = 0
    for document in range(len(offsets) - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    kept = np.empty(longest, np.int64)
    dimension = inputs.shape[1]
    hidden = np.empty(dimension, np.float64)
    loss, n = 0.0, 0
    for document in range(len(offsets) - 1):
        length = 0
        for t in range(offsets[document], offsets[document + 1]):
            if tokens[t] >= 0 and keep[tokens[t]] > 0:
                kept[length] = tokens[t]
                length += 1
        for place in range(length):
            first, last = window_around(state, place, length, window, shrink)
            if last - first < 2:
                continue
            c = first
            while c < last:
                if c == place:
                    c += 1
                    continue
                for i in range(dimension):
                    hidden[i] = inputs[kept[c], i]
                if cbow:
                    for other in range(c + 1, last):
                        if other != place:
                            for i in range(dimension):
                                hidden[i] += inputs[kept[other], i]
                    for i in range(dimension):
                        hidden[i] /= last - first - 1
                    c = last
                for j in range(k + 1):
                    row = draw(state, noise) if j else kept[place]
                    if j and row == kept[place]:
                        continue
                    score = np.float64(bias[row]) if len(bias) else 0.0
                    for i in range(dimension):
                        score += hidden[i] * outputs[row, i]
                    margin = -score if j else score
                    loss += np.log1p(np.exp(-abs(margin))) + max(-margin, 0.0)
                n += 1
                c += 1
    return loss, n


def heldout(tokens, offsets, inputs, outputs, bias, noise, keep, *, window, shrink=True, k=5, cbow=False, seed=0) -> float:
    """Mean negative-sampling loss (nats) of the pairs of held-out documents, in float64.

    One window and k fresh negatives per pair are drawn from `seed`: an unbiased estimate of the expected loss, the same draws for every
    model of the same vocabulary. Nothing is subsampled, but what `keep` rules out (0) does not count as a token.
    """
    loss, n = _heldout(tokens, offsets, inputs, outputs, bias, noise, keep, window, shrink, k, cbow, stream(seed, 0, 7))
    return loss / n if n else float("nan")
