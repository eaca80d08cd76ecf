"""Trained runs as a comparison reads them: the values of their metrics over seeds."""

from __future__ import annotations

from pathlib import Path

from stages.files import read_json
from stages.settings import InputError, choose
from stages.verdicts import PAIRS

ABOUT = ("headline", "baselines", "parameters", "reproducible", "features", "split")


class Runs:
    """`runs.values(i, metric)`: a metric of the i-th of the comparison's runs, one value a seed.

    Raises InputError, one line each, for a run that was not evaluated, a metric that it lacks, too few seeds.
    """

    def __init__(self, names: tuple[str, ...], metrics: Path, where: str):
        self.names, self.folder, self.where = names, Path(metrics), where
        self.read = {name: self._read(name) for name in dict.fromkeys(names)}
        counts = {name: max((len(found.get("values", ())) for found in read.values()), default=0) for name, read in self.read.items()}
        for name, count in counts.items():
            if count < PAIRS:
                raise InputError(
                    f"{where}: run {name} has {max(1, count)} seed{'s' * (count > 1)} in {self.folder}, but a paired test needs at least "
                    f"{PAIRS}; list more under runs.{name}.seeds (the study profile does)"
                )
        self.seeds = min(counts.values())

    def _read(self, name: str) -> dict[str, dict]:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            raise InputError(f"{self.where}: run {name} has not been trained and measured (no {path}); "
                             f"run python -m pipelines.repro evaluate@{name} first")
        return {key: found for key, found in read_json(path).items() if isinstance(found, dict) and key not in ABOUT}

    def values(self, i: int, metric: str) -> tuple[float, ...]:
        name = self.names[i]
        found = self.read[name][choose(metric, self.read[name], f"{self.where}: metrics of run {name}", "metric")]
        return tuple(found["values"][: self.seeds])

    def less(self, a: int, b: int, metric: str, other: str = "") -> tuple[float, ...]:
        """metric of run a minus that of run b (`other` there, if given), seed by seed."""
        return tuple(x - y for x, y in zip(self.values(a, metric), self.values(b, other or metric), strict=True))
