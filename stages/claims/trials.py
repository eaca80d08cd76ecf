"""Small models of a claim's own, trained by the one loop (stages/train)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from stages.models.base import Model
from stages.settings import configure
from stages.train.loop import Trained, train
from stages.train.settings import TrainSettings


def trained(make, arrays: Mapping[str, np.ndarray], seed: int, **settings) -> tuple[Model, Trained]:
    """(model, result) of `make()`, initialised and trained with `seed` on the arrays (without the split's name), on the processor."""
    torch.manual_seed(seed)
    model = make()
    data = {f"train.{name}": array for name, array in arrays.items()}
    result = train(model, data, configure(TrainSettings, settings, "a claim's training"), seed, torch.device("cpu"))
    return model.eval(), result
