"""Batches and noise as pure functions of (seed, step): nothing of a loader needs saving, and resuming is exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from stages.models.base import image_tensor
from stages.settings import InputError


def derived_seed(*parts: int) -> int:
    """A well-mixed 63-bit seed from whole numbers (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def seed_noise(device: torch.device, *parts: int) -> None:
    """Seed torch's own stream of the device. (`torch.manual_seed` formats a stack trace per call where no GPU is initialised.)"""
    seed = derived_seed(*parts)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class Batches:
    """Rows of the train split, drawn without replacement epoch by epoch; `share` says which rows of a batch of n this process takes.

    `batch(draw)` gives {input: tensor [B, ...]}; draw 0, 1, 2, ... walks through a permutation that is new for every epoch. Arrays with
    as many rows are read at the same ones, so that what belongs together comes together; one of another length has its own permutation.
    Images come as float32 [B, C, H, W] in [0, 1], whole numbers as int64, everything else as float32.
    """

    def __init__(self, data: Mapping[str, np.ndarray], inputs: tuple[str, ...], batch_size: int, seed: int, device: torch.device,
                 share: Callable[[int], slice] = slice):
        self.arrays = {name: data[f"train.{name}"] for name in inputs}
        self.n = len(next(iter(self.arrays.values())))
        fewest = min(map(len, self.arrays.values()))
        if fewest == 0:
            raise InputError("the train split is empty; look at the dataset's validation page")
        self.size, self.seed, self.device = min(batch_size, fewest), seed, device
        self.share = share(self.size)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # rows -> (epoch, permutation)

    def batch(self, draw: int) -> dict[str, Tensor]:
        return {name: to_tensor(array[self._rows(draw, len(array))], self.device) for name, array in self.arrays.items()}

    def _rows(self, draw: int, n: int) -> np.ndarray:
        epoch, at = divmod(draw, n // self.size)
        if self._orders.get(n, (-1,))[0] != epoch:
            self._orders[n] = epoch, np.random.default_rng([self.seed, epoch]).permutation(n)
        return self._orders[n][1][at * self.size : (at + 1) * self.size][self.share]


def to_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as models take it: see Batches."""
    if array.ndim == 4 and array.dtype == np.uint8:
        return image_tensor(array, device)
    tensor = torch.from_numpy(np.array(array)).to(device)
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)
