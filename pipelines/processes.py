"""Child processes of a flow: one process group each, output read as it comes, ended as a whole, none left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines import warden

TAIL = 20  # lines of output kept to explain a failure
BUSY_PATIENCE = 600.0  # seconds to wait for another DVC command that holds a path of the stage
# DVC's own words: a path of the stage is held by another DVC command, or its lock of locks could not be had in three seconds
_BUSY = re.compile(r"ERROR: .*(is busy, it is being blocked by|Unable to acquire lock)")
_SKIPPED = re.compile(r"Stage '.*' didn't change, skipping")
_CACHED = re.compile(r"Stage '.*' is cached - skipping run")
_CHATTER = re.compile(r"(Running stage '|> |ERROR: failed to reproduce|Updating lock file|Use `dvc push`|\s*$)")


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: done, unchanged (DVC found nothing to do), restored (from DVC's run cache), failed, or not run."""

    state: str
    seconds: float = 0.0
    error: str = ""  # the stage's own `error: ...` line where it printed one
    tail: tuple[str, ...] = ()


class Processes:
    """The children of one flow. Use as a context manager: leaving it ends what still runs.

    `lock` is a file descriptor the warden keeps open, so that the workspace stays locked until the last child is gone.
    """

    def __init__(self, lock: int | None = None):
        read, self._pipe = os.pipe()
        self._warden = subprocess.Popen([sys.executable, "-I", "-S", warden.__file__], stdin=read, stdout=subprocess.DEVNULL,
                                        start_new_session=True, pass_fds=() if lock is None else (lock,))
        os.close(read)
        self._guard = threading.Lock()
        self._groups: dict[int, bool] = {}  # group: is it a stage's
        self.ending = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_) -> None:
        self.end(everything=True)
        os.close(self._pipe)
        self._warden.wait()

    def start(self, command: list[str], stage: bool, **options) -> subprocess.Popen:
        """A child in a session of its own, so that a signal reaches it with all its descendants, and only through us."""
        with self._guard:  # `end` never runs between the start and the note of it
            if self.ending and stage:
                raise InterruptedError("the flow is ending")
            child = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
            self._groups[child.pid] = stage
            os.write(self._pipe, f"+{child.pid}\n".encode())
        return child

    def ended(self, child: subprocess.Popen) -> None:
        with self._guard:
            if self._groups.pop(child.pid, None) is not None:
                os.write(self._pipe, f"-{child.pid}\n".encode())

    def end(self, everything: bool = False, grace: float = warden.GRACE) -> None:
        """End the process groups of all stages (with `everything` the server's too). Killing only DVC would leave the training running."""
        with self._guard:
            self.ending = True
            groups = [group for group, stage in self._groups.items() if stage or everything]
        warden.end_groups(groups, grace)


def run_stage(name: str, processes: Processes, root: Path, log: Path, line: Callable[[str], None], show: Callable[[str], None],
              force: bool = False, environment: Mapping[str, str] | None = None) -> Outcome:
    """Let DVC reproduce one stage. `line` gets each whole line of output, `show` also what a progress bar draws over.

    When another DVC command holds a path of the stage, it tries again with growing pauses; that is no failure of the stage.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), name]
    log.parent.mkdir(parents=True, exist_ok=True)
    began, pause = time.monotonic(), 0.5
    with log.open("wb") as file:
        while True:
            code, lines = _stream(processes, command, root, file, line, show, environment)
            waited = time.monotonic() - began
            if code == 0 or processes.ending or not any(_BUSY.match(text) for text in lines) or waited > BUSY_PATIENCE:
                return _outcome(code, waited, lines, processes.ending)
            show(f"a path is held by another DVC command; trying again in {pause:g} s")
            until = time.monotonic() + pause
            while time.monotonic() < until and not processes.ending:
                time.sleep(0.1)
            pause = min(2 * pause, 8.0)


def _stream(processes, command, root, file, line, show, environment) -> tuple[int, list[str]]:
    """Run to the end; (exit code, last lines). Carriage returns redraw a progress bar: only what ends a line is a line."""
    try:
        child = processes.start(command, stage=True, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except InterruptedError:
        return -signal.SIGTERM, []
    tail: deque[str] = deque(maxlen=TAIL)
    errors: list[str] = []
    rest = b""
    try:
        while chunk := os.read(child.stdout.fileno(), 65536):
            file.write(chunk)
            file.flush()
            *whole, rest = (rest + chunk).split(b"\n")
            for text in whole:
                last = text.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
                if last.strip():
                    tail.append(last)
                    if last.startswith("error: ") or _BUSY.match(last):
                        errors.append(last)
                    line(last)
                    show(last)
            drawn = [part for part in rest.split(b"\r") if part.strip()]
            if drawn:
                show(drawn[-1].decode("utf-8", "replace"))
    except OSError:  # the log cannot be written: nobody would hear of the stage again
        warden.end_groups([child.pid])
        processes.ended(child)
        raise
    if rest.strip():
        tail.append(rest.decode("utf-8", "replace").rpartition("\r")[2])
        line(tail[-1])
    child.stdout.close()
    code = child.wait()
    processes.ended(child)
    return code, [*errors, *(text for text in tail if text not in errors)]


def _outcome(code: int, seconds: float, lines: list[str], ending: bool) -> Outcome:
    if code == 0:
        state = "unchanged" if any(map(_SKIPPED.match, lines)) else "restored" if any(map(_CACHED.match, lines)) else "done"
        return Outcome(state, seconds)
    if ending:
        return Outcome("interrupted", seconds, "interrupted")
    error = next((text for text in lines if text.startswith("error: ")), "")
    own = tuple(text for text in lines if not _CHATTER.match(text) and text != error)
    return Outcome("failed", seconds, error or (own[-1] if own else lines[-1] if lines else f"exit code {code}"), own or tuple(lines))


@contextlib.contextmanager
def signals_end(processes: Processes):
    """SIGINT and SIGTERM end the stages' process groups; a second signal kills at once. Enter it in the main thread, which gets signals."""
    count = 0

    def handle(number, frame):
        nonlocal count
        count += 1
        # in a thread: a handler must not wait for the lock its own thread may hold
        threading.Thread(target=processes.end, kwargs={"grace": warden.GRACE if count == 1 else 0.0}, daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
