"""An empty database for Prefect's server, kept once it has been made: Prefect builds one by a hundred migrations, five seconds of CPU.

It is kept beside the installed packages, by Prefect's version, as compiled code is; where that cannot be written each workspace makes its
own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sqlite3
import sys
from pathlib import Path

FILES = ("prefect.db", "memo_store.toml")  # the second says which blocks are registered in the first


def kept() -> Path:
    return Path(sys.prefix) / "share" / "baznama" / f"prefect-{importlib.metadata.version('prefect')}"


def lay(home: Path) -> bool:
    """Put an empty database into `home` where there is none; True when Prefect is going to make one, which `keep` may keep."""
    if (home / FILES[0]).exists():
        return False
    try:
        copy(kept() / FILES[0], home / FILES[0])
        shutil.copyfile(kept() / FILES[1], home / FILES[1])
    except (FileNotFoundError, sqlite3.DatabaseError):  # not kept yet, or damaged
        (home / FILES[0]).unlink(missing_ok=True)
        return True
    return False


def keep(home: Path) -> None:
    """Keep the database of `home`, in which nothing has run yet, for the next workspace."""
    folder = kept()
    with contextlib.suppress(OSError, sqlite3.DatabaseError):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / FILES[1], folder / FILES[1])
        copy(home / FILES[0], folder / FILES[0])


def copy(source: Path, target: Path) -> None:
    """Copy a database, also while a server has it open; `target` is there as a whole or not at all."""
    if not source.is_file():
        raise FileNotFoundError(source)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as there:
            with contextlib.closing(sqlite3.connect(temporary)) as here:
                there.backup(here)
                here.execute("pragma journal_mode = delete")  # one file, which can be read where nothing can be written
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
