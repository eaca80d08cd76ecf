"""One flow at a time in a workspace: a lock the kernel lets go of however its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines import warden
from stages.files import replacing
from stages.settings import InputError

LOCK = Path("data/.prefect/lock")
JUST = 5.0  # seconds from the last write to a file of DVC's cache to its final name, at the very most
CLEARING = warden.GRACE + 5.0  # seconds in which the warden of a killed flow has ended its stages


@contextlib.contextmanager
def locked(root: Path, wait: bool = False, lock: Path = LOCK, what: str = "flow") -> Iterator[int]:
    """Hold the workspace's lock; yields its file descriptor, for the warden to inherit. Raises InputError that says who holds it.

    Another `lock` is that of another kind of thing, `what`, of which there is one at a time.
    """
    path = root / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        began, told = time.monotonic(), False
        while not _taken(descriptor):
            holder, dead = _holder(path)
            if dead and time.monotonic() - began < CLEARING:  # killed a moment ago: its warden is ending the stages
                time.sleep(0.1)
                continue
            if not wait:
                raise InputError(f"another {what} runs in this workspace: {holder}; wait for it, end it, or use --wait")
            if not told:
                print(f"waiting for the {what} that runs in this workspace: {holder}", file=sys.stderr, flush=True)
                told = True
            time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode(), 0)
        if lock == LOCK:
            forget_the_dead(root)
        yield descriptor
    finally:
        os.close(descriptor)


def forget_the_dead(root: Path) -> None:
    """Take out of DVC's list of held paths what killed commands left there, and the list where one was killed while writing it.

    DVC looks only whether a process of that number lives, which any program may be by now, and reads no further in a torn list.
    """
    path = root / ".dvc/tmp/rwlock"
    if not path.is_file():
        return
    guard = os.open(path.with_name("rwlock.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # as DVC does, for the moment of a change
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            read = {at: living for at, holders in held.get("read", {}).items() if (living := [h for h in holders if _is_dvc(h["pid"])])}
            write = {at: holder for at, holder in held.get("write", {}).items() if _is_dvc(holder["pid"])}
        except (ValueError, KeyError, TypeError, AttributeError):
            path.unlink()
            return
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"read": read, "write": write}), encoding="utf-8")
    finally:
        os.close(guard)


def drop_half_copied(cache: Path) -> None:
    """Remove what DVC was copying into its cache when it was killed or the disk was full, which it never does itself.

    The cache may be that of other workspaces too: what a living process has open, or has just closed, stays.
    """
    left = set()
    for path in cache.glob("??/.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > JUST:
                left.add(path)
    if not left or not Path("/proc").is_dir():
        return
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            left.discard(Path(os.readlink(descriptor)))
    for path in left:
        path.unlink(missing_ok=True)


def _is_dvc(pid: int) -> bool:
    """Whether the process lives and may be a DVC command."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
    except OSError:
        return not Path("/proc").is_dir()
    return b"dvc" in words or b"forkserver" in words


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> tuple[str, bool]:
    """(who holds the lock, whether that process is gone)."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        pid, since = int(entry["pid"]), str(entry["since"])
    except (OSError, ValueError, KeyError, TypeError):  # it has the lock and has not written yet
        return "it started this moment", False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return f"pid {pid}, since {since}, killed; its stages are being ended", True
    except PermissionError:
        pass
    return f"pid {pid}, since {since}", False
