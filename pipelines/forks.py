"""The flow's side of pipelines.forkserver, and how the end of a child is learnt."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pipelines import forkserver

IMPORT = 60.0  # seconds in which DVC is imported, or the commands are started without the server


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is None when that was not to be learnt: the process that started it is gone."""

    code: int | None
    cpu: float = 0.0  # seconds, with all its descendants
    memory: float = 0.0  # GB at the peak of the largest of them


class Forks:
    """The flow's side of pipelines.forkserver."""

    def __init__(self, start: Callable[[list[str], tuple[int, ...]], subprocess.Popen], warden_pipe: int):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = theirs.fileno(), warden_pipe
        start([sys.executable, "-P", forkserver.__file__, *map(str, descriptors)], descriptors)
        theirs.close()
        self._started: queue.Queue[tuple[int, Future[Ended]] | None] = queue.Queue()
        self._children: dict[int, Future[Ended]] = {}
        self._ready, self._gone = threading.Event(), False
        threading.Thread(target=self._answers, name="forkserver", daemon=True).start()

    def start(self, arguments: list[str], folder: Path, environment: Mapping[str, str], output: int) -> tuple[int, Future[Ended]] | None:
        """(pid, its end), or None where the command must be started in another way. One call at a time."""
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environment": dict(environment)}).encode()
        if not self._ready.is_set() or self._gone or len(request) > forkserver.PACKET:
            return None
        try:
            socket.send_fds(self._control, [request], [output])
        except OSError:
            return None
        return self._started.get()

    def wait(self) -> None:
        """Return when it can start commands, or never will."""
        self._ready.wait(IMPORT)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._control.recv(forkserver.PACKET):
                told = json.loads(message)
                if "started" in told:
                    pid = told["started"]
                    self._children[pid] = Future()
                    self._started.put((pid, self._children[pid]))
                elif "ended" in told:
                    self._children.pop(told.pop("ended")).set_result(Ended(**told))
                self._ready.set()
        self._gone = True
        self._ready.set()
        self._started.put(None)
        for future in self._children.values():
            future.set_result(Ended(None))


def end_of(child: subprocess.Popen) -> Future[Ended]:
    """What os.wait4 will tell of a child."""
    future: Future[Ended] = Future()

    def wait() -> None:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        future.set_result(Ended(child.returncode, **forkserver.used(usage)))

    threading.Thread(target=wait, daemon=True).start()
    return future
