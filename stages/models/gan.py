"""Generative adversarial network on images.

Goodfellow et al. 2014, Generative adversarial nets, https://arxiv.org/abs/1406.2661.
D minimises -log s(a(x)) - log(1 - s(a(G(z)))); G minimises log(1 - s(a)) (saturating), -log s(a) (non-saturating) or -exp(a) (maximum
likelihood, https://arxiv.org/abs/1412.6515), with a = the discriminator's logit.

Deviations from the paper, each a setting: an R1 penalty gamma/2 ||grad_x a(x)||^2 on real images every `r1_every` discriminator
steps, multiplied by that interval (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406; lazily as in StyleGAN2), and samples from a
moving average of the generator's weights. Without the penalty the game on 8 x 8 digits collapsed in a trial.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import Phase
from stages.models.parts.adversarial import GENERATOR_LOSSES, discriminator_loss, r1
from stages.models.parts.nets import mlp
from stages.settings import field

CITATION = "Goodfellow et al. 2014, Generative adversarial nets, https://arxiv.org/abs/1406.2661"


@dataclass(frozen=True)
class Config:
    latent: int = field(10, low=1, high=4096)
    hidden: tuple[int, ...] = field((256, 256), low=1)
    objective: Literal["saturating", "nonsaturating", "maximum_likelihood"] = field("nonsaturating")
    discriminator_steps: int = field(1, low=1, high=100, doc="discriminator steps a generator step")
    r1: float = field(0.1, low=0.0, doc="gamma; 0: no penalty")
    r1_every: int = field(8, low=1)


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    adversarial = True
    per_example = True
    averages = {"generator": "generator_average"}
    train_defaults = {"steps": 4500, "batch_size": 64, "lr": 1.5e-3, "betas": (0.0, 0.99), "ema": 0.998, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        self.config, self.shape = config, (depth, height, width)
        pixels = depth * height * width
        self.generator = mlp((config.latent, *config.hidden, pixels), lambda: nn.LeakyReLU(0.2))
        self.discriminator = mlp((pixels, *reversed(config.hidden), 1), lambda: nn.LeakyReLU(0.2))
        self.generator_average = copy.deepcopy(self.generator).requires_grad_(False)
        self.phases = (Phase("d", ("discriminator",), repeat=config.discriminator_steps, fp32=config.r1 > 0), Phase("g", ("generator",)))

    def generate(self, z: Tensor, net: nn.Module) -> Tensor:
        """[B, latent] -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(net(z)).view(-1, *self.shape)

    def logit(self, x: Tensor) -> Tensor:
        """a(x): [B, C, H, W] -> [B]."""
        return self.discriminator(2 * x.flatten(1) - 1).squeeze(1)

    def loss(self, batch, phase, step):
        x = batch["images"]
        z = torch.randn(len(x), self.config.latent, device=x.device)
        if phase == "g":
            loss = GENERATOR_LOSSES[self.config.objective](self.logit(self.generate(z, self.generator)))
            return loss, {"loss": loss}
        penalised = self.config.r1 > 0 and step % self.config.r1_every == 0
        x = x.requires_grad_(penalised)
        with torch.no_grad():
            generated = self.generate(z, self.generator)
        real, fake = self.logit(torch.cat([x, generated])).chunk(2)
        loss = discriminator_loss(real, fake)
        terms = {"loss": loss, "accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())}
        if penalised:
            penalty = self.config.r1 * r1(real, x)
            loss, terms["r1"] = loss + self.config.r1_every * penalty, penalty
        return loss, terms

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Images of the averaged generator for z ~ N(0, I): [n, C, H, W] in [0, 1]."""
        z = torch.randn(n, self.config.latent, generator=generator, device=next(self.parameters()).device)
        return self.generate(z, self.generator_average)
