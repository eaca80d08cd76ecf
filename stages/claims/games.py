"""Claims about two-player games: what simultaneous and alternating gradient steps do around a saddle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.claims.record import Check, Claim, Figure, worst
from stages.settings import field

Step = Callable[[float, float, float], tuple[float, float]]


@dataclass(frozen=True)
class C10:
    rates: tuple[float, ...] = field((0.1, 0.5, 1.0, 1.9), above=0.0, high=1.99, doc="step sizes eta below 2")
    beyond: tuple[float, ...] = field((2.1, 2.5), above=2.0, high=10.0, doc="step sizes eta above 2")
    steps: int = field(200, low=10, high=100000)
    tolerance: float = field(1e-9, above=0.0)


def simultaneous(x: float, y: float, eta: float) -> tuple[float, float]:
    """Both players move from the same point: x descends on xy, y ascends."""
    return x - eta * y, y + eta * x


def alternating(x: float, y: float, eta: float) -> tuple[float, float]:
    """y ascends first, x answers the new y."""
    y = y + eta * x
    return x - eta * y, y


def path(step: Step, eta: float, steps: int, start: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """The points visited, [steps + 1, 2]."""
    points = [start]
    for _ in range(steps):
        points.append(step(*points[-1], eta))
    return np.array(points)


def flow(steps: int) -> np.ndarray:
    """The continuous-time path dx/dt = -y, dy/dt = x from (1, 1) over two turns, solved numerically."""
    from scipy.integrate import solve_ivp

    times = np.linspace(0, 4 * math.pi, steps + 1)
    return solve_ivp(lambda t, z: (-z[1], z[0]), (0, times[-1]), (1.0, 1.0), t_eval=times, rtol=1e-12, atol=1e-12).y.T


def c10(settings: C10, seeds: list[int]) -> Claim:
    """SPEC's C10. Deterministic: the seeds are not used."""
    checks, root2 = [], math.sqrt(2)
    for eta in settings.rates:
        radius = np.linalg.norm(path(simultaneous, eta, settings.steps), axis=1)
        checks.append(
            worst(
                f"simultaneous, eta {eta:g}: growth of the radius in the worst step",
                radius[1:] / radius[:-1],
                math.sqrt(1 + eta**2),
                settings.tolerance,
            )
        )
    for eta in settings.rates:
        x, y = path(alternating, eta, settings.steps).T
        checks.append(
            worst(
                f"alternating, eta {eta:g}: x^2 + y^2 + eta x y in the worst step", x**2 + y**2 + eta * x * y, 2 + eta, settings.tolerance
            )
        )
    radius = np.linalg.norm(path(alternating, 2.0, settings.steps), axis=1)
    checks.append(
        Check(
            "alternating, eta 2: growth of the radius in the last step, no longer by a factor (expected: 4 sqrt 2)",
            radius[-1] - radius[-2],
            4 * root2,
        )
    )
    for eta in settings.beyond:
        radius = np.linalg.norm(path(alternating, eta, settings.steps), axis=1)
        trace = 2 - eta**2  # of the step's matrix, whose determinant is 1
        expected = (abs(trace) + math.sqrt(trace**2 - 4)) / 2
        checks.append(
            Check(
                f"alternating, eta {eta:g}: growth of the radius in the last step (largest eigenvalue)",
                radius[-1] / radius[-2],
                expected,
                1e-6,
            )
        )
    checks.append(worst("flow: radius where it strays most", np.linalg.norm(flow(settings.steps), axis=1), root2, 1e-6))
    eta, shown = settings.rates[0], min(settings.steps, 100)
    paths = [
        (f"simultaneous, eta {eta:g}", path(simultaneous, eta, 24)),
        (f"alternating, eta {eta:g}", path(alternating, eta, shown)),
        ("flow", flow(shown)),
        ("alternating, eta 1", path(alternating, 1.0, 6)),
        ("alternating, eta 2", path(alternating, 2.0, 1)),
        *((f"alternating, eta {eta:g}", path(alternating, eta, 1)) for eta in settings.beyond[:1]),
    ]
    over = [
        (f"simultaneous, eta {eta:g}", path(simultaneous, eta, shown)),
        (f"alternating, eta {eta:g}", path(alternating, eta, shown)),
        ("flow", flow(shown)),
        ("alternating, eta 2", path(alternating, 2.0, shown)),
        *((f"alternating, eta {eta:g}", path(alternating, eta, min(shown, 4))) for eta in settings.beyond),  # it grows by a factor
    ]
    return Claim(
        statement="Simultaneous gradient descent-ascent on f(x, y) = x y from (1, 1) moves away from the saddle (0, 0) by the factor "
        "sqrt(1 + eta^2) a step; alternating steps keep x^2 + y^2 + eta x y for 0 < eta < 2 and diverge beyond; the continuous flow is a "
        "circle.",
        formula=r"r_{t + 1} = \sqrt{1 + \eta^2}\, r_t, \quad x^2 + y^2 + \eta x y = \text{const}, \quad \dot x = -y, \; \dot y = x",
        source="Goodfellow 2016, NIPS tutorial, section 7.2, https://arxiv.org/abs/1701.00160; the invariant is that of the symplectic "
        "Euler method",
        done=f"Both updates were run for {settings.steps} steps in double precision at each eta, and the flow was solved by Runge-Kutta "
        "4(5). Growth, invariant and radius were compared with their closed forms at the worst step. The ascending player moves first; if "
        "the descending one does, the invariant is x^2 + y^2 - eta x y.",
        turn="claims.c10.settings.rates: larger steps leave faster when simultaneous and turn the alternating ellipse flatter",
        changes="optimism, averaging, a regulariser or any other change of the update: this is plain gradient descent-ascent",
        checks=checks,
        figures=[
            Figure("Paths from (1, 1)", [(label, list(map(tuple, points))) for label, points in paths], x="x", path=True),
            Figure(
                "Distance from the saddle",
                [(label, [(float(i), float(r)) for i, r in enumerate(np.linalg.norm(points, axis=1))]) for label, points in over],
            ),
        ],
    )
