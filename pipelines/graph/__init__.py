"""The graph as DVC knows it, asked once and in process: stages, edges, what is stale and why, and what hangs on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.names import some
from pipelines.yaml_file import read_yaml
from stages.settings import InputError, nearest

os.environ.setdefault("DVC_NO_ANALYTICS", "1")


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml. `name` is relative to the project's root (DVC's own `addressing` depends on the working directory)."""

    name: str
    needs: tuple[str, ...]  # names of the stages whose outputs it reads
    params: tuple[tuple[str, str], ...]  # (file, dotted key) it reads; the key "" is the whole file
    deps: tuple[str, ...]  # paths it reads, relative to the root
    outs: tuple[str, ...]  # paths it writes
    resource: str  # cpu or gpu, from `meta: {resource: ...}`
    memory: float  # GB it asks for, from `meta: {memory: ...}`; 0 where it does not say
    uncached: tuple[str, ...] = ()  # those of its outputs that DVC does not keep in its cache (`cache: false`)
    threads: int = 1  # cores it keeps busy, from `meta: {threads: ...}` or the `train.threads` that it reads

    @property
    def group(self) -> str:
        """`train` of `train@vae`: the name of the entry in dvc.yaml."""
        return self.name.partition("@")[0]


class Graph:
    """All stages of the project at `root`, in an order in which they can run."""

    def __init__(self, root: Path = Path(".")):
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.repo.reproduce import plan_repro

        self.root = Path(root).resolve()
        self._params = read_yaml(self.root / "params.yaml")
        with one_line(DvcException, self.root):
            self._repo = Repo(str(self.root))
            edges = self._repo.index.graph
            self._dvc = {self._name(stage): stage for stage in plan_repro(edges)}  # the order of `dvc repro`
            self.stages = {name: self._described(name, stage, map(self._name, edges.successors(stage)))
                           for name, stage in self._dvc.items()}

    @property
    def cache(self) -> Path:
        """Where DVC keeps the files of this project, by their hash."""
        return Path(self._repo.cache.local.path)

    def _name(self, stage) -> str:
        name = getattr(stage, "name", None)
        if stage.path_in_repo == "dvc.yaml":
            return name
        return f"{stage.path_in_repo}:{name}" if name else stage.path_in_repo

    def _described(self, name: str, stage, needs: Iterable[str]) -> Stage:
        meta = stage.meta if isinstance(stage.meta, dict) else {}
        resource, memory = meta.get("resource", "cpu"), meta.get("memory", 0)
        if resource not in ("cpu", "gpu"):
            raise InputError(f"dvc.yaml: stage {name}: unknown meta.resource {resource!r}; allowed: cpu, gpu")
        if isinstance(memory, bool) or not isinstance(memory, (int, float)) or memory < 0:
            raise InputError(f"dvc.yaml: stage {name}: meta.memory is GB, a number of at least 0; found {memory!r}")
        threads = meta.get("threads")
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise InputError(f"dvc.yaml: stage {name}: meta.threads is cores, a whole number of at least 1; found {threads!r}")
        params = tuple((self._path(dep), key) for dep in stage.params for key in (dep.params or [""]))
        files = tuple(self._path(dep) for dep in stage.deps if dep not in stage.params)
        return Stage(name, tuple(sorted(needs)), params, files, tuple(self._path(out) for out in stage.outs), resource, float(memory),
                     tuple(self._path(out) for out in stage.outs if not out.use_cache),
                     threads or self._training_threads(params))

    def _training_threads(self, params: Iterable[tuple[str, str]]) -> int:
        """`threads` of the narrowest `train` among the parameters a stage reads; 1 where none says (stages.check tells what is wrong)."""
        found = 1
        for key in sorted((key for file, key in params if file == "params.yaml" and key.split(".")[-1] == "train"), key=len):
            value: object = self._params
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            number = value.get("threads") if isinstance(value, dict) else None
            found = number if isinstance(number, int) and number > 0 else found
        return found

    def _path(self, item) -> str:
        return os.path.relpath(item.fs_path, self.root) if item.fs.protocol == "local" else str(item)

    def resolve(self, targets: Iterable[str]) -> list[str]:
        """Names of the stages meant by `targets`: a stage, an entry of dvc.yaml with all its stages, or the path of an output."""
        groups: dict[str, list[str]] = {}
        paths = {}
        for stage in self.stages.values():
            groups.setdefault(stage.group, []).append(stage.name)
            paths.update(dict.fromkeys(stage.outs, stage.name))
        names = []
        for target in targets:
            if target in self.stages:
                names.append(target)
            elif target in groups:
                names.extend(groups[target])
            elif os.path.normpath(target) in paths:
                names.append(paths[os.path.normpath(target)])
            else:
                shown = ", ".join(groups)
                raise InputError(f"unknown target {target!r}; allowed: a stage, an output's path, or one of {shown or 'no stages'}"
                                 f"{nearest(target, [*self.stages, *groups, *paths])}")
        return list(dict.fromkeys(names))

    def upstream(self, names: Iterable[str]) -> list[str]:
        """`names` and everything they need, in running order."""
        wanted, waiting = set(), list(names)
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting.extend(self.stages[name].needs)
        return [name for name in self.stages if name in wanted]

    def downstream(self, names: Iterable[str]) -> list[str]:
        """`names` and everything that hangs on their outputs, in running order."""
        reached = set(names)
        for name, stage in self.stages.items():
            if not reached.isdisjoint(stage.needs):
                reached.add(name)
        return [name for name in self.stages if name in reached]

    def stale(self, names: Iterable[str] | None = None) -> dict[str, list[str]]:
        """{stage: why} of the stages that DVC would run as things are now; what hangs on them is not among them yet."""
        from dvc.exceptions import DvcException
        from dvc.lock import LockError

        try:
            with one_line(DvcException, self.root), _parameters_read_once({}), self._repo.lock:
                reasons = {name: self._reasons(self._dvc[name]) for name in (self.stages if names is None else names)}
        except LockError:
            raise InputError("another DVC command is at work in this workspace; wait for it, or end it, and run again") from None
        return {name: why for name, why in reasons.items() if why}

    def reading(self, params: dict) -> list[str]:
        """Stages that DVC would run because of their parameters alone, were `params` what params.yaml holds."""
        with _parameters_read_once({str(self.root / "params.yaml"): params}):
            return [name for name, stage in self._dvc.items() if any(dep.status() for dep in stage.params)]

    def _reasons(self, stage) -> list[str]:
        """The questions of `Repo.status`, without its lock file rewritten four times a stage: nothing else runs while we plan."""
        if stage.cmd and (stage.deps or stage.outs) and not any(item.hash_info for item in (*stage.deps, *stage.outs)):
            return ["never run"]
        reasons = ["its command changed"] if stage.changed_stage() else []
        if not stage.frozen:
            if stage.is_callback or stage.always_changed:
                reasons.append("it always runs")
            for dep in stage.deps:
                for change in dep.status().values():
                    if isinstance(change, dict):  # parameters: {key: what happened}
                        reasons.extend(f"{self._path(dep)}: {key} {what}" for key, what in change.items())
                    else:
                        reasons.append(f"{self._path(dep)} {change}")
        for out in stage.outs:
            reasons.extend(f"{self._path(out)} {change}" for change in out.status().values())
        return reasons


