"""Images -> two domains, what is translated (source) and what it should become (target): pairs, two piles, or a hidden change."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl

from stages.bicubic import resized
from stages.prepare.splits import SPLITS, Shares, position, with_splits
from stages.settings import InputError

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
EDGE = 48.0  # of 0..255: a pixel whose Sobel gradient is steeper is an edge


def two_domains(table: pl.DataFrame, pixels: np.ndarray, settings, shares: Shares):
    """arrays S.source, S.target (uint8), S.labels, S.target_labels, S.groups (of targets: one number a group); tables; meta of two_domains.

    meta: source_shape, shape (the target's), classes, task, `paired` (row i of train.source belongs to row i of train.target) and `truth`
    (so in valid and test). Raises InputError where the task does not fit the images.
    """
    table = with_splits(table, "image_id", shares).with_row_index("_at")
    names = sorted(table["label"].drop_nulls().unique()) if "label" in table.columns else []
    index = {name: i for i, name in enumerate(names)}
    labels = np.array([index.get(x, -1) for x in table["label"]] if "label" in table.columns else [-1] * len(table), np.int32)
    arrays, task = {}, settings.task
    grouped = "group" in table.columns and table["group"].null_count() == 0
    groups = table["group"].rank("dense").to_numpy().astype(np.int32) if grouped else np.arange(len(table), dtype=np.int32)
    for s in SPLITS:
        part = table.filter(pl.col("split") == s)
        if task in ("domains", "pairs"):
            first, second = _by_domain(part, task == "pairs", s)
        elif task == "change" and s == "train":
            first, second = _halves(part, shares.salt, settings.apart)
        else:
            first = second = part["_at"].to_numpy()
        source, target = np.ascontiguousarray(pixels[first]), np.ascontiguousarray(pixels[second])
        if task in ("reduce", "grey", "edges"):
            source = TASKS[task](source, settings)
        elif task == "change":
            target = changed(target, settings.changes)
        arrays |= {f"{s}.source": source, f"{s}.target": target, f"{s}.labels": labels[first], f"{s}.target_labels": labels[second],
                   f"{s}.groups": groups[second]}
    meta = {"kind": "two_domains", "shape": list(arrays["train.target"].shape[1:]), "source_shape": list(arrays["train.source"].shape[1:]),
            "classes": len(names), "task": task, "paired": task not in ("domains", "change"), "truth": task != "domains",
            "images": {s: len(arrays[f"{s}.target"]) for s in SPLITS}}
    if grouped:
        meta["groups"] = {s: table.filter(pl.col("split") == s)["group"].n_unique() for s in SPLITS}
    return arrays, {"labels": names}, meta


def reduced(images: np.ndarray, settings) -> np.ndarray:
    """Smaller by a whole factor, bicubic as in MATLAB."""
    if any(side % settings.scale for side in images.shape[1:3]):
        raise InputError(f"prepare.scale: images of {images.shape[1]}x{images.shape[2]} cannot be reduced {settings.scale} times without a "
                         "rest; choose another scale or size of patches")
    return resized(images, Fraction(1, settings.scale))


def grey(images: np.ndarray, settings=None) -> np.ndarray:
    """Luma of colour images: [n, H, W, 3] -> [n, H, W, 1]."""
    if images.shape[-1] != 3:
        raise InputError(f"prepare.task: images of {images.shape[-1]} channel have no colour to take away; choose colour images")
    return np.rint(images @ LUMA)[..., None].astype(np.uint8)


def edges(images: np.ndarray, settings=None) -> np.ndarray:
    """255 where the Sobel gradient of the luma, in grey values a pixel, is above 48, else 0: [n, H, W, C] -> [n, H, W, 1]."""
    x = np.pad(grey(images)[..., 0].astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    steep = np.hypot((rows[..., 2:] - rows[..., :-2]) / 4, (columns[:, 2:] - columns[:, :-2]) / 4)
    return np.where(steep > EDGE, 255, 0).astype(np.uint8)[..., None]


TASKS = {"reduce": reduced, "grey": grey, "edges": edges}


def inverted(images: np.ndarray) -> np.ndarray:
    """255 - v."""
    return 255 - images


def warped(images: np.ndarray) -> np.ndarray:
    """Row y moved round by W/8 sin(2 pi y / H) pixels, rounded: a wave from top to bottom, and nothing is lost."""
    height, width = images.shape[1:3]
    shifts = np.rint(width / 8 * np.sin(2 * np.pi * np.arange(height) / height)).astype(int)
    columns = (np.arange(width) - shifts[:, None]) % width
    return images[:, np.arange(height)[:, None], columns]


def coloured(images: np.ndarray) -> np.ndarray:
    """Grey v -> (v, 40 + 0.7 v, 120 - 0.4 v): the first channel alone gives v back."""
    if images.shape[-1] != 1:
        raise InputError("prepare.changes: coloured is for grey images, and these have colours; leave it out")
    v = images[..., 0].astype(np.float64)
    return np.rint(np.stack([v, 40 + 0.7 * v, 120 - 0.4 * v], -1)).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    """Binomial blur, 1 4 6 4 1 over 16 in both directions, the edge mirrored: every frequency is kept but the highest, if weakly."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    x = images.astype(np.float64)
    for axis in (1, 2):
        sides = [(0, 0)] * 4
        sides[axis] = (2, 2)
        padded, size = np.pad(x, sides, mode="symmetric"), x.shape[axis]
        x = sum(w * np.take(padded, range(i, i + size), axis) for i, w in enumerate(weights))
    return np.rint(x).astype(np.uint8)


CHANGES = {"inverted": inverted, "warped": warped, "coloured": coloured, "blurred": blurred}


def changed(images: np.ndarray, changes: tuple[str, ...]) -> np.ndarray:
    """The images after every change in turn."""
    for name in changes:
        images = CHANGES[name](images)
    return images


def _halves(part: pl.DataFrame, salt: str, apart: str):
    """Rows for the source and for the target, every second in order of hash: no image, and with `apart` group no group, is in both."""
    grouped = apart == "group" and "group" in part.columns
    keys = part.select(key=pl.coalesce("group", "image_id") if grouped else pl.col("image_id"))["key"]
    ranked = sorted(set(keys), key=lambda key: position(key, f"{salt}:half"))
    first = set(ranked[::2])
    chosen = np.array([key in first for key in keys], bool)
    rows = part["_at"].to_numpy()
    return rows[chosen], rows[~chosen]


def _by_domain(part: pl.DataFrame, paired: bool, split: str):
    """Rows of the two domains, in order of group, so that pairs stand at the same places."""
    found = [name for name in part["domain"].unique(maintain_order=True) if name is not None]
    if len(found) != 2:
        mend = ("name two subfolders in options.domains" if split == "train" else
                f"raise prepare.{split}, or put some of both into subfolders named {split}")
        raise InputError(f"prepare.task: two domains are translated into each other, but the {split} split of {part.height} images holds "
                         f"{len(found)} ({', '.join(found) or 'none'}); {mend}")
    first, second = (part.filter(pl.col("domain") == name) for name in found)
    if paired:
        first, second = (rows.sort("group", maintain_order=True) for rows in (first, second))
        if first["group"].to_list() != second["group"].to_list():
            odd = sorted({*first["group"]} ^ {*second["group"]}) or ["different numbers of patches"]
            raise InputError(f"prepare.task: pairs, but {first.height} images of {found[0]} meet {second.height} of {found[1]} ({odd[0]} "
                             "has no other half); look at data/quarantine for rows set aside, or use task: domains")
    return first["_at"].to_numpy(), second["_at"].to_numpy()
