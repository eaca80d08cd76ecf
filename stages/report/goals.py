"""Figures set beforehand (goals.yaml) beside what was measured: in the workspace, over seeds and on public data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev
from typing import TYPE_CHECKING, Literal

from stages.params import read_yaml
from stages.report import benches
from stages.report.inputs import Inputs, Metrics, Value, mapping, sequence
from stages.report.numbers import student
from stages.settings import InputError, choose, configure, field

if TYPE_CHECKING:
    from stages.report.studies import Study

FILE = Path(__file__).with_name("goals.yaml")
PARTS = {"default": "Default run", "study": "Over seeds", "paper": "On public data"}


@dataclass(frozen=True)
class Goal:
    """What a metric of a run was to reach; `than`: held against another run or a baseline of its own, ours minus theirs, or over theirs."""

    metric: str
    at_least: float | None = field(None)
    at_most: float | None = field(None)
    of: Literal["mean", "median"] = field("mean", doc="over seeds")
    than: str = field("")
    ratio: bool = field(False, doc="ours over theirs")
    tried: str = field("", doc="about one that is missed")


@dataclass(frozen=True)
class Reached:
    """A goal beside the measurement; `measured` None where the run, or what it is held against, lacks it.

    margin: half the 95 % interval of a difference to a run with the same seeds (paired, Student's t); None of other goals.
    """

    part: str
    run: str
    goal: Goal
    measured: float | None
    n: int
    margin: float | None = None

    @property
    def decided(self) -> bool:
        """Whether the seeds tell the difference from the goal."""
        bound = self.goal.at_most if self.goal.at_least is None else self.goal.at_least
        return self.margin is None or self.measured is None or abs(self.measured - bound) > self.margin

    @property
    def missed(self) -> float | None:
        """How far the measurement is on the wrong side; 0 where it is reached."""
        if self.measured is None:
            return None
        low, high = self.goal.at_least, self.goal.at_most
        return max(0.0, low - self.measured if low is not None else 0.0, self.measured - high if high is not None else 0.0)


def read_goals(path: Path = FILE) -> dict[str, dict[str, list[Goal]]]:
    """{part: {run: goals}}; parts are `default`, the workspace's own runs, and the profiles."""
    found = {}
    for part, runs in mapping(read_yaml(path), path).items():
        if part == benches.PART:  # of no run
            continue
        choose(part, (*PARTS, benches.PART), str(path), "part")
        found[part] = {}
        for run, given in mapping(runs, f"{path}: {part}").items():
            where = f"{path}: {part}.{run}"
            found[part][run] = [read_goal(entry, f"{where}[{i}]") for i, entry in enumerate(sequence(given, where))]
    return found


def read_goal(entry, where: str) -> Goal:
    made = configure(Goal, entry, where)
    if (made.at_least is None) == (made.at_most is None):
        raise InputError(f"{where}: give one of at_least and at_most")
    if made.ratio and not made.than:
        raise InputError(f"{where}: ratio is of what `than` names; name it, or leave ratio out")
    return made


def reached(goals: Mapping[str, Mapping[str, list[Goal]]], inputs: Inputs,
            studies: Mapping[str, Mapping[str, Study]]) -> list[Reached]:
    """Goals of the workspace's own runs, and of profiles of which anything was published, beside their measurements."""
    measured = {"default": {name: run.metrics for name, run in inputs.runs.items() if run.metrics}}
    measured |= {profile: {name: study.metrics for name, study in studied.items()} for profile, studied in studies.items()}
    return [measure(part, run, goal, measured.get(part, {}))
            for part, runs in goals.items() for run, given in runs.items() for goal in given
            if (run in inputs.runs if part == "default" else measured.get(part))]


def measure(part: str, run: str, goal: Goal, metrics: Mapping[str, Metrics]) -> Reached:
    own = metrics[run].values.get(goal.metric) if run in metrics else None
    value, margin = over_seeds(own, goal.of), None
    if goal.than and value is not None:
        baselines = metrics[run].baselines
        theirs = baselines[goal.than] if goal.than in baselines else metrics[goal.than].values if goal.than in metrics else {}
        rival = theirs.get(goal.metric)
        beside = over_seeds(rival, goal.of)
        if beside is None or (goal.ratio and not beside):
            value = None
        else:
            value = value / beside if goal.ratio else value - beside
            if not goal.ratio and len(own.values or ()) == len(rival.values or ()) > 1:
                gaps = [a - b for a, b in zip(own.values, rival.values, strict=True)]
                margin = student(len(gaps) - 1) * stdev(gaps) / math.sqrt(len(gaps))
    return Reached(part, run, goal, value, own.n if own else 0, margin)


def over_seeds(value: Value | None, of: str) -> float | None:
    """Mean or median; None where it was not measured, or the values that a median needs were not kept."""
    if value is None or value.mean is None:
        return None
    if of == "mean" or value.n == 1:
        return value.mean
    return median(value.values) if value.values else None
