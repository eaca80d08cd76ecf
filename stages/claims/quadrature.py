"""Densities on a fine grid of the line: what stands for an integral in the claims."""

from __future__ import annotations

import math

import numpy as np


def grid(low: float, high: float, n: int) -> tuple[np.ndarray, float]:
    """n midpoints of equal cells of [low, high], and their width: sum f(x) dx is the integral of a smooth f."""
    dx = (high - low) / n
    return low + dx * (np.arange(n) + 0.5), dx


def normal(x: np.ndarray, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))


def kl(p: np.ndarray, q: np.ndarray, dx: float = 1.0) -> float:
    """KL(p || q) in nats; infinite where p has mass and q has none."""
    there = p > 0
    if (q[there] <= 0).any():
        return math.inf
    return float((p[there] * np.log(p[there] / q[there])).sum() * dx)


def jsd(p: np.ndarray, q: np.ndarray, dx: float = 1.0) -> float:
    """Jensen-Shannon divergence, 1/2 KL(p || m) + 1/2 KL(q || m) with m = (p + q)/2, in nats."""
    m = (p + q) / 2
    return 0.5 * kl(p, m, dx) + 0.5 * kl(q, m, dx)


def optimal(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """D* of data density p and generator density q (Goodfellow et al. 2014, proposition 1)."""
    return p / (p + q)
