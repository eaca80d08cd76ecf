"""Training a convolutional VAE on images of 28 x 28: pythae's trainer against ours, the same net, batch, rate and epochs.

`python -m bench.vae [--quick] [--data data/prepared/mnist]` with bench/.venv's Python. Two convolutions of 32 and 64 channels, 16 latent
units, grey pixels under the Bernoulli likelihood (what both call bce), Adam at 1e-3, batches of 128. Ours twice: float32, and matrix
products in bfloat16 (`train.autocast`); both with `train.channels_last`. The test ELBO of each is read by our evaluation, in float32, at
the same draws. `limit` is the ratio at which nothing but our convolutions would be left of a step: the profiler's seconds in them against
pythae's whole time. Without `--data` the images are the digits of scikit-learn enlarged threefold, each shifted at random.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from bench.images import images
from bench.iw_bound import as_pythae
from bench.pairs import Timed, closing_line, in_convolutions, timed
from stages.models.base import image_tensor
from stages.models.vae import Config, Model
from stages.train.loop import train
from stages.train.settings import TrainSettings

BATCH, RATE, THREADS = 128, 1e-3, 1
CONFIG = Config(latent=16, channels=(32, 64), likelihood="bernoulli")


def fresh(seed: int) -> Model:
    torch.manual_seed(seed)
    return Model(CONFIG, {"shape": [28, 28, 1], "classes": 0})


@torch.no_grad()
def elbo(model: Model, x: torch.Tensor) -> float:
    """-ELBO of the images in nats."""
    model.eval()
    distortion, rate = model.bound(x, torch.Generator().manual_seed(0))
    return float((distortion + rate.sum(1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.vae", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 epoch of 4,992 images instead of 2 of 9,984")
    parser.add_argument("--data", type=Path, help="prepared images of 28 x 28 in place of the enlarged digits")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    epochs, n = (1, 39 * BATCH) if options.quick else (2, 78 * BATCH)
    torch.set_num_threads(THREADS)
    logging.disable(logging.INFO)
    data = images(options.data)
    rng, known = np.random.default_rng(0), data["train.images"]
    chosen = known[rng.permutation(len(known))[:n]] if len(known) >= n else np.stack(
        [np.roll(known[i % len(known)], rng.integers(-2, 3, 2), (0, 1)) for i in range(n)])
    test = image_tensor(data["test.images"][:1000])

    def peer(seed: int) -> Timed:
        model, x = fresh(seed), image_tensor(chosen)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            config = BaseTrainerConfig(output_dir=folder, per_device_train_batch_size=BATCH, num_epochs=epochs, learning_rate=RATE,
                                       seed=seed, no_cuda=True)
            trainer = BaseTrainer(as_pythae(model), BaseDataset(x, torch.zeros(n)), training_config=config)
            run = timed(trainer.train)
        return Timed(run.wall, run.cpu, elbo(model, test))

    def ours(seed: int, autocast: bool) -> Timed:
        model = fresh(seed)
        settings = TrainSettings(steps=epochs * n // BATCH, batch_size=BATCH, lr=RATE, channels_last=True, autocast=autocast)
        run = timed(lambda: train(model, {"train.images": chosen}, settings, seed, torch.device("cpu")))
        return Timed(run.wall, run.cpu, elbo(model, test))

    names = ("pythae, float32", "ours, float32", "ours, bfloat16")
    ours(0, True)  # libraries choose their kernels
    runs = [(peer(i), ours(i, False), ours(i, True)) for i in range(options.pairs)]
    print(f"{n:,} images of 28 x 28, {epochs} epochs, batches of {BATCH}, {THREADS} thread")
    print(f"{'':18}{'images/s':>10}{'wall s':>8}{'CPU s':>8}{'test -ELBO, nats':>18}")
    for found in runs:
        for name, run in zip(names, found, strict=True):
            print(f"{name:18}{n * epochs / run.wall:10.0f}{run.wall:8.2f}{run.cpu:8.2f}{run.result:18.3f}")
    rates = [[n * epochs / found[side].wall for found in runs] for side in range(3)]
    quality = [statistics.mean(found[side].result for found in runs) for side in range(3)]
    wall = statistics.median(found[0].wall for found in runs)
    spent = [in_convolutions(lambda autocast=autocast: ours(0, autocast)) for autocast in (False, True)]
    print(f"in convolutions, ours: {spent[0]:.2f} s in float32, {spent[1]:.2f} s in bfloat16, of pythae's {wall:.2f} s")
    work = f"convolutional VAE of 28 x 28 images, {epochs} epochs: pythae 0.1.2's trainer, ours in {{}}, {THREADS} thread"
    line = ()
    for side, kind in ((2, "bfloat16"), (1, "float32")):
        line = (closing_line(work.format(kind), rates[0], rates[side], quality[0], quality[side], "images/s, nats", line,
                             limit=wall / spent[side - 1]),)
    print(line[0])


if __name__ == "__main__":
    main()
