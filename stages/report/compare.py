"""Comparisons: lines of metrics with a column a run and a column a baseline, the best of each line marked."""

from __future__ import annotations

from dataclasses import dataclass

from stages.params import leaves
from stages.report.inputs import Inputs, Name, Run, Value
from stages.report.numbers import REFERENCES, name_of


@dataclass(frozen=True)
class Cell:
    values: list[Value]  # several where runs measured a baseline differently, sorted by mean
    baseline: bool
    best: bool = False


@dataclass(frozen=True)
class MetricLine:
    key: str
    cells: list[Cell]


def metric_line(names: dict[str, Name], key: str, columns: list[tuple[str, bool, list[Value]]]) -> MetricLine:
    """A line of a comparison from (column, is a baseline, values): the best column is marked where the metric has a direction."""
    better = name_of(names, key).better
    sign = {"higher": 1, "lower": -1, "none": 0}[better]
    scores = [
        sign * (values[0] if sign < 0 else values[-1]).mean if values and sign and column not in REFERENCES else None
        for column, _, values in columns
    ]
    measured = [score for score in scores if score is not None]
    best = max(measured) if len(set(measured)) > 1 else None  # where all are equal none is best
    return MetricLine(
        key,
        [Cell(values, baseline, score is not None and score == best) for (_, baseline, values), score in zip(columns, scores, strict=True)],
    )


def finite(values: list[Value | None]) -> list[Value]:
    """The different measured values, sorted by mean."""
    return sorted({v.mean: v for v in values if v is not None and v.mean is not None}.values(), key=lambda v: v.mean)


def run_lines(names: dict[str, Name], run: Run) -> list[MetricLine]:
    """Every metric of a run beside its baselines, the headline first."""
    if run.metrics is None:
        return []
    values, lines = run.metrics.values, []
    for key in sorted(values, key=lambda key: key != run.metrics.headline):
        columns = [(run.name, False, finite([values[key]]))]
        columns += [(b, True, finite([found.get(key)])) for b, found in run.metrics.baselines.items()]
        lines.append(metric_line(names, key, columns))
    return lines


def dataset_entry(inputs: Inputs, name: str) -> dict:
    """A dataset with its runs compared: the metrics that at least two columns (runs, then baselines) have."""
    runs = [run for run in inputs.runs.values() if run.dataset.name == name]
    measured = [run for run in runs if run.metrics]
    baselines = list(dict.fromkeys(b for run in measured for b in run.metrics.baselines))
    lines = []
    for key in dict.fromkeys(key for run in measured for key in run.metrics.values):
        columns = [(run.name, False, finite([run.metrics.values.get(key)])) for run in measured]
        columns += [(b, True, finite([run.metrics.baselines.get(b, {}).get(key) for run in measured])) for b in baselines]
        if sum(bool(values) for _, _, values in columns) > 1:
            lines.append(metric_line(inputs.names, key, columns))
    kept = [i for i, b in enumerate(baselines, start=len(measured)) if any(line.cells[i].values for line in lines)]
    lines = [MetricLine(line.key, [c for i, c in enumerate(line.cells) if i < len(measured) or i in kept]) for line in lines]
    dataset = inputs.datasets[name]
    settings = [
        (f"{part}.{key}", value)
        for part in ("options", "validate", "prepare")
        for key, value in leaves(getattr(dataset.settings, part))
        if key
    ]
    return {
        "dataset": dataset,
        "runs": measured,
        "missing": [run for run in runs if not run.metrics],
        "metrics": lines,
        "baselines": [baselines[i - len(measured)] for i in kept],
        "settings": settings,
        "ranges": any(len(c.values) > 1 for line in lines for c in line.cells),
    }
