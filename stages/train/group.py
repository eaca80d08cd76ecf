"""The processes of one training: those that torchrun started, or `train.processes` of them that the stage starts itself.

Then the stage is the first of them. They stay in its process group, so that what ends a stage ends them all (torchrun gives each of its
processes a session of its own, which a flow that is killed could not find). They talk by gloo on the processor and by NCCL on CUDA,
one device each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import torch

from stages.command import FAILED, fail
from stages.settings import InputError
from stages.train.parallel import Alone, LostProcessError, Together, short

GRACE = 5.0  # seconds in which the first process finds out by itself that another one ended
LIFELINE = "BAZNAMA_LIFELINE"  # a pipe to the first process, for those it starts
AGAIN = "run again to go on from the last checkpoint, on as many processes as you like"


def processes_of(setting: int) -> int:
    """How many processes train: torchrun's number where it started this one, else the setting `train.processes`."""
    return int(os.environ["WORLD_SIZE"]) if _started_by_others() else setting


def follows() -> bool:
    """Whether another process of this machine says what all of them find (bad input, a loss that is not finite)."""
    return _started_by_others() and int(os.environ.get("LOCAL_RANK", os.environ["RANK"])) > 0


def _started_by_others() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextlib.contextmanager
def group(processes: int, device: torch.device) -> Iterator[tuple[Alone, torch.device]]:
    """(this process among its group, its device). Starts the others where nobody did; none of those outlives this one, or it them."""
    if processes == 1:
        yield Alone(), device
        return
    if device.type == "cuda":
        here, devices = int(os.environ.get("LOCAL_WORLD_SIZE", processes)), torch.cuda.device_count()
        if here > devices:
            raise InputError(f"train.processes: {here} processes need a GPU each, but torch sees {devices}; use at most {devices}, "
                             "or train.device: cpu")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    over = threading.Event()
    store, others = (None, []) if _started_by_others() else _start(processes, over)
    if LIFELINE in os.environ:
        threading.Thread(target=_leave_with_first, args=(int(os.environ[LIFELINE]),), daemon=True).start()
    elif not others:
        signal.signal(signal.SIGTERM, _told_to_end)
    try:
        _join("nccl" if device.type == "cuda" else "gloo")
        yield Together(device), device
        torch.distributed.destroy_process_group()
        for other in others:
            other.wait()
    except LostProcessError as error:
        _tell_loss(others, str(error))
    finally:
        over.set()
        for other in others:
            other.kill()  # it writes nothing: only the first process has checkpoints and outputs
            other.wait()
        del store


def _join(backend: str) -> None:
    try:
        torch.distributed.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        raise LostProcessError(f"the others could not be reached ({short(error)})") from None


def _start(processes: int, over: threading.Event) -> tuple[torch.distributed.TCPStore, list[subprocess.Popen]]:
    """Start processes 1, 2, ... as torchrun would; they meet through the store as long as it is kept."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.environ.update(WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes), RANK="0", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(store.port), TORCHELASTIC_USE_AGENT_STORE="True")
    read, _ = os.pipe()  # its other end closes when this process ends, however that happens
    others = []
    for rank in range(1, processes):
        environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), LIFELINE: str(read)}
        others.append(subprocess.Popen([sys.executable, "-m", "stages.train", *sys.argv[1:]], env=environment, pass_fds=(read,)))
        threading.Thread(target=_end_with, args=(others, others[-1], over), daemon=True).start()
    os.close(read)
    return store, others


def _leave_with_first(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(FAILED)


def _end_with(others: list[subprocess.Popen], other: subprocess.Popen, over: threading.Event) -> None:
    """Where the backend waits for a process that is gone (NCCL does, for minutes), end this one."""
    if other.wait() and not over.wait(GRACE):
        with contextlib.suppress(SystemExit):
            _tell_loss(others, "another one was lost")
        os._exit(FAILED)


def _tell_loss(others: list[subprocess.Popen], what: str) -> None:
    """One line of a process that ended in the middle, unless it had its own to say."""
    until = time.monotonic() + 1.0
    while others and all(o.poll() is None for o in others) and time.monotonic() < until:
        time.sleep(0.02)
    codes = [code for o in others if (code := o.poll())]
    if any(code > 0 for code in codes):
        sys.exit(FAILED)
    reason = f"signal {-codes[0]} ended another one" if codes else what
    fail(f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} ends: {reason}; {AGAIN}", FAILED)


def _told_to_end(number, frame) -> None:
    """torchrun ends the others when one has failed, in the middle of what it does."""
    signal.signal(number, signal.SIG_IGN)
    raise LostProcessError(signal.Signals(number).name)
