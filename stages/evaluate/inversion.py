"""Codes of images by a generator that has no encoder: the latents whose images come nearest, sought by gradient (an inverted GAN)."""

from __future__ import annotations

import torch
from torch import Tensor

STARTS = 2000  # latents drawn from the prior; each image begins at that of the nearest
RATE, PRIOR = 0.05, 1e-3  # of Adam; weight of |z|^2 beside the squared error, which keeps a latent where the generator was trained


def inverted(generate, latent: int, x: Tensor, steps: int, seed: int) -> Tensor:
    """Latents [n, latent] of images x [n, ...]: min over z of |generate(z) - x|^2 + PRIOR |z|^2, `steps` of Adam from the nearest start.

    Zhu et al. 2016, Generative visual manipulation on the natural image manifold, section 3.1, https://arxiv.org/abs/1609.03552.
    """
    starts = torch.randn(STARTS, latent, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        z = starts[torch.cdist(x.flatten(1), generate(starts).flatten(1)).argmin(1)]
    with torch.enable_grad():
        z = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], RATE)
        for _ in range(steps):
            loss = (generate(z) - x).square().sum() + PRIOR * z.square().sum()
            (z.grad,) = torch.autograd.grad(loss, [z])
            optimizer.step()
    return z.detach()
