"""Image sources: scikit-learn's digits and photographs, 2-D mixtures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.ingest.raw import Raw, image_table

SKLEARN = "BSD-3-Clause (scikit-learn)"


@dataclass(frozen=True)
class NoOptions:
    pass


def digits(options: NoOptions) -> Raw:
    """scikit-learn's 1,797 handwritten digits, 8x8; values 0..16 become round(v * 255 / 16)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    table = image_table(images, image_id=[f"d{i:04d}" for i in range(len(images))], label=[str(t) for t in bunch.target])
    return Raw("images", {"images": table}, {"images": images}, licence=SKLEARN + "; UCI optical digits, CC BY 4.0",
               address="https://archive.ics.uci.edu/dataset/80", notes={"scaling": "round(value * 255 / 16)"})
