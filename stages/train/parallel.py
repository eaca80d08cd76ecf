"""One run on several processes (data-parallel): each takes its share of the same batch, gradients are averaged, the result is that of one.

Why it is the same: batches and noise are functions of (seed, step). Every process draws the noise of the whole batch and keeps its rows
(`Noise`), batch normalisation takes its statistics over all of them (`join_batch_norms`), losses weigh by their share of the examples.
That holds where a model says so (`Model.per_example`, stages/models/base.py); what is left is the order of float32 sums. Gradients are
summed in one piece after the backward pass, which is simple, and exact for penalties on gradients; nothing overlaps with computing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from stages.settings import InputError

LEAST = 8  # examples a process: fewer pay for no second process, and a share of 2 rows could be taken for a draw of 2 numbers


class LostProcessError(RuntimeError):
    """Another process of this training ended, so that what is to be averaged can never come. The message says what happened."""


class Alone:
    """One process: everything is its own. `Together` is the same for several."""

    rank, size = 0, 1
    weight: Tensor | None = None

    def rows(self, n: int) -> slice:
        """This process's share of a batch of n examples."""
        return slice(0, n)

    def prepare(self, model: nn.Module, n: int) -> None:
        """Make `model` ready for shares of batches of n examples."""

    def noise(self) -> contextlib.AbstractContextManager:
        """Around a loss: its random draws are those of the whole batch."""
        return contextlib.nullcontext()

    def add_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace each gradient by the sum over the processes."""

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value averaged over the examples of the whole batch."""
        return dict(values)

    def first(self, values: Mapping[str, float]) -> dict[str, float]:
        """The first process's values, so that all decide alike."""
        return dict(values)

    def in_turn(self, read: Callable):
        """`read()`, in the first process before the others: it may mend what it reads."""
        return read()

    def agree(self, step: int) -> None:
        """Raise InputError where the processes are to go on from different steps."""


class Together(Alone):
    """One of several processes of a joined group on `device`."""

    def __init__(self, device: torch.device):
        self.rank, self.size, self.device = torch.distributed.get_rank(), torch.distributed.get_world_size(), device
        self.whole, self.share = 0, slice(0, 0)

    def rows(self, n: int) -> slice:
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def prepare(self, model: nn.Module, n: int) -> None:
        if n // self.size < LEAST:
            raise InputError(f"train.processes: a batch of {n} examples leaves {n // self.size} to each of {self.size} processes; "
                             f"at least {LEAST} are needed: raise train.batch_size or use at most {max(1, n // LEAST)}")
        self.whole, self.share = n, self.rows(n)
        self.weight = torch.tensor((self.share.stop - self.share.start) / n, device=self.device)
        join_batch_norms(model)

    def noise(self) -> contextlib.AbstractContextManager:
        return Noise(self.whole, self.share)

    def add_gradients(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for dtype in {g.dtype: None for g in gradients}:
            some = [g for g in gradients if g.dtype == dtype]
            summed = add(torch.cat([g.flatten() for g in some]))
            for gradient, part in zip(some, summed.split([g.numel() for g in some]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        summed = add(torch.tensor(list(values.values()), dtype=torch.float64, device=self.device) * self.weight.double())
        return dict(zip(values, summed.tolist(), strict=True))

    def first(self, values: Mapping[str, float]) -> dict[str, float]:
        own = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        return dict(zip(values, add(own if self.rank == 0 else torch.zeros_like(own)).tolist(), strict=True))

    def in_turn(self, read: Callable):
        if self.rank:
            self._meet()
            return read()
        found = read()
        self._meet()
        return found

    def agree(self, step: int) -> None:
        steps = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        steps[self.rank] = step
        steps = add(steps).tolist()
        if len(set(steps)) > 1:
            raise InputError(f"--checkpoints: the processes found checkpoints of different steps ({', '.join(f'{s:g}' for s in steps)}); "
                             "name one folder that all of them see")

    def _meet(self) -> None:
        add(torch.zeros(1, device=self.device))


def add(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place. Raises LostProcessError where one is gone."""
    try:
        torch.distributed.all_reduce(tensor)
    except RuntimeError as error:
        raise LostProcessError(f"another one was lost ({short(error)})") from None
    return tensor


def short(error: Exception) -> str:
    """The first sentence of what a backend says, without its place in the source."""
    return re.sub(r"^\[[^]]*\] ", "", str(error).strip().splitlines()[0]).split(". ")[0]


class _Sum(torch.autograd.Function):
    """Sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, x):
        return add(x.clone())

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient.contiguous())


class Noise(TorchDispatchMode):
    """Random draws inside have the numbers they would have for the whole batch: every operator torch marks as random, with as many rows
    as the share, is run on as many as the batch, and gives this process's rows. Another first axis: one draw for all, left as it is.
    """

    def __init__(self, whole: int, share: slice):
        super().__init__()
        self.whole, self.share, self.own = whole, share, share.stop - share.start

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in operator.tags:
            return operator(*args, **kwargs)
        result = operator(*(self._widen(a) for a in args), **{k: self._widen(v) for k, v in kwargs.items()})
        result = tree_map(self._narrow, result)
        return args[0].copy_(result) if operator._schema.is_mutable else result

    def _widen(self, value):
        """Sizes and tensors of the share's length as of the batch's; the rows of others are filled with copies of own ones."""
        if torch.is_tensor(value) and value.dim() and len(value) == self.own:
            places = (torch.arange(self.whole, device=value.device) - self.share.start) % self.own
            return value[places]
        if isinstance(value, (list, tuple)) and value and value[0] == self.own:
            return [self.whole, *value[1:]]
        return value

    def _narrow(self, value):
        return value[self.share].clone() if torch.is_tensor(value) and value.dim() and len(value) == self.whole else value


def join_batch_norms(model: nn.Module) -> None:
    """Let every batch normalisation of `model` take its statistics over all processes. (torch's own SyncBatchNorm needs CUDA.)"""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = lambda x, norm=module: _joint_norm(norm, x)


def _joint_norm(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    if not norm.training:
        return type(norm).forward(norm, x)
    axes, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
    y = x.float()
    n = add(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
    mean = _Sum.apply(y.sum(axes)) / n
    centred = y - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / n
    if norm.track_running_stats:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            rate = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, rate)
            norm.running_var.lerp_(variance * n / (n - 1), rate)
    normal = centred * torch.rsqrt(variance + norm.eps).view(shape)
    return (normal * norm.weight.view(shape) + norm.bias.view(shape) if norm.affine else normal).to(x.dtype)
