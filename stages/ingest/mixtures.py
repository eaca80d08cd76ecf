"""Mixtures of equal Gaussians in the plane, their modes known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.ingest.raw import Raw, image_table
from stages.settings import field


@dataclass(frozen=True)
class RingOptions:
    points: int = field(10_000, low=1)
    modes: int = field(8, low=1)
    radius: float = field(2.0, above=0)
    sigma: float = field(0.05, above=0)
    seed: int = 0


@dataclass(frozen=True)
class GridOptions:
    points: int = field(10_000, low=1)
    side: int = field(5, low=1, doc="modes a side")
    spacing: float = field(1.0, above=0)
    sigma: float = field(0.05, above=0)
    seed: int = 0


def ring(options: RingOptions) -> Raw:
    """A mixture of equal Gaussians, their means on a circle."""
    angle = np.arange(options.modes) * (2 * np.pi / options.modes)
    return _mixture(options.radius * np.stack([np.cos(angle), np.sin(angle)], 1), options)


def grid(options: GridOptions) -> Raw:
    """A mixture of equal Gaussians, their means on a square grid around the origin."""
    axis = (np.arange(options.side) - (options.side - 1) / 2) * options.spacing
    return _mixture(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2), options)


def _mixture(modes, options):
    rng = np.random.default_rng(options.seed)
    which = rng.integers(len(modes), size=options.points)
    points = (modes[which] + options.sigma * rng.standard_normal((options.points, 2))).astype(np.float32)
    table = image_table(points[:, None, :], image_id=[f"p{i:06d}" for i in range(len(points))], label=[str(w) for w in which])
    truth = {"modes": modes, "sigma": options.sigma}
    return Raw("points", {"images": table}, {"points": points}, licence="simulated, no rights reserved", truth=truth)
