"""Super-resolution: SRResNet, and SRGAN that goes on from it against a discriminator.

Ledig et al. 2017, Photo-realistic single image super-resolution using a generative adversarial network, https://arxiv.org/abs/1609.04802.

    SRResNet        mean (G(l) - h)^2 over pixels                                             (equation 4)
    SRGAN           content + 1e-3 sum -log D(G(l)), content the same squared error           (equations 3 and 6)
    D               -log D(h) - log(1 - D(G(l)))

G is residual blocks with batch normalisation and PReLU at the small size, a long skip about them, and sub-pixel shuffles (Shi et al. 2016,
https://arxiv.org/abs/1609.05158). With an adversary the first `pretrain` steps are SRResNet's.

Deviations: G adds its result, small at first, to a bicubic enlargement, which leaves short training to the difference alone. One shuffle
enlarges by all of s, at the end, as in Shi et al., where the paper has two with convolutions at the larger sizes: a third of the work a
step. Kernels are 3 x 3 where it has 9 x 9 at both ends, blocks and channels fewer, batch normalisation is a switch that is off: what that
costs against the paper's gain on its test sets is not known. Examples are mirrored and turned. D's logits are of patches and averaged,
where the paper has dense layers that fix the size of its images. Targets of the same size as the sources (restoration) are taken too.
Content in features of VGG is not here: no pretrained network is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.bicubic import cubic
from stages.models.base import Model as Base
from stages.models.base import Phase, image_tensor
from stages.models.parts.adversarial import OBJECTIVES
from stages.models.parts.translators import Residual, check_paired, enlargement, mirrored, patch_discriminator
from stages.settings import field

CITATION = ("Ledig et al. 2017, Photo-realistic single image super-resolution using a generative adversarial network, "
            "https://arxiv.org/abs/1609.04802")


@dataclass(frozen=True)
class Config:
    channels: int = field(32, low=1, high=1024)
    blocks: int = field(4, low=0, high=64)
    batch_norm: bool = field(False, doc="in the residual blocks")
    adversarial: float = field(0.0, low=0.0, doc="weight of -log D(G(l)); 0: SRResNet")
    pretrain: int = field(900, low=0, doc="with an adversary: steps on the squared error alone, before it comes")
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
        if config.adversarial:
            self.discriminator = patch_discriminator(meta["shape"][2], config.critic_channels, config.critic_halvings, config.batch_norm)
            self.phases = (Phase("pretrain", ("generator",), stop=config.pretrain),
                           Phase("d", ("discriminator",), start=config.pretrain), Phase("g", ("generator",), start=config.pretrain))
            if not config.pretrain:
                self.phases = self.phases[1:]
        self.halo, self.multiple = self.generator.halo, self.generator.multiple

    def loss(self, batch, phase, step):
        turns = int(torch.randint(4, ()))
        source, target = mirrored(*(torch.rot90(batch[k], turns, (2, 3)) for k in ("source", "target")))
        if phase == "d":
            with torch.no_grad():
                made = self.generator(source)
            real, fake = self.judged(torch.cat([target, made])).chunk(2)
            loss = OBJECTIVES["nonsaturating"][0](real, fake)
            return loss, {"loss": loss, "accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())}
        made = self.generator(source)
        content = F.mse_loss(made, target)
        if phase != "g":
            return content, {"content": content}
        deceit = OBJECTIVES["nonsaturating"][1](self.judged(made))
        return content + self.config.adversarial * deceit, {"content": content, "adversarial": deceit}

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
