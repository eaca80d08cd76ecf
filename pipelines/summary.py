"""The table at the end of a flow: every run's headline beside its best baseline, from the files the stages left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.processes import Outcome
from pipelines.schedule import GOOD
from pipelines.yaml_file import read_yaml
from stages.files import read_json
from stages.settings import InputError

NAMES = Path("stages/evaluate/names.json")
CEILINGS = ("floor", "supervised")  # real data against itself, and a net trained on all labels: bounds, not methods to beat
MISSING = "-"


@dataclass(frozen=True)
class Row:
    run: str
    dataset: str
    metric: str
    value: str
    baseline: str
    seconds: str


def rows(root: Path, runs: Iterable[str], outcomes: Mapping[str, Outcome] | None = None) -> list[Row]:
    """One row a run that has metrics or was to get them in the flow that ended with `outcomes`, in the order given."""
    better, data, old = directions(root), datasets(root), unmeasured(outcomes or {})
    return [Row(run, data.get(run, MISSING), MISSING, old[run], MISSING, MISSING) if run in old
            else row(root, run, data.get(run, MISSING), better)
            for run in runs if run in old or metrics_of(root, run).is_file()]


def unmeasured(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """{run: failed | not run} of the runs whose metrics, where there are any, are older than the flow wanted them."""
    found = {}
    for run in runs_of(outcomes):
        train, evaluate = (outcomes[name].state if (name := f"{group}@{run}") in outcomes else None for group in ("train", "evaluate"))
        if "failed" in (train, evaluate):
            found[run] = "failed"
        elif (train != "unchanged") if evaluate is None else (evaluate not in GOOD):  # trained anew and not evaluated: old as well
            found[run] = "not run"
    return found


def metrics_of(root: Path, run: str) -> Path:
    return root / "reports" / "metrics" / f"{run}.json"


def directions(root: Path) -> dict[str, str]:
    """{metric: higher | lower | none} from the list of names, where there is one."""
    path = root / NAMES
    return {metric: entry.get("better", "none") for metric, entry in read_json(path).items()} if path.is_file() else {}


def row(root: Path, run: str, dataset: str, better: dict[str, str]) -> Row:
    metrics = read_json(metrics_of(root, run))
    headline = metrics.get("headline")
    if not isinstance(metrics.get(headline), dict):
        raise InputError(f"{metrics_of(root, run)}: headline {headline!r} is not a metric of it; delete the file and rerun evaluate@{run}")
    timing = root / "reports" / "timing" / f"{run}.json"
    seconds = read_json(timing).get("seconds") if timing.is_file() else None
    name, value = best_baseline(metrics, headline, better.get(headline, "none"))
    return Row(run, dataset, headline, shown(metrics[headline]), f"{name} {shown(value)}" if name else MISSING,
               f"{seconds:.1f}" if isinstance(seconds, (int, float)) else MISSING)


def best_baseline(metrics: dict, metric: str, better: str) -> tuple[str | None, dict]:
    """(name, value) of the baseline that is hardest to beat at `metric`; the first by name where the metric has no direction."""
    measured = {name: values[metric] for name, values in sorted(metrics.get("baselines", {}).items())
                if name not in CEILINGS and isinstance(values.get(metric), dict) and values[metric].get("mean") is not None}
    if not measured:
        return None, {}
    sign = {"higher": -1.0, "lower": 1.0}.get(better, 0.0)
    name = min(measured, key=lambda n: sign * measured[n]["mean"])
    return name, measured[name]


def shown(value: dict) -> str:
    """`0.512`, or `0.512 ± 0.02` where there are several seeds."""
    mean, sd = value.get("mean"), value.get("sd")
    if mean is None:
        return MISSING
    return f"{mean:.4g}" + (f" ± {sd:.2g}" if sd is not None and value.get("n", 1) > 1 else "")


def datasets(root: Path) -> dict[str, str]:
    """{run: dataset} from params.yaml, which the stages check; here it only names things."""
    return {str(run): str(entry.get("dataset", MISSING)) for run, entry in (read_yaml(root / "params.yaml").get("runs") or {}).items()}


def runs_of(names: Iterable[str]) -> list[str]:
    """Runs among stage names: what follows the @ of train and evaluate stages, in order."""
    return list(dict.fromkeys(name.partition("@")[2] for name in names if name.startswith(("train@", "evaluate@"))))


def table(lines: list[Row]) -> str:
    """The rows as aligned plain text with a head; '' without rows."""
    if not lines:
        return ""
    head = ("run", "dataset", "headline", "value", "best baseline", "seconds")
    cells = [head, *((r.run, r.dataset, r.metric, r.value, r.baseline, r.seconds) for r in lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    text = ["  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)), line[-1].rjust(widths[-1])])
            for line in cells]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def metric_rows(root: Path, without: Iterable[str] = ()) -> list[dict]:
    """Every metric of every run but those `without`, as rows for a table artifact: run, metric, mean, sd, n and the best baseline."""
    better, found = directions(root), []
    for path in sorted(p for p in (root / "reports" / "metrics").glob("*.json") if p.stem not in without):
        metrics = read_json(path)
        for metric, value in metrics.items():
            if isinstance(value, dict) and "mean" in value:
                name, _ = best_baseline(metrics, metric, better.get(metric, "none"))
                beside = metrics["baselines"][name][metric]["mean"] if name else None
                found.append({"run": path.stem, "metric": metric, "mean": value["mean"], "sd": value.get("sd"), "n": value.get("n"),
                              "best baseline": name, "its mean": beside})
    return found
