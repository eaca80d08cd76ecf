"""Files of the pipeline: written whole or not at all, read with one clear line when they are not what they should be."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import shutil
from pathlib import Path

from stages.settings import InputError


@contextlib.contextmanager
def replacing(path: Path):
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    What a process that was killed left there goes too: half-written files would enter the hash of a folder that a stage depends on.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if left == temporary or not _runs(left.name.split(".")[-2]):
            remove(left)
    try:
        yield temporary
        if path.is_dir():
            remove(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def new_folder(path: Path):
    """As `replacing`, for a folder: yields an empty one that takes the place of `path` on success."""
    with replacing(path) as temporary:
        temporary.mkdir(parents=True)
        yield temporary


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def rounded(value, digits: int = 6):
    """`value` with every float rounded to `digits` significant digits; NaN and infinities become None (JSON has none)."""
    if isinstance(value, dict):
        return {str(k): rounded(v, digits) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v, digits) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    elif hasattr(value, "tolist"):
        return rounded(value.tolist(), digits)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def write_json(path: Path, value) -> None:
    """Write JSON with stable key order and a final newline, atomically; floats at 6 significant digits."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rounded(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path):
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it (see dvc.yaml)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); delete it and rerun its stage") from None
