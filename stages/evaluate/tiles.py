"""A picture of any size through a translator, tile by tile: memory is bounded by the tile, and no seam shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from stages.models.base import image_tensor

TILE = 256  # pixels of the source


def bands(translate: Callable[[torch.Tensor], torch.Tensor], image: np.ndarray, halo: int, multiple: int,
          tile: int = TILE) -> Iterator[np.ndarray]:
    """Rows of the translation of uint8 [H, W, C], from above: uint8 [h, s W, C'] in turn, s H rows in all.

    Each tile goes through with `halo` pixels about it, which are then cut off. The picture is mirrored at the right and below to sides that
    are multiples of `multiple`, as where it goes through whole (`whole`).
    """
    height, width = image.shape[:2]
    tile, halo = (-(-n // multiple) * multiple for n in (tile, halo))
    padded = pad(image, multiple)
    for top in range(0, padded.shape[0], tile):
        row = []
        for left in range(0, padded.shape[1], tile):
            above, before = max(0, top - halo), max(0, left - halo)
            piece = padded[above : top + tile + halo, before : left + tile + halo]
            made = translate(image_tensor(piece[None]))[0]
            scale = made.shape[1] // piece.shape[0]
            kept = made[:, (top - above) * scale : (top - above + tile) * scale, (left - before) * scale : (left - before + tile) * scale]
            row.append(to_bytes(kept))
        yield np.concatenate(row, 1)[: max(0, height - top) * scale, : width * scale]


def whole(translate: Callable[[torch.Tensor], torch.Tensor], image: np.ndarray, multiple: int) -> np.ndarray:
    """The translation in one piece: uint8 [H, W, C] -> uint8 [s H, s W, C']."""
    made = translate(image_tensor(pad(image, multiple)[None]))[0]
    scale = made.shape[1] // pad(image, multiple).shape[0]
    return to_bytes(made)[: image.shape[0] * scale, : image.shape[1] * scale]


def pad(image: np.ndarray, multiple: int) -> np.ndarray:
    """Mirrored at the right and below to multiples of `multiple`; the same array where nothing is missing."""
    below, right = (-n % multiple for n in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric") if below or right else image


def to_bytes(image: torch.Tensor) -> np.ndarray:
    """float [C, H, W] in [0, 1] -> uint8 [H, W, C]."""
    return np.ascontiguousarray(image.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
