"""The full softmax over a vocabulary: exact loss and gradients of a batch, and word vectors trained with it.

    -log exp(w_t . h + b_t) / sum_j exp(w_j . h + b_j)

Every example touches all V output rows, so the work is three products of [U, D] and [V, D] matrices, done by BLAS in blocks that stay in
the cache. Examples of a batch that share their hidden vector h (pairs of the same word read) share its row: U is the number of different
h, each with the counts of its targets; the sum over pairs is the same to rounding. One thread gives the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numba import njit
from torch import Tensor

from stages.models.parts.sampling import stream
from stages.models.parts.skipgram import keep_tokens, window_around

BLOCK = 256  # hidden vectors against the whole vocabulary at once
EPSILON = 1e-8


def softmax_loss(hidden: Tensor, outputs: Tensor, bias: Tensor | None, rows: Tensor, targets: Tensor) -> Tensor:
    """-log softmax of each example in nats [N]: hidden [U, D], outputs [V, D], bias [V]; example i reads hidden[rows[i]]."""
    losses = torch.empty(len(rows), dtype=hidden.dtype)
    for members, logs, local in _blocks(hidden, outputs, bias, rows):
        losses[members] = -logs[local, targets[members]]
    return losses


def softmax_gradients(hidden: Tensor, outputs: Tensor, bias: Tensor | None, rows: Tensor, targets: Tensor):
    """(summed loss, its gradients by hidden, outputs and bias) of the examples (rows[i], targets[i]); shapes as in `softmax_loss`."""
    d_hidden, d_outputs = torch.empty_like(hidden), torch.zeros_like(outputs)
    d_bias, loss, start = torch.zeros(len(outputs)), 0.0, 0
    for members, logs, local in _blocks(hidden, outputs, bias, rows):
        loss -= float(logs[local, targets[members]].sum(dtype=torch.float64))
        times = torch.bincount(local, minlength=len(logs)).to(logs.dtype)
        d_logits = logs.exp_().mul_(times[:, None])
        d_logits.view(-1).index_add_(0, local * len(outputs) + targets[members], torch.full((len(local),), -1.0))
        stop = start + len(logs)
        torch.mm(d_logits, outputs, out=d_hidden[start:stop])
        d_outputs.addmm_(d_logits.T, hidden[start:stop])
        d_bias += d_logits.sum(0)
        start = stop
    return loss, d_hidden, d_outputs, d_bias


def _blocks(hidden, outputs, bias, rows):
    """(examples, log probabilities [at most BLOCK, V], row of each example in them), block of hidden vectors by block."""
    order = torch.argsort(rows, stable=True)
    bounds = torch.searchsorted(rows[order], torch.arange(0, len(hidden) + BLOCK, BLOCK).clamp_(max=len(hidden)))
    for i, start in enumerate(range(0, len(hidden), BLOCK)):
        block = hidden[start : start + BLOCK]
        logits = block @ outputs.T if bias is None else torch.addmm(bias, block, outputs.T)
        members = order[bounds[i] : bounds[i + 1]]
        yield members, torch.log_softmax(logits, 1), rows[members] - start


def adagrad_(parameter: Tensor, gradient: Tensor, squares: Tensor, lr: float) -> None:
    """One step in place, each element at its own rate (Duchi, Hazan, Singer 2011, https://jmlr.org/papers/v12/duchi11a.html)."""
    squares.addcmul_(gradient, gradient)
    parameter.addcdiv_(gradient, squares.sqrt().add_(EPSILON), value=-lr)


@njit(nogil=True, cache=True)
def windows(tokens, offsets, order, keep, window, shrink, state):
    """Windows of the documents `order`: (targets [n], bounds [n + 1], context words end to end [bounds[n]])."""
    longest = total = 0
    for document in order:
        length = offsets[document + 1] - offsets[document]
        longest, total = max(longest, length), total + length
    kept = np.empty(longest, np.int64)
    targets, bounds = np.empty(total, np.int64), np.zeros(total + 1, np.int64)
    near = np.empty(max(16, total * 2 * min(max(window, 1), 8)), np.int64)
    n = 0
    for document in order:
        length = keep_tokens(state, tokens, offsets[document], offsets[document + 1], keep, kept)
        for place in range(length):
            first, last = window_around(state, place, length, window, shrink)
            if last - first < 2:
                continue
            at = bounds[n]
            if at + last - first > len(near):
                grown = np.empty(2 * len(near) + last - first, np.int64)
                grown[:at] = near[:at]
                near = grown
            for c in range(first, last):
                if c != place:
                    near[at] = kept[c]
                    at += 1
            targets[n] = kept[place]
            n += 1
            bounds[n] = at
    return targets[:n], bounds[: n + 1], near[: bounds[n]]


def examples_of(targets: np.ndarray, bounds: np.ndarray, near: np.ndarray, cbow: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(words whose vectors are averaged [M], row of each [M], (row read, target) examples [2, N]) of windows.

    CBOW: a row a window, of all its words. Skip-gram: a row a different centre word, which predicts each word of its windows.
    """
    sizes = np.diff(bounds)
    if cbow:
        rows = np.arange(len(targets))
        return near, np.repeat(rows, sizes), np.stack([rows, targets])
    centres, row = np.unique(targets, return_inverse=True)
    return centres, np.arange(len(centres)), np.stack([np.repeat(row, sizes), near])


def hidden_rows(inputs: Tensor, words: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """(means of input vectors [U, D], words, weight of each word in its mean [M, 1]); `rows` ascending from 0."""
    words, rows = torch.from_numpy(words), torch.from_numpy(rows)
    share = 1.0 / torch.bincount(rows).to(inputs.dtype)
    weight = share[rows, None]
    return torch.zeros(len(share), inputs.shape[1]).index_add_(0, rows, inputs[words] * weight), words, weight


def train(tokens, offsets, order, inputs: Tensor, outputs: Tensor, bias: Tensor | None, squares: tuple[Tensor, Tensor, Tensor], keep, *,
          window, shrink=True, cbow=False, batch=4096, rates, seed, epoch, part=0) -> tuple[int, float]:
    """Train in place over the documents `order`, Adagrad on the summed loss of about `batch` tokens. (examples, mean loss of one in nats).

    inputs, outputs float32 [V, D], bias [V] or None, squares: Adagrad's sums for the three, changed too; the rest as `skipgram.train`.
    """
    state, total, loss = stream(seed, epoch, part), 0, 0.0
    lengths = np.cumsum((offsets[1:] - offsets[:-1])[order])
    pieces = np.split(order, np.flatnonzero(np.diff((lengths - 1) // batch)) + 1)  # whole documents
    for i, piece in enumerate(pieces):
        found = windows(tokens, offsets, piece, keep, window, shrink, state)
        if not len(found[0]):
            continue
        words, rows, examples = examples_of(*found, cbow)
        hidden, words, weight = hidden_rows(inputs, words, rows)
        read, targets = torch.from_numpy(examples)
        summed, d_hidden, d_outputs, d_bias = softmax_gradients(hidden, outputs, bias, read, targets)
        lr = rates[0] + (rates[1] - rates[0]) * i / len(pieces)
        unique, place = torch.unique(words, return_inverse=True)
        d_inputs = torch.zeros(len(unique), inputs.shape[1]).index_add_(0, place, d_hidden[torch.from_numpy(rows)] * weight)
        own, sums = inputs[unique], squares[0][unique]
        adagrad_(own, d_inputs, sums, lr)
        inputs[unique], squares[0][unique] = own, sums
        adagrad_(outputs, d_outputs, squares[1], lr)
        if bias is not None:
            adagrad_(bias, d_bias, squares[2], lr)
        total, loss = total + len(targets), loss + summed
    return total, loss / max(total, 1)


def heldout(tokens, offsets, inputs: Tensor, outputs: Tensor, bias: Tensor | None, keep, *, window, shrink=True, cbow=False,
            seed=0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(word read [N], -1 in CBOW; word predicted [N]; -log softmax in nats [N]) of held-out examples, in pieces; exact.

    The reach of each window is drawn from `seed`, the same for every model of a vocabulary; what `keep` rules out (0) is no token.
    """
    state = stream(seed, 0, 7)
    for piece in np.array_split(np.arange(len(offsets) - 1), max(1, len(tokens) // 4096)):
        found = windows(tokens, offsets, piece, (keep > 0).astype(np.float64), window, shrink, state)
        if len(found[0]):
            words, rows, (read, targets) = examples_of(*found, cbow)
            hidden = hidden_rows(inputs, words, rows)[0]
            losses = softmax_loss(hidden, outputs, bias, torch.from_numpy(read), torch.from_numpy(targets))
            yield np.full(len(read), -1) if cbow else words[read], targets, losses.double().numpy()
