"""One stage on a worker, in the workspace that `bootstrap` laid out: pull what it reads, let DVC run it, push what it wrote.

Reads one line of JSON (`stage`, `force`, `pull`) from standard input and ends, with all it started, when that closes. Writes lines of JSON:
{"line": text} and {"show": text} as `pipelines.processes.run_stage` tells them, last {"result": {...}}:
the fields of `pipelines.processes.Outcome`; `entry`, the stage's entry of dvc.lock; `files`,
{path: content in base64} of what DVC does not cache and of new files of reports/ that no output covers.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from pipelines.processes import Outcome, Processes, run_stage

BESIDE = Path("reports")  # where stages write what is no output of theirs (reports/timing)
FAILED_BYTES = 20_000_000  # of what a failed stage left, to look at


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is a line without JSON
    job = json.loads(sys.stdin.readline())
    guard = threading.Lock()

    def tell(**message) -> None:
        with guard:
            print(json.dumps(message), file=channel, flush=True)

    with Processes() as processes:
        threading.Thread(target=end_with_input, args=(processes,), daemon=True).start()
        result = work(job, processes, lambda text: tell(line=text), lambda text: tell(show=text))
    tell(result=result)


def end_with_input(processes: Processes) -> None:
    """Wait for the end of standard input: nobody wants the stage any more."""
    while os.read(0, 4096):
        pass
    processes.end(everything=True, grace=1.0)
    os._exit(1)


def work(job: dict, processes: Processes, line, show) -> dict:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.utils.serialize import load_yaml

    from pipelines.graph import Graph

    name, root = job["stage"], Path.cwd()
    try:
        repo = Repo(str(root))
        if job["pull"]:
            show("pulling what it reads")
            repo.pull(targets=job["pull"], force=True)
        with contextlib.suppress(DvcException):
            restorable(repo, name)
    except DvcException as error:
        return broken(f"cannot pull what {name} reads: {said(error)}")
    began = time.time()
    outcome = run_stage(name, processes, root, root / ".dvc" / "tmp" / "stage.log", line, show, job["force"])
    result = dataclasses.asdict(outcome)
    stage = Graph(root).stages[name]
    if outcome.state in ("done", "restored", "unchanged"):
        show("pushing what it wrote")
        try:
            uncached = pushed(root, name)
        except DvcException as error:
            return broken(f"cannot push what {name} wrote: {said(error)}")
        result["entry"] = load_yaml("dvc.lock")["stages"][name]
        result["files"] = contents(root, [*uncached, *beside(root, stage.outs, began)])
    elif outcome.state == "failed":
        left = files_of(root, stage.outs)
        small = sum((root / path).stat().st_size for path in left) <= FAILED_BYTES
        result["files"] = contents(root, left if small else [])
    return result


def restorable(repo, name: str) -> None:
    """Bring what the remote's run cache has of exactly this stage, so that DVC restores it in place of running it.

    `dvc pull --run-cache` would copy every entry of every stage, one after another, before each stage.
    """
    from dvc.stage.cache import _get_stage_hash

    stage = repo.stage.get_target(name)
    stage.save_deps()
    key = _get_stage_hash(stage)
    remote, cache = repo.cloud.get_remote_odb(hash_name="md5-dos2unix"), repo.stage_cache
    there = remote.fs.join(remote.path, "runs", key[:2], key)
    if not remote.fs.exists(there):
        return
    for source in remote.fs.find(there):
        here = Path(cache._get_cache_path(key, remote.fs.name(source)))
        here.parent.mkdir(parents=True, exist_ok=True)
        temporary = here.with_name(f".{here.name}.{os.getpid()}")
        remote.fs.get_file(source, str(temporary))
        os.replace(temporary, here)
    entry = cache._load(stage)
    if entry:
        for objects in cache._create_stage(entry, wdir=stage.wdir).get_used_objs().values():
            repo.cloud.pull(objects)


def pushed(root: Path, name: str) -> list[str]:
    """Push the stage's outputs and its entry of the run cache; returns the paths of what DVC does not cache."""
    from dvc.exceptions import UploadError
    from dvc.repo import Repo
    from dvc.stage.cache import _can_hash, _get_stage_hash

    repo = Repo(str(root))
    stage = repo.stage.get_target(name)
    objects = set().union(*stage.get_used_objs().values(), set())
    remote, cache = repo.cloud.get_remote_odb(hash_name="md5-dos2unix"), repo.stage_cache
    entries: list[str] = []
    if _can_hash(stage):
        key = _get_stage_hash(stage)
        folder = Path(cache._get_cache_dir(key))
        entries = [entry.name for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")] if folder.is_dir() else []
        if entries:
            objects |= set().union(*cache.get_used_objs([(key, entry) for entry in entries]).values(), set())
    if objects and (failed := repo.cloud.push(objects).failed):
        raise UploadError(len(failed))
    for entry in entries:  # after the objects: who finds an entry finds what it names
        remote.fs.makedirs(remote.fs.join(remote.path, "runs", key[:2], key))
        remote.fs.put_file(str(folder / entry), remote.fs.join(remote.path, "runs", key[:2], key, entry))
    return [os.path.relpath(out.fs_path, root) for out in stage.outs if not out.use_cache]


def beside(root: Path, outs: tuple[str, ...], began: float) -> list[str]:
    """Files of reports/ that were written since `began` and belong to no output of the stage."""
    found = files_of(root, [str(BESIDE)])
    return [path for path in found if (root / path).stat().st_mtime >= began
            and not any(Path(path).is_relative_to(out) for out in outs)]


def files_of(root: Path, paths) -> list[str]:
    """All files that `paths` are or hold, relative to `root`."""
    found = []
    for path in map(str, paths):
        inside = sorted((root / path).rglob("*")) if (root / path).is_dir() else [root / path]
        found += [str(file.relative_to(root)) for file in inside if file.is_file()]
    return found


def contents(root: Path, paths) -> dict[str, str]:
    return {path: base64.b64encode((root / path).read_bytes()).decode() for path in files_of(root, paths)}


def broken(text: str) -> dict:
    return dataclasses.asdict(Outcome("failed", error=f"error: {socket.gethostname()}: {text}"))


def said(error: BaseException) -> str:
    """The first line of what DVC says, and of what it rests on."""
    parts = []
    while error is not None and len(parts) < 3:
        parts.append(" ".join(str(error).split()))
        error = error.__cause__
    return ": ".join(dict.fromkeys(part for part in parts if part))


if __name__ == "__main__":
    main()
