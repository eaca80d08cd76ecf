"""Variational autoencoder and beta-VAE on images.

Kingma and Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114; beta: Higgins et al. 2017.
Minimises  -E_q log p(x|z) + beta KL(q(z|x) || N(0, I))  with q = N(mu(x), diag sigma^2(x)) and one draw of z an image (equation 10);
beta = 1 is the VAE exactly: the factor is then left out, not multiplied by one.

Likelihoods: `gaussian` with one variance for all pixels, learnt along with the rest (sigma-VAE, Rybkin et al. 2021,
https://arxiv.org/abs/2006.13202), or `bernoulli` on grey values taken as probabilities, as most code does; those values are no
binary data, so that Bernoulli bound is no log-likelihood of the images and is not to be compared with one.
Deviations from the paper: the learnt variance, without which the Gaussian model blurs or collapses on grey images, and residual-free
MLPs with SiLU in place of one tanh layer; samples are the means p(x|z), not draws of noisy pixels. On small
data the bound on held-out images turns up after about a thousand steps (the curve shows it) while the samples still improve; 1,500 steps
are a compromise between the two. `train.patience` stops where the bound is best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.models.parts.gaussian import kl_to_standard, log_mean_exp, log_normal, reparameterise
from stages.models.parts.nets import mlp
from stages.settings import field

CITATION = "Kingma and Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114"


@dataclass(frozen=True)
class Config:
    latent: int = field(12, low=1, high=4096)
    hidden: tuple[int, ...] = field((128, 128), low=1)
    beta: float = field(1.0, low=0.0)
    likelihood: Literal["gaussian", "bernoulli"] = field("gaussian")


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    train_defaults = {"steps": 1500, "batch_size": 128, "lr": 5e-3, "lr_decay": "cosine", "validate_every": 100, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        self.config, self.shape = config, (depth, height, width)
        pixels = depth * height * width
        self.encoder = mlp((pixels, *config.hidden, 2 * config.latent), nn.SiLU)
        self.decoder = mlp((config.latent, *reversed(config.hidden), pixels), nn.SiLU)
        self.log_sigma = nn.Parameter(torch.tensor(-1.5), requires_grad=config.likelihood == "gaussian")

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mean and log-variance of q(z|x): [B, C, H, W] -> two of [B, latent]."""
        mean, log_variance = self.encoder(2 * x.flatten(1) - 1).float().chunk(2, 1)  # the KL needs float32 also under autocast
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Mean image of p(x|z): [B, latent] -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(self.decoder(z)).view(-1, *self.shape)

    def log_p_x(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over pixels: [B, ...], [B, latent] -> [B]."""
        output, target = self.decoder(z), x.flatten(1)
        if self.config.likelihood == "bernoulli":
            return -F.binary_cross_entropy_with_logits(output, target, reduction="none").sum(1)
        error = (target - torch.sigmoid(output)) * torch.exp(-self.log_sigma)
        return -(0.5 * error.square() + self.log_sigma + 0.5 * math.log(2 * math.pi)).sum(1)

    def bound(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] = -log p(x|z) at one draw of z, rate [B, latent] = KL of each unit), in nats; their sum is -ELBO."""
        mean, log_variance = self.posterior(x)
        return -self.log_p_x(x, reparameterise(mean, log_variance, generator)), kl_to_standard(mean, log_variance)

    def loss(self, batch, phase, step):
        distortion, rate = (t.flatten(1).sum(1).mean() if t.dim() > 1 else t.mean() for t in self.bound(batch["images"]))
        weighted = rate if self.config.beta == 1 else self.config.beta * rate
        return distortion + weighted, {"distortion": distortion, "kl": rate}

    def validate(self, data):
        x = image_tensor(data["valid.images"], self.log_sigma.device)
        distortion, rate = self.bound(x)
        return {"loss": (distortion.mean() + self.config.beta * rate.sum(1).mean()).item(), "kl": rate.sum(1).mean().item()}

    def encode(self, x: Tensor) -> Tensor:
        """Mean of q(z|x): [B, C, H, W] -> [B, latent]."""
        return self.posterior(x)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """Image at the mean of the code: [B, C, H, W] -> the same."""
        return self.decode(self.encode(x))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Means p(x|z) for z ~ N(0, I): [n, C, H, W]."""
        device = self.log_sigma.device
        return self.decode(torch.randn(n, self.config.latent, generator=generator, device=device))

    def log_likelihood(self, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound log 1/k sum p(x, z_i)/q(z_i|x) in nats: [B, ...] -> [B] (Burda et al. 2016, equation 8)."""
        mean, log_variance = (t.repeat_interleave(k, 0) for t in self.posterior(x))
        z = reparameterise(mean, log_variance, generator)
        zero = torch.zeros_like(z)
        weights = self.log_p_x(x.repeat_interleave(k, 0), z) + log_normal(z, zero, zero) - log_normal(z, mean, log_variance)
        return log_mean_exp(weights.view(len(x), k), 1)
