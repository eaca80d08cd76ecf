"""The coordinator's side of a flow on a cluster: gives a worker what a stage needs, and assembles dvc.lock from what comes back."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pipelines import lockfile
from pipelines.cluster import bootstrap, snapshot, storage, workers
from pipelines.cluster.slots import ClusterSlots
from pipelines.cluster.workers import Runner, Worker, WorkerLost
from pipelines.flow import ONE_THREAD
from pipelines.graph import Graph, Plan, Stage
from pipelines.names import some
from pipelines.processes import Outcome, Processes
from pipelines.provenance import LIBRARIES
from stages.files import remove, replacing
from stages.settings import InputError

LOSSES = 3  # workers a stage may lose before it is taken for what kills them
QUIET = {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false"}
OUTCOME = [field.name for field in dataclasses.fields(Outcome)]


def check(root: Path, address: str, remote: str | None) -> None:
    """Raise InputError for what can be known to be wrong before anything is asked: address, packages, remote."""
    workers.check(address)
    storage.choose(root, remote)


@contextlib.contextmanager
def connected(root: Path, plan: Plan, address: str, remote: str | None, strict: bool) -> Iterator[Cluster]:
    """A cluster that is ready to run the plan. Raises InputError where the remote or the cluster does not answer, or `strict` refuses."""
    def note(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    name, settings = storage.choose(root, remote)
    storage.answers(root, name, settings)
    taken = snapshot.take(root)
    if taken.changed:
        note(f"note: workers get the workspace as it is now, with changes that are not committed: {some(taken.changed)}")
    with contextlib.closing(workers.connect(address, root)) as runner:
        cluster = Cluster(root, Graph(root), plan, runner, taken, name, storage.told(name, settings), strict, note)
        storage.push(root, name, cluster.inputs())
        yield cluster


class Cluster:
    """`slots` for `pipelines.schedule`, `run` in the place of `pipelines.processes.run_stage`."""

    def __init__(self, root: Path, graph: Graph, plan: Plan, runner: Runner, taken: snapshot.Snapshot, remote: str, config: str,
                 strict: bool, note: Callable[[str], None]):
        from dvc.utils.serialize import load_yaml

        self._root, self._graph, self._plan, self._runner = root, graph, plan, runner
        self._snapshot, self._remote, self._config, self._strict, self._note = taken, remote, config, strict, note
        self._own = bootstrap.facts(list(LIBRARIES))
        self._sent: set[str] = set()  # workers that have the snapshot
        self._guard = threading.Lock()  # of dvc.lock, and of the outputs it speaks of
        path = root / "dvc.lock"
        self._entries: dict[str, dict] = dict(load_yaml(path).get("stages") or {}) if path.is_file() else {}
        self._begun = False
        self.slots = ClusterSlots(runner, self._accepted)
        if not self.slots.workers:
            raise InputError("none of the workers can be used")
        self._begun = True

    def _accepted(self, worker: Worker) -> bool:
        """Whether the worker may be used; what differs there is told. Before the flow has begun, what cannot be used is an error."""
        try:
            theirs = self._runner.facts(worker, list(LIBRARIES))
        except WorkerLost:
            return False
        lacking = [name for name, there in (("git", theirs["git"]), ("dvc", theirs["versions"].get("dvc"))) if not there]
        differ = differences(self._own, theirs)
        if not lacking and not (differ and self._strict):
            if differ:
                self._note(f"note: worker {worker.label} differs from this machine, results may too: {'; '.join(differ)}")
            return True
        text = f"worker {worker.label}: " + (f"no {' and no '.join(lacking)} there" if lacking
                                             else f"differs from this machine (--strict): {'; '.join(differ)}")
        if not self._begun:
            raise InputError(f"{text}; install the same as here, or end that worker")
        self._note(f"note: {text}; not used")
        return False

    def inputs(self) -> list[str]:
        """Outputs that stages of the plan read and none of them writes: the remote must have them before."""
        plan = self._plan.stages
        return sorted({path for stage in plan.values() for path in self._read(stage, among=set(stage.needs) - set(plan))})

    def _read(self, stage: Stage, among: Iterable[str], cached: bool = True) -> list[str]:
        """Outputs of the stages `among` that `stage` reads, those DVC caches or those it does not."""
        outs = (out for name in among for out in self._graph.stages[name].outs if (out not in self._graph.stages[name].uncached) == cached)
        return [out for out in outs
                if any(Path(out).is_relative_to(dep) or Path(dep).is_relative_to(out) for dep in stage.deps)]

    def run(self, name: str, processes: Processes, log: Path, line: Callable[[str], None], show: Callable[[str], None],
            force: bool) -> Outcome:
        """Run one stage on the worker `slots` chose for it, on another one when that is lost, and bring home what it made."""
        stage, began = self._graph.stages[name], time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            output = Output(file, line, show)
            if not force and not self._plan.stages.keys().isdisjoint(stage.needs) and self._unchanged(name, processes):
                return Outcome("unchanged", time.monotonic() - began)
            for _ in range(LOSSES):
                worker, slot = self.slots.of(name)
                try:
                    if worker is None:
                        raise WorkerLost("its worker went away")
                    result = self._on(worker, slot, stage, force, processes, output)
                    break
                except WorkerLost as error:
                    output.write(f"{error}; {name} begins again on another worker")
                    try:
                        moved = self.slots.move(stage, lambda: processes.ending)
                    except InputError as none:
                        return Outcome("failed", time.monotonic() - began, f"error: {none}")
                    if not moved:
                        return Outcome("interrupted", time.monotonic() - began, "interrupted")
            else:
                return Outcome("failed", time.monotonic() - began, f"error: {LOSSES} workers went away in the middle of {name}; "
                                                                   "it may want more memory than they have")
            if output.error:
                raise output.error
            if processes.ending:
                return Outcome("interrupted", time.monotonic() - began, "interrupted")
            with self._guard:
                error = self._bring_home(stage, result, processes)
            self.slots.made(name)
            told = {key: tuple(value) if isinstance(value, list) else value for key, value in result.items() if key in OUTCOME}
            if error or told["state"] == "broken":
                told |= {"state": "failed", "error": error or told["error"]}
            return Outcome(**{**told, "seconds": time.monotonic() - began})

    def _on(self, worker: Worker, slot: tuple[str, int], stage: Stage, force: bool, processes: Processes, output: Output) -> dict:
        """The stage on that worker; the snapshot is sent along where it was not there."""
        environment = {**ONE_THREAD, **QUIET}
        if slot[0] == "gpu" and not self._runner.gives_devices:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot[1])
        entries = {name: self._entries[name] for name in (*stage.needs, stage.name) if name in self._entries}
        files = {path: (self._root / path).read_bytes() for path in files_of(self._root, self._read(stage, stage.needs, cached=False))}
        job = {"project": self._snapshot.project, "commit": self._snapshot.commit, "config": self._config, "environment": environment,
               "files": {**files, "dvc.lock": json.dumps({"schema": "2.0", "stages": entries}).encode()},  # JSON is YAML
               "hand": {"stage": stage.name, "force": force, "pull": self._read(stage, stage.needs)}}
        output.write(f"on {worker.label}")
        for again in (worker.address not in self._sent, True):
            sent = {**job, "bundle": self._snapshot.bundle} if again else job
            try:
                result = self._runner.run(worker, sent, min(stage.threads, worker.cpu), int(slot[0] == "gpu"), output,
                                          lambda: not processes.ending and not output.error)
            except WorkerLost:
                raise
            except Exception as error:  # of the cluster's library: told as the stage's own failure
                said = " ".join(str(error).split())[:500]
                return {"state": "broken", "error": f"error: worker {worker.label}: {type(error).__name__}: {said}"}
            if result["state"] != bootstrap.NO_CODE["state"]:
                self._sent.add(worker.address)
                return result
        raise WorkerLost(f"worker {worker.label} keeps nothing it is sent")

    def _unchanged(self, name: str, processes: Processes) -> bool:
        """Whether DVC finds nothing to do now that what the stage hangs on is done."""
        code, lines = self._dvc(processes, "status", "--json", name)
        return code == 0 and lines[-1:] == ["{}"]

    def _dvc(self, processes: Processes, *arguments: str) -> tuple[int, list[str]]:
        """(exit code, lines) of a DVC command here; it waits for others and ends with the flow."""
        while True:
            try:
                child = processes.start_dvc(["--wait-for-lock", *arguments], self._root, {**os.environ, **QUIET})
            except InterruptedError:
                return 1, ["interrupted"]
            with open(child.output, encoding="utf-8", errors="replace") as output:
                lines = output.read().splitlines()
            code = child.ended.result().code
            processes.ended(child.pid)
            if code is not None:  # else it fell with the process that forked it, and is started without one
                return code, lines

    def _bring_home(self, stage: Stage, result: Mapping, processes: Processes) -> str:
        """Write what came back with the result, pull the rest from the remote and enter the stage in dvc.lock; '' or what went wrong."""
        files = {path: base64.b64decode(content) for path, content in result.get("files", {}).items()}
        if result["state"] == "failed":  # what lies here is of an earlier run, as if it had failed here
            for path in stage.outs:
                remove(self._root / path)
        for path, content in files.items():
            if not inside(path, (*stage.outs, "reports")):
                return f"error: the worker sent {path}, which is no output of {stage.name}"
            with replacing(self._root / path) as temporary:
                temporary.write_bytes(content)
        if "entry" not in result:
            return ""
        before = self._entries.get(stage.name)
        self._enter(stage.name, result["entry"])
        if set(stage.outs) - set(stage.uncached):
            code, lines = self._dvc(processes, "pull", "--force", "--remote", self._remote, stage.name)
            if code:
                self._enter(stage.name, before)
                wrong = [text for text in lines if text.startswith("ERROR: ")] or lines or [f"exit code {code}"]
                return (f"error: cannot pull what {stage.name} wrote to remote {self._remote}: {wrong[-1].removeprefix('ERROR: ')}; is the "
                        "remote the same place on the worker?")
        return ""

    def _enter(self, name: str, entry: dict | None) -> None:
        """Put the stage's entry into dvc.lock as DVC writes it, and under its lock; None takes it out."""
        from dvc.lock import make_lock
        from dvc.utils.serialize import dump_yaml, modify_yaml

        path, folder = self._root / "dvc.lock", self._root / ".dvc" / "tmp"
        folder.mkdir(exist_ok=True)
        with make_lock(str(folder / "lock"), tmp_dir=str(folder), wait=True):
            if not path.is_file():
                dump_yaml(str(path), {"schema": "2.0", "stages": {}})
            text = lockfile.replaced(path.read_text(encoding="utf-8"), {name: entry}) if entry else None
            if text is not None:
                lockfile.write(str(path), text)
            else:
                with modify_yaml(str(path)) as lock:
                    if entry:
                        lock["stages"][name] = entry
                    else:
                        lock["stages"].pop(name, None)
        if entry:
            self._entries[name] = entry
        else:
            self._entries.pop(name, None)


