"""Random walks over a graph in compressed rows: DeepWalk's uniform ones and node2vec's second-order ones, by rejection.

node2vec (Grover, Leskovec 2016, section 3.2.2): having come from t to v, the walk goes to x with weight w_vx / p if x = t, w_vx if x is a
neighbour of t, w_vx / q otherwise. Instead of a table per edge pair, x is proposed by w_vx alone and accepted with probability
bias / bound, bound = max(1, 1/q); what 1/p exceeds the bound by is proposed apart, as an extra chance of going back, so that a small p
does not make every other step be refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from stages.models.parts.sampling import below, stream, uniform


@dataclass(frozen=True)
class Graph:
    """Compressed rows, neighbours sorted: indptr int64 [N + 1], indices int32 [E], a row's running weights float64 [E] ([0]: all equal)."""

    indptr: np.ndarray
    indices: np.ndarray
    cumulative: np.ndarray


def graph_from(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> Graph:
    """Sort every row by neighbour and sum its weights up; the kernels search in both."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, rows))
    weights = np.asarray(weights, np.float64)[order]
    if len(weights) and (weights == weights[0]).all():
        cumulative = np.empty(0)
    else:
        running = np.concatenate([[0.0], np.cumsum(weights)])
        cumulative = running[1:] - running[indptr[rows]]
    return Graph(np.array(indptr, np.int64), np.ascontiguousarray(np.asarray(indices, np.int32)[order]), cumulative)


@njit(nogil=True, cache=True)
def propose(state, first, last, cumulative):
    """Position of a neighbour drawn by weight from the row first..last-1."""
    if len(cumulative) == 0:
        return first + below(state, last - first)
    target = uniform(state) * cumulative[last - 1]
    low, high = first, last - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@njit(nogil=True, cache=True)
def find(indices, first, last, node):
    """Position of `node` in a sorted row, or -1."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if indices[middle] < node:
            first = middle + 1
        else:
            last = middle
    return first if first < end and indices[first] == node else -1


@njit(nogil=True, cache=True)
def second_step(state, indptr, indices, cumulative, previous, node, p, q):
    """The node2vec step from `node`, reached from `previous`."""
    first, last = indptr[node], indptr[node + 1]
    bound = max(1.0, 1.0 / q)
    back = find(indices, first, last, previous)
    extra = 0.0
    if back >= 0 and 1.0 / p > bound:
        if len(cumulative):
            weight = cumulative[back] - (cumulative[back - 1] if back > first else 0.0)
            total = cumulative[last - 1]
        else:
            weight, total = 1.0, float(last - first)
        extra = weight * (1.0 / p - bound) / (weight * (1.0 / p - bound) + total * bound)
    while True:
        if extra > 0.0 and uniform(state) < extra:
            return previous
        to = indices[propose(state, first, last, cumulative)]
        if to == previous:
            bias = min(1.0 / p, bound)
        elif find(indices, indptr[previous], indptr[previous + 1], to) >= 0:
            bias = 1.0
        else:
            bias = 1.0 / q
        if bias >= bound or uniform(state) * bound < bias:
            return to


@njit(nogil=True, cache=True)
def _walk(indptr, indices, cumulative, starts, length, p, q, state, out):
    first_order = p == 1.0 and q == 1.0
    for i in range(len(starts)):
        node = np.int64(starts[i])
        previous = np.int64(-1)
        out[i, 0] = node
        for step in range(1, length):
            first, last = indptr[node], indptr[node + 1]
            if first == last:
                out[i, step:] = -1
                break
            if first_order or previous < 0:
                to = np.int64(indices[propose(state, first, last, cumulative)])
            else:
                to = np.int64(second_step(state, indptr, indices, cumulative, previous, node, p, q))
            previous, node = node, to
            out[i, step] = node


def walk(graph: Graph, starts: np.ndarray, length: int, p: float, q: float, *, seed: int, epoch: int, part: int = 0) -> np.ndarray:
    """One walk of `length` nodes from each start: int32 [starts, length]. A walk that can go nowhere is filled up with -1."""
    out = np.empty((len(starts), length), np.int32)
    _walk(graph.indptr, graph.indices, graph.cumulative, starts, length, float(p), float(q), stream(seed, epoch, part), out)
    return out
