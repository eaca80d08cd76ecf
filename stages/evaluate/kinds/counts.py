"""Bags of words: a topic model's bounds beside the unigram model and a tuned LDA under the same bound, its topics, and retrieval."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import product

import numpy as np
import torch

from stages.evaluate import generative, topics
from stages.evaluate.kinds.base import Kind, array, filled, need
from stages.evaluate.latents import ACTIVE
from stages.models.base import split_rows

DRAWS = 20  # of the code a document, whose mean distortion is the ELBO's
ROWS = 128
SHOWN = 20  # topics on the page
ETA = 0.01  # prior on a topic's words: 0.1 was worse on the validation split at 50 topics (1,294 against 1,214)


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        whole = self.bags(self.split)
        self.rows = np.flatnonzero(whole.lengths > 0)  # an empty bag has no perplexity
        filled(self.rows, self.data, self.split, "document")
        self.empty = len(whole.lengths) - len(self.rows)
        self.lengths = whole.lengths[self.rows]

    def bags(self, split):
        return topics.Bags(*(np.array(self.data[f"{split}.{name}"]) for name in ("words", "counts", "offsets")))

    def headline(self, metrics):
        return "perplexity_document"

    def measure(self, model, seed):
        need(model, "counts", "bound")
        generator, found = torch.Generator().manual_seed(seed), []
        means, log_variances = [], []
        for part in np.split(self.rows, range(ROWS, len(self.rows), ROWS)):
            batch = split_rows(model, self.data, self.split, part)
            draws = [model.bound(batch, generator) for _ in range(DRAWS)]
            found.append(np.stack([array(torch.stack([d for d, _ in draws]).mean(0)), array(draws[0][1].sum(1))], 1))
            mean, log_variance = model.posterior(batch)
            means.append(mean)
            log_variances.append(log_variance)
        distortion, rate = np.concatenate(found).T
        means, log_variances = torch.cat(means), torch.cat(log_variances)
        metrics = {**topics.perplexity_of_documents(-distortion - rate, self.lengths), "elbo": float((distortion + rate).mean()),
                   "distortion": float(distortion.mean()), "kl": float(rate.mean())}
        for k in self.settings.iw:
            sums = torch.full((len(self.rows),), -math.inf, dtype=torch.float64)
            for start in range(0, len(self.rows), ROWS):
                batch = split_rows(model, self.data, self.split, self.rows[start : start + ROWS])
                generative.add_draws(sums[start : start + ROWS], lambda n, b=batch: model.log_likelihood(b, n, generator), k, DRAWS)
            bounds = array(sums) - math.log(k)
            metrics[f"iw_{k}"] = float(-bounds.mean())
            metrics[f"perplexity_document_iw_{k}"] = topics.perplexity_of_documents(bounds, self.lengths)["perplexity_document"]
        metrics |= {"active_units": float((means.var(0) > ACTIVE).sum()), "empty_documents": float(self.empty),
                    "mutual_information": generative.mutual_information(means, log_variances, self.settings.seed)}
        return metrics | self.quality(array(model.topics())) | self.retrieval(lambda split: self.means(model, split))

    def quality(self, weights):
        return {"topic_npmi": float(topics.npmi(weights, self.bags("train")).mean()), "topic_diversity": topics.diversity(weights)}

    def retrieval(self, codes):
        """Share of the ten training documents nearest to a test document, by cosine, that have its label; {} without labels.

        `codes(split)` gives a vector for each document of a split that has a known word, float64 [documents, D].
        """
        labels = {split: np.array(self.data[f"{split}.labels"])[self.bags(split).lengths > 0] for split in ("train", self.split)}
        train, test = labels["train"], labels[self.split]
        if not (train >= 0).any() or not (test >= 0).any():
            return {}
        return {"retrieval_precision_10": topics.same_label_nearby(codes("train")[train >= 0], train[train >= 0],
                                                                   codes(self.split)[test >= 0], test[test >= 0])}

    def means(self, model, split):
        rows = np.flatnonzero(self.bags(split).lengths > 0)
        parts = [split_rows(model, self.data, split, part) for part in np.split(rows, range(512, len(rows), 512))]
        return np.concatenate([array(model.encode(part)) for part in parts])

    def weighted(self, split):
        """Counts times log(N / n) of n training documents with the word, float64 [documents, V]."""
        bags, train, size = self.known(split), self.known("train"), self.data.meta["words"]
        found = np.zeros((len(bags.offsets) - 1, size), np.float32)
        found[bags.row, bags.words] = bags.counts
        return found * np.log((len(train.offsets) - 1) / np.maximum(np.bincount(train.words, minlength=size), 1)).astype(np.float32)

    @cached_property
    def lda(self):
        """(topics, alpha) of the LDA that is best on the validation split."""
        train, valid = self.bags("train"), self.known("valid")
        best = None
        for k, alpha in product(self.settings.lda_topics, self.settings.lda_alpha):
            found = topics.fit_lda(train, self.data.meta["words"], k, alpha, ETA, self.settings.seed)
            loss = topics.perplexity_of_documents(topics.lda_bound(found, alpha, valid), valid.lengths)["perplexity_document"]
            if best is None or loss < best[0]:
                best = loss, found, alpha
        return best[1:]

    def known(self, split):
        """The split's bags without empty ones."""
        whole = self.bags(split)
        kept = np.flatnonzero(whole.lengths > 0)
        return topics.Bags(whole.words, whole.counts, np.concatenate([[0], np.cumsum(np.diff(whole.offsets)[kept])]))

    def baselines(self, model, fresh):
        """unigram: every document from the training frequencies; lda: under the same document bound, the best on the validation split of

        the settings tried; tf_idf, where there are labels: the words themselves, to find documents by.
        """
        test = self.known(self.split)
        seen = np.maximum(np.array(self.data["counts"], np.float64), 0.5)
        plain = np.bincount(test.row, test.counts * np.log(seen / seen.sum())[test.words], len(self.rows))
        found, alpha = self.lda
        bounds = topics.lda_bound(found, alpha, test)
        lda = {**topics.perplexity_of_documents(bounds, self.lengths), "elbo": float(-bounds.mean()), **self.quality(found)}
        lda |= self.retrieval(lambda split: topics.lda_posterior(found, alpha, self.known(split)))
        words = self.retrieval(self.weighted)
        return {"unigram": {**topics.perplexity_of_documents(plain, self.lengths), "elbo": float(-plain.mean())}, "lda": lda,
                **({"tf_idf": words} if words else {})}

    def exhibit(self, model, gallery, seed):
        names = self.data.table("words")
        note = (f"NPMI over pairs of the {topics.TOP} heaviest words; reference corpus: the training documents, window: the document. "
                "Best first.")
        tried = len(self.settings.lda_topics) * len(self.settings.lda_alpha)
        beside = (f" This LDA has {len(self.lda[0])} topics and a prior of {self.lda[1]:g}, "
                  + (f"the best of {tried} settings on the validation split." if tried > 1 else "untuned: to tune it (evaluate.lda_topics, "
                     "evaluate.lda_alpha) takes longer than the model's training, and the study profile does."))
        shown = {"Topics: the words most of a unit of the code": array(model.topics()), "Topics of LDA": self.lda[0]}
        for title, weights in shown.items():
            scores, top = topics.npmi(weights, self.bags("train")), topics.top_words(weights, topics.TOP)
            order = np.argsort(-scores, kind="stable")[:SHOWN]
            gallery.table(title, ["topic", "NPMI", "words"], [[int(t), round(float(scores[t]), 3), " ".join(names[w] for w in top[t])]
                                                              for t in order], note + (beside if weights is self.lda[0] else ""))
