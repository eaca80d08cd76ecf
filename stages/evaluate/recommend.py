"""Next-item recommendation on held-out receipts.

Protocol. A receipt is its items in order, repeats dropped. `next` gives one test pair (query -> target) for every item and the one that
follows it; `all` one for every ordered pair of different items of the receipt. For each pair every item of the catalogue but the query
is ranked (ties by the mean), the target's rank counts. Pairs are grouped by how many training receipts hold both items, and by whether
the target is cold (in fewer than `cold` training receipts). Pairs never seen together are also ranked among the items never seen with the
query only, where seen ones cannot drown them (`_unseen`). The same pairs serve the model and the baselines.

The rivals are tuned as the model is, on the validation split's pairs, by NDCG@10 and never on the test split: first the reach within which
two items of a receipt count as bought together (WINDOWS), then, with that reach, the width and the power of the SVD (WIDTHS, POWERS) and
the field and the weight of the category back-off (WEIGHTS). The mix of a model with co-counts chooses its weight likewise (MIXES). The
buckets by pair frequency always count whole receipts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from stages.evaluate import ranking

BUCKETS = {"0": (0, 0), "1_2": (1, 2), "3_9": (3, 9), "10_up": (10, np.inf)}
ITEM_BUCKETS = {"0_2": (0, 2), "3_9": (3, 9), "10_29": (10, 29), "30_up": (30, np.inf)}  # training receipts with the target
CUTS = (5, 10, 20)
WINDOWS = (1, 2, 3, 0)  # positions apart; 0: the whole receipt
WEIGHTS = (0.01, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
MIXES = (0.01, 1.0, 10.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
WIDTHS = (16, 32, 40, 64)
POWERS = (0.5, 0.7, 1.0)  # of the singular values, on either side
DENSE = 2000  # items up to which all eigenvectors are computed
ROWS = 512  # queries scored at once


def receipt_matrix(tokens: np.ndarray, offsets: np.ndarray, items: int) -> sparse.csr_matrix:
    """Receipts x items, 1.0 where the receipt holds the item. Unknown items (negative ids) are left out."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    known = np.asarray(tokens) >= 0
    matrix = sparse.csr_matrix((np.ones(known.sum()), (rows[known], np.asarray(tokens)[known])), (len(offsets) - 1, items))
    matrix.data[:] = 1.0
    return matrix


def pair_counts(receipts: sparse.csr_matrix) -> sparse.csr_matrix:
    """items x items: receipts that hold both; the diagonal is left out."""
    counts = (receipts.T @ receipts).tocsr()
    counts.setdiag(0.0)
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def near_counts(tokens: np.ndarray, offsets: np.ndarray, items: int, window: int) -> sparse.csr_matrix:
    """items x items: receipts that hold both at most `window` positions apart, either way round, repeats dropped as in the protocol."""
    receipt, tokens = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), np.asarray(tokens, np.int64)
    receipt, tokens = receipt[tokens >= 0], tokens[tokens >= 0]
    first = np.sort(np.unique(receipt * items + tokens, return_index=True)[1])
    receipt, tokens = receipt[first], tokens[first]
    counts = sparse.csr_matrix((items, items))
    for distance in range(1, window + 1):
        same = np.flatnonzero(receipt[distance:] == receipt[:-distance])
        counts = counts + sparse.csr_matrix((np.ones(len(same)), (tokens[same], tokens[same + distance])), (items, items))
    return (counts + counts.T).tocsr()


def heldout_pairs(tokens: np.ndarray, offsets: np.ndarray, which: str = "next") -> np.ndarray:
    """[n, 2] (query, target) of the protocol above, in the order of the receipts."""
    found = []
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        items = np.array(list(dict.fromkeys(t for t in np.asarray(tokens[start:stop]).tolist() if t >= 0)), np.int64)
        if len(items) < 2:
            continue
        if which == "next":
            found.append(np.stack([items[:-1], items[1:]], 1))
        else:
            query, target = np.nonzero(~np.eye(len(items), dtype=bool))
            found.append(np.stack([items[query], items[target]], 1))
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Trial:
    """The pairs to rank, and what training says about them. Built once, used for the model and every baseline."""

    pairs: np.ndarray  # [n, 2] query, target
    together: sparse.csr_matrix  # items x items training receipts with both
    counts: np.ndarray  # [items] training receipts with the item
    cold: int = 10

    @property
    def items(self) -> int:
        return len(self.counts)


