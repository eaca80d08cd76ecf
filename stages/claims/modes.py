"""Claims about what a generator no longer makes: modes that it leaves, and codes that its decoder does not read.

Both are watched on a ring of Gaussians, where the mode of every sample is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stages.claims.record import Claim, Contrast, Figure
from stages.claims.runs import Runs
from stages.claims.trials import trained
from stages.models.base import Model, Phase
from stages.models.parts.adversarial import OBJECTIVES, interpolated
from stages.models.parts.gaussian import kl_to_standard, reparameterise
from stages.models.parts.nets import mlp
from stages.settings import field

MODES, SIGMA = 8, 0.05  # of the ring of radius 1
PLACES = np.stack([np.cos(2 * np.pi * np.arange(MODES) / MODES), np.sin(2 * np.pi * np.arange(MODES) / MODES)], 1)
LATENT = 4
FAIR = 0.1  # a mode is covered by this share of its fair share of the samples
LOOKS = 40  # at a game, from its start to its end


def ring(n: int, seed: int) -> np.ndarray:
    """n points [n, 2] of the ring."""
    rng = np.random.default_rng([seed, 8])
    return (PLACES[rng.integers(0, MODES, n)] + SIGMA * rng.standard_normal((n, 2))).astype(np.float32)


def nearest(points: Tensor) -> Tensor:
    """The mode that each point [..., 2] is nearest to."""
    return torch.cdist(points, torch.from_numpy(PLACES).to(points)).argmin(-1)


def coverage(shares: np.ndarray) -> float:
    """Share of the modes that are covered, of the shares of samples [MODES]."""
    return float((shares >= FAIR / MODES).mean())


def information(shares: np.ndarray) -> float:
    """I(code; mode) in nats from p(mode | code) of codes drawn from the prior, [codes, MODES]."""
    def entropy(p):
        return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)
    return float(entropy(shares.mean(0)) - entropy(shares).mean())


@torch.no_grad()
def by_code(draw, seed: int, codes: int = 500, draws: int = 200) -> np.ndarray:
    """p(mode | code) by counting, [codes, MODES]: `draw` makes points [draws, codes, 2] of codes [draws, codes, LATENT] and a generator."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(codes, LATENT, generator=generator).expand(draws, -1, -1)
    return nn.functional.one_hot(nearest(draw(z, generator)), MODES).double().mean(0).numpy()


class Game(Model):
    """A GAN of points; `validate` tells the share of its samples nearest to each mode. `ahead`: generator steps a discriminator's."""

    inputs = ("x",)
    adversarial = True

    def __init__(self, objective: str, hidden: int, ahead: int):
        super().__init__()
        self.objective = objective
        self.generator, self.critic = mlp((LATENT, hidden, hidden, 2), nn.Tanh), mlp((2, hidden, hidden, 1), nn.Tanh)
        critic_steps, ahead = (3, 1) if objective == "wasserstein" else (1, ahead)
        self.phases = (Phase("d", ("critic",), repeat=critic_steps), Phase("g", ("generator",), repeat=ahead))

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.generator(z)

    def loss(self, batch, phase, step):
        real = batch["x"]
        fake = self.draw(torch.randn(len(real), LATENT))
        of_critic, of_generator = OBJECTIVES[self.objective]
        if phase == "g":
            loss = of_generator(self.critic(fake))
            return loss, {"g": loss}
        loss = of_critic(self.critic(real), self.critic(fake.detach()))
        if self.objective == "wasserstein":
            loss = loss + interpolated(self.critic, real, fake)
        return loss, {"d": loss}

    def validate(self, data):
        shares = by_code(self.draw, 0, 2000, 1).mean(0)
        return {"loss": 0.0} | {f"mode{i}": float(share) for i, share in enumerate(shares)}


