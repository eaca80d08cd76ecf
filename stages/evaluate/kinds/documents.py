"""Documents: held-out loss of word vectors beside the unigram model, by word frequency, and neighbours."""

from __future__ import annotations

import numpy as np

from stages.evaluate import pictures, words
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.probes import principal_codes

UNKNOWN = 0  # the id of <unk>, neither read nor predicted


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        m = self.model_settings
        self.counts = np.array(self.data["counts"])
        self.counts[UNKNOWN] = 0
        self.noise, self.negatives = words.noise_distribution(self.counts, m.get("exponent", 0.75)), m.get("negatives", 5)
        self.window, self.shrink = m.get("window", 5), m.get("shrink", False)

    def pairs(self, split):
        return words.context_pairs(self.data[f"{split}.tokens"], self.data[f"{split}.offsets"], self.window, self.settings.limit,
                                   self.settings.seed, self.shrink, skip=UNKNOWN)

    def headline(self, metrics):
        return "heldout_loss"

    def measure(self, model, seed):
        need(model, "documents", "heldout_loss")
        return {"heldout_loss": float(model.heldout_loss(self.data, self.split))}

    def baselines(self, model, fresh):
        """unigram: the same objective, window and noise, but the word read says nothing (an output bias alone, at its optimum)."""
        pairs, weights = self.pairs(self.split)
        if not hasattr(model, "vectors") or not len(pairs):
            return {}
        blank = np.zeros((len(self.counts), 1))
        bias = words.unigram_bias(self.counts, self.noise, self.negatives)
        losses = words.pair_losses(blank, blank, pairs, self.noise, self.negatives, bias)
        return {"unigram": {"heldout_loss": float(np.average(losses, weights=weights))}}

    def exhibit(self, model, gallery, seed):
        if not hasattr(model, "vectors"):
            return
        vectors = {name: array(v) for name, v in model.vectors().items()}
        inputs, names = vectors["input"], self.data.table("words")
        pairs, weights = self.pairs(self.split)
        if "output" in vectors and len(pairs) and self.model_settings.get("architecture", "skipgram") == "skipgram":
            own = array(model.bias) if getattr(model, "bias", None) is not None and len(model.bias) else None
            bias = words.unigram_bias(self.counts, self.noise, self.negatives)
            blank = np.zeros((len(self.counts), 1))
            losses = [words.pair_losses(a, b, pairs, self.noise, self.negatives, c)
                      for a, b, c in ((inputs, vectors["output"], own), (blank, blank, bias))]
            ours, plain = (words.by_frequency(found, weights, pairs[:, 0], self.counts) for found in losses)
            gallery.table("Held-out loss by word frequency", ["training count of the word read", "test pairs", "loss", "unigram's loss"],
                          [[*a, b[2]] for a, b in zip(ours, plain, strict=True)],
                          f"Nats a pair, lower is better; {self.negatives} noise words, exact over the noise; window {self.window}.")
        seen = np.flatnonzero(self.counts >= 5)
        if len(seen) < 10:
            return
        shown = np.searchsorted(seen, spread_choice(np.where(self.counts >= 5, self.counts, 0), 16))
        neighbour_table(gallery, "Nearest words", inputs[seen], [names[i] for i in seen], shown,
                        "Cosine of the input vectors, among words seen at least 5 times in training; from frequent to rare.")
        top = np.argsort(-self.counts, kind="stable")[:1000]
        gallery.picture("map", pictures.scatter(principal_codes(inputs[top], inputs[top], 2)[0]), "Map of the 1,000 most frequent words",
                        "Each dot a word at the first two principal directions of its input vector.")
