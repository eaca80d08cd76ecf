"""Super-resolution: SRResNet, and SRGAN that goes on from it against a discriminator.

Ledig et al. 2017, Photo-realistic single image super-resolution using a generative adversarial network, https://arxiv.org/abs/1609.04802.

    SRResNet        mean (G(l) - h)^2 over pixels                                             (equation 4)
    SRGAN           content + 1e-3 sum -log D(G(l)), content the same squared error           (equations 3 and 6)
                    or |f(G(l)) - f(h)|^2 / |f(h)|^2 in the features f of a net               (equation 5)
    D               -log D(h) - log(1 - D(G(l)))

G is residual blocks with batch normalisation and PReLU at the small size, a long skip about them, and sub-pixel shuffles (Shi et al. 2016,
https://arxiv.org/abs/1609.05158). With an adversary the first `pretrain` steps are SRResNet's.

Deviations: G adds its result, small at first, to a bicubic enlargement, which leaves short training to the difference alone. One shuffle
enlarges by all of s, at the end, as in Shi et al., where the paper has two with convolutions at the larger sizes: a third of the work a
step. Kernels are 3 x 3 where it has 9 x 9 at both ends, blocks and channels fewer, batch normalisation is a switch that is off: what that
costs against the paper's gain on its test sets is not known. Examples are mirrored and turned. D's logits are of patches and averaged,
where the paper has dense layers that fix the size of its images. Images lie in [0, 1], where its originals lie in [-1, 1]: the squared
error is a quarter of its own, and the adversary's 1e-3 weighs four times as much. Targets of the same size as the sources (restoration) are
taken too.

Content in features, where the paper takes VGG's: a small net learns in the `pretrain` steps by how many right angles a target was turned
(Gidaris et al. 2018, https://arxiv.org/abs/1803.07728), and is fixed from then on. It is the run's own, saved with its weights, and not
the net that FID is computed in: a run trained on the features it is measured in would say nothing. It knows far less than VGG.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.bicubic import cubic
from stages.models.base import Model as Base
from stages.models.base import Phase, image_tensor
from stages.models.parts.adversarial import OBJECTIVES
from stages.models.parts.translators import Residual, check_paired, convolution, enlargement, mirrored, patch_discriminator
from stages.settings import InputError, field

CITATION = ("Ledig et al. 2017, Photo-realistic single image super-resolution using a generative adversarial network, "
            "https://arxiv.org/abs/1609.04802")

SIDE = 32  # pixels of what the content's net is taught on


@dataclass(frozen=True)
class Config:
    channels: int = field(32, low=1, high=1024)
    blocks: int = field(4, low=0, high=64)
    batch_norm: bool = field(False, doc="in the residual blocks")
    adversarial: float = field(0.0, low=0.0, doc="weight of -log D(G(l)); 0: SRResNet")
    pretrain: int = field(900, low=0, doc="with an adversary, or content in features: steps on the squared error alone, before it comes")
    content: Literal["mse", "features"] = field("mse", doc="after `pretrain`: squared error of pixels, or of features of a net")
    feature_weight: float = field(0.01, above=0.0, doc="of the error of features, relative to their size")
    feature_channels: int = field(16, low=1, high=1024, doc="of that net's first convolution; twice as many in each of two that follow")
    critic_channels: int = field(16, low=1, high=1024)
    critic_halvings: int = field(3, low=1, high=6)


class Bicubic(nn.Module):
    """[B, C, h, w] -> [B, C, s h, s w], the enlargement of stages/bicubic.py as a convolution; beyond the border the edge is repeated."""

    def __init__(self, scale: int):
        super().__init__()
        u = (np.arange(scale) + 0.5) / scale - 0.5
        taps = cubic(u[:, None] - np.arange(-2, 3))  # (s, 5)
        kernel = np.einsum("ai,bj->abij", taps, taps).reshape(scale * scale, 1, 5, 5)
        self.scale = scale
        self.register_buffer("kernel", torch.from_numpy(kernel).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        padded = F.pad(x.reshape(b * c, 1, h, w), (2, 2, 2, 2), mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, self.kernel), self.scale).reshape(b, c, h * self.scale, w * self.scale)


class Generator(nn.Module):
    """[B, C, h, w] -> [B, C', s h, s w], not clipped: a bicubic enlargement and what the network adds to it, little at first."""

    def __init__(self, a: int, b: int, config: Config, scale: int):
        super().__init__()
        prelu, n = partial(nn.PReLU, init=0.2), config.channels
        self.bicubic, self.same = Bicubic(scale), a == b
        self.first = nn.Sequential(nn.Conv2d(a, n, 3, 1, 1), prelu())
        self.body = nn.Sequential(*(Residual(n, config.batch_norm, prelu) for _ in range(config.blocks)), nn.Conv2d(n, n, 3, 1, 1))
        self.last = nn.Sequential(nn.Conv2d(n, b * scale**2, 3, 1, 1), nn.PixelShuffle(scale))
        with torch.no_grad():
            self.last[0].weight.mul_(0.1)
            self.last[0].bias.zero_()
        self.halo, self.multiple = 2 * config.blocks + 8, 1

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(2 * x - 1)
        added = self.last(h + self.body(h))
        enlarged = self.bicubic(x)
        return (enlarged if self.same else enlarged.mean(1, keepdim=True)) + added


class Content(nn.Module):
    """Three convolutions, two halvings; taught by rotations as stages/models/rotation.py, but without normalisation, which would move."""

    def __init__(self, depth: int, channels: int):
        super().__init__()
        self.trunk = nn.Sequential(convolution(depth, channels, False), nn.AvgPool2d(2), convolution(channels, 2 * channels, False),
                                   nn.AvgPool2d(2), convolution(2 * channels, 4 * channels, False))
        self.head = nn.Linear(4 * channels, 4)

    def features(self, x: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] -> [B, 4 channels, H // 4, W // 4]."""
        return self.trunk(2 * x - 1)

    def rotation_loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(mean -log p(rotation | rotated image), share told right) over four rotations of a square of each image, all at one place."""
        side = min(SIDE, *x.shape[2:])
        top, left = (int(torch.randint(n - side + 1, ())) for n in x.shape[2:])
        x = x[..., top : top + side, left : left + side]
        logits = torch.cat([self.head(self.features(torch.rot90(x, k, (2, 3))).mean((2, 3))) for k in range(4)])
        truth = torch.arange(4, device=x.device).repeat_interleave(len(x))
        return F.cross_entropy(logits, truth), (logits.argmax(1) == truth).float().mean()

    def error(self, made: Tensor, truth: Tensor) -> Tensor:
        """Squared error of the features over their squared size."""
        wanted = self.features(truth)
        return F.mse_loss(self.features(made), wanted) / wanted.square().mean()


class Model(Base):
    kinds = ("two_domains",)
    inputs = ("source", "target")
    adversarial = True
    train_defaults = {"steps": 1200, "batch_size": 16, "lr": 1e-3, "lr_decay": "cosine", "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        check_paired(meta, "super_resolution")
        self.config, self.scale = config, enlargement(meta, "super_resolution", same=False)
        self.generator = Generator(meta["source_shape"][2], meta["shape"][2], config, self.scale)
        first, then = {"stop": config.pretrain}, {"start": config.pretrain}
        phases = [Phase("pretrain", ("generator",), **first)] if config.pretrain else []
        if config.content == "features":
            if not config.pretrain:
                raise InputError("model.content: features are learnt in the pretrain steps, and model.pretrain is 0; raise it")
            self.content = Content(meta["shape"][2], config.feature_channels)
            phases.append(Phase("content", ("content",), **first))
        if config.adversarial:
            self.discriminator = patch_discriminator(meta["shape"][2], config.critic_channels, config.critic_halvings, config.batch_norm)
            phases.append(Phase("d", ("discriminator",), **then))
        if config.adversarial or config.content == "features":
            self.phases = (*phases, Phase("g", ("generator",), **then))
        self.halo, self.multiple = self.generator.halo, self.generator.multiple

    def loss(self, batch, phase, step):
        if phase == "content":  # of targets as they are: here a turn is what is asked for
            loss, accuracy = self.content.rotation_loss(batch["target"])
            return loss, {"loss": loss, "accuracy": accuracy}
        turns = int(torch.randint(4, ()))
        source, target = mirrored(*(torch.rot90(batch[k], turns, (2, 3)) for k in ("source", "target")))
        if phase == "d":
            with torch.no_grad():
                made = self.generator(source)
            real, fake = self.judged(torch.cat([target, made])).chunk(2)
            loss = OBJECTIVES["nonsaturating"][0](real, fake)
            return loss, {"loss": loss, "accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())}
        made = self.generator(source)
        loss = F.mse_loss(made, target)
        terms = {"content": loss}
        if phase != "g":
            return loss, terms
        if self.config.content == "features":
            terms["features"] = self.content.error(made, target)
            loss = self.config.feature_weight * terms["features"]
        if self.config.adversarial:
            terms["adversarial"] = OBJECTIVES["nonsaturating"][1](self.judged(made))
            loss = loss + self.config.adversarial * terms["adversarial"]
        return loss, terms

    def judged(self, x: Tensor) -> Tensor:
        """The discriminator's logit: [B, C, H, W] -> [B], the mean over its patches."""
        return self.discriminator(2 * x - 1).mean((1, 2, 3))

    def validate(self, data):
        device = self.generator.last[0].weight.device
        pairs = zip(image_tensor(data["valid.source"], device).split(64), image_tensor(data["valid.target"], device).split(64), strict=True)
        errors = torch.cat([(self.translate(x) - y).square().mean((1, 2, 3)) for x, y in pairs])
        return {"loss": errors.mean().item()}

    def translate(self, x: Tensor) -> Tensor:
        """Source -> target, in [0, 1]: [B, C, h, w] -> [B, C', s h, s w], any h and w."""
        return self.generator(x).clamp(0, 1)
