"""Nearest neighbours among a million vectors: scikit-learn's exact search against ours, one query at a time on two threads.

`OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 python -m bench.neighbours [--quick]` with bench/.venv's Python. Both search the same vectors by
cosine for the 10 nearest; quality is the share of the true 10 (float64) that is found. Building the index is not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from sklearn.neighbors import NearestNeighbors

from bench.pairs import Timed, alternate, closing_line, timed
from stages.evaluate.neighbours import Neighbours

DIMENSION, K, QUERIES = 128, 10, 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 vectors instead of a million")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    n = 100_000 if options.quick else 1_000_000
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, DIMENSION)).astype(np.float32)
    vectors = centres[rng.integers(1000, size=n)] + rng.normal(size=(n, DIMENSION)).astype(np.float32)
    queries = rng.choice(n, QUERIES, replace=False)
    begun = time.perf_counter()
    index = Neighbours(vectors)
    built = time.perf_counter() - begun
    theirs = NearestNeighbors(n_neighbors=K + 1, metric="euclidean", algorithm="brute").fit(index.unit)  # unit vectors: the cosine's order
    truth = []
    for q in queries:
        cosines = np.concatenate([block.astype(np.float64) @ index.unit[q].astype(np.float64) for block in np.array_split(index.unit, 20)])
        cosines[q] = -2
        truth.append(set(np.argsort(-cosines, kind="stable")[:K].tolist()))

    def recall(found):
        return statistics.mean(len(truth[i] & set(ids)) / K for i, ids in enumerate(found))

    def peer(_) -> Timed:
        run = timed(lambda: [theirs.kneighbors(index.unit[q : q + 1], return_distance=False)[0].tolist() for q in queries])
        return Timed(run.wall, run.cpu, recall([[i for i in ids if i != q][:K] for q, ids in zip(queries, run.result, strict=True)]))

    def ours(_) -> Timed:
        run = timed(lambda: [index.nearest(vectors[q], K, skip=int(q))[0].tolist() for q in queries])
        return Timed(run.wall, run.cpu, recall(run.result))

    ours(0)
    print(f"{n:,} vectors of {DIMENSION}; our index built in {built:.1f} s")
    print(f"{'':14}{'ms a query':>12}{'CPU ms':>9}{'recall@10':>11}")
    runs = alternate(peer, ours, max(options.pairs, 1))
    for pair in runs:
        for name, run in zip(("scikit-learn", "ours"), pair, strict=True):
            print(f"{name:14}{run.wall / QUERIES * 1e3:12.1f}{run.cpu / QUERIES * 1e3:9.1f}{run.result:11.3f}")
    rates = [[QUERIES / run[side].wall for run in runs] for side in (0, 1)]
    found = [statistics.mean(run[side].result for run in runs) for side in (0, 1)]
    latency = statistics.median(b.wall / QUERIES * 1e3 for _, b in runs)
    name = f"10 nearest of {n:,} vectors of {DIMENSION}, one query at a time: scikit-learn brute force, ours"
    print(closing_line(name, *rates, *found, "queries/s", milliseconds=latency))


if __name__ == "__main__":
    main()
