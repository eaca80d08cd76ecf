"""Ends the process groups of a flow that died without a word (kill -9): a stage's training must not outlive it.

Started by `pipelines.processes` as a script of its own, in a session of its own. It reads "+123" (a group began) and "-123" (it ended) from
its standard input and acts when that closes, which the kernel does however the flow ends. It inherits the workspace's lock, so the
next flow starts only when everything of the last one is gone. Standard library alone: it must start in milliseconds.
"""

import contextlib
import os
import signal
import sys
import time

GRACE = 5.0  # seconds between asking and killing


def end_groups(groups, grace=GRACE):
    """SIGTERM to whole process groups, after `grace` seconds SIGKILL to those still there."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        until = time.monotonic() + seconds
        while (groups := [g for g in groups if alive(g)]) and time.monotonic() < until:
            time.sleep(0.05)


def alive(group):
    """Whether the group has a member that still runs (a zombie waits for its parent and runs no more)."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:  # no /proc (macOS): zombies count
        return True
    for process in processes:
        with contextlib.suppress(OSError):
            with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stream:
                state, _, its_group = stream.read().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


def main():
    groups = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end_groups(groups)


if __name__ == "__main__":
    main()
