"""White shapes on black whose factors are known: shape, scale, orientation, x and y, each combination once.

Orientations span a quarter turn, within which neither square, ellipse nor triangle repeats, so that every image has one set of factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.ingest.raw import Raw, image_table
from stages.settings import field

SHAPES = ("square", "ellipse", "triangle")
SAMPLES = 4  # sub-pixels a side: grey edges instead of steps


@dataclass(frozen=True)
class ShapeOptions:
    size: int = field(16, low=8, high=256, doc="side of an image in pixels")
    scales: int = field(4, low=1)
    orientations: int = field(8, low=1)
    positions: int = field(8, low=1, doc="values of x, and of y")


def shapes(options: ShapeOptions) -> Raw:
    """Every combination of factors, the last one (y) changing fastest. Factors are 0-based indices; `truth` has their values."""
    scale = np.linspace(0.5, 1.0, options.scales) * 0.25  # radius, as a share of the image's side
    turn = np.arange(options.orientations) * (np.pi / 2 / options.orientations)
    place = np.linspace(0.28, 0.72, options.positions)
    sizes = (len(SHAPES), options.scales, options.orientations, options.positions, options.positions)
    factors = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, 5)
    images = np.concatenate([
        _draw(f, scale, turn, place, options.size) for f in np.array_split(factors, max(1, len(factors) // 512))
    ])
    names = ("shape", "scale", "orientation", "x", "y")
    table = image_table(images, image_id=[f"s{i:06d}" for i in range(len(images))], label=[SHAPES[i] for i in factors[:, 0]],
                        **{f"factor_{name}": factors[:, i].astype(float) for i, name in enumerate(names)})
    truth = {"shape": SHAPES, "scale": scale, "orientation": turn, "x": place, "y": place,
             "unit": "radius, x and y as shares of the side, orientation in radians"}
    return Raw("images", {"images": table}, {"images": images}, licence="simulated, no rights reserved", truth=truth)


def _draw(factors, scale, turn, place, size):
    """Images [n, size, size, 1] of `factors` [n, 5]: the share of sub-pixels inside the shape, times 255."""
    grid = (np.arange(size * SAMPLES) + 0.5) / (size * SAMPLES)
    shape, s, angle = factors[:, 0], scale[factors[:, 1]], turn[factors[:, 2]]
    dx = grid[None, None, :] - place[factors[:, 3]][:, None, None]
    dy = grid[None, :, None] - place[factors[:, 4]][:, None, None]
    cos, sin, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None], s[:, None, None]
    u, v = (cos * dx + sin * dy) / s, (cos * dy - sin * dx) / s  # coordinates in the shape's own frame
    square = (np.abs(u) < 0.75) & (np.abs(v) < 0.75)
    ellipse = u**2 + (v / 0.5) ** 2 < 1
    triangle = (v < 0.5) & (v > 1.732 * np.abs(u) - 1)
    inside = np.select([(shape == i)[:, None, None] for i in range(3)], [square, ellipse, triangle])
    share = inside.reshape(len(factors), size, SAMPLES, size, SAMPLES).mean((2, 4))
    return np.rint(share * 255).astype(np.uint8)[..., None]
