"""Graphs: node classification and edge prediction beside spectral embedding, label propagation and neighbour counts."""

from __future__ import annotations

import numpy as np

from stages.evaluate import charts, nodes, pictures
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.evaluate.ranking import auc
from stages.settings import InputError


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.graph = nodes.adjacency(self.data["indptr"], self.data["indices"], self.data["weights"])
        self.labels, self.classes = np.array(self.data["labels"]), self.data.meta["classes"]  # of several labels the first, for colours
        truth = np.array(self.data["label_matrix"]) if "label_matrix" in self.data else nodes.label_matrix(self.labels, self.classes)
        held = {"test": "heldout", "valid": "heldout_valid"}[self.split]
        self.edges = [np.array(self.data[f"{held}.{n}"], np.int64) for n in ("edges", "non_edges")] if f"{held}.edges" in self.data else []
        # labels of validation nodes are for choosing settings: alone with themselves there, labelled but never scored in a result
        reserved = np.array(self.data["labels_valid"])
        self.truth, self.scored = (truth & reserved[:, None], None) if self.split == "valid" else (truth, ~reserved)
        self.labelled = self.classes >= 2 and self.truth.any(1).sum() >= 20
        self.linked = len(self.edges) == 2 and min(map(len, self.edges)) > 0
        if not self.labelled and not self.linked:
            more = ", or raise prepare.valid" if self.split == "valid" else ""
            raise InputError(f"{self.data.folder}: neither 20 nodes labelled in 2 classes nor held-out edges in the {self.split} split: "
                             f"nothing to measure; set prepare.{held}, e.g. to 0.1{more}")

    def headline(self, metrics):
        return "macro_f1_50" if "macro_f1_50" in metrics else "auc"

    def classified(self, classify):
        if not self.labelled:
            return {}
        return nodes.classification(classify, self.truth, self.scored, repeats=self.settings.shuffles, seed=self.settings.seed)

    def of_vectors(self, vectors):
        return {**self.classified(nodes.by_vectors(vectors)), **self.links(vectors)}

    def links(self, vectors):
        return {"auc": auc(*(nodes.edge_scores(vectors, e) for e in self.edges))} if self.linked else {}

    def measure(self, model, seed):
        need(model, "a graph", "vectors")
        self.found = metrics = self.of_vectors(array(model.vectors()["node"]))
        if hasattr(model, "heldout_loss"):
            metrics["heldout_loss"] = float(model.heldout_loss(self.data, self.split))
        return metrics

    def baselines(self, model, fresh):
        width, n = model.vectors()["node"].shape[1], self.graph.shape[0]
        width = min(width, max(self.classes, n // 8))  # on small graphs the later eigenvectors are noise: a weaker rival
        values, eigenvectors = nodes.eigenpairs(self.graph, min(width, n - 1))
        classified = self.classified(nodes.by_vectors(nodes.spectral(eigenvectors)))
        found = {"spectral": classified | self.links(nodes.series(values, eigenvectors))}
        if self.labelled:
            found["label_propagation"] = self.classified(nodes.strongest_propagation(self.graph))
            found["majority"] = self.classified(nodes.by_majority)
        if self.linked:
            scores = [nodes.neighbour_scores(self.graph, e) for e in self.edges]
            found |= {name: {"auc": auc(scores[0][name], scores[1][name])} for name in scores[0]}
        self.rivals = found
        return found

    def exhibit(self, model, gallery, seed):
        vectors = array(model.vectors()["node"])
        names, classes = self.data.table("nodes"), self.data.table("labels")
        degree = np.diff(self.data["indptr"])
        neighbour_table(gallery, "Nearest nodes", vectors, names, spread_choice(degree), "Cosine; from nodes of many edges to few.")
        if self.labelled:
            self.by_share(gallery)
            self.by_class(gallery, vectors, classes)
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=self.classes)
        common = np.argsort(-sizes, kind="stable")[:9] if self.labelled else []
        colour = np.full(len(self.labels), -1)
        for i, c in enumerate(common):
            colour[self.labels == c] = i
        gallery.picture("map", pictures.scatter(principal_codes(vectors, vectors, 2)[0], colour), "Map of the nodes",
                        "Each dot a node at the first two principal directions of its vector; classes: "
                        + (pictures.legend([classes[c] for c in common]) or "none") + ", others grey.")

    def by_share(self, gallery):
        """F1 of the run and of its baselines against the share of labels."""
        alone = int((self.truth.any(1) & (np.diff(self.data["indptr"]) == 0)).sum())
        methods = {"this run": self.found, **{k: v for k, v in self.rivals.items() if "micro_f1_50" in v}}
        shares = [round(100 * s) for s in nodes.SHARES]
        for average in ("macro", "micro"):
            lines = {name: [(s, float(found[f"{average}_f1_{s}"])) for s in shares if f"{average}_f1_{s}" in found]
                     for name, found in methods.items()}
            gallery.picture(f"{average}_f1", charts.lines(lines, "share of labelled nodes, %", f"{average}-F1", shares),
                            f"{average.capitalize()}-F1 against the share of labels",
                            "; ".join(f"{name}: " + ", ".join(f"{y:.3f} at {x} %" for x, y in points) for name, points in lines.items()))
            gallery.table(f"{average.capitalize()}-F1 by share of labels", ["method", *(f"{s} %" for s in shares)],
                          [[name, *(found.get(f"{average}_f1_{s}", "") for s in shares)] for name, found in methods.items()],
                          f"Mean over {self.settings.shuffles} shuffles, the same for all; the first training seed."
                          + (f" {alone} labelled nodes have no edge and are scored all the same: nothing but chance can place them."
                             if alone else ""))

    def by_class(self, gallery, vectors, classes):
        rows = np.flatnonzero(self.truth.any(1))
        known, rest = next(nodes.shuffles(len(rows), 0.5, 1, self.settings.seed))
        rest = rest if self.scored is None else rest[self.scored[rows[rest]]]
        truth = self.truth[rows]
        predicted = nodes.top_k(nodes.by_vectors(vectors)(rows[known], truth[known], rows[rest]), truth[rest].sum(1))
        gallery.table("F1 by class, half the labels", ["class", "nodes", "F1"],
                      [[classes[c], int(truth[:, c].sum()), nodes.f1(truth[rest][:, c : c + 1], predicted[:, c : c + 1])[0]]
                       for c in np.argsort(-truth.sum(0), kind="stable")], "The first of the shuffles.")
