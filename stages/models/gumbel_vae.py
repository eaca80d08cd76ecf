"""VAE with discrete codes: Gumbel-softmax, straight-through, and the score function to compare with.

Jang, Gu, Poole 2017, Categorical reparameterization with Gumbel-softmax, https://arxiv.org/abs/1611.01144; Maddison et al. 2017.

    y = softmax((log pi + g) / tau),  g ~ Gumbel(0, 1),  tau = max(tau_min, exp(-rate * step))           (Jang et al., eq. 2, section 4.2)
    loss = -log p(x | y) + sum over codes of KL(pi(x) || uniform)

q(z|x) is `codes` independent categoricals of `classes` values; two classes make Bernoulli codes. The KL is the categorical one, in closed
form, not that of the relaxed densities: with y relaxed the loss is therefore no bound, and what is measured always is (`bound` and
`log_likelihood` draw hard codes). `estimator`: `gumbel` relaxes forward and backward; `straight_through` is hard forward, relaxed backward;
`score` is hard with the score function, (f(z) - f(z')) grad log q(z), z' a second draw (leave-one-out, Kool et al. 2019): unbiased, at
twice the decoder's work and more variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.models.parts.gaussian import log_mean_exp
from stages.models.parts.likelihoods import Pixels
from stages.models.parts.nets import ACTIVATIONS, mlp
from stages.settings import field

CITATION = "Jang, Gu, Poole 2017, Categorical reparameterization with Gumbel-softmax, https://arxiv.org/abs/1611.01144"


@dataclass(frozen=True)
class Config:
    codes: int = field(12, low=1, high=1024)
    classes: int = field(10, low=2, high=1024, doc="values of a code; 2: Bernoulli codes")
    hidden: tuple[int, ...] = field((128, 128), low=1)
    activation: Literal["silu", "tanh", "relu"] = field("silu")
    estimator: Literal["gumbel", "straight_through", "score"] = field("gumbel")
    temperature: float = field(0.5, above=0.0, doc="tau never falls below it")
    anneal: float = field(1e-3, low=0.0, doc="rate of tau = exp(-rate * step) until then")
    likelihood: Literal["gaussian", "bernoulli", "logistic"] = field("gaussian")
    sigma: float | None = field(None, above=0.0, doc="of the Gaussian; null: learnt")
    binarise: Literal["none", "dynamic", "fixed"] = field("none", doc="binary images drawn from the grey ones (Bernoulli)")


def temperature(step: int, rate: float, lowest: float) -> float:
    """max(lowest, exp(-rate * step))."""
    return max(lowest, math.exp(-rate * step))


def gumbel_noise(shape, device, generator: torch.Generator | None = None) -> Tensor:
    """-log(-log u), u uniform."""
    return -torch.log(torch.empty(shape, device=device).exponential_(generator=generator))


def gumbel_softmax(logits: Tensor, tau: float, generator: torch.Generator | None = None) -> Tensor:
    """A relaxed draw from the categorical of `logits` [..., classes], on the simplex; one-hot as tau -> 0."""
    return F.softmax((logits + gumbel_noise(logits.shape, logits.device, generator)) / tau, -1)


def hard(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A one-hot draw from the categorical of `logits`, by the Gumbel-max trick."""
    best = (logits + gumbel_noise(logits.shape, logits.device, generator)).argmax(-1)
    return F.one_hot(best, logits.shape[-1]).to(logits.dtype)


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    train_defaults = {"steps": 3000, "batch_size": 128, "lr": 3e-3, "lr_decay": "cosine", "validate_every": 250, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        height, width, depth = meta["shape"]
        self.config, self.shape = config, (depth, height, width)
        pixels, code = depth * height * width, config.codes * config.classes
        self.encoder = mlp((pixels, *config.hidden, code), ACTIVATIONS[config.activation])
        self.decoder = mlp((code, *reversed(config.hidden), pixels), ACTIVATIONS[config.activation])
        self.pixels = Pixels(config.likelihood, config.sigma, config.binarise, self.shape)

    def begin(self, data, seed):
        self.pixels.begin(data["train.images"], self.decoder[-1].bias)

    def log_q(self, x: Tensor) -> Tensor:
        """log pi(x): [B, C, H, W] -> [B, codes, classes]."""
        logits = self.encoder(self.pixels.centred(x).flatten(1)).float()
        return F.log_softmax(logits.view(-1, self.config.codes, self.config.classes), -1)

    def log_p_x(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats: [B, ...], [..., B, codes, classes] -> [..., B]."""
        return self.pixels.log_prob(x.flatten(1), self.decoder(z.flatten(-2)).float())

    def observed(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images that the likelihood is of: x, or binary ones drawn from it."""
        return self.pixels.observed(x, generator)

    def rate(self, log_q: Tensor) -> Tensor:
        """KL(q || uniform) of each code in nats: [B, codes, classes] -> [B, codes]."""
        return (log_q.exp() * log_q).sum(-1) + math.log(self.config.classes)

    def loss(self, batch, phase, step):
        x, c = self.observed(batch["images"]), self.config
        log_q = self.log_q(x)
        rate, tau = self.rate(log_q).sum(1).mean(), temperature(step, c.anneal, c.temperature)
        if c.estimator == "score":
            return self._by_score_function(x, log_q, rate)
        z = gumbel_softmax(log_q, tau)
        if c.estimator == "straight_through":
            z = F.one_hot(z.argmax(-1), c.classes).to(z.dtype) + z - z.detach()
        distortion = -self.log_p_x(x, z).mean()
        return distortion + rate, {"distortion": distortion, "kl": rate, "temperature": torch.tensor(tau)}

    def _by_score_function(self, x, log_q, rate):
        """The value is the ELBO's at two hard draws; the encoder's gradient the score function's, each draw the other's baseline."""
        z = torch.stack([hard(log_q.detach()) for _ in range(2)])                                     # (2, B, codes, classes)
        distortion = -self.log_p_x(x, z)                                                              # (2, B)
        gain = distortion.detach() - distortion.detach().flip(0)
        score = (gain * (z * log_q).sum((-1, -2))).mean()
        distortion = distortion.mean()
        return distortion + rate + score - score.detach(), {"distortion": distortion, "kl": rate}

    def bound(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] at one hard draw, rate [B, codes]) in nats; their sum is -ELBO. x as `observed`."""
        log_q = self.log_q(x)
        return -self.log_p_x(x, hard(log_q, generator)), self.rate(log_q)

    def log_likelihood(self, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted bound of k hard draws in nats: [B, ...] -> [B]. x as `observed`."""
        log_q = self.log_q(x)
        z = hard(log_q.expand(k, *log_q.shape), generator)
        weights = self.log_p_x(x, z) - self.config.codes * math.log(self.config.classes) - (z * log_q).sum((-1, -2))
        return log_mean_exp(weights, 0)

    def validate(self, data):
        draw = torch.Generator(self.pixels.log_scale.device).manual_seed(0)
        x = self.observed(image_tensor(data["valid.images"], self.pixels.log_scale.device), draw)
        distortion, rate = self.bound(x, draw)
        return {"loss": (distortion + rate.sum(1)).mean().item(), "kl": rate.sum(1).mean().item()}

    def encode(self, x: Tensor) -> Tensor:
        """Probabilities of every value of every code: [B, C, H, W] -> [B, codes * classes]."""
        return self.log_q(x).exp().flatten(1)

    def indices(self, x: Tensor) -> Tensor:
        """Likeliest value of each code: [B, C, H, W] -> int64 [B, codes]."""
        return self.log_q(x).argmax(-1)

    def decode(self, z: Tensor) -> Tensor:
        """Mean image: [B, codes * classes] -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(self.decoder(z)).view(-1, *self.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Image at the likeliest codes."""
        return self.decode(F.one_hot(self.indices(x), self.config.classes).to(x.dtype).flatten(1))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Means p(x|z) for z from the uniform prior: [n, C, H, W]."""
        device, c = self.pixels.log_scale.device, self.config
        z = torch.randint(c.classes, (n, c.codes), generator=generator, device=device)
        return self.decode(F.one_hot(z, c.classes).float().flatten(1))
