"""Meta-Prod2Vec with three metadata fields against our own prod2vec: what the side terms cost.

`python -m bench.metaprod2vec [--quick]`. Both see the same receipts, windows of 1..3, 10 noise items, 32 dimensions and one thread; the
side terms are those of one field a centre (`sides: one`) with 5 noise values. `ratio` is prod2vec's time over Meta-Prod2Vec's, which is
to be at least 1/3. Quality is the loss of item pairs on held-out receipts after the same epochs.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch

from bench.pairs import Timed, alternate, closing_line, timed
from stages.models import item2vec

ITEMS, CATEGORIES, LENGTH, EPOCHS = 5_000, 100, 6, 3
FIELDS = {"category": CATEGORIES, "department": 10, "brand": 300}


def planted(receipts: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Prepared receipts: of each the items come from a category and its neighbour, frequent ones more often."""
    rng = np.random.default_rng(seed)
    category, brand = np.arange(ITEMS) % CATEGORIES, rng.integers(FIELDS["brand"], size=ITEMS)
    weight = np.arange(1, ITEMS // CATEGORIES + 1) ** -1.0
    data = {"field.category": category, "field.department": category // 10, "field.brand": brand}
    for split, n in (("train", receipts), ("valid", receipts // 20)):
        anchor = rng.integers(CATEGORIES, size=(n, 1)) ^ rng.integers(2, size=(n, LENGTH))
        rank = rng.choice(len(weight), (n, LENGTH), p=weight / weight.sum())
        data[f"{split}.tokens"] = (rank * CATEGORIES + anchor % CATEGORIES).ravel().astype(np.int32)
        data[f"{split}.offsets"] = np.arange(n + 1) * LENGTH
    data["counts"] = np.bincount(data["train.tokens"], minlength=ITEMS)
    return data


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.metaprod2vec", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 receipts instead of 200,000")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    data, meta = planted(20_000 if options.quick else 200_000), {"dataset": "planted", "kind": "receipts", "items": ITEMS, "fields": FIELDS}

    def fit(seed: int, fields: tuple[str, ...], epochs: int = EPOCHS) -> Timed:
        torch.manual_seed(seed)
        model = item2vec.Model(item2vec.Config(fields=fields), meta)
        run = timed(lambda: [model.epoch(data, seed, epoch, epochs, 1)[0] for epoch in range(epochs)])
        return Timed(run.wall, run.cpu, (sum(run.result), model.heldout_loss(data, "valid")))

    for fields in ((), tuple(FIELDS)):
        fit(0, fields, 1)  # compile
    print(f"{len(data['train.tokens']):,} tokens, {ITEMS:,} items, fields {', '.join(f'{n} ({v} values)' for n, v in FIELDS.items())}")
    print(f"{'':16}{'M pairs/s':>10}{'wall s':>8}{'CPU s':>8}{'held-out loss':>15}")
    runs = alternate(lambda seed: fit(seed, ()), lambda seed: fit(seed, tuple(FIELDS)), max(options.pairs, 1))
    for pair in runs:
        for name, run in zip(("prod2vec", "Meta-Prod2Vec"), pair, strict=True):
            pairs, loss = run.result
            print(f"{name:16}{pairs / run.wall / 1e6:10.2f}{run.wall:8.2f}{run.cpu:8.2f}{loss:15.4f}")
    rates = [[run[side].result[0] / run[side].wall for run in runs] for side in (0, 1)]
    losses = [statistics.mean(run[side].result[1] for run in runs) for side in (0, 1)]
    cpu = statistics.median(a.cpu / b.cpu for a, b in runs)
    print(closing_line("prod2vec, and Meta-Prod2Vec with three fields, one thread", *rates, *losses, "pairs/s", ratio_cpu=cpu))


if __name__ == "__main__":
    main()
