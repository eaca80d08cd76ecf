"""Bounds on the log-likelihood and reconstruction errors of models with a latent variable. Bounds are stored as positive nats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stages.models.parts.gaussian import log_normal, reparameterise

DRAWS = 5000  # latent draws held at once, whatever k: more are slower, for they leave the caches


@torch.no_grad()
def importance_bound(model, x: Tensor, k: int, seed: int) -> Tensor:
    """-log 1/k sum_i p(x, z_i) / q(z_i | x) for each x [B], z_i from q (Burda et al. 2016, eq. 8), in nats, lower is better.

    Read in pieces: log-means of k_1, k_2, ... draws join as log sum_j k_j exp(l_j) - log k, which is the bound of all k draws.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, min(len(x), DRAWS // min(k, DRAWS)))
    bounds = torch.full((len(x),), -math.inf, dtype=torch.float64)  # written in place: small results kept between large blocks of memory
    for start in range(0, len(x), rows):                            # would hold those apart, and the heap grew by gigabytes
        part = x[start : start + rows]
        add_draws(bounds[start : start + rows], lambda draws, part=part: model.log_likelihood(part, draws, generator), k,
                  max(1, DRAWS // len(part)))
    return math.log(k) - bounds


def add_draws(into: Tensor, bound: Callable[[int], Tensor], k: int, most: int) -> None:
    """Add k draws of `bound(draws)` [B], which makes at most `most` at once, to the log-sums `into`, float64 [B], in place."""
    while k:
        draws = min(k, most)
        torch.logaddexp(into, bound(draws).double() + math.log(draws), out=into)
        k -= draws


@torch.no_grad()
def mutual_information(mean: Tensor, log_variance: Tensor, seed: int) -> float:
    """Information of a Gaussian code about its image, E KL(q(z|x) || p) - KL(q(z) || p) = E log q(z|x) / q(z), in nats: [n, D] twice.

    One draw of z an image; q(z) is the mixture over the same n images, so that the estimate cannot exceed log n (Hoffman and Johnson 2016,
    http://approximateinference.org/accepted/HoffmanJohnson2016.pdf).
    """
    z = reparameterise(mean, log_variance, torch.Generator().manual_seed(seed))
    found = []
    for part, own in zip(z.split(64), torch.arange(len(z)).split(64), strict=True):
        densities = log_normal(part[:, None], mean[None], log_variance[None]).double()  # (64, n)
        found.append(densities[torch.arange(len(part)), own] - torch.logsumexp(densities, 1) + math.log(len(z)))
    return float(torch.cat(found).mean())


def reconstruction_ratio(made: np.ndarray, x: np.ndarray, train: np.ndarray) -> float:
    """Squared error of reconstructions `made` of the rows x over that of the training rows' mean: 0 is exact, 1 knows nothing of x."""
    return float(((made - x) ** 2).sum() / ((x - train.mean(0)) ** 2).sum())


@torch.no_grad()
def reconstruction_error(model, x: Tensor) -> float:
    """Mean squared error of a pixel, images in [0, 1], reconstructed at the mean of the code."""
    return float(torch.cat([(model.reconstruct(part) - part).double().flatten(1).pow(2).mean(1) for part in x.split(512)]).mean())
