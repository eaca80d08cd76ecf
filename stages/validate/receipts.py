"""Expectations of receipts: lines (receipts.parquet) and, where there is metadata, the items they name (items.parquet)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from stages.settings import field
from stages.validate import checks
from stages.validate.checks import Check, Thresholds
from stages.validate.suite import Dataset, Suite


@dataclass(frozen=True)
class ReceiptThresholds(Thresholds):
    min_rows: int = field(100, low=1)
    min_receipts: int = field(20, low=1)
    min_items: int = field(5, low=1)
    quantity_low: float = field(0.0, doc="a quantity is above this: returns and empty lines are set aside")
    quantity_high: float = field(1e4)
    max_null_share: float = field(0.2, low=0.0, high=1.0, doc="of a metadata field, and of the timestamp where some lines have one")
    max_duplicate_share: float = field(0.05, low=0.0, high=1.0, doc="lines that repeat an item of their receipt with the same quantity")
    max_single_item_share: float = field(0.6, low=0.0, high=1.0, doc="receipts of one item, from which no co-occurrence can be learnt")
    max_unsold_share: float = field(0.5, low=0.0, high=1.0, doc="rows of items.parquet that name an item nobody bought")
    max_undescribed_share: float = field(0.2, low=0.0, high=1.0, doc="sold items that items.parquet lacks")


LINES = {"receipt_id": pl.String, "position": pl.Int32, "item_id": pl.String, "item": pl.String, "quantity": pl.Float64,
         "timestamp": pl.Datetime("us")}
UNREADABLE = ("quantity_text", "timestamp_text")  # what stood where no number or time could be read: for the quarantine record
ITEMS = {"item_id": pl.String, "item": pl.String}


def _fields(frame: pl.DataFrame, known: dict) -> list[str]:
    return [c for c in frame.columns if c not in known and c not in ("split", *UNREADABLE) and not c.startswith("_")]


def rows(data: Dataset, t: ReceiptThresholds) -> list[Check]:
    lines = data.tables["receipts"]
    texts = ["receipt_id", "item_id", "item", *_fields(lines, LINES)]
    high = f"{t.quantity_high:g}"
    found = [
        *(checks.present("receipts", c) for c in ("receipt_id", "position", "item_id", "item", "quantity")),
        checks.not_blank("receipts", ["receipt_id", "item_id", "item"]),
        *checks.encoded("receipts", texts),
        checks.finite("receipts", ["quantity"]),
        Check("quantity_in_range", "receipts", "quantity", f"above {t.quantity_low:g}, at most {high}",
              arguments={"min_value": t.quantity_low, "max_value": t.quantity_high, "strict_min": True}),
        Check("position_in_range", "receipts", "position", "0 or more", arguments={"min_value": 0}),
        checks.unique("line_once", "receipts", ["receipt_id", "position"]),
    ]
    if "split" in lines.columns:
        found += [checks.known_split("receipts"),
                  checks.no_leak("receipt_in_one_split", "receipts", "receipt_id", pl.col("receipt_id"), "receipt")]
    if "items" in data.tables:
        found += [checks.present("items", "item_id"), checks.not_blank("items", ["item_id"]),
                  *checks.encoded("items", ["item_id", "item", *_fields(data.tables["items"], ITEMS)]),
                  checks.unique("item_once", "items", ["item_id"])]
    return found


def references(data: Dataset, t: ReceiptThresholds) -> list[Check]:
    if "items" not in data.tables:
        return []
    sold = data.tables["receipts"]["item_id"].unique()
    described = data.tables["items"]["item_id"]
    bought = pl.DataFrame({"item_id": sold.sort()})
    return [
        checks.never("metadata_names_sold_item", "items", "item_id", pl.col("item_id").is_in(sold.implode()).not_(),
                     "an item that some receipt holds"),
        checks.at_most(t.max_undescribed_share, "sold_item_has_metadata", "receipts", "item_id",
                       pl.col("item_id").is_in(described.implode()).not_(), "sold items are in items.parquet",
                       "{n} of {total} sold items have no row in items.parquet", frame=bought, setting="max_undescribed_share"),
    ]


def whole(data: Dataset, t: ReceiptThresholds) -> list[Check]:
    lines = data.tables["receipts"]
    totals = {"rows": lines.height, "receipt_id": lines["receipt_id"].n_unique(), "item_id": lines["item_id"].n_unique()}
    per_receipt = lines.group_by("receipt_id").agg(
        items=pl.col("item_id").n_unique(), times=pl.col("timestamp").n_unique()).sort("receipt_id")
    names = lines.group_by("item_id").agg(names=pl.col("item").n_unique()).sort("item_id")
    found = [
        checks.enough_rows("receipts", t.min_rows),
        checks.aggregate("enough_receipts", "receipts", "receipt_id", totals, t.min_receipts, f"at least {t.min_receipts} receipts",
                         f"{totals['receipt_id']} receipts", "min_receipts"),
        checks.aggregate("enough_items", "receipts", "item_id", totals, t.min_items, f"at least {t.min_items} different items",
                         f"{totals['item_id']} different items", "min_items"),
        checks.at_most(t.max_single_item_share, "several_items_a_receipt", "receipts", "receipt_id", pl.col("items") < 2,
                       "receipts of two or more different items", "{n} of {total} receipts hold one item", frame=per_receipt,
                       setting="max_single_item_share"),
        checks.at_most(t.max_duplicate_share, "few_repeated_lines", "receipts", "receipt_id, item_id, quantity",
                       pl.struct("receipt_id", "item_id", "quantity").is_first_distinct().not_(), "no line repeats another of its receipt",
                       "{n} of {total} lines repeat another of their receipt", setting="max_duplicate_share"),
        checks.at_most(1.0, "one_time_a_receipt", "receipts", "timestamp", pl.col("times") > 1,
                       "lines of a receipt share one time (counted)",
                       "{n} of {total} receipts have lines of several times: is an id used twice?", frame=per_receipt),
        checks.at_most(1.0, "one_name_an_item", "receipts", "item", pl.col("names") > 1, "an item has one name (counted)",
                       "{n} of {total} items go by several names; the first is shown", frame=names),
    ]
    optional = [("receipts", c) for c in _fields(lines, LINES)]
    if lines["timestamp"].null_count() < lines.height:
        optional.append(("receipts", "timestamp"))
    if "items" in data.tables:
        optional += [("items", c) for c in _fields(data.tables["items"], ITEMS)]
    return found + [checks.mostly_present(t.max_null_share, table, c) for table, c in optional]


SUITE = Suite(
    thresholds=ReceiptThresholds,
    kinds={"receipts": {"receipts": LINES, "items": ITEMS}},
    passes=(rows, references, whole),
    optional=("items",),
    extra=lambda table, column: pl.String,
    limits={"items": "max_unsold_share"},
)
