"""Link prediction on triples: head and tail ranked among all entities, raw and filtered, ties by the mean ("realistic" rank)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numba import njit
from scipy import sparse

CATEGORIES = ("1-1", "1-N", "N-1", "N-N")
PAIRED = 2000  # triples of a relation whose answers are compared in pairs, about
POWERS = (1, 2, 3, 4)  # of the similarity between entities; the validation split chooses
ROWS = 256  # queries scored at once

Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]


@njit(nogil=True, cache=True)
def _count(scores, rows, targets, first, last, answers, raw, filtered):
    """Ranks of targets[i] in scores[rows[i]], the known answers[first[i]:last[i]] set aside for `filtered`. False if a score is NaN."""
    for i in range(len(rows)):
        row = scores[rows[i]]
        own = row[targets[i]]
        better = equal = strange = 0
        for e in range(len(row)):
            better += row[e] > own
            equal += row[e] == own
            strange += row[e] != row[e]
        if strange:
            return False
        raw[i] = better + (equal + 1) / 2.0
        for j in range(first[i], last[i]):
            if answers[j] != targets[i]:
                better -= row[answers[j]] > own
                equal -= row[answers[j]] == own
        filtered[i] = better + (equal + 1) / 2.0
    return True


def side_ranks(score: Callable[[np.ndarray], np.ndarray], triples: np.ndarray, known: np.ndarray,
               side: str) -> tuple[np.ndarray, np.ndarray]:
    """(raw, filtered) ranks [n] of the true tail (side "tail") or head among all entities.

    score(block of triples [B, 3]) -> [B, entities], higher is likelier; each (head, relation) or (relation, tail) is asked once. Filtered:
    the other answers in `known` [m, 3] (all splits) do not compete. Raises ValueError for NaN scores.
    """
    fixed, answer = (0, 2) if side == "tail" else (2, 0)
    triples, known = np.asarray(triples, np.int64), np.asarray(known, np.int64)
    relations, entities = int(max(known[:, 1].max(), triples[:, 1].max())) + 1, int(known[:, answer].max()) + 1
    codes = np.sort((known[:, fixed] * relations + known[:, 1]) * entities + known[:, answer])  # np.unique would hash: ten times slower
    keys, answers = np.divmod(codes[np.diff(codes, prepend=-1) > 0], entities)
    queries, examples, query = np.unique(triples[:, fixed] * relations + triples[:, 1], return_index=True, return_inverse=True)
    first, last = np.searchsorted(keys, queries, "left")[query], np.searchsorted(keys, queries, "right")[query]
    by_query = np.argsort(query, kind="stable")
    raw, filtered = np.empty(len(triples)), np.empty(len(triples))
    for start in range(0, len(queries), ROWS):
        scores = np.ascontiguousarray(score(triples[examples[start : start + ROWS]]))
        mine = by_query[slice(*np.searchsorted(query[by_query], (start, start + ROWS)))]
        found = np.empty(len(mine)), np.empty(len(mine))
        if not _count(scores, query[mine] - start, triples[mine, answer], first[mine], last[mine], answers, *found):
            raise ValueError("scores hold NaN: they cannot be ranked")
        raw[mine], filtered[mine] = found
    return raw, filtered


def ranks(tail_scores: Scores, head_scores: Scores, triples: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    """Ranks "raw_tail", "raw_head", "tail" and "head" (filtered), each [n]. tail_scores(h, r) and head_scores(r, t) -> [B, entities]."""
    raw_tail, tail = side_ranks(lambda b: tail_scores(b[:, 0], b[:, 1]), triples, known, "tail")
    raw_head, head = side_ranks(lambda b: head_scores(b[:, 1], b[:, 2]), triples, known, "head")
    return {"raw_tail": raw_tail, "raw_head": raw_head, "tail": tail, "head": head}


def summary(values: np.ndarray, prefix: str = "", suffix: str = "") -> dict[str, float]:
    """mean_rank, mrr, hits_1, hits_3, hits_10 of ranks, with the names' prefix (raw_) and suffix (_head)."""
    numbers = {"mean_rank": values.mean(), "mrr": (1.0 / values).mean(), **{f"hits_{k}": (values <= k).mean() for k in (1, 3, 10)}}
    return {f"{prefix}{name}{suffix}": float(v) for name, v in numbers.items()}


