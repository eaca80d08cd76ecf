"""The call and inheritance graph of the standard library: what calls, instantiates or inherits what, labelled by package.

Nodes are top-level functions, classes (with all their methods) and modules (their own statements). The weight of an edge is the
number of places that make it. Packages with fewer than `smallest` nodes are left out and the largest connected component is kept,
in turns until neither removes anything.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

import networkx as nx
import polars as pl

from stages.ingest import standard_library
from stages.ingest.raw import Raw
from stages.ingest.symbols import Symbols
from stages.settings import field


@dataclass(frozen=True)
class CallOptions:
    smallest: int = field(28, low=1, doc="fewest nodes of a package that is kept")


def stdlib_calls(options: CallOptions) -> Raw:
    symbols = Symbols()
    weights: Counter = Counter()
    for definition in symbols.definitions.values():
        here = lifted(symbols, definition.name)
        targets = [symbols.resolve(call.func, definition.module, definition.owner)
                   for call in symbols.references(definition, ast.Call)]
        for target in targets + definition.bases:
            if symbols.kind(target) in ("class", "function"):
                there = lifted(symbols, target)
                if here != there:
                    weights[min(here, there), max(here, there)] += 1
    graph = nx.Graph()
    graph.add_weighted_edges_from((a, b, n) for (a, b), n in sorted(weights.items()))
    package = {name: symbols.definitions[name].package for name in graph}
    nodes = sorted(_core(graph, package, options.smallest))
    kept = set(nodes)
    edges = [(a, b, float(n)) for (a, b), n in sorted(weights.items()) if a in kept and b in kept]
    return Raw(
        "graph",
        {"edges": pl.DataFrame(edges, schema=["source", "target", "weight"], orient="row"),
         "nodes": pl.DataFrame({"node_id": nodes, "label": [package[n] for n in nodes]})},
        licence=standard_library.LICENCE, address=standard_library.ADDRESS, notes={"python": standard_library.python_version()},
    )


def lifted(symbols: Symbols, name: str) -> str:
    """The top-level class a method or nested class belongs to, else `name` itself."""
    while symbols.definitions[name].owner:
        name = symbols.definitions[name].owner
    return name


def _core(graph, package, smallest):
    while graph.number_of_nodes():
        before = graph.number_of_nodes()
        sizes = Counter(package[n] for n in graph)
        graph = graph.subgraph([n for n in graph if sizes[package[n]] >= smallest])
        if graph.number_of_nodes():
            graph = graph.subgraph(max(nx.connected_components(graph), key=lambda c: (len(c), min(c))))
        if graph.number_of_nodes() == before:
            break
    return graph
