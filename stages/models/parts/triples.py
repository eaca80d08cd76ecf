"""Kernels of the translation models: membership of triples, corruption that never makes a training triple, one gradient step a triple."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from stages.models.parts.sampling import MIX1, S31, below, stream, uniform

FAST = {"reassoc", "contract", "nsz", "arcp"}
TRIES = 100  # draws for one corruption before it is given up: an entity linked to nearly all others may have none


@dataclass(frozen=True)
class Facts:
    """What corruption has to know: an open-addressing table of the training triples' keys, and how often a relation's head is replaced."""

    slots: np.ndarray  # int64, -1 for empty; a power of two of them
    head_share: np.ndarray  # float64 [relations]


@njit(nogil=True, cache=True)
def _slot(key, mask):
    z = np.uint64(key) * MIX1
    return np.int64((z ^ (z >> S31)) & np.uint64(mask))


@njit(nogil=True, cache=True)
def _fill(slots, keys):
    mask = len(slots) - 1
    for key in keys:
        i = _slot(key, mask)
        while slots[i] != -1 and slots[i] != key:
            i = (i + 1) & mask
        slots[i] = key


@njit(nogil=True, cache=True)
def is_known(slots, head, relation, tail, entities, relations):
    """Whether the triple is in the table."""
    key = (head * relations + relation) * entities + tail
    mask = len(slots) - 1
    i = _slot(key, mask)
    while slots[i] != -1:
        if slots[i] == key:
            return True
        i = (i + 1) & mask
    return False


def facts_of(triples: np.ndarray, entities: int, relations: int, corruption: str) -> Facts:
    """Facts of training triples int32 [n, 3].

    `unif` replaces head and tail equally often; `bern` (Wang et al. 2014, section 3.2) the head with probability tph / (tph + hpt), tails
    per head and heads per tail of the relation, so that a 1-N relation gets fewer false negatives.
    """
    head, relation, tail = np.asarray(triples, np.int64).T
    slots = np.full(1 << max(4, int(4 * len(triples) - 1).bit_length()), -1, np.int64)
    _fill(slots, (head * relations + relation) * entities + tail)
    share = np.full(relations, 0.5)
    if corruption == "bern":
        n = np.bincount(relation, minlength=relations)
        heads = np.bincount(np.unique(relation * entities + head) // entities, minlength=relations)
        tails = np.bincount(np.unique(relation * entities + tail) // entities, minlength=relations)
        seen = n > 0
        tph, hpt = n[seen] / heads[seen], n[seen] / tails[seen]
        share[seen] = tph / (tph + hpt)
    return Facts(slots, share)


@njit(nogil=True, cache=True)
def corrupt(state, head, relation, tail, slots, head_share, entities):
    """(entity, 1 if it replaces the head else 0) that makes no training triple; entity -1 if none was found."""
    relations = len(head_share)
    at_head = 1 if uniform(state) < head_share[relation] else 0
    for _ in range(TRIES):
        entity = below(state, entities)
        if at_head:
            if not is_known(slots, entity, relation, tail, entities, relations):
                return entity, at_head
        elif not is_known(slots, head, relation, entity, entities, relations):
            return entity, at_head
    return np.int64(-1), at_head


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def distance(entity, relation, h, r, t, norm, slope):
    """d(h + r, t) in the L1 or L2 norm; its gradient with respect to h (and r, and minus t) goes into `slope` [D]."""
    total = np.float32(0.0)
    if norm == 1:
        for i in range(len(slope)):
            gap = entity[h, i] + relation[r, i] - entity[t, i]
            total += abs(gap)
            slope[i] = np.float32(gap > 0) - np.float32(gap < 0)
        return total
    for i in range(len(slope)):
        gap = entity[h, i] + relation[r, i] - entity[t, i]
        total += gap * gap
        slope[i] = gap
    total = np.sqrt(total)
    if total > 0:
        inverse = np.float32(1.0) / total
        for i in range(len(slope)):
            slope[i] *= inverse
    return total


@njit(nogil=True, cache=True)
def margin_weights(distances, n, margin, weights):
    """sum_i max(0, margin + d_0 - d_i): returns the loss, `weights` its derivative by each distance (0 is the true triple)."""
    loss = 0.0
    weights[0] = 0
    for i in range(1, n):
        gap = margin + distances[0] - distances[i]
        active = gap > 0
        weights[i] = -1.0 if active else 0.0
        if active:
            weights[0] += 1
            loss += gap
    return loss


@njit(nogil=True, cache=True)
def adversarial_weights(distances, n, margin, temperature, weights):
    """-log s(margin - d_0) - sum_i p_i log s(d_i - margin), p = softmax(temperature (margin - d_i)) without gradient; as margin_weights."""
    weights[0] = 1.0 / (1.0 + np.exp(margin - distances[0]))
    loss = np.log1p(np.exp(distances[0] - margin))
    nearest = np.inf
    for i in range(1, n):
        nearest = min(nearest, distances[i])
    total = 0.0
    for i in range(1, n):
        total += np.exp(temperature * (nearest - distances[i]))
    for i in range(1, n):
        p = np.exp(temperature * (nearest - distances[i])) / total
        weights[i] = -p / (1.0 + np.exp(distances[i] - margin))
        loss += p * np.log1p(np.exp(margin - distances[i]))
    return loss


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _move(table, row, gradient, squares, lr):
    """One row's step: SGD, or Adagrad with one accumulator a row (the mean square of its gradients) where `squares` has rows."""
    rate = np.float32(lr)
    if len(squares):
        square = np.float32(0.0)
        for i in range(len(gradient)):
            square += gradient[i] * gradient[i]
        if square == 0:
            return
        squares[row] += square / np.float32(len(gradient))
        rate = np.float32(lr / np.sqrt(squares[row]))
    for i in range(len(gradient)):
        table[row, i] -= rate * gradient[i]


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def normalise(table, row):
    """Put a row back on the unit sphere."""
    total = np.float32(0.0)
    for i in range(table.shape[1]):
        total += table[row, i] * table[row, i]
    if total > 0:
        inverse = np.float32(1.0) / np.sqrt(total)
        for i in range(table.shape[1]):
            table[row, i] *= inverse


