"""Claims about what the generator's objectives follow: the divergence whose gradient they have, and how single draws of it scatter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stages.claims.quadrature import grid, jsd, kl, normal, optimal
from stages.claims.record import Check, Claim, Figure, lines, over_seeds, worst
from stages.settings import field

ARJOVSKY = (
    "Arjovsky and Bottou 2017, Towards principled methods for training generative adversarial networks, https://arxiv.org/abs/1701.04862"
)
GOODFELLOW = "Goodfellow 2014, On distinguishability criteria for estimating generative models, https://arxiv.org/abs/1412.6515"


# ---- C05: what the non-saturating gradient follows, and how it scatters under a noisy discriminator


@dataclass(frozen=True)
class C05:
    mean: float = field(1.0, low=-4.0, high=4.0, doc="of the generator's Gaussian; the data's is N(0, 1)")
    sd: float = field(1.3, low=0.5, high=2.0)
    draws: int = field(1000000, low=1000, high=10**8, doc="of the noise, a seed")


def reverse_divergence(p: np.ndarray, real: np.ndarray, dx: float) -> float:
    """KL(p_G || p_r) - 2 JSD(p_G || p_r), whose gradient the non-saturating loss has at a frozen D*."""
    return kl(p, real, dx) - 2 * jsd(p, real, dx)


def noisy_slope_over_value(rng: np.random.Generator, n: int) -> np.ndarray:
    """n gradients D'/D where D and D' are white noise around 0: no matter its deviation, if both have the same."""
    return rng.standard_normal(n) / rng.standard_normal(n)


def c05(settings: C05, seeds: list[int]) -> Claim:
    """SPEC's C05."""
    x, dx = grid(-16, 16, 20000)
    real, at = normal(x), np.array([settings.mean, math.log(settings.sd)])

    def generated(theta):
        return normal(x, theta[0], math.exp(theta[1]))

    d = optimal(real, generated(at))  # frozen at theta_0
    score = np.gradient(np.log(d), x)
    z, dz = grid(-10, 10, 20000)
    reached = np.interp(settings.mean + settings.sd * z, x, score)
    weights = normal(z) * dz
    moved = [float(-(weights * reached).sum()), float(-(weights * reached * settings.sd * z).sum())]  # by m and by log s, through x alone
    step, checks = 1e-4, []
    for i, name in enumerate(("m", "log s")):
        ahead, behind = at.copy(), at.copy()
        ahead[i], behind[i] = at[i] + step, at[i] - step
        expected = (reverse_divergence(generated(ahead), real, dx) - reverse_divergence(generated(behind), real, dx)) / (2 * step)
        checks.append(Check(f"gradient of E -log D* by {name}, D* frozen (expected: of KL - 2 JSD)", moved[i], expected))
    tails, medians, survival = [], [], np.logspace(-1, 2.5, 15)
    seen = np.zeros(len(survival))
    for seed in seeds:
        rng = np.random.default_rng([seed, 5])
        sizes = np.abs(noisy_slope_over_value(rng, settings.draws))
        tails.append(float(30 * (sizes > 30).mean()))
        medians.append(float(np.median(sizes)))
        seen += [(sizes > t).mean() / len(seeds) for t in survival]
    cauchy = 1 - 2 / math.pi * np.arctan(survival)
    checks += [
        over_seeds("noisy D: median size of the gradient (expected: Cauchy's 1)", medians, 1.0, 5e-3),
        over_seeds("noisy D: 30 P(size > 30) (expected: Cauchy's)", tails, 30 * (1 - 2 / math.pi * math.atan(30)), 1e-2),
    ]
    return Claim(
        statement="With D* frozen at theta_0 and p_G moving through the generator alone, the non-saturating loss has the gradient of "
        "KL(p_G || p_r) - 2 JSD(p_G || p_r), where the densities overlap. Where they do not and D is D* plus white noise, the gradient is "
        "Cauchy: of infinite mean and variance.",
        formula=r"\E_z \left[ -\nabla_\theta \log D^*(g_\theta(z)) \right]_{\theta_0} = \nabla_\theta \left[ \KL(p_{g_\theta} \parallel "
        r"p_r) - 2\, \JSD(p_{g_\theta} \parallel p_r) \right]_{\theta_0}",
        source=f"{ARJOVSKY}, theorems 2.5 and 2.6",
        done=f"Data N(0, 1), generator N(m, s) at m = {settings.mean:g}, s = {settings.sd:g}. The left side was integrated over z with D* "
        "fixed, the right side differentiated numerically with p_G moving. For the second half, value and slope of D were drawn as "
        f"independent Gaussians around 0, {settings.draws:,} times a seed.",
        turn="claims.c05.settings.mean: at 0 with sd 1 both gradients vanish, far away they follow the KL",
        changes="a D* that moves with theta, which has another gradient; noise that is bounded away from D = 0, which cuts the tails",
        checks=checks,
        figures=[
            Figure(
                "Share of gradients above a size, noisy D",
                lines(["measured", "Cauchy"], survival, [np.maximum(seen, 1e-9), cauchy]),
                x="size",
                log_x=True,
            )
        ],
    )


# ---- C11: the loss of maximum likelihood


@dataclass(frozen=True)
class C11:
    mean: float = field(0.3, low=-3.0, high=3.0, doc="of the data's Gaussian; the generator's mean is 0")
    sd: float = field(0.7, low=0.1, high=1.0, doc="of the data's Gaussian")
    widths: tuple[float, ...] = field(
        (0.75, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0),
        above=0.71,
        high=10.0,
        doc="of the generator, in the data's: below 1/sqrt(2) variances are infinite",
    )
    draws: int = field(200000, low=1000, high=10**8, doc="of Monte Carlo, a seed")


