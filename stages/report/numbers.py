"""Numbers as the pages show them, and whether a run is ahead of its baselines."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass

from stages.report.inputs import Metrics, Name, Value

MISSING = "–"
REFERENCES = ("floor", "supervised")  # real data against itself, and a net trained on all labels: bounds, not methods to beat
SPELLED = {
    "co_counts": "co-counts",
    "kmeans": "k-means",
    "pca": "PCA",
    "svd": "SVD",
    "lda": "LDA",
    "lstm": "LSTM",
    "gaussian": "Gaussian",
    "category_back_off": "category back-off",
    "adamic_adar": "Adamic-Adar",
}
COUNTED = ("classes", "modes", "units")  # units of metrics that count things
_KEY = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b|^[a-z0-9]+(?=, by seed$)")
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value, digits: int = 3) -> str:
    """Whole numbers with separators, others to `digits` significant digits; very small and very large ones as powers of ten."""
    if value is None or isinstance(value, bool):
        return {None: MISSING, True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return minus(f"{value:,}")
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if exponent < -4 or exponent >= 7:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return minus(mantissa) + "×10" + str(int(power)).translate(SUPERSCRIPT)
    return minus(f"{value:,.{max(0, digits - 1 - exponent)}f}")


def figure(value: float | None, unit: str | None) -> str:
    """A metric's value: a whole number of things as such, else as `number`."""
    return number(int(value) if unit in COUNTED and value is not None and value == int(value) else value)


def minus(text: str) -> str:
    return text.replace("-", "−")


def spread(value: Value) -> str:
    """The standard deviation over seeds with the decimals of the mean, or nothing for one seed."""
    if value.n < 2 or value.sd is None or value.mean is None:
        return ""
    shown = number(value.mean)
    if "×" in shown or value.sd == 0:
        return number(value.sd)
    decimals = len(shown.partition(".")[2])
    text = f"{value.sd:,.{decimals}f}"
    return text if float(text.replace(",", "")) else number(value.sd, 1)


def median(value: Value) -> str:
    """The median over seeds; nothing where their values were not kept, or there are fewer than three, whose median is their mean."""
    return number(statistics.median(value.values)) if len(value.values) > 2 else ""


@dataclass(frozen=True)
class Outcome:
    """The run's headline beside its best baseline, as it came out: ahead, behind, level, or alone (nothing to compare with)."""

    kind: str
    baseline: str | None = None
    value: Value | None = None
    close: bool = False  # the difference is within the spread over seeds, or for one seed over the evaluation's repetitions


def outcome(metrics: Metrics, metric: str, name: Name) -> Outcome:
    mine, best = metrics.values[metric], best_baseline(metrics, metric, name)
    if best is None or mine.mean is None:
        return Outcome("alone")
    value = metrics.baselines[best][metric]
    gain = (mine.mean - value.mean) * (1 if name.better == "higher" else -1)
    spreads = [(v.sd if v.n > 1 else v.spread) for v in (mine, value)]
    close = any(s is not None for s in spreads) and abs(gain) <= math.hypot(*(s or 0 for s in spreads))
    return Outcome("ahead" if gain > 0 else "behind" if gain < 0 else "level", best, value, close)


def best_baseline(metrics: Metrics, metric: str, name: Name) -> str | None:
    """The baseline with the best mean; the first named of equals. None where the metric has no direction or no baseline has it."""
    means = {
        key: values[metric].mean
        for key, values in metrics.baselines.items()
        if key not in REFERENCES and metric in values and values[metric].mean is not None
    }
    if name.better == "none" or not means:
        return None
    return (max if name.better == "higher" else min)(means, key=means.get)


def words(key: str) -> str:
    """A key as words: `label_propagation` is label propagation, `pca` PCA."""
    return SPELLED.get(key) or key.replace("_", " ")


def in_words(names: dict[str, Name], text: str) -> str:
    """The text with metrics' titles in the place of their keys, of those that no other word is spelt like."""
    return _KEY.sub(lambda found: names[found[0]].title if found[0] in names else found[0], text)


def name_of(names: dict[str, Name], key: str) -> Name:
    """What names.json says of a metric; a key it does not know is shown as words, without direction."""
    return names.get(key) or Name(words(key))

def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
