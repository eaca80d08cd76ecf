"""Triples: link prediction, head and tail, raw and filtered, beside relation frequency, mined rules and similar entities."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from stages.evaluate import pictures, triples
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.settings import InputError

CHOOSING = 2000  # validation triples that choose, about


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.splits = {s: np.array(self.data[f"{s}.triples"], np.int64) for s in ("train", "valid", "test")}
        self.asked, self.left_out = self.splits[self.split], self.data.meta.get("left_out", {}).get(self.split, 0)
        if not len(self.asked):
            raise InputError(f"{self.data.folder}: no {self.split} triple, so nothing can be ranked; "
                             + (f"all {self.left_out} published ones hold an entity or relation that train lacks: move some of their "
                                "triples to train" if self.left_out else f"raise split.{self.split}"))
        self.chosen_among = np.concatenate([self.splits["train"], self.splits["valid"]])  # what a choice may know: no test triple
        self.known = self.chosen_among if self.split == "valid" else np.concatenate(list(self.splits.values()))
        self.entities, self.relations = self.data.meta["entities"], self.data.table("relations")
        self.categories = [self.data.meta["categories"][name] for name in self.relations]

    def headline(self, metrics):
        return "mrr"

    def found(self, tail_scores, head_scores):
        ranks = triples.ranks(tail_scores, head_scores, self.asked, self.known)
        metrics, table = triples.measure(ranks, self.asked, self.categories, self.relations)
        return (metrics | triples.over_all(metrics, len(self.asked), self.left_out) if self.left_out else metrics), table

    def of_model(self, model):
        need(model, "triples", "tail_scores")

        def numpy(method):
            def scores(a, b):
                with torch.no_grad():
                    return np.asarray(method(torch.as_tensor(a), torch.as_tensor(b)))
            return scores
        return self.found(numpy(model.tail_scores), numpy(model.head_scores))

    def measure(self, model, seed):
        found = self.of_model(model)[0]
        if hasattr(model, "vectors") and "entity" in (vectors := model.vectors()):
            found |= triples.spreads(array(vectors["entity"]), self.splits["train"], self.categories)
        return found

    @cached_property
    def neighbours(self):
        """(power, its MRR on the validation split or None, the baseline): the power of the similarity is never chosen on the test split."""
        rivals = {power: triples.ByNeighbours(self.splits["train"], self.entities, len(self.relations), power) for power in triples.POWERS}
        valid = self.splits["valid"]
        valid = valid[:: max(len(valid) // CHOOSING, 1)]
        if not len(valid):
            return triples.POWERS[0], None, rivals[triples.POWERS[0]]
        found = {}
        for power, rival in rivals.items():
            ranks = triples.ranks(rival.tail_scores, rival.head_scores, valid, self.chosen_among)
            found[power] = float((1.0 / np.concatenate([ranks["head"], ranks["tail"]])).mean())
        best = max(found, key=found.get)
        return best, found[best], rivals[best]

    @cached_property
    def rivals(self):
        """{baseline: (metrics, table)}"""
        shape = self.splits["train"], self.entities, len(self.relations)
        made = {"random_by_frequency": triples.ByFrequency(*shape), "rules": self.rules, "neighbours": self.neighbours[2]}
        return {name: self.found(rival.tail_scores, rival.head_scores) for name, rival in made.items()}

    @cached_property
    def rules(self):
        return triples.ByRules(self.splits["train"], self.entities, len(self.relations))

    def baselines(self, model, fresh):
        return {name: metrics for name, (metrics, _) in self.rivals.items()}

    def exhibit(self, model, gallery, seed):
        rows = self.of_model(model)[1]
        others = [table for _, table in self.rivals.values()]
        split = next(i for i, row in enumerate(rows) if row[0] not in triples.CATEGORIES)
        columns = ["test triples", "side", "mean rank", "MRR", "hits@1", "hits@3", "hits@10",
                   *(f"MRR of {n.replace('_', ' ')}" for n in self.rivals)]
        full = [[*row, *(other[i][4] for other in others)] for i, row in enumerate(rows)]
        power, quality, _ = self.neighbours
        note = (f"Filtered, ties by the mean rank. N: more than 1.5 on average in train. Neighbours vote by similarity to the power {power}"
                + ("." if quality is None else f", chosen on the validation split (MRR {quality:.3f})."))
        gallery.table("By category of relation", ["category", *columns], full[:split], note)
        gallery.table("By relation", ["relation", *columns], full[split:], note)
        rules = [[f"{self.relations[s]}(y, x)" if reverse else f"{self.relations[s]}(x, y)", f"{self.relations[r]}(x, y)", c]
                 for r, found in sorted(self.rules.rules.items()) for c, s, reverse in sorted(found, reverse=True)]
        gallery.table("Rules mined on train", ["if", "then", "confidence"], rules,
                      "What leaks from one relation to another; at least 2 pairs in common and confidence 0.1. None is good.")
        if not hasattr(model, "vectors"):
            return
        vectors = {name: array(v) for name, v in model.vectors().items()}
        entity = vectors.get("entity", next(iter(vectors.values())))
        names = self.data.table("entities")
        degree = np.bincount(self.splits["train"][:, [0, 2]].ravel(), minlength=self.entities)
        neighbour_table(gallery, "Nearest entities", entity, names, spread_choice(degree), "Cosine; from many training triples to few.")
        gallery.picture("map", pictures.scatter(principal_codes(entity, entity, 2)[0]), "Map of the entities",
                        "Each dot an entity at the first two principal directions of its vector.")
