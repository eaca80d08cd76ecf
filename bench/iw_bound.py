"""The importance-weighted bound of 5,000 draws on binarised images: pythae's get_nll against ours, on the same weights.

`python -m bench.iw_bound [--quick] [--data data/prepared/mnist]` with bench/.venv's Python. A VAE of 28 x 28 Bernoulli pixels with 200-200
tanh units and 50 latent ones (Burda et al. 2016), trained for some hundred steps so that its weights are no chance. Ours measures 1,000
images; pythae, one image at a time in batches of its default 100 draws, each encoded anew, only some of them: its time grows with their
number. Without `--data` the images are the digits of scikit-learn enlarged threefold; the time does not depend on what they show. Bounds
of 5,000 draws are random: those of the images that both measured must agree within a tenth of a nat.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder

from bench.images import images
from bench.pairs import Timed, alternate, closing_line, timed
from stages.evaluate.generative import importance_bound
from stages.models.base import image_tensor
from stages.models.vae import Config, Model
from stages.train.loop import train
from stages.train.settings import TrainSettings

DRAWS, THREADS, STEPS = 5000, 1, 500


class Encoder(BaseEncoder):
    """Our encoder as pythae calls it."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, x):
        mean, log_variance = self.model.posterior(x)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Our decoder as pythae calls it."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, z):
        return ModelOutput(reconstruction=self.model.decode(z))


def as_pythae(model: Model) -> VAE:
    """The same nets, by reference, as pythae's VAE with Bernoulli pixels."""
    height, width = model.shape[1:]
    config = VAEConfig(input_dim=(1, height, width), latent_dim=model.config.latent, reconstruction_loss="bce")
    return VAE(config, Encoder(model), Decoder(model))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.iw_bound", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 and 2 images instead of 1,000 and 20")
    parser.add_argument("--data", type=Path, help="prepared images of 28 x 28 in place of the enlarged digits")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    many, few = (100, 2) if options.quick else (1000, 20)
    torch.set_num_threads(THREADS)
    data = images(options.data)
    torch.manual_seed(0)
    model = Model(Config(latent=50, hidden=(200, 200), activation="tanh", likelihood="bernoulli", binarise="dynamic"),
                  {"shape": [28, 28, 1], "classes": 0})
    train(model, data, TrainSettings(steps=STEPS, lr=2e-3), 0, torch.device("cpu"))
    model.eval()
    x = model.observed(image_tensor(data["test.images"][:many]), torch.Generator().manual_seed(0))
    theirs = as_pythae(model)

    def peer(seed: int) -> Timed:
        torch.manual_seed(seed)
        with torch.no_grad():
            return timed(lambda: -theirs.get_nll(x[:few], n_samples=DRAWS))

    runs = alternate(peer, lambda seed: timed(lambda: importance_bound(model, x, DRAWS, seed)), options.pairs)
    print(f"{many:,} images (pythae: {few}), {DRAWS:,} draws, 200-200 tanh, 50 latent units, {THREADS} thread")
    print(f"{'':8}{'images/s':>10}{'wall s':>8}{'CPU s':>8}{f'bound of {few} images, nats':>30}")
    rates, bounds = [[], []], [[], []]
    for pair in runs:
        for side, (name, n, run) in enumerate(zip(("pythae", "ours"), (few, many), pair, strict=True)):
            rates[side].append(n / run.wall)
            bounds[side].append(float(run.result if side == 0 else run.result[:few].mean()))
            print(f"{name:8}{rates[side][-1]:10.2f}{run.wall:8.2f}{run.cpu:8.2f}{bounds[side][-1]:30.3f}")
    name = f"IW-{DRAWS} bound of 28 x 28 images: pythae 0.1.2's get_nll, ours, {THREADS} thread"
    print(closing_line(name, *rates, *map(statistics.mean, bounds), "images/s, nats",
                       seconds_1000_ours=1000 / statistics.median(rates[1])))


if __name__ == "__main__":
    main()
