"""Expectations of images (uint8 N x H x W x C) , of 2-D points (float32 N x 2) and of series (float32 N x T x D), with their table."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl

from stages.settings import field
from stages.validate import checks
from stages.validate.checks import Check, LabelThresholds
from stages.validate.suite import Dataset, Suite, chunk_rows


@dataclass(frozen=True)
class ImageThresholds(LabelThresholds):
    min_rows: int = field(50, low=1)
    min_side: int = field(2, low=1)
    max_side: int = field(4096, low=1)
    min_value_range: float = field(32.0, low=0.0, high=255.0, doc="largest less smallest value of the whole set (0-1 data has 1)")
    max_constant_share: float = field(0.01, low=0.0, high=1.0, doc="images whose pixels are all equal")
    max_duplicate_share: float = field(0.2, low=0.0, high=1.0, doc="images that repeat one of the same split")
    max_unseen_label_share: float = field(0.0, low=0.0, high=1.0, doc="rows of valid and test with a label that train lacks")


TABLE = dict.fromkeys(("image_id", "split", "label", "domain", "group"), pl.String) | dict.fromkeys(("height", "width"), pl.Int32) \
    | dict.fromkeys(("mean", "std", "minimum", "maximum"), pl.Float64)
ROUNDING = 1e-3  # between statistics of ingest and of the array


def array_facts(data: Dataset) -> list[Check]:
    """Judged before anything is measured: a row of the table for each of the array."""
    array = data.arrays[data.kind]
    wanted = {"images": ("uint8", 4), "points": ("float32", 2), "series": ("float32", 3)}[data.kind]
    facts = pl.DataFrame([{"array": data.kind, "type": str(array.dtype), "dimensions": array.ndim,
                           "rows": len(array) if array.ndim else 0, "rows of the table": data.tables["images"].height}])
    spell = {"images": "uint8 N x H x W x C", "points": "float32 N x 2", "series": "float32 N x T x D"}[data.kind]
    shape = (pl.col("type") != wanted[0]) | (pl.col("dimensions") != wanted[1]) | pl.lit(data.kind == "points" and array.shape[1:] != (2,))
    return [checks.never("array_type", "images", data.kind, shape, spell, level="table", frame=facts),
            checks.never("row_for_row", "images", data.kind, pl.col("rows") != pl.col("rows of the table"),
                         "as many array rows as table rows", level="table", frame=facts)]


def measure(data: Dataset) -> None:
    """Columns `_content` (digest of the pixels), `_mean`, `_low`, `_high` (of a row) from the memory-mapped array, chunk by chunk."""
    array = data.arrays[data.kind]
    digests, stats, step = [], [np.zeros((0, 3))], chunk_rows(array) // 8 or 1
    for start in range(0, len(array), step):
        block = np.ascontiguousarray(array[start:start + step])
        flat = block.reshape(len(block), -1)
        stats.append(np.stack([flat.mean(1, dtype=np.float64), flat.min(1), flat.max(1)], 1))
        digests += [blake2b(row, digest_size=16).hexdigest() for row in flat]
    mean, low, high = np.concatenate(stats).T
    data.tables["images"] = data.tables["images"].with_columns(
        pl.Series("_content", digests), pl.Series("_mean", mean), pl.Series("_low", low), pl.Series("_high", high),
        pl.coalesce("group", "image_id").alias("_unit"))


def rows(data: Dataset, t: ImageThresholds) -> list[Check]:
    frame, found = data.tables["images"], [
        checks.present("images", "image_id"),
        checks.not_blank("images", ["image_id"]),
        checks.encoded("images", ["image_id", "label", "domain"])[0],
        checks.unique("id_once", "images", ["image_id"]),
        checks.known_split("images"),
    ]
    factors = [c for c in frame.columns if c.startswith("factor_")]
    if factors:
        found.append(checks.finite("images", factors))
    if data.kind != "images":
        return [*found, checks.never(f"finite_{data.kind}", "images", data.kind, pl.col("_mean").is_finite().not_(),
                                     "finite coordinates (no NaN, no infinity)")]
    _, height, width, _ = data.arrays["images"].shape
    for side, limit in (("height", height), ("width", width)):
        high = min(t.max_side, limit)
        found += [checks.present("images", side),
                  Check(f"{side}_in_range", "images", side, f"{t.min_side} to {high} pixels",
                        arguments={"min_value": t.min_side, "max_value": high})]
    extremes = (pl.col("minimum") != pl.col("_low")) | (pl.col("maximum") != pl.col("_high"))
    wrong = ((pl.col("mean") - pl.col("_mean")).abs() > ROUNDING) | extremes
    return [*found, checks.never("table_describes_array", "images", "mean, minimum, maximum", wrong,
                                 "the statistics of the array's row: table and array are in one order")]


def splits(data: Dataset, t: ImageThresholds) -> list[Check]:
    return [
        _differ(data),
        checks.no_leak("image_in_one_split", "images", data.kind, pl.col("_content"), "image"),
        checks.no_leak("group_in_one_split", "images", "group", pl.col("group"), "group"),
    ]


def copies(data: Dataset, t: ImageThresholds) -> list[Check]:
    return [checks.no_loose_copies("images", data.kind, pl.col("_content"), pl.col("_unit"), "image")]


def _differ(data: Dataset) -> Check:
    frame = data.tables["images"]
    different = frame["_content"].n_unique()
    note = f"all {frame.height} rows are equal" if different == 1 else f"{different} different rows of {frame.height}"
    return checks.aggregate("rows_differ", "images", data.kind, {data.kind: different}, 2, "at least 2 different rows", note)


def whole(data: Dataset, t: ImageThresholds) -> list[Check]:
    frame = data.tables["images"]
    found = [checks.enough_rows("images", t.min_rows),
             checks.copies(t.max_duplicate_share, "images", data.kind, pl.col("_content"), "image")]
    if data.kind == "images":
        spread = float((frame["_high"].max() or 0) - (frame["_low"].min() or 0))
        found += [
            checks.aggregate("value_range_used", "images", "images", {"images": spread}, t.min_value_range,
                             f"values {t.min_value_range:g} apart or more, of 0 to 255", f"values are {spread:g} apart",
                             "min_value_range"),
            checks.at_most(t.max_constant_share, "few_constant_images", "images", "images", pl.col("_low") == pl.col("_high"),
                           "images of more than one value", "{n} of {total} images hold one value in every pixel",
                           setting="max_constant_share"),
        ]
    return found + checks.labels(frame, "images", t) + checks.seen_labels(t.max_unseen_label_share, frame, "images")


SUITE = Suite(
    thresholds=ImageThresholds,
    kinds={"images": {"images": TABLE}, "points": {"images": TABLE}, "series": {"images": TABLE}},
    facts=array_facts,
    measure=measure,
    passes=(rows, splits, copies, whole),
    extra=lambda table, column: pl.Float64 if column.startswith("factor_") else None,
)
