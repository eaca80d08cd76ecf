"""Negative sampling over receipts with metadata: the numba kernel of prod2vec and Meta-Prod2Vec.

Rows of one pair of tables are items (0..V-1) and, after them, the values of each metadata field. A centre J with its n near items I gives
blocks of output rows, each held against a list of weighted inputs (the parts of `skipgram.py` load and store them):

    J and k noise items:                the I with weight 1, then their values M_I and n times J's own value, with weight lambda
    J's value M_J and side_k noise values of that field (a block a field):  the I and the M_I with weight lambda

The items come first and by a random stream of their own, so that with lambda = 0, or without fields, exactly prod2vec is left. An input
that occurs several times in a list is one step with the sum of its weights, as long as that is at most `MERGED`: more would overshoot.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from stages.models.parts.sampling import below, stream
from stages.models.parts.skipgram import (
    FAST,
    GROUP,
    ONE,
    keep_tokens,
    lanes_for,
    load_input,
    load_rows,
    padded,
    pick_rows,
    sigmoid,
    store_input,
    store_rows,
    window_around,
)

MERGED = 2.0
SIDE = 1 << 16  # streams of the side terms begin here


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def step_weighted(blocks, rate, scores, first, second, lanes):
    """One gradient step on `first` x the loss of input 0 + `second` x that of input 1; blocks, rate, scores as in skipgram.step."""
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
        g0, h0 = first * r0 * (label - sigmoid(s0)), second * r0 * (label - sigmoid(t0))
        g1, h1 = -first * r1 * sigmoid(s1), -second * r1 * sigmoid(t1)
        g2, h2 = -first * r2 * sigmoid(s2), -second * r2 * sigmoid(t2)
        g3, h3 = -first * r3 * sigmoid(s3), -second * r3 * sigmoid(t3)
        g4, h4 = -first * r4 * sigmoid(s4), -second * r4 * sigmoid(t4)
        g5, h5 = -first * r5 * sigmoid(s5), -second * r5 * sigmoid(t5)
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
def add_side(ids, weights, start, count, row, weight):
    """Add an input to the list from `start`, merged with the same row while their weight is at most MERGED; returns the new length."""
    for place in range(start, count):
        if ids[place] == row and weights[place] + weight <= np.float32(MERGED):
            weights[place] += weight
            return count
    ids[count], weights[count] = row, weight
    return count + 1


@njit(fastmath=FAST, nogil=True, cache=True)
def train_part(tokens, offsets, order, inputs, outputs, noise, keep, values, starts, side_noise, side_weight, one_field, window, shrink, k,
               side_k, lr_first, lr_last, state, side_state, lanes):
    """Train padded tables [V + values, width] on the receipts `order`, the rate falling linearly between them.

    values int32 [fields, V]: the row of an item's value, -1 for none; starts int64 [fields + 1]: rows of a field; side_noise: the fields'
    alias tables end to end. Returns (pairs, measured loss of the items, pairs it was measured on).
    """
    width = 8 * len(lanes)
    items, fields, most = len(keep), len(values), max(k, side_k) + 1
    rows, times = np.empty(most, np.int64), np.empty(most, np.float32)
    most = -(-most // GROUP)
    blocks = np.zeros((most, 10 * width), np.float32)
    rate, scores = np.zeros(most * GROUP, np.float32), np.zeros(most * GROUP, np.float32)
    longest = total = 0
    for receipt in order:
        longest = max(longest, offsets[receipt + 1] - offsets[receipt])
        total += offsets[receipt + 1] - offsets[receipt]
    kept = np.empty(longest, np.int64)
    ids, weights = np.empty(longest * (2 * fields + 1) + 1, np.int64), np.empty(longest * (2 * fields + 1) + 1, np.float32)
    sided = fields > 0 and side_weight > 0
    side = np.float32(side_weight * fields) if one_field else np.float32(side_weight)
    seen = examples = measured = visits = 0
    loss = 0.0
    for receipt in order:
        lr = np.float32(lr_first + (lr_last - lr_first) * seen / max(total, 1))
        seen += offsets[receipt + 1] - offsets[receipt]
        length = keep_tokens(state, tokens, offsets[receipt], offsets[receipt + 1], keep, kept)
        for place in range(length):
            centre = kept[place]
            first, last = window_around(state, place, length, window, shrink)
            near = 0
            for c in range(first, last):
                if c != place:
                    ids[near], weights[near] = kept[c], ONE
                    near += 1
            if near == 0:
                continue
            low = high = 0
            if sided:
                low = below(side_state, fields) if one_field else 0
                high = low + 1 if one_field else fields
            for field in range(low - 1, high):  # the block of the items, then one a field
                count = near
                if field < low:
                    used = pick_rows(state, noise, centre, k, rows, times)
                    for f in range(low, high):
                        for c in range(near):
                            if values[f, ids[c]] >= 0:
                                count = add_side(ids, weights, near, count, np.int64(values[f, ids[c]]), side)
                        if values[f, centre] >= 0:
                            for _ in range(near):
                                count = add_side(ids, weights, near, count, np.int64(values[f, centre]), side)
                else:
                    if values[field, centre] < 0:
                        continue
                    base = starts[field]
                    used = pick_rows(side_state, side_noise[base - items : starts[field + 1] - items], values[field, centre] - base, side_k,
                                     rows, times)
                    for j in range(used):
                        rows[j] += base
                    for c in range(near):
                        weights[c] = side
                        if values[field, ids[c]] >= 0:
                            count = add_side(ids, weights, near, count, np.int64(values[field, ids[c]]), side)
                groups = -(-used // GROUP)
                block, amount = blocks[:groups], rate[: groups * GROUP]
                load_rows(block, outputs, rows, times, used, lr, amount, lanes)
                c = 0
                while c < count:
                    two = c + 1 < count and c + 1 != near  # items are not paired with values: lambda must not change their steps
                    load_input(block, 0, inputs, ids[c], -1, lanes)
                    if two:
                        load_input(block, 1, inputs, ids[c + 1], -1, lanes)
                    step_weighted(block, amount, scores, weights[c], weights[c + 1] if two else np.float32(0.0), lanes)
                    store_input(block, 0, inputs, ids[c], ONE, lanes)
                    if two:
                        store_input(block, 1, inputs, ids[c + 1], ONE, lanes)
                    if c == 0 and field < low and visits & 15 == 0:  # the logged loss: one centre in 16 is enough and costs nothing
                        loss += np.log1p(np.exp(-np.float64(scores[0])))
                        for j in range(1, used):
                            loss += times[j] * np.log1p(np.exp(np.float64(scores[j])))
                        measured += 1
                    c += 2 if two else 1
                store_rows(block, outputs, rows, used, lanes)
            examples += near
            visits += 1
    return examples, loss, measured


def train(tokens, offsets, order, inputs, outputs, noise, keep, values, starts, side_noise, *, side_weight, one_field, window, shrink, k,
          side_k, rates, seed, epoch, threads=1) -> tuple[int, float]:
    """Train in place over the receipts `order`. Returns (pairs, mean loss of the item -> item pairs it was measured on).

    tokens int32, offsets int64 [receipts + 1], order int64; inputs, outputs float32 [V + values, D]; noise: an alias table of the items;
    keep float64 [V]; values, starts, side_noise as in `train_part`; one_field: the side terms of one field a centre, drawn uniformly, with
    fields x lambda, in place of all of them; rates: (first, last) learning rate. threads > 1 share the tables without locks (Hogwild).
    """
    dimension = inputs.shape[1]
    lanes = lanes_for(dimension, False)
    wide_inputs, wide_outputs = padded(inputs, 8 * len(lanes)), padded(outputs, 8 * len(lanes))
    parts = np.array_split(order, threads)

    def one(i):
        return train_part(tokens, offsets, parts[i], wide_inputs, wide_outputs, noise, keep, values, starts, side_noise, float(side_weight),
                          one_field, window, shrink, k, side_k, *map(float, rates), stream(seed, epoch, i), stream(seed, epoch, SIDE + i),
                          lanes)

    if threads == 1:
        results = [one(0)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(one, range(threads)))
    if wide_inputs is not inputs:
        inputs[:], outputs[:] = wide_inputs[:, :dimension], wide_outputs[:, :dimension]
    examples, loss, measured = (sum(column) for column in zip(*results, strict=True))
    return examples, loss / max(measured, 1)
