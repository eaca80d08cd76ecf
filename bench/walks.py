"""Random walks, p = q = 1: PecanPy on two threads against ours on two, a graph of 10,000 nodes and 330,000 edges, walks of 80 nodes.

`python -m bench.walks [--quick]` with bench/.venv's Python; `bench.walks_biased` is the same with p = 0.25, q = 4. PecanPy is timed as it
is called, by `simulate_walks`, which hands lists of names over (gensim wants them), and once by its kernel alone, which stops at numbers
as ours does. Each of its calls compiles anew, which the kernel alone leaves out. Tables made beforehand are timed apart. Quality is the
error of both: the largest distance between the shares of steps back, to common neighbours and away, and what enumerating the definition
along the same walks expects.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from bench.pairs import alternate, closing_line, timed
from stages.models.parts.walks import graph_from, walk
from stages.models.random_walk import BATCH

for old, new in {"bool8": np.bool_, "object0": np.object_, "int0": np.intp, "uint0": np.uintp, "float_": np.float64, "void0": np.void,
                 "longfloat": np.longdouble, "singlecomplex": np.complex64, "complex_": np.complex128, "cfloat": np.complex128,
                 "clongfloat": np.clongdouble, "longcomplex": np.clongdouble, "string_": np.bytes_, "unicode_": np.str_, "str0": np.str_,
                 "bytes0": np.bytes_}.items():
    if not hasattr(np, old):  # PecanPy's annotations come from nptyping, which still names what numpy 2 dropped
        setattr(np, old, new)

import numba  # noqa: E402
from pecanpy import pecanpy  # noqa: E402

NODES, EDGES, LENGTH, THREADS, MORE = 10_000, 330_000, 80, 2, 5


def random_graph(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """indptr, indices of EDGES different undirected edges drawn uniformly."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(NODES, size=(EDGES + EDGES // 10, 2))
    keys = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1) @ np.array([NODES, 1]))
    keys = np.sort(rng.permutation(keys)[:EDGES])
    source, target = np.r_[keys // NODES, keys % NODES], np.r_[keys % NODES, keys // NODES]
    order = np.lexsort((target, source))
    return np.r_[0, np.cumsum(np.bincount(source, minlength=NODES))].astype(np.int64), target[order].astype(np.int32)


def error(paths: np.ndarray, indptr: np.ndarray, indices: np.ndarray, p: float, q: float, steps: int = 200_000) -> float:
    """Largest |found - expected| share of steps back, to a common neighbour and away, over steps of the walks."""
    triples = np.stack([paths[:, 8:-2:4], paths[:, 9:-1:4], paths[:, 10::4]], -1).reshape(-1, 3).astype(np.int64)[:steps]
    rows = [frozenset(indices[indptr[n] : indptr[n + 1]].tolist()) for n in range(NODES)]
    found, expected = np.zeros(3), np.zeros(3)
    for t, v, x in triples.tolist():
        shared = len(rows[t] & rows[v])
        weights = np.array([1 / p, shared, (len(rows[v]) - shared - 1) / q])
        expected += weights / weights.sum()
        found[0 if x == t else 1 if x in rows[t] else 2] += 1
    return float(np.abs(found - expected).max() / len(triples))


def peer_graph(mode, indptr, indices, p, q):
    """(PecanPy's graph with its tables made and its kernel compiled, seconds of the tables, kernel(starts, seed) -> paths)."""
    graph = mode(p=p, q=q, workers=THREADS)
    graph.set_node_ids([str(i) for i in range(NODES)])
    graph.indptr, graph.indices = indptr.astype(np.uint32), indices.astype(np.uint32)
    graph.data = np.ones(len(indices), np.float32)
    tables = timed(graph._preprocess_transition_probs).wall
    parts = graph.get_has_nbrs(), graph.get_move_forward()

    def kernel(starts, seed):
        with pecanpy.ProgressBar(total=len(starts), disable=True) as bar:
            return graph._random_walks(len(starts), LENGTH - 1, seed, starts, *parts, bar)[:, :LENGTH]

    kernel(np.arange(2, dtype=np.uint32), 0)
    graph.simulate_walks(1, 2)
    return graph, tables, kernel


def compare(mode, p: float, q: float) -> None:
    parser = argparse.ArgumentParser(description=f"Random walks with p = {p:g}, q = {q:g}: PecanPy and ours in turn.")
    parser.add_argument("--quick", action="store_true", help="one walk a node of PecanPy's instead of ten, its default")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    times, pairs = 1 if options.quick else 10, max(options.pairs, 1)
    many = MORE * times  # ours would be over before a clock sees it
    indptr, indices = random_graph()
    theirs, tables, kernel = peer_graph(mode, indptr, indices, p, q)
    weights = np.ones(len(indices), np.float32)
    graph_from(indptr, indices, weights, q)
    own = timed(lambda: graph_from(indptr, indices, weights, q))
    walk(own.result, np.arange(2), LENGTH, p, q, seed=0, epoch=0)

    def starts(number, seed):
        return np.random.default_rng(seed).permutation(np.tile(np.arange(NODES), number))

    def ours(seed, threads=THREADS):
        pieces = np.array_split(starts(many, seed), many * NODES * LENGTH // BATCH)  # as training takes them

        def every():
            for i, piece in enumerate(pieces):
                paths = walk(own.result, piece, LENGTH, p, q, seed=seed, epoch=0, part=i, threads=threads)
            return paths

        return timed(every)

    runs = alternate(lambda seed: timed(lambda: theirs.simulate_walks(times, LENGTH - 1)), ours, pairs)
    rates = [[times * NODES / a.wall for a, _ in runs], [many * NODES / b.wall for _, b in runs]]
    order = starts(times, 0).astype(np.uint32)
    alone, one = timed(lambda: kernel(order, 0)), ours(0, threads=1)
    for i, run in enumerate(runs):
        for side, who in enumerate(("PecanPy", "ours")):
            print(f"{who:22}{rates[side][i]:14,.0f} walks/s {run[side].wall:8.2f} s wall {run[side].cpu:8.2f} s CPU")
    print(f"{'PecanPy, kernel alone':22}{times * NODES / alone.wall:14,.0f} walks/s")
    print(f"{'ours, one thread':22}{many * NODES / one.wall:14,.0f} walks/s")
    print(f"tables: PecanPy {tables:.2f} s (and their compilation), ours {own.wall:.2f} s")
    errors = [error(paths, indptr, indices, p, q) for paths in (alone.result, runs[0][1].result)]
    print(closing_line(f"random walks, p = {p:g}, q = {q:g}: PecanPy and ours, 2 threads each", *rates, *errors, "walks/s",
                       peer_kernel=times * NODES / alone.wall, ours_one_thread=many * NODES / one.wall, tables_peer=tables,
                       tables_ours=own.wall, ratio_cpu=statistics.median(MORE * a.cpu / b.cpu for a, b in runs)))


if __name__ == "__main__":
    compare(pecanpy.FirstOrderUnweighted, 1.0, 1.0)
