"""Generative adversarial networks on images and on points of the plane: one game, its terms as switches.

Goodfellow et al. 2014, Generative adversarial nets, https://arxiv.org/abs/1406.2661. a(x) is the discriminator's logit.

    saturating, nonsaturating, maximum_likelihood   D: -log s(a(x)) - log(1 - s(a(G(z))));  G: log(1 - s(a)), -log s(a), -exp(a)
    wasserstein     critic: a(G(z)) - a(x);  G: -a                         (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875)
    hinge           D: max(0, 1 - a(x)) + max(0, 1 + a(G(z)));  G: -a      (Lim and Ye 2017, https://arxiv.org/abs/1705.02894)
    least_squares   D: ((a(x) - 1)^2 + a(G(z))^2)/2; G: (a - 1)^2            (Mao et al. 2017, https://arxiv.org/abs/1611.04076)

penalty         r1: gamma/2 ||grad a(x)||^2 on real x (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406); interpolates: gamma
                (||grad a|| - 1)^2 between real and generated (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028). Either in every
                `penalty_every`-th step of the game, in each of its discriminator steps, and multiplied by that interval, lazily as in
                StyleGAN2. clip: every weight of the critic into [-clip, clip] after its step.
condition       the class goes into G beside z. acgan: a head on D's trunk also estimates the class, and D and G lower its cross-entropy
                on real and generated images (Odena et al. 2017, https://arxiv.org/abs/1610.09585); projection: a(x, y) = w.phi(x) +
                e_y.phi(x) (Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637). Classes of generated images are the batch's own.
categories,     InfoGAN (Chen et al. 2016, https://arxiv.org/abs/1606.03657): c goes into G beside z; a head on D's trunk phi recovers it
continuous      from generated images, and G, the trunk and the head lower -log Q(c | G(z, c)). c never enters D: then the head could
                read it there, and it would tell nothing of the image. On a real image the head's likeliest category is its cluster.

Deviations from the first paper: with the defaults (R1, samples from a moving average of G's weights) the game on 8 x 8 digits is stable;
without the penalty it collapsed in a trial. From the others: Adam for all, with betas (0, .99) unless a run says otherwise, where WGAN has
RMSprop; runs of ours that clip do so at .03 where it has .01. WGAN-GP's penalty is of the paper's form with weights of .1 to 1 where it has
10, on small nets, with two critic steps where it has five. What each costs alone was not measured.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import Phase
from stages.models.parts.adversarial import OBJECTIVES, clip, fading, full_precision, interpolated, noisy, r1, spectral
from stages.models.parts.codes import Codes
from stages.models.parts.nets import ACTIVATIONS, batch_normalised, convolutions, deconvolutions, mlp
from stages.settings import InputError, field

CITATION = "Goodfellow et al. 2014, Generative adversarial nets, https://arxiv.org/abs/1406.2661"


@dataclass(frozen=True)
class Config:
    latent: int = field(10, low=1, high=4096)
    hidden: tuple[int, ...] = field((256, 256), low=1, doc="of the generator")
    critic_hidden: tuple[int, ...] = field((), low=1, doc="of the discriminator; (): the generator's in reverse")
    channels: tuple[int, ...] = field((), low=1, doc="convolutions of stride 2 in place of the hidden layers of both; (): none")
    activation: Literal["leaky_relu", "relu", "silu", "tanh"] = field("leaky_relu")
    batch_norm: bool = field(False, doc="in the generator; of a conditional one with a gain and a bias for each class")
    spectral: bool = field(False, doc="spectral normalisation of the discriminator")
    objective: Literal["saturating", "nonsaturating", "maximum_likelihood", "wasserstein", "hinge",
                       "least_squares"] = field("nonsaturating")
    discriminator_steps: int = field(1, low=1, high=100, doc="discriminator steps a generator step")
    penalty: Literal["none", "r1", "interpolates", "clip"] = field("r1")
    gamma: float = field(0.1, low=0.0, doc="weight of the penalty")
    penalty_every: int = field(8, low=1, doc="a penalty in every so many steps of the game")
    clip: float = field(0.01, above=0.0, doc="bound of the critic's weights under penalty: clip")
    noise: float = field(0.0, low=0.0, doc="deviation of the noise on all that the discriminator sees, at the first step")
    noise_steps: int = field(1000, low=1, doc="until it has fallen to zero")
    condition: Literal["none", "acgan", "projection"] = field("none")
    categories: int = field(0, low=0, high=10000, doc="of InfoGAN's categorical code; 0: none")
    continuous: int = field(0, low=0, high=1000, doc="values of InfoGAN's continuous code")
    head: tuple[int, ...] = field((), low=1, doc="hidden layers of InfoGAN's head; (): linear in the trunk")
    weight: float = field(1.0, low=0.0, doc="of the class loss, or of the code's")


class Model(Base):
    kinds = ("images", "points")
    inputs = ("images",)
    adversarial = True
    per_example = True
    averages = {"generator": "generator_average"}
    train_defaults = {"steps": 4500, "batch_size": 64, "lr": 1.5e-3, "betas": (0.0, 0.99), "ema": 0.998, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        self.config, self.what = config, meta.get("kind", "images")
        self.shape = tuple(meta["shape"]) if self.what == "points" else tuple(meta["shape"][i] for i in (2, 0, 1))
        self.codes, self.classes = Codes(config.categories, config.continuous), meta["classes"] if config.condition != "none" else 0
        self.sample_of = ("class", self.classes) if self.classes else ("code", config.categories) if config.categories else None
        _check(config, meta, self.what)
        self.codes.check(meta)
        given, size, activation = self.codes.width + self.classes, int(np.prod(self.shape)), ACTIVATIONS[config.activation]
        if config.channels:
            self.generator = deconvolutions(config.latent + given, config.channels, self.shape, activation)
            trunk = convolutions(self.shape, config.channels, config.channels[-1], activation)
            self.discriminator = nn.Sequential(*trunk, activation(), nn.Linear(config.channels[-1], 1))
        else:
            self.generator = mlp((config.latent + given, *config.hidden, size), activation)
            self.discriminator = mlp((size, *(config.critic_hidden or reversed(config.hidden)), 1), activation)
        width = self.discriminator[-1].in_features
        if config.batch_norm:
            self.generator = batch_normalised(self.generator, max(1, self.classes))
        critic = ["discriminator"]
        if config.condition == "projection":
            self.embedding = nn.Embedding(self.classes, width)
            nn.init.zeros_(self.embedding.weight)  # at first the class does not matter
            critic.append("embedding")
        if config.condition == "acgan" or self.codes.width:
            self.head = nn.Linear(width, self.classes) if self.classes else mlp((width, *config.head, self.codes.width), activation)
            critic.append("head")
        if self.classes:
            self.register_buffer("frequencies", torch.ones(self.classes))
            self.inputs = (self.what, "labels")
        else:
            self.inputs = (self.what,)
        if config.spectral:
            spectral(self.discriminator)
        self.generator_average = copy.deepcopy(self.generator).requires_grad_(False)
        if self.codes.categories:  # its clusters of real images are read with averages too
            self.averages = {**self.averages, "discriminator": "discriminator_average", "head": "head_average"}
            self.discriminator_average = copy.deepcopy(self.discriminator).requires_grad_(False)
            self.head_average = copy.deepcopy(self.head).requires_grad_(False)
        self.phases = (Phase("d", tuple(critic), repeat=config.discriminator_steps), Phase("g", ("generator",)))

    def begin(self, data, seed):
        if self.classes:
            labels = data["train.labels"]
            if (missing := int((labels < 0).sum())):
                raise InputError(f"model.condition: {self.config.condition} needs the class of every training example, but {missing} of "
                                 f"{len(labels)} have none; write condition: none or label them")
            self.frequencies.copy_(torch.from_numpy(np.bincount(labels, minlength=self.classes)))

    def generate(self, z: Tensor, net: nn.Module, y: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """[B, latent] with classes int64 [B] or codes [B, width] where there are any -> [B, C, H, W] in [0, 1], or points [B, 2]."""
        parts = [z] if y is None else [z, F.one_hot(y, self.classes).to(z.dtype)]
        z = torch.cat([*parts, c] if c is not None else parts, 1)
        if self.config.batch_norm:
            out = net(z, torch.zeros(len(z), dtype=torch.int64, device=z.device) if y is None else y)
        else:
            out = net(z)
        return out.float() if self.what == "points" else torch.sigmoid(out.float()).view(-1, *self.shape)

    def trunk(self, x: Tensor, net: nn.Sequential | None = None) -> Tensor:
        """phi(x), the discriminator (or `net`) up to its last layer: [B, C, H, W] or [B, 2] -> [B, width]."""
        if self.what == "images":
            x = 2 * (x if self.config.channels else x.flatten(1)) - 1
        return (net or self.discriminator)[:-1](x)

    def logit(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """a(x), or a(x, y) by projection: [B, ...] -> [B]."""
        return self.scored(self.trunk(x), y)

    def scored(self, phi: Tensor, y: Tensor | None) -> Tensor:
        logit = self.discriminator[-1](phi).squeeze(1).float()
        return logit + (self.embedding(y) * phi).sum(1) if self.config.condition == "projection" else logit

    def loss(self, batch, phase, step):
        config, x, y = self.config, batch[self.what], batch["labels"] if self.classes else None
        sigma = fading(config.noise, step, config.noise_steps)
        z = torch.randn(len(x), config.latent, device=x.device)
        c = self.codes.draw(len(x), x.device) if self.codes.width else None
        if phase == "g":
            phi = self.trunk(noisy(self.generate(z, self.generator, y, c), sigma))
            loss = OBJECTIVES[config.objective][1](self.scored(phi, y))
            return self.with_head(loss, {"loss": loss}, phi, y, c)
        due = config.gamma > 0 and config.penalty in ("r1", "interpolates") and step % config.penalty_every == 0
        with torch.no_grad():
            generated = noisy(self.generate(z, self.generator, y, c), sigma)
        r1_due = due and config.penalty == "r1"
        x = noisy(x, sigma).requires_grad_(r1_due)
        with full_precision(x, r1_due):
            phi = self.trunk(torch.cat([x, generated]))
            real, fake = self.scored(phi, None if y is None else torch.cat([y, y])).chunk(2)
        loss = OBJECTIVES[config.objective][0](real, fake)
        terms = {"loss": loss, "accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())}
        if config.objective == "wasserstein":
            terms = {"loss": loss, "distance": -loss}  # the critic's estimate of W1, up to its Lipschitz constant
        if due:
            with full_precision(x):
                found = r1(real, x) if r1_due else interpolated(lambda between: self.logit(between, y), x, generated)
            terms[config.penalty] = config.gamma * found
            loss = loss + config.penalty_every * terms[config.penalty]
        if self.classes:
            return self.with_head(loss, terms, phi, torch.cat([y, y]), None)
        return self.with_head(loss, terms, phi.chunk(2)[1], None, c)

    def with_head(self, loss: Tensor, terms: dict, phi: Tensor, y: Tensor | None, c: Tensor | None) -> tuple[Tensor, dict]:
        """Plus the head's loss: of the class on all of phi, of the code on that of generated examples."""
        if self.config.condition != "acgan" and c is None:
            return loss, terms
        terms["head"] = F.cross_entropy(self.head(phi).float(), y) if self.classes else self.codes.loss(self.head(phi), c)
        return loss + self.config.weight * terms["head"], terms

    def after_update(self, phase, step):
        if phase == "d" and self.config.penalty == "clip":
            for name in self.phases[0].modules:
                if name != "head":
                    clip(getattr(self, name), self.config.clip)

    def clusters(self, x: Tensor) -> Tensor:
        """Logits of the categorical code that the averaged head finds: [B, C, H, W] -> [B, categories]."""
        return self.head_average(self.trunk(x, self.discriminator_average))[:, : self.codes.categories]

    def drawn(self, net: nn.Module, n: int, generator: torch.Generator | None, of: Tensor | None) -> Tensor:
        device = next(self.parameters()).device
        z, y, c = torch.randn(n, self.config.latent, generator=generator, device=device), None, None
        if self.classes:
            y = torch.multinomial(self.frequencies, n, True, generator=generator) if of is None else of
        elif self.codes.width:
            c = self.codes.draw(n, device, generator, of)
        return self.generate(z, net, y, c)

    def sample(self, n: int, generator: torch.Generator | None = None, of: Tensor | None = None) -> Tensor:
        """Draws of the averaged generator, z ~ N(0, I), of the classes or categories `of` int64 [n] where some are asked for: [n, ...]."""
        return self.drawn(self.generator_average, n, generator, of)

    def raw_sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """As `sample`, of the last weights in place of the averaged ones."""
        return self.drawn(self.generator, n, generator, None)


def _check(config: Config, meta: dict, what: str) -> None:
    if config.condition != "none":
        if meta["classes"] < 2:
            raise InputError(f"model.condition: {config.condition} tells classes apart, but the dataset has {meta['classes']}; choose a "
                             "labelled dataset or write condition: none")
        if config.categories or config.continuous:
            raise InputError("model.condition: a generator is given classes or codes, not both; leave out categories and continuous, or "
                             "write condition: none")
    if config.channels and what == "points":
        raise InputError("model.channels: points of the plane cannot be convolved; leave it out and give hidden")
