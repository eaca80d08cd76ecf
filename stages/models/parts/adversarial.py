"""Free functions of the adversarial game; `a` is always the discriminator's logit, so that D(x) = sigmoid(a)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log s(a(x)) - log(1 - s(a(G(z)))), each a mean over its batch (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating(fake: Tensor) -> Tensor:
    """log(1 - s(a)): the generator's side of the min-max game; gradient -s(a) (Goodfellow et al. 2014, equation 1)."""
    return -F.softplus(fake).mean()


def nonsaturating(fake: Tensor) -> Tensor:
    """-log s(a); gradient -(1 - s(a)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def maximum_likelihood(fake: Tensor) -> Tensor:
    """-exp(a): at the optimal D its expected gradient is that of maximum likelihood (Goodfellow 2014, https://arxiv.org/abs/1412.6515)."""
    return -fake.exp().mean()


GENERATOR_LOSSES = {"saturating": saturating, "nonsaturating": nonsaturating, "maximum_likelihood": maximum_likelihood}


def r1(logits: Tensor, x: Tensor) -> Tensor:
    """1/2 E ||grad_x a(x)||^2 on real x, to be multiplied by gamma (Mescheder et al. 2018, equation 9). `x` must require its gradient."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.flatten(1).square().sum(1).mean()
