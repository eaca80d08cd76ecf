"""`python -m tests.stages.train.shares FOLDER`, in several processes: what each trains of its share, to be held against the whole."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.runs import families, family_module
from stages.train.checkpoints import Store
from stages.train.group import group
from stages.train.loop import train
from stages.train.settings import TrainSettings
from tests.contract.test_families import made

SPLIT = [f for f in families() if family_module(f).Model.per_example]
BATCHES = (16, 23)  # a share of 23 is 11, and one of 12
STEPS = 12


def trained(family, batch_size, among=None, folder=None, stop_after=None):
    """The family trained on the contract tests' data by plain gradient descent, which magnifies no rounding as Adam does at the start."""
    model, data, options = made(family)
    settings = TrainSettings(**{**options, "steps": STEPS, "batch_size": batch_size, "optimizer": "sgd", "lr": 1e-3, "lr_decay": "none",
                                "validate_every": 4 if model.validate(data) else 0, "checkpoint_seconds": 1e9, "log_every": 3})
    store = Store(folder, family, str(batch_size)) if folder else None
    return train(model, data, settings, 3, torch.device("cpu"), store, None, stop_after, among)


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    with group(2, torch.device("cpu")) as (among, _):
        for family in SPLIT:
            for batch_size in BATCHES:
                result = trained(family, batch_size, among)
                save_file({k: v.contiguous() for k, v in result.weights.items()}, folder / f"{family}.{batch_size}.{among.rank}")
            trained(family, 16, among, folder / "begun by two", stop_after=5)
            result = trained(family, 16, among, folder / "begun by one")
            save_file({k: v.contiguous() for k, v in result.weights.items()}, folder / f"{family}.resumed.{among.rank}")
        with torch.random.fork_rng(), among.noise():
            rows = among.share.stop - among.share.start  # of the last batch, 16
            torch.manual_seed(5)
            inner = torch.nn.functional.dropout(torch.ones(rows, 3), 0.5)
            noise = {"randn": torch.randn(rows, 3), "dropout": inner, "one for all": torch.randint(0, 100, (2,)),
                     "like": torch.rand_like(torch.zeros(rows, 2, 2)), "inside": torch.empty(rows, 2).uniform_(1, 2)}
            noise["bernoulli"] = torch.bernoulli(torch.full((rows, 4), 0.3))
        save_file({k: v.contiguous() for k, v in noise.items()}, folder / f"noise.{among.rank}")


if __name__ == "__main__":
    main()
