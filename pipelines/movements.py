"""What moved between revisions, whether it is worse than the tolerances of params.yaml allow, and what changed beside it.

A movement of a metric is noise while it is smaller than z standard errors of the difference of two means over seeds, with the pooled
deviation  s² = ((n₁-1)s₁² + (n₂-1)s₂²) / (n₁+n₂-2)  and  SE = s √(1/n₁ + 1/n₂)  (the standard error of Student's two-sample statistic).
One seed on both sides has no deviation: the published study's is taken where it has the run with the same settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from pipelines.metrics import METRICS, Value, values
from pipelines.names import some
from pipelines.revisions import Revision, Workspace
from stages.params import Compare, leaves

STUDY, ENVIRONMENT = "reports/study", "reports/provenance.json"
DATA = ("data/raw/", "data/prepared/")


@dataclass(frozen=True)
class State:
    """What a revision says of its runs. `metrics` is {run: {(baseline or "", metric): Value}}; `broken` names unreadable files."""

    name: str
    commit: str
    metrics: dict[str, dict[tuple[str, str], Value]]
    splits: dict[str, str]
    nets: dict[str, tuple[str | None, str | None]]
    params: dict
    lock: dict
    environments: dict[str, dict]  # {run: what it ran on}
    study: dict[str, dict]
    broken: dict[str, str]

    @property
    def runs(self) -> dict:
        return self.params.get("runs") or {}


@dataclass(frozen=True)
class Movement:
    """One metric over the revisions. `gain` is last - first, positive when better; None without both or without a direction."""

    run: str
    baseline: str  # "" for the run itself
    metric: str
    better: str
    values: tuple[Value | None, ...]
    gain: float | None
    allowed: float | None  # how far it may move before it counts
    noise: str  # where the deviation over seeds is from; "" where there is none
    verdict: str  # regressed, improved, within, moved (no direction, or a baseline), same, new, gone, lost

    @property
    def change(self) -> float | None:
        first, last = self.values[0], self.values[-1]
        return last.mean - first.mean if first and last and first.mean is not None and last.mean is not None else None

    @property
    def relative(self) -> float | None:
        first = self.values[0].mean if self.values[0] else None
        return None if self.change is None or not first else self.change / abs(first)


@dataclass
class Comparison:
    """Movements with the worst first, then the best; `changes` is {run: {params | data | code: [text]}}."""

    states: list[State]
    movements: list[Movement]
    changes: dict[str, dict[str, list[str]]]
    warnings: list[str] = field(default_factory=list)

    @property
    def regressed(self) -> list[Movement]:
        return [movement for movement in self.movements if movement.verdict in ("regressed", "lost")]


def state(source: Workspace | Revision) -> State:
    """The state of a revision. What an old commit holds of unreadable files is noted, never an error."""
    broken: dict[str, str] = {}

    def table(path: str, parse) -> dict:
        content = source.read(path)
        try:
            found = {} if content is None else parse(content) or {}
        except (ValueError, yaml.YAMLError) as error:
            broken[path] = " ".join(str(error).split())
            return {}
        if not isinstance(found, dict):
            broken[path] = f"expected a mapping, found {type(found).__name__}"
            return {}
        return found

    def runs(folder: str) -> dict[str, dict]:
        return {path.rpartition("/")[2].removesuffix(".json"): table(path, json.loads) for path in source.listed(folder)}

    def safe_yaml(content: bytes):
        return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    found = {run: content for run, content in runs(METRICS).items() if f"{METRICS}/{run}.json" not in broken}
    lock = table("dvc.lock", safe_yaml).get("stages")
    noted = table(ENVIRONMENT, json.loads)
    environments = noted.get("environments") or {}
    return State(
        source.name, source.commit, {run: values(content) for run, content in found.items()},
        {run: str(content.get("split", "test")) for run, content in found.items()},
        {run: (content.get("features"), content.get("inception")) for run, content in found.items()},
        table("params.yaml", safe_yaml), lock if isinstance(lock, dict) else {},
        {run: environments[key] for run, key in (noted.get("runs") or {}).items() if key in environments}, runs(STUDY), broken)


def standard_error(first: Value, last: Value, study: Value | None = None) -> tuple[float, str]:
    """(standard error of the difference of the means, where its deviation is from); (0, "") where nothing is known of it."""
    degrees = spread = 0.0
    for side in (first, last):
        if side.sd is not None and side.n > 1:
            degrees += side.n - 1
            spread += (side.n - 1) * side.sd**2
    source = "seeds"
    if not degrees and study and study.sd is not None and study.n > 1:
        degrees, spread, source = study.n - 1, (study.n - 1) * study.sd**2, f"study, {study.n} seeds"
    if not degrees:
        return 0.0, ""
    return math.sqrt(spread / degrees * (1 / first.n + 1 / last.n)), source


def movement(run: str, key: tuple[str, str], found: Sequence[Value | None], better: str, compare: Compare, wanted: bool,
             study: Value | None = None, comparable: bool = True) -> Movement:
    """The metric `key` over the revisions, judged. `wanted`: the last revision still has the run."""
    baseline, metric = key
    first, last = found[0], found[-1]
    tolerance = compare.of(metric)
    better = tolerance.better or better
    there = [side is not None and side.mean is not None for side in (first, last)]
    if not all(there):
        verdict = "new" if there[1] else "lost" if there[0] and wanted and not baseline else "gone" if there[0] else "same"
        return Movement(run, baseline, metric, better, tuple(found), None, None, "", verdict)
    difference = last.mean - first.mean
    error, noise = standard_error(first, last, study)
    allowed = max(tolerance.absolute, tolerance.relative * abs(first.mean), compare.z * error)
    gain = {"higher": difference, "lower": -difference}.get(better)
    if not difference:
        verdict = "same"
    elif abs(difference) <= allowed * (1 + 1e-9):  # a movement of exactly what is allowed is allowed, also after rounding
        verdict = "within"
    elif gain is None or baseline or not comparable:
        verdict = "moved"
    else:
        verdict = "improved" if gain > 0 else "regressed"
    return Movement(run, baseline, metric, better, tuple(found), gain, allowed, noise, verdict)


def compared(states: Sequence[State], compare: Compare, better: Mapping[str, str]) -> Comparison:
    """Every metric of every run over `states`; the first is held against the last."""
    first, last = states[0], states[-1]
    renamed = renames(first, last)
    warnings = [f"{s.name}: {path}: not readable ({why}); its metrics are left out" for s in states for path, why in s.broken.items()]
    warnings += [f"run {old} is now called {new}" for new, old in renamed.items()]
    movements, changes = [], {}
    before = {old: new for new, old in renamed.items()}
    runs = dict.fromkeys(before.get(run, run) for s in states for run in s.metrics)
    for run in runs:
        names = [renamed.get(run, run) if renamed.get(run) in s.metrics else run for s in states]
        tables = [s.metrics.get(name, {}) for s, name in zip(states, names, strict=True)]
        unreadable = any(f"{METRICS}/{name}.json" in s.broken for s, name in zip(states, names, strict=True))
        splits = {s.splits[name] for s, name in zip(states, names, strict=True) if name in s.splits}
        if len(splits) > 1:
            warnings.append(f"{run}: measured on the validation split in one revision and on the test split in another; not comparable")
        changes[run] = changed(first, names[0], last, run)
        study = studied(last, run)
        for key in dict.fromkeys(key for table in tables for key in table):
            found = [table.get(key) for table in tables]
            movements.append(movement(run, key, found, better.get(key[1], "none"), compare, run in last.runs and not unreadable,
                                      study.get(key), len(splits) <= 1))
    warnings += [f"{run}: measured under another feature net; FID and its kin are not comparable" for run, net in last.nets.items()
                 if first.nets.get(renamed.get(run, run), net) != net]
    warnings += environment_warnings(first, last, renamed)
    return Comparison(list(states), sorted(movements, key=order), changes, list(dict.fromkeys(warnings)))  # a revision may be given twice


def order(item: Movement) -> tuple:
    """Lost and regressed first, the farthest beyond what is allowed leading; then improved, likewise; then what moved without meaning."""
    place = ("lost", "regressed", "improved", "moved", "within", "new", "gone", "same").index(item.verdict)
    far = 0.0 if item.change is None else math.inf if not item.allowed else abs(item.change) / item.allowed
    return place, -far, -abs(item.relative or 0.0), bool(item.baseline), item.run, item.baseline, item.metric


def renames(first: State, last: State) -> dict[str, str]:
    """{new name: old name} of runs whose entry in params.yaml is the same under another name, where it can be only one."""
    gone = [run for run in first.runs if run not in last.runs and run in first.metrics]
    added = [run for run in last.runs if run not in first.runs and run in last.metrics]
    pairs = {new: [old for old in gone if first.runs[old] == last.runs[new]] for new in added}
    claimed = [old for olds in pairs.values() for old in olds]
    return {new: olds[0] for new, olds in pairs.items() if len(olds) == 1 and claimed.count(olds[0]) == 1}


def studied(last: State, run: str) -> dict[tuple[str, str], Value]:
    """The published values of `run` where the study trained it with the settings it has now, seeds aside."""
    published = last.study.get(run) or {}
    entry = last.runs.get(run)
    if not isinstance(entry, dict) or not isinstance(published.get("params"), dict):
        return {}
    now = {**entry, "train": {**(last.params.get("train") or {}), **(entry.get("train") or {})}}
    same = all(now.get(key) == published["params"].get(key) for key in {*now, *published["params"]} - {"seeds"})
    return values(published) if same else {}


def changed(first: State, old: str, last: State, new: str) -> dict[str, list[str]]:
    """What differs in what the metrics of the run rest on, by dvc.lock: parameters, data, code."""
    a, b = rests_on(first.lock, f"{METRICS}/{old}.json"), rests_on(last.lock, f"{METRICS}/{new}.json")
    if not a["code"] or not b["code"]:
        return {}
    found = {"params": [f"{key}: {told(a['params'], key)} → {told(b['params'], key)}" for key in different(a["params"], b["params"])]}
    found |= {kind: different(a[kind], b[kind]) for kind in ("data", "code")}
    return {kind: lines for kind, lines in found.items() if lines}


def told(table: Mapping, key: str) -> str:
    return json.dumps(table[key], ensure_ascii=False) if key in table else "none"


def different(a: Mapping, b: Mapping) -> list[str]:
    return [key for key in dict.fromkeys([*a, *b]) if key not in a or key not in b or a[key] != b[key]]


def rests_on(lock: Mapping, path: str) -> dict[str, dict]:
    """{params, data, code: {name: value or hash}} of the stage that wrote `path` and of every stage behind it, by dvc.lock.

    Data are the raw and prepared tables, code is what no stage wrote. The run's own parameters are named without it (`model.beta`).
    """
    made = {out["path"]: name for name, stage in lock.items() for out in stage.get("outs") or ()}
    found: dict[str, dict] = {"params": {}, "data": {}, "code": {}}
    own = f"runs.{(made.get(path) or '').partition('@')[2]}."
    waiting, seen = [made.get(path)], {None}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        stage = lock[name]
        for file, table in (stage.get("params") or {}).items():
            for key, entry in (table or {}).items():
                prefix = "" if file == "params.yaml" else f"{file}: "
                found["params"] |= {prefix + leaf: value for leaf, value in leaves(entry, key.removeprefix(own))}
        for out in stage.get("outs") or ():
            if out["path"].startswith(DATA):
                found["data"][out["path"]] = out.get("md5")
        for dep in stage.get("deps") or ():
            if dep["path"] in made:
                waiting.append(made[dep["path"]])
            else:
                found["code"][dep["path"]] = dep.get("md5")
    return found


def environment_warnings(first: State, last: State, renamed: Mapping[str, str]) -> list[str]:
    """A line a difference of machine, instruction set or library between what the same run ran on; the runs it is of in brackets."""
    differences: dict[str, list[str]] = {}
    unknown = [s.name for s in (first, last) if s.metrics and not s.environments]
    for run in last.metrics:
        a, b = first.environments.get(renamed.get(run, run)), last.environments.get(run)
        if a is None or b is None:
            continue
        a, b = ({**{key: entry for key, entry in side.items() if key != "versions"}, **side.get("versions", {})} for side in (a, b))
        for key in different(a, b):
            differences.setdefault(f"{key}: {shown(a.get(key))} → {shown(b.get(key))}", []).append(run)
    lines = [f"not the same environment: {text} ({some(runs)})" for text, runs in differences.items()]
    return lines + [f"{name}: no record of machine and libraries ({ENVIRONMENT}); differences of them cannot be told" for name in unknown]


def shown(entry) -> str:
    return "none" if entry is None else " ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
