"""Claims about the best discriminator of a fixed generator, and how fast training comes near it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from stages.claims.quadrature import grid, jsd, normal, optimal
from stages.claims.record import Check, Claim, Contrast, Figure, lines, over_seeds, paired
from stages.claims.trials import trained
from stages.models.base import Model
from stages.models.parts.nets import mlp
from stages.settings import field

SOURCE = "Goodfellow et al. 2014, Generative adversarial nets, https://arxiv.org/abs/1406.2661"


def value(d: np.ndarray, p: np.ndarray, q: np.ndarray, dx: float) -> float:
    """V(G, D) = E_p log D + E_q log(1 - D), in nats."""
    tiny = np.finfo(np.float64).tiny
    return float((p * np.log(np.maximum(d, tiny)) + q * np.log(np.maximum(1 - d, tiny))).sum() * dx)


def densities(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The data's mixture of two Gaussians and the generator's one."""
    return 0.5 * normal(x, -1.2, 0.5) + 0.5 * normal(x, 1.3, 0.7), normal(x, 0.3, 1.2)


@dataclass(frozen=True)
class C01:
    hidden: int = field(32, low=1, high=1024, doc="units of each of two hidden layers")
    steps: int = field(2000, low=1, high=100000)
    points: int = field(128, low=16, high=100000, doc="of the grid that the densities are known on")


class OnGrid(Model):
    """A discriminator trained on V itself: expectations are sums over the grid, weighted by the densities."""

    inputs = ("x", "p", "q")

    def __init__(self, hidden: int):
        super().__init__()
        self.net = mlp((1, hidden, hidden, 1), nn.Tanh)

    def loss(self, batch, phase, step):
        a = self.net(batch["x"])[:, 0]
        v = (batch["p"] * F.logsigmoid(a) + batch["q"] * F.logsigmoid(-a)).sum()
        return -v, {"v": v}


def c01(settings: C01, seeds: list[int]) -> Claim:
    """SPEC's C01."""
    x, dx = grid(-4.5, 4.5, settings.points)
    p, q = densities(x)
    best, weight, found = optimal(p, q), (p + q) / (p + q).sum(), []
    arrays = {"x": x[:, None], "p": p * dx, "q": q * dx}
    for seed in seeds:
        model, _ = trained(
            lambda: OnGrid(settings.hidden), arrays, seed, steps=settings.steps, batch_size=len(x), lr=2e-2, lr_decay="cosine"
        )
        with torch.no_grad():
            found.append(torch.sigmoid(model.net(torch.from_numpy(x[:, None]).float())[:, 0]).double().numpy())
    return Claim(
        statement="For a fixed generator the best discriminator is p_data / (p_data + p_G), wherever either density is positive.",
        formula=r"D^*(x) = \frac{p_{\mathrm{data}}(x)}{p_{\mathrm{data}}(x) + p_G(x)}",
        source=f"{SOURCE}, proposition 1",
        done=f"The data are a mixture of two Gaussians, the generator a wider one. A network with two hidden layers of {settings.hidden} "
        f"was trained on V(G, D), the expectations summed over {settings.points} points, for {settings.steps} steps. Its output was "
        "compared with the closed form in the mean over x drawn from either, and in its value.",
        turn="claims.c01.settings.steps: with few steps the network is not at the optimum and the checks fail",
        changes="too small or too briefly trained a network, or densities sampled instead of known, would leave more than a thousandth",
        checks=[
            over_seeds("mean |D - D*| over both densities", [float((weight * np.abs(d - best)).sum()) for d in found], 0.0),
            over_seeds(
                "V(G, D) of the trained network (expected: V(G, D*), by quadrature)",
                [value(d, p, q, dx) for d in found],
                value(best, p, q, dx),
            ),
            Check("mass of either density that the grid leaves out", abs(1 - float((p + q).sum() * dx / 2)), 0.0),
        ],
        figures=[Figure("Discriminator over x", lines(["trained, first seed", "closed form"], x, [found[0], best]), x="x")],
    )


@dataclass(frozen=True)
class C02:
    shifts: tuple[float, ...] = field(
        (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), low=0.0, high=12.0, doc="of the generator's N(shift, 1) from N(0, 1)"
    )
    widths: tuple[float, ...] = field((0.5, 2.0), low=0.3, high=3.0, doc="of generators N(0, width)")