@contextlib.contextmanager
def _parameters_read_once(parsed: dict[str, dict]):
    """DVC parses the parameter file again for every stage and searches all of it for each key: two thirds of the time of a status
    with 130 stages. Here a file is parsed once (`parsed`: {path: content}) and a plain key found by walking to it."""
    import dvc.dependency.param as param

    load, read = param.load_path, param.read_param_file

    def load_path(path, fs, **kwargs):
        if path not in parsed:
            parsed[path] = load(path, fs, **kwargs)
        return parsed[path]

    def read_param_file(fs, path, key_paths=None, flatten=False, **kwargs):
        if not key_paths or not flatten:
            return read(fs, path, key_paths, flatten, **kwargs)
        found = {}
        for key in key_paths:
            value = load_path(path, fs, **kwargs)
            try:
                for part in key.split("."):
                    value = value[part]
            except (KeyError, TypeError):  # not there, or a pattern: DVC decides
                found.update(read(fs, path, [key], True, **kwargs))
            else:
                found[key] = value
        return found

    param.load_path, param.read_param_file = load_path, read_param_file
    try:
        yield
    finally:
        param.load_path, param.read_param_file = load, read


@contextlib.contextmanager
def one_line(kind: type[Exception], root: Path):
    """What DVC cannot read becomes one InputError line (DVC chains causes; the innermost names the place)."""
    from dvc.lock import LockError

    try:
        yield
    except LockError:
        raise
    except kind as error:
        parts, cause = [], error
        while cause is not None and len(parts) < 4:
            parts.append(" ".join(str(cause).split()))
            cause = cause.__cause__
        raise InputError(f"{root}: DVC cannot read the project: {': '.join(dict.fromkeys(p for p in parts if p))}") from None


@dataclass(frozen=True)
class Plan:
    """What is to run, in running order, and why: `why` is empty for a stage that only hangs on a stale one."""

    stages: dict[str, Stage]
    why: dict[str, list[str]]
    scope: list[str]


def plan(graph: Graph, targets: Iterable[str] = (), force: bool = False) -> Plan:
    """Stale stages among `targets` and what they need (all stages without targets), and what hangs on them within that scope."""
    named = graph.resolve(targets)
    scope = graph.upstream(named) if named else list(graph.stages)
    if force:
        why = {name: ["forced"] for name in (named or scope)}
        why = {**graph.stale([name for name in scope if name not in why]), **why}
    else:
        why = graph.stale(scope)
    inside = set(scope)
    chosen = [name for name in graph.downstream(why) if name in inside]
    return Plan({name: graph.stages[name] for name in chosen}, {name: why.get(name, []) for name in chosen}, scope)


def show(wanted: Plan) -> None:
    """Print a plan: one line a stage with its reasons and what it waits for."""
    for name, stage in wanted.stages.items():
        waits = [need for need in stage.needs if need in wanted.stages]
        text = some(wanted.why[name], between="; ") or "hangs on a stage above"
        print(f"{name}: {text}" + (f"; waits for {some(waits)}" if waits else ""))
    print(f"{len(wanted.stages)} of {len(wanted.scope)} stages to run")
