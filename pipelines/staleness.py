"""Which stages a change of each leaf of params.yaml makes stale: found by really changing it and asking DVC.

The experiment happens in a throw-away project with the real params.yaml and dvc.yaml, where every dependency and output is a dummy file and
`dvc commit` has declared everything up to date. `python -m pipelines.graph --table` writes the result as docs/staleness.md.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.graph import Graph
from pipelines.yaml_file import read_yaml
from stages.files import replacing
from stages.params import leaves

TABLE = Path("docs/staleness.md")
HEAD = """# What a change of params.yaml reruns

Written by `python -m pipelines.graph --table` and held by a test: each leaf was changed in a copy of the project and DVC was asked.
The stages that read the leaf are stale at once; what hangs on their outputs follows, where those come out different.

| leaf | read by | then |
|---|---|---|
"""


@dataclass(frozen=True)
class Effect:
    """What changing one leaf does: stages DVC finds stale, what hangs on them, and the stages that say they read it."""

    leaf: str
    stale: tuple[str, ...]
    downstream: tuple[str, ...]
    readers: tuple[str, ...]


def effects(root: Path) -> list[Effect]:
    """The effect of every leaf of `root`/params.yaml, in the file's order.

    Whether a stage's parameters changed is asked leaf by leaf. Whether its definition did (a value that dvc.yaml puts into commands and
    paths) needs the graph built anew, a second at 130 stages: leaves that dvc.yaml puts into different stages are changed together,
    and what none of them explains has all of them changed once more, each alone.
    """
    params = read_yaml(root / "params.yaml")
    with tempfile.TemporaryDirectory(prefix="baznama-staleness-") as folder:
        project = Path(folder).resolve()
        graph = _committed_copy(root, project)
        text = read_yaml(root / "dvc.yaml")
        put_in = _put_in(graph, text)
        tables = {entry["foreach"] for entry in text["stages"].values() if "foreach" in entry}
        values = {leaf: value for leaf, value in leaves(params) if value or f"${{{leaf}}}" not in tables}  # without entries: no leaves
        users = {leaf: {name for name, keys in put_in.items() if any(covers(key, leaf) for key in keys)} for leaf in values}
        with _files_read_once():
            changed = {}
            for together in _apart(users):
                changed.update(_redefined(project, params, {leaf: values[leaf] for leaf in together}, users))
            found = []
            for leaf, value in values.items():
                redefined, behind = changed[leaf]
                stale = {*graph.reading(_with(params, {leaf: value})), *redefined}
                readers = [name for name, stage in graph.stages.items()
                           if name in users[leaf] or any(covers(key, leaf) for file, key in stage.params if file == "params.yaml")]
                found.append(Effect(leaf, _ordered(graph, stale), tuple(name for name in behind.downstream(stale) if name not in stale),
                                    tuple(readers)))
    return found


def _apart(users: dict[str, set[str]]) -> list[list[str]]:
    """The leaves in batches in which no two are put into the same stage and all have the same last key: what goes for one goes for all."""
    batches: list[tuple[str, set[str], list[str]]] = []
    for leaf, stages in users.items():
        kind = leaf.rpartition(".")[2] if stages else ""
        fitting = next((batch for batch in batches if batch[0] == kind and batch[1].isdisjoint(stages)), None)
        if fitting is None:
            batches.append((kind, set(stages), [leaf]))
        else:
            fitting[1].update(stages)
            fitting[2].append(leaf)
    return [batch[2] for batch in batches]


def _redefined(project: Path, params: dict, together: dict, users: dict[str, set[str]]) -> dict[str, tuple[set[str], Graph]]:
    """{leaf: (stages stale for another reason than their parameters, the graph then)}, all leaves of `together` changed at once."""
    _write(project / "params.yaml", _with(params, together))
    graph = Graph(project)
    other_reasons = {name for name, why in graph.stale().items() if not all(reason.startswith("params.yaml: ") for reason in why)}
    _write(project / "params.yaml", params)
    if len(together) > 1 and not other_reasons <= set().union(*(users[leaf] for leaf in together)):
        return {leaf: found for one in together for leaf, found in _redefined(project, params, {one: together[one]}, users).items()}
    return {leaf: (other_reasons & users[leaf] if len(together) > 1 else other_reasons, graph) for leaf in together}


def _with(params: dict, together: dict) -> dict:
    """`params` with another value at each of these leaves."""
    changed = copy.deepcopy(params)
    for leaf, value in together.items():
        *way, last = leaf.split(".")
        inner = changed
        for key in way:
            inner = inner[key]
        inner[last] = other(value, leaf, params)
    return changed


def _ordered(graph: Graph, names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in graph.stages if name in names)


def covers(declared: str, leaf: str) -> bool:
    """Whether a stage that declares the key `declared` reads `leaf`."""
    return declared == "" or leaf == declared or leaf.startswith(declared + ".")


def _put_in(graph: Graph, text: dict) -> dict[str, set[str]]:
    """{stage: keys of params.yaml that its entry in dvc.yaml puts into commands and paths}."""
    found: dict[str, set[str]] = {name: set() for name in graph.stages}
    for group, entry in text["stages"].items():
        source = re.fullmatch(r"\$\{([\w.-]+)\}", str(entry.get("foreach", "")))
        put_in = set(re.findall(r"\$\{([\w.-]+)\}", json.dumps(entry.get("do", entry))))
        for name, stage in graph.stages.items():
            if stage.group == group:
                key = name.partition("@")[2]
                found[name] |= {f"{source[1]}.{key}.{item[5:]}" for item in put_in if source and item.startswith("item.")}
                found[name] |= {item for item in put_in if item not in ("key", "item") and not item.startswith("item.")}
    return found


def other(value, leaf: str, params: dict):
    """Another value of the same type; text becomes what a leaf of the same name has elsewhere, so that references still point somewhere."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        name = leaf.rpartition(".")[2]
        found = (v for path, v in leaves(params) if path.rpartition(".")[2] == name and isinstance(v, str) and v != value)
        return next(found, value + "-changed")
    if isinstance(value, list):
        return [*value, value[-1] + 1 if value and isinstance(value[-1], int) else "changed"]
    return {"changed": 1}


