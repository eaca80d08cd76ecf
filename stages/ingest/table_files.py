"""The user's own tables: CSV and TSV, Parquet, JSON lines, scanned lazily with the columns the options name."""

from __future__ import annotations

import codecs
import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import polars as pl

from stages.ingest.text_files import OPENERS, plain
from stages.settings import InputError, choose, field, nearest

FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".data": "csv", ".parquet": "parquet", ".pq": "parquet",
           ".jsonl": "jsonl", ".ndjson": "jsonl"}
SPLITS = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
          "test": "test", "testing": "test"}


@dataclass(frozen=True)
class TableOptions:
    """How to read a table; the domains add which columns they want."""

    format: Literal["csv", "parquet", "jsonl"] | None = None
    columns: dict[str, str] = field({}, doc="column of the normalised table: column of the file")
    separator: str | None = None
    quote: str | None = field(None, doc="quoting character; '' for none, as is usual in files separated by tabs")
    header: bool = field(True, doc="whether the first line names the columns; else they are column_1, column_2, ...")
    encoding: str = "utf-8"


def files(path: Path) -> list[tuple[Path, str | None]]:
    """(file, split): `path`, or the files of a folder in sorted order; a file named train, valid, dev or test is that split."""
    if not path.is_dir():
        return [(path, None)]
    found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    named = [(p, SPLITS.get(p.name.split(".")[0].lower())) for p in found]
    if any(split for _, split in named):  # then what is not a split (a licence, a list of names) is no data
        named = [(p, split) for p, split in named if split]
    if not named:
        raise InputError(f"{path}: an empty folder; expected files of one table, for example train.csv and test.csv")
    return named


def scan(path: Path, options: TableOptions, scratch: Path) -> pl.LazyFrame:
    """The table of `path` (a file or a folder of them), CSV and JSON columns as text; a folder of splits gets a column `split`."""
    parts = []
    for file, split in files(path):
        inside = scratch / f"part{len(parts)}"
        inside.mkdir(parents=True, exist_ok=True)
        frame = _scan_file(file, options, inside)
        if split and "split" not in columns_of(frame, file):
            frame = frame.with_columns(pl.lit(split).alias("split"))
        parts.append(frame)
    return pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]


def format_of(path: Path, options: TableOptions) -> str:
    """The format options name, else the one the file's extension means, compression aside."""
    if options.format:
        return options.format
    kind = FORMATS.get(next(reversed(suffixes(path)), ""))
    if kind is None:
        raise InputError(f"{path}: its extension tells no format; set options.format to one of csv, parquet, jsonl")
    return kind


def _scan_file(path, options, scratch):
    kind = format_of(path, options)
    if kind == "parquet":
        try:
            frame = pl.scan_parquet(path)
            frame.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{path}: truncated or not a Parquet file ({first_line(error)}); write it again") from None
        return frame
    source = plain(path, options.encoding, scratch)
    if kind == "jsonl":
        source = without_mark(source, scratch)
    if source.stat().st_size == 0:
        raise InputError(f"{path}: an empty file; an empty dataset is of no use")
    return _scan_jsonl(source, path) if kind == "jsonl" else _scan_csv(source, path, options)


def without_mark(source: Path, scratch: Path) -> Path:
    """The file, or where it begins with a byte-order mark, which JSON lines must not have, a copy without."""
    with open(source, "rb") as read:
        if read.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            return source
        copy = scratch / f"{source.name}.unmarked"
        with open(copy, "wb") as write:
            shutil.copyfileobj(read, write)
    return copy


def separator_of(path: Path, options: TableOptions) -> str:
    """The separator that options name, else a tab in .tsv and .txt and a comma in others, compression aside."""
    return options.separator or ("\t" if suffixes(path)[-1:] in ([".tsv"], [".txt"]) else ",")


def quote_of(options: TableOptions, separator: str) -> str:
    """The quoting character; none, "", in files separated by tabs unless options name one."""
    return options.quote if options.quote is not None else ("" if separator == "\t" else '"')


def suffixes(path: Path) -> list[str]:
    """Those of a file's name in lower case, without that of its compression."""
    return [s.lower() for s in path.suffixes if s not in OPENERS]


