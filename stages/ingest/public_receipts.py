"""Public receipts. Each function reads the files of `public_files.PUBLIC` of its name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from stages.ingest.download import Files
from stages.ingest.raw import Raw
from stages.ingest.receipts import ReceiptOptions, from_path
from stages.ingest.text_files import plain, truncated


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass(frozen=True)
class JourneyOptions:
    receipt: Literal["household_week", "basket"] = "household_week"


def groceries(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """One receipt a line, items between commas; with the file of levels, category (55) and department (10)."""
    rows = []
    with open(plain(files["groceries_stedy.csv"], "utf-8", scratch), encoding="utf-8", newline="") as file:
        for number, items in enumerate(csv.reader(file)):
            rows += [(f"g{number:05d}", position, item.strip()) for position, item in enumerate(items)]
    receipts = pl.DataFrame(rows, schema=["receipt_id", "position", "item"], orient="row")
    receipts = receipts.with_columns(item_id="item", quantity=pl.lit(1.0))
    if "groceries_items_levels_from_rda.csv" not in files:
        return Raw("receipts", {"receipts": receipts})
    levels = pl.read_csv(files["groceries_items_levels_from_rda.csv"])
    items = levels.select(item_id="labels", item="labels", category="level2", department="level1").sort("item_id")
    receipts = receipts.join(items.drop("item"), on="item_id", how="left", maintain_order="left")
    return Raw("receipts", {"receipts": receipts, "items": items}, fields=("category", "department"))


def complete_journey(options: JourneyOptions, files: Files, scratch: Path) -> Raw:
    """A sample drawn by line, 1.6 lines a basket: so by default a receipt is what a household bought in a week, in order of time."""
    lines = _csv(files["transactions_sample.csv.gz"])
    products = _csv(files["products.csv.gz"])
    receipt = pl.format("h{}-w{}", "household_id", "week") if options.receipt == "household_week" else pl.col("basket_id")
    receipts = lines.select(
        receipt_id=receipt, item_id="product_id", quantity=pl.col("quantity").cast(pl.Float64),
        timestamp=pl.from_epoch(pl.col("transaction_timestamp").cast(pl.Float64).cast(pl.Int64), "s").cast(pl.Datetime("us")),
    ).sort("timestamp", maintain_order=True)
    receipts = receipts.with_columns(position=pl.int_range(pl.len()).over("receipt_id"))
    items = products.select(item_id="product_id", item=pl.col("product_type").fill_null(pl.col("product_id")), category="product_category",
                            department="department", brand="brand", manufacturer="manufacturer_id").sort("item_id")
    items = items.join(receipts.select("item_id").unique(), on="item_id", how="semi", maintain_order="left")
    receipts = receipts.join(items, on="item_id", how="left", maintain_order="left")
    receipts = receipts.with_columns(pl.col("item").fill_null(pl.col("item_id")))
    return Raw("receipts", {"receipts": receipts, "items": items}, fields=("category", "department", "brand", "manufacturer"))


def online_retail(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """As published: cancellations, negative quantities and stock codes that are no goods are left for validation to find."""
    columns = {"receipt_id": "InvoiceNo", "item_id": "StockCode", "item": "Description", "quantity": "Quantity", "timestamp": "InvoiceDate"}
    return from_path(ReceiptOptions(columns=columns), files["online_retail_by_day_concat.csv.gz"], scratch)


def _csv(path):
    try:
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise truncated(path, error) from None
