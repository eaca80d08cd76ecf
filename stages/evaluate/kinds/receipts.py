"""Receipts: next-item recommendation beside popularity, co-counts, their SVD and category back-off, all tuned on the validation split."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from stages.evaluate import pictures, recommend
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes
from stages.settings import InputError

SCORINGS = ("conditional", "dot", "cosine")
SIDE_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the metadata's vectors in those an item is scored by
BESIDE = ("hit_rate_10", "ndcg_10", "mrr", "coverage_items", "ndcg_10_cold", "ndcg_10_pairs_0", "ndcg_10_pairs_1_2", "ndcg_10_pairs_3_9",
          "ndcg_10_pairs_10_up", "ndcg_10_unseen", "ndcg_10_unseen_cold", "ndcg_10_unseen_warm")  # reported of further scorings too
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
        """{what: (choice, NDCG@10 on the validation split or None, score function [B] -> [B, items])}; the run is known by the first.

        Of a model with vectors of metadata that is items and their values together; items alone, and a mix with co-counts, come beside.
        """
        need(model, "receipts", "vectors")
        vectors = {name: array(v) for name, v in model.vectors().items()}
        candidates = {"items": {name: self.scored(vectors, model, name) for name in self.scorings}}
        fields = [name for name in self.data.meta["fields"] if f"field.{name}" in vectors]
        if fields:
            groups = {name: [name] for name in fields} | ({"all fields": fields} if len(fields) > 1 else {})
            both = {f"{name}, {share:g} of {group}": self.scored(self.with_values(vectors, chosen, share), model, name)
                    for group, chosen in groups.items() for share in SIDE_SHARES for name in self.scorings}
            candidates = {"items and metadata": both, **candidates}
        found = {what: self.best(functions) for what, functions in candidates.items()}
        first, counts = next(iter(found.values()))[2], self.co_counts[1]
        return {**found, "mix with co-counts": self.best({f"weight {w:g}": recommend.mixed(first, counts, w) for w in recommend.MIXES})}

    def best(self, functions):
        choice, quality = recommend.chosen(functions, self.trials["valid"])
        return choice, quality, functions[choice]

    @lru_cache(maxsize=1)  # noqa: B019 - the numbers and the page are of the same model
    def measured(self, model):
        """({what: (metrics, table)} of the model's scorings, rows that say what was chosen)."""
        found = self.scoring(model)
        rows = [[what if what.startswith("mix") else f"scoring by {what}", choice, quality] for what, (choice, quality, _) in found.items()]
        return {what: recommend.measure(score, self.trials["test"]) for what, (_, _, score) in found.items()}, rows

    @property
    def scorings(self):
        return SCORINGS if self.settings.scoring == "auto" else (self.settings.scoring,)

    def with_values(self, vectors, fields, share):
        """Input and output vectors (1 - share) x the item's + share x the mean of its values' in `fields`; without values its own."""
        found = {}
        for table, prefix in (("input", ""), ("output", "output.")):
            total, known = np.zeros_like(vectors[table]), np.zeros(len(vectors[table]))
            for name in fields:
                ids = np.array(self.data[f"field.{name}"])
                total[ids >= 0] += vectors[f"{prefix}field.{name}"][ids[ids >= 0]]
                known += ids >= 0
            part = np.where(known > 0, share, 0.0)[:, None]
            found[table] = (1 - part) * vectors[table] + part * total / np.maximum(known, 1)[:, None]
        return found

    def scored(self, vectors, model, scoring):
        """conditional: the loss -log s(in.out) against noise ~ f^a makes in.out log P(t|q)/f(t)^a up to a constant: a log f(t) is added."""
        inputs, outputs = vectors["input"], vectors.get("output", vectors["input"])
        if scoring == "cosine":
            unit = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-12)
            return lambda query: unit[query] @ unit.T
        exponent = self.model_settings.get("exponent", 0.75) if scoring == "conditional" else 0.0
        bias = exponent * np.log(np.maximum(array(self.data["counts"]), 1.0))
        own = array(model.bias) if getattr(model, "bias", None) is not None and len(model.bias) else 0.0
        return lambda query: inputs[query] @ outputs.T + bias + own

    def measure(self, model, seed):
        found, _ = self.measured(model)
        metrics = dict(next(iter(found.values()))[0])
        for what, prefix in (("mix with co-counts", "mix_"), ("items", "items_alone_")):
            if found[what][0] is not next(iter(found.values()))[0]:
                metrics |= {f"{prefix}{name}": found[what][0][name] for name in BESIDE if name in found[what][0]}
        if hasattr(model, "heldout_loss"):
            metrics["heldout_loss"] = float(model.heldout_loss(self.data, self.split))
        return metrics

    @cached_property
    def co_counts(self):
        """(reach, counts within it, NDCG@10) of the co-counts that are best on the validation split."""
        task = self.trials["test"]
        counts = {w: recommend.near_counts(*self.receipts["train"], self.items, w) if w else task.together for w in recommend.WINDOWS}
        window, quality = recommend.chosen({w: recommend.co_counts(task, c) for w, c in counts.items()}, self.trials["valid"])
        return window, counts[window], quality

    @cached_property
    def tuned(self):
        """({rival: (metrics, table)}, rows that say what was chosen on the validation split and how good it was there)."""
        task, valid = self.trials["test"], self.trials["valid"]  # they differ in the pairs alone: functions serve both
        window, counts, quality = self.co_counts
        reach = f"at most {window} apart" if window else "in one receipt"
        found = {"popularity": recommend.popularity(task), "co_counts": recommend.co_counts(task, counts)}
        choices = [["co-counts", reach, quality]]
        values, vectors = recommend.factors(counts, max(recommend.WIDTHS))
        candidates = {(d, p): recommend.svd(task, values, vectors, d, p) for d in recommend.WIDTHS for p in recommend.POWERS}
        (width, power), quality = recommend.chosen(candidates, valid)
        found["svd"] = candidates[width, power]
        choices.append(["SVD", f"width {width}, power {power:g}, items {reach}", quality])
        fields = {f: np.array(self.data[f"field.{f}"]) for f in self.data.meta["fields"]}
        if fields:
            candidates = {(f, w): recommend.category_back_off(task, ids, counts, w)
                          for f, ids in fields.items() for w in recommend.WEIGHTS}
            (name, weight), quality = recommend.chosen(candidates, valid)
            found["category_back_off"] = candidates[name, weight]
            choices.append(["category back-off", f"field {name}, weight {weight:g}, items {reach}", quality])
        return {name: recommend.measure(score, task) for name, score in found.items()}, choices

    def baselines(self, model, fresh):
        return {name: metrics for name, (metrics, _) in self.tuned[0].items()}

    def exhibit(self, model, gallery, seed):
        (found, chosen), (rivals, choices) = self.measured(model), self.tuned
        (metrics, rows), *_ = found.values()
        others = {what.replace("_", "-"): measured for what, measured in {**dict(list(found.items())[1:]), **rivals}.items()}
        gallery.table("Chosen on the validation split", ["what", "choice", "NDCG@10 there"], [*chosen, *choices],
                      "The test split chooses nothing.")
        columns = ["receipts in train with both", "target", "test pairs", "hit rate@10", "NDCG@10", "MRR"]
        gallery.table("By pair frequency and target", [*columns, *(f"NDCG@10 of {name}" for name in others)],
                      [[*row, *(table[i][4] for _, table in others.values())] for i, row in enumerate(rows)],
                      f"Ties by the mean rank; cold targets are in fewer than {self.settings.cold} training receipts. "
                      "The last rows rank pairs never seen together among such candidates only.")
        buckets = {bucket.replace("_up", " or more").replace("_", "-"): f"ndcg_10_items_{bucket}" for bucket in recommend.ITEM_BUCKETS}
        gallery.table("NDCG@10 by target frequency", ["training receipts with the target", "this run", *others],
                      [[bucket, metrics[key], *(values[key] for values, _ in others.values())]
                       for bucket, key in buckets.items() if key in metrics])
        vectors, counts = array(model.vectors()["input"]), array(self.data["counts"])
        names = self.data.table("items")
        neighbour_table(gallery, "Nearest items", vectors, names, spread_choice(counts), "Cosine of the input vectors, frequent to rare.")
        fields = list(self.data.meta["fields"])
        labels = np.array(self.data[f"field.{fields[-1]}"]) if fields else None
        coloured = f", coloured by {fields[-1]}" if fields else ""
        gallery.picture("map", pictures.scatter(principal_codes(vectors, vectors, 2)[0], labels), "Map of the items",
                        f"Each dot an item at the first two principal directions of its input vector{coloured}.")
