"""Graphs: node classification and edge prediction beside spectral embedding, label propagation and neighbour counts."""

from __future__ import annotations

import numpy as np

from stages.evaluate import nodes, pictures
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.evaluate.ranking import auc
from stages.settings import InputError


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.graph = nodes.adjacency(self.data["indptr"], self.data["indices"], self.data["weights"])
        self.labels, self.classes = np.array(self.data["labels"]), self.data.meta["classes"]
        self.labelled = self.classes >= 2 and (self.labels >= 0).sum() >= 20
        held = {"test": "heldout", "valid": "heldout_valid"}[self.split]
        self.edges = [np.array(self.data[f"{held}.{n}"], np.int64) for n in ("edges", "non_edges")] if f"{held}.edges" in self.data else []
        self.shuffle = self.settings.seed + (10**6 if self.split == "valid" else 0)  # labels have no split: other shuffles of all
        self.linked = len(self.edges) == 2 and min(map(len, self.edges)) > 0
        if not self.labelled and not self.linked:
            raise InputError(f"{self.data.folder}: neither 20 nodes labelled in 2 classes nor held-out edges: nothing to measure; "
                             "set prepare.heldout, e.g. to 0.1")

    def headline(self, metrics):
        return "macro_f1_50" if "macro_f1_50" in metrics else "auc"

    def classified(self, classify):
        if not self.labelled:
            return {}
        return nodes.classification(classify, self.labels, self.classes, repeats=self.settings.shuffles, seed=self.shuffle)

    def of_vectors(self, vectors):
        metrics = self.classified(nodes.by_vectors(vectors))
        if self.linked:
            metrics["auc"] = auc(*(nodes.edge_scores(vectors, e) for e in self.edges))
        return metrics

    def measure(self, model, seed):
        need(model, "a graph", "vectors")
        metrics = self.of_vectors(array(model.vectors()["node"]))
        if hasattr(model, "heldout_loss"):
            metrics["heldout_loss"] = float(model.heldout_loss(self.data, self.split))
        return metrics

    def baselines(self, model, fresh):
        width = model.vectors()["node"].shape[1]
        found = {"spectral": self.of_vectors(nodes.spectral(self.graph, min(width, self.graph.shape[0] - 1)))}
        if self.labelled:
            found["label_propagation"] = self.classified(nodes.strongest_propagation(self.graph))
            found["majority"] = self.classified(nodes.by_majority)
        if self.linked:
            scores = [nodes.neighbour_scores(self.graph, e) for e in self.edges]
            found |= {name: {"auc": auc(scores[0][name], scores[1][name])} for name in scores[0]}
        return found

    def exhibit(self, model, gallery, seed):
        vectors = array(model.vectors()["node"])
        names, classes = self.data.table("nodes"), self.data.table("labels")
        degree = np.diff(self.data["indptr"])
        neighbour_table(gallery, "Nearest nodes", vectors, names, spread_choice(degree), "Cosine; from nodes of many edges to few.")
        if self.labelled:
            rows = np.flatnonzero(self.labels >= 0)
            known, rest = next(nodes.shuffles(len(rows), 0.5, 1, self.shuffle))
            truth = self.labels[rows][:, None] == np.arange(self.classes)
            scores = nodes.by_vectors(vectors)(rows[known], truth[known], rows[rest])
            predicted = nodes.top_k(scores, np.ones(len(rest), int))
            gallery.table("F1 by class, half the labels", ["class", "nodes", "F1"],
                          [[classes[c], int(truth[:, c].sum()), nodes.f1(truth[rest][:, c : c + 1], predicted[:, c : c + 1])[0]]
                           for c in np.argsort(-truth.sum(0), kind="stable")], "The first of the shuffles.")
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=self.classes)
        common = np.argsort(-sizes, kind="stable")[:9] if self.labelled else []
        colour = np.full(len(self.labels), -1)
        for i, c in enumerate(common):
            colour[self.labels == c] = i
        gallery.picture("map", pictures.scatter(principal_codes(vectors, vectors, 2)[0], colour), "Map of the nodes",
                        "Each dot a node at the first two principal directions of its vector; classes: "
                        + (pictures.legend([classes[c] for c in common]) or "none") + ", others grey.")
