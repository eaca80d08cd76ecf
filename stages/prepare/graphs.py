"""Edge lists -> a CSR graph with held-out edges; triples -> encoded triples with every test entity in train."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.prepare.splits import SPLITS, Shares, by_hash, position
from stages.settings import InputError, field

CATEGORY_THRESHOLD = 1.5  # Bordes et al. 2013, section 4.2: mean tails a head, heads a tail


@dataclass(frozen=True)
class GraphSettings:
    heldout: float = field(0.0, low=0.0, high=0.5, doc="share of edges kept for link prediction; no node loses its last edge")
    heldout_valid: float = field(0.0, low=0.0, high=0.5)
    label_separator: str | None = field(None, doc="a node's label is several, joined by this")
    valid: float | None = field(None, low=0.0, high=0.8, doc="share of nodes whose labels are for choosing settings and are never scored")


@dataclass(frozen=True)
class TripleSettings:
    valid: float | None = field(None, low=0.0, high=0.8)
    test: float | None = field(None, low=0.0, high=0.8)


def graph(edges: pl.DataFrame, nodes: pl.DataFrame, settings: GraphSettings, shares: Shares):
    """arrays, tables, meta of kind graph: undirected (a -> b and b -> a are parallel edges, their weights summed), self-loops left out."""
    names = sorted(nodes["node_id"].unique())
    index = pl.DataFrame({"node": names, "id": np.arange(len(names), dtype=np.int64)})
    ends = [
        edges.select(pl.col(c).alias("node")).join(index, on="node", how="left", maintain_order="left")["id"].to_numpy()
        for c in ("source", "target")
    ]
    u, v = np.minimum(*ends), np.maximum(*ends)
    weight = edges["weight"].to_numpy().astype(np.float64) if "weight" in edges.columns else np.ones(len(u))
    keep = u != v
    key, inverse = np.unique(u[keep] * len(names) + v[keep], return_inverse=True)
    weight = np.bincount(inverse, weights=weight[keep], minlength=len(key))
    u, v = key // len(names), key % len(names)
    if not len(u):
        raise InputError("the graph has no edge between two different nodes; nothing can be learnt from it")
    if not (weight > 0).all():
        i = int(np.argmin(weight))
        raise InputError(f"the edges between {names[u[i]]!r} and {names[v[i]]!r} weigh {weight[i]:g} together; weights must be above 0: "
                         "leave validate.weight_low at 0, which sets such edges aside")
    held = _hold_out(u, v, names, settings, shares)
    arrays = _csr(u[held == 0], v[held == 0], weight[held == 0], len(names))
    edge_set, rng = set(key.tolist()), np.random.default_rng(int(position("non-edges", shares.salt) * 2**32))
    meta = {"nodes": len(names), "edges": int((held == 0).sum()), "isolated": int((np.diff(arrays["indptr"]) == 0).sum()), "heldout": {}}
    for code, prefix in ((2, "heldout"), (1, "heldout_valid")):
        positive = np.stack([u[held == code], v[held == code]], 1).astype(np.int32)
        arrays[f"{prefix}.edges"], arrays[f"{prefix}.non_edges"] = positive, _non_edges(len(positive), len(names), edge_set, rng)
        meta["heldout"][prefix] = len(positive)
    found, labels = _labels(names, nodes, settings.label_separator)
    arrays |= found
    arrays["labels_valid"] = np.array([position(f"label of {n}", shares.salt) < shares.valid for n in names]) & (arrays["labels"] >= 0)
    return arrays, {"nodes": names, "labels": labels}, {**meta, "classes": len(labels)}


def _labels(names, nodes, separator) -> tuple[dict[str, np.ndarray], list[str]]:
    """labels int32 [nodes], -1: none (with a separator its first by name); with a separator also label_matrix bool [nodes, labels]."""
    given = dict(zip(nodes["node_id"], nodes["label"], strict=True)) if "label" in nodes.columns else {}
    parts = [[] if given.get(n) is None else given[n].split(separator) if separator else [given[n]] for n in names]
    parts = [sorted({x for x in row if x}) for row in parts]
    labels = sorted({x for row in parts for x in row})
    code_of = {x: i for i, x in enumerate(labels)}
    arrays = {"labels": np.array([code_of[row[0]] if row else -1 for row in parts], np.int32)}
    if separator:
        arrays["label_matrix"] = np.zeros((len(names), len(labels)), bool)
        for i, row in enumerate(parts):
            arrays["label_matrix"][i, [code_of[x] for x in row]] = True
    return arrays, labels


def _hold_out(u, v, names, settings, shares) -> np.ndarray:
    """0 train, 1 valid, 2 test for each edge, by the hash of its two ends; an edge stays where a node would lose its last one."""
    where = np.array([position(f"{names[a]}\t{names[b]}", shares.salt) for a, b in zip(u, v, strict=True)])
    wanted = np.where(where < settings.heldout, 2, np.where(where < settings.heldout + settings.heldout_valid, 1, 0))
    degree = np.bincount(np.concatenate([u, v]), minlength=len(names))
    held = np.zeros(len(u), np.int8)
    for i in np.argsort(where, kind="stable"):
        if wanted[i] and degree[u[i]] > 1 and degree[v[i]] > 1:
            held[i] = wanted[i]
            degree[u[i]] -= 1
            degree[v[i]] -= 1
    return held


def _csr(u, v, weight, n):
    rows, columns, values = np.concatenate([u, v]), np.concatenate([v, u]), np.concatenate([weight, weight])
    order = np.lexsort((columns, rows))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
    return {"indptr": indptr, "indices": columns[order].astype(np.int32), "weights": values[order].astype(np.float32)}


def _non_edges(n, nodes, edges, rng) -> np.ndarray:
    found, tries = {}, 0
    while len(found) < n and tries < 100:
        a, b = rng.integers(nodes, size=2 * n), rng.integers(nodes, size=2 * n)
        for x, y in zip(np.minimum(a, b).tolist(), np.maximum(a, b).tolist(), strict=True):
            if x != y and x * nodes + y not in edges and len(found) < n:
                found[x, y] = None
        tries += 1
    return np.array(list(found), np.int32).reshape(-1, 2)


def triples(table: pl.DataFrame, settings: TripleSettings, shares: Shares):
    """arrays, tables, meta of kind triples, which depend on the set of triples, not on their order. A published split is kept (a triple
    with an entity or relation unseen in train is left out and counted); a hashed one moves such triples to train."""
    table = table.sort("head", "relation", "tail", maintain_order=True)
    rows = list(table.select("head", "relation", "tail").iter_rows())
    published = table["split"].to_list() if "split" in table.columns else [None] * len(rows)
    split = [p or by_hash("\t".join(r), shares) for p, r in zip(published, rows, strict=True)]
    entities = {x for r, s in zip(rows, split, strict=True) if s == "train" for x in (r[0], r[2])}
    relations = {r[1] for r, s in zip(rows, split, strict=True) if s == "train"}
    left_out = dict.fromkeys(SPLITS, 0)

    def turn(i):  # published triples last: a triple moved to train may bring the entity that one of them needs
        return published[i] is not None, position("\t".join(rows[i]), shares.salt)

    for i in sorted(range(len(rows)), key=turn):
        h, r, t = rows[i]
        if split[i] != "train" and not (h in entities and t in entities and r in relations):
            if published[i] is None:
                split[i] = "train"
                entities.update((h, t))
                relations.add(r)
            else:
                left_out[split[i]] += 1
                split[i] = None
    if not entities:
        raise InputError("no triple is left in the train split; lower split.valid and split.test")
    names, kinds = sorted(entities), sorted(relations)
    e, k = {x: i for i, x in enumerate(names)}, {x: i for i, x in enumerate(kinds)}
    arrays = {
        f"{s}.triples": np.array([(e[h], k[r], e[t]) for (h, r, t), at in zip(rows, split, strict=True) if at == s], np.int32).reshape(
            -1, 3
        )
        for s in SPLITS
    }
    meta = {
        "entities": len(names),
        "relations": len(kinds),
        "triples": {s: len(arrays[f"{s}.triples"]) for s in SPLITS},
        "left_out": left_out,
        "categories": categories(arrays["train.triples"], kinds),
    }
    return arrays, {"entities": names, "relations": kinds}, meta


def categories(train: np.ndarray, relations: list[str]) -> dict[str, str]:
    """1-1, 1-N, N-1 or N-N for each relation: more than 1.5 tails a head (heads a tail) on train makes that side N."""
    result = {}
    for i, name in enumerate(relations):
        rows = train[train[:, 1] == i]
        if len(rows):
            tails, heads = len(rows) / len(np.unique(rows[:, 0])), len(rows) / len(np.unique(rows[:, 2]))
            result[name] = f"{'N' if heads > CATEGORY_THRESHOLD else '1'}-{'N' if tails > CATEGORY_THRESHOLD else '1'}"
    return result
