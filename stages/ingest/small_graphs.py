"""Small labelled graphs that come with networkx and scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.ingest.raw import Raw
from stages.settings import field


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass(frozen=True)
class NeighbourOptions:
    neighbours: int = field(10, low=1, high=1000)


def karate(options: NoOptions) -> Raw:
    """Zachary's karate club: 34 members, labels are the two clubs it split into, weights the contexts in which two members met."""
    import networkx as nx

    graph = nx.karate_club_graph()
    return _raw(graph, [str(graph.nodes[n]["club"]) for n in graph], "Zachary 1977; BSD-3-Clause (networkx)", "https://networkx.org")


def les_miserables(options: NoOptions) -> Raw:
    """Characters of Les Miserables, weights are the chapters in which two appear together; no labels."""
    import networkx as nx

    graph = nx.les_miserables_graph()
    return _raw(graph, [None] * len(graph), "Knuth 1993; BSD-3-Clause (networkx)", "https://networkx.org")


def digits_neighbours(options: NeighbourOptions) -> Raw:
    """The graph of scikit-learn's digits in which each is joined to its nearest neighbours (Euclidean); labels are the digits."""
    from sklearn.datasets import load_digits
    from sklearn.neighbors import kneighbors_graph

    bunch = load_digits()
    near = kneighbors_graph(bunch.data, options.neighbours).tocoo()
    pairs = np.unique(np.sort(np.stack([near.row, near.col], 1), 1), axis=0)
    names = np.array([f"d{i:04d}" for i in range(len(bunch.target))])
    edges = pl.DataFrame({"source": names[pairs[:, 0]], "target": names[pairs[:, 1]], "weight": np.ones(len(pairs))})
    nodes = pl.DataFrame({"node_id": names, "label": [str(t) for t in bunch.target]})
    return Raw("graph", {"edges": edges, "nodes": nodes}, licence="BSD-3-Clause (scikit-learn); UCI optical digits, CC BY 4.0",
               address="https://archive.ics.uci.edu/dataset/80")


def _raw(graph, labels, licence, address):
    edges = [(str(a), str(b), float(w)) for a, b, w in graph.edges(data="weight", default=1.0)]
    return Raw("graph", {"edges": pl.DataFrame(edges, schema=["source", "target", "weight"], orient="row"),
                         "nodes": pl.DataFrame({"node_id": [str(n) for n in graph], "label": labels},
                                               schema={"node_id": pl.String, "label": pl.String})},
               licence=licence, address=address)
