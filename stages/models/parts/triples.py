"""Kernels of the translation models: corruption that never makes a training triple, one gradient step a triple."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from stages.models.parts.distances import DISTANCES
from stages.models.parts.sampling import below, stream, uniform

FAST = {"reassoc", "contract", "nsz", "arcp"}
TRIES = 100  # draws for one corruption before it is given up: an entity linked to nearly all others may have none
OBJECTIVES = {"margin": 1, "self_adversarial": 2, "softmax": 3}


@dataclass(frozen=True)
class Facts:
    """What a step has to know of the training triples.

    rows int32 [n, 7]: head, relation, tail; first and last + 1 in `tails` of the tails of (head, relation); likewise in `heads` of the
    heads of (relation, tail). tails, heads int32 [n]: those of one pair side by side, sorted. head_share float64 [relations]: how often
    the head is the one replaced.
    """

    rows: np.ndarray
    tails: np.ndarray
    heads: np.ndarray
    head_share: np.ndarray


def facts_of(triples: np.ndarray, relations: int, corruption: str) -> Facts:
    """Facts of training triples int32 [n, 3].

    `unif` replaces head and tail equally often; `bern` (Wang et al. 2014, section 3.2) the head with probability tph / (tph + hpt), tails
    per head and heads per tail of the relation, so that a 1-N relation gets fewer false negatives.
    """
    triples = np.unique(triples, axis=0, return_inverse=True)
    triples, again = triples[0].astype(np.int64), triples[1].ravel()
    head, relation, tail = triples.T
    tails, tail_span, by_head = _grouped(head * relations + relation, tail)
    heads, head_span, by_tail = _grouped(tail * relations + relation, head)
    share = np.full(relations, 0.5)
    if corruption == "bern":
        n = np.bincount(relation, minlength=relations)
        seen = n > 0
        tph, hpt = (n[seen] / np.bincount(keys % relations, minlength=relations)[seen] for keys in (by_head, by_tail))
        share[seen] = tph / (tph + hpt)
    return Facts(np.hstack([triples, tail_span, head_span]).astype(np.int32)[again], tails, heads, share)


def _grouped(key: np.ndarray, value: np.ndarray):
    """(values int32 in the order of (key, value), span of each row's key [n, 2], the distinct keys)."""
    order = np.lexsort((value, key))
    distinct, place, counts = np.unique(key, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return value[order].astype(np.int32), np.stack([last - counts, last], 1)[place], distinct


@njit(nogil=True, cache=True)
def is_among(values, first, last, value):
    """Whether `value` is in the sorted values[first:last]."""
    while first < last:
        middle = (first + last) >> 1
        if values[middle] < value:
            first = middle + 1
        elif values[middle] > value:
            last = middle
        else:
            return True
    return False


@njit(nogil=True, cache=True)
def corrupt(state, row, share, tails, heads, entities):
    """(entity, 1 if it replaces the head else 0) that makes no training triple of the one in `row` of Facts; entity -1 if none was found.

    share: probability that the head is the one replaced.
    """
    at_head = 1 if uniform(state) < share else 0
    own, known = (row[0], heads) if at_head else (row[2], tails)
    first, last = (row[5], row[6]) if at_head else (row[3], row[4])
    for _ in range(TRIES):
        entity = below(state, entities)
        if entity != own and (last - first == 1 or not is_among(known, first, last, entity)):
            return entity, at_head
    return np.int64(-1), at_head


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _offset(entity, relation, normal, h, r, t, slope):
    """h + r - t into `slope` [D], h - t projected on the plane of r where `normal` has rows. Returns w.(h - t), 0 without planes."""
    along = np.float32(0.0)
    if len(normal):
        for i in range(len(slope)):
            along += normal[r, i] * (entity[h, i] - entity[t, i])
        for i in range(len(slope)):
            slope[i] = entity[h, i] - entity[t, i] + relation[r, i] - along * normal[r, i]
    else:
        for i in range(len(slope)):
            slope[i] = entity[h, i] + relation[r, i] - entity[t, i]
    return along


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _size(slope, distance):
    """The distance of an offset; its gradient takes the offset's place."""
    total = np.float32(0.0)
    if distance == 1:
        for i in range(len(slope)):
            gap = slope[i]
            total += abs(gap)
            slope[i] = np.float32(gap > 0) - np.float32(gap < 0)
        return total
    for i in range(len(slope)):
        total += slope[i] * slope[i]
    factor = np.float32(2.0)
    if distance == 2:
        total = np.sqrt(total)
        factor = np.float32(1.0) / total if total > 0 else np.float32(0.0)
    for i in range(len(slope)):
        slope[i] *= factor
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
        weights[i] = np.exp(temperature * (nearest - distances[i]))
        total += weights[i]
    for i in range(1, n):
        p, closeness = weights[i] / total, np.exp(margin - distances[i])
        weights[i] = -p * closeness / (1.0 + closeness)
        loss += p * np.log1p(closeness)
    return loss


@njit(nogil=True, cache=True)
def softmax_weights(distances, n, weights):
    """-log(exp(-d_0) / sum_i exp(-d_i)), the true triple among the i; as margin_weights."""
    nearest, total = np.inf, 0.0
    for i in range(n):
        nearest = min(nearest, distances[i])
    for i in range(n):
        weights[i] = np.exp(nearest - distances[i])
        total += weights[i]
    for i in range(n):
        weights[i] = -weights[i] / total
    weights[0] += 1.0
    return distances[0] - nearest + np.log(total)


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _in_ball(entity, row, strength, gradient):
    """strength x [|e|^2 - 1]_+, its gradient added."""
    square = np.float32(0.0)
    for i in range(len(gradient)):
        square += entity[row, i] * entity[row, i]
    if square <= 1:
        return np.float32(0.0)
    for i in range(len(gradient)):
        gradient[i] += np.float32(2.0) * strength * entity[row, i]
    return strength * (square - np.float32(1.0))


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _orthogonal(relation, normal, r, strength, epsilon, whole, turned):
    """strength x [(w.d)^2 / |d|^2 - epsilon^2]_+, its gradients added to those of d and w."""
    dot = square = np.float32(0.0)
    for i in range(len(whole)):
        dot += normal[r, i] * relation[r, i]
        square += relation[r, i] * relation[r, i]
    if square == 0 or dot * dot <= epsilon * epsilon * square:
        return np.float32(0.0)
    share = dot / square
    for i in range(len(whole)):
        whole[i] += np.float32(2.0) * strength * share * (normal[r, i] - share * relation[r, i])
        turned[i] += np.float32(2.0) * strength * share * relation[r, i]
    return strength * (dot * share - epsilon * epsilon)


@njit(fastmath=FAST, nogil=True, cache=True, inline="always")
def _project(vector, normal, r):
    """vector - (w.vector) w, in place. Returns w.vector."""
    dot = np.float32(0.0)
    for i in range(len(vector)):
        dot += vector[i] * normal[r, i]
    for i in range(len(vector)):
        vector[i] -= dot * normal[r, i]
    return dot


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
def _train(steps, entity, relation, normal, entity_squares, relation_squares, normal_squares, tails, heads, head_share, negatives,
           distance, objective, margin, temperature, unit, strength, epsilon, lr, state):
    dimension, planes = entity.shape[1], len(normal) > 0
    strength, epsilon = np.float32(strength), np.float32(epsilon)
    slope = np.empty((1 + negatives, dimension), np.float32)  # of each distance; then the gradient of the entity that replaced another
    along, others, sides = np.empty(1 + negatives, np.float32), np.empty(1 + negatives, np.int64), np.empty(1 + negatives, np.int64)
    distances, weights = np.empty(1 + negatives), np.empty(1 + negatives)
    seat = np.full(len(entity), -1, np.int32)  # the place in `others` where an entity of this step first stands
    sums = np.empty((2, dimension), np.float32)  # of the slopes where the tail, the head was replaced
    of_head, of_tail = np.empty(dimension, np.float32), np.empty(dimension, np.float32)  # gradients of the true triple's parts
    whole, turned = np.empty(dimension, np.float32), np.zeros(dimension, np.float32)  # gradients of the relation and of its normal
    loss = 0.0
    for step in steps:
        h, r, t = np.int64(step[0]), np.int64(step[1]), np.int64(step[2])
        along[0] = _offset(entity, relation, normal, h, r, t, slope[0])
        distances[0] = _size(slope[0], distance)
        n = 1
        for _ in range(negatives):
            other, at_head = corrupt(state, step, head_share[r], tails, heads, len(entity))
            if other >= 0:
                others[n], sides[n] = other, at_head
                along[n] = _offset(entity, relation, normal, other if at_head else h, r, t if at_head else other, slope[n])
                distances[n] = _size(slope[n], distance)
                n += 1
        if n == 1:
            continue
        if objective == 1:
            found = margin_weights(distances, n, margin, weights)
        elif objective == 2:
            found = adversarial_weights(distances, n, margin, temperature, weights)
        else:
            found = softmax_weights(distances, n, weights)
        loss += found
        if found == 0 and not planes:
            continue
        sums[:] = 0
        turned[:] = 0
        for j in range(1, n):
            weight = np.float32(weights[j]) if sides[j] else -np.float32(weights[j])
            if weight == 0 and not planes:
                others[j] = -1
                continue
            for i in range(dimension):
                slope[j, i] *= weight
                sums[sides[j], i] += slope[j, i]
            if planes:
                a, sign = h if sides[j] == 0 else t, np.float32(1.0) if sides[j] else np.float32(-1.0)
                for i in range(dimension):
                    turned[i] -= sign * along[j] * slope[j, i]
                dot = _project(slope[j], normal, r)
                for i in range(dimension):
                    turned[i] -= dot * (entity[others[j], i] - entity[a, i])
        for i in range(dimension):
            slope[0, i] *= np.float32(weights[0])
            whole[i] = slope[0, i] + sums[1, i] - sums[0, i]
        if planes:
            for i in range(dimension):
                turned[i] -= along[0] * slope[0, i]
            dot = _project(slope[0], normal, r)
            for i in range(dimension):
                turned[i] -= dot * (entity[h, i] - entity[t, i])
            _project(sums[0], normal, r)
            _project(sums[1], normal, r)
        for i in range(dimension):
            of_head[i] = slope[0, i] - sums[0, i]
            of_tail[i] = -slope[0, i] - sums[1, i]
        if h == t:
            of_head += of_tail
        for j in range(1, n):  # an entity that stands in several places moves once, by the sum
            x = others[j]
            if x == h or x == t or x >= 0 and seat[x] >= 0:
                into = of_head if x == h else of_tail if x == t else slope[seat[x]]
                into += slope[j]
                others[j] = -1
            elif x >= 0:
                seat[x] = j
        if planes:
            loss += _in_ball(entity, h, strength, of_head) + _orthogonal(relation, normal, r, strength, epsilon, whole, turned)
            if t != h:
                loss += _in_ball(entity, t, strength, of_tail)
            _move(normal, r, turned, normal_squares, lr)
            normalise(normal, r)
        for j in range(1, n):
            x = others[j]
            if x >= 0:
                seat[x] = -1
                if planes:
                    loss += _in_ball(entity, x, strength, slope[j])
                _move(entity, x, slope[j], entity_squares, lr)
                if unit:
                    normalise(entity, x)
        _move(entity, h, of_head, entity_squares, lr)
        if unit:
            normalise(entity, h)
        if t != h:
            _move(entity, t, of_tail, entity_squares, lr)
            if unit:
                normalise(entity, t)
        _move(relation, r, whole, relation_squares, lr)
    return loss


def train(facts: Facts, order, tables: dict[str, np.ndarray], *, negatives, distance, objective, margin, temperature, unit, strength,
          epsilon, lr, seed, epoch) -> float:
    """One pass in place over the training triples in `order`, one step a triple. Returns the mean loss of a triple.

    tables: entity, relation and, for projections, normal, float32 [., D], and for Adagrad their `_squares` float32 [.]; distance and
    objective: names in DISTANCES and OBJECTIVES; unit: entities stay on the unit sphere; strength and epsilon: of the soft bounds that
    projections have.
    """
    vectors = [tables.get(name, np.empty((0, 1), np.float32)) for name in ("entity", "relation", "normal")]
    squares = [tables.get(f"{name}_squares", np.empty(0, np.float32)) for name in ("entity", "relation", "normal")]
    loss = _train(facts.rows[order], *vectors, *squares, facts.tails, facts.heads, facts.head_share, negatives, DISTANCES[distance],
                  OBJECTIVES[objective], float(margin), float(temperature), unit, float(strength), float(epsilon), float(lr),
                  stream(seed, epoch))
    return loss / max(len(order), 1)