def measure(found: dict[str, np.ndarray], triples: np.ndarray, kinds: list[str],
            relations: list[str]) -> tuple[dict[str, float], list[list]]:
    """(metrics, table). Both sides count alike in the overall figures. Table rows: group, triples, side, filtered mean_rank ... hits_10."""
    both = np.concatenate([found["head"], found["tail"]])
    metrics = {**summary(both), **summary(np.concatenate([found["raw_head"], found["raw_tail"]]), prefix="raw_")}
    for side in ("head", "tail"):
        metrics |= {k: v for k, v in summary(found[side], suffix=f"_{side}").items() if not k.startswith(("hits_1_", "hits_3_"))}
    table = []
    of_triple = np.array(kinds)[triples[:, 1]]
    for kind in CATEGORIES:
        inside = of_triple == kind
        for side in ("head", "tail"):
            if inside.any():
                metrics[f"hits_10_{side}_{kind.replace('-', '_').lower()}"] = float((found[side][inside] <= 10).mean())
                table.append([kind, int(inside.sum()), side, *summary(found[side][inside]).values()])
    for r in np.unique(triples[:, 1]):
        inside = triples[:, 1] == r
        for side in ("head", "tail"):
            table.append([f"{relations[r]} ({kinds[r]})", int(inside.sum()), side, *summary(found[side][inside]).values()])
    return metrics, table


def over_all(metrics: dict[str, float], measured: int, left_out: int) -> dict[str, float]:
    """`unseen`, and mrr_all and hits_10_all: over the left-out triples (an entity or relation never trained) too, as if never found."""
    share = measured / (measured + left_out)
    return {"unseen": float(left_out), **{f"{name}_all": metrics[name] * share for name in ("mrr", "hits_10")}}


