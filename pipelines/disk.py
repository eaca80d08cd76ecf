"""A full disk under a flow: DVC, SQLite and Prefect's server each say it in their own way, here it becomes one OSError."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# the words of the system, and SQLite's own, which keeps no error number: the second is what it makes of a quota and of a limit on files
WORDS = (*map(os.strerror, FULL), "database or disk is full", "disk I/O error")


@contextlib.contextmanager
def full_is_one_error(log: Path | None = None) -> Iterator[None]:
    """Raise OSError(ENOSPC) in place of an error that a full disk lies behind; `log` is what a server under it wrote meanwhile."""
    try:
        yield
    except Exception as error:
        if about_full(error) or says_full(log):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file_of(error) or (str(log) if log else None)) from None
        raise


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from."""
    seen, waiting = set(), [error]
    while waiting:
        now = waiting.pop()
        if now is None or id(now) in seen:
            continue
        seen.add(id(now))
        yield now
        waiting += [now.__cause__, now.__context__, *getattr(now, "exceptions", ())]


def about_full(error: BaseException) -> bool:
    return any(getattr(each, "errno", None) in FULL or any(words in str(each) for words in WORDS) for each in chain(error))


def file_of(error: BaseException) -> str | None:
    return next((str(each.filename) for each in chain(error) if getattr(each, "errno", None) in FULL and each.filename), None)


def says_full(log: Path | None) -> bool:
    """Whether the last of what stands in `log` speaks of a full disk."""
    if log is None or not log.is_file():
        return False
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200_000))
        text = file.read().decode("utf-8", "replace")
    return any(words in text for words in WORDS)
