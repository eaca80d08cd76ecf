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
from pipelines.summary import read_yaml
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
    """The effect of every leaf of `root`/params.yaml, in the file's order."""
    params = read_yaml(root / "params.yaml")
    with tempfile.TemporaryDirectory(prefix="baznama-staleness-") as folder:
        project = Path(folder).resolve()
        graph = _committed_copy(root, project)
        reads = _readers(graph, read_yaml(root / "dvc.yaml"))
        with _files_read_once():
            return [_effect(project, params, leaf, value, reads) for leaf, value in leaves(params)]


def _effect(project: Path, params: dict, leaf: str, value, reads: dict[str, set[str]]) -> Effect:
    changed = copy.deepcopy(params)
    *way, last = leaf.split(".")
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = other(value, leaf, params)
    _write(project / "params.yaml", changed)
    graph = Graph(project)
    stale = list(graph.stale())
    readers = [name for name in graph.stages if any(covers(key, leaf) for key in reads.get(name, ()))]
    return Effect(leaf, tuple(stale), tuple(name for name in graph.downstream(stale) if name not in stale), tuple(readers))


def covers(declared: str, leaf: str) -> bool:
    """Whether a stage that declares the key `declared` reads `leaf`."""
    return declared == "" or leaf == declared or leaf.startswith(declared + ".")


def _readers(graph: Graph, text: dict) -> dict[str, set[str]]:
    """{stage: keys of params.yaml it reads}: those it declares, and those that its entry in dvc.yaml puts into commands and paths."""
    reads = {name: {key for file, key in stage.params if file == "params.yaml"} for name, stage in graph.stages.items()}
    for group, entry in text["stages"].items():
        source = re.fullmatch(r"\$\{([\w.-]+)\}", str(entry.get("foreach", "")))
        put_in = set(re.findall(r"\$\{([\w.-]+)\}", json.dumps(entry.get("do", entry))))
        for name, stage in graph.stages.items():
            if stage.group == group:
                key = name.partition("@")[2]
                reads[name] |= {f"{source[1]}.{key}.{item[5:]}" for item in put_in if source and item.startswith("item.")}
                reads[name] |= {item for item in put_in if item not in ("key", "item") and not item.startswith("item.")}
    return reads


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
    return graph


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
