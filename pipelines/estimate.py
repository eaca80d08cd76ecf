"""What a plan will cost, by what its stages cost the last time: wall time on the given slots, CPU time, memory.

The schedule is the flow's own (`schedule.run`) with a clock that jumps from end to end.
"""

from __future__ import annotations

import queue
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines import schedule
from pipelines.graph import Stage
from pipelines.processes import Outcome
from stages.files import read_json, write_json
from stages.settings import InputError

MEASURED = Path("data/.prefect/measured.json")


@dataclass(frozen=True)
class Cost:
    """What one stage took: seconds of wall and of CPU, GB at the peak of its largest process; 0 where that is not known."""

    seconds: float
    cpu: float = 0.0
    memory: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """`costs` of all stages of a plan, guessed for those of `guessed`; the whole takes `seconds`, and `memory` GB at once."""

    costs: dict[str, Cost]
    guessed: list[str]
    seconds: float
    memory: float

    @property
    def cpu(self) -> float:
        return sum(cost.cpu for cost in self.costs.values())


def measured(root: Path) -> dict[str, Cost]:
    """{stage: cost when DVC last really ran it here}; {} where nothing was measured. A broken file is as none: it is scratch."""
    path = root / MEASURED
    if not path.is_file():
        return {}
    try:
        return {name: Cost(*map(float, (entry["seconds"], entry["cpu"], entry["memory"]))) for name, entry in read_json(path).items()}
    except (InputError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def keep(root: Path, before: Mapping[str, Cost], outcomes: Mapping[str, Outcome]) -> dict[str, Cost]:
    """Add what the stages of a flow cost to what was known `before`, in the file too; returns all."""
    costs = {**before, **{name: Cost(outcome.seconds, outcome.cpu, outcome.memory) for name, outcome in outcomes.items()
                          if outcome.state == "done"}}
    write_json(root / MEASURED, {name: {"seconds": round(cost.seconds, 2), "cpu": round(cost.cpu, 2), "memory": round(cost.memory, 3)}
                                 for name, cost in sorted(costs.items())})
    return costs


def estimated(stages: Mapping[str, Stage], known: Mapping[str, Cost], slots: schedule.Slots) -> Estimate:
    """Simulate the plan. A stage never timed counts as the median of its entry in dvc.yaml, or of all, or as a second."""
    guessed = [name for name in stages if name not in known]
    costs = {name: known.get(name) or _like(stages[name], known) for name in stages}
    clock = Clock(costs)
    seconds = {name: cost.seconds for name, cost in costs.items()}
    schedule.run(stages, slots, clock.start, clock, seconds, lambda: False)
    return Estimate(costs, guessed, clock.now, clock.memory)


def _like(stage: Stage, known: Mapping[str, Cost]) -> Cost:
    alike = [cost for name, cost in known.items() if name.partition("@")[0] == stage.group] or list(known.values()) or [Cost(1.0)]
    return Cost(*(statistics.median(getattr(cost, name) for cost in alike) for name in ("seconds", "cpu", "memory")))


class Clock:
    """Stands for the processes and for the queue of ended stages: waiting for the next one is what makes time pass."""

    def __init__(self, costs: Mapping[str, Cost]):
        self.now = self.memory = 0.0
        self._costs, self._until = costs, {}

    def start(self, stage: Stage, slot: tuple[str, int]) -> None:
        self._until[stage.name] = self.now + self._costs[stage.name].seconds
        self.memory = max(self.memory, sum(self._costs[name].memory for name in self._until))

    def get(self, timeout: float) -> tuple[str, Outcome]:
        if not self._until:
            raise queue.Empty
        name = min(self._until, key=self._until.get)
        self.now = self._until.pop(name)
        return name, Outcome("done")


def show(found: Estimate, stages: Mapping[str, Stage], jobs: int, line: Callable[[str], None] = print) -> None:
    """One row a stage, then the whole."""
    head = ("stage", "seconds", "CPU s", "peak GB", "threads")
    guessed = set(found.guessed)
    rows = [head, *((f"{name}{' (never timed)' if name in guessed else ''}", f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.memory:.2f}",
                     str(stages[name].threads)) for name, cost in found.costs.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows if found.costs else []:
        line("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]))
    line(f"{len(stages)} stages, {jobs} at a time: about {duration(found.seconds)}, {found.cpu:.0f} s of CPU, "
         f"at most {found.memory:.1f} GB at once")
    if guessed and stages:
        line(f"{len(guessed)} of them were never timed here and count as the median of their kind" if len(guessed) < len(stages) else
             "none of them was ever timed here: this says nothing before the first flow")


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
