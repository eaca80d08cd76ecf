"""Random walks over an undirected graph in compressed rows: DeepWalk's uniform ones and node2vec's second-order ones, exactly.

node2vec (Grover, Leskovec 2016, section 3.2.2): having come from t to v, the walk goes to x with weight w_vx / p if x = t, w_vx if x is a
neighbour of t, w_vx / q otherwise. No table per pair of edges is kept: the weights are read as a mixture,

    w_vx / q for every x,  w_vt (1/p - 1/q) more for t,  w_vx (1 - 1/q) more for the common neighbours of t and v,

and where a surplus is negative (p > q, q < 1) such an x is refused with probability q/p or q. One number an edge, the weight of its
common neighbours, says beforehand which part a step is of, so that hardly a step asks whether two nodes are neighbours.

Every walk has a random stream of its own, a pure function of (seed, epoch, part, its place): the same walks on any number of threads.
BLOCK walks go in step, each pass of a kernel doing one thing for all of them: their reads from memory then wait together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from stages.models.parts.sampling import GOLDEN, LOW, S32, mix, stream, unit, vose

BLOCK = 32
BACK, SHARED = -1, -2  # what a step was drawn to do, where it is no position of a neighbour


@dataclass(frozen=True)
class Graph:
    """Compressed rows, both directions of every edge, neighbours sorted, no self-loops: indptr int64 [N + 1], indices int32 [E].

    Of weights that differ: weights float64 [E] > 0, alias uint32 [E, 2] (an alias table a row), totals float64 [N]; all empty otherwise.
    shared float32 [E]: weight, in the row of v, of the common neighbours of t and v for the edge t -> v; empty where q = 1.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    alias: np.ndarray
    totals: np.ndarray
    shared: np.ndarray


def graph_from(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, q: float = 1.0) -> Graph:
    """Sort every row by neighbour, build the alias tables and, for q != 1, the weights of common neighbours."""
    indptr = np.array(indptr, np.int64)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, rows))
    indices, weights = np.ascontiguousarray(np.asarray(indices, np.int32)[order]), np.asarray(weights, np.float64)[order]
    equal = not len(weights) or (weights == weights[0]).all()
    weights, alias, totals = np.empty(0) if equal else weights, np.empty((0 if equal else len(weights), 2), np.uint32), np.empty(0)
    if not equal:
        totals = np.bincount(rows, weights=weights, minlength=len(indptr) - 1)
        _alias_rows(indptr, weights, totals, alias)
    shared = np.zeros(0 if q == 1.0 else len(indices), np.float32)
    if len(shared):
        _shared_weights(indptr, indices, weights, shared)
    return Graph(indptr, indices, weights, alias, totals, shared)


@njit(nogil=True, cache=True)
def _alias_rows(indptr, weights, totals, alias):
    for node in range(len(indptr) - 1):
        first, last = indptr[node], indptr[node + 1]
        for i in range(first, last):
            alias[i, 0], alias[i, 1] = 0, i - first
        if first < last:
            vose(weights[first:last] * ((last - first) / totals[node]), alias[first:last])


@njit(nogil=True, cache=True, inline="always")
def spin(states, j):
    """The next 64 random bits of walk j of a block."""
    states[j] += GOLDEN
    return mix(states[j])


@njit(nogil=True, cache=True, inline="always")
def under(z, n):
    """Uniform integer in 0..n-1 from 64 random bits."""
    return np.int64(((z >> S32) * np.uint64(n)) >> S32)


@njit(nogil=True, cache=True, inline="always")
def propose(z, first, last, alias):
    """Position of a neighbour drawn by weight from the row first..last-1. Without a branch: its wait would be everyone's."""
    at = first + under(z, last - first)
    if len(alias):
        other = first + np.int64(alias[at, 1])
        at += np.int64(np.uint32(z & LOW) >= alias[at, 0]) * (other - at)
    return at


@njit(nogil=True, cache=True)
def find(indices, first, last, node):
    """Position of `node` in a sorted row, or -1."""
    n = last - first
    while n > 1:
        half = n >> 1
        first = first + half if indices[first + half] <= node else first
        n -= half
    return first if n == 1 and indices[first] == node else -1


@njit(nogil=True, cache=True)
def common(indices, a, a_end, b, b_end, places):
    """Positions in both rows, places int64 [>= shorter row + 1, 2], of the neighbours two rows share. Returns how many."""
    n = 0
    if b_end - b > 8 * (a_end - a):
        for i in range(a, a_end):
            places[n, 0], places[n, 1] = i, find(indices, b, b_end, indices[i])
            n += places[n, 1] >= 0
    elif a_end - a > 8 * (b_end - b):
        for j in range(b, b_end):
            places[n, 0], places[n, 1] = find(indices, a, a_end, indices[j]), j
            n += places[n, 0] >= 0
    else:
        while a < a_end and b < b_end:
            x, y = indices[a], indices[b]
            places[n, 0], places[n, 1] = a, b
            n += x == y
            a += x <= y
            b += y <= x
    return n


@njit(nogil=True, cache=True)
def longest_row(indptr):
    longest = 0
    for node in range(len(indptr) - 1):
        longest = max(longest, indptr[node + 1] - indptr[node])
    return longest


