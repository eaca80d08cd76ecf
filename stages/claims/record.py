"""What a claim's experiment returns: checks or paired tests, figures, and the words around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stages import verdicts

EQUALITY = ("holds when every check passes: |measured - expected| <= tolerance x |expected| (tolerance where 0 is expected), or measured "
            "at most (at least) expected within that; over seeds, equality of the mean and a bound of the worst of them")
DIRECTION = ("one-sided paired t-test over seeds; a claim's p is the largest of its tests', Holm-corrected over all "
             f"{verdicts.DIRECTIONS} claims of kind D. holds: corrected p <= {verdicts.ALPHA} and every interval above zero; does not "
             f"hold: an "
             "interval wholly below zero; otherwise not decided at this scale")


@dataclass(frozen=True)
class Check:
    """One measured number beside the expected one; `values` are those of the seeds, whose mean is `measured`."""

    what: str
    measured: float
    expected: float
    tolerance: float = 1e-3
    relation: Literal["equal to", "at most", "at least"] = "equal to"
    values: tuple[float, ...] = ()

    @property
    def passes(self) -> bool:
        if math.isinf(self.expected) or not math.isfinite(self.measured):
            return self.measured == self.expected
        over, slack = self.measured - self.expected, self.tolerance * scale(self.expected)
        return {"equal to": abs(over), "at most": over, "at least": -over}[self.relation] <= slack

    def record(self) -> dict:
        interval = verdicts.interval(self.values) if len(self.values) > 1 else None
        return {"what": self.what, "measured": shown(self.measured), "interval": interval, "relation": self.relation,
                "expected": shown(self.expected), "tolerance": self.tolerance, "passes": bool(self.passes)}


def scale(expected):
    """What a tolerance is a share of."""
    return np.where(expected == 0, 1.0, np.abs(expected))


def worst(what: str, measured, expected, tolerance: float = 1e-3) -> Check:
    """The check of the one entry of `measured` that lies farthest from its `expected`."""
    measured, expected = np.broadcast_arrays(np.asarray(measured, np.float64), np.asarray(expected, np.float64))
    off = np.abs(measured - expected) / scale(expected)
    at = int(np.where(np.isfinite(off), off, np.inf).argmax())
    return Check(what, float(measured.flat[at]), float(expected.flat[at]), tolerance)


def over_seeds(what: str, values: Sequence[float], expected: float, tolerance: float = 1e-3, relation: str = "equal to") -> Check:
    """The check of the mean over seeds; of a bound that of the worst seed, which the others cannot make up for."""
    measured = {"equal to": math.fsum(values) / len(values), "at most": max(values), "at least": min(values)}[relation]
    return Check(what, measured if np.isfinite(values).all() else math.nan, expected, tolerance, relation, tuple(map(float, values)))


def paired(function):
    """Mark a claim of kind D that trains what it needs: it asks for paired seeds."""
    function.paired = True
    return function


def shown(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if math.isfinite(value) else "infinite" if value > 0 else "minus infinite" if value < 0 else "not a number"


@dataclass(frozen=True)
class Contrast:
    """A direction: `differences` of paired seeds, positive where the claim is right."""

    what: str
    differences: tuple[float, ...]

    def record(self) -> dict:
        p, effect = verdicts.one_sided(self.differences)
        return {"what": self.what, "mean": math.fsum(self.differences) / len(self.differences),
                "interval": verdicts.interval(self.differences), "effect": effect, "p": p, "differences": list(self.differences)}


@dataclass(frozen=True)
class Figure:
    """Lines of (label, [(x, y), ...]); `path`: the points are places in the plane, in the order in which they were visited."""

    title: str
    lines: list[tuple[str, list[tuple[float, float]]]]
    x: str = "step"
    log_x: bool = False
    path: bool = False

    def record(self) -> dict:
        lines = [{"label": label, "points": [(float(x), float(y)) for x, y in points]} for label, points in self.lines]
        return {"title": self.title, "x": self.x, "log_x": self.log_x, "path": self.path, "lines": lines}


def lines(labels: Sequence[str], x, columns) -> list[tuple[str, list[tuple[float, float]]]]:
    """Lines of a figure from one axis and a column of values for each label."""
    return [(label, list(zip(map(float, x), map(float, column), strict=True))) for label, column in zip(labels, columns, strict=True)]


@dataclass(frozen=True)
class Claim:
    """A statement of theory with its formula (TeX) and source, what was done, and what decides it.

    Kind E (equality) has `checks`, kind D (direction) `tests`. `turn` names the setting to turn and what it does, `changes` what would
    change the verdict.
    """

    statement: str
    formula: str
    source: str
    done: str
    turn: str
    changes: str
    checks: list[Check] = field(default_factory=list)
    tests: list[Contrast] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "D" if self.tests else "E"

    @property
    def verdict(self) -> str | None:
        """Of kind E. That of kind D needs the p of all others of its kind: the page computes it (stages/verdicts.py)."""
        return verdicts.equality([check.passes for check in self.checks]) if self.kind == "E" else None

    def record(self, name: str, seeds: list[int]) -> dict:
        """As reports/claims/<id>.json holds it."""
        tests = [test.record() for test in self.tests]
        return {
            "claim": name,
            "kind": self.kind,
            "statement": self.statement,
            "formula": self.formula,
            "source": self.source,
            "done": self.done,
            "turn": self.turn,
            "changes": self.changes,
            "rule": EQUALITY if self.kind == "E" else DIRECTION,
            "seeds": seeds,
            **({"verdict": self.verdict} if self.kind == "E" else {"p": max(test["p"] for test in tests)}),
            "checks": [check.record() for check in self.checks],
            "tests": tests,
            "figures": [figure.record() for figure in self.figures],
        }
