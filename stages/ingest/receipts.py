"""The user's own receipts: one line an item of a receipt, streamed, so that files larger than memory are read too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stages.ingest.raw import SCHEMAS, Raw
from stages.ingest.table_files import TableOptions, pick, require, scan
from stages.settings import InputError, field

ISO = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
COLUMNS = tuple(SCHEMAS["receipts"]["receipts"])


@dataclass(frozen=True)
class ReceiptOptions(TableOptions):
    metadata: dict[str, str] | list[str] = field({}, doc="field: column of the file, or a list of columns that keep their names")
    timestamp_format: str | None = field(None, doc="as strptime has it, for example '%d/%m/%Y %H:%M'; null: ISO 8601")


def from_path(options: ReceiptOptions, path: Path, scratch: Path) -> Raw:
    """Receipts of a CSV, Parquet or JSON lines file or folder. Wanted: receipt_id, and item or item_id (each stands in for the other).

    Missing positions are the order of the lines, missing quantities 1. A quantity or timestamp that cannot be read is null; how many
    there are is in source.json as `unreadable`, what stood there in the column `<name>_text`; it is an error when it is all of them.
    """
    frame = scan(path, options, scratch)
    chosen = pick(frame, options.columns, COLUMNS, ("receipt_id",), path)
    if "item" not in chosen and "item_id" not in chosen:
        pick(frame, options.columns, COLUMNS, ("item",), path)
    chosen.setdefault("item_id", chosen.get("item", ""))
    chosen.setdefault("item", chosen["item_id"])
    fields = options.metadata if isinstance(options.metadata, dict) else {name: name for name in options.metadata}
    for name, column in fields.items():
        require(column, frame.collect_schema().names(), path, f"options.metadata.{name}")
        if name in COLUMNS:
            raise InputError(f"options.metadata.{name}: a column of every receipt already; give the field another name")
    return receipts(frame, chosen, fields, options.timestamp_format, path)


def receipts(frame: pl.LazyFrame, chosen: dict[str, str], fields: dict[str, str], timestamp_format: str | None, path: Path) -> Raw:
    """Normalised receipts of `frame`; `chosen` and `fields` name its columns, as `from_path` describes them."""
    parsed = {"quantity": pl.lit(1.0), "timestamp": pl.lit(None, dtype=pl.Datetime("us"))}
    if "quantity" in chosen:
        parsed["quantity"] = pl.col(chosen["quantity"]).cast(pl.Float64, strict=False)
    if "timestamp" in chosen:
        parsed["timestamp"] = _moment(frame, chosen["timestamp"], timestamp_format)
    unreadable, position = _first_pass(frame, chosen, parsed, path)
    kept = {f"{name}_text": pl.when(_unreadable(chosen, parsed, name)).then(pl.col(chosen[name]).cast(pl.String)) for name in unreadable}
    text = {name: pl.col(chosen[name]).cast(pl.String) for name in ("receipt_id", "item_id", "item")}
    text |= {name: pl.col(column).cast(pl.String) for name, column in fields.items()}
    table = frame.select(**kept | text, **parsed, **({"position": pl.col(chosen["position"])} if position is None else {}))
    if position is not None:
        table = pl.concat([table, pl.LazyFrame({"position": position})], how="horizontal")
    tables = {"receipts": table}
    if fields:
        tables["items"] = catalogue(frame.select(**text), tuple(fields))
    return Raw("receipts", tables, licence="the user's own", fields=tuple(fields), notes={"unreadable": unreadable} if unreadable else {})


def _moment(frame, column, timestamp_format):
    kind = frame.collect_schema()[column]
    if kind.is_temporal():
        return pl.col(column).cast(pl.Datetime("us"))
    if kind.is_numeric():
        return pl.from_epoch(pl.col(column).cast(pl.Int64), "s").cast(pl.Datetime("us"))
    if timestamp_format == "epoch":
        return pl.from_epoch(pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64), "s").cast(pl.Datetime("us"))
    if timestamp_format:
        return pl.col(column).str.to_datetime(timestamp_format, time_unit="us", strict=False)
    tidy = pl.col(column).str.replace("T", " ", literal=True).str.strip_suffix("Z")
    options = [tidy.str.to_datetime(form, time_unit="us", strict=False) for form in ISO]
    first = frame.filter(pl.col(column).is_not_null()).head(1000).select(o.is_not_null().sum().alias(str(i)) for i, o in enumerate(options))
    counts = first.collect().row(0)
    return options[counts.index(max(counts))]  # one form for the column: trying all of them on every line takes four times as long


def _first_pass(frame, chosen, parsed, path):
    """({column: values that could not be read}, positions int32 or None if the file has them), from one streamed scan.

    A receipt's lines need not be together: equal hashes of receipt_id are counted. Were two ids ever to share a 64-bit hash, their
    positions would have gaps and still be in order.
    """
    bad = {name: _unreadable(chosen, parsed, name) for name in ("quantity", "timestamp") if name in chosen}
    hashed = {} if "position" in chosen else {"hash": pl.col(chosen["receipt_id"]).hash()}
    if not bad and not hashed:
        return {}, None
    seen = frame.select(**bad, **hashed).collect(engine="streaming")
    unreadable = {name: int(seen[name].sum()) for name in bad if seen[name].sum()}
    for name, count in unreadable.items():
        if count == seen.height:
            example = frame.select(pl.col(chosen[name]).cast(pl.String)).head(1).collect().item()
            mend = "set options.timestamp_format, for example '%d/%m/%Y %H:%M'" if name == "timestamp" else "map another column"
            raise InputError(f"{path}: no {name} in column {chosen[name]!r} could be read, the first is {example!r}; {mend}")
    return unreadable, positions(seen["hash"].to_numpy()) if hashed else None


def _unreadable(chosen, parsed, name):
    return pl.col(chosen[name]).is_not_null() & parsed[name].is_null()


def positions(keys: np.ndarray) -> np.ndarray:
    """For each row how many rows before it have its key: int32 [n]."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(keys)])
    found = np.empty(len(keys), np.int32)
    found[order] = np.arange(len(keys)) - np.repeat(starts, lengths)
    return found


def catalogue(frame: pl.LazyFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    """One row an item_id, by item_id: for `item` and each field its most frequent value, the first in the alphabet among equals."""
    seen = frame.group_by("item_id", "item", *fields).len("n").collect(engine="streaming").filter(pl.col("item_id").is_not_null())
    items = seen.select("item_id").unique().sort("item_id")
    for name in ("item", *fields):
        counted = seen.group_by("item_id", value=pl.col(name)).agg(len=pl.col("n").sum()).drop_nulls()
        best = counted.sort("item_id", "len", "value", descending=[False, True, False])
        best = best.unique("item_id", keep="first", maintain_order=True)
        items = items.join(best.select("item_id", pl.col("value").alias(name + "_")), on="item_id", how="left", maintain_order="left")
    return items.select("item_id", *(pl.col(name + "_").alias(name) for name in ("item", *fields)))
