"""params.yaml -> checked settings. Every wrong key, type, value or reference is one clear line.

What a family, a source or a suite of expectations takes is checked by whoever reads it, and by `python -m stages.check` before any work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from stages.settings import InputError, choose, configure, field

Domain = Literal["receipts", "corpora", "graphs", "images"]
NO_FEATURES = "none"
RUNS = 5  # of a comparison: dvc.yaml names the metrics of each as a dependency, and a list there has one length
COMMANDS = ("encode", "sample", "similar", "translate")  # of `python -m stages.evaluate`, which takes a run's name in their place
NAMES = Path(__file__).parent / "evaluate" / "names.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Split:
    salt: str
    valid: float = field(0.1, low=0.0, high=0.5)
    test: float = field(0.1, low=0.0, high=0.5)


@dataclass(frozen=True)
class Dataset:
    domain: Domain
    source: Literal["builtin", "public", "path"]
    name: str
    options: dict
    validate: dict
    prepare: dict


@dataclass(frozen=True)
class Run:
    family: str
    dataset: str
    features: str
    seeds: tuple[int, ...] = field((0,), low=0)
    model: dict = field({})
    train: dict = field({})
    evaluate: dict = field({})


@dataclass(frozen=True)
class Claim:
    theme: str
    seeds: tuple[int, ...] = field((0,), low=0)
    settings: dict = field({})


@dataclass(frozen=True)
class Comparison:
    """A claim that reads the metrics of trained runs. `runs` has RUNS names: one that needs fewer repeats its last."""

    theme: str
    runs: tuple[str, ...]
    settings: dict = field({})


@dataclass(frozen=True)
class Tolerance:
    """How far a metric may move to the worse; what is null is the default's. `better` wins over the direction of names.json."""

    absolute: float | None = field(None, low=0.0)
    relative: float | None = field(None, low=0.0)
    better: Literal["higher", "lower", "none"] | None = None


@dataclass(frozen=True)
class Compare:
    """When a metric counts as worse than it was; read by pipelines.compare and the nightly flow, by no stage."""

    absolute: float = field(0.0, low=0.0)  # in the metric's own unit
    relative: float = field(0.02, low=0.0)  # share of the earlier value
    z: float = field(2.0, low=0.0)  # standard errors over seeds within which a movement is noise
    metrics: dict[str, Tolerance] = field({})

    def of(self, metric: str) -> Tolerance:
        """The tolerance of `metric`, filled up from the defaults."""
        own = self.metrics.get(metric, Tolerance())
        return Tolerance(self.absolute if own.absolute is None else own.absolute,
                         self.relative if own.relative is None else own.relative, own.better)


@dataclass(frozen=True)
class Params:
    split: Split
    validate: dict[str, dict]
    datasets: dict[str, Dataset]
    train: dict
    runs: dict[str, Run]
    claims: dict[str, Claim] = field({})
    comparisons: dict[str, Comparison] = field({})
    compare: Compare = Compare()

    def dataset(self, name: str) -> Dataset:
        return self.datasets[choose(name, self.datasets, "datasets", "dataset")]

    def run(self, name: str) -> Run:
        return self.runs[choose(name, self.runs, "runs", "run")]

    def claim(self, name: str) -> Claim | Comparison:
        known = {**self.claims, **self.comparisons}
        return known[choose(name, known, "claims", "claim")]


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice: the second would win in silence."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise InputError(f"{self.name}: line {key_node.start_mark.line + 1}: the key {key!r} stands twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path):
    """The YAML file as plain Python. Raises InputError with the line for what is not YAML."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.load(stream, _Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the project's root or name it with --params") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise InputError(f"{path}:{place} not YAML: {getattr(error, 'problem', None) or error}") from None


def load(path: Path = Path("params.yaml")) -> Params:
    """The checked content of params.yaml (structure, names and references)."""
    params = configure(Params, read_yaml(path), str(path))
    if params.split.valid + params.split.test > 0.8:
        share = params.split.valid + params.split.test
        raise InputError(f"{path}.split: valid + test = {share:g} leaves too little to train on; allowed: at most 0.8")
    for kind, entries in (("datasets", params.datasets), ("runs", params.runs), ("claims", params.claims),
                          ("comparisons", params.comparisons)):
        for name in entries:
            if not _NAME.fullmatch(name):
                raise InputError(f"{path}.{kind}.{name}: not a usable name; allowed: lower-case letters, digits, '-' and '_' (no dots)")
            if name == NO_FEATURES:
                raise InputError(f"{path}.{kind}.{name}: the name {NO_FEATURES!r} means 'no feature net' under features:; choose another")
    for domain in params.validate:
        choose(domain, Domain.__args__, f"{path}.validate", "domain")
    for name, run in params.runs.items():
        where = f"{path}.runs.{name}"
        choose(run.dataset, params.datasets, f"{where}.dataset", "dataset")
        if name in COMMANDS:
            raise InputError(f"{where}: python -m stages.evaluate {name} is a command; choose another name for the run")
        if run.features != NO_FEATURES:
            choose(run.features, [*params.runs, NO_FEATURES], f"{where}.features", "run")
        if not run.seeds or len(set(run.seeds)) != len(run.seeds):
            raise InputError(f"{where}.seeds: expected at least one seed, each once, found {list(run.seeds)}")
    for name, claim in params.claims.items():
        if not claim.seeds or len(set(claim.seeds)) != len(claim.seeds):
            raise InputError(f"{path}.claims.{name}.seeds: expected at least one seed, each once, found {list(claim.seeds)}")
    for name, comparison in params.comparisons.items():
        where = f"{path}.comparisons.{name}"
        if name in params.claims:
            raise InputError(f"{where}: {name} stands under claims: too; keep one")
        if len(comparison.runs) != RUNS:
            raise InputError(f"{where}.runs: expected {RUNS} names, found {len(comparison.runs)}; repeat the last where fewer are compared")
        for run in comparison.runs:
            choose(run, params.runs, f"{where}.runs", "run")
    known_metrics(params.compare, f"{path}.compare")
    return params


def known_metrics(compare: Compare, where: str) -> Compare:
    """`compare` if every metric in it is one of names.json."""
    names = json.loads(NAMES.read_text(encoding="utf-8")) if compare.metrics else {}
    for metric in compare.metrics:
        choose(metric, names, f"{where}.metrics", "metric")
    return compare


def leaves(value, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every leaf of nested mappings; an empty mapping and a list are leaves."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
