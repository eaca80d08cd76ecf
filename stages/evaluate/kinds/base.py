"""What evaluation asks of a kind of data. The test split is read here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from stages.evaluate.gallery import Gallery
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.words import nearest
from stages.prepared import Prepared
from stages.settings import InputError


@dataclass(frozen=True)
class Setting:
    """Where a model is measured: data, the run's resolved model settings, evaluation settings; feature net and Inception, or None."""

    data: Prepared
    model: dict
    settings: EvaluateSettings
    net: torch.nn.Module | None = None
    inception: torch.nn.Module | None = None


class Kind:
    """Measures models on one dataset; what all models and baselines share is made once, in the constructor."""

    def __init__(self, setting: Setting):
        self.data, self.model_settings, self.settings, self.net = setting.data, setting.model, setting.settings, setting.net
        self.inception = setting.inception
        self.split = setting.settings.split  # what is scored; called the test split in what follows

    def measure(self, model, seed: int) -> dict[str, float]:
        """Metrics of one training seed's model; `seed` is of what the model itself draws (samples, latents), another for every model.

        What models and baselines share (shuffles, draws of labels) goes by `settings.seed` instead, so that it is the same for all.
        """
        raise NotImplementedError

    def headline(self, metrics: dict[str, float]) -> str:
        """The metric a run is known by."""
        raise NotImplementedError

    def baselines(self, model, fresh: Callable[[int], torch.nn.Module]) -> dict[str, dict[str, float]]:
        """Metrics of the baselines; `model` tells widths, `fresh(seed)` gives the same architecture untrained."""
        return {}

    def exhibit(self, model, gallery: Gallery, seed: int) -> None:
        """Pictures and tables of the first training seed's model, of the same draws as `measure` with this seed."""


def need(model, kind: str, *abilities: str) -> None:
    """InputError unless the model can do one of `abilities`: without any there is nothing to measure."""
    if not any(hasattr(model, a) for a in abilities):
        raise InputError(f"a model of {type(model).__module__.rpartition('.')[2]} on {kind}: nothing can be measured; "
                         f"it needs one of {', '.join(abilities)} (see stages/models/base.py)")


def filled(rows, data: Prepared, split: str, what: str) -> None:
    """InputError where there is nothing of `what` (document, pair) to measure."""
    if not len(rows):
        raise InputError(f"{data.folder}: its {split} split has no {what} with a word, so nothing can be measured; give more data, or a "
                         f"larger share (prepare.{split})")


def array(tensor) -> np.ndarray:
    """float64 array of a tensor or array."""
    return np.asarray(tensor.detach().cpu() if isinstance(tensor, torch.Tensor) else tensor, np.float64)


def neighbour_table(gallery: Gallery, title: str, vectors: np.ndarray, names: list, chosen: np.ndarray, note: str) -> None:
    """Nearest others by cosine of some rows, with their cosines."""
    ids, cosines = nearest(vectors, chosen)
    rows = [[names[r], ", ".join(f"{names[i]} ({c:.2f})" for i, c in zip(near, values, strict=True))]
            for r, near, values in zip(chosen, ids, cosines, strict=True)]
    gallery.table(title, ["of", "nearest, with cosine"], rows, note)


def spread_choice(counts: np.ndarray, wanted: int = 12) -> np.ndarray:
    """Ids from frequent to rare, evenly by rank among those that occur: the same for every model of a dataset."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    order = order[np.asarray(counts)[order] > 0]
    return order[np.unique(np.geomspace(1, max(len(order), 1), wanted).astype(int) - 1)] if len(order) else order
