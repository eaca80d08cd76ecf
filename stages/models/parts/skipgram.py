"""Negative sampling over windows of tokens: the numba kernels of word2vec, prod2vec and the random-walk embeddings.

The objective of a pair (input row x, output row y, k noise rows n_i ~ P) is  -log s(x.y + b_y) - sum_i log s(-(x.n_i + b_{n_i})).
Per output word the k negatives are drawn once and shared by all its inputs ("shared") or drawn for each pair ("pair"): the gradients
have the same expectation, only the draws of one window are no longer independent. A noise row equal to the target is dropped, as in the
authors' code; one drawn twice counts twice.

What makes it fast: the rows of a window are copied to one local block, six output rows are held against one or two input rows in a single
pass (two inputs: one gradient step on the sum of both losses), and every width is known to the compiler. The length of a tuple is part
of its type, so `lanes`, a tuple of width / 8 entries, carries the width. A block is ten rows of `width` floats: input 0, its step, input
1, its step, six output rows; more negatives take more blocks, the last one padded by rows of rate zero. With an output bias, column
`dimension` of an input is 1 and that of an output row is its bias.
"""

from __future__ import annotations

import mmap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from stages.models.parts.sampling import below, draw, shuffled, stream, uniform

FAST = {"reassoc", "contract", "nsz", "arcp"}  # not nnan, ninf: a NaN must come out as one
# Helpers that round are inlined before compilation: as functions of their own they are compiled twice, alone and inside the kernel, each
# rounding in its own order, and which one runs depends on whether the kernel was compiled just now or read from the cache.
GROUP = 6
LIMIT, STEPS = 10.0, 80  # the sigmoid's table: linear between steps of 1/80, error below 2e-6
SIGMOID = (1.0 / (1.0 + np.exp(LIMIT - np.arange(2 * LIMIT * STEPS + 2) / STEPS))).astype(np.float32)
ONE = np.float32(1.0)
PIECE = 1_000_000  # tokens of a stretch; a mapped corpus is let go of as often