class Output:
    """What a worker tells, to the stage's log, the task's log and the view.

    Called from threads of the cluster's library: what goes wrong is kept in `error` for the thread that waits for the stage.
    """

    def __init__(self, file, line: Callable[[str], None], show: Callable[[str], None]):
        self._file, self._line, self._show = file, line, show
        self.error: OSError | None = None

    def __call__(self, text: str) -> None:
        try:
            message = json.loads(text) if text.startswith("{") else {"line": text}
        except ValueError:
            message = {"line": text}
        if "line" in message:
            self.write(message["line"])
        elif "show" in message:
            self._show(message["show"])

    def write(self, text: str) -> None:
        try:
            self._file.write(text + "\n")
            self._file.flush()
        except OSError as error:
            self.error = self.error or error
        except ValueError:  # closed: the worker was given up
            return
        self._line(text)


def differences(own: Mapping, theirs: Mapping) -> list[str]:
    """What of a worker's facts is not as here, in words."""
    found = [f"{name} {theirs.get(name)}, here {own[name]}" for name in ("python", "machine") if own[name] != theirs.get(name)]
    for name, version in own["versions"].items():
        there = theirs["versions"].get(name)
        if there != version:
            found.append(f"{name} {there}, here {version}" if there else f"no {name}, here {version}")
    mine, other = set(own.get("instruction set", ())), set(theirs.get("instruction set", ()))
    if mine != other:
        found.append("instruction set " + ", ".join([*(f"without {flag}" for flag in sorted(mine - other)),
                                                     *(f"with {flag}" for flag in sorted(other - mine))]))
    return found


def files_of(root: Path, paths: Iterable[str]) -> list[str]:
    """All files that `paths` are or hold, relative to `root`."""
    found = []
    for path in paths:
        inside = sorted((root / path).rglob("*")) if (root / path).is_dir() else [root / path]
        found += [str(file.relative_to(root)) for file in inside if file.is_file()]
    return found


def inside(path: str, folders: Iterable[str]) -> bool:
    """Whether a path a worker named is one of `folders` or in one, and stays there."""
    return os.path.normpath(path) == path and any(Path(path).is_relative_to(folder) for folder in folders)
