"""Runs DVC commands without DVC's start-up: this process has imported DVC, and forks one child a command.

Importing DVC and building its command line costs half a second of CPU a stage, a fork some milliseconds. The child is
`python -m dvc ARGUMENTS` in all but that: DVC's own entry point, a session and process group of its own, the given folder,
environment and output.

Started by `pipelines.forks` as a script. The flow's requests, {"arguments", "folder", "environment"} with the descriptor of the output,
come by a socket, one packet each; answers are {"started": pid} and, when that has ended, {"ended": pid, "code", "cpu": seconds,
"memory": GB}. The child tells the warden of its group before it does anything. When the flow dies the socket closes and this process
ends; its children are the warden's to end. It needs DVC and pipelines.lockfile alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

PACKET = 200_000  # bytes of a request at most; the flow starts what is larger without us
# what `dvc repro` imports on its way, beyond dvc.cli
IMPORTED = (
    "dvc.cli.parser", "dvc.commands.repro", "dvc.repo", "dvc.repo.reproduce", "dvc.repo.index", "dvc.repo.datasets", "dvc.repo.stage",
    "dvc.repo.commit", "dvc.scm", "dvc.stage.run", "dvc.stage.cache", "dvc.stage.loader", "dvc.stage.serialize", "dvc.dvcfile", "dvc.lock",
    "dvc.rwlock", "dvc.ignore", "dvc.output", "dvc.cachemgr", "dvc.data_cloud", "dvc.parsing.context", "dvc.parsing.interpolate",
    "dvc.utils.strictyaml", "dvc.utils.serialize", "dvc.utils.humanize", "dvc_data.hashfile.build", "dvc_data.hashfile.checkout",
    "dvc_data.hashfile.transfer", "dvc_data.hashfile.state", "dvc_data.hashfile.db.local", "dvc_data.index", "dvc_data.index.checkout",
    "dvc.fs.dvc", "networkx", "ruamel.yaml", "sqlite3", "diskcache", "concurrent.futures.thread", "shortuuid", "rich.progress", "tqdm",
    "flatten_dict", "zc.lockfile")


def imported() -> None:
    """Import what the commands will; a name that this version of DVC has not is imported by the child if it needs it."""
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from dvc.cli.parser import get_main_parser

    get_main_parser()
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # as a script it has only what is installed
    from pipelines import lockfile

    lockfile.install()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what was imported


def threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def serve(control: socket.socket, warden: int) -> None:
    """Answer requests until the flow is gone."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    ours = (control, woken, wake)
    waiting = select.poll()
    for each in (control, woken):
        waiting.register(each, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in waiting.poll()}
        if woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                while woken.recv(4096):
                    pass
            reap(control)
        if control.fileno() in ready:
            request, descriptors, _, _ = socket.recv_fds(control, PACKET, 1)
            if not request:
                return
            pid = fork(json.loads(request), descriptors[0], warden, ours)
            os.close(descriptors[0])
            answer(control, {"started": pid})


def answer(control: socket.socket, message: dict) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the flow is gone: the next request is its end
        control.send(json.dumps(message).encode())


def reap(control: socket.socket) -> None:
    """Tell of every child that ended. Memory is the peak of its largest process, CPU that of all it has waited for."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        answer(control, {"ended": pid, "code": os.waitstatus_to_exitcode(status), **used(usage)})


def used(usage) -> dict[str, float]:
    """{"cpu": seconds, "memory": GB} of what os.wait4 tells."""
    return {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9}


def fork(request: dict, output: int, warden: int, ours: tuple[socket.socket, ...]) -> int:
    """Start one DVC command; returns its pid once it leads a process group that the warden knows."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        os.read(read, 1)  # nothing comes; it ends when the child has closed its side
        os.close(read)
        return pid
    os.setsid()
    os.write(warden, f"+{os.getpid()}\n".encode())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    for there, here in ((null, 0), (output, 1), (output, 2)):
        os.dup2(there, here)
    for each in ours:
        each.close()
    for descriptor in (null, output, warden, read, write):
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["dvc", *request["arguments"]]
    from dvc.cli import main

    sys.exit(main(request["arguments"]))  # through the end of the interpreter, as the command itself


def main() -> None:
    control, warden = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    imported()
    if threads() > 1:
        sys.exit("a library started a thread: a fork would copy its locks as they are")
    answer(control, {"ready": os.getpid()})
    serve(control, warden)


if __name__ == "__main__":
    main()
