"""Trained runs as a comparison reads them: the values of their metrics over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stages.claims.record import Figure
from stages.files import read_json
from stages.settings import InputError, choose
from stages.verdicts import PAIRS

ABOUT = ("headline", "baselines", "parameters", "reproducible", "features", "split")


class Runs:
    """`runs.values(i, metric)`: a metric of the i-th of the comparison's runs, one value a seed.

    Raises InputError, one line each, for a run that was not evaluated, a metric that it lacks or has not for every seed, too few seeds.
    """

    def __init__(self, names: tuple[str, ...], metrics: Path, where: str, trained: Mapping[str, Sequence[int]] | None = None):
        """trained: the seeds of each run as its settings list them, in the order of its values."""
        self.names, self.folder, self.where = names, Path(metrics), where
        lists = {name: tuple(trained[name]) for name in dict.fromkeys(names)} if trained else {}
        shortest = min(map(len, lists.values()), default=0)
        for name, seeds in lists.items():
            if seeds[:shortest] != lists[names[0]][:shortest]:
                raise InputError(f"{where}: seeds {list(seeds)} of run {name} are not those of run {names[0]} ({list(lists[names[0]])}), "
                                 f"so nothing can be paired; list the same under runs.{name}.seeds and runs.{names[0]}.seeds")
        self.read = {name: self._read(name) for name in dict.fromkeys(names)}
        for name, read in self.read.items():
            told, kept = (max((count(found) for found in read.values()), default=1) for count in (
                lambda found: found.get("n", 1), lambda found: len(found.get("values", ()))))
            if told < PAIRS:
                raise InputError(
                    f"{where}: run {name} has {told} seed{'s' * (told > 1)} in {self.folder}, but a paired test needs at least "
                    f"{PAIRS}; list more under runs.{name}.seeds (the study profile does)"
                )
            if kept < told:
                raise InputError(f"{where}: {self.folder / name}.json has no values of single seeds; evaluate run {name} again")
        self.seeds = min(max(len(found.get("values", ())) for found in read.values()) for read in self.read.values())

    def _read(self, name: str) -> dict[str, dict]:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            raise InputError(f"{self.where}: run {name} has not been trained and measured (no {path}); "
                             f"run python -m pipelines.repro evaluate@{name} first")
        return {key: found for key, found in read_json(path).items() if isinstance(found, dict) and key not in ABOUT}

    def values(self, i: int, metric: str) -> tuple[float, ...]:
        name = self.names[i]
        found = self.read[name][choose(metric, self.read[name], f"{self.where}: metrics of run {name}", "metric")]
        if "values" not in found:
            raise InputError(f"{self.where}: {metric} of run {name} could not be measured for every seed ({found['n']} of {self.seeds}), "
                             f"so nothing can be paired; train run {name} longer, or with other settings")
        return tuple(found["values"][: self.seeds])

    def baseline(self, i: int, name: str, metric: str) -> float:
        """A metric of a baseline of the i-th run, its mean."""
        run = self.names[i]
        found = read_json(self.folder / f"{run}.json").get("baselines") or {}
        baseline = found[choose(name, found, f"{self.where}: baselines of run {run}", "baseline")]
        return baseline[choose(metric, baseline, f"{self.where}: {name} of run {run}", "metric")]["mean"]

    def less(self, a: int, b: int, metric: str, other: str = "") -> tuple[float, ...]:
        """metric of run a minus that of run b (`other` there, if given), seed by seed."""
        return tuple(x - y for x, y in zip(self.values(a, metric), self.values(b, other or metric), strict=True))

    def by_seed(self, metric: str, places: Iterable[int]) -> Figure:
        """A metric of some of the runs, a line each over the seeds."""
        found = [(self.names[i], list(enumerate(map(float, self.values(i, metric))))) for i in places]
        return Figure(f"{metric}, by seed", found, x="seed")
