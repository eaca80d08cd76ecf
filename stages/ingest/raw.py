"""What a source gives and how it is written: tables with the columns of docs/formats.md, arrays, and source.json beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from stages.files import new_folder, write_json
from stages.settings import InputError

TEXT, DATE = pl.String, pl.Datetime("us")

# kind -> table -> column -> type; the first table is the one whose rows are counted
SCHEMAS: dict[str, dict[str, dict[str, pl.DataType]]] = {
    "receipts": {
        "receipts": {"receipt_id": TEXT, "position": pl.Int32, "item_id": TEXT, "item": TEXT, "quantity": pl.Float64, "timestamp": DATE},
        "items": {"item_id": TEXT, "item": TEXT},
    },
    "documents": {
        "documents": dict.fromkeys(("doc_id", "split", "text", "label", "group"), TEXT),
        "analogies": dict.fromkeys(("section", "a", "b", "c", "d"), TEXT),
        "similarity": {"first": TEXT, "second": TEXT, "score": pl.Float64},
    },
    "pairs": {"pairs": dict.fromkeys(("pair_id", "split", "source", "target", "group"), TEXT)},
    "questions": {
        "questions": {"question_id": TEXT, "split": TEXT, "question": TEXT, "answer": TEXT, "label": pl.Int8, "group": TEXT},
    },
    "counts": {
        "counts": {"doc_id": TEXT, "split": TEXT, "label": TEXT, "words": pl.List(TEXT), "counts": pl.List(pl.Int32)},
    },
    "graph": {
        "edges": {"source": TEXT, "target": TEXT, "weight": pl.Float64},
        "nodes": {"node_id": TEXT, "label": TEXT},
    },
    "triples": {"triples": dict.fromkeys(("head", "relation", "tail", "split"), TEXT)},
    "images": {
        "images": dict.fromkeys(("image_id", "split", "label", "domain", "group"), TEXT)
        | dict.fromkeys(("height", "width"), pl.Int32) | dict.fromkeys(("mean", "std", "minimum", "maximum"), pl.Float64),
    },
}
SCHEMAS["points"] = SCHEMAS["series"] = SCHEMAS["images"]
ROW_GROUP = 250_000  # fixed, so that the same rows give the same bytes whatever the number of threads


@dataclass
class Raw:
    """A dataset on its way to disk. `tables` need not have every column: a missing nullable one is written as nulls.

    `fields` names the metadata columns of receipts; `truth` is what a simulation knows; `notes` goes into source.json as it is.
    """

    kind: str
    tables: dict[str, pl.DataFrame | pl.LazyFrame]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    licence: str = "unknown"
    address: str | list[str] | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    truth: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def write(raw: Raw, folder: Path, origin: dict) -> dict:
    """Write `raw` as the folder `folder`, replacing it whole; `origin` holds dataset, domain, source and name. Returns source.json.

    Raises InputError when the main table has no row: an empty dataset is an error of its source.
    """
    with new_folder(folder) as new:
        rows = {}
        for name, schema in SCHEMAS[raw.kind].items():
            if name in raw.tables:
                rows[name] = _write_table(_conform(raw.tables[name], schema, raw), new / f"{name}.parquet")
        if not next(iter(rows.values()), 0):
            raise InputError(f"{origin['dataset']}: the source {origin['name']} gave no rows; an empty dataset is of no use")
        for name, array in raw.arrays.items():
            np.save(new / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        described = {
            **origin, "licence": raw.licence, "address": raw.address, "sha256": raw.sha256, "kind": raw.kind,
            "rows": next(iter(rows.values())), "tables": rows, "fields": list(raw.fields), **raw.notes, "truth": raw.truth,
        }
        write_json(new / "source.json", described)
    return described


def _conform(table, schema, raw):
    """`table` with the schema's columns in their order and types, then metadata fields (text), texts that could not be read and factors."""
    present = table.collect_schema().names()
    columns = [
        (pl.col(name).cast(kind) if name in present else pl.lit(None, dtype=kind)).alias(name) for name, kind in schema.items()
    ]
    columns += [pl.col(name).cast(TEXT) for name in raw.fields if name in present and name not in schema]
    columns += [pl.col(f"{name}_text") for name in schema if f"{name}_text" in present and f"{name}_text" not in raw.fields]
    columns += [pl.col(name).cast(pl.Float64) for name in present if name.startswith("factor_")]
    return table.select(columns)


def _write_table(table, path: Path) -> int:
    if isinstance(table, pl.LazyFrame):
        table.sink_parquet(path, compression="zstd", row_group_size=ROW_GROUP, maintain_order=True)
        return pl.scan_parquet(path).select(pl.len()).collect().item()
    table.write_parquet(path, compression="zstd", row_group_size=ROW_GROUP)
    return table.height


def image_table(images: np.ndarray, **columns) -> pl.DataFrame:
    """The images table: `columns` as given, then size and value statistics of each image of `images` [N, H, W, C]."""
    n, height, width = images.shape[:3]
    stats = np.empty((n, 4))
    for start in range(0, n, 4096):  # in blocks: float64 copies of a whole set would take eight times its memory
        flat = images[start:start + 4096].reshape(min(4096, n - start), -1).astype(np.float64)
        stats[start:start + 4096] = np.stack([flat.mean(1), flat.std(1), flat.min(1), flat.max(1)], 1)
    return pl.DataFrame(columns).with_columns(
        pl.lit(height).alias("height"), pl.lit(width).alias("width"),
        *(pl.Series(name, stats[:, i]) for i, name in enumerate(("mean", "std", "minimum", "maximum"))),
    )
