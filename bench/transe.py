"""TransE training at d = 50: PyKEEN with two workers' threads against ours with one, on the same real triples for the same epochs.

`python -m bench.transe [--quick] [--data FOLDER]` with bench/.venv's Python. The triples are a prepared folder's (a run of
`python -m pipelines.repro prepare@NAME` writes data/prepared/NAME), else those of the built-in standard-library graph. Both: L1 distance,
margin loss, one corruption a triple. PyKEEN takes batches of 1024 and of 8192 (Adam), ours a step a triple (Adagrad). Only training is
timed, the making of the models is not. Quality: filtered MRR on the validation split after those epochs, measured by the same code for
both.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from pykeen.losses import MarginRankingLoss
from pykeen.models import TransE
from pykeen.training import SLCWATrainingLoop
from pykeen.triples import CoreTriplesFactory

from bench.pairs import Timed, alternate, closing_line, timed
from stages.evaluate.triples import ranks
from stages.ingest.stdlib_knowledge import KnowledgeOptions, stdlib_knowledge
from stages.models import translation
from stages.models.parts.distances import distances
from stages.prepare.graphs import TripleSettings, triples
from stages.prepare.splits import Shares
from stages.prepared import Prepared
from stages.settings import configure

DIMENSION, ASKED = 50, 2000
PEERS = {1024: 0.01, 8192: 0.03}  # batch: Adam's rate, the best of .003, .01, .03 (of .01, .03) after 5, 20 and 50 epochs, on validation
OURS = 0.1  # Adagrad's rate, the best of .03, .1, .3 likewise


def real_triples(folder: Path | None) -> tuple[dict[str, np.ndarray], dict]:
    """({"train.triples": int32 [n, 3], "valid.triples"}, sizes) of a prepared folder or of the standard library's graph."""
    if folder:
        data = Prepared(folder)
        return {name: np.array(data[name]) for name in ("train.triples", "valid.triples")}, data.meta
    raw = stdlib_knowledge(KnowledgeOptions(core=4))
    arrays, _, meta = triples(raw.tables["triples"], TripleSettings(), Shares("baznama"))
    return arrays, meta


def mrr(entity: np.ndarray, relation: np.ndarray, data: dict[str, np.ndarray]) -> float:
    """Filtered MRR of L1 translations on at most ASKED validation triples, head and tail, ties by the mean."""
    known = np.concatenate([data["train.triples"], data["valid.triples"]])
    asked = np.random.default_rng(0).permutation(data["valid.triples"])[:ASKED]
    found = ranks(lambda h, r: -distances(entity[h] + relation[r], entity, "l1"),
                  lambda r, t: -distances(entity[t] - relation[r], entity, "l1"), asked, known)
    return float((1 / np.concatenate([found["head"], found["tail"]])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.transe", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 epochs instead of 20, one pair")
    parser.add_argument("--data", type=Path, help="prepared triples in place of the built-in ones")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    epochs = 5 if options.quick else 20
    pairs = 1 if options.quick else options.pairs
    data, meta = real_triples(options.data)
    n = len(data["train.triples"])
    factory = CoreTriplesFactory(torch.from_numpy(data["train.triples"].astype(np.int64)), meta["entities"], meta["relations"])

    def peer(batch: int, rate: float, seed: int) -> Timed:
        model = TransE(triples_factory=factory, embedding_dim=DIMENSION, scoring_fct_norm=1, loss=MarginRankingLoss(margin=1.0),
                       random_seed=seed)
        optimizer = torch.optim.Adam(model.get_grad_params(), lr=rate)
        loop = SLCWATrainingLoop(model=model, triples_factory=factory, optimizer=optimizer)  # a new one each time: it counts its epochs
        run = timed(lambda: loop.train(factory, num_epochs=epochs, batch_size=batch, use_tqdm=False))
        tables = [r[0](indices=None).detach().numpy() for r in (model.entity_representations, model.relation_representations)]
        return Timed(run.wall, run.cpu, mrr(*tables, data))

    def ours(rate: float, seed: int) -> Timed:
        torch.manual_seed(seed)
        model = translation.Model(configure(translation.Config, {"dimension": DIMENSION, "margin": 1.0, "corruption": "unif", "lr": rate,
                                                                 "negatives": 1}, "bench"), meta)
        run = timed(lambda: [model.epoch(data, seed, epoch, epochs, 1) for epoch in range(epochs)])
        return Timed(run.wall, run.cpu, mrr(model.entity.numpy(), model.relation.numpy(), data))

    ours(0.1, 0)  # compiles, or reads the cache
    print(f"{n:,} triples, {meta['entities']:,} entities, {meta['relations']:,} relations, d = {DIMENSION}, {epochs} epochs")
    print(f"{'':24}{'rate':>8}{'k triples/s':>13}{'wall s':>8}{'CPU s':>8}{'filtered MRR':>14}")
    found = {}
    for batch, rate in PEERS.items():
        found[batch] = alternate(lambda seed, batch=batch, rate=rate: peer(batch, rate, seed), lambda seed: ours(OURS, seed), pairs)
        for a, b in found[batch]:
            for name, r, run in ((f"PyKEEN, batch {batch}", rate, a), ("ours, 1 thread", OURS, b)):
                print(f"{name:24}{r:8g}{n * epochs / run.wall / 1e3:13.1f}{run.wall:8.2f}{run.cpu:8.2f}{run.result:14.4f}")
    rates = {batch: [[n * epochs / run[side].wall for run in runs] for side in (0, 1)] for batch, runs in found.items()}
    quality = [statistics.mean(run[side].result for run in found[1024]) for side in (0, 1)]
    larger = statistics.median(b / a for a, b in zip(*rates[8192], strict=True))
    name = f"TransE training, d = 50: PyKEEN 1.11 on {torch.get_num_threads()} threads in batches of 1024, ours on 1 thread"
    print(closing_line(name, *rates[1024], *quality, "triples/s", ratio_batch_8192=larger))


if __name__ == "__main__":
    main()