def likelihood_loss(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """-exp(a*) with a* the logit of D*: the generator's loss of maximum likelihood."""
    return -real / fake


def estimators(z: np.ndarray, settings: C11, width: float) -> dict[str, np.ndarray]:
    """Single-draw gradients [n, 2] by (m, log s) of the generator m + s z at m = 0: score function and pathwise of -exp(a*), D frozen, and
    pathwise of the non-saturating -log D*."""
    s = width * settings.sd
    x = s * z
    real, fake = normal(x, settings.mean, settings.sd), normal(x, 0, s)
    loss = likelihood_loss(real, fake)
    slope = -(x - settings.mean) / settings.sd**2 + x / s**2  # d a* / dx
    path = np.stack([np.ones_like(z), x], 1)
    score = np.stack([x / s**2, (x / s) ** 2 - 1], 1)
    return {
        "score function": loss[:, None] * score,
        "pathwise": (loss * slope)[:, None] * path,
        "non-saturating": (-(1 - optimal(real, fake)) * slope)[:, None] * path,
    }


NARROW, EQUAL, WIDE = 0.75, 1.0, 3.0  # widths at which the order of the variances is checked, whatever the settings


def moments(z: np.ndarray, weight: np.ndarray, settings: C11, width: float) -> dict[str, tuple[np.ndarray, float]]:
    """{estimator: (mean gradient [2], variance of one draw: the trace)} at z weighted by its density."""
    found = {}
    for name, gradients in estimators(z, settings, width).items():
        mean = weight @ gradients
        found[name] = mean, float((weight @ gradients**2).sum() - (mean**2).sum())
    return found


def c11(settings: C11, seeds: list[int]) -> Claim:
    """SPEC's C11."""
    z, dz = grid(-30, 30, 60000)
    weight = normal(z) * dz
    curves, found = {name: [] for name in ("score function", "pathwise", "non-saturating")}, {"score function": [], "pathwise": []}
    for width in settings.widths:
        s = width * settings.sd
        wanted = np.array([-settings.mean / s**2, 1 - (settings.sd**2 + settings.mean**2) / s**2])  # of KL(p_data || p_G)
        for name, (mean, variance) in moments(z, weight, settings, width).items():
            curves[name].append(variance)
            if name in found:
                norms = np.linalg.norm(mean), np.linalg.norm(wanted)
                found[name].append((mean @ wanted / norms[0] / norms[1], norms[0] / norms[1]))
    checks = []
    for name, pairs in found.items():
        cosines, ratios = zip(*pairs, strict=True)
        checks += [
            worst(f"{name}: cosine with the maximum-likelihood gradient, at the worst width", cosines, 1.0, 1e-6),
            worst(f"{name}: norm ratio to it, at the worst width", ratios, 1.0, 1e-6),
        ]
    for width, first, second, relation in (
        (EQUAL, "pathwise", "score function", "at most"),
        (WIDE, "pathwise", "score function", "at least"),
        (NARROW, "pathwise", "non-saturating", "at least"),
    ):
        variances = {name: variance for name, (_, variance) in moments(z, weight, settings, width).items()}
        what = f"variance at width {width:g}: {first} over {second}"
        checks.append(Check(what, variances[first] / variances[second], 1.0, 0.0, relation))
    width = settings.widths[len(settings.widths) // 2]
    s, sampled = width * settings.sd, []
    for seed in seeds:
        draw = np.random.default_rng([seed, 11]).standard_normal(settings.draws)
        sampled.append(float(estimators(draw, settings, width)["pathwise"].mean(0)[0]))
    checks.append(over_seeds(f"pathwise gradient by m, {settings.draws:,} draws, width {width:g}", sampled, -settings.mean / s**2, 5e-3))
    return Claim(
        statement="With D optimal, the generator loss -exp(a), a the logit, has the gradient of maximum likelihood: with two parameters "
        "and the data's support inside the generator's, cosine 1 and norm ratio 1. Its variance depends on the estimator and on the "
        "generator's width: pathwise it is the smaller one at the data's width and the larger one far beyond; for a narrow generator it is "
        "far larger than that of the non-saturating loss.",
        formula=r"\E_{x \sim p_G} \left[ -\frac{p_{\mathrm{data}}(x)}{p_G(x)} \nabla_\theta \log p_G(x) \right] = \nabla_\theta "
        r"\KL(p_{\mathrm{data}} \parallel p_G)",
        source=f"{GOODFELLOW}; Goodfellow 2016, NIPS tutorial, section 3.2.5, https://arxiv.org/abs/1701.00160",
        done=f"Data N({settings.mean:g}, {settings.sd:g}), generator N(0, s) of several widths, parameters m and log s, D* in closed form "
        "and frozen. Mean and variance of the score-function and of the pathwise estimator were integrated over z and set beside the "
        "gradient of the divergence and the variance of the non-saturating loss.",
        turn="claims.c11.settings.widths: towards 1/sqrt(2) of the data's width the variances grow without bound",
        changes="a generator whose support does not hold the data's, where the ratio is infinite, or a D that is not optimal",
        checks=checks,
        figures=[
            Figure(
                "Variance of one draw's gradient (trace)",
                lines(list(curves), settings.widths, list(curves.values())),
                x="generator's width / data's",
            )
        ],
    )