class Coder(Model):
    """A VAE of points. `able`: the decoder is a mixture with a part on every mode from the start, so that it can do without its code."""

    inputs = ("x",)

    def __init__(self, able: bool, hidden: int):
        super().__init__()
        self.parts = MODES if able else 1
        self.encoder, self.decoder = mlp((2, hidden, hidden, 2 * LATENT), nn.Tanh), mlp((LATENT, hidden, hidden, 3 * self.parts), nn.Tanh)
        if able:
            with torch.no_grad():
                self.decoder[-1].bias[self.parts :] = torch.from_numpy(PLACES).float().flatten()

    def mixed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(log weights [..., parts], means [..., parts, 2])"""
        out = self.decoder(z)
        return out[..., : self.parts].log_softmax(-1), out[..., self.parts :].unflatten(-1, (self.parts, 2))

    def loss(self, batch, phase, step):
        mean, log_variance = self.encoder(batch["x"]).chunk(2, 1)
        weights, means = self.mixed(reparameterise(mean, log_variance))
        apart = ((batch["x"][:, None] - means) ** 2).sum(-1) / (2 * SIGMA**2) + math.log(2 * math.pi * SIGMA**2)
        distortion, rate = -(weights - apart).logsumexp(1).mean(), kl_to_standard(mean, log_variance).sum(1).mean()
        return distortion + rate, {"distortion": distortion, "kl": rate}

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        weights, means = self.mixed(z)
        part = torch.multinomial(weights.exp().flatten(0, -2), 1, generator=generator).view(*weights.shape[:-1], 1, 1)
        chosen = means.gather(-2, part.expand(*part.shape[:-1], 2)).squeeze(-2)
        return chosen + SIGMA * torch.randn(chosen.shape, generator=generator)


def game(objective: str, seed: int, steps: int, hidden: int, ahead: int) -> tuple[Game, np.ndarray]:
    """(a trained GAN, the shares of the modes at every look [looks, MODES]) on the ring."""
    rates = {"lr": 1e-3} if objective == "wasserstein" else {"lr": 1e-4, "lr_scale": {"g": 10.0}}  # the latter as in the claim's runs
    every = max(1, steps // LOOKS)
    model, result = trained(lambda: Game(objective, hidden, ahead), {"x": ring(20000, seed)}, seed, steps=steps, batch_size=256,
                            betas=[0.5, 0.999], validate_every=every, log_every=every, **rates)
    return model, np.array([[row[f"valid_mode{i}"] for i in range(MODES)] for row in result.curve if "valid_mode0" in row])


def moved(shares: np.ndarray) -> float:
    """Mean share of the samples that changed their mode between two looks, over the later half: total variation, shares [looks, MODES]."""
    late = shares[len(shares) // 2 :]
    return float(0.5 * np.abs(np.diff(late, axis=0)).sum(1).mean())


# ---- C08: modes that are left, and hopped between


@dataclass(frozen=True)
class C08:
    metrics: tuple[str, ...] = field(("modes", "high_quality"), doc="in which the saturating GAN is said to be behind")
    steps: int = field(800, low=LOOKS, high=10**6, doc="of the small games whose modes are followed over time")
    hidden: int = field(64, low=1, high=1024, doc="of their two hidden layers")
    ahead: int = field(5, low=1, high=100, doc="steps of the saturating generator to one of its discriminator")


def c08(settings: C08, runs: Runs) -> Claim:
    """SPEC's C08. Runs: saturating on the ring, WGAN-GP on it, the same two on the grid."""
    places = (("ring", 1, 0), ("grid", 3, 2))
    found = [
        (f"{metric} on the {place}: WGAN-GP less saturating GAN", runs.less(a, b, metric))
        for place, a, b in places
        for metric in settings.metrics
    ]
    followed = {objective: [game(objective, seed, settings.steps, settings.hidden, settings.ahead)[1] for seed in range(runs.seeds)]
                for objective in ("saturating", "wasserstein")}
    hops = [[moved(shares) for shares in followed[objective]] for objective in ("saturating", "wasserstein")]
    found.append(("share of the samples that change their mode between two looks: saturating less WGAN-GP",
                  tuple(a - b for a, b in zip(*hops, strict=True))))
    return Claim(
        statement="At convergence, with fixed small networks, a saturating GAN covers fewer modes of a mixture than a WGAN with gradient "
        "penalty, fewer of its samples are near one, and it hops from mode to mode.",
        formula=r"\min_G \max_D \E \log D(x) + \E \log (1 - D(G(z))): \quad \text{modes}(G) < \text{modes}(G_{\text{WGAN-GP}})",
        source="Metz et al. 2017, Unrolled generative adversarial networks, section 3.1, https://arxiv.org/abs/1611.02163; Gulrajani et "
        "al. 2017, https://arxiv.org/abs/1704.00028",
        done=f"Eight Gaussians on a ring and 25 on a grid, {runs.seeds} seeds of each run: the saturating GAN with the networks and rates "
        "of the first paper, and a WGAN-GP; modes within three deviations of a sample and the share of samples near a mode were compared "
        f"seed by seed. Small games of {settings.steps} steps on the ring were looked at {LOOKS} times: the saturating generator moves "
        f"{settings.ahead} times for each step of its discriminator. Hopping is the share of samples whose mode changes between two looks.",
        turn="comparisons.c08.settings.ahead: at 1 the discriminator keeps up with the generator, and both keep their modes",
        changes="the set-up of either run, for they differ in networks, noise, batch, rates and averaging, not in the objective alone; a "
        "penalty, noise or averaged weights in the saturating GAN; a discriminator that is ahead",
        tests=[Contrast(what, differences) for what, differences in found],
        figures=[
            Figure("Share of the samples at each mode over time, saturating, first seed",
                   [(f"mode {i + 1}", list(enumerate(map(float, share)))) for i, share in enumerate(followed["saturating"][0].T)],
                   x="look"),
            Figure("Modes covered over time, share, first seed",
                   [(name, [(i, coverage(row)) for i, row in enumerate(followed[objective][0])])
                    for name, objective in (("saturating", "saturating"), ("WGAN-GP", "wasserstein"))], x="look"),
            *(runs.by_seed(metric, range(4)) for metric in settings.metrics),
        ],
    )


# ---- C33: collapse of posteriors beside collapse of modes


