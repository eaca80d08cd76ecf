"""Convolutional networks that make an image of an image, and the discriminators that judge patches of it.

All of them read a neighbourhood of each pixel and nothing else (normalisation is by batch, by running averages once trained, never over
the image), so that a large picture may go through in tiles: `halo` is how many pixels about a tile of the source its result depends on,
`multiple` what the tile's corner and the padded sides must be multiples of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.settings import InputError

STEEP = 2.8  # sigmoid(2.8 (2 x - 1)) is within 0.06 of x on [0, 1]


def convolution(a: int, b: int, norm: bool, stride: int = 1, activation: Callable[[], nn.Module] | None = nn.ReLU) -> nn.Sequential:
    """A 3 x 3 convolution with its normalisation and activation, where there are any."""
    layers = [nn.Conv2d(a, b, 3, stride, 1, bias=not norm)]
    layers += [nn.BatchNorm2d(b)] if norm else []
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Residual(nn.Module):
    """x + two convolutions of x (He et al. 2016, https://arxiv.org/abs/1512.03385), without an activation after the sum."""

    def __init__(self, channels: int, norm: bool, activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels, norm, activation=activation),
                                  convolution(channels, channels, norm, activation=None))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Enlarged(nn.Module):
    """Every pixel four times, then a convolution: twice as large, without the checkerboard of a transposed convolution."""

    def __init__(self, a: int, b: int, norm: bool):
        super().__init__()
        self.convolution = convolution(a, b, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualTranslator(nn.Module):
    """Down `halvings` times, residual blocks, up again: CycleGAN's generator. [B, a, H, W] -> [B, b, H, W] in (0, 1).

    A linear map of each pixel's channels goes past all of it, and what is added to it begins small: what keeps its place is learnt first.
    `identity`: where channels are equal that map begins as one that leaves images nearly as they are.
    """

    def __init__(self, a: int, b: int, channels: int, blocks: int, halvings: int, norm: bool, identity: bool = False):
        super().__init__()
        widths = [channels * 2**i for i in range(halvings + 1)]
        layers = [convolution(a, channels, norm)]
        layers += [convolution(c, d, norm, 2) for c, d in zip(widths, widths[1:], strict=False)]
        layers += [Residual(widths[-1], norm) for _ in range(blocks)]
        layers += [Enlarged(d, c, norm) for c, d in reversed(list(zip(widths, widths[1:], strict=False)))]
        self.net, self.past = nn.Sequential(*layers, nn.Conv2d(channels, b, 3, 1, 1)), nn.Conv2d(a, b, 1)
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)
            if identity:
                nn.init.dirac_(self.past.weight)
                self.past.weight.mul_(STEEP)
                nn.init.zeros_(self.past.bias)
        self.multiple = 2**halvings
        self.halo = self.multiple * (2 * blocks + 4)

    def forward(self, x: Tensor) -> Tensor:
        x = 2 * x - 1
        return torch.sigmoid(self.past(x) + self.net(x))


class UNet(nn.Module):
    """Down `halvings` times and up again, with what was seen at each size beside what comes up: pix2pix's generator.

    Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597. [B, a, H, W] -> [B, b, H, W] in (0, 1).
    """

    def __init__(self, a: int, b: int, channels: int, halvings: int, norm: bool):
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(halvings + 1)]
        self.first = convolution(a, channels, norm)
        self.down = nn.ModuleList(nn.Sequential(convolution(c, d, norm, 2), convolution(d, d, norm))
                                  for c, d in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(Enlarged(d, c, norm) for c, d in zip(widths, widths[1:], strict=False))
        self.join = nn.ModuleList(convolution(2 * c, c, norm) for c in widths[:-1])
        self.last = nn.Conv2d(channels, b, 3, 1, 1)
        self.multiple = 2**halvings
        self.halo = 8 * self.multiple

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.first(2 * x - 1)]
        for layer in self.down:
            seen.append(layer(seen[-1]))
        x = seen.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            x = join(torch.cat([up(x), seen.pop()], 1))
        return torch.sigmoid(self.last(x))


def patch_discriminator(a: int, channels: int, halvings: int, norm: bool) -> nn.Sequential:
    """PatchGAN: a logit for every patch, [B, a, H, W] -> [B, 1, h, w] (Isola et al. 2017, section 2.2.2)."""
    leaky = _leaky
    layers, width = [convolution(a, channels, False, activation=leaky)], channels
    for _ in range(halvings):
        layers.append(convolution(width, 2 * width, norm, 2, leaky))
        width *= 2
    return nn.Sequential(*layers, convolution(width, width, norm, activation=leaky), nn.Conv2d(width, 1, 3, 1, 1))


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


class Pool(nn.Module):
    """The last translations, of which a discriminator sees some again (Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828, 2.3).

    Until `size` images are held each is kept and returned. Then each is returned itself with probability 1/2; else it takes the place of
    a random one of the pool, which is returned. 0 holds none.
    """

    def __init__(self, size: int, shape: Sequence[int]):
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> [B, ...]; nothing is drawn while the pool fills."""
        if not self.size:
            return x
        out = x.clone()
        for i, image in enumerate(x):
            if self.held < self.size:
                self.images[self.held] = image
                self.held += 1
            elif torch.rand(()) < 0.5:
                place = torch.randint(self.size, ()).item()
                out[i] = self.images[place]
                self.images[place] = image
        return out


def mirrored(*images: Tensor) -> list[Tensor]:
    """Every second example, by chance, mirrored left and right: the same ones in each of `images` [B, C, H, W]."""
    chosen = torch.rand(len(images[0]), 1, 1, 1, device=images[0].device) < 0.5
    return [torch.where(chosen, x.flip(-1), x) for x in images]


def enlargement(meta: dict, family: str, same: bool) -> int:
    """How many times larger targets are than sources; `same`: the family needs 1. Raises InputError for what no family here can do."""
    (height, width), (high, wide) = meta["source_shape"][:2], meta["shape"][:2]
    scale = high // height
    if (height * scale, width * scale) != (high, wide) or scale & (scale - 1) or not scale:
        raise InputError(f"family {family}: sources of {height}x{width} and targets of {high}x{wide}; expected targets 1, 2, 4, 8 or 16 "
                         "times as large on both sides; choose another prepare.scale")
    if same and scale != 1:
        raise InputError(f"family {family} keeps the size, but targets are {scale} times as large as sources; choose family "
                         "super_resolution, or another prepare.task")
    return scale


def check_halvings(meta: dict, halvings: int, where: str) -> None:
    """Raise InputError where training images cannot be halved so often."""
    height, width = meta["source_shape"][:2]
    if height % 2**halvings or width % 2**halvings:
        most = int(math.log2(math.gcd(height, width) & -math.gcd(height, width)))
        raise InputError(f"{where}: {halvings} halvings of images of {height}x{width}; allowed: at most {most}")


def check_paired(meta: dict, family: str) -> None:
    """Raise InputError unless training images come in pairs."""
    if not meta["paired"]:
        raise InputError(f"family {family} learns from pairs, but the dataset's two domains are unpaired (prepare.task: {meta['task']}); "
                         "choose family cyclegan, or a task that makes pairs")