def _committed_copy(root: Path, project: Path) -> Graph:
    """The project with dummy files, everything up to date; dvc.lock is DVC's own."""
    import logging

    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)
    params = read_yaml(root / "params.yaml")
    _write(project / "params.yaml", params)
    (project / "dvc.yaml").write_bytes((root / "dvc.yaml").read_bytes())
    _file(project / ".dvc" / "config", "[core]\n    no_scm = true\n    analytics = false\n")
    graph = Graph(project)
    tables: dict[str, dict] = {}
    for stage in graph.stages.values():
        for file, key in stage.params:
            if file != "params.yaml":
                tables.setdefault(file, {})[key] = 0
    for file, table in tables.items():
        _file(project / file, json.dumps(table))
    for path in [path for stage in graph.stages.values() for path in stage.outs]:
        _file(project / path if Path(path).suffix else project / path / "dummy", "1")
    for path in [path for stage in graph.stages.values() for path in stage.deps]:
        if not (project / path).exists():
            _file(project / path if Path(path).suffix else project / path / "dummy", "1")
    with contextlib.chdir(project):  # DVC's run cache names stages from the working directory
        Repo().commit(force=True)
    return Graph(project)


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write(path: Path, params: dict) -> None:
    path.write_text(json.dumps(params))  # JSON is YAML; DVC reads it a little faster


@contextlib.contextmanager
def _files_read_once() -> Iterator[None]:
    """Only params.yaml changes once all is committed: dvc.yaml and dvc.lock are parsed once, and DVC's answer for any other file with the
    same recorded hash stays the same."""
    import dvc.utils.strictyaml as strictyaml
    from dvc.dependency import ParamsDependency
    from dvc.dependency.base import Dependency
    from dvc.output import Output

    originals = {kind: kind.status for kind in (Dependency, Output)}
    answers: dict[tuple, dict] = {}
    load, parsed = strictyaml.load, {}

    def load_once(path, *args, **kwargs):
        if path not in parsed:
            parsed[path] = load(path, *args, **kwargs)
        return copy.deepcopy(parsed[path])

    def remembered(kind):
        def status(self):
            key = (kind, self.fs_path, str(self.hash_info), self.use_cache)
            if isinstance(self, ParamsDependency) or key not in answers:
                answers[key] = originals[kind](self)
            return answers[key]
        return status

    for kind in originals:
        kind.status = remembered(kind)
    strictyaml.load = load_once
    try:
        yield
    finally:
        strictyaml.load = load
        for kind, original in originals.items():
            kind.status = original


def table(found: list[Effect]) -> str:
    """docs/staleness.md; leaves that stand together and do the same share a row."""
    rows: list[tuple[list[str], Effect]] = []
    for effect in found:
        if rows and _does(rows[-1][1]) == _does(effect):
            rows[-1][0].append(effect.leaf)
        else:
            rows.append(([effect.leaf], effect))
    lines = [f"| {'<br>'.join(f'`{leaf}`' for leaf in same)} | {_names(effect.stale)} | {_names(effect.downstream)} |"
             for same, effect in rows]
    return HEAD + "\n".join(lines) + "\n"


def _does(effect: Effect) -> tuple:
    return effect.leaf.rpartition(".")[0], effect.stale, effect.downstream


def _names(names: tuple[str, ...]) -> str:
    """`train@{a, b}, report`: stages of one entry together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        group, _, key = name.partition("@")
        groups.setdefault(group, []).extend([key] if key else [])
    return ", ".join(f"{group}@{keys[0]}" if len(keys) == 1 else f"{group}@{{{', '.join(keys)}}}" if keys else group
                     for group, keys in groups.items()) or "nothing"


def write_table(root: Path) -> Path:
    with replacing(root / TABLE) as temporary:
        temporary.write_text(table(effects(root)), encoding="utf-8")
    return root / TABLE
