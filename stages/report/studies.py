"""What was published of larger profiles (reports/study, reports/paper), the literature beside it, and the questions that both answer.

questions.yaml, published.yaml and goals.yaml beside this file are the report's own tables: a question names the runs that differ in one
switch, a published figure says where it was read and under which protocol, a goal what a run was to reach.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.files import read_json
from stages.params import leaves, read_yaml
from stages.report.benches import Bench, read_benches
from stages.report.compare import MetricLine, finite, metric_line
from stages.report.goals import Goal, read_goals
from stages.report.inputs import Inputs, Metrics, Name, Picture, known, mapping, parse_metrics, png_size, sequence
from stages.report.numbers import name_of, number, student
from stages.settings import field

HERE = Path(__file__).parent
PROFILES = {
    "study": ("Over seeds", "Built-in data, several seeds a run, and the variants that only a comparison needs (profiles/study.yaml)."),
    "paper": ("On public data", "The data sets of the literature (profiles/paper.yaml), with the time and the machine it took."),
}
# of a published file, not metrics
ABOUT = ("profile", "commit", "params", "dataset", "data", "versions", "machine", "hours", "protocol", "picture")


@dataclass(frozen=True)
class Study:
    """A published run: metrics over its seeds, and what they rest on."""

    name: str
    profile: str
    metrics: Metrics
    domain: str | None
    params: dict
    commit: str | None
    machine: dict
    hours: float | None
    picture: Picture | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of the literature for a metric of ours; `checked`: read in a public file, not recalled from the paper."""

    metric: str
    figure: float
    source: str
    protocol: str
    checked: bool = False


@dataclass(frozen=True)
class Question:
    """A question that runs differing in one switch answer."""

    question: str
    fa: str
    about: str
    metrics: list[str]
    runs: list[str] = field([])


@dataclass(frozen=True)
class Answer:
    """A question in one profile and on one dataset: a column a run, a line a metric, and what the first metric says in words."""

    profile: str
    dataset: str
    runs: list[str]
    lines: list[MetricLine]
    sentence: str
    differ: list[tuple[str, list]]  # settings in which the runs differ, with each run's value


@dataclass(frozen=True)
class Beyond:
    """All that the report shows from beyond the workspace's own runs."""

    studies: dict[str, dict[str, Study]] = field({})
    questions: dict[str, Question] = field({})
    figures: dict[str, list[Figure]] = field({})
    goals: dict[str, dict[str, list[Goal]]] = field({})
    benches: list[Bench] = field([])


def read_beyond(reports: Path, benches: Path) -> Beyond:
    return Beyond(read_studies(reports), read_questions(), read_figures(), read_goals(), read_benches(benches))


def read_studies(reports: Path) -> dict[str, dict[str, Study]]:
    """{profile: {run: Study}} of what `python -m pipelines.publish` wrote."""
    return {profile: {path.stem: read_study(path, profile) for path in sorted((reports / profile).glob("*.json"))} for profile in PROFILES}


def read_study(path: Path, profile: str) -> Study:
    given = mapping(read_json(path), path)
    params, dataset = mapping(given.get("params") or {}, f"{path}: params"), mapping(given.get("dataset") or {}, f"{path}: dataset")
    hours = given.get("hours")
    return Study(path.stem, profile, parse_metrics({key: value for key, value in given.items() if key not in ABOUT}, path),
                 dataset.get("domain"), params, given.get("commit"), mapping(given.get("machine") or {}, f"{path}: machine"),
                 float(hours) if isinstance(hours, (int, float)) else None, read_picture(given.get("picture"), path))


def read_picture(given, path: Path) -> Picture | None:
    """What a published run makes, in the file of its name beside its metrics; None where none was published."""
    if given is None:
        return None
    picture = known(Picture, {**mapping(given, f"{path}: picture"), "file": f"{path.stem}.png"}, f"{path}: picture")
    width, height = png_size(path.parent, picture.file, f"{path}: picture", f"python -m pipelines.publish {path.parent.name}")
    return dataclasses.replace(picture, width=width, height=height)