def c02(settings: C02, seeds: list[int]) -> Claim:
    """SPEC's C02. Deterministic: the seeds are not used."""
    x, dx = grid(-24, 24 + max(settings.shifts), 40000)
    p, checks = normal(x), []
    everyone = [(f"p_G = N({s:g}, 1)", normal(x, s)) for s in settings.shifts] + [
        (f"p_G = N(0, {w:g})", normal(x, 0, w)) for w in settings.widths
    ]
    for label, q in everyone:
        checks.append(Check(f"V(G, D*), {label}", value(optimal(p, q), p, q, dx), -math.log(4) + 2 * jsd(p, q, dx), 1e-9))
    checks.append(Check("V(G, D*) at p_G = p_data", value(optimal(p, p), p, p, dx), -math.log(4), 1e-9))
    away = [(label, q) for label, q in everyone if not np.array_equal(p, q)]
    least = min(value(optimal(p, q), p, q, dx) for _, q in away)
    checks.append(Check("the least V(G, D*) of the generators that differ", least, -math.log(4) + 1e-3, 0.0, "at least"))
    along = np.linspace(0, max(4.0, *settings.shifts), 60)
    curves = [
        [value(optimal(p, q), p, q, dx) for q in (normal(x, s) for s in along)],
        [-math.log(4) + 2 * jsd(p, normal(x, s), dx) for s in along],
    ]
    return Claim(
        statement="At the best discriminator the game's value is -log 4 plus twice the Jensen-Shannon divergence, and it is -log 4 exactly "
        "where the generator's density is that of the data.",
        formula=r"V(G, D^*) = -\log 4 + 2\, \JSD(p_{\mathrm{data}} \parallel p_G)",
        source=f"{SOURCE}, theorem 1",
        done=f"Both sides were computed by quadrature for {len(everyone)} Gaussian generators, V from the discriminator and the divergence "
        "from the mixture of both densities. The generator equal to the data and the nearest that differs bound the second half of the "
        "statement.",
        turn="claims.c02.settings.shifts: farther generators saturate at V = 0, where the divergence is log 2",
        changes="any discriminator but D* gives a smaller V, so a factor or a swapped pair of densities in it turns the verdict",
        checks=checks,
        figures=[Figure("V(G, D*) by the generator's shift", lines(["V(G, D*)", "-log 4 + 2 JSD"], along, curves), x="shift")],
    )


@dataclass(frozen=True)
class C12:
    steps: tuple[int, ...] = field((10, 30, 100, 300, 1000), low=10, high=100000, doc="numbers k of discriminator steps, multiples of ten")
    hidden: int = field(32, low=1, high=1024)
    batch: int = field(256, low=1, high=100000)


class Sampled(Model):
    """A discriminator trained on samples; `validate` gives its distance from D* in value, by quadrature."""

    inputs = ("real", "fake")

    def __init__(self, hidden: int):
        super().__init__()
        self.net = mlp((1, hidden, hidden, 1), nn.Tanh)
        self.x, self.dx = grid(-6, 6, 600)

    def loss(self, batch, phase, step):
        v = F.logsigmoid(self.net(batch["real"])).mean() + F.logsigmoid(-self.net(batch["fake"])).mean()
        return -v, {"v": v}

    def validate(self, data):
        p, q = densities(self.x)
        d = torch.sigmoid(self.net(torch.from_numpy(self.x[:, None]).float())[:, 0]).double().numpy()
        return {"loss": abs(value(d, p, q, self.dx) - value(optimal(p, q), p, q, self.dx))}


def draws(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n samples of each of `densities`, [n, 1]."""
    rng = np.random.default_rng([seed, 12])
    left = rng.random(n) < 0.5
    real = np.where(left, rng.normal(-1.2, 0.5, n), rng.normal(1.3, 0.7, n))
    return real[:, None], rng.normal(0.3, 1.2, n)[:, None]


@paired
def c12(settings: C12, seeds: list[int]) -> Claim:
    """SPEC's C12."""
    ks, gaps = sorted(settings.steps), []
    for seed in seeds:
        real, fake = draws(20000, seed)
        _, result = trained(
            lambda: Sampled(settings.hidden),
            {"real": real, "fake": fake},
            seed,
            steps=ks[-1],
            batch_size=settings.batch,
            lr=1e-3,
            validate_every=10,
            log_every=10,
        )
        at = {row["step"]: row["valid_loss"] for row in result.curve}
        gaps.append([at[k] for k in ks])
    gaps = np.array(gaps)
    return Claim(
        statement="For a frozen generator the value that a discriminator reaches comes nearer to that of the best one with the number k of "
        "its steps.",
        formula=r"k < k' \; \Rightarrow \; \lvert V(G, D_k) - V(G, D^*) \rvert > \lvert V(G, D_{k'}) - V(G, D^*) \rvert",
        source=f"{SOURCE}, algorithm 1 and section 4.2 (there as an assumption: D is allowed to reach its optimum)",
        done=f"A network with two hidden layers of {settings.hidden} saw batches of {settings.batch} samples of data and generator of C01; "
        f"after {', '.join(map(str, ks))} steps its value was computed by quadrature. Each number of steps was compared with the next, "
        "seed by seed.",
        turn="claims.c12.settings.steps: far beyond convergence the noise of the batches decides, and the difference vanishes",
        changes="a rate of learning so high that the discriminator circles around its optimum, or steps beyond convergence",
        tests=[
            Contrast(f"gap at k = {a} less that at k = {b}, nats", tuple(gaps[:, i] - gaps[:, i + 1]))
            for i, (a, b) in enumerate(zip(ks, ks[1:], strict=False))
        ],
        figures=[
            Figure(
                "Gap to V(G, D*), nats",
                [
                    (f"seed {s}", list(zip(map(float, ks), map(float, row), strict=True)))
                    for s, row in list(zip(seeds, gaps, strict=True))[:6]
                ],
                x="steps k",
                log_x=True,
            )
        ],
    )