def trial(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], items: int,
          which: str = "next", cold: int = 10, limit: int = 20000, seed: int = 0) -> Trial:
    """A Trial from (tokens, offsets) of both splits; of more than `limit` pairs a seeded sample is kept."""
    receipts = receipt_matrix(*train, items)
    pairs = heldout_pairs(*test, which)
    if len(pairs) > limit:
        pairs = pairs[np.sort(np.random.default_rng(seed).permutation(len(pairs))[:limit])]
    return Trial(pairs, pair_counts(receipts), np.asarray(receipts.sum(0)).ravel(), cold)


def measure(score: Callable[[np.ndarray], np.ndarray], task: Trial) -> tuple[dict[str, float], list[list]]:
    """(metrics, table by bucket). `score` takes query ids [B] and gives [B, items], higher is better.

    Rows of the table: pairs in train, target, pairs, hit_rate_10, ndcg_10, mrr. Buckets without pairs have no metric.
    """
    ranks, unseen_ranks, seen, recommended = [], [], [], []
    for start in range(0, len(task.pairs), ROWS):
        query, target = task.pairs[start : start + ROWS].T
        scores = np.asarray(score(query), np.float64).copy()
        rows = np.arange(len(query))
        scores[rows, query] = -np.inf
        together = task.together[query].toarray()
        ranks.append(ranking.realistic_ranks(scores, target, allowed=np.isfinite(scores)))
        unseen_ranks.append(ranking.realistic_ranks(scores, target, allowed=np.isfinite(scores) & (together == 0)))
        seen.append(together[rows, target])
        recommended.append(np.unique(ranking.top_k(scores, 10)))
    if not ranks:
        raise ValueError("no test receipt holds two known items: nothing to rank")
    ranks, unseen_ranks, seen = map(np.concatenate, (ranks, unseen_ranks, seen))
    bought = task.counts[task.pairs[:, 1]]
    cold = bought < task.cold
    metrics = {**{f"{name}_{k}": function(ranks, k) for name, function in CUT.items() for k in CUTS}, "mrr": ranking.mrr(ranks),
               "coverage_items": ranking.catalogue_coverage(np.concatenate(recommended), task.items),
               **{f"{name}_cold": value for name, value in _summary(ranks[cold]).items()}}
    for name, (low, high) in ITEM_BUCKETS.items():
        metrics[f"ndcg_10_items_{name}"] = ranking.ndcg(ranks[(bought >= low) & (bought <= high)], 10)
    table = []
    for name, (low, high) in BUCKETS.items():
        inside = (seen >= low) & (seen <= high)
        metrics[f"ndcg_10_pairs_{name}"] = ranking.ndcg(ranks[inside], 10)
        for label, part in (("cold", inside & cold), ("warm", inside & ~cold)):
            table.append([name.replace("_up", " or more").replace("_", "-"), label, int(part.sum()), *_summary(ranks[part]).values()])
    for suffix, part in (("", seen == 0), ("_cold", (seen == 0) & cold), ("_warm", (seen == 0) & ~cold)):
        values = _summary(unseen_ranks[part])
        metrics[f"ndcg_10_unseen{suffix}"] = values["ndcg_10"]
        table.append(["0, among never seen together", suffix[1:] or "any", int(part.sum()), *values.values()])
    metrics["hit_rate_10_unseen"] = ranking.hit_rate(unseen_ranks[seen == 0], 10)
    return {name: value for name, value in metrics.items() if value == value}, table


CUT = {"hit_rate": ranking.hit_rate, "ndcg": ranking.ndcg, "mrr": ranking.mrr}


def _summary(ranks):
    return {"hit_rate_10": ranking.hit_rate(ranks, 10), "ndcg_10": ranking.ndcg(ranks, 10), "mrr": ranking.mrr(ranks)}


def popularity(task: Trial) -> Callable[[np.ndarray], np.ndarray]:
    """Every query gets the items by the number of training receipts they are in."""
    return lambda query: np.broadcast_to(task.counts, (len(query), task.items))


