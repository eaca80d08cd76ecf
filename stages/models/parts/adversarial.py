"""Free functions of the adversarial game; `a` is always the discriminator's logit, so that D(x) = sigmoid(a).

Every objective is a pair (loss of the discriminator from its logits of real and of generated examples, loss of the generator from the
logits of generated ones); penalties and constraints on the discriminator are apart from them, so that any goes with any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


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


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """a(G(z)) - a(x): minus the critic's estimate of W1 (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, equation 2)."""
    return fake.mean() - real.mean()


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - a(x)) + max(0, 1 + a(G(z))) (Lim and Ye 2017, https://arxiv.org/abs/1705.02894)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def least_squares_loss(real: Tensor, fake: Tensor) -> Tensor:
    """((a(x) - 1)^2 + a(G(z))^2) / 2 (Mao et al. 2017, https://arxiv.org/abs/1611.04076, equation 9 with b = 1, a = 0)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def least_squares(fake: Tensor) -> Tensor:
    """(a - 1)^2: the generator's side of the least-squares game, as CycleGAN has it (twice Mao's)."""
    return (fake - 1).square().mean()


def linear(fake: Tensor) -> Tensor:
    """-a: the generator's side of the Wasserstein and of the hinge game; gradient -1."""
    return -fake.mean()


GENERATOR_LOSSES = {"saturating": saturating, "nonsaturating": nonsaturating, "maximum_likelihood": maximum_likelihood}
OBJECTIVES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    **{name: (discriminator_loss, loss) for name, loss in GENERATOR_LOSSES.items()},
    "wasserstein": (critic_loss, linear),
    "hinge": (hinge_loss, linear),
    "least_squares": (least_squares_loss, least_squares),
}


def r1(logits: Tensor, *inputs: Tensor) -> Tensor:
    """1/2 E ||grad a||^2 at real `inputs`, to be multiplied by gamma (Mescheder et al. 2018, equation 9).

    Each of `inputs` [B, ...] must require its gradient; of several (an image and its latent) the squared norms add up.
    """
    gradients = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return 0.5 * torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).mean()


def interpolated(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (||grad a(x_hat)|| - 1)^2, to be multiplied by lambda (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3).

    x_hat is uniform on the line between a real and a generated example, [B, ...] each.
    """
    share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).square().sum(1).add(1e-12).sqrt() - 1).square().mean()  # the root's slope at 0 is infinite


def full_precision(x: Tensor, wanted: bool = True) -> contextlib.AbstractContextManager:
    """Out of autocast where `wanted`: gradients of gradients are taken in float32, while the step's other terms may be in bfloat16."""
    return torch.autocast(x.device.type, enabled=False) if wanted else contextlib.nullcontext()


@torch.no_grad()
def clip(module: nn.Module, bound: float) -> None:
    """Every weight into [-bound, bound]: the critic is then Lipschitz, with a constant nobody knows (Arjovsky et al. 2017, algorithm 1)."""
    for p in module.parameters():
        p.clamp_(-bound, bound)


def spectral(net: nn.Module) -> nn.Module:
    """`net`, each linear map and convolution divided by its largest singular value (Miyato et al. 2018, https://arxiv.org/abs/1802.05957).

    Changed in place; one power iteration a training pass keeps up with the weights.
    """
    for module in list(net.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            spectral_norm(module)
    return net


def fading(start: float, step: int, steps: int) -> float:
    """`start` at step 0, linearly to 0 at `steps`, 0 from then on: the deviation of instance noise."""
    return start * max(0.0, 1.0 - step / steps)


def noisy(x: Tensor, sigma: float) -> Tensor:
    """x + sigma e, e ~ N(0, I); nothing is drawn at 0 (instance noise, Sonderby et al. 2017, https://arxiv.org/abs/1610.04490)."""
    return x + sigma * torch.randn_like(x) if sigma else x