def lanes_for(dimension: int, bias: bool) -> tuple[int, ...]:
    """The tuple whose length tells the compiler the padded width of a row."""
    return (0,) * (-(-(dimension + bias) // 8))


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def sigmoid(score):
    if score >= np.float32(LIMIT):
        return ONE
    if score <= np.float32(-LIMIT):
        return np.float32(0.0)
    position = (score + np.float32(LIMIT)) * np.float32(STEPS)
    i = np.int32(position)
    return SIGMOID[i] + (position - np.float32(i)) * (SIGMOID[i + 1] - SIGMOID[i])


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def step(blocks, rate, scores, lanes):
    """One gradient step on input 0: changes the output rows of `blocks` [n, 10 width], leaves the input's part of the step beside it.

    rate [6 n]: learning rate times how often the row was drawn, 0 for padding; row 0 is the target. scores [6 n]: x.y before the step.
    """
    width = 8 * len(lanes)
    x, dx, y0, y1, y2, y3, y4, y5 = 0, width, 4 * width, 5 * width, 6 * width, 7 * width, 8 * width, 9 * width
    for n in range(len(blocks)):
        block, group = blocks[n], GROUP * n
        s0 = s1 = s2 = s3 = s4 = s5 = np.float32(0.0)
        for i in range(width):
            a = block[x + i]
            s0 += a * block[y0 + i]
            s1 += a * block[y1 + i]
            s2 += a * block[y2 + i]
            s3 += a * block[y3 + i]
            s4 += a * block[y4 + i]
            s5 += a * block[y5 + i]
        scores[group], scores[group + 1], scores[group + 2] = s0, s1, s2
        scores[group + 3], scores[group + 4], scores[group + 5] = s3, s4, s5
        label = ONE if group == 0 else np.float32(0.0)
        g0 = rate[group] * (label - sigmoid(s0))
        g1 = -rate[group + 1] * sigmoid(s1)
        g2 = -rate[group + 2] * sigmoid(s2)
        g3 = -rate[group + 3] * sigmoid(s3)
        g4 = -rate[group + 4] * sigmoid(s4)
        g5 = -rate[group + 5] * sigmoid(s5)
        for i in range(width):
            a = block[x + i]
            b0, b1, b2 = block[y0 + i], block[y1 + i], block[y2 + i]
            b3, b4, b5 = block[y3 + i], block[y4 + i], block[y5 + i]
            block[dx + i] = g0 * b0 + g1 * b1 + g2 * b2 + g3 * b3 + g4 * b4 + g5 * b5
            block[y0 + i] = b0 + g0 * a
            block[y1 + i] = b1 + g1 * a
            block[y2 + i] = b2 + g2 * a
            block[y3 + i] = b3 + g3 * a
            block[y4 + i] = b4 + g4 * a
            block[y5 + i] = b5 + g5 * a


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def step_two(blocks, rate, scores, lanes):
    """As `step`, on the sum of the losses of inputs 0 and 1 against the same output rows; scores are those of input 0."""
    width = 8 * len(lanes)
    x, dx, u, du = 0, width, 2 * width, 3 * width
    y0, y1, y2, y3, y4, y5 = 4 * width, 5 * width, 6 * width, 7 * width, 8 * width, 9 * width
    for n in range(len(blocks)):
        block, group = blocks[n], GROUP * n
        s0 = s1 = s2 = s3 = s4 = s5 = np.float32(0.0)
        t0 = t1 = t2 = t3 = t4 = t5 = np.float32(0.0)
        for i in range(width):
            a, c = block[x + i], block[u + i]
            b0, b1, b2 = block[y0 + i], block[y1 + i], block[y2 + i]
            b3, b4, b5 = block[y3 + i], block[y4 + i], block[y5 + i]
            s0 += a * b0
            s1 += a * b1
            s2 += a * b2
            s3 += a * b3
            s4 += a * b4
            s5 += a * b5
            t0 += c * b0
            t1 += c * b1
            t2 += c * b2
            t3 += c * b3
            t4 += c * b4
            t5 += c * b5
        scores[group], scores[group + 1], scores[group + 2] = s0, s1, s2
        scores[group + 3], scores[group + 4], scores[group + 5] = s3, s4, s5
        label = ONE if group == 0 else np.float32(0.0)
        r0, r1, r2, r3, r4, r5 = rate[group], rate[group + 1], rate[group + 2], rate[group + 3], rate[group + 4], rate[group + 5]
        g0, h0 = r0 * (label - sigmoid(s0)), r0 * (label - sigmoid(t0))
        g1, h1 = -r1 * sigmoid(s1), -r1 * sigmoid(t1)
        g2, h2 = -r2 * sigmoid(s2), -r2 * sigmoid(t2)
        g3, h3 = -r3 * sigmoid(s3), -r3 * sigmoid(t3)
        g4, h4 = -r4 * sigmoid(s4), -r4 * sigmoid(t4)
        g5, h5 = -r5 * sigmoid(s5), -r5 * sigmoid(t5)
        for i in range(width):
            a, c = block[x + i], block[u + i]
            b0, b1, b2 = block[y0 + i], block[y1 + i], block[y2 + i]
            b3, b4, b5 = block[y3 + i], block[y4 + i], block[y5 + i]
            block[dx + i] = g0 * b0 + g1 * b1 + g2 * b2 + g3 * b3 + g4 * b4 + g5 * b5
            block[du + i] = h0 * b0 + h1 * b1 + h2 * b2 + h3 * b3 + h4 * b4 + h5 * b5
            block[y0 + i] = b0 + g0 * a + h0 * c
            block[y1 + i] = b1 + g1 * a + h1 * c
            block[y2 + i] = b2 + g2 * a + h2 * c
            block[y3 + i] = b3 + g3 * a + h3 * c
            block[y4 + i] = b4 + g4 * a + h4 * c
            block[y5 + i] = b5 + g5 * a + h5 * c


@njit(nogil=True, cache=True)
def pick_rows(state, noise, target, k, rows, times):
    """Target and k noise draws as distinct rows, and how often each was drawn; draws equal to the target are dropped. Returns how many."""
    rows[0], times[0] = target, ONE
    used = 1
    for _ in range(k):
        row = draw(state, noise)
        place = 0
        while place < used and rows[place] != row:
            place += 1
        if place == used:
            rows[used], times[used] = row, ONE
            used += 1
        elif place:
            times[place] += ONE
    return used


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def load_rows(blocks, outputs, rows, times, used, lr, rate, lanes):
    """Copy the rows of a window into the blocks."""
    width = 8 * len(lanes)
    for j in range(used):
        rate[j] = lr * times[j]
        n, start, row = j // GROUP, (4 + j % GROUP) * width, rows[j]
        for i in range(width):
            blocks[n, start + i] = outputs[row, i]
    for j in range(used, len(rate)):
        rate[j] = 0  # whatever the padding rows hold is finite and gets no step


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def store_rows(blocks, outputs, rows, used, lanes):
    """Copy them back."""
    width = 8 * len(lanes)
    for j in range(used):
        n, start, row = j // GROUP, (4 + j % GROUP) * width, rows[j]
        for i in range(width):
            outputs[row, i] = blocks[n, start + i]


@njit(nogil=True, cache=True)
def window_around(state, place, length, window, shrink):
    """First and last + 1 position of the window around `place`; window 0 is the whole document, shrink draws the reach from 1..window."""
    if window == 0:
        return 0, length
    reach = 1 + below(state, window) if shrink else window
    return max(0, place - reach), min(length, place + reach + 1)


@njit(nogil=True, cache=True)
def keep_tokens(state, tokens, first, last, keep, kept):
    """Copy the tokens that survive subsampling into `kept`; returns their number. A negative token is none of the vocabulary: left out."""
    n = 0
    for t in range(first, last):
        probability = keep[tokens[t]] if tokens[t] >= 0 else 0.0
        if probability >= 1.0 or (probability > 0.0 and uniform(state) < probability):
            kept[n] = tokens[t]
            n += 1
    return n


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def load_input(blocks, slot, inputs, row, ones, lanes):
    """Put an input row into slot 0 or 1 of every block; column `ones` (-1: none) meets the output bias."""
    width = 8 * len(lanes)
    start = 2 * slot * width
    for n in range(len(blocks)):
        for i in range(width):
            blocks[n, start + i] = inputs[row, i]
        if ones >= 0:
            blocks[n, start + ones] = 1


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def store_input(blocks, slot, inputs, row, scale, lanes):
    """Add `scale` times the step of slot 0 or 1 to an input row."""
    width = 8 * len(lanes)
    start = (2 * slot + 1) * width
    for n in range(len(blocks)):
        for i in range(width):
            inputs[row, i] += scale * blocks[n, start + i]


@njit(fastmath=FAST, nogil=True, cache=True)
def train_part(tokens, offsets, order, inputs, outputs, ones, noise, keep, window, shrink, k, per_pair, cbow, lr_first, lr_last,
               state, lanes):
    """Train padded tables [V, width] on the documents `order`, the rate falling linearly between them.

    Returns (pairs, measured loss, pairs it was measured on).
    """
    width = 8 * len(lanes)
    groups = -(-(k + 1) // GROUP)
    blocks = np.zeros((groups, 10 * width), np.float32)
    rows, times = np.empty(k + 1, np.int64), np.empty(k + 1, np.float32)
    rate, scores = np.zeros(groups * GROUP, np.float32), np.zeros(groups * GROUP, np.float32)
    longest = total = 0
    for document in order:
        longest = max(longest, offsets[document + 1] - offsets[document])
        total += offsets[document + 1] - offsets[document]
    kept, near = np.empty(longest, np.int64), np.empty(longest, np.int64)
    seen = examples = measured = visits = used = 0
    loss = 0.0
    for document in order:
        lr = np.float32(lr_first + (lr_last - lr_first) * seen / max(total, 1))  # a part may hold empty documents alone
        seen += offsets[document + 1] - offsets[document]
        length = keep_tokens(state, tokens, offsets[document], offsets[document + 1], keep, kept)
        for place in range(length):
            first, last = window_around(state, place, length, window, shrink)
            n = 0
            for c in range(first, last):
                if c != place:
                    near[n] = kept[c]
                    n += 1
            if n == 0:
                continue
            if cbow:
                share = ONE / np.float32(n)
                used = pick_rows(state, noise, kept[place], k, rows, times)
                for i in range(width):  # the mean, summed in place
                    blocks[0, i] = 0
                c = 0
                while c + 1 < n:
                    one, two = near[c], near[c + 1]
                    for i in range(width):
                        blocks[0, i] += inputs[one, i] + inputs[two, i]
                    c += 2
                if c < n:
                    one = near[c]
                    for i in range(width):
                        blocks[0, i] += inputs[one, i]
                for i in range(width):
                    blocks[0, i] *= share
                if ones >= 0:
                    blocks[0, ones] = 1
                for g in range(1, groups):
                    for i in range(width):
                        blocks[g, i] = blocks[0, i]
                load_rows(blocks, outputs, rows, times, used, lr, rate, lanes)
                step(blocks, rate, scores, lanes)
                for c in range(n):
                    store_input(blocks, 0, inputs, near[c], share, lanes)
                store_rows(blocks, outputs, rows, used, lanes)
            else:
                c = 0
                while c < n:
                    if c == 0 or per_pair:
                        used = pick_rows(state, noise, kept[place], k, rows, times)
                        load_rows(blocks, outputs, rows, times, used, lr, rate, lanes)
                    load_input(blocks, 0, inputs, near[c], ones, lanes)
                    if per_pair or c + 1 == n:
                        step(blocks, rate, scores, lanes)
                        store_input(blocks, 0, inputs, near[c], ONE, lanes)
                        c += 1
                    else:
                        load_input(blocks, 1, inputs, near[c + 1], ones, lanes)
                        step_two(blocks, rate, scores, lanes)
                        store_input(blocks, 0, inputs, near[c], ONE, lanes)
                        store_input(blocks, 1, inputs, near[c + 1], ONE, lanes)
                        c += 2
                    if per_pair or c >= n:
                        store_rows(blocks, outputs, rows, used, lanes)
            examples += 1 if cbow else n
            visits += 1
            if visits & (63 if cbow else 15) == 1:  # the logged loss: one window in 16, or 64 of CBOW, is enough and costs nothing
                loss += np.log1p(np.exp(-np.float64(scores[0])))
                for j in range(1, used):
                    loss += times[j] * np.log1p(np.exp(np.float64(scores[j])))
                measured += 1
    return examples, loss, measured


def visiting_order(offsets: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The order (int64 [documents]) in which an epoch visits the documents: drawn anew for each.

    Of a corpus longer than `PIECE` tokens, stretches of about so many are visited in a drawn order and so are the documents inside each:
    a drawn order of all documents would have the whole of a mapped file in memory (a fault maps up to 2 MB).
    """
    if offsets[-1] <= PIECE:
        return shuffled(len(offsets) - 1, seed, epoch)
    stretches = np.split(np.arange(len(offsets) - 1), np.flatnonzero(np.diff((offsets[1:] - 1) // PIECE)) + 1)
    rng = np.random.default_rng([seed, epoch, 1 << 20])
    return np.concatenate([rng.permutation(stretches[i]) for i in rng.permutation(len(stretches))])


def padded(table: np.ndarray, width: int, bias: np.ndarray | None = None) -> np.ndarray:
    """The table with rows of `width` floats, the bias in the first column after its own; the table itself if nothing is to be added."""
    dimension = table.shape[1]
    if dimension == width:
        return table
    wide = np.zeros((len(table), width), np.float32)
    wide[:, :dimension] = table
    if bias is not None and len(bias):
        wide[:, dimension] = bias
    return wide


def train(tokens, offsets, order, inputs, outputs, bias, noise, keep, *, window, shrink=True, k=5, per_pair=False, cbow=False, rates,
          seed, epoch, part=0, threads=1) -> tuple[int, float]:
    """Train in place over the documents `order`. Returns (pairs, or windows of CBOW; mean loss of those it was measured on).

    tokens int32, offsets int64 [documents + 1], order int64; inputs, outputs float32 [V, D]; bias float32 [V] or [0]; noise: an alias
    table; keep float64 [V]: probability that an occurrence is kept; rates: (first, last) learning rate; part: which stream of the epoch.
    threads > 1: the documents are dealt to threads that share the tables without locks (Hogwild), not reproducible to the bit.
    Tokens that are mapped from a file are let go of after every `PIECE` of them, so that the corpus need not fit into memory.
    """
    dimension = inputs.shape[1]
    lanes = lanes_for(dimension, bool(len(bias)))
    wide_inputs, wide_outputs = padded(inputs, 8 * len(lanes)), padded(outputs, 8 * len(lanes), bias)
    ends = np.cumsum((offsets[1:] - offsets[:-1])[order])
    pieces = np.split(order, np.flatnonzero(np.diff((ends - 1) // PIECE)) + 1)
    ends = np.concatenate([[0], ends])[np.cumsum([0] + [len(piece) for piece in pieces])]
    falling = rates[0] + (rates[1] - rates[0]) * (ends / max(ends[-1], 1))  # at the borders of the pieces
    falling[-1] = rates[1]
    states, results = [stream(seed, epoch, part * 1024 + i) for i in range(threads)], []

    def one(documents, state, lr_first, lr_last):
        return train_part(tokens, offsets, documents, wide_inputs, wide_outputs, dimension if len(bias) else -1, noise, keep, window,
                          shrink, k, per_pair, cbow, float(lr_first), float(lr_last), state, lanes)

    with ThreadPoolExecutor(threads) as pool:
        for piece, *lr in zip(pieces, falling[:-1], falling[1:], strict=True):
            if threads == 1:
                results.append(one(piece, states[0], *lr))
            else:
                results += pool.map(one, np.array_split(piece, threads), states, *([rate] * threads for rate in lr))
            if len(pieces) > 1 and hasattr(tokens, "_mmap"):
                tokens._mmap.madvise(mmap.MADV_DONTNEED)
    if wide_inputs is not inputs:
        inputs[:], outputs[:] = wide_inputs[:, :dimension], wide_outputs[:, :dimension]
        bias[:] = wide_outputs[:, dimension] if len(bias) else 0
    examples, loss, measured = (sum(column) for column in zip(*results, strict=True))
    return examples, loss / max(measured, 1)