def read_questions(path: Path = HERE / "questions.yaml") -> dict[str, Question]:
    return {key: known(Question, entry, f"{path}: {key}") for key, entry in mapping(read_yaml(path), path).items()}


def read_figures(path: Path = HERE / "published.yaml") -> dict[str, list[Figure]]:
    """{run: figures of the literature for it}."""
    return {run: [known(Figure, entry, f"{path}: {run}[{i}]") for i, entry in enumerate(sequence(entries, f"{path}: {run}"))]
            for run, entries in mapping(read_yaml(path), path).items()}


def answers(question: Question, inputs: Inputs, studies: Mapping[str, Mapping[str, Study]]) -> list[Answer]:
    """The question in the workspace and in every profile, on each dataset on which at least two of its runs are measured."""
    measured = {}
    for name, run in inputs.runs.items():
        if run.metrics:
            chosen = settings(run.settings.model, {**inputs.common, **run.settings.train})
            measured["workspace", name] = run.settings.dataset, run.metrics, chosen
    for profile, studied in studies.items():
        for name, s in studied.items():
            chosen = settings(s.params.get("model"), s.params.get("train"))
            measured[profile, name] = s.params.get("dataset") or "", s.metrics, chosen
    found = []
    for profile, dataset in dict.fromkeys((profile, entry[0]) for (profile, _), entry in measured.items()):
        here = {name: entry[1:] for (other, name), entry in measured.items() if (other, entry[0]) == (profile, dataset)}
        runs = [name for name in question.runs if name in here]
        if len(runs) < 2:
            continue
        lines = []
        for key in question.metrics:
            columns = [(name, False, finite([here[name][0].values.get(key)])) for name in runs]
            if sum(bool(values) for _, _, values in columns) > 1:
                lines.append(metric_line(inputs.names, key, columns))
        if lines:
            keys = dict.fromkeys(key for name in runs for key in here[name][1])
            values = [(key, [here[name][1].get(key) for name in runs]) for key in keys]
            differ = [(key, row) for key, row in values if any(value != row[0] for value in row)]
            found.append(Answer(profile, dataset, runs, lines, sentence(inputs.names, runs, lines[0]), differ))
    return found


def settings(model, train) -> dict:
    return {f"{part}.{key}": value for part, given in (("model", model), ("train", train)) for key, value in leaves(given or {}) if key}


def sentence(names: Mapping[str, Name], runs: list[str], line: MetricLine) -> str:
    """What a line says: the best run and how far the others are, with a 95 % interval (Welch) where both have several seeds."""
    name = name_of(names, line.key)
    measured = [(run, cell.values[0]) for run, cell in zip(runs, line.cells, strict=True) if cell.values]
    if name.better == "none" or len(measured) < 2:
        return ""
    measured.sort(key=lambda pair: pair[1].mean, reverse=name.better == "higher")
    best, value = measured[0]
    if all(beside.mean == value.mean for _, beside in measured):
        return f"{name.title}: {number(value.mean)} for all."
    parts = []
    for other, beside in measured[1:]:
        gap, margin = abs(value.mean - beside.mean), welch(value, beside)
        if margin is None:
            parts.append(f"{number(gap)} from {other} (one seed: no interval)")
        else:
            verdict = "" if gap > margin else ", not decided"
            parts.append(f"{number(gap)} ± {number(margin, 2)} from {other}{verdict}")
    return f"{name.title}: best is {best} ({number(value.mean)}); " + "; ".join(parts) + "."


def welch(a, b) -> float | None:
    """Half the width of the 95 % interval of a difference of means; None unless both have a deviation over at least two seeds."""
    if a.n < 2 or b.n < 2 or a.sd is None or b.sd is None:
        return None
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    if va + vb == 0:
        return 0.0
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    return student(freedom) * math.sqrt(va + vb)