def co_counts(task: Trial, counts: sparse.csr_matrix | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Training receipts that hold both, near one another where `counts` are `near_counts`; equal counts by popularity."""
    counts, popular = task.together if counts is None else counts, task.counts / (task.counts.max() + 1.0)
    return lambda query: counts[query].toarray() + popular


def category_back_off(task: Trial, field: np.ndarray, counts: sparse.csr_matrix, weight: float) -> Callable[[np.ndarray], np.ndarray]:
    """C(q, t) + weight E(q, t): co-counts smoothed with what the categories of both let expect; equal scores by popularity.

    E(q, t) = C(category of q, category of t) p(q | its category) p(t | its category), p by training receipts. A small weight orders
    unseen pairs alone, a large one also outvotes small counts. field [items]: value id of the items, -1 for none (a category of its own).
    """
    field = np.where(field < 0, field.max() + 1, field)
    member = sparse.csr_matrix((np.ones(len(field)), (np.arange(len(field)), field)), (len(field), int(field.max()) + 1))
    between = np.asarray((member.T @ counts @ member).todense())  # categories x categories
    within = task.counts / np.maximum(np.bincount(field, task.counts)[field], 1.0)
    popular = task.counts / (task.counts.max() + 1.0) * 1e-9
    return lambda query: (counts[query].toarray() + weight * within[query][:, None] * between[field[query]][:, field] * within) + popular


def factors(counts: sparse.csr_matrix, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(values, vectors [items, at most width]) of log(1 + counts), symmetric: its eigenpairs of the largest |value|, best first.

    The singular values are |values|, the singular vectors these and these times the sign. A fixed start makes the search repeatable.
    """
    from scipy.sparse.linalg import eigsh

    logs = sparse.csr_matrix(counts).astype(np.float64).log1p()
    n = logs.shape[0]
    values, vectors = np.linalg.eigh(logs.toarray()) if n <= max(DENSE, width) else eigsh(logs, width, which="LM", v0=np.ones(n))
    order = np.argsort(-np.abs(values), kind="stable")[:width]
    return values[order], vectors[:, order]


def svd(task: Trial, values: np.ndarray, vectors: np.ndarray, width: int, power: float) -> Callable[[np.ndarray], np.ndarray]:
    """U S^p (V S^p)^T of the first `width` `factors`, equal scores by popularity; power 0.5 is the closest matrix of that rank.

    Counts factorised as an embedding's rival: Levy, Goldberg and Dagan 2015 (https://doi.org/10.1162/tacl_a_00134), where p is eig.
    """
    values, vectors = values[:width], vectors[:, :width]
    outputs = vectors * (np.sign(values) * np.abs(values) ** (2.0 * power))
    popular = task.counts / (task.counts.max() + 1.0) * 1e-9
    return lambda query: vectors[query] @ outputs.T + popular


def mixed(score: Callable[[np.ndarray], np.ndarray], counts: sparse.csr_matrix, weight: float) -> Callable[[np.ndarray], np.ndarray]:
    """C(q, t) + weight p(t|q): co-counts smoothed with a model, p the softmax of its scores over all items but the query."""
    def mix(query):
        scores = np.array(score(query), np.float64)
        scores[np.arange(len(query)), query] = -np.inf
        chance = np.exp(scores - scores.max(1, keepdims=True))
        return counts[query].toarray() + weight * chance / chance.sum(1, keepdims=True)

    return mix


def quality(score: Callable[[np.ndarray], np.ndarray], task: Trial) -> float:
    """NDCG@10 over the task's pairs: what is chosen by."""
    ranks = []
    for start in range(0, len(task.pairs), ROWS):
        query, target = task.pairs[start : start + ROWS].T
        allowed = np.arange(task.items) != query[:, None]
        ranks.append(ranking.realistic_ranks(np.asarray(score(query), np.float64), target, allowed))
    return ranking.ndcg(np.concatenate(ranks), 10)


def chosen(candidates: dict, task: Trial) -> tuple:
    """(key, quality) of the candidate {key: score function} with the highest `quality` on the task; the first of equals.

    For the validation split's task. Where that has no pairs, the first candidate and None.
    """
    if not len(task.pairs):
        return next(iter(candidates)), None
    found = {key: quality(score, task) for key, score in candidates.items()}
    best = max(found, key=found.get)
    return best, found[best]