def text_of(path: Path, encoding: str, **given) -> TextIO:
    """A table's text, unpacked where its name says that it is packed; what does not decode is replaced."""
    return OPENERS.get(path.suffix, open)(path, "rt", encoding=encoding, errors="replace", **given)


def _scan_csv(source, path, options):
    separator = separator_of(path, options)
    if len(separator.encode()) != 1:
        raise InputError(f"options.separator: expected one character, found {separator!r}")
    quote = quote_of(options, separator)
    try:
        frame = pl.scan_csv(source, separator=separator, quote_char=quote or None, has_header=options.header, infer_schema=False)
        names = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not readable as CSV ({first_line(error)})") from None
    return frame if options.header else frame.rename({name: f"column_{i}" for i, name in enumerate(names, 1)})


def _scan_jsonl(source, path):
    with open(source, encoding="utf-8") as file:
        names: dict[str, None] = {}
        for number, line in zip(range(1, 1001), file, strict=False):
            names |= dict.fromkeys(_record(line, path, number))
    if not names:
        raise InputError(f"{path}: its first lines hold no record; one JSON object a line is expected, as {{\"receipt_id\": \"1\"}}")
    return pl.scan_ndjson(source, schema=dict.fromkeys(names, pl.String))


def _record(line, path, number):
    try:
        record = json.loads(line) if line.strip() else {}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {number} is not JSON ({error.msg}); one object a line is expected") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: line {number} is not a JSON object; one object a line is expected, as {{\"receipt_id\": \"1\"}}")
    return record


def columns_of(frame: pl.LazyFrame, path: Path) -> list[str]:
    return frame.collect_schema().names()


def pick(frame: pl.LazyFrame, mapping: dict[str, str], allowed: tuple[str, ...], required: tuple[str, ...], path: Path) -> dict[str, str]:
    """Normalised column -> column of the file: what `mapping` says, else columns that already have the normalised name.

    Raises InputError for an unknown normalised name, a column the file lacks (with the nearest it has), or a missing required one.
    """
    present = frame.collect_schema().names()
    for name, column in mapping.items():
        choose(name, allowed, "options.columns", "column of the table")
        require(column, present, path, f"options.columns.{name}")
    chosen = {name: mapping.get(name, name) for name in allowed if name in mapping or name in present}
    for name in required:
        if name not in chosen:
            raise InputError(f"{path}: has no column {name!r}{nearest(name, present)}; it has {_few(present)}; "
                             f"name the right one under options.columns, as {name}: {present[0]}")
    return chosen


def require(column: str, present: list[str], path: Path, where: str) -> None:
    if column not in present:
        raise InputError(f"{where}: {path} has no column {column!r}{nearest(column, present)}; it has {_few(present)}")


def _few(names, most=12):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def explained(path: Path, options, error: Exception) -> InputError:
    """The InputError for a table that failed while it was read: the line that does not fit where that can be found."""
    for file, _ in files(path):
        kind = format_of(file, options) if isinstance(options, TableOptions) else None
        if kind == "jsonl":
            with text_of(file, "utf-8-sig") as lines:
                for number, line in enumerate(lines, 1):
                    _record(line, file, number)
        elif kind == "csv":
            separator = separator_of(file, options)
            if line := _unclosed(file, options, separator):
                return InputError(f"{file}: a quote opened near line {line} never closes; mend it, or set options.quote to '' where quotes "
                                  "mean nothing")
            quote = quote_of(options, separator)
            quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
            with text_of(file, options.encoding, newline="") as lines:
                rows, width = csv.reader(lines, delimiter=separator, **quoting), None
                try:
                    for row in rows:
                        width = len(row) if width is None else width
                        if len(row) > width:
                            return InputError(f"{file}: line {rows.line_num} has {len(row)} fields, the first line {width}; "
                                              "quote what holds the separator, or set options.separator or options.quote")
                except csv.Error as problem:
                    return InputError(f"{file}: line {rows.line_num} is not readable as CSV ({problem})")
    return InputError(f"{path}: not readable ({first_line(error)})")


def _unclosed(file, options, separator):
    """The line of the last quote that opens a field and has no partner; None where all close or nothing is quoted."""
    quote = quote_of(options, separator)
    opened = None
    if quote:
        with text_of(file, options.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.count(quote) % 2:
                    opened = number if opened is None else None
    return opened
