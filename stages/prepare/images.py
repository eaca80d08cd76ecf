"""Images, 2-D points and series -> one array a split, with labels and known factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from stages.prepare.domains import two_domains
from stages.prepare.splits import SPLITS, Shares, with_splits
from stages.settings import InputError, field


@dataclass(frozen=True)
class ImageSettings:
    valid: float | None = field(None, low=0.0, high=0.8)
    test: float | None = field(None, low=0.0, high=0.8)
    task: Literal["none", "reduce", "grey", "edges", "change", "domains", "pairs"] = field(
        "none", doc="make two domains of the images, kind two_domains (stages/prepare/domains.py)")
    scale: int = field(4, low=2, high=16, doc="task reduce: the source is smaller by this")
    changes: tuple[Literal["inverted", "warped", "coloured", "blurred"], ...] = field((), doc="task change: made in turn for the target")
    apart: Literal["group", "image"] = field("group", doc="task change: what is in one pile of training images as a whole; image: piles of "
                                             "few groups have the same content, and must not overlap")


def images(table: pl.DataFrame, pixels: np.ndarray, kind: str, settings: ImageSettings, shares: Shares):
    """arrays, tables, meta of kind images (uint8 N x H x W x C), points (float32 N x 2) or series (float32 N x T x D), or of two

    domains that a task makes.
    """
    if settings.task != "none":
        if kind != "images":
            raise InputError(f"prepare.task: {settings.task} makes two domains of images, but the dataset holds {kind}; leave it out")
        if (settings.task == "change") != bool(settings.changes):
            raise InputError(f"prepare.changes: found {list(settings.changes)} with task {settings.task}; task change needs at least one, "
                             "other tasks none")
        if settings.apart != "group" and settings.task != "change":
            raise InputError(f"prepare.apart: task {settings.task} does not part the training images; leave it out")
        return two_domains(table, pixels, settings, shares)
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
