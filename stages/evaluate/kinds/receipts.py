"""Receipts: next-item recommendation beside popularity, co-counts and category back-off, all of them tuned on the validation split."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from stages.evaluate import pictures, recommend
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.settings import InputError

SCORINGS = ("conditional", "dot", "cosine")
CHOOSING = 5000  # validation pairs that choose, at most


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.items, data, s = self.data.meta["items"], self.data, self.settings
        self.receipts = {split: (data[f"{split}.tokens"], data[f"{split}.offsets"]) for split in ("train", "valid", "test")}
        self.trials = {name: recommend.trial(self.receipts["train"], self.receipts[split], self.items, s.pairs, s.cold, limit, s.seed)
                       for name, split, limit in (("valid", "valid", min(CHOOSING, s.limit)), ("test", self.split, s.limit))}
        if not len(self.trials["test"].pairs):
            raise InputError(f"{data.folder}: no {self.split} receipt holds two known items, so nothing can be recommended; "
                             f"raise split.{self.split} or lower prepare.min_count")

    def headline(self, metrics):
        return "ndcg_10"

    def scoring(self, model):
        """(name, NDCG@10 on the validation split or None, score function [B] -> [B, items]) by the run's `scoring`."""
        need(model, "receipts", "vectors")
        wanted = SCORINGS if self.settings.scoring == "auto" else (self.settings.scoring,)
        functions = {name: self.scored(model, name) for name in wanted}
        name, quality = recommend.chosen(functions, self.trials["valid"])
        return name, quality, functions[name]

    def scored(self, model, scoring):
        """conditional: the loss -log s(in.out) against noise ~ f^a makes in.out log P(t|q)/f(t)^a up to a constant: a log f(t) is added."""
        vectors = {name: array(v) for name, v in model.vectors().items()}
        inputs, outputs = vectors["input"], vectors.get("output", vectors["input"])
        if scoring == "cosine":
            unit = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-12)
            return lambda query: unit[query] @ unit.T
        exponent = self.model_settings.get("exponent", 0.75) if scoring == "conditional" else 0.0
        bias = exponent * np.log(np.maximum(array(self.data["counts"]), 1.0))
        own = array(model.bias) if getattr(model, "bias", None) is not None and len(model.bias) else 0.0
        return lambda query: inputs[query] @ outputs.T + bias + own

    def measure(self, model, seed):
        metrics, _ = recommend.measure(self.scoring(model)[2], self.trials["test"])
        if hasattr(model, "heldout_loss"):
            metrics["heldout_loss"] = float(model.heldout_loss(self.data, self.split))
        return metrics

    @cached_property
    def tuned(self):
        """(score functions of the rivals, rows that say what was chosen on the validation split and how good it was there)."""
        task, valid = self.trials["test"], self.trials["valid"]  # they differ in the pairs alone: functions serve both
        counts = {w: recommend.near_counts(*self.receipts["train"], self.items, w) if w else task.together for w in recommend.WINDOWS}
        window, quality = recommend.chosen({w: recommend.co_counts(task, c) for w, c in counts.items()}, valid)
        reach = f"at most {window} apart" if window else "in one receipt"
        found = {"popularity": recommend.popularity(task), "co_counts": recommend.co_counts(task, counts[window])}
        choices = [["co-counts", reach, quality]]
        fields = {f: np.array(self.data[f"field.{f}"]) for f in self.data.meta["fields"]}
        if fields:
            candidates = {(f, w): recommend.category_back_off(task, ids, counts[window], w)
                          for f, ids in fields.items() for w in recommend.WEIGHTS}
            (name, weight), quality = recommend.chosen(candidates, valid)
            found["category_back_off"] = candidates[name, weight]
            choices.append(["category back-off", f"field {name}, weight {weight:g}, items {reach}", quality])
        return found, choices

    def baselines(self, model, fresh):
        return {name: recommend.measure(score, self.trials["test"])[0] for name, score in self.tuned[0].items()}

    def exhibit(self, model, gallery, seed):
        name, quality, score = self.scoring(model)
        _, rows = recommend.measure(score, self.trials["test"])
        rivals, choices = self.tuned
        others = {rival: recommend.measure(found, self.trials["test"])[1] for rival, found in rivals.items()}
        gallery.table("Chosen on the validation split", ["what", "choice", "NDCG@10 there"],
                      [["scoring of the model's vectors", name, quality], *choices], "The test split chooses nothing.")
        columns = ["receipts in train with both", "target", "test pairs", "hit rate@10", "NDCG@10", "MRR"]
        gallery.table("By pair frequency and target", [*columns, *(f"NDCG@10 of {n.replace('_', '-')}" for n in others)],
                      [[*row, *(rival[i][4] for rival in others.values())] for i, row in enumerate(rows)],
                      f"Ties by the mean rank; cold targets are in fewer than {self.settings.cold} training receipts. "
                      "The last rows rank pairs never seen together among such candidates only.")
        vectors, counts = array(model.vectors()["input"]), array(self.data["counts"])
        names = self.data.table("items")
        neighbour_table(gallery, "Nearest items", vectors, names, spread_choice(counts), "Cosine of the input vectors, frequent to rare.")
        fields = list(self.data.meta["fields"])
        labels = np.array(self.data[f"field.{fields[-1]}"]) if fields else None
        coloured = f", coloured by {fields[-1]}" if fields else ""
        gallery.picture("map", pictures.scatter(principal_codes(vectors, vectors, 2)[0], labels), "Map of the items",
                        f"Each dot an item at the first two principal directions of its input vector{coloured}.")
