"""What a domain's suite is made of, and the raw dataset it is held against."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from stages.files import read_json
from stages.settings import InputError, choose
from stages.validate.checks import Check, Thresholds

CHUNK = 1 << 24  # bytes of an array held in memory at once


@dataclass
class Dataset:
    """A folder of data/raw in memory. Columns that start with `_` are the suite's own (`_row`: position in the raw table)."""

    folder: Path
    kind: str
    tables: dict[str, pl.DataFrame]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """What a domain's module offers: the columns of each kind's tables, and passes that make checks of what is left by then.

    `facts` are checks that must hold, with the columns and types, before anything is measured: `measure` may add `_` columns then.
    `optional` tables may be missing. `extra(table, column)` is the type of a column that the format leaves open, None for any.
    """

    thresholds: type[Thresholds]
    kinds: dict[str, dict[str, dict[str, type | pl.DataType]]]
    passes: tuple[Callable[[Dataset, Thresholds], list[Check]], ...]
    facts: Callable[[Dataset], list[Check]] = lambda dataset: []
    measure: Callable[[Dataset], None] = lambda dataset: None
    optional: tuple[str, ...] = ()
    extra: Callable[[str, str], type | None] = lambda table, column: None
    limits: dict[str, str] = field(default_factory=dict)  # table -> threshold on its rows set aside, where it is another


def read(folder: Path, suite: Suite) -> Dataset:
    """The tables and arrays of a raw folder. InputError for what is missing or unreadable."""
    kind = choose(str(read_json(folder / "source.json").get("kind")), suite.kinds, f"{folder}/source.json: kind", "kind")
    tables, arrays = {}, {}
    for name in suite.kinds[kind]:
        path = folder / f"{name}.parquet"
        if path.is_file() or name not in suite.optional:
            with _readable(path):
                tables[name] = pl.read_parquet(path).with_row_index("_row")
    for name in ("images", "points", "series"):
        if kind == name:
            path = folder / f"{name}.npy"
            with _readable(path):
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return Dataset(folder, kind, tables, arrays)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; rerun the ingest stage") from None
    except (pl.exceptions.PolarsError, ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not readable ({str(error).splitlines()[0]}); delete it and rerun the ingest stage") from None


def chunk_rows(array: np.ndarray) -> int:
    """Rows of `array` that make about 16 MB."""
    return max(1, CHUNK // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:]))))
