"""What a claim's experiment returns, and the rule by which its verdict is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """One measured number beside the expected one. It passes when |measured - expected| <= tolerance * max(1, |expected|)."""

    what: str
    measured: float
    expected: float
    tolerance: float

    @property
    def passes(self) -> bool:
        return math.isfinite(self.measured) and abs(self.measured - self.expected) <= self.tolerance * max(1.0, abs(self.expected))


@dataclass(frozen=True)
class Claim:
    """A statement of theory with its source, what was done, and the checks that decide it.

    kind E (equality): the verdict is `holds` when every check passes, else `does not hold`. `lines` are (label, [(x, y), ...]) of the
    figure, `turn` names the setting to turn and what it does.
    """

    statement: str
    source: str
    done: str
    turn: str
    checks: list[Check]
    figure: str = ""
    lines: list[tuple[str, list[tuple[float, float]]]] = field(default_factory=list)
    kind: str = "E"

    @property
    def verdict(self) -> str:
        return "holds" if self.checks and all(check.passes for check in self.checks) else "does not hold"

    def record(self, name: str, seeds: list[int]) -> dict:
        """As reports/claims/<id>.json holds it."""
        checks = [
            {"what": c.what, "measured": c.measured, "expected": c.expected, "tolerance": c.tolerance, "passes": c.passes}
            for c in self.checks
        ]
        return {
            "claim": name,
            "kind": self.kind,
            "statement": self.statement,
            "source": self.source,
            "done": self.done,
            "turn": self.turn,
            "verdict": self.verdict,
            "rule": "holds when every |measured - expected| <= tolerance x max(1, |expected|)",
            "seeds": seeds,
            "checks": checks,
            "figure": {"title": self.figure, "lines": [{"label": n, "points": p} for n, p in self.lines]},
        }