@dataclass(frozen=True)
class C33:
    dead: float = field(0.1, above=0.0, doc="nats: a KL below it is that of a code without use")
    alive: str = field("mutual_information", doc="metric by which a latent is said to be alive")
    steps: int = field(800, low=LOOKS, high=10**6, doc="of the small models on the ring")
    hidden: int = field(64, low=1, high=1024)
    ahead: int = field(5, low=1, high=100, doc="steps of the generator that collapses to one of its discriminator")
    seeds: int = field(10, low=5, high=1000, doc="of the small models")


COLLAPSES = ("VAE", "VAE that needs no code", "WGAN-GP", "saturating GAN")


def small_models(settings: C33, seed: int) -> list[tuple[float, float]]:
    """(mutual information of code and mode in nats, coverage) of the four of COLLAPSES, in their order, trained on the ring."""
    points, found = {"x": ring(20000, seed)}, []
    for able in (False, True):
        model, _ = trained(lambda able=able: Coder(able, settings.hidden), points, seed, steps=2 * settings.steps, batch_size=256, lr=2e-3)
        found.append(by_code(model.draw, seed))
    for objective in ("wasserstein", "saturating"):
        found.append(by_code(game(objective, seed, settings.steps, settings.hidden, settings.ahead)[0].draw, seed))
    return [(information(shares), coverage(shares.mean(0))) for shares in found]


def c33(settings: C33, runs: Runs) -> Claim:
    """SPEC's C33. Runs: LSTM-VAE; LSTM-VAE whose KL weighs 1/T (the control); with annealing; TWR-VAE; ml-VAE."""
    rates = [runs.values(i, "kl") for i in range(5)]
    measured = np.array([small_models(settings, seed) for seed in range(settings.seeds)])  # (seeds, models, axes)
    told, covered = measured[:, :, 0].T, measured[:, :, 1].T

    def less(axis, a, b):
        return tuple(map(float, axis[COLLAPSES.index(a)] - axis[COLLAPSES.index(b)]))

    return Claim(
        statement="A plain LSTM-VAE collapses: KL and active units go to 0. Annealing, TWR-VAE and ml-VAE keep the latent alive beyond the "
        "control that only weighs the KL by 1/T. A collapse of the posterior loses what the code says and keeps every mode; a collapse of "
        "modes loses the modes.",
        formula=r"I(z; x) = \E_z \KL \left( p(x \mid z) \parallel p(x) \right) \to 0 \quad \text{beside} \quad \frac{1}{K} \sum_k [ p_k > "
        r"0 ] \to \frac{1}{K}",
        source="Bowman et al. 2016, https://arxiv.org/abs/1511.06349; Li et al. 2020 (TWR-VAE), https://arxiv.org/abs/2011.01136; Shen et "
        "al. 2019 (ml-VAE), https://arxiv.org/abs/1902.00154; Metz et al. 2017, https://arxiv.org/abs/1611.02163",
        done=f"Five text models, {runs.seeds} seeds each, were compared seed by seed in KL, active units and {settings.alive}; the ml-VAE "
        "reads paragraphs and begins as an autoencoder (without that its code dies too), the others read sentences. On a ring of eight "
        f"Gaussians, {settings.seeds} seeds, a VAE and one whose decoder holds every mode without a code, a WGAN-GP and a saturating GAN "
        f"whose generator moves {settings.ahead} times for each step of its discriminator were put on the same axes: information between "
        "code and mode, and the share of modes covered.",
        turn="comparisons.c33.settings.ahead: at 1 the game keeps its modes; runs.lstm-vae.model.free_bits keeps the text model's code",
        changes="a decoder too weak to do without its code, few words a text; for the ml-VAE a control of its own, which reads paragraphs "
        "too; a discriminator that keeps ahead of its generator",
        tests=[
            Contrast(f"{settings.dead:g} nats less the KL of {runs.names[0]}", tuple(settings.dead - rate for rate in rates[0])),
            Contrast(f"1 less the active units of {runs.names[0]}", tuple(1 - units for units in runs.values(0, "active_units"))),
            *(Contrast(f"{settings.alive} of {runs.names[i]} less the control's", runs.less(i, 1, settings.alive)) for i in (2, 3, 4)),
            Contrast("information of code and mode, nats: VAE less the one that needs no code", less(told, COLLAPSES[0], COLLAPSES[1])),
            Contrast("modes covered, share: VAE that needs no code less saturating GAN", less(covered, COLLAPSES[1], COLLAPSES[3])),
            Contrast("modes covered, share: WGAN-GP less saturating GAN", less(covered, COLLAPSES[2], COLLAPSES[3])),
        ],
        figures=[
            Figure(f"What each loses: modes covered by information (at most log {MODES} nats), a point a seed",
                   [(name, list(zip(map(float, told[i]), map(float, covered[i]), strict=True))) for i, name in enumerate(COLLAPSES)],
                   x="nats", path=True),
            runs.by_seed("kl", range(5)),
            runs.by_seed(settings.alive, range(5)),
        ],
    )
