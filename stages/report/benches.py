"""Speed and memory: what `python -m bench --record` left in bench/results, ours beside a peer's, and what was asked of it (goals.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.files import read_json
from stages.params import read_yaml
from stages.report.inputs import known, mapping, sequence
from stages.settings import InputError, configure, field

GOALS = Path(__file__).with_name("goals.yaml")
PART = "speed"  # of goals.yaml


@dataclass(frozen=True)
class Bench:
    """The same work by a peer and by ours, or an amount that is allowed and ours.

    ratio: above 1 is for ours, of memory too. limit: what the ratio could be at most, where that was measured. quality: of what each made,
    in the unit's second part where it has one. asked: of the ratio, None where nothing was.
    """

    name: str
    unit: str
    peer: float
    ours: float
    ratio: float
    quality_peer: float
    quality_ours: float
    limit: float | None = field(None)
    asked: float | None = field(None)
    tried: str = field("")

    @property
    def missed(self) -> float:
        return 0.0 if self.asked is None else max(0.0, self.asked - self.ratio)


@dataclass(frozen=True)
class Asked:
    """What a ratio was to reach."""

    at_least: float | None = field(None)
    tried: str = field("", doc="about one that is missed")


def read_benches(folder: Path, goals: Path = GOALS) -> list[Bench]:
    """All in the order of files, the goals of a file in the order of what it holds. What has no peer (bench/soak.py) is left out."""
    found, where = [], f"{goals}: {PART}"
    given = mapping(mapping(read_yaml(goals), goals).get(PART, {}), where)
    asked = {name: sequence(wanted, f"{where}.{name}") for name, wanted in given.items()}
    for path in sorted(folder.glob("*.json")):
        content = mapping(read_json(path), path)
        if "peer" not in content:
            continue
        entries = [content, *sequence(content.get("also"), f"{path}: also")]
        wanted = asked.get(path.stem, [])
        if len(wanted) > len(entries):
            raise InputError(f"{where}.{path.stem}: {len(wanted)} goals, but {path} holds {len(entries)}")
        wanted = [configure(Asked, goal, f"{where}.{path.stem}[{i}]") for i, goal in enumerate(wanted)] + [Asked()] * len(entries)
        found += [known(Bench, entry, str(path), asked=goal.at_least, tried=goal.tried)
                  for entry, goal in zip(entries, wanted, strict=False)]
    return found
