"""Unpaired translation between two domains: two generators that undo each other, each against a discriminator.

Zhu et al. 2017, Unpaired image-to-image translation using cycle-consistent adversarial networks, https://arxiv.org/abs/1703.10593.

    G: X -> Y, F: Y -> X    L_GAN(G) + L_GAN(F) + cycle x (|F(G(x)) - x| + |G(F(y)) - y|)
                            + identity x (|G(y) - y| + |F(x) - x|)                            (equations 1 to 3, section 5.2)
    D_X, D_Y                see real images and the last 50 translations

least_squares: D ((a(y) - 1)^2 + a(G(x))^2) / 2, G (a - 1)^2 (section 4); nonsaturating: the log loss. Distances are means over pixels, L1
or, with cycle_loss l2, squared (as an ablation: blurred returns cost little). The cycle fixes no label: a permutation of classes that F
undoes has the same loss.

Deviations: normalisation by batch in place of by image, so that pictures may go through in tiles; sources and targets of different channels
may be translated, without the identity term then; networks are small, and a linear map of each pixel's channels goes past them: without it,
and with a halving, digits came back as other digits. Or (`start`) what they make is added to the image. `detail` shows the discriminators
what is finer than 3 pixels once more, larger: in a few hundred steps they saw no soft focus without it. Translations are of a moving
average of the generators' weights, which the paper does not have: the last weights of a game swing. Images lie in [0, 1], where the paper's
lie in [-1, 1]: its weights of 10 and 5 of an L1 distance act like 5 and 2.5 of its own, and of a squared one like a quarter.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import Phase
from stages.models.parts.adversarial import OBJECTIVES
from stages.models.parts.translators import Pool, ResidualTranslator, check_halvings, enlargement, mirrored, patch_discriminator
from stages.settings import InputError, field

CITATION = ("Zhu et al. 2017, Unpaired image-to-image translation using cycle-consistent adversarial networks, "
            "https://arxiv.org/abs/1703.10593")
DISTANCES = {"l1": F.l1_loss, "l2": F.mse_loss}


@dataclass(frozen=True)
class Config:
    channels: int = field(16, low=1, high=1024, doc="of the generators at full size; twice as many at each halving")
    blocks: int = field(3, low=0, high=64)
    halvings: int = field(1, low=0, high=6)
    start: Literal["random", "identity"] = field("random", doc="identity: generators add to their image, little at first, for domains that "
                                                 "share their colours")
    batch_norm: bool = field(True)
    objective: Literal["least_squares", "nonsaturating"] = field("least_squares")
    cycle: float = field(10.0, low=0.0, doc="weight of the cycle; 0: none")
    cycle_loss: Literal["l1", "l2"] = field("l1")
    identity: float = field(5.0, low=0.0, doc="weight of |G(y) - y| + |F(x) - x|; 0: none")
    pool: int = field(50, low=0, high=10000, doc="past translations a discriminator sees again")
    critic_channels: int = field(16, low=1, high=1024)
    critic_halvings: int = field(2, low=0, high=6)
    detail: float = field(0.0, low=0.0, doc="discriminators also see each pixel less the mean of its 3 x 3, so many times; 0: not")
    mirror: bool = field(False, doc="half of the images, by chance, left and right exchanged")


class Added(nn.Module):
    """x + what the body of a ResidualTranslator makes of x, little at first: [B, C, H, W] -> [B, C, H, W], not clipped."""

    def __init__(self, channels: int, width: int, blocks: int, halvings: int, norm: bool):
        super().__init__()
        whole = ResidualTranslator(channels, channels, width, blocks, halvings, norm)
        self.net, self.halo, self.multiple = whole.net, whole.halo, whole.multiple
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)
            self.net[-1].bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(2 * x - 1)


class Model(Base):
    kinds = ("two_domains",)
    inputs = ("source", "target")
    adversarial = True
    averages = {"generator": "generator_average", "inverse": "inverse_average"}
    train_defaults = {"steps": 1000, "batch_size": 16, "lr": 1e-3, "betas": (0.5, 0.999), "lr_decay": "linear", "ema": 0.99,
                      "log_every": 20}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        enlargement(meta, "cyclegan", same=True)
        check_halvings(meta, config.halvings, "model.halvings")
        self.config = config
        shapes = [(meta[k][2], *meta[k][:2]) for k in ("source_shape", "shape")]
        a, b = shapes[0][0], shapes[1][0]
        for name, wanted, spared in (("identity", config.identity, "0"), ("start", config.start == "identity", "random")):
            if wanted and a != b:
                raise InputError(f"model.{name}: sources have {a} channels and targets {b}, so that neither's images can go where the "
                                 f"other's do; write {name}: {spared}")
        size = (config.channels, config.blocks, config.halvings, config.batch_norm)
        self.generator, self.inverse = (Added(c, *size) if config.start == "identity" else ResidualTranslator(c, d, *size)
                                        for c, d in ((a, b), (b, a)))
        self.source_discriminator, self.target_discriminator = (
            patch_discriminator(c if not config.detail else 2 * c, config.critic_channels, config.critic_halvings, config.batch_norm)
            for c in (a, b))
        self.source_pool, self.target_pool = (Pool(config.pool, shape) for shape in shapes)
        self.generator_average, self.inverse_average = (copy.deepcopy(g).requires_grad_(False) for g in (self.generator, self.inverse))
        self.phases = (Phase("g", ("generator", "inverse")), Phase("d", ("source_discriminator", "target_discriminator")))
        self.halo, self.multiple = self.generator.halo, self.generator.multiple

    def loss(self, batch, phase, step):
        config, game = self.config, OBJECTIVES[self.config.objective]
        x, y = batch["source"], batch["target"]
        if config.mirror:
            (x,), (y,) = mirrored(x), mirrored(y)
        if phase == "d":
            with torch.no_grad():
                made_y, made_x = self.target_pool(self.generator(x)), self.source_pool(self.inverse(y))
            of_x = game[0](self.source_discriminator(self.seen(x)), self.source_discriminator(self.seen(made_x)))
            of_y = game[0](self.target_discriminator(self.seen(y)), self.target_discriminator(self.seen(made_y)))
            return of_x + of_y, {"source": of_x, "target": of_y}
        made_y, made_x = self.generator(x), self.inverse(y)
        deceit = game[1](self.target_discriminator(self.seen(made_y))) + game[1](self.source_discriminator(self.seen(made_x)))
        loss, terms = deceit, {"adversarial": deceit}
        if config.cycle:
            distance = DISTANCES[config.cycle_loss]
            terms["cycle"] = distance(self.inverse(made_y), x) + distance(self.generator(made_x), y)
            loss = loss + config.cycle * terms["cycle"]
        if config.identity:
            terms["identity"] = F.l1_loss(self.generator(y), y) + F.l1_loss(self.inverse(x), x)
            loss = loss + config.identity * terms["identity"]
        return loss, terms

    def seen(self, x: Tensor) -> Tensor:
        """What a discriminator sees of images: [B, C, H, W] -> [B, C or 2 C, H, W]."""
        if not self.config.detail:
            return 2 * x - 1
        return torch.cat([2 * x - 1, self.config.detail * (x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1))], 1)

    def translate(self, x: Tensor) -> Tensor:
        """Source -> target, in [0, 1]: [B, C, H, W] -> [B, C', H, W], sides multiples of `multiple`."""
        return self.generator_average(x).clamp(0, 1)

    def translate_back(self, y: Tensor) -> Tensor:
        """Target -> source, as `translate`."""
        return self.inverse_average(y).clamp(0, 1)
