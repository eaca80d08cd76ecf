"""What a family is: a `Config`, a `Model`, and the optimisation phases or kernel epochs through which one loop trains them all.

A family file holds, top to bottom: docstring (paper, equations, deviations and what they cost), `CITATION`, `Config` (a dataclass of
checked settings), networks, `Model`. It knows torch, numpy and numba; never files, devices or printing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.parts.ragged import places


@dataclass(frozen=True)
class Phase:
    """One optimisation phase of a step (the idea is StyleGAN's loop): which modules it may change, and when.

    `modules` are attribute names of the model ((): all of it); the phase runs at steps where (step % every == 0), `repeat` times, each
    on a batch of its own, for start <= step < stop. `fp32` keeps it out of autocast (gradient penalties).
    """

    name: str
    modules: tuple[str, ...] = ()
    every: int = 1
    repeat: int = 1
    start: int = 0
    stop: int | None = None
    fp32: bool = False


class Model(nn.Module):
    """Base of the families trained by gradient steps.

    `Model(config, meta)`: config is the family's Config, meta the prepared dataset's meta.json (sizes and shapes).
    Class attributes a family may set: `kinds` (kinds of prepared data it can read), `inputs` (arrays a batch holds, without the
    split's name), `ragged` ({input: the offsets that part it into rows}, of sequences of unequal length), `train_defaults` (settings of
    the loop that differ from TrainSettings), `adversarial` (one batch need not be overfitted),
    `per_example` (the loss of every phase is a mean over the batch's examples of terms that read that example alone, nn.BatchNorm aside;
    its random draws have the batch as first axis or are one for all; nothing else is changed by it: then a batch may be split over
    processes, and tests/stages/train/test_parallel.py holds the split against the whole).

    What training may ask for: step_bytes(batch_size) -> (bytes that a step holds at once, what they are of), stages/train/memory.py.
    What evaluation may ask for, defined only where it makes sense:
        encode(x) -> [B, D]; sample(n, generator) -> [n, ...]; reconstruct(x) -> like x; score(h, r, t) -> [B] (higher is likelier);
        log_likelihood(x, k, generator) -> [B] in nats; bound(x, generator) -> (distortion [B], rate [B, D]) in nats;
        tail_scores(h, r), head_scores(r, t) -> [B, entities]; logits(x) -> [B, classes]; features(x) -> [B, D];
        vectors() -> {name: [N, D] float32}; raw_sample(n, generator), as sample, of weights that are not averaged.
        translate(x) -> images of the target's domain, translate_back(y) -> of the source's; with them `halo` and `multiple`, what a tile of
        a larger picture needs (stages/models/parts/translators.py).
        `sample_of` = ("class" or "code", K), else None: sample(n, generator, of) makes the classes or categories `of`, int64 [n] below K;
        of a code, clusters(x) -> [B, K] are the logits of the category that x is made of.
    """

    kinds: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    ragged: Mapping[str, str] = {}
    train_defaults: Mapping[str, Any] = {}
    adversarial = False
    per_example = False
    sample_of: tuple[str, int] | None = None
    phases: tuple[Phase, ...] = (Phase("main"),)

    def loss(self, batch: dict[str, Tensor], phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of `phase` on the batch, and the terms worth logging."""
        raise NotImplementedError

    def after_update(self, phase: str, step: int) -> None:
        """Called after the optimiser's step of `phase`: clipping, renormalisation, moving averages, codebooks."""

    def begin(self, data: Mapping[str, np.ndarray], seed: int) -> None:
        """Called once before the first step with the training arrays: initial values that depend on data."""

    def validate(self, data: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Losses on the validation split; `loss` is what early stopping watches (lower is better). {} where nothing is to be watched."""
        return {}


class KernelModel(Model):
    """Base of the families whose time goes into sparse rows: a numba kernel per epoch in place of autograd.

    The parameters are ordinary (requires_grad=False) and the kernel changes them in place, so saving and resuming are the same as for
    every other family. `written_out_loss` is the objective in plain torch; a test holds the kernel's update against its gradient.
    """

    def epoch(self, data: Mapping[str, np.ndarray], seed: int, epoch: int, epochs: int, threads: int) -> tuple[int, dict[str, float]]:
        """One pass in place: (examples processed, terms to log, `loss` among them). A pure function of state, data, seed and epoch."""
        raise NotImplementedError


def views(model: nn.Module) -> dict[str, np.ndarray]:
    """Numpy views that share memory with the model's CPU parameters and buffers, by name: what kernels write into."""
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict(keep_vars=True).items()}


def image_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [0, 1]: how every model takes images."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).to(torch.float32).div_(255).contiguous()


def gathered(arrays: Mapping[str, np.ndarray], offsets: Mapping[str, np.ndarray], ragged: Mapping[str, str], rows: Mapping[str, np.ndarray],
             device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """{input: tensor} of the rows of each; ragged inputs end to end, beside their offsets [len(rows) + 1] (int64)."""
    found = {}
    for name, array in arrays.items():
        if name not in ragged:
            found[name] = to_tensor(array[rows[name]], device)
            continue
        at, own = places(offsets[ragged[name]], rows[name])
        found[name], found[ragged[name]] = to_tensor(array[at], device), torch.from_numpy(own).to(device)
    return found


def to_tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """The array as models take it: images float32 [B, C, H, W] in [0, 1], whole numbers int64, everything else float32."""
    if array.ndim == 4 and array.dtype == np.uint8:
        return image_tensor(array, device)
    tensor = torch.from_numpy(np.array(array)).to(device)
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def split_rows(model: Model, data: Mapping[str, np.ndarray], split: str, rows: np.ndarray, device: torch.device | str = "cpu"):
    """What a batch of a split's rows holds, as training gives it to `model.loss`."""
    offsets = {name: data[f"{split}.{name}"] for name in dict.fromkeys(model.ragged.values())}
    arrays = {name: data[f"{split}.{name}"] for name in model.inputs}
    return gathered(arrays, offsets, model.ragged, dict.fromkeys(arrays, rows), device)
