"""Receipts -> item vocabulary, baskets end to end, metadata values per item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from stages.prepare.splits import SPLITS, Shares, with_splits
from stages.settings import InputError, field


@dataclass(frozen=True)
class ReceiptSettings:
    min_count: int = field(1, low=1, doc="items bought less often in train are left out")
    split_by: Literal["hash", "time"] = field("hash", doc="time: the last receipts are the test split, those before them valid")
    valid: float | None = field(None, low=0.0, high=0.8)
    test: float | None = field(None, low=0.0, high=0.8)


def receipts(table: pl.DataFrame, items: pl.DataFrame | None, fields: list[str], settings: ReceiptSettings, shares: Shares):
    """arrays, tables, meta of kind receipts. Items unknown in train are left out of valid and test, and counted."""
    if settings.split_by == "time":
        table = _by_time(table, shares)
    else:
        table = with_splits(table, "receipt_id", shares, group=None)  # a field may be called group, and belongs to the item
    names = table.filter(pl.col("split") == "train").group_by("item_id").agg(pl.len().alias("n"), pl.col("item").first())
    names = names.filter(pl.col("n") >= settings.min_count).sort(["n", "item_id"], descending=[True, False])
    if names.is_empty():
        raise InputError(f"no item is bought {settings.min_count} times in the train split; lower prepare.min_count")
    ids = names.select("item_id").with_row_index("id")
    arrays = {"counts": names["n"].to_numpy().astype(np.int64)}
    meta = {"items": len(names), "fields": {}, "receipts": {}, "tokens": {}, "left_out": {}}
    for s in SPLITS:
        part = table.filter(pl.col("split") == s).sort(["receipt_id", "position"], maintain_order=True)
        known = part.join(ids, on="item_id", how="inner", maintain_order="left")
        lengths = known.group_by("receipt_id", maintain_order=True).len()["len"].to_numpy()
        arrays[f"{s}.tokens"] = known["id"].to_numpy().astype(np.int32)
        arrays[f"{s}.offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        meta["receipts"][s], meta["tokens"][s], meta["left_out"][s] = len(lengths), len(known), len(part) - len(known)
    tables = {"items": names["item"].to_list()}
    source = items if items is not None else table.select("item_id", *fields).unique("item_id", keep="first", maintain_order=True)
    for name in fields:
        values = names.select("item_id").join(source.select("item_id", name).unique("item_id", keep="first", maintain_order=True),
                                              on="item_id", how="left", maintain_order="left")[name]
        known_values = sorted(values.drop_nulls().unique())
        index = {v: i for i, v in enumerate(known_values)}
        arrays[f"field.{name}"] = np.array([index.get(v, -1) for v in values], np.int32)
        tables[f"field.{name}"], meta["fields"][name] = known_values, len(known_values)
    return arrays, tables, meta


def _by_time(table: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    if "timestamp" not in table.columns or table["timestamp"].null_count():
        raise InputError("prepare.split_by: time needs a timestamp in every row; use hash, or map options.columns.timestamp")
    first = table.group_by("receipt_id").agg(pl.col("timestamp").min()).sort(["timestamp", "receipt_id"])
    n = len(first)
    train, valid = round(n * (1 - shares.valid - shares.test)), round(n * shares.valid)
    split = ["train"] * train + ["valid"] * valid + ["test"] * (n - train - valid)
    assigned = first.select("receipt_id").with_columns(split=pl.Series(split, dtype=pl.String))
    return table.drop("split", strict=False).join(assigned, on="receipt_id", how="left", maintain_order="left")
