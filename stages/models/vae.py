"""Variational autoencoders on images: VAE, beta-VAE and the importance-weighted autoencoder, with one or two stochastic layers.

Kingma and Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114; beta: Higgins et al. 2017,
https://openreview.net/forum?id=Sy2fzU9gl; Burda, Grosse, Salakhutdinov 2016, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.

    elbo:  mean over `draws` of -log p(x|z_i)  +  beta KL(q(z|x) || p(z))            (Kingma and Welling, eq. 10)
    iwae:  -log 1/k sum_{i=1..k} p(x, z_i) / q(z_i|x),   k = draws                   (Burda et al., eq. 8)

q = N(mu(x), diag sigma^2(x)). beta = 1 is the VAE exactly: the factor is then left out, not multiplied by one. With `upper` units there is
a second layer: q(h1|x) q(h2|h1), p(h2) p(h1|h2) p(x|h1); the rate of h1 is then sampled, for its prior depends on h2 (Burda et al., 3).
Likelihoods and binarisation: parts/likelihoods.py.

Binary images enter less their mean (parts/likelihoods.py): without that the bound of binary MNIST stood at 120 nats after 20 epochs where
it is 103 after 5. Many draws at less cost, off by default: with `backward` = m
all k draws are weighed without a gradient and m of them, resampled by their weights, are differentiated, which is unbiased; `gradient:
doubly` has less variance (Tucker et al. 2019, https://arxiv.org/abs/1810.04152); `warmup` begins with the ELBO, whose steps cost least.

Deviations, and what they cost: the variance of the Gaussian is learnt by default (without that it blurs or collapses on grey images);
SiLU in place of tanh by default; samples are the means p(x|z), not draws of noisy pixels; IWAE's gradient is by default that of the
bound. On small data the bound on held-out images turns up after about a thousand steps (the curve shows it)
while the samples still improve; 1,500 steps are a compromise between the two. `train.patience` stops where the bound is best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stages.models.base import Model as Base
from stages.models.base import image_tensor
from stages.models.parts.gaussian import kl_to_standard, log_mean_exp, log_normal_units, reparameterise, resampled
from stages.models.parts.likelihoods import Pixels
from stages.models.parts.nets import ACTIVATIONS, convolutions, deconvolutions, mlp
from stages.settings import InputError, field

CITATION = "Kingma and Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114"
ROWS = 2048  # validation images at once
DRAWS = 2048  # of the latent at once where nothing is differentiated: what the caches hold


@dataclass(frozen=True)
class Config:
    latent: int = field(12, low=1, high=4096)
    hidden: tuple[int, ...] = field((128, 128), low=1, doc="of the encoder; the decoder has them in reverse")
    channels: tuple[int, ...] = field((), low=1, doc="convolutions of stride 2 in place of `hidden`; (): none")
    activation: Literal["silu", "tanh", "relu"] = field("silu")
    objective: Literal["elbo", "iwae"] = field("elbo")
    draws: int = field(1, low=1, high=5000, doc="of the latent, an image and step: k")
    backward: int = field(0, low=0, doc="draws of `draws` that are differentiated, resampled by their weights (iwae); 0: all")
    warmup: int = field(0, low=0, doc="first steps by the ELBO of one draw (iwae)")
    gradient: Literal["bound", "doubly"] = field("bound", doc="doubly: reparameterised twice, of less variance (iwae)")
    beta: float = field(1.0, low=0.0, doc="factor on the KL of the ELBO")
    upper: int = field(0, low=0, high=4096, doc="units of a second stochastic layer; 0: none")
    upper_hidden: tuple[int, ...] = field((100, 100), low=1, doc="between the two stochastic layers")
    likelihood: Literal["gaussian", "bernoulli", "logistic"] = field("gaussian")
    sigma: float | None = field(None, above=0.0, doc="of the Gaussian; null: learnt")
    binarise: Literal["none", "dynamic", "fixed"] = field("none", doc="binary images drawn from the grey ones (Bernoulli)")


def _consistent(c: Config) -> None:
    """InputError where one setting has no meaning beside another."""
    if c.objective == "iwae" and c.beta != 1:
        raise InputError(f"model.beta: {c.beta:g} weighs the KL of the ELBO; under objective: iwae it must be 1")
    if c.objective == "elbo" and (c.backward or c.warmup or c.gradient != "bound"):
        name = next(n for n in ("backward", "warmup", "gradient") if getattr(c, n) not in (0, "bound"))
        raise InputError(f"model.{name}: {getattr(c, name)} is for objective: iwae, but it is elbo; leave it out")
    if c.backward > c.draws:
        raise InputError(f"model.backward: {c.backward} draws cannot be resampled from {c.draws}; allowed: 0 (all) to {c.draws}")
    if c.gradient == "doubly" and not c.backward:
        raise InputError(f"model.gradient: doubly is of resampled draws; set model.backward to 1 .. {c.draws}")
    if c.backward and c.upper:
        raise InputError(f"model.upper: {c.upper} units of a second layer, but model.backward resamples draws of one; set one of them to 0")


class Model(Base):
    kinds = ("images",)
    inputs = ("images",)
    per_example = True
    train_defaults = {"steps": 1500, "batch_size": 128, "lr": 5e-3, "lr_decay": "cosine", "validate_every": 100, "log_every": 50}

    def __init__(self, config: Config, meta: dict):
        super().__init__()
        _consistent(config)
        height, width, depth = meta["shape"]
        self.config, self.shape = config, (depth, height, width)
        pixels, activation = depth * height * width, ACTIVATIONS[config.activation]
        if config.latent > pixels:
            raise InputError(f"model.latent: {config.latent} units are more than the image's {pixels} pixels, so there is no PCA of that "
                             f"width to compare with; allowed: 1 to {pixels}")
        if config.channels:
            self.encoder = convolutions(self.shape, config.channels, 2 * config.latent, activation)
            self.decoder = deconvolutions(config.latent, config.channels, self.shape, activation)
        else:
            self.encoder = nn.Sequential(nn.Flatten(), *mlp((pixels, *config.hidden, 2 * config.latent), activation))
            self.decoder = mlp((config.latent, *reversed(config.hidden), pixels), activation)
        if config.upper:
            self.upper_encoder = mlp((config.latent, *config.upper_hidden, 2 * config.upper), activation)
            self.upper_decoder = mlp((config.upper, *reversed(config.upper_hidden), 2 * config.latent), activation)
        self.pixels = Pixels(config.likelihood, config.sigma, config.binarise, self.shape)

    def step_bytes(self, batch_size: int) -> tuple[int, str]:
        """(about how many bytes a training step of so many images holds at once, what they are of)."""
        c, pixels = self.config, math.prod(self.shape)
        kept = min(c.backward, c.draws) or c.draws  # draws that are differentiated: their activations, logits and gradients stay
        units = 3 * pixels + 8 * (c.latent + c.upper) + (3 * sum(c.hidden) if not c.channels else 3 * pixels * max(c.channels) // 4)
        size = 4 * batch_size * (kept * units + 3 * c.draws * c.latent)
        return size, f"{batch_size} images x {kept} draws (model.draws) x {pixels} pixels"

    def begin(self, data, seed):
        self.pixels.begin(data["train.images"], None if self.config.channels else self.decoder[-1].bias)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mean and log-variance of q(z|x) (of the lower layer): [B, C, H, W] -> two of [B, latent]."""
        mean, log_variance = self.encoder(self.pixels.centred(x)).float().chunk(2, 1)  # the KL needs float32 also under autocast
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Mean image of p(x|z): [B, latent] -> [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(self.decoder(z)).view(-1, *self.shape)

    def log_p_x(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over pixels: [B, ...], [B, k, latent] (or [B, latent]) -> [B, k] (or [B])."""
        output = self.decoder(z.flatten(0, -2)).float().unflatten(0, z.shape[:-1])
        flat = x.flatten(1)
        return self.pixels.log_prob(flat[:, None] if z.dim() == 3 else flat, output)

    def observed(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images that the likelihood is of: x, or binary ones drawn from it."""
        return self.pixels.observed(x, generator)

    def drawn(self, x: Tensor, k: int, generator: torch.Generator | None = None, analytic: bool = True) -> tuple[Tensor, Tensor]:
        """(distortion [B, k] = -log p(x|z_i), rate [B, k, units]) of k draws from q, in nats; x as `observed`.

        The rate is the KL of each unit where that is known in closed form and `analytic`, else log q - log p at the draw.
        """
        mean, log_variance = (t[:, None].expand(-1, k, -1) for t in self.posterior(x))
        z = reparameterise(mean, log_variance, generator)
        zero = torch.zeros(1, device=x.device)
        if not self.config.upper:
            sampled = log_normal_units(z, mean, log_variance) - log_normal_units(z, zero, zero)
            return -self.log_p_x(x, z), kl_to_standard(mean, log_variance) if analytic else sampled
        upper_mean, upper_log_variance = self.upper_encoder(z).float().chunk(2, -1)
        top = reparameterise(upper_mean, upper_log_variance, generator)
        prior_mean, prior_log_variance = self.upper_decoder(top).float().chunk(2, -1)
        lower = log_normal_units(z, mean, log_variance) - log_normal_units(z, prior_mean, prior_log_variance)
        upper = (kl_to_standard(upper_mean, upper_log_variance) if analytic
                 else log_normal_units(top, upper_mean, upper_log_variance) - log_normal_units(top, zero, zero))
        return -self.log_p_x(x, z), torch.cat([lower, upper], -1)

    def bound(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(distortion [B] at one draw of the latent, rate [B, units]), in nats; their sum is -ELBO. x as `observed`."""
        distortion, rate = self.drawn(x, 1, generator)
        return distortion[:, 0], rate[:, 0]

    def log_likelihood(self, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound log 1/k sum p(x, z_i)/q(z_i|x) in nats: [B, ...] -> [B]. x as `observed`."""
        distortion, rate = self.drawn(x, k, generator, analytic=False)
        return log_mean_exp(-distortion - rate.sum(-1), 1)

    def _resampled(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The bound's value, with the gradient sum_i w_i grad log p(x, z_i) / q(z_i|x), w normalised, of draws resampled by w."""
        c = self.config
        mean, log_variance = (t[:, None] for t in self.posterior(x))
        noise = torch.randn(len(x), c.draws, c.latent, device=x.device)
        with torch.no_grad():
            parts = zip(*(t.split(max(1, DRAWS // c.draws)) for t in (x, mean, log_variance, noise)), strict=True)
            found = [self._weigh(part, m + torch.exp(0.5 * v) * e, m, v) for part, m, v, e in parts]
            log_p, rate = (torch.cat(column) for column in zip(*found, strict=True))
            bound, weights = -log_mean_exp(log_p - rate, 1).mean(), (log_p - rate).softmax(1)
            chosen = resampled(weights, c.backward)
            noise, weights = noise.gather(1, chosen[..., None].expand(-1, -1, c.latent)), weights.gather(1, chosen)
        z = mean + torch.exp(0.5 * log_variance) * noise
        if c.gradient == "doubly":  # q is constant but for its draw, whose gradient is weighed a second time
            mean, log_variance = mean.detach(), log_variance.detach()
            if z.requires_grad:
                z.register_hook(lambda g: g * weights[..., None])
        chosen_log_p, chosen_rate = self._weigh(x, z, mean, log_variance)
        surrogate = (chosen_rate - chosen_log_p).mean()
        return bound + surrogate - surrogate.detach(), {"distortion": -log_p.mean(), "kl": rate.mean()}

    def _weigh(self, x: Tensor, z: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """(log p(x|z), log q(z|x) - log p(z)) of draws [B, k, latent] of the one layer: [B, k] each."""
        zero = torch.zeros(1, device=x.device)
        return self.log_p_x(x, z), (log_normal_units(z, mean, log_variance) - log_normal_units(z, zero, zero)).sum(-1)

    def loss(self, batch, phase, step):
        x, c = self.observed(batch["images"]), self.config
        weighted = c.objective == "iwae" and step >= c.warmup
        if weighted and c.backward:
            return self._resampled(x)
        if weighted:
            distortion, rate = self.drawn(x, c.draws, analytic=False)
            return (-log_mean_exp(-distortion - rate.sum(-1), 1)).mean(), {"distortion": distortion.mean(), "kl": rate.sum(-1).mean()}
        distortion, rate = self.drawn(x, 1 if c.objective == "iwae" else c.draws)
        distortion, rate = distortion.mean(), rate.sum(-1).mean()
        return distortion + (rate if c.beta == 1 else c.beta * rate), {"distortion": distortion, "kl": rate}

    def validate(self, data):
        """The objective on the validation split, binarised the same at every look."""
        losses, rates = [], []
        images = image_tensor(data["valid.images"], self.pixels.log_scale.device)
        draw = torch.Generator(images.device).manual_seed(0)
        for x in images.split(max(1, ROWS // self.config.draws)):
            x = self.observed(x, draw)
            distortion, rate = self.drawn(x, self.config.draws, analytic=self.config.objective == "elbo")
            loss = (-log_mean_exp(-distortion - rate.sum(-1), 1) if self.config.objective == "iwae"
                    else (distortion + self.config.beta * rate.sum(-1)).mean(1))
            losses.append(loss)
            rates.append(rate.sum(-1).mean(1))
        return {"loss": torch.cat(losses).mean().item(), "kl": torch.cat(rates).mean().item()}

    def encode(self, x: Tensor) -> Tensor:
        """Mean of q(z|x) (of the lower layer): [B, C, H, W] -> [B, latent]."""
        return self.posterior(x)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """Image at the mean of the code: [B, C, H, W] -> the same."""
        return self.decode(self.encode(x))

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes drawn from p(z) (of the lower layer): [n, latent]."""
        device, c = self.pixels.log_scale.device, self.config
        if not c.upper:
            return torch.randn(n, c.latent, generator=generator, device=device)
        return reparameterise(*self.upper_decoder(torch.randn(n, c.upper, generator=generator, device=device)).chunk(2, 1), generator)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Means p(x|z) for z from the prior: [n, C, H, W]."""
        return self.decode(self.prior(n, generator))
