"""Bidirectional GANs on images: BiGAN, BigBiGAN with each of its unary scores on or off, and either with a code to discover classes by.

Donahue, Krahenbuhl, Darrell 2017, Adversarial feature learning (BiGAN), https://arxiv.org/abs/1605.09782;
Donahue and Simonyan 2019, Large scale adversarial representation learning (BigBiGAN), https://arxiv.org/abs/1907.02544.

An encoder E infers z from an image, a generator G makes an image from z; the discriminator tells pairs (x, E(x)), y = +1, from pairs
(G(z), z), y = -1. From trunks F(x) and H(z) come three scores:

    s_x = t_x . F(x)        s_z = t_z . H(z)        s_xz = t_xz . J(F(x), H(z))                               (BigBiGAN, section 2)
    hinge      D lowers  sum h(y s), h(t) = max(0, 1 - t), of each score;  E and G lower the plain sum of y s over the scores
    logistic   D lowers  sum softplus(-y s);  E and G lower sum softplus(y s), BiGAN's game with its labels exchanged

`unary_x` and `unary_z` switch s_x and s_z: what is off has no parameters and no term. Both off with `objective: logistic` and
`stochastic: false` is BiGAN. The stochastic encoder draws z from N(mean, softplus(s)^2); `encode` gives the mean.

The code (InfoGAN, Chen et al. 2016, https://arxiv.org/abs/1606.03657) enters at one place and leaves at one. It enters G alone, beside z:
an image is then G(z, c). It must not be part of the latent that the discriminator is shown. J and H see z only; were c in the pair, the
trunks could carry it from the input, and a head on J would read it there without looking at the image: -log Q(c | .) would be
zero and tell nothing. So the head sits on F, whose only input is the image: the only way for c to reach it is through G's pixels, and
its cross-entropy therefore bounds the information of c in the image. It is trained on generated images, for only there c is known; its
loss reaches head and F in D's phase, G in the other, and never E, which has no part in G(z, c). A consequence: z alone is paired with
G(z, c), so that at the optimum E(x) tells what of x is independent of c; what c takes over, a probe of E(x) no longer finds.

Deviations from the papers: small plain networks in place of ResNets and of RevNets; E, G and the head on F as moving averages of their
weights; an R1 penalty (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406) on the sum of the scores of real pairs in x and z, lazily
in every `penalty_every`-th step of the game, in place of spectral normalisation (which is a switch); one discriminator step a step of E and
G, where BigGAN's set-up, on which BigBiGAN builds, has two; small images in place of ImageNet. What each costs alone was not measured;
figures of the papers are not comparable.
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
from stages.models.parts.adversarial import discriminator_loss, full_precision, hinge_loss, r1, spectral
from stages.models.parts.codes import Codes
from stages.models.parts.nets import ACTIVATIONS, convolutions, deconvolutions, mlp
from stages.settings import field

CITATION = "Donahue and Simonyan 2019, Large scale adversarial representation learning, https://arxiv.org/abs/1907.02544"


@dataclass(frozen=True)
class Config:
    latent: int = field(10, low=1, high=4096)
    hidden: tuple[int, ...] = field((256, 256), low=1, doc="of the encoder and the image trunk F; the generator has them in reverse")
    channels: tuple[int, ...] = field((), low=1, doc="convolutions of stride 2 in place of `hidden`; (): none")
    features: int = field(128, low=1, high=4096, doc="width of F(x) and H(z)")
    joint: tuple[int, ...] = field((256,), low=1, doc="hidden layers of J; H has them too")
    activation: Literal["leaky_relu", "relu", "silu", "tanh"] = field("leaky_relu")
    spectral: bool = field(False, doc="spectral normalisation of the discriminator")
    objective: Literal["hinge", "logistic"] = field("hinge")
    unary_x: bool = field(True, doc="the score s_x of the image alone")
    unary_z: bool = field(True, doc="the score s_z of the latent alone")
    stochastic: bool = field(True, doc="the encoder draws z around its mean")
    discriminator_steps: int = field(1, low=1, high=100, doc="discriminator steps a step of encoder and generator")
    gamma: float = field(0.1, low=0.0, doc="weight of R1; 0: no penalty")
    penalty_every: int = field(8, low=1, doc="a penalty in every so many steps of the game")
    categories: int = field(0, low=0, high=10000, doc="of the categorical code; 0: none")
    continuous: int = field(0, low=0, high=1000, doc="values of the continuous code")
    head: tuple[int, ...] = field((), low=1, doc="hidden layers of the code's head; (): linear in F(x)")
    weight: float = field(1.0, low=0.0, doc="of the code's loss")


class Discriminator(nn.Module):
    """F, H and J with the scores that are switched on. It is given no code, and has no way to one but the pixels of x."""

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        activation, width = ACTIVATIONS[config.activation], config.features
        if config.channels:
            self.image = nn.Sequential(*convolutions(shape, config.channels, width, activation), activation())
        else:
            self.image = nn.Sequential(nn.Flatten(), *mlp((shape[0] * shape[1] * shape[2], *config.hidden, width), activation, last=True))
        self.latent = mlp((config.latent, *config.joint, width), activation, last=True)
        self.joint = mlp((2 * width, *config.joint, width), activation, last=True)
        self.scores = nn.ModuleDict({"xz": nn.Linear(width, 1, bias=False)})
        # both are drawn whether used or not, so that the cells of the 2 x 2 start from the same weights
        for name, wanted, score in (("x", config.unary_x, nn.Linear(width, 1, bias=False)),
                                    ("z", config.unary_z, nn.Linear(width, 1, bias=False))):
            if wanted:
                self.scores[name] = score

    def forward(self, x: Tensor, z: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """({"xz", and "x", "z" where on: [B]}, F(x) [B, features]) of pairs [B, C, H, W] in [0, 1] and [B, latent]."""
        f, h = self.image(2 * x - 1), self.latent(z)
        inputs = {"x": f, "z": h, "xz": self.joint(torch.cat([f, h], 1))}
        return {name: score(inputs[name]).squeeze(1).float() for name, score in self.scores.items()}, f


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    adversarial = True
    per_example = True
    averages = {"generator": "generator_average", "encoder": "encoder_average"}
    train_defaults = {"steps": 3000, "batch_size": 64, "lr": 1.5e-3, "betas": (0.0, 0.99), "ema": 0.998, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        self.config, self.shape, pixels = config, (depth, height, width), depth * height * width
        self.codes = Codes(config.categories, config.continuous)
        self.codes.check(meta)
        self.sample_of = ("code", config.categories) if config.categories else None
        activation, inferred = ACTIVATIONS[config.activation], 2 * config.latent if config.stochastic else config.latent
        if config.channels:
            self.generator = deconvolutions(config.latent + self.codes.width, config.channels, self.shape, activation)
            self.encoder = convolutions(self.shape, config.channels, inferred, activation)
        else:
            self.generator = mlp((config.latent + self.codes.width, *reversed(config.hidden), pixels), activation)
            self.encoder = nn.Sequential(nn.Flatten(), *mlp((pixels, *config.hidden, inferred), activation))
        self.discriminator = Discriminator(config, self.shape)
        if config.spectral:
            spectral(self.discriminator)
        critic = ["discriminator"]
        if self.codes.width:
            self.head = mlp((config.features, *config.head, self.codes.width), activation)
            critic.append("head")
        self.generator_average = copy.deepcopy(self.generator).requires_grad_(False)
        self.encoder_average = copy.deepcopy(self.encoder).requires_grad_(False)
        if self.codes.width:  # real images are read with averages too: two points of Hungarian accuracy on the digits
            self.averages = {**self.averages, "discriminator": "discriminator_average", "head": "head_average"}
            self.discriminator_average = copy.deepcopy(self.discriminator).requires_grad_(False)
            self.head_average = copy.deepcopy(self.head).requires_grad_(False)
        self.phases = (Phase("d", tuple(critic), repeat=config.discriminator_steps),
                       Phase("ge", ("generator", "encoder")))

    def generate(self, z: Tensor, c: Tensor | None, net: nn.Module) -> Tensor:
        """G(z, c): [B, latent] and codes [B, width] where there are any -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(net(z if c is None else torch.cat([z, c], 1)).float()).view(-1, *self.shape)

    def infer(self, x: Tensor, net: nn.Module) -> tuple[Tensor, Tensor | None]:
        """(mean, deviation) of E's z, no deviation where it is deterministic: [B, C, H, W] -> [B, latent] twice."""
        out = net(2 * x - 1).float()
        if not self.config.stochastic:
            return out, None
        mean, raw = out.chunk(2, 1)
        return mean, F.softplus(raw)

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """x, E(x), G(z, c), z and c, the draws of a step."""
        z = torch.randn(len(x), self.config.latent, device=x.device)
        c = self.codes.draw(len(x), x.device) if self.codes.width else None
        mean, deviation = self.infer(x, self.encoder)
        inferred = mean if deviation is None else mean + deviation * torch.randn_like(mean)
        return x, inferred, self.generate(z, c, self.generator), z, c

    def loss(self, batch, phase, step):
        if phase == "ge":
            x, inferred, made, z, c = self.pairs(batch["images"])
            scores, f = self.discriminator(torch.cat([x, made]), torch.cat([inferred, z]))
            loss = sum(encoder_generator_loss(self.config.objective, *s.chunk(2)) for s in scores.values())
            return self.with_head(loss, {"loss": loss}, f.chunk(2)[1], c)
        due = self.config.gamma > 0 and step % self.config.penalty_every == 0
        with torch.no_grad():
            x, inferred, made, z, c = self.pairs(batch["images"])
        x, inferred = x.requires_grad_(due), inferred.requires_grad_(due)
        with full_precision(x, due):
            scores, f = self.discriminator(torch.cat([x, made]), torch.cat([inferred, z]))
        loss = sum(D_LOSSES[self.config.objective](*s.chunk(2)) for s in scores.values())
        terms = {"loss": loss}
        for name, score in scores.items():
            real, fake = score.chunk(2)
            terms[f"accuracy_{name}"] = 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())
        if due:
            with full_precision(x):
                terms["r1"] = self.config.gamma * r1(sum(s.chunk(2)[0] for s in scores.values()), x, inferred)
            loss = loss + self.config.penalty_every * terms["r1"]
        return self.with_head(loss, terms, f.chunk(2)[1], c)

    def with_head(self, loss: Tensor, terms: dict, f: Tensor, c: Tensor | None) -> tuple[Tensor, dict]:
        """Plus the head's loss of the code on F of generated images."""
        if c is None:
            return loss, terms
        terms["head"] = self.codes.loss(self.head(f), c)
        return loss + self.config.weight * terms["head"], terms

    def code(self, x: Tensor) -> Tensor:
        """What the averaged head makes of images: [B, C, H, W] -> [B, codes.width]."""
        return self.head_average(self.discriminator_average.image(2 * x - 1))

    def clusters(self, x: Tensor) -> Tensor:
        """Logits of the categorical code that the head finds: [B, C, H, W] -> [B, categories]."""
        return self.code(x)[:, : self.codes.categories]

    def encode(self, x: Tensor) -> Tensor:
        """Mean of E(x): [B, C, H, W] -> [B, latent]."""
        return self.infer(x, self.encoder_average)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x)), with the code that the head finds in x where there is one: [B, C, H, W] -> the same."""
        return self.generate(self.encode(x), self.codes.likeliest(self.code(x)) if self.codes.width else None, self.generator_average)

    def drawn(self, net: nn.Module, n: int, generator: torch.Generator | None, of: Tensor | None) -> Tensor:
        device = next(self.parameters()).device
        z = torch.randn(n, self.config.latent, generator=generator, device=device)
        return self.generate(z, self.codes.draw(n, device, generator, of) if self.codes.width else None, net)

    def sample(self, n: int, generator: torch.Generator | None = None, of: Tensor | None = None) -> Tensor:
        """Images of the averaged generator, of the categories `of` int64 [n] where some are asked for: [n, C, H, W] in [0, 1]."""
        return self.drawn(self.generator_average, n, generator, of)

    def raw_sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """As `sample`, of the last weights in place of the averaged ones."""
        return self.drawn(self.generator, n, generator, None)


D_LOSSES = {"hinge": hinge_loss, "logistic": discriminator_loss}


def encoder_generator_loss(objective: str, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of y s over pairs (x, E(x)) and (G(z), z), or of softplus(y s): what E and G lower of one score, [B] each."""
    return real.mean() - fake.mean() if objective == "hinge" else F.softplus(real).mean() + F.softplus(-fake).mean()
