"""Free functions of Gaussian latents, from which every likelihood model is put together."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def reparameterise(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """z = mean + sigma * eps, eps ~ N(0, I); same shape as `mean` (Kingma and Welling 2014, section 2.4)."""
    noise = torch.randn(mean.shape, device=mean.device, dtype=mean.dtype, generator=generator)
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_to_standard(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag sigma^2) || N(0, I)) of each unit, in nats: [..., D] -> [..., D] (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)


def kl_between(mean: Tensor, log_variance: Tensor, other: Tensor, log_other: Tensor) -> Tensor:
    """KL(N(mean, diag sigma^2) || N(other, diag tau^2)) of each unit, in nats: [..., D] -> [..., D]."""
    return 0.5 * (log_other - log_variance + torch.exp(log_variance - log_other) + (mean - other).square() * torch.exp(-log_other) - 1.0)


def log_normal_units(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, sigma^2) of each unit, in nats: [..., D] -> [..., D]."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance))


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, diag sigma^2) summed over the last axis, in nats."""
    return log_normal_units(x, mean, log_variance).sum(-1)


def log_mean_exp(log_weights: Tensor, dim: int) -> Tensor:
    """log 1/K sum exp(w) along `dim`, without overflow: the importance-weighted bound from its weights (Burda et al. 2016, equation 8)."""
    return torch.logsumexp(log_weights, dim) - math.log(log_weights.shape[dim])


def resampled(weights: Tensor, n: int) -> Tensor:
    """n places of each row, place i of them n * weights[i] times on average: [B, k] that sum to 1 -> int64 [B, n].

    One uniform number a row, n equal steps from it (systematic resampling): how often a place is taken is off by less than one.
    """
    steps = (torch.rand(len(weights), 1, device=weights.device) + torch.arange(n, device=weights.device)) / n
    return torch.searchsorted(weights.cumsum(1), steps).clamp_(max=weights.shape[1] - 1)
