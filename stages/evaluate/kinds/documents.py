"""Documents: word vectors and language models beside the unigram model, by word frequency, against people's answers, and neighbours;

models of whole texts by evaluate/texts.py.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from stages.evaluate import analogies, inflections, pictures, words
from stages.evaluate.kinds.base import Kind, array, need, neighbour_table, spread_choice
from stages.evaluate.ngrams import KneserNey
from stages.evaluate.probes import principal_codes
from stages.evaluate.texts import Texts

UNKNOWN = 0  # the id of <unk>: word vectors neither read nor predict it, a language model does both


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        m = self.model_settings
        self.all_counts = np.array(self.data["counts"])
        self.counts = self.all_counts.copy()
        self.counts[UNKNOWN] = 0
        self.noise, self.negatives = words.noise_distribution(self.counts, m.get("exponent", 0.75)), m.get("negatives", 5)
        self.window, self.shrink = m.get("window", 5), m.get("shrink", False)
        self.softmax, self.cbow = m.get("objective") == "softmax", m.get("architecture") == "cbow"

    @cached_property
    def texts(self):
        return Texts(self.data, self.split, self.settings)

    def headline(self, metrics):
        if "perplexity_elbo" in metrics:
            return "elbo"
        return "perplexity" if "perplexity" in metrics else "heldout_loss"

    def measure(self, model, seed):
        need(model, "documents", "heldout_loss", "distortion")
        if hasattr(model, "distortion"):
            return self.texts.measure(model, seed)
        found = {"heldout_loss": float(model.heldout_loss(self.data, self.split))}
        if hasattr(model, "losses"):
            found |= self.perplexities(*self.predictions(model.losses(self.data, self.split)))
        if hasattr(model, "context_loss"):
            found["context_perplexity"] = float(np.exp(model.context_loss(self.data, self.split)))
            found["output_rows"] = len(self.counts) if self.softmax else 1 + self.negatives
            if not self.softmax:
                found["rows_per_token"] = self.rows_per_token()
            found |= inflections.scores(array(model.vectors()["input"]), self.data.table("words"), self.counts, self.settings.seed)
        return found | self.tested(model)

    def rows_per_token(self):
        """Of negative sampling, over the training windows; a token without another beside it is no example."""
        tokens, offsets = np.array(self.data["train.tokens"]), np.array(self.data["train.offsets"])
        known = np.add.reduceat(np.append(tokens > UNKNOWN, False), np.minimum(offsets[:-1], len(tokens))) * (np.diff(offsets) > 0)
        contexts = words.target_counts(tokens, offsets, self.window, len(self.counts), self.shrink, UNKNOWN).sum()
        per_pair = not self.cbow and self.model_settings.get("draw", "shared") == "pair"
        return words.rows_per_token(contexts, int(known[known > 1].sum()), 1 + self.negatives, per_pair)

    def tested(self, model):
        return analogies.word_tests(array(model.vectors()["input"]), self.data) if "analogies" in self.data else {}

    def predictions(self, pieces):
        """Columns of a model's pieces joined: word predicted, -log p of it in nats, and whatever stands before."""
        return [np.concatenate(column) for column in zip(*pieces, strict=True)] or [np.empty(0, np.int64), np.empty(0)]

    def perplexities(self, predicted, losses):
        known = predicted != UNKNOWN
        return {"perplexity": float(np.exp(losses.mean())), "perplexity_known": float(np.exp(losses[known].mean()))} if known.any() else {}

    def targets(self):
        """(words predicted, weight of each): of pairs as they are drawn, of windows, or every word of a language model."""
        tokens, offsets = np.array(self.data[f"{self.split}.tokens"]), self.data[f"{self.split}.offsets"]
        if not self.cbow:
            pairs, weights = words.context_pairs(tokens, offsets, self.window, self.settings.limit, self.settings.seed, self.shrink,
                                                 skip=UNKNOWN)
            return pairs[:, 1], weights
        document = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        known = tokens > UNKNOWN
        found = tokens[known & (np.bincount(document[known], minlength=len(offsets))[document] > 1)]  # words with another beside them
        return found, np.ones(len(found))

    def baselines(self, model, fresh):
        """unigram: the same objective, windows and noise, but the word read says nothing (an output bias alone, at its optimum);

        kneser_ney: 5-grams, beside a language model.
        """
        if hasattr(model, "distortion"):
            return self.texts.baselines(self.all_counts)
        if hasattr(model, "losses"):
            return self.language_models()
        targets, weights = self.targets()
        if not len(targets) or not hasattr(model, "vectors"):
            return {}
        counts = self.predicted_counts
        plain = float(np.average(self.surprise(counts)[targets], weights=weights))
        if self.softmax:
            loss = plain
        else:
            blank, bias = np.zeros((len(self.counts), 1)), words.unigram_bias(counts, self.noise, self.negatives)
            pairs = np.stack([np.zeros_like(targets), targets], 1)
            loss = float(np.average(words.pair_losses(blank, blank, pairs, self.noise, self.negatives, bias), weights=weights))
        perplexity = {"context_perplexity": float(np.exp(plain))} if hasattr(model, "context_loss") else {}
        return {"unigram": {"heldout_loss": loss, **perplexity}}

    @cached_property
    def predicted_counts(self):
        """How often training predicts each word, as the pairs weigh; one that stands alone in its documents counts half a pair."""
        if self.cbow:
            return self.counts
        train = self.data["train.tokens"], self.data["train.offsets"]
        found = words.target_counts(*train, self.window, len(self.counts), self.shrink, UNKNOWN)
        return np.where(self.counts > 0, np.maximum(found, 0.5), 0.0)

    def language_models(self):
        tokens, offsets = np.array(self.data[f"{self.split}.tokens"]), np.array(self.data[f"{self.split}.offsets"])
        if not (tokens != UNKNOWN).any():
            return {}
        model = KneserNey(np.array(self.data["train.tokens"]), np.array(self.data["train.offsets"]), self.all_counts, 5)
        found = {"unigram": self.surprise(self.all_counts)[tokens], "kneser_ney": model.losses(tokens, offsets)}
        return {name: {"heldout_loss": float(losses.mean()), **self.perplexities(tokens, losses)} for name, losses in found.items()}

    def surprise(self, counts):
        """-log f of each word, nats [V]; a word that training lacks counts half an occurrence."""
        seen = np.maximum(counts, 0.5)
        return -np.log(seen / seen.sum())

    def exhibit(self, model, gallery, seed):
        if hasattr(model, "distortion"):
            self.texts.exhibit(model, gallery, seed)
        if not hasattr(model, "vectors"):
            return
        inputs, names = array(model.vectors()["input"]), self.data.table("words")
        self.frequencies(model, gallery)
        if "analogies" in self.data:
            gallery.table("Analogies by section", ["section", "questions", "covered", "right, of the covered"],
                          analogies.by_section(inputs, self.data),
                          "3CosAdd over the whole vocabulary; a share only where more than half of the section is covered.")
        if hasattr(model, "context_loss"):
            gallery.table("What an example costs", ["vocabulary", "negative sampling: output rows", "full softmax: output rows"],
                          [[size, 1 + self.negatives, size] for size in sorted({1000, 10_000, 100_000, 1_000_000, len(names)})],
                          f"Output rows read and changed for one word predicted, with {self.negatives} noise words; "
                          f"{len(names)} is the vocabulary of this dataset.")
        seen = np.flatnonzero(self.counts >= 5)
        if len(seen) < 10:
            return
        shown = np.searchsorted(seen, spread_choice(np.where(self.counts >= 5, self.counts, 0), 16))
        neighbour_table(gallery, "Nearest words", inputs[seen], [names[i] for i in seen], shown,
                        "Cosine of the input vectors, among words seen at least 5 times in training; from frequent to rare.")
        top = np.argsort(-self.counts, kind="stable")[:1000]
        gallery.picture("map", pictures.scatter(principal_codes(inputs[top], inputs[top], 2)[0]), "Map of the 1,000 most frequent words",
                        "Each dot a word at the first two principal directions of its input vector.")

    def frequencies(self, model, gallery):
        """Tables of the held-out loss by training count: of the word predicted, and of the word read where one is."""
        if hasattr(model, "losses"):
            predicted, losses = self.predictions(model.losses(self.data, self.split))
            columns, counts = {"predicted": predicted}, self.all_counts
        elif hasattr(model, "context_losses"):
            read, predicted, losses = self.predictions(model.context_losses(self.data, self.split))
            columns, counts = {"predicted": predicted} | ({} if self.cbow else {"read": read}), self.counts
        else:
            return
        plain = self.surprise(counts if hasattr(model, "losses") else self.predicted_counts)[predicted]
        for role, ids in columns.items():
            ours, unigram = (words.by_frequency(x, np.ones(len(x)), ids, counts) for x in (losses, plain))
            gallery.table(f"Held-out loss by frequency of the word {role}",
                          [f"training count of the word {role}", "predictions", "loss", "unigram's loss"],
                          [[*a, b[2]] for a, b in zip(ours, unigram, strict=True)],
                          "Mean -log p(word | what is read) in nats, exact over the vocabulary; lower is better.")