@njit(fastmath=FAST, nogil=True, cache=True)
def _train(triples, order, entity, relation, entity_squares, relation_squares, slots, head_share, negatives, norm, margin, temperature,
           unit, lr, state):
    dimension = entity.shape[1]
    rows = np.empty(2 + negatives, np.int64)  # distinct entities of this step
    gradients = np.empty((2 + negatives, dimension), np.float32)
    slope = np.empty((1 + negatives, dimension), np.float32)
    place = np.empty((1 + negatives, 2), np.int64)  # of head and tail of each triple, in rows
    distances, weights = np.empty(1 + negatives), np.empty(1 + negatives)
    whole = np.empty(dimension, np.float32)
    loss = 0.0
    for index in order:
        h, r, t = np.int64(triples[index, 0]), np.int64(triples[index, 1]), np.int64(triples[index, 2])
        rows[0], used = h, 1
        if t != h:
            rows[1], used = t, 2
        place[0, 0], place[0, 1] = 0, used - 1
        distances[0] = distance(entity, relation, h, r, t, norm, slope[0])
        n = 1
        for _ in range(negatives):
            other, at_head = corrupt(state, h, r, t, slots, head_share, len(entity))
            if other < 0:
                continue
            position = 0
            while position < used and rows[position] != other:
                position += 1
            if position == used:
                rows[used] = other
                used += 1
            place[n, 0] = position if at_head else place[0, 0]
            place[n, 1] = place[0, 1] if at_head else position
            distances[n] = distance(entity, relation, rows[place[n, 0]], r, rows[place[n, 1]], norm, slope[n])
            n += 1
        if n == 1:
            continue
        if temperature > 0:
            loss += adversarial_weights(distances, n, margin, temperature, weights)
        else:
            found = margin_weights(distances, n, margin, weights)
            loss += found
            if found == 0:
                continue
        gradients[:used] = 0
        whole[:] = 0
        for j in range(n):
            weight = np.float32(weights[j])
            if weight != 0:
                a, b = place[j, 0], place[j, 1]
                for i in range(dimension):
                    pull = weight * slope[j, i]
                    gradients[a, i] += pull
                    gradients[b, i] -= pull
                    whole[i] += pull
        for j in range(used):
            _move(entity, rows[j], gradients[j], entity_squares, lr)
            if unit:
                normalise(entity, rows[j])
        _move(relation, r, whole, relation_squares, lr)
    return loss


def train(triples, order, entity, relation, entity_squares, relation_squares, facts: Facts, *, negatives, norm, margin, temperature, unit,
          lr, seed, epoch) -> float:
    """One pass in place over the triples `order`, one step a triple. Returns the mean loss of a triple.

    triples int32 [n, 3]; entity, relation float32 [., D]; squares float32 [.] Adagrad accumulators, or [0] for SGD; norm 1 or 2;
    temperature 0: margin loss, above: self-adversarial; unit: entities stay on the unit sphere.
    """
    loss = _train(np.ascontiguousarray(triples), order, entity, relation, entity_squares, relation_squares, facts.slots, facts.head_share,
                  negatives, norm, float(margin), float(temperature), unit, float(lr), stream(seed, epoch))
    return loss / max(len(order), 1)
