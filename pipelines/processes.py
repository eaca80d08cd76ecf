"""Child processes of a flow: one process group each, output read as it comes, ended as a whole, none left behind."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pipelines import warden
from pipelines.forks import Ended, Forks, end_of

TAIL = 20  # lines of output kept to explain a failure
BUSY_PATIENCE = 600.0  # seconds to wait for another DVC command that holds a path of the stage
# DVC's own words: a path of the stage is held by another DVC command, or its lock of locks could not be had in three seconds
_BUSY = re.compile(r"ERROR: .*(is busy, it is being blocked by|Unable to acquire lock)")
_SKIPPED = re.compile(r"Stage '.*' didn't change, skipping")
_CACHED = re.compile(r"Stage '.*' is cached - skipping run")
_CHATTER = re.compile(r"(Running stage '|> |ERROR: failed to reproduce '.*': failed to run: |Updating lock file|Use `dvc push`|\s*$)")


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: done, unchanged (DVC found nothing to do), restored (from DVC's run cache), failed, or not run."""

    state: str
    seconds: float = 0.0
    error: str = ""  # the stage's own `error: ...` line where it printed one
    tail: tuple[str, ...] = ()
    cpu: float = 0.0  # seconds, with all its processes
    memory: float = 0.0  # GB at the peak of the largest of its processes


@dataclass(frozen=True)
class Running:
    """A DVC command at work: the leader of its own process group, where to read its output, and what will be known of its end."""

    pid: int
    output: int
    ended: Future[Ended]


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
        self._forks: Forks | None = None
        self.ending = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_) -> None:
        if self._forks:
            self._forks.close()
        self.end(everything=True)
        os.close(self._pipe)
        self._warden.wait()

    def warm(self) -> None:
        """Start importing DVC for the stages to come; without this, and where it cannot be, each is a `python -m dvc` of its own."""
        def start(command: list[str], descriptors: tuple[int, ...]) -> subprocess.Popen:
            return self.start(command, stage=False, pass_fds=descriptors, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        with contextlib.suppress(OSError):  # a system without such sockets
            self._forks = Forks(start, self._pipe)

    def start(self, command: list[str], stage: bool, **options) -> subprocess.Popen:
        """A child in a session of its own, so that a signal reaches it with all its descendants, and only through us."""
        with self._guard:  # `end` never runs between the start and the note of it
            if self.ending and stage:
                raise InterruptedError("the flow is ending")
            child = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
            self._groups[child.pid] = stage
            os.write(self._pipe, f"+{child.pid}\n".encode())
        return child

    def start_dvc(self, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> Running:
        """`dvc ARGUMENTS` in `folder`, its output to be read. Close that, and call `ended` when done with it."""
        if self._forks:
            self._forks.wait()
        read, write = os.pipe()
        try:
            with self._guard:
                if self.ending:
                    raise InterruptedError("the flow is ending")
                found = self._forks and self._forks.start(arguments, folder, environment, write)
                if found:
                    self._groups[found[0]] = True  # the warden has been told
            if not found:
                child = self.start([sys.executable, "-m", "dvc", *arguments], stage=True, cwd=folder, env=environment, stdout=write,
                                   stderr=subprocess.STDOUT)
                found = child.pid, end_of(child)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Running(found[0], read, found[1])

    def ended(self, pid: int) -> None:
        """Forget a group: nothing of it runs."""
        with self._guard:
            if self._groups.pop(pid, None) is not None:
                os.write(self._pipe, f"-{pid}\n".encode())

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
    command = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), name]
    environment = os.environ if environment is None else environment
    log.parent.mkdir(parents=True, exist_ok=True)
    began, pause = time.monotonic(), 0.5
    with log.open("wb") as file:
        while True:
            end, lines = _stream(processes, command, root, file, line, show, environment)
            waited = time.monotonic() - began
            if end.code is None and not processes.ending:
                continue  # it fell with the process that forked it; now it is started without one
            if end.code == 0 or processes.ending or not any(_BUSY.match(text) for text in lines) or waited > BUSY_PATIENCE:
                return _outcome(end, waited, lines, processes.ending)
            show(f"a path is held by another DVC command; trying again in {pause:g} s")
            until = time.monotonic() + pause
            while time.monotonic() < until and not processes.ending:
                time.sleep(0.1)
            pause = min(2 * pause, 8.0)


def _stream(processes, command, root, file, line, show, environment) -> tuple[Ended, list[str]]:
    """Run to the end; (how it ended, last lines). Carriage returns redraw a progress bar: only what ends a line is a line."""
    try:
        child = processes.start_dvc(command, root, environment)
    except InterruptedError:
        return Ended(-signal.SIGTERM), []
    tail: deque[str] = deque(maxlen=TAIL)
    errors: list[str] = []
    rest = b""
    try:
        for chunk in _chunks(child):
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
    finally:  # also where the log cannot be written: nobody would hear of the stage again
        os.close(child.output)
        warden.end_groups([child.pid])
        processes.ended(child.pid)
    if rest.strip():
        tail.append(rest.decode("utf-8", "replace").rpartition("\r")[2])
        line(tail[-1])
    return child.ended.result(), [*errors, *(text for text in tail if text not in errors)]


def _chunks(child: Running) -> Iterator[bytes]:
    """Output as it comes. Where DVC was killed alone, what it had started is ended: it would hold the output open, and write."""
    waiting = select.poll()
    waiting.register(child.output, select.POLLIN | select.POLLHUP)
    while True:
        if waiting.poll(500):
            chunk = os.read(child.output, 65536)
            if not chunk:
                return
            yield chunk
        elif child.ended.done():
            if not warden.alive(child.pid):
                return  # only a process that left the group holds it still
            warden.end_groups([child.pid])


def _outcome(end: Ended, seconds: float, lines: list[str], ending: bool) -> Outcome:
    if end.code == 0:
        state = "unchanged" if any(map(_SKIPPED.match, lines)) else "restored" if any(map(_CACHED.match, lines)) else "done"
        return Outcome(state, seconds, cpu=end.cpu, memory=end.memory)
    if ending:
        return Outcome("interrupted", seconds, "interrupted")
    error = next((text for text in lines if text.startswith("error: ")), "")
    own = tuple(text for text in lines if not _CHATTER.match(text) and text != error)
    said = error or (own[-1] if own else lines[-1] if lines else f"exit code {end.code}")
    if end.code is not None and end.code < 0:
        said = f"DVC was killed by {signal.Signals(-end.code).name}"
    return Outcome("failed", seconds, said, own or tuple(lines), end.cpu, end.memory)


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
