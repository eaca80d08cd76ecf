"""Sequences made by formula: the adding and the copy problem, and seasons to be forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.ingest.raw import Raw, image_table
from stages.settings import field


@dataclass(frozen=True)
class AddingOptions:
    series: int = field(10_000, low=1)
    length: int = field(60, low=2, high=10_000, doc="steps")
    seed: int = 0


@dataclass(frozen=True)
class SeasonOptions:
    series: int = field(2_000, low=1)
    length: int = field(60, low=4, high=10_000, doc="steps")
    period: int = field(12, low=2, doc="steps of the season that is the same for all series")
    noise: float = field(0.1, low=0.0, doc="deviation of the autoregressive part's steps")
    seed: int = 0


@dataclass(frozen=True)
class CopyingOptions:
    pairs: int = field(5_000, low=1)
    symbols: int = field(8, low=2, high=26, doc="different ones")
    length: int = field(5, low=1, doc="symbols to be remembered")
    lag: int = field(20, low=1, doc="blanks until they are asked for")
    seed: int = 0


def copying(options: CopyingOptions) -> Raw:
    """Pairs: symbols, blanks, a sign and blanks again, to be answered by blanks and, after the sign, by the symbols in their order

    (Hochreiter and Schmidhuber 1997; as in Arjovsky, Shah, Bengio 2016, https://arxiv.org/abs/1511.06464, section 4.1). No text twice.
    """
    rng, n = np.random.default_rng(options.seed), options.length
    drawn = np.unique(rng.integers(options.symbols, size=(options.pairs, n)), axis=0)
    texts = [[chr(ord("a") + i) for i in row] for row in rng.permutation(drawn).tolist()]
    before, after = ["_"] * options.lag, ["_"] * n
    rows = [(f"c{i:06d}", " ".join([*text, *before, "?", *after]), " ".join(["_"] * (n + options.lag + 1) + text))
            for i, text in enumerate(texts)]
    return Raw("pairs", {"pairs": pl.DataFrame(rows, schema=["pair_id", "source", "target"], orient="row")},
               licence="simulated, no rights reserved")


def adding(options: AddingOptions) -> Raw:
    """Numbers uniform in [0, 1] and marks, of which two are 1, one in each half; `factor_sum` is the sum of the marked numbers."""
    rng = np.random.default_rng(options.seed)
    n, length = options.series, options.length
    series = np.zeros((n, length, 2), np.float32)
    series[..., 0] = rng.random((n, length))
    first, second = rng.integers(length // 2, size=n), length // 2 + rng.integers(length - length // 2, size=n)
    series[np.arange(n), first, 1] = series[np.arange(n), second, 1] = 1
    total = (series[..., 0] * series[..., 1]).sum(1)
    return _raw(series, factor_sum=total.astype(np.float64))


def seasons(options: SeasonOptions) -> Raw:
    """A season of known period, a second one of a series' own period, a trend, and autoregressive noise (coefficient 0.7)."""
    rng = np.random.default_rng(options.seed)
    n, t = options.series, np.arange(options.length)[None]
    phase, height = rng.uniform(0, 2 * np.pi, (2, n, 1)), rng.uniform(0.3, 1.0, (2, n, 1))
    period, slope = rng.uniform(5, 25, (n, 1)), rng.normal(0, 0.01, (n, 1))
    noise = np.zeros((n, options.length))
    for i in range(options.length):
        noise[:, i] = (0.7 * noise[:, i - 1] if i else 0.0) + options.noise * rng.standard_normal(n)
    values = height[0] * np.sin(2 * np.pi * t / options.period + phase[0]) + height[1] * np.sin(2 * np.pi * t / period + phase[1])
    return _raw((values + slope * t + noise)[..., None].astype(np.float32), period=options.period, factor_period=period[:, 0],
                factor_slope=slope[:, 0])


def _raw(series, period=None, **factors):
    table = image_table(series, image_id=[f"s{i:06d}" for i in range(len(series))], **factors)
    truth = {"period": period} if period else {}
    return Raw("series", {"images": table}, {"series": series}, licence="simulated, no rights reserved", truth=truth)
