"""Filtered ranking of triples, as large as FB15k: PyKEEN's evaluator against ours, on the same vectors.

`python -m bench.ranking_triples [--quick]` with bench/.venv's Python. 14,951 entities, 1,345 relations, 483,142 training triples with
popular and rare entities, TransE of 50 dimensions with vectors of chance. Both rank head and tail of the same test triples among all
entities, the other known answers set aside, ties by the mean, and read MRR and hits@10 from the ranks; PyKEEN in batches of 256.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from pykeen.evaluation import RankBasedEvaluator
from pykeen.models import TransE
from pykeen.triples import CoreTriplesFactory

from bench.pairs import Timed, alternate, closing_line, timed
from stages.evaluate.triples import ranks, summary
from stages.models import translation
from stages.models.parts.distances import distances
from stages.settings import configure

ENTITIES, RELATIONS, TRAIN, DIMENSION, CANDIDATES = 14_951, 1_345, 483_142, 50, 1000


def made(n: int, entity: np.ndarray, relation: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(train int64 [TRAIN, 3], test int64 [n, 3]); frequencies of entities and relations fall as 1 / (rank + 20).

    The tail of a test triple is the likeliest of CANDIDATES entities, so that ranks are of all sizes.
    """
    rng = np.random.default_rng(seed)

    def drawn(size, count):
        weight = 1.0 / (np.arange(size) + 20)
        return rng.permutation(size)[rng.choice(size, count, p=weight / weight.sum())]
    count = 2 * (TRAIN + n)
    every = np.unique(np.stack([drawn(ENTITIES, count), drawn(RELATIONS, count), drawn(ENTITIES, count)], 1), axis=0)
    every = rng.permutation(every)[: TRAIN + n]
    train, test = every[:TRAIN], every[TRAIN:]
    near = distances(entity[test[:, 0]] + relation[test[:, 1]], entity, "l1")
    chosen = rng.integers(ENTITIES, size=(n, CANDIDATES))
    test[:, 2] = chosen[np.arange(n), np.take_along_axis(near, chosen, 1).argmin(1)]
    return train, test


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ranking_triples", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="500 test triples instead of 2,000")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    n = 500 if options.quick else 2000
    torch.manual_seed(0)
    sizes = {"entities": ENTITIES, "relations": RELATIONS}
    model = translation.Model(configure(translation.Config, {"dimension": DIMENSION}, "bench"), sizes)
    train, test = made(n, model.entity.numpy(), model.relation.numpy())
    known = np.concatenate([train, test])
    factory = CoreTriplesFactory(torch.from_numpy(train), ENTITIES, RELATIONS)
    theirs = TransE(triples_factory=factory, embedding_dim=DIMENSION, scoring_fct_norm=1, random_seed=0)
    with torch.no_grad():
        for representation, table in ((theirs.entity_representations, model.entity), (theirs.relation_representations, model.relation)):
            representation[0]._embeddings.weight.copy_(table)

    def peer(_: int) -> Timed:
        evaluator = RankBasedEvaluator(filtered=True)
        run = timed(lambda: evaluator.evaluate(theirs, torch.from_numpy(test), additional_filter_triples=[factory.mapped_triples],
                                               batch_size=256, use_tqdm=False))
        metric = run.result.get_metric
        return Timed(run.wall, run.cpu, (metric("both.realistic.inverse_harmonic_mean_rank"), metric("both.realistic.hits_at_10")))

    def ours(_: int) -> Timed:
        def ranked():
            scores = (lambda a, b, f=f: f(torch.from_numpy(a), torch.from_numpy(b)).numpy() for f in (model.tail_scores, model.head_scores))
            found = ranks(*scores, test, known)
            values = summary(np.concatenate([found["head"], found["tail"]]))
            return values["mrr"], values["hits_10"]
        return timed(ranked)

    ours(0)  # compiles, or reads the cache
    runs = alternate(peer, ours, options.pairs)
    print(f"{n:,} test triples, {len(known):,} known, {ENTITIES:,} entities, d = {DIMENSION}, L1")
    print(f"{'':24}{'triples/s':>11}{'wall s':>8}{'CPU s':>8}{'MRR':>12}{'hits@10':>12}")
    for a, b in runs:
        for name, run in ((f"PyKEEN, {torch.get_num_threads()} threads", a), ("ours, 1 thread", b)):
            print(f"{name:24}{n / run.wall:11.1f}{run.wall:8.2f}{run.cpu:8.2f}{run.result[0]:12.7f}{run.result[1]:12.7f}")
    rates = [[n / run[side].wall for run in runs] for side in (0, 1)]
    (a, a10), (b, b10) = runs[0][0].result, runs[0][1].result
    name = f"filtered ranking of triples, FB15k's size: PyKEEN 1.11 on {torch.get_num_threads()} threads, ours on 1 thread"
    print(closing_line(name, *rates, a, b, "triples/s, MRR", hits_10_peer=a10, hits_10_ours=b10))


if __name__ == "__main__":
    main()