@njit(nogil=True, cache=True)
def _shared_weights(indptr, indices, weights, shared):
    places = np.empty((longest_row(indptr) + 1, 2), np.int64)
    for u in range(len(indptr) - 1):
        for there in range(indptr[u], indptr[u + 1]):
            v = indices[there]
            if v > u:
                n = common(indices, indptr[v], indptr[v + 1], indptr[u], indptr[u + 1], places)
                back = find(indices, indptr[v], indptr[v + 1], u)
                to, fro = 0.0, 0.0
                for i in range(n):
                    to += weights[places[i, 0]] if len(weights) else 1.0
                    fro += weights[places[i, 1]] if len(weights) else 1.0
                shared[there], shared[back] = to, fro


@njit(nogil=True, cache=True)
def draw_shared(states, j, indptr, indices, weights, alias, before, node, shared, total, places):
    """Position, in the row of `node`, of a common neighbour with `before`, drawn by weight; `shared` is what they weigh together."""
    first, last = indptr[node], indptr[node + 1]
    if 8.0 * shared > total:
        while True:
            at = propose(spin(states, j), first, last, alias)
            if find(indices, indptr[before], indptr[before + 1], indices[at]) >= 0:
                return at
    n = common(indices, first, last, indptr[before], indptr[before + 1], places)
    if len(weights) == 0:
        return places[under(spin(states, j), n), 0]
    target, i = unit(spin(states, j)) * shared, 0
    while i < n - 1 and weights[places[i, 0]] <= target:
        target -= weights[places[i, 0]]
        i += 1
    return places[i, 0]


@njit(nogil=True, cache=True, inline="always")
def aim(states, j, first, last, alias, plain, back, near):
    """The part of the mixture that a step is of: the position of a neighbour drawn by weight, BACK or SHARED."""
    drawn = unit(spin(states, j)) * (plain + back + near)
    if drawn < plain:
        return propose(spin(states, j), first, last, alias)
    return BACK if drawn < plain + back else SHARED


@njit(nogil=True, cache=True)
def _walk(indptr, indices, weights, alias, totals, shared, starts, length, p, q, base, offset, out):
    first_order = p == 1.0 and q == 1.0
    more_back, more_near = max(0.0, 1.0 / p - 1.0 / q), max(0.0, 1.0 - 1.0 / q)
    places = np.empty((longest_row(indptr) + 1, 2), np.int64)
    states = np.empty(BLOCK, np.uint64)
    now, before, came, at = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    first, last = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    total, back, near = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for block in range(0, len(starts), BLOCK):
        n = min(BLOCK, len(starts) - block)
        for j in range(n):
            states[j] = mix(base + np.uint64(offset + block + j) * GOLDEN)
            now[j] = out[block + j, 0] = starts[block + j]
        for step in range(1, length):
            for j in range(n):
                first[j], last[j] = indptr[now[j]], indptr[now[j] + 1]
            if first_order or step == 1:
                for j in range(n):
                    at[j] = propose(spin(states, j), first[j], last[j], alias) if last[j] > first[j] else -1
                for j in range(n):
                    before[j], came[j] = now[j], at[j]
                    if at[j] >= 0:
                        now[j] = indices[at[j]]
                    out[block + j, step] = now[j] if at[j] >= 0 else -1
                continue
            for j in range(n):
                edge = max(came[j], 0)
                total[j] = totals[now[j]] if len(weights) else np.float64(last[j] - first[j])
                back[j] = weights[edge] if len(weights) else 1.0
                near[j] = shared[edge] if len(shared) else 0.0
            for j in range(n):
                if came[j] >= 0:
                    at[j] = aim(states, j, first[j], last[j], alias, total[j] / q, more_back * back[j], more_near * near[j])
            for j in range(n):
                if came[j] < 0:  # an isolated start
                    out[block + j, step] = -1
                    continue
                to, previous = np.int64(-1), before[j]
                while to < 0:
                    if at[j] == BACK:
                        to = previous
                        if len(weights):
                            at[j] = find(indices, first[j], last[j], to)
                        else:  # the edge back has as many common neighbours as the edge that led here
                            at[j] = came[j]
                    elif at[j] == SHARED:
                        at[j] = draw_shared(states, j, indptr, indices, weights, alias, previous, now[j], near[j], total[j], places)
                        to = np.int64(indices[at[j]])
                    else:
                        to = np.int64(indices[at[j]])
                        if to == previous:
                            refused = p > q and last[j] - first[j] > 1 and unit(spin(states, j)) >= q / p
                        else:
                            refused = (q < 1.0 and near[j] > 0.0 and unit(spin(states, j)) >= q
                                       and find(indices, indptr[previous], indptr[previous + 1], to) >= 0)
                        if refused:
                            to = -1
                            at[j] = aim(states, j, first[j], last[j], alias, total[j] / q, more_back * back[j], more_near * near[j])
                before[j], now[j], came[j] = now[j], to, at[j]
                out[block + j, step] = to


def walk(graph: Graph, starts: np.ndarray, length: int, p: float, q: float, *, seed: int, epoch: int, part: int = 0,
         threads: int = 1) -> np.ndarray:
    """One walk of `length` nodes from each start: int32 [starts, length], the same for any `threads`. After an isolated start: -1."""
    if q != 1.0 and len(graph.shared) != len(graph.indices):
        raise ValueError("walk: the graph was made for q = 1; give q to graph_from")
    starts, out = np.asarray(starts, np.int64), np.empty((len(starts), length), np.int32)
    base = stream(seed, epoch, part)[0]
    cuts = np.linspace(0, len(starts), threads + 1).astype(int)

    def one(i):
        a, b = cuts[i], cuts[i + 1]
        _walk(graph.indptr, graph.indices, graph.weights, graph.alias, graph.totals, graph.shared, starts[a:b], length, float(p), float(q),
              base, a, out[a:b])

    if threads == 1:
        one(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(threads)))
    return out
