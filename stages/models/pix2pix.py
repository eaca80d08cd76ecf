"""Paired translation: a U-Net under an L1 loss, and a discriminator of patches that sees source and target together.

Isola et al. 2017, Image-to-image translation with conditional adversarial networks, https://arxiv.org/abs/1611.07004.

    G       adversarial x (-log D(x, G(x))) + weight x mean |y - G(x)|        (equations 2 to 4; adversarial 0: the L1 loss alone)
    D       (-log D(x, y) - log(1 - D(x, G(x)))) / 2, D a logit for every patch

Deviations: no noise goes into G (the paper's is dropout, of which it says that G learnt to ignore it), so that a source has one
translation; normalisation by batch, by its running averages once trained, where the paper normalises each image when it is translated:
pictures of any size may then go through in tiles. Layers and channels are fewer, as images are small. Images lie in [0, 1], where the
paper's lie in [-1, 1]: a weight of 100 acts like 50 of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.models.base import Model as Base
from stages.models.base import Phase, image_tensor
from stages.models.parts.adversarial import OBJECTIVES
from stages.models.parts.translators import UNet, check_halvings, check_paired, enlargement, mirrored, patch_discriminator
from stages.settings import field

CITATION = "Isola et al. 2017, Image-to-image translation with conditional adversarial networks, https://arxiv.org/abs/1611.07004"


@dataclass(frozen=True)
class Config:
    channels: int = field(24, low=1, high=1024, doc="of the U-Net at full size; twice as many at each halving, at most 8 times")
    halvings: int = field(3, low=1, high=8)
    batch_norm: bool = field(True)
    weight: float = field(100.0, low=0.0, doc="of the L1 loss")
    adversarial: float = field(1.0, low=0.0, doc="of the adversarial loss; 0: no discriminator")
    objective: Literal["nonsaturating", "least_squares"] = field("nonsaturating")
    critic_channels: int = field(16, low=1, high=1024)
    critic_halvings: int = field(2, low=0, high=6, doc="a patch is 7, 13, 25 pixels wide with 0, 1, 2 of them")
    mirror: bool = field(True, doc="half of the pairs, by chance, left and right exchanged")


class Model(Base):
    kinds = ("two_domains",)
    inputs = ("source", "target")
    adversarial = True
    train_defaults = {"steps": 800, "batch_size": 16, "lr": 1e-3, "betas": (0.5, 0.999), "lr_decay": "linear", "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        check_paired(meta, "pix2pix")
        enlargement(meta, "pix2pix", same=True)
        check_halvings(meta, config.halvings, "model.halvings")
        self.config = config
        a, b = meta["source_shape"][2], meta["shape"][2]
        self.generator = UNet(a, b, config.channels, config.halvings, config.batch_norm)
        self.phases = (Phase("g", ("generator",)),)
        if config.adversarial:
            self.discriminator = patch_discriminator(a + b, config.critic_channels, config.critic_halvings, config.batch_norm)
            self.phases = (Phase("d", ("discriminator",)), *self.phases)
        self.halo, self.multiple = self.generator.halo, self.generator.multiple

    def loss(self, batch, phase, step):
        config = self.config
        source, target = mirrored(batch["source"], batch["target"]) if config.mirror else (batch["source"], batch["target"])
        if phase == "d":
            with torch.no_grad():
                made = self.generator(source)
            real, fake = self.judged(torch.cat([source, source]), torch.cat([target, made])).chunk(2)
            loss = 0.5 * OBJECTIVES[config.objective][0](real, fake)
            return loss, {"loss": loss, "accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())}
        made = self.generator(source)
        distance = F.l1_loss(made, target)
        if not config.adversarial:
            return config.weight * distance, {"l1": distance}
        deceit = OBJECTIVES[config.objective][1](self.judged(source, made))
        return config.adversarial * deceit + config.weight * distance, {"l1": distance, "adversarial": deceit}

    def judged(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of patches: [B, C, H, W] and [B, C', H, W] -> [B, 1, h, w]."""
        return self.discriminator(2 * torch.cat([source, target], 1) - 1)

    def validate(self, data):
        device = self.generator.last.weight.device
        pairs = zip(image_tensor(data["valid.source"], device).split(64), image_tensor(data["valid.target"], device).split(64), strict=True)
        return {"loss": torch.cat([(self.translate(x) - y).abs().mean((1, 2, 3)) for x, y in pairs]).mean().item()}

    def translate(self, x: Tensor) -> Tensor:
        """Source -> target, in [0, 1]: [B, C, H, W] -> [B, C', H, W], sides multiples of `multiple`."""
        return self.generator(x)
