"""What a worker is sent by value, for it has none of the project's code: the standard library alone, and nothing global that changes.

It puts the project's files, as the coordinator has them, into a workspace of the worker's machine and starts `pipelines.cluster.hand`
there. Workspaces stay, one for each stage that ran at the same time, and go from commit to commit: only files that changed are written.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FOLDER = "BAZNAMA_WORKER_DIR"  # environment variable of a worker: where its workspaces and its DVC cache are
NO_CODE = {"state": "no code"}  # the snapshot was never sent here: send it along
KEPT = ("__pycache__", "/.dvc", "/data/checkpoints")  # compiled code, and where a training of the same settings goes on


def facts(libraries: list[str]) -> dict:
    """What results can depend on besides the code, and whether git is there: {name: value}."""
    found = {"host": socket.gethostname(), "python": platform.python_version(), "git": shutil.which("git") or ""}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").partition(":")[2].split()
        found["instruction set"] = sorted(flag for flag in flags if flag.startswith(("avx", "fma", "sse4", "amx", "asimd", "sve")))
    found["machine"] = platform.machine()
    versions = {}
    for name in libraries:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {**found, "versions": versions}


def run(job: dict, tell: Callable[[str], None], wanted: Callable[[], bool]) -> dict:
    """Run one stage; {"state", ...} as `hand` writes it, `NO_CODE`, or {"state": "broken", "error"} where it could not begin.

    `tell` gets each line of `hand` but the last as it comes; once `wanted` is False all is ended.
    """
    base = Path(os.environ.get(FOLDER) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "baznama").absolute()
    try:
        with workspace(base / job["project"]) as (folder, lock):
            if not lay_out(folder, job, base / "cache"):
                return NO_CODE
            return hand(folder, lock, job, tell, wanted)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return {"state": "broken", "error": f"error: {socket.gethostname()}: no workspace in {base}: {' '.join(said.split())}"}


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[tuple[Path, int]]:
    """(path, lock) of the first workspace nobody works in. The kernel frees it when the last process that holds the lock is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            os.close(lock)
            number += 1
    try:
        yield folder / str(number), lock
    finally:
        os.close(lock)


def lay_out(folder: Path, job: dict, cache: Path) -> bool:
    """The snapshot's files and the job's own in `folder`, nothing else. False where the snapshot is not here and not in the job."""
    if not (folder / ".git").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        git(folder.parent, "init", "--quiet", str(folder))
    if subprocess.run(["git", "cat-file", "-e", f"{job['commit']}^{{commit}}"], cwd=folder, capture_output=True).returncode:
        if "bundle" not in job:
            return False
        bundle = folder / ".git" / "snapshot.bundle"
        bundle.write_bytes(job["bundle"])
        git(folder, "-c", "gc.autoDetach=false", "fetch", "--quiet", str(bundle), job["commit"])
        bundle.unlink()
    (folder / ".git" / "index.lock").unlink(missing_ok=True)  # of a worker that was killed
    git(folder, "checkout", "--quiet", "--force", "--detach", job["commit"])
    git(folder, "clean", "-ffdxq", *(part for kept in KEPT for part in ("-e", kept)))
    shutil.rmtree(folder / ".dvc" / "tmp", ignore_errors=True)
    (folder / ".dvc" / "config.local").write_text(f"{job['config']}[cache]\n    dir = {cache}\n")
    for path, content in job["files"].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return True


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, errors="replace")


def hand(folder: Path, lock: int, job: dict, tell: Callable[[str], None], wanted: Callable[[], bool]) -> dict:
    """Run the project's own `pipelines.cluster.hand` in `folder`. It ends with this process, whose end closes its standard input."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path, **job["environment"]}
    child = subprocess.Popen([sys.executable, "-m", "pipelines.cluster.hand"], cwd=folder, env=environment, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(lock,))
    lines = [""]

    def read() -> None:
        for line in child.stdout:
            if lines[-1]:
                tell(lines[-1])
            lines.append(line.decode("utf-8", "replace").rstrip("\n"))
            del lines[:-8]

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        child.stdin.write(json.dumps(job["hand"]).encode() + b"\n")
        child.stdin.flush()
        while child.poll() is None and wanted():
            time.sleep(0.1)
    except BrokenPipeError:  # it ended at once: what it printed says why
        pass
    finally:
        child.stdin.close()  # the hand ends what it started
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10 if wanted() is False else 60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        reader.join(10)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(lines[-1])["result"]
    said = [line for line in lines if line and not line.startswith("{")]
    return {"state": "broken", "error": f"error: {socket.gethostname()}: pipelines.cluster.hand ended with exit code {child.returncode}"
                                        f"{': ' + said[-1] if said else ''}"}


def on_dask(job: dict, topic: str) -> dict:
    """A task of Dask: lines go to the scheduler's `topic` numbered, so that the coordinator knows when it has them all."""
    from distributed import get_worker

    worker = get_worker()
    key, sent = worker.get_current_task(), 0

    def tell(line: str) -> None:
        nonlocal sent
        worker.log_event(topic, {"key": key, "number": sent, "line": line})
        sent += 1

    def wanted() -> bool:  # released while it runs: the coordinator has ended, or has given it up
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    result = run(job, tell, wanted)
    return {**result, "lines": sent}


def facts_on_ray(libraries: list[str]) -> Iterator[dict]:
    yield facts(libraries)


def on_ray(job: dict) -> Iterator[str | dict]:
    """A task of Ray, a generator: lines, and last the result. Ray ends its process when it is no longer wanted."""
    import queue

    lines: queue.Queue = queue.Queue()
    ended = threading.Event()
    work = threading.Thread(target=lambda: lines.put(run(job, lines.put, lambda: not ended.is_set())), daemon=True)
    work.start()
    try:
        while not isinstance(item := lines.get(), dict):
            yield item
        yield item
    finally:
        ended.set()
