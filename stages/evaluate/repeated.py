"""A number that is itself a mean over repetitions inside one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Repeated(float):
    """The mean of `values`; `spread` is their standard deviation (n - 1), None for one value.

    Not the deviation over training seeds: it tells how far the measurement itself varies, e.g. with the choice of labelled nodes.
    """

    spread: float | None

    def __new__(cls, values: Sequence[float]):
        mean = super().__new__(cls, np.mean(values))
        mean.spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return mean
