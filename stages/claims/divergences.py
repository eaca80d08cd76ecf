"""Claims about divergences and distances between distributions whose supports hardly meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, diags_array, kron, vstack

from stages.claims.quadrature import grid, jsd, kl, normal
from stages.claims.record import Check, Claim, Figure, lines, worst
from stages.settings import field

WGAN = "Arjovsky, Chintala and Bottou 2017, Wasserstein GAN, https://arxiv.org/abs/1701.07875"
PRINCIPLED = (
    "Arjovsky and Bottou 2017, Towards principled methods for training generative adversarial networks, https://arxiv.org/abs/1701.04862"
)


# ---- C06: transport as a linear program


def costs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances [n, m] of points [n, D] and [m, D]."""
    return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))


def transport(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, float]:
    """(plan [n, m], cost) of the cheapest plan with marginals p and q, by HiGHS."""
    n, m = cost.shape
    rows = kron(diags_array(np.ones(n)), np.ones((1, m)))
    columns = kron(np.ones((1, n)), diags_array(np.ones(m)))
    found = linprog(cost.ravel(), A_eq=vstack([rows, columns]).tocsr(), b_eq=np.concatenate([p, q]), method="highs")
    return found.x.reshape(n, m), float(found.fun)


def dual(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    """Kantorovich's dual: the largest p.f + q.g with f_i + g_j <= cost_ij, a linear program of its own."""
    n, m = cost.shape
    i, j = (part.ravel() for part in np.indices((n, m)))
    pairs = coo_array((np.ones(2 * n * m), (np.tile(np.arange(n * m), 2), np.concatenate([i, n + j]))), shape=(n * m, n + m))
    found = linprog(-np.concatenate([p, q]), A_ub=pairs.tocsr(), b_ub=cost.ravel(), bounds=(None, None), method="highs")
    return float(-found.fun)


def any_plan(p: np.ndarray, q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some plan with marginals p and q: random numbers, rows and columns scaled in turn."""
    plan = rng.random((len(p), len(q))) ** 4 + 1e-6
    for _ in range(500):
        plan *= (p / plan.sum(1))[:, None]
        plan *= q / plan.sum(0)
    return plan


@dataclass(frozen=True)
class C06:
    shifts: tuple[float, ...] = field((1.0, 1.5, 2.0, 3.0), low=1.0, high=100.0, doc="of the second block from the first")
    atoms: int = field(25, low=4, high=64, doc="of a block (its side is the root) or segment in the linear program")


def c06(settings: C06, seeds: list[int]) -> Claim:
    """SPEC's C06."""
    n, checks, distances, divergences = settings.atoms, [], [], []
    side = round(math.sqrt(n))
    block = np.stack(np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2), -1).reshape(
        -1, 2
    )  # of the plane: on a line every plan costs the same
    n, mass = len(block), np.full(len(block), 1 / len(block))
    gaps, marginals, least, over = [], [], [], []
    for shift in settings.shifts:
        cost = costs(block, block + [shift, 0.0])
        plan, price = transport(mass, mass, cost)
        distances.append(price)
        gaps.append(dual(mass, mass, cost) - price)
        marginals.append(max(np.abs(plan.sum(1) - mass).max(), np.abs(plan.sum(0) - mass).max()))
        least.append(plan.min())
        over += [float((any_plan(mass, mass, np.random.default_rng([seed, i])) * cost).sum()) - price for seed in seeds for i in range(3)]
        both = np.zeros(2 * n)
        first, second = both.copy(), both.copy()
        first[:n], second[n:] = mass, mass
        divergences.append((jsd(first, second), kl(first, second), kl(second, first)))
    checks += [
        worst("W1 of two blocks less the distance between them, at the worst shift", np.array(distances) - settings.shifts, 0.0, 1e-6),
        worst("slope of W1 in the distance", np.diff(distances) / np.diff(settings.shifts), 1.0, 1e-6) if len(distances) > 1 else None,
        worst("JSD of disjoint blocks", [d[0] for d in divergences], math.log(2), 1e-9),
        *(
            Check(f"KL of disjoint blocks, {way}", min(d[i] for d in divergences), math.inf)
            for i, way in ((1, "first to second"), (2, "second to first"))
        ),
    ]
    odd = n | 1  # so that the segments' points have the crossing in common
    t, zero = np.linspace(-1, 1, odd), np.zeros(odd)
    cross = costs(np.stack([t, zero], 1), np.stack([zero, t], 1))
    even = np.full(odd, 1 / odd)
    plan, price = transport(even, even, cross)
    gaps.append(dual(even, even, cross) - price)
    marginals.append(max(np.abs(plan.sum(1) - even).max(), np.abs(plan.sum(0) - even).max()))
    least.append(plan.min())
    over += [float((any_plan(even, even, np.random.default_rng([seed, 9])) * cross).sum()) - price for seed in seeds]
    crossing = []
    for points in (odd, 101, 10001):
        first, second = np.zeros(2 * points - 1), np.zeros(2 * points - 1)  # the crossing is atom points - 1 of both
        first[:points], second[points - 1 :] = 1 / points, 1 / points
        crossing.append((points, jsd(first, second), kl(first, second), kl(second, first)))
    checks += [
        worst(
            "JSD of segments that cross, n points each: over (1 - 1/n) log 2",
            [j / ((1 - 1 / k) * math.log(2)) for k, j, *_ in crossing],
            1.0,
            1e-9,
        ),
        Check("JSD of segments that cross, 10,001 points", crossing[-1][1], math.log(2)),
        *(
            Check(f"KL of segments that cross, {way}", min(c[i] for c in crossing), math.inf)
            for i, way in ((2, "first to second"), (3, "second to first"))
        ),
        worst("dual less primal, worst of all programs", gaps, 0.0, 1e-9),
        worst("marginals of the plans: largest error", marginals, 0.0, 1e-9),
        Check("smallest entry of any plan", float(min(least)), 0.0, 1e-12, "at least"),
        Check(f"cost of {len(over)} random plans less W1, the smallest", min(over), 0.0, 1e-9, "at least"),
    ]
    atoms, overlaps = zip(*sorted((k, j) for k, j, *_ in crossing), strict=True)
    return Claim(
        statement="Where supports overlap in measure zero (disjoint blocks, two segments that cross) both KL divergences are infinite and "
        "the Jensen-Shannon divergence is log 2, however far apart they are. For translates the Wasserstein distance equals the distance "
        "and keeps its slope. A transport plan is non-negative and has both marginals right, any plan costs at least W1, and the primal "
        "equals the dual.",
        formula=r"W_1(p, q) = \min_{\gamma \ge 0} \sum_{i, j} \gamma_{i j} c_{i j} \text{ with } \sum_j \gamma_{i j} = p_i, \; \sum_i "
        r"\gamma_{i j} = q_j \quad = \quad \max \sum_i p_i f_i + \sum_j q_j g_j \text{ with } f_i + g_j \le c_{i j}",
        source=f"{WGAN}, example 1 and section 2; {PRINCIPLED}, theorem 2.2; duality: Villani 2009, Optimal transport, theorem 5.10",
        done=f"Square blocks and segments of {n} atoms were moved onto each other by linear programs (HiGHS), the dual by a program of its "
        "own, and random plans with the same marginals were priced. The divergences were computed on the same atoms; segments that cross "
        "share one atom of n, so that their divergence is (1 - 1/n) log 2.",
        turn="claims.c06.settings.shifts: W1 follows the distance, the divergences do not move",
        changes="overlap in a set of positive measure, which makes the divergences move; another cost than the distance",
        checks=[check for check in checks if check],
        figures=[
            Figure(
                "Two blocks, by the distance between them",
                lines(["W1", "JSD"], settings.shifts, [distances, [d[0] for d in divergences]]),
                x="distance",
            ),
            Figure(
                "Two segments that cross, by the atoms of each",
                lines(["JSD", "log 2"], atoms, [overlaps, [math.log(2)] * len(atoms)]),
                x="atoms",
                log_x=True,
            ),
        ],
    )


# ---- C07: instance noise


def noisy_divergence(distance: float, sigma: float) -> float:
    """JSD of two points `distance` apart, each blurred by N(0, sigma^2): their Gaussians'."""
    x, dx = grid(-10 * sigma, distance + 10 * sigma, 8000)
    return jsd(normal(x, 0, sigma), normal(x, distance, sigma), dx)


def noisy_slope(distance: float, sigma: float) -> float:
    """d JSD / d distance = 1/2 E_q log(q/m) d log q / d distance, q the Gaussian that moves, m the mixture."""
    x, dx = grid(-10 * sigma, distance + 10 * sigma, 8000)
    p, q = normal(x, 0, sigma), normal(x, distance, sigma)
    return float((0.5 * q * (x - distance) / sigma**2 * (np.log(q) - np.log((p + q) / 2))).sum() * dx)


@dataclass(frozen=True)
class C07:
    sigmas: tuple[float, ...] = field((0.1, 1.0, 3.0), above=0.0, high=100.0)
    near: float = field(0.05, above=0.0, high=0.2, doc="distance / sigma where the divergence is a parabola")
    far: float = field(8.0, low=5.0, high=12.0, doc="distance / sigma where the slope is gone")


def c07(settings: C07, seeds: list[int]) -> Claim:
    """SPEC's C07. Deterministic: the seeds are not used."""
    at = np.linspace(settings.near, settings.far, 60)
    divergence = np.array([[noisy_divergence(t * s, s) for t in at] for s in settings.sigmas])
    slope = np.array([[s * noisy_slope(t * s, s) for t in at] for s in settings.sigmas])
    step = 1e-4
    numeric = [(noisy_divergence(t + step, 1.0) - noisy_divergence(t - step, 1.0)) / (2 * step) for t in at[::6]]
    first = slope[0]
    return Claim(
        statement="Noise on what the discriminator sees turns the flat Jensen-Shannon divergence of disjoint points into a slope, but only "
        "within a few standard deviations of the noise: divergence and slope depend on distance / sigma alone.",
        formula=r"\JSD \left( \N(0, \sigma^2), \N(d, \sigma^2) \right) \approx \frac{1}{8} \left( \frac{d}{\sigma} \right)^2 \text{ for } "
        r"d \ll \sigma, \quad \to \log 2 \text{ for } d \gg \sigma",
        source=f"{PRINCIPLED}, section 3; Sonderby et al. 2017, https://arxiv.org/abs/1610.04490 (instance noise); the parabola is the "
        "Fisher information's",
        done=f"Two points a distance apart were blurred by Gaussians of sigma {', '.join(f'{s:g}' for s in settings.sigmas)}; divergence "
        "and its slope in the distance were integrated numerically, the slope also by differences. Without noise the divergence is log 2 "
        "at every distance (C06).",
        turn="claims.c07.settings.far: how many sigma away the slope is measured",
        changes="distributions with heavier tails than the Gaussian noise, which keep a slope at larger distances",
        checks=[
            worst("sigma x slope (formula) beside differences, at the worst of 10 distances", first[::6], numeric, 1e-5),
            worst("divergence at equal distance / sigma, worst of all sigmas", divergence, divergence[0], 1e-6),
            Check(
                f"divergence over (distance / sigma)^2 / 8 at distance / sigma {settings.near:g}",
                divergence[0, 0] / (settings.near**2 / 8),
                1.0,
            ),
            Check(f"divergence at distance / sigma {settings.far:g}", divergence[0, -1], math.log(2)),
            Check(f"sigma x slope at {settings.far:g} sigma, as a share of the largest", first[-1] / first.max(), 0.01, 0.0, "at most"),
            Check("sigma x slope, the largest", first.max(), 0.1, 0.0, "at least"),
            Check("distance / sigma of the largest slope", at[first.argmax()], 4.0, 0.0, "at most"),
        ],
        figures=[
            Figure(
                "Slope of the divergence in units of 1/sigma",
                lines([f"sigma {s:g}" for s in settings.sigmas], at, slope),
                x="distance / sigma",
            ),
            Figure(
                "Divergence, nats",
                lines(["with noise", "without"], at, [divergence[0], np.full(len(at), math.log(2))]),
                x="distance / sigma",
            ),
        ],
    )
