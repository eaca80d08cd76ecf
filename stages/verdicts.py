"""The rules by which verdicts are computed: strict for equalities, statistical for directions. The claims and their page read them here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided at this scale"
ALPHA = 0.05
DIRECTIONS = 15  # claims of kind D in the whole list: Holm's correction is over all of them, one without a record counts as p = 1
PAIRS = 5  # paired seeds that a one-sided test needs at least


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's two-sided interval for the mean of `values`; None of fewer than two."""
    from scipy.stats import t

    n, mean = len(values), math.fsum(values) / max(1, len(values))
    if n < 2:
        return None
    half = float(t.ppf(0.5 + level / 2, n - 1)) * deviation(values) / math.sqrt(n)
    return mean - half, mean + half


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1)."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def one_sided(differences: Sequence[float]) -> tuple[float, float | None]:
    """(p, effect) of the paired t-test that the mean of `differences` is above zero; effect = mean / sd (Cohen's d_z), None at sd 0."""
    from scipy.stats import t

    n, mean, sd = len(differences), math.fsum(differences) / len(differences), deviation(differences)
    if sd == 0:
        return (0.0 if mean > 0 else 1.0), None
    return float(t.sf(mean / (sd / math.sqrt(n)), n - 1)), mean / sd


def holm(p: Mapping[str, float], total: int = DIRECTIONS) -> dict[str, float]:
    """Adjusted p-values of Holm's step-down method among `total` tests, those not in `p` at 1 (Holm 1979, A simple sequentially
    rejective multiple test procedure)."""
    adjusted, highest = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda key: (p[key], key))):
        highest = max(highest, min(1.0, (max(total, len(p)) - i) * p[name]))
        adjusted[name] = highest
    return adjusted


def equality(passes: Sequence[bool]) -> str:
    """Kind E: holds when every check passes, and there is one."""
    return HOLDS if passes and all(passes) else FAILS


def direction(intervals: Sequence[tuple[float, float]], adjusted: float) -> str:
    """Kind D, from the intervals of the tests' mean differences (positive: as stated) and the claim's adjusted p."""
    if any(high < 0 for _, high in intervals):
        return FAILS
    return HOLDS if adjusted <= ALPHA and all(low > 0 for low, _ in intervals) else OPEN
