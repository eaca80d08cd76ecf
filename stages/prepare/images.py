"""Images, 2-D points and series -> one array a split, with labels and known factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.prepare.splits import SPLITS, Shares, with_splits
from stages.settings import field


@dataclass(frozen=True)
class ImageSettings:
    valid: float | None = field(None, low=0.0, high=0.8)
    test: float | None = field(None, low=0.0, high=0.8)


def images(table: pl.DataFrame, pixels: np.ndarray, kind: str, settings: ImageSettings, shares: Shares):
    """arrays, tables, meta of kind images (uint8 N x H x W x C), points (float32 N x 2) or series (float32 N x T x D)."""
    table = with_splits(table, "image_id", shares)
    labels = sorted(table["label"].drop_nulls().unique()) if "label" in table.columns else []
    domains = sorted(table["domain"].drop_nulls().unique()) if "domain" in table.columns else []
    factors = [c.removeprefix("factor_") for c in table.columns if c.startswith("factor_")]
    split = table["split"].to_numpy()
    codes = {"labels": _codes(table, "label", labels), "domains": _codes(table, "domain", domains)}
    arrays = {}
    for s in SPLITS:
        rows = np.flatnonzero(split == s)
        arrays[f"{s}.{kind}"] = np.ascontiguousarray(pixels[rows])
        arrays[f"{s}.labels"] = codes["labels"][rows]
        if domains:
            arrays[f"{s}.domains"] = codes["domains"][rows]
        if factors:
            arrays[f"{s}.factors"] = table.select([f"factor_{f}" for f in factors]).to_numpy()[rows].astype(np.float64)
    meta = {"shape": list(pixels.shape[1:]), "classes": len(labels), kind: {s: int((split == s).sum()) for s in SPLITS}}
    if kind == "series":
        meta["factors"] = factors
    return arrays, {"labels": labels, "domains": domains, "factors": factors}, meta


def _codes(table: pl.DataFrame, column: str, names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index.get(x, -1) for x in table[column]] if column in table.columns else [-1] * len(table), np.int32)
