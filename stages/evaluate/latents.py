"""Looking into a code: what each unit does, what lies between two images, which rows of a codebook are used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stages.evaluate import pictures

STEPS = 8  # images of a traversal or of a way between two images
UNITS = 10  # units shown
ACTIVE = 0.01  # variance of the posterior mean over images above which a unit counts as active (Burda et al. 2016)
REACH = 2.0  # standard deviations of a unit to each side


def codebook_use(indices: np.ndarray, rows: int) -> dict[str, float]:
    """codebook_perplexity, exp of the entropy of how often each row is used, and dead_codes, rows never used. indices int [n, codes]."""
    share = np.bincount(indices.ravel(), minlength=rows) / indices.size
    used = share[share > 0]
    return {"codebook_perplexity": float(np.exp(-(used * np.log(used)).sum())), "dead_codes": float(rows - len(used))}


@torch.no_grad()
def traversals(model, codes: Tensor, units: np.ndarray) -> Tensor:
    """Images [len(units) * STEPS, C, H, W]: the median code with one unit moved by REACH of its deviations to both sides. codes [n, D]."""
    centre, spread = codes.median(0).values, codes.std(0)
    moved = centre.repeat(len(units) * STEPS, 1)
    for row, unit in enumerate(units):
        at = torch.linspace(-REACH, REACH, STEPS) * spread[unit]
        moved[row * STEPS : (row + 1) * STEPS, unit] = centre[unit] + at
    return model.decode(moved)


@torch.no_grad()
def between(model, codes: Tensor, pairs: int) -> Tensor:
    """Images [pairs * STEPS, C, H, W]: straight ways from code 2 i to code 2 i + 1, ends included. codes [n, D]."""
    way = torch.linspace(0, 1, STEPS)[None, :, None]
    first, last = codes[0 : 2 * pairs : 2, None], codes[1 : 2 * pairs : 2, None]
    return model.decode((first + way * (last - first)).flatten(0, 1))


def use(indices: np.ndarray, values: int, cell: int = 8) -> np.ndarray:
    """Picture of how often each value is taken: a row a position, a column a value, often used ones first; black is the most frequent.

    indices int [n, positions] -> uint8 [positions * cell, values * cell, 3].
    """
    counts = np.stack([np.bincount(column, minlength=values) for column in indices.T])
    counts = counts[:, np.argsort(-counts.sum(0), kind="stable")]
    grey = np.round(255 * (1.0 - np.sqrt(counts / counts.max()))).astype(np.uint8)  # the root shows rare ones too
    return np.repeat(grey.repeat(cell, 0).repeat(cell, 1)[..., None], 3, -1)


def exhibit(model, codes: np.ndarray, gallery, indices: np.ndarray | None = None) -> None:
    """Pictures of a model that can `decode` codes; `codes` [n, D] of test images, `indices` [n, positions] of discrete ones."""
    if indices is not None:
        values = len(model.rows) if hasattr(model, "rows") else model.config.classes
        told = codebook_use(indices, values)
        gallery.picture("codebook", use(indices, values), "Use of the codes",
                        f"A row a position, a column one of {values} values, often used ones first, darker where test images take it more; "
                        f"perplexity {told['codebook_perplexity']:.3g}, {told['dead_codes']:.0f} never taken.")
    codes = torch.from_numpy(codes).float()
    if hasattr(model, "posterior"):
        variances = codes.var(0).numpy()
        order = np.argsort(-variances, kind="stable")
        active = int((variances > ACTIVE).sum())
        units = order[: min(max(active, 1), UNITS)]
        made = pictures.to_bytes(traversals(model, codes, units).numpy())
        said = ", ".join(f"{u} (variance {variances[u]:.2g})" for u in units)
        gallery.picture("traversals", pictures.grid(made, STEPS), "What each unit does",
                        f"{active} of {len(variances)} units are active. A row a unit, from {REACH:g} deviations below the median code "
                        f"to as many above; units {said}.")
    if len(codes) >= 12:
        made = pictures.to_bytes(between(model, codes, 6).numpy())
        gallery.picture("between", pictures.grid(made, STEPS), "Ways between two test images",
                        "Rows: straight lines between two codes, decoded.")
