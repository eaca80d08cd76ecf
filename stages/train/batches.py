"""Batches and noise as pure functions of (seed, step): nothing of a loader needs saving, and resuming is exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from stages.models.base import gathered
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


POOL = 32  # batches whose sequences are sorted by length together: between chance and order


class Batches:
    """Rows of the train split, drawn without replacement epoch by epoch; `share` says which rows of a batch of n this process takes.

    `batch(draw)` gives {input: tensor [B, ...]}; draw 0, 1, 2, ... walks through a permutation that is new for every epoch. Arrays with
    as many rows are read at the same ones, so that what belongs together comes together; one of another length has its own permutation.
    Images come as float32 [B, C, H, W] in [0, 1], whole numbers as int64, everything else as float32. Of `ragged` inputs ({input: its
    offsets}) the rows come end to end, beside their offsets [B + 1]; batches are then of rows about as long: within POOL batches of the
    permutation rows are sorted by the length of the first ragged input, and the batches shuffled.
    """

    def __init__(self, data: Mapping[str, np.ndarray], inputs: tuple[str, ...], batch_size: int, seed: int, device: torch.device,
                 share: Callable[[int], slice] = slice, ragged: Mapping[str, str] | None = None):
        self.ragged = dict(ragged or {})
        self.arrays = {name: data[f"train.{name}"] for name in inputs}
        self.offsets = {name: np.array(data[f"train.{name}"]) for name in dict.fromkeys(self.ragged.values())}
        self.rows = {name: len(self.offsets[self.ragged[name]]) - 1 if name in self.ragged else len(a) for name, a in self.arrays.items()}
        self.n, fewest = self.rows[inputs[0]], min(self.rows.values())
        if fewest == 0:
            raise InputError("the train split is empty; look at the dataset's validation page")
        self.lengths = np.diff(self.offsets[self.ragged[inputs[0]]]) if inputs[0] in self.ragged else None
        self.size, self.seed, self.device = min(batch_size, fewest), seed, device
        self.share = share(self.size)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # rows -> (epoch, permutation)

    def batch(self, draw: int) -> dict[str, Tensor]:
        rows = {name: self._rows(draw, n) for name, n in self.rows.items()}
        return gathered(self.arrays, self.offsets, self.ragged, rows, self.device)

    def _rows(self, draw: int, n: int) -> np.ndarray:
        epoch, at = divmod(draw, n // self.size)
        if self._orders.get(n, (-1,))[0] != epoch:
            self._orders[n] = epoch, self._permutation(epoch, n)
        return self._orders[n][1][at * self.size : (at + 1) * self.size][self.share]

    def _permutation(self, epoch: int, n: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(n)
        if self.lengths is None:
            return order
        whole, pool = n // self.size, POOL * self.size
        parts = np.split(order[: whole * self.size], range(pool, whole * self.size, pool))
        order = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in parts])
        return order.reshape(whole, self.size)[rng.permutation(whole)].ravel()