def spreads(vectors: np.ndarray, train: np.ndarray, categories: list[str]) -> dict[str, float]:
    """spread_<side>_<category>, of the sides of which a relation has many: how near one another are the answers to one question.

    The mean distance between two tails of one head (heads of one tail) over that between two of different ones in the same relation,
    every pair of triples alike, averaged over the category's relations: 1 where the entity asked about makes no difference.
    """
    found: dict[str, list[float]] = {}
    for relation in np.unique(train[:, 1]):
        own, category = train[train[:, 1] == relation][:: max(1, (train[:, 1] == relation).sum() // PAIRED)], categories[relation]
        for side, given, asked, many in (("tail", 0, 2, ("1-N", "N-N")), ("head", 2, 0, ("N-1", "N-N"))):
            if category not in many:
                continue
            points = vectors[own[:, asked]].astype(np.float64)
            squares = (points**2).sum(1)
            apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
            other = own[:, asked][:, None] != own[:, asked]
            same = own[:, given][:, None] == own[:, given]
            if (same & other).any() and (~same & other).any():
                ratio = float(apart[same & other].mean() / apart[~same & other].mean())
                found.setdefault(f"spread_{side}_{category.replace('-', '_').lower()}", []).append(ratio)
    return {name: float(np.mean(ratios)) for name, ratios in sorted(found.items())}


class ByFrequency:
    """random_by_frequency: an entity scores how often it is head (tail) of the relation in train, whatever the other end."""

    def __init__(self, train: np.ndarray, entities: int, relations: int):
        self.heads, self.tails = np.zeros((relations, entities)), np.zeros((relations, entities))
        np.add.at(self.heads, (train[:, 1], train[:, 0]), 1.0)
        np.add.at(self.tails, (train[:, 1], train[:, 2]), 1.0)

    def tail_scores(self, heads, relations):
        return self.tails[relations]

    def head_scores(self, relations, tails):
        return self.heads[relations]


class ByRules:
    """What leaks: rules (h, s, t) => (h, r, t) and (h, s, t) => (t, r, h) mined on train, answers scored by the best rule's confidence.

    Confidence of a rule: share of s's pairs that r holds (reversed), with at least `support` in common; below `confidence` a rule is
    dropped. Equal scores, the entities no rule names among them, go by relation frequency. A relation set free of inverse and duplicate
    relations leaves this baseline near random_by_frequency.
    """

    def __init__(self, train: np.ndarray, entities: int, relations: int, support: int = 2, confidence: float = 0.1):
        self.frequency = ByFrequency(train, entities, relations)
        head, relation, tail = np.unique(train, axis=0).T
        self.matrices = [sparse.csr_matrix((np.ones((m := relation == r).sum()), (head[m], tail[m])), (entities, entities))
                         for r in range(relations)]
        self.backward = [m.T.tocsr() for m in self.matrices]
        pairs, place = np.unique(head * entities + tail, return_inverse=True)
        holds = sparse.csr_matrix((np.ones(len(place)), (place, relation)), (len(pairs), relations))
        there = np.minimum(np.searchsorted(pairs, turned := pairs % entities * entities + pairs // entities), len(pairs) - 1)
        turned = sparse.diags((pairs[there] == turned).astype(float)) @ holds[there]  # relations of each pair reversed
        common = (holds.T @ holds).toarray(), (holds.T @ turned).toarray()  # pairs of r that s holds, as they are and reversed
        self.rules = defaultdict(list)  # relation -> (confidence, other relation, reversed)
        for r, s in np.ndindex(relations, relations):
            for reverse in (False, True):
                shared, total = common[reverse][r, s], common[False][s, s]
                if (s != r or reverse) and shared >= support and shared / total >= confidence:
                    self.rules[r].append((float(shared / total), s, reverse))

    def _scores(self, frequency, fixed, relations, forward, backward):
        scores = frequency / (frequency.max() + 1.0) * 1e-3  # below any rule
        for r in np.unique(relations):
            rows = np.flatnonzero(relations == r)
            best = np.zeros((len(rows), scores.shape[1]))
            for confidence, s, reverse in self.rules.get(int(r), ()):
                np.maximum(best, confidence * (backward if reverse else forward)[s][fixed[rows]].toarray(), out=best)
            scores[rows] += best
        return scores

    def tail_scores(self, heads, relations):
        return self._scores(self.frequency.tails[relations], heads, relations, self.matrices, self.backward)

    def head_scores(self, relations, tails):
        return self._scores(self.frequency.heads[relations], tails, relations, self.backward, self.matrices)


class ByNeighbours:
    """neighbours: entities alike in train vote with their answers; what memory alone can do, without any learnt vector.

    An entity's facts are its (relation, other entity, side) in train, each weighing idf = log(entities / entities with that fact); alike
    is the cosine of these, to a `power` that lets few close ones outvote many distant ones. (h, r, ?): the tail t of each training triple
    (h', r, t) gets alike(h, h')^power; (?, r, t) likewise. An entity does not vote for itself; no votes: by relation frequency.
    """

    def __init__(self, train: np.ndarray, entities: int, relations: int, power: float = 1.0):
        train = np.unique(train, axis=0)
        head, relation, tail = train.T
        fact = np.r_[2 * relation * entities + tail, (2 * relation + 1) * entities + head]
        names, column = np.unique(fact, return_inverse=True)
        facts = sparse.csr_matrix((np.ones(len(fact)), (np.r_[head, tail], column)), (entities, len(names)))
        facts = facts @ sparse.diags(np.log(entities / np.maximum(np.bincount(column), 1)))
        length = np.sqrt(np.asarray(facts.multiply(facts).sum(1)).ravel())
        self.facts, self.power = (sparse.diags(1.0 / np.maximum(length, 1e-12)) @ facts).tocsr(), power
        self.frequency = ByFrequency(train, entities, relations)
        self.matrices = [sparse.csr_matrix((np.ones((m := relation == r).sum()), (head[m], tail[m])), (entities, entities))
                         for r in range(relations)]

    def _scores(self, frequency, fixed, relations, votes):
        scores = frequency / (frequency.max() + 1.0) * 1e-9
        asked, place = np.unique(fixed, return_inverse=True)
        alike = (self.facts[asked] @ self.facts.T).tocoo()  # of a block: all entities against all may not fit
        weight = np.where(alike.col == asked[alike.row], 0.0, alike.data**self.power)
        alike = sparse.csr_matrix((weight, (alike.row, alike.col)), alike.shape)
        for r in np.unique(relations):
            rows = np.flatnonzero(relations == r)
            scores[rows] += (alike[place[rows]] @ votes(self.matrices[r])).toarray()
        return scores

    def tail_scores(self, heads, relations):
        return self._scores(self.frequency.tails[relations], heads, relations, lambda m: m)

    def head_scores(self, relations, tails):
        return self._scores(self.frequency.heads[relations], tails, relations, lambda m: m.T)
