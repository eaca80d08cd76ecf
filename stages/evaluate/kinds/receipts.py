"""Receipts: next-item recommendation beside popularity, co-counts and category back-off."""

from __future__ import annotations

import numpy as np

from stages.evaluate import pictures, recommend
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.settings import InputError


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.items, data, s = self.data.meta["items"], self.data, self.settings
        receipts = {split: (data[f"{split}.tokens"], data[f"{split}.offsets"]) for split in ("train", "valid", "test")}
        self.trials = {split: recommend.trial(receipts["train"], receipts[split], self.items, s.pairs, s.cold, s.limit, s.seed)
                       for split in ("valid", "test")}
        if not len(self.trials["test"].pairs):
            raise InputError(f"{data.folder}: no test receipt holds two known items, so nothing can be recommended; "
                             "raise split.test or lower prepare.min_count")

    def headline(self, metrics):
        return "ndcg_10"

    def scores(self, model):
        """score(query ids [B]) -> [B, items] by the run's `scoring`.

        conditional: the loss -log s(in.out) against noise ~ f^a makes in.out log P(t|q)/f(t)^a up to a constant, so a log f(t) is added.
        """
        need(model, "receipts", "vectors")
        vectors = {name: array(v) for name, v in model.vectors().items()}
        inputs, outputs = vectors["input"], vectors.get("output", vectors["input"])
        if self.settings.scoring == "cosine":
            unit = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-12)
            return lambda query: unit[query] @ unit.T
        exponent = self.model_settings.get("exponent", 0.75) if self.settings.scoring == "conditional" else 0.0
        bias = exponent * np.log(np.maximum(array(self.data["counts"]), 1.0))
        own = array(model.bias) if getattr(model, "bias", None) is not None and len(model.bias) else 0.0
        return lambda query: inputs[query] @ outputs.T + bias + own

    def measure(self, model):
        metrics, _ = recommend.measure(self.scores(model), self.trials["test"])
        if hasattr(model, "heldout_loss"):
            metrics["heldout_loss"] = float(model.heldout_loss(self.data, "test"))
        return metrics

    def rivals(self, split):
        task = self.trials[split]
        return {"popularity": recommend.popularity(task), "co_counts": recommend.co_counts(task),
                **{name: recommend.category_back_off(task, np.array(self.data[f"field.{name}"])) for name in self.data.meta["fields"]}}

    def baselines(self, model, fresh):
        found = {name: recommend.measure(score, self.trials["test"])[0] for name, score in self.rivals("test").items()}
        fields = list(self.data.meta["fields"])
        if fields and len(self.trials["valid"].pairs):
            valid = self.rivals("valid")
            chosen = max(fields, key=lambda f: recommend.measure(valid[f], self.trials["valid"])[0]["ndcg_10"])  # never chosen on test
        elif fields:
            chosen = fields[0]
        return {**{k: v for k, v in found.items() if k not in fields}, **({"category_back_off": found[chosen]} if fields else {})}

    def exhibit(self, model, gallery):
        _, rows = recommend.measure(self.scores(model), self.trials["test"])
        others = {name: recommend.measure(score, self.trials["test"])[1] for name, score in self.rivals("test").items()}
        columns = ["receipts in train with both", "target", "test pairs", "hit rate@10", "NDCG@10", "MRR"]
        gallery.table("By pair frequency and target", [*columns, *(f"NDCG@10 of {self.spelled(n)}" for n in others)],
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

    def spelled(self, name):
        return f"back-off by {name}" if name in self.data.meta["fields"] else name.replace("_", "-")
