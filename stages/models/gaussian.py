"""One Gaussian with a full covariance over all pixels: the explicit density that every generative model has to beat.

p(x) = N(x; m, S + r I), m and S the training images' mean and maximum-likelihood covariance, in closed form; the ridge r is the one under
which the validation images are likeliest. See Bishop 2006, Pattern Recognition and Machine Learning, section 2.3.4,
https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/. Samples are cut to [0, 1], as images are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.models.base import KernelModel, image_tensor
from stages.settings import field

CITATION = "Bishop 2006, Pattern Recognition and Machine Learning, section 2.3.4: maximum likelihood for the Gaussian"
RIDGES = tuple(10.0 ** (power / 2) for power in range(-12, 1))


@dataclass(frozen=True)
class Config:
    ridge: float | None = field(None, above=0.0, doc="added to every variance; null: the best of 1e-6 ... 1 on the validation split")


class Model(KernelModel):
    kinds = ("images",)
    inputs = ("images",)
    train_defaults: Mapping[str, object] = {"epochs": 1}

    def __init__(self, config: Config, meta: Mapping):
        super().__init__()
        height, width, depth = meta["shape"]
        pixels = depth * height * width
        self.config, self.shape = config, (depth, height, width)
        self.mean = torch.nn.Parameter(torch.zeros(pixels, dtype=torch.float64), requires_grad=False)
        self.variances = torch.nn.Parameter(torch.ones(pixels, dtype=torch.float64), requires_grad=False)
        self.directions = torch.nn.Parameter(torch.eye(pixels, dtype=torch.float64), requires_grad=False)

    def epoch(self, data: Mapping[str, np.ndarray], seed: int, epoch: int, epochs: int, threads: int) -> tuple[int, dict[str, float]]:
        x = image_tensor(data["train.images"]).flatten(1).double()
        valid = image_tensor(data["valid.images"]).flatten(1).double()
        self.mean.copy_(x.mean(0))
        variances, directions = torch.linalg.eigh((x - self.mean).T @ (x - self.mean) / len(x))
        self.directions.copy_(directions)
        ridges = (self.config.ridge,) if self.config.ridge else RIDGES if len(valid) else RIDGES[-1:]
        self.variances.copy_(variances.clamp(min=0) + min(ridges, key=lambda r: self._loss(valid, variances.clamp(min=0) + r)))
        return len(x), {"loss": self._loss(x, self.variances)}

    def _loss(self, x: Tensor, variances: Tensor) -> float:
        return -float(self._log_density(x, variances).mean()) if len(x) else 0.0

    def _log_density(self, x: Tensor, variances: Tensor) -> Tensor:
        squares = ((x.double() - self.mean) @ self.directions).square()
        return -0.5 * (squares / variances + torch.log(2 * math.pi * variances)).sum(1)

    def log_likelihood(self, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """log p(x) in nats, exact whatever k: [B, C, H, W] -> [B]."""
        return self._log_density(x.flatten(1), self.variances)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws cut to [0, 1]: [n, C, H, W]."""
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64, device=self.mean.device)
        x = self.mean + noise * self.variances.sqrt() @ self.directions.T
        return x.clamp(0, 1).float().view(-1, *self.shape)

    def validate(self, data):
        valid = image_tensor(data["valid.images"]).flatten(1)
        return {"loss": self._loss(valid, self.variances)} if len(valid) else {}
