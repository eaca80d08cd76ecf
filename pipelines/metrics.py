"""A metrics file as values: what the runs and their baselines scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

METRICS = "reports/metrics"


@dataclass(frozen=True)
class Value:
    """A metric over seeds: mean (None where it is not defined), standard deviation (None for one seed), number and value of the seeds."""

    mean: float | None
    sd: float | None = None
    n: int = 1
    values: tuple[float, ...] = ()


def values(content: Mapping) -> dict[tuple[str, str], Value]:
    """{(baseline or "", metric): Value} of a metrics file; what is no metric is left out."""
    groups = [("", content), *(item for item in (content.get("baselines") or {}).items() if isinstance(item[1], dict))]
    return {(name, metric): value(entry) for name, entries in groups for metric, entry in entries.items()
            if isinstance(entry, dict) and "mean" in entry}


def value(entry: Mapping) -> Value:
    mean, sd, n = entry["mean"], entry.get("sd"), entry.get("n", 1)
    each = entry.get("values")
    return Value(float(mean) if is_number(mean) else None, float(sd) if is_number(sd) else None, n if isinstance(n, int) and n > 0 else 1,
                 tuple(each) if isinstance(each, list) and all(map(is_number, each)) else ())


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
