"""The 2 x 2 of BigBiGAN's unary scores: each cell measured, and the effect of each switch over seeds, computed, not written by hand.

Four runs of the family that differ in `unary_x` and `unary_z` alone, on one dataset, are a square; runs are found by their settings, not
by their names. Cells share their seeds, and with them initial weights and batches, so that effects are differences within a seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from stages.report.inputs import Inputs, Metrics, Name, Run, Value
from stages.report.numbers import name_of, number, student
from stages.report.studies import Study

FAMILY, SWITCHES = "bigbigan", ("unary_x", "unary_z")
CELLS = ((True, True), (True, False), (False, True), (False, False))
CODE = ("categories", "continuous", "head", "weight")  # a square with a code stands beside the square without
METRICS = ("fid", "probe_accuracy", "hungarian_accuracy", "reconstruction_ratio", "confident_share")


@dataclass(frozen=True)
class Cell:
    name: str
    metrics: Metrics
    run: Run | None  # of the workspace, with its pictures; None of a published run
    study: Study | None = None  # of a published run

    def value(self, key: str) -> Value | None:
        return self.metrics.values.get(key)


@dataclass(frozen=True)
class Square:
    profile: str
    dataset: str
    coded: bool
    cells: dict[tuple[bool, bool], Cell]
    metrics: list[str]
    sentences: list[str]


def squares(inputs: Inputs, studies: Mapping[str, Mapping[str, Study]]) -> list[Square]:
    """Every square that is measured in all four cells, in the workspace and in what was published; those without a code first."""
    entries = [("workspace", run.settings.dataset, run.settings.family, dict(run.settings.model), dict(run.settings.train),
                Cell(name, run.metrics, run)) for name, run in inputs.runs.items() if run.metrics]
    for profile, studied in studies.items():
        entries += [(profile, s.params.get("dataset") or "", s.params.get("family"), dict(s.params.get("model") or {}),
                     dict(s.params.get("train") or {}), Cell(name, s.metrics, None, s)) for name, s in studied.items()]
    groups: dict[tuple[str, ...], dict[tuple[bool, bool], Cell]] = {}
    for profile, dataset, family, model, train, cell in entries:
        if family != FAMILY or model.get("objective", "hinge") != "hinge":
            continue
        place = tuple(bool(model.pop(switch, True)) for switch in SWITCHES)
        code = {key: model.pop(key) for key in CODE if key in model}
        rest = json.dumps([model, train], sort_keys=True)
        groups.setdefault((profile, dataset, rest, json.dumps(code, sort_keys=True)), {})[place] = cell
    whole = {key: cells for key, cells in groups.items() if set(cells) == set(CELLS)}
    found = []
    order = sorted(whole, key=lambda key: (key[0] != "workspace", key[:2], key[3]))
    for (profile, dataset, rest, code), cells in ((key, whole[key]) for key in order):
        coded = "categories" in json.loads(code)
        keys = [key for key in METRICS if all(cell.value(key) for cell in cells.values())]
        sentences = [said for key in keys for said in effects(inputs.names, key, cells)]
        plain = whole.get((profile, dataset, rest, "{}"))
        if coded and plain:
            sentences += [said for key in keys if (said := effect_of_code(inputs.names, key, cells, plain))]
        found.append(Square(profile, dataset, coded, {place: cells[place] for place in CELLS}, keys, sentences))
    return sorted(found, key=lambda square: square.coded)


def effects(names: Mapping[str, Name], key: str, cells: Mapping[tuple[bool, bool], Cell]) -> list[str]:
    """What each switch does to a metric, the other one averaged over, and how far the effects of both depend on one another."""
    by_seed = {place: seeds(cells[place].value(key)) for place in CELLS}
    if len({len(values) for values in by_seed.values()}) != 1:
        return []
    both, x_alone, z_alone, neither = (by_seed[place] for place in CELLS)
    rows = list(zip(both, x_alone, z_alone, neither, strict=True))
    return [sentence(names, key, "s_x on", [(a + b - c - d) / 2 for a, b, c, d in rows]),
            sentence(names, key, "s_z on", [(a - b + c - d) / 2 for a, b, c, d in rows]),
            sentence(names, key, "both on, beyond the sum of the two,", [a - b - c + d for a, b, c, d in rows])]


def effect_of_code(names: Mapping[str, Name], key: str, coded: Mapping[tuple[bool, bool], Cell],
                   plain: Mapping[tuple[bool, bool], Cell]) -> str:
    """What the code and its head do to a metric, the four cells averaged over; nothing where k-means stands in the head's place."""
    if key == "hungarian_accuracy":
        return ""
    by_seed = [[seeds(cells[place].value(key)) for place in CELLS] for cells in (coded, plain)]
    if len({len(values) for four in by_seed for values in four}) != 1:
        return ""
    gaps = [fmean(a) - fmean(b) for a, b in zip(zip(*by_seed[0], strict=True), zip(*by_seed[1], strict=True), strict=True)]
    return sentence(names, key, "the code and its head", gaps)


def seeds(value: Value | None) -> list[float]:
    """The value of each seed, the same order in every cell; of one seed its only one, none where they were not kept."""
    if value is None or value.mean is None:
        return []
    return list(value.values) or ([value.mean] if value.n == 1 else [])


def sentence(names: Mapping[str, Name], key: str, what: str, gaps: list[float]) -> str:
    """The mean of paired differences with its 95 % interval (Student's t over seeds), and whether that decides a sign."""
    if not gaps:
        return ""
    title, mean = name_of(names, key).title, fmean(gaps)
    if len(gaps) == 1:
        return f"{title}: {what} changes it by {number(mean)} (one seed: no interval)."
    margin = student(len(gaps) - 1) * stdev(gaps) / math.sqrt(len(gaps))
    verdict = "not decided" if abs(mean) <= margin else "raises it" if mean > 0 else "lowers it"
    return f"{title}: {what} changes it by {number(mean)} ± {number(margin, 2)} ({len(gaps)} paired seeds): {verdict}."
