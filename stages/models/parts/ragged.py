"""Sequences of unequal length: rows of them out of one array, and the order in which a recurrent net reads them without padding.

A ragged array is its rows end to end with `offsets` [rows + 1]; row i is [offsets[i] : offsets[i + 1]].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def places(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places of the rows' elements end to end, offsets of these rows [len(rows) + 1])."""
    offsets = np.asarray(offsets)
    starts, lengths = offsets[rows], offsets[np.asarray(rows) + 1] - offsets[rows]
    own = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(starts - own[:-1], lengths) + np.arange(own[-1]), own


@dataclass(frozen=True)
class Packing:
    """How B sequences lie in a PackedSequence: step by step, the longest first. N is the sum of the lengths, nothing is padding.

    row, step: int64 [N], which sequence and which of its places each element is; order [B]: the sequences from long to short;
    batch_sizes [longest]: how many go on at each step (on the CPU, as torch wants it); lengths [B].
    """

    row: Tensor
    step: Tensor
    order: Tensor
    batch_sizes: Tensor
    lengths: Tensor

    def packed(self, x: Tensor) -> PackedSequence:
        """What torch's recurrent nets read, of elements x [N, D] in this order."""
        return PackedSequence(x, self.batch_sizes)

    def unsorted(self, state: Tensor) -> Tensor:
        """A recurrent net's states, [..., B, D] by falling length, as the sequences are numbered."""
        return torch.empty_like(state).index_copy_(-2, self.order, state)

    def total(self, values: Tensor) -> Tensor:
        """Sum of the elements' values over each sequence: [N, ...] -> [B, ...]."""
        return torch.zeros(len(self.lengths), *values.shape[1:], dtype=values.dtype, device=values.device).index_add(0, self.row, values)


def packing(lengths: Tensor) -> Packing:
    """The layout of sequences of these lengths, int64 [B], each at least 1."""
    order = torch.argsort(lengths, descending=True, stable=True)
    longest = int(lengths.max())
    going = lengths[order][None] > torch.arange(longest, device=lengths.device)[:, None]  # (longest, B)
    step, place = going.nonzero(as_tuple=True)
    return Packing(order[place], step, order, going.sum(1).cpu(), lengths)
