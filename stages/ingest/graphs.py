"""The user's own graphs: edge lists with or without a table of nodes, and files of triples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from stages.ingest.raw import SCHEMAS, Raw
from stages.ingest.table_files import SPLITS, TableOptions, pick, scan
from stages.ingest.text_files import existing
from stages.settings import InputError, field


@dataclass(frozen=True)
class GraphOptions(TableOptions):
    kind: Literal["graph", "triples"] = "graph"
    nodes: str | None = field(None, doc="file of nodes and labels, read with the same separator, header and encoding")
    node_columns: dict[str, str] = field({}, doc="as columns, for the file of nodes: node_id and label")


def from_path(options: GraphOptions, path: Path, scratch: Path) -> Raw:
    """Edges (source, target, weight) or triples (head, relation, tail, split). Without a header the columns stand in that order."""
    frame = scan(path, options, scratch / "edges")
    if options.kind == "triples":
        allowed = tuple(SCHEMAS["triples"]["triples"])
        chosen = pick(frame, _in_order(frame, options, allowed[:3]), allowed, allowed[:3], path)
        table = frame.select(pl.col(c).cast(pl.String).alias(n) for n, c in chosen.items())
        if "split" in chosen:
            table = table.with_columns(pl.col("split").str.to_lowercase().replace(SPLITS))
        return Raw("triples", {"triples": table}, licence="the user's own")
    allowed = tuple(SCHEMAS["graph"]["edges"])
    chosen = pick(frame, _in_order(frame, options, allowed), allowed, ("source", "target"), path)
    weight = _weight(frame, chosen, path)
    edges = frame.select(pl.col(chosen["source"]).cast(pl.String).alias("source"), pl.col(chosen["target"]).cast(pl.String).alias("target"),
                         weight.alias("weight"))
    return Raw("graph", {"edges": edges, "nodes": _nodes(edges, options, scratch)}, licence="the user's own")


def _in_order(frame, options, names):
    """What columns mean in a file without a header that options.columns does not name: their order."""
    if options.header or options.columns:
        return options.columns
    return dict(zip(names, frame.collect_schema().names(), strict=False))


def _weight(frame, chosen, path):
    if "weight" not in chosen:
        return pl.lit(1.0)
    weight = pl.col(chosen["weight"]).cast(pl.Float64, strict=False)
    wrong = frame.filter(weight.is_null() & pl.col(chosen["weight"]).is_not_null()).select(pl.col(chosen["weight"]).cast(pl.String))
    example = wrong.head(1).collect()
    if example.height:
        raise InputError(f"{path}: weight {example.item()!r} in column {chosen['weight']!r} is no number; map another column to weight")
    return weight


def _nodes(edges, options, scratch):
    """The table of nodes, else one of every end of an edge, without labels, in sorted order."""
    if options.nodes is None:
        ends = pl.concat([edges.select(node_id="source"), edges.select(node_id="target")])
        return ends.unique().collect(engine="streaming").drop_nulls().sort("node_id")
    path = existing(Path(options.nodes), "options.nodes")
    frame = scan(path, options, scratch / "nodes")
    names = ("node_id", "label")
    mapping = options.node_columns
    if not options.header and not mapping:
        mapping = dict(zip(names, frame.collect_schema().names(), strict=False))
    chosen = pick(frame, mapping, names, ("node_id",), path)
    return frame.select(pl.col(c).cast(pl.String).alias(n) for n, c in chosen.items())
