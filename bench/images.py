"""Images of 28 x 28 that several benchmarks train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.prepared import Prepared


def images(folder: Path | None) -> dict[str, np.ndarray]:
    """{"train.images", "test.images"}: uint8 [n, 28, 28, 1] of a prepared folder, or enlarged digits."""
    if folder:
        data = Prepared(folder)
        return {name: np.array(data[name]) for name in ("train.images", "test.images")}
    from sklearn.datasets import load_digits

    grey = np.round(load_digits().images / 16 * 255).astype(np.uint8)
    large = np.pad(grey.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))[..., None]
    return {"train.images": large[:797], "test.images": large[797:]}
