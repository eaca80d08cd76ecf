"""Claims about likelihoods and their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from stages.claims.quadrature import grid, kl, normal
from stages.claims.record import Check, Claim, Figure, lines, over_seeds, worst
from stages.settings import field

IWAE = "Burda, Grosse and Salakhutdinov 2016, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519"


# ---- C13: KL divergence of Gaussians, and its two directions


def gaussian_kl(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> float:
    """KL(N(m1, diag s1^2) || N(m2, diag s2^2)) in nats."""
    return float((np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5).sum())


def log_density(x: np.ndarray, m: np.ndarray, s: np.ndarray) -> np.ndarray:
    """log N(x; m, diag s^2) of rows [n, D]."""
    return -0.5 * (((x - m) / s) ** 2 + 2 * np.log(s) + math.log(2 * math.pi)).sum(-1)


@dataclass(frozen=True)
class C13:
    dimension: int = field(4, low=1, high=100)
    draws: int = field(400000, low=1000, high=10**8, doc="of Monte Carlo, a seed")
    apart: float = field(4.0, low=3.0, high=20.0, doc="between the two modes of p")


def c13(settings: C13, seeds: list[int]) -> Claim:
    """SPEC's C13."""
    rng = np.random.default_rng(13)
    m1, m2 = rng.normal(0, 0.5, (2, settings.dimension))
    s1, s2 = np.exp(rng.normal(0, 0.3, (2, settings.dimension)))
    closed, sampled = gaussian_kl(m1, s1, m2, s2), []
    for seed in seeds:
        half = np.random.default_rng([seed, 13]).standard_normal((settings.draws // 2, settings.dimension))
        x = m1 + s1 * np.concatenate([half, -half])  # antithetic: the mean is right, so that three digits need fewer draws
        sampled.append(float((log_density(x, m1, s1) - log_density(x, m2, s2)).mean()))
    x, dx = grid(-settings.apart - 10, settings.apart + 10, 8000)
    p = 0.7 * normal(x, -settings.apart / 2, 0.6) + 0.3 * normal(x, settings.apart / 2, 0.6)
    mean = float((x * p).sum() * dx)
    forward = minimize_scalar(
        lambda m: kl(p, normal(x, m, 0.6), dx), bounds=(-settings.apart, settings.apart), method="bounded", options={"xatol": 1e-8}
    ).x
    starts = np.linspace(-settings.apart, settings.apart, 81)
    divergences = [[kl(p, normal(x, m, 0.6), dx) for m in starts], [kl(normal(x, m, 0.6), p, dx) for m in starts]]
    near = starts[int(np.argmin(divergences[1]))]
    reverse = minimize_scalar(
        lambda m: kl(normal(x, m, 0.6), p, dx), bounds=(near - 0.5, near + 0.5), method="bounded", options={"xatol": 1e-8}
    ).x
    return Claim(
        statement="The KL divergence of diagonal Gaussians has a closed form, which Monte Carlo confirms. Of all q with a fixed covariance "
        "the one nearest to p in KL(p || q) has the mean of p; in KL(q || p) it sits on a mode instead.",
        formula=r"\KL = \sum_i \log \frac{\tau_i}{\sigma_i} + \frac{\sigma_i^2 + (\mu_i - \nu_i)^2}{2 \tau_i^2} - \frac{1}{2}, \quad "
        r"\argmin_m \KL \left( p \parallel \N(m, \sigma^2) \right) = \E_p [x]",
        source="Kullback and Leibler 1951; Bishop 2006, Pattern recognition and machine learning, section 10.1.2 and exercise 2.13",
        done=f"Two diagonal Gaussians in {settings.dimension} dimensions, {settings.draws:,} antithetic draws a seed. Then p is a mixture "
        f"of two modes {settings.apart:g} apart, q a Gaussian of one mode's width, and its best mean was found by numerical minimisation "
        "in both directions.",
        turn="claims.c13.settings.apart: at less than about 3 the reverse divergence has one minimum, near the mean",
        changes="swapping the arguments of the divergence, which is the counter-example shown",
        checks=[
            over_seeds("KL by Monte Carlo, nats (expected: closed form)", sampled, closed, 2e-3),
            Check("mean that minimises KL(p || q) (expected: of p)", float(forward), mean, 1e-4),
            Check("KL(q || p): distance of its best mean from p's", abs(float(reverse) - mean), 1.0, 0.0, "at least"),
            Check("KL(q || p): its best mean (expected: the larger mode)", float(reverse), -settings.apart / 2, 1e-2),
        ],
        figures=[Figure("Divergence by the mean of q, nats", lines(["KL(p || q)", "KL(q || p)"], starts, divergences), x="mean of q")],
    )


# ---- C15, C16: a linear-Gaussian model whose every quantity is known


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, 1), x | z ~ N(a z, s^2); q(z | x) is Gaussian, off the posterior by `shift` of its deviations and `stretch` as wide."""

    a: float = field(1.5, low=0.1, high=10.0)
    s: float = field(0.8, low=0.1, high=10.0)
    x: float = field(1.2, low=-10.0, high=10.0)
    shift: float = field(0.7, low=-3.0, high=3.0)
    stretch: float = field(1.3, low=0.75, high=3.0, doc="above 1/sqrt(2), or the weights have no variance")

    @property
    def posterior(self) -> tuple[float, float]:
        """(mean, sd) of p(z | x)."""
        precision = 1 + self.a**2 / self.s**2
        return self.a * self.x / self.s**2 / precision, precision**-0.5

    @property
    def q(self) -> tuple[float, float]:
        mean, sd = self.posterior
        return mean + self.shift * sd, self.stretch * sd

    @property
    def evidence(self) -> float:
        """log p(x) in nats."""
        return float(np.log(normal(self.x, 0, math.sqrt(self.a**2 + self.s**2))))

    def log_weight(self, z: np.ndarray) -> np.ndarray:
        """log p(x, z) - log q(z | x)."""
        return np.log(normal(z)) + np.log(normal(self.x, self.a * z, self.s)) - np.log(normal(z, *self.q))

    def spread(self) -> float:
        """Var(w) / p(x)^2 under q, by quadrature."""
        mean, sd = self.q
        z, dz = grid(mean - 15 * sd, mean + 15 * sd, 40000)
        w = np.exp(self.log_weight(z) - self.evidence)
        return float((normal(z, mean, sd) * (w - 1) ** 2).sum() * dz)

    def bound(self, draws: int) -> float:
        """E log 1/M sum w_i less log p(x), M = draws, without sampling: E log S = int (e^-t - E e^-tS) dt / t for S > 0."""
        mean, sd = self.q
        z, dz = grid(mean - 12 * sd, mean + 12 * sd, 4000)
        w, mass = np.exp(self.log_weight(z) - self.evidence), normal(z, mean, sd) * dz
        u, du = grid(-45.0, 12.0, 4000)  # t = e^u
        t = np.exp(u)
        transform = np.concatenate([np.exp(-np.outer(part, w)) @ mass for part in np.array_split(t / draws, 8)])
        return float((np.exp(-t) - transform**draws).sum() * du)


@dataclass(frozen=True)
class C15:
    model: LinearGaussian = LinearGaussian()
    draws: tuple[int, ...] = field((1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096), low=1, high=10**5, doc="numbers M of importance draws")
    samples: int = field(100000, low=1000, high=10**8, doc="of Monte Carlo at M = 8, a seed")


def importance_limit(spread: float) -> float:
    """M x bias of the bound for many draws: -Var(w) / (2 p(x)^2), spread = Var(w) / p(x)^2."""
    return -spread / 2


def c15(settings: C15, seeds: list[int]) -> Claim:
    """SPEC's C15."""
    model, ms = settings.model, sorted(settings.draws)
    gaps, spread = np.array([model.bound(m) for m in ms]), model.spread()
    mean, sd = model.q
    sampled = []
    for seed in seeds:
        z = mean + sd * np.random.default_rng([seed, 15]).standard_normal((settings.samples, 8))
        mean_weight = np.exp(model.log_weight(z) - model.evidence).mean(1)
        sampled.append(float((np.log(mean_weight) - (mean_weight - 1)).mean()))  # what is taken off is 0 on average, and most of the noise
    post, width = model.posterior
    gap = math.log(width / sd) + (sd**2 + (mean - post) ** 2) / (2 * width**2) - 0.5  # KL(q || posterior)
    return Claim(
        statement="The importance-weighted bound of M draws is in expectation at most log p(x), does not fall with M, and M times its bias "
        "tends to -Var(w) / (2 p(x)^2), for a q that is not the posterior and weights of finite variance.",
        formula=r"L_M = \E \log \frac{1}{M} \sum_{i=1}^M \frac{p(x, z_i)}{q(z_i \mid x)} \le L_{M+1} \le \log p(x), \quad M (L_M - \log "
        r"p(x)) \to -\frac{\Var(w)}{2 p(x)^2}",
        source=f"{IWAE}, theorem 1; the limit: Nowozin 2018, Debiasing evidence approximations, https://openreview.net/forum?id=HyZoi-WRb, "
        "proposition 1",
        done=f"In a linear-Gaussian model with q off the posterior by {model.shift:g} of its deviations and {model.stretch:g} times as "
        f"wide, L_M was computed without sampling, through the Laplace transform of the weights, for M up to {ms[-1]:,}; Monte Carlo at M "
        "= 8 stands beside it, the mean weight less 1 as its control variate.",
        turn="claims.c15.settings.model.stretch: towards 1/sqrt(2) the weights' variance and the bias grow without bound; with shift 0 and "
        "stretch 1 every bound is exact and the claim trivial",
        changes="weights of infinite variance (a narrow q), for which the limit does not exist",
        checks=[
            Check("largest L_M - log p(x)", float(gaps.max()), 0.0, 1e-9, "at most"),
            Check("smallest rise of L_M from one M to the next", float(np.diff(gaps).min()), 0.0, 1e-9, "at least"),
            Check("L_1 - log p(x) over -KL(q || posterior)", gaps[0] / -gap, 1.0, 1e-4),
            Check(f"M (L_M - log p(x)) at M = {ms[-1]:,}, over the limit", ms[-1] * gaps[-1] / importance_limit(spread), 1.0),
            over_seeds("L_8 - log p(x) by Monte Carlo", sampled, model.bound(8), 5e-3),
        ],
        figures=[
            Figure(
                "M times the bias, nats",
                lines(["M (L_M - log p(x))", "limit"], ms, [ms * gaps, np.full(len(ms), importance_limit(spread))]),
                x="M",
                log_x=True,
            ),
            Figure("L_M - log p(x), nats", lines(["bound"], ms, [gaps]), x="M", log_x=True),
        ],
    )


@dataclass(frozen=True)
class C16:
    model: LinearGaussian = LinearGaussian()
    shifts: tuple[float, ...] = field((-2.0, -1.0, 0.0, 0.7, 2.0), low=-3.0, high=3.0, doc="of q from the posterior, in its deviations")
    draws: int = field(400000, low=1000, high=10**8, doc="of Monte Carlo, a seed")


def negative_elbo(model: LinearGaussian) -> float:
    """-ELBO in closed form: E_q -log p(x|z) + KL(q || N(0, 1)), nats."""
    mean, sd = model.q
    distortion = 0.5 * math.log(2 * math.pi * model.s**2) + ((model.x - model.a * mean) ** 2 + (model.a * sd) ** 2) / (2 * model.s**2)
    return distortion + 0.5 * (mean**2 + sd**2 - 1) - math.log(sd)


def gap_identity(model: LinearGaussian) -> float:
    """-log p(x) + KL(q || p(z|x)), nats."""
    return -model.evidence + gaussian_kl(*(np.array([v]) for v in (*model.q, *model.posterior)))


def c16(settings: C16, seeds: list[int]) -> Claim:
    """SPEC's C16."""
    base = settings.model
    models = [LinearGaussian(base.a, base.s, base.x, shift, stretch) for shift in settings.shifts for stretch in (0.8, 1.0, base.stretch)]
    sampled = []
    for seed in seeds:
        mean, sd = base.q
        half = np.random.default_rng([seed, 16]).standard_normal(settings.draws // 2)
        sampled.append(-float(base.log_weight(mean + sd * np.concatenate([half, -half])).mean()))
    along = np.linspace(-2.5, 2.5, 41)
    curve = [LinearGaussian(base.a, base.s, base.x, shift, base.stretch) for shift in along]
    exact = LinearGaussian(base.a, base.s, base.x, 0.0, 1.0)
    return Claim(
        statement="The negative ELBO is the negative log-likelihood plus the divergence of q from the posterior: the bound's gap is that "
        "divergence.",
        formula=r"-L(x) = -\log p(x) + \KL \left( q(z \mid x) \parallel p(z \mid x) \right)",
        source="Kingma and Welling 2014, Auto-encoding variational Bayes, equation 1, https://arxiv.org/abs/1312.6114",
        done="In the model of C15 the left side was computed as distortion plus rate, the right side from the evidence and the posterior, "
        f"each in its own closed form, for {len(models)} different q; one was also estimated from {settings.draws:,} antithetic draws a "
        "seed.",
        turn="claims.c16.settings.shifts: the farther q from the posterior, the wider the gap; at shift 0 and stretch 1 it is zero",
        changes="nothing in the model: it is an identity. A KL with its arguments swapped turns the verdict",
        checks=[
            worst(
                f"-ELBO, worst of {len(models)} choices of q (expected: the right side), nats",
                [negative_elbo(m) for m in models],
                [gap_identity(m) for m in models],
                1e-9,
            ),
            Check("-ELBO where q is the posterior (expected: -log p(x))", negative_elbo(exact), -base.evidence, 1e-9),
            over_seeds("-ELBO by Monte Carlo, nats", sampled, gap_identity(base), 2e-3),
        ],
        figures=[
            Figure(
                "Nats, by the shift of q",
                lines(
                    ["-ELBO", "-log p(x)", "gap"],
                    along,
                    [[negative_elbo(m) for m in curve], [-base.evidence] * len(along), [gap_identity(m) + base.evidence for m in curve]],
                ),
                x="shift of q",
            )
        ],
    )
