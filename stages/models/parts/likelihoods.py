"""What a decoder's output says of an image: the likelihoods that every model with a latent code chooses from.

- `bernoulli`: logits of binary pixels. On grey values taken as probabilities it is no density, and its bound compares with nothing; with
  `binarise` the data are drawn from those probabilities (anew at every look: `dynamic`; once and for all: `fixed`) and it is one.
- `gaussian`: means through a sigmoid, one standard deviation for all pixels, `sigma`, or learnt along with the rest where that is null
  (sigma-VAE, Rybkin et al. 2021, https://arxiv.org/abs/2006.13202).
- `logistic`: the mass that a logistic distribution puts on each of 256 grey levels, the outer ones up to infinity, scale learnt
  (Salimans et al. 2017, https://arxiv.org/abs/1701.05517, eq. 2): a probability, so its bound is in nats of the very bytes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import image_tensor
from stages.settings import InputError

LIKELIHOODS = ("gaussian", "bernoulli", "logistic")
ROWS = 2048  # images at once
BINARISE = ("none", "dynamic", "fixed")


class _LogBernoulli(torch.autograd.Function):
    """Fewer passes over [..., D] than autograd makes of the library's function: this is where importance weights spend their time."""

    @staticmethod
    def forward(ctx, x, logits):
        ctx.save_for_backward(x, logits)
        return F.softplus(logits).addcmul_(x, logits, value=-1).sum(-1).neg_()

    @staticmethod
    def backward(ctx, grad):
        x, logits = ctx.saved_tensors
        return None, torch.sub(x, torch.sigmoid(logits)).mul_(grad[..., None])


def log_bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x) = x l - log(1 + e^l) in nats, summed over the last axis: x in [0, 1] (a constant), broadcast to logits [..., D] -> [...]."""
    return _LogBernoulli.apply(x, logits)


def log_gaussian(x: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """log N(x; mean, sigma^2) of each pixel in nats."""
    return -(0.5 * ((x - mean) * torch.exp(-log_sigma)).square() + log_sigma + 0.5 * math.log(2 * math.pi))


def log_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of the mass on the grey level of x = level / 255, in nats; mean and scale in the same units."""
    scale = torch.exp(-log_scale)
    upper, lower = (x - mean + 0.5 / 255) * scale, (x - mean - 0.5 / 255) * scale
    inside = torch.sigmoid(upper) - torch.sigmoid(lower)
    density = (x - mean) * scale  # where the mass underflows: density times the width of a level
    log_density = density - 2 * F.softplus(density) - log_scale - math.log(255)
    log_inside = torch.where(inside > 1e-5, torch.log(inside.clamp(min=1e-12)), log_density)
    return torch.where(x < 0.25 / 255, F.logsigmoid(upper), torch.where(x > 1 - 0.25 / 255, -F.softplus(lower), log_inside))


def binarised(x: Tensor, how: str, generator: torch.Generator | None = None) -> Tensor:
    """x [B, ...] itself, or 0 and 1 drawn with x as probability: from `generator`, or (`fixed`) the same draw for the same image ever."""
    if how == "none":
        return x
    noise = noise_of(x) if how == "fixed" else torch.rand(x.shape, device=x.device, generator=generator)
    return (noise < x).to(x.dtype)


def noise_of(x: Tensor) -> Tensor:
    """Uniform noise of the shape of x [B, ...] that is a hash of each image's grey levels and the pixel's place (murmur's finaliser)."""
    levels = (x.flatten(1) * 255).round().long()
    place = torch.arange(levels.shape[1], device=x.device)
    mixed = ((levels * (2 * place + 1) * 0x9E3779B1).sum(1, keepdim=True) + place * 0x85EBCA6B) & 0xFFFFFFFF
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)).to(x.dtype) / 2**32).view(x.shape)


class Pixels(nn.Module):
    """log p(x | output) and the mean image, by the likelihood's name; `sigma`, of the Gaussian, learnt where None.

    `shape` (C, H, W) of the images. Binary images enter an encoder less the mean of the training images, and the decoder starts at it: at
    -1 for nearly all pixels the first steps saturate its units (Burda et al. 2016, section 4).
    """

    def __init__(self, kind: str, sigma: float | None, binarise: str, shape: tuple[int, int, int]):
        super().__init__()
        if binarise != "none" and kind != "bernoulli":
            raise InputError(f"model.binarise: {binarise} makes binary images, but model.likelihood is {kind}; use likelihood: bernoulli")
        if sigma is not None and kind != "gaussian":
            raise InputError(f"model.sigma: {sigma:g} is the Gaussian's, but model.likelihood is {kind}; leave it out")
        self.kind, self.binarise = kind, binarise
        learnt = kind == "logistic" or (kind == "gaussian" and sigma is None)
        start = torch.tensor(-1.5 if sigma is None else math.log(sigma))
        self.log_scale = nn.Parameter(start, requires_grad=learnt)
        if binarise != "none":
            self.register_buffer("mean", torch.full(shape, 0.5))

    def begin(self, images: np.ndarray, bias: Tensor | None = None) -> None:
        """Before the first step: check the training images, and start `bias`, the logits of the decoder, at their mean where binarised."""
        self.check(images)
        if self.binarise == "none":
            return
        total = sum(image_tensor(images[i : i + ROWS]).sum(0).double() for i in range(0, len(images), ROWS))
        self.mean.copy_(total / len(images))
        if bias is not None:
            with torch.no_grad():
                bias.copy_(torch.logit(self.mean.flatten(), 0.001))

    def centred(self, x: Tensor) -> Tensor:
        """How images, as `observed`, enter an encoder: grey ones in [-1, 1], binary ones less the mean of the training images."""
        return 2 * x - 1 if self.binarise == "none" else x - self.mean

    def observed(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the likelihood is of: grey images [B, ...] in [0, 1], or binary ones drawn from them."""
        return binarised(x, self.binarise, generator)

    def check(self, images: np.ndarray) -> None:
        """InputError unless they are grey levels [n, H, W, C], which all three likelihoods are of once divided by 255."""
        if images.dtype != np.uint8:
            low, high = (f"{float(v):g}" for v in (images.min(), images.max()))
            raise InputError(f"train.images: {images.dtype} from {low} to {high} is outside what likelihood {self.kind} is of: "
                             "uint8 grey levels 0 to 255; prepare the dataset again")

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x | output) in nats, summed over pixels: [..., D], [..., D] -> [...]."""
        if self.kind == "bernoulli":
            return log_bernoulli(x, output)
        log_of = log_gaussian if self.kind == "gaussian" else log_logistic
        return log_of(x, torch.sigmoid(output), self.log_scale).sum(-1)
