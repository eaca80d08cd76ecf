"""Expectations of graphs: edges with their nodes, or triples."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from stages.settings import field
from stages.validate import checks
from stages.validate.checks import Check, LabelThresholds
from stages.validate.suite import Dataset, Suite


@dataclass(frozen=True)
class GraphThresholds(LabelThresholds):
    min_rows: int = field(20, low=1, doc="edges or triples")
    min_nodes: int = field(10, low=1, doc="nodes or entities")
    max_label_share: float = field(0.95, low=0.0, high=1.0)
    max_isolated_share: float = field(0.1, low=0.0, high=1.0, doc="nodes without an edge to another node")
    max_self_loop_share: float = field(0.05, low=0.0, high=1.0, doc="edges or triples from a node to itself")
    max_duplicate_share: float = field(0.5, low=0.0, high=1.0, doc="edges that repeat an earlier one (prepare adds their weights)")
    max_unknown_share: float = field(0.1, low=0.0, high=1.0, doc="valid and test triples with an entity or relation that train lacks")
    weight_low: float = field(0.0, doc="a weight is above this")
    weight_high: float = field(1e6)


KINDS = {
    "graph": {"edges": {"source": pl.String, "target": pl.String, "weight": pl.Float64},
              "nodes": {"node_id": pl.String, "label": pl.String}},
    "triples": {"triples": dict.fromkeys(("head", "relation", "tail", "split"), pl.String)},
}
PARTS = ["head", "relation", "tail"]


def rows(data: Dataset, t: GraphThresholds) -> list[Check]:
    if data.kind == "triples":
        return [
            *(checks.present("triples", c) for c in PARTS),
            checks.not_blank("triples", PARTS),
            *checks.encoded("triples", PARTS),
            checks.known_split("triples"),
        ]
    return [
        *(checks.present("edges", c) for c in ("source", "target", "weight")),
        checks.finite("edges", ["weight"]),
        Check("weight_in_range", "edges", "weight", f"above {t.weight_low:g}, at most {t.weight_high:g}",
              arguments={"min_value": t.weight_low, "max_value": t.weight_high, "strict_min": True}),
        checks.present("nodes", "node_id"),
        checks.not_blank("nodes", ["node_id"]),
        *checks.encoded("nodes", ["node_id", "label"]),
        checks.unique("node_once", "nodes", ["node_id"]),
    ]


def references(data: Dataset, t: GraphThresholds) -> list[Check]:
    if data.kind == "triples":
        triple = pl.concat_str(PARTS, separator="\x1f")
        split = pl.col("split")
        again = pl.struct(*PARTS, "split").is_first_distinct().not_() | (split.is_null() & split.is_not_null().any().over(triple))
        return [checks.no_leak("triple_in_one_split", "triples", ", ".join(PARTS), triple, "triple"),
                checks.never("triple_once", "triples", ", ".join(PARTS), again,
                             "each triple once; one with a published split stays, else the first")]
    nodes = data.tables["nodes"]["node_id"].implode()
    return [checks.never(f"{end}_is_a_node", "edges", end, pl.col(end).is_in(nodes).not_(), "a node of nodes.parquet")
            for end in ("source", "target")]


def whole(data: Dataset, t: GraphThresholds) -> list[Check]:
    return _triples(data.tables["triples"], t) if data.kind == "triples" else _graph(data.tables["edges"], data.tables["nodes"], t)


def _graph(edges: pl.DataFrame, nodes: pl.DataFrame, t: GraphThresholds) -> list[Check]:
    joined = edges.filter(pl.col("source") != pl.col("target"))
    linked = pl.concat([joined["source"], joined["target"]]).unique().implode()
    return [
        checks.enough_rows("edges", t.min_rows),
        checks.enough_rows("nodes", t.min_nodes, "min_nodes"),
        checks.at_most(t.max_isolated_share, "few_isolated_nodes", "nodes", "node_id", pl.col("node_id").is_in(linked).not_(),
                       "nodes with an edge to another node", "{n} of {total} nodes have no edge to another node",
                       setting="max_isolated_share"),
        checks.at_most(t.max_self_loop_share, "few_self_loops", "edges", "source, target", pl.col("source") == pl.col("target"),
                       "edges between two different nodes", "{n} of {total} edges are self-loops; prepare leaves them out",
                       setting="max_self_loop_share"),
        checks.at_most(t.max_duplicate_share, "few_repeated_edges", "edges", "source, target",
                       pl.struct("source", "target").is_first_distinct().not_(), "each edge once",
                       "{n} of {total} edges repeat an earlier one; prepare adds their weights", setting="max_duplicate_share"),
        *checks.labels(nodes, "nodes", t),
    ]


def _triples(triples: pl.DataFrame, t: GraphThresholds) -> list[Check]:
    entities = pl.concat([triples["head"], triples["tail"]]).n_unique()
    relations = triples["relation"].n_unique()
    found = [
        checks.enough_rows("triples", t.min_rows),
        checks.aggregate("enough_entities", "triples", "head, tail", {"head, tail": entities}, t.min_nodes,
                         f"at least {t.min_nodes} entities", f"{entities} entities", "min_nodes"),
        checks.at_most(1.0, "several_relations", "triples", "relation", pl.lit(relations == 1), "two or more relations (counted)",
                       f"{relations} relations" if relations > 1 else f"one relation only, on all {triples.height} triples",
                       frame=triples.select("relation").head(1)),
        checks.at_most(t.max_self_loop_share, "few_self_loops", "triples", "head, tail", pl.col("head") == pl.col("tail"),
                       "triples between two different entities", "{n} of {total} triples lead from an entity to itself",
                       setting="max_self_loop_share"),
    ]
    held = triples.filter(pl.col("split").is_in(["valid", "test"]))
    if len(held):
        train = triples.filter(pl.col("split") == "train")
        known, kinds = pl.concat([train["head"], train["tail"]]).unique().implode(), train["relation"].unique().implode()
        fault = (pl.col("head").is_in(known) & pl.col("tail").is_in(known) & pl.col("relation").is_in(kinds)).not_()
        found.append(checks.at_most(t.max_unknown_share, "heldout_triples_known", "triples", ", ".join(PARTS), fault,
                                    "valid and test triples of entities and relations that train has",
                                    "{n} of {total} valid and test triples hold an entity or relation that train lacks; prepare leaves "
                                    "them out", frame=held, setting="max_unknown_share"))
    return found


SUITE = Suite(thresholds=GraphThresholds, kinds=KINDS, passes=(rows, references, whole))
