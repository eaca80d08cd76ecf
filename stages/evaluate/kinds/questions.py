"""Questions with candidate answers: how high the right ones are ranked, beside word overlap."""

from __future__ import annotations

from itertools import product

import numpy as np

from stages.evaluate import topics
from stages.evaluate.kinds.base import Kind, array, need
from stages.evaluate.ranking import average_precision, realistic_ranks_of
from stages.models.base import split_rows
from stages.settings import InputError

ROWS = 256
ETA = 0.01  # prior on a topic's words, as beside topic models
MASSES = (10.0, 100.0, 1000.0)  # of the smoothing of query likelihood, in words


class Evaluation(Kind):
    def __init__(self, setting):
        super().__init__(setting)
        self.labels = np.array(self.data[f"{self.split}.labels"])
        self.groups, self.left_out = self.grouped(self.split)
        if not self.groups:
            raise InputError(f"{self.data.folder}: no question of its {self.split} split has a right and a wrong answer (labels 1 and 0), "
                             "so nothing can be ranked; give more questions, or more candidates")

    def grouped(self, split):
        """(rows of each question that can be ranked, questions left out: all their answers are wrong, or right)."""
        ids, labels = (np.array(self.data[f"{split}.{name}"]) for name in ("ids", "labels"))
        groups = [np.flatnonzero(ids == i) for i in range(int(ids.max(initial=-1)) + 1)]
        kept = [g for g in groups if 0 < labels[g].sum() < len(g)]
        return kept, len(groups) - len(kept)

    def headline(self, metrics):
        return "map"

    def measure(self, model, seed):
        need(model, "questions", "scores")
        self.last = self.through(model)
        return {**self.ranked(self.last), "questions_left_out": float(self.left_out)}

    def through(self, model):
        rows = np.arange(len(self.labels))
        return np.concatenate([array(model.scores(split_rows(model, self.data, self.split, part)))
                               for part in np.split(rows, range(ROWS, len(rows), ROWS))])

    def ranked(self, scores, split=None):
        labels, groups = (self.labels, self.groups) if split is None else (np.array(self.data[f"{split}.labels"]), self.grouped(split)[0])
        ranks = [realistic_ranks_of(scores[g], labels[g] == 1) for g in groups]
        return {"map": float(np.mean([average_precision(r) for r in ranks])), "mrr": float(np.mean([1 / r.min() for r in ranks]))}

    def text(self, side, split, row):
        a, b = self.data[f"{split}.{side}.offsets"][row : row + 2]
        return np.array(self.data[f"{split}.{side}.tokens"][a:b])

    def weights(self):
        """log(N / n_w) over the training answers; <unk> is no word."""
        offsets, size = np.array(self.data["train.answer.offsets"]), self.data.meta["words"]
        row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        found = np.bincount(np.unique(row * np.int64(size) + np.array(self.data["train.answer.tokens"])) % size, minlength=size)
        weights = np.log((len(offsets) - 1) / np.maximum(found, 1))
        weights[0] = 0.0
        return weights

    def query_likelihood(self, split, mass):
        """log p(question | answer) of a unigram model of each answer, smoothed by `mass` words of the training answers' own

        (Zhai and Lafferty 2004, https://doi.org/10.1145/984321.984322, Dirichlet prior).
        """
        shares = np.maximum(np.bincount(np.array(self.data["train.answer.tokens"]), minlength=self.data.meta["words"]), 0.5)
        shares, found = shares / shares.sum(), []
        for i in range(len(self.data[f"{split}.labels"])):
            asked, answer = self.text("question", split, i), self.text("answer", split, i)
            held = (answer[None] == asked[:, None]).sum(1)
            found.append(np.log((held + mass * shares[asked]) / (len(answer) + mass)).sum())
        return np.array(found)

    def bags(self, split, side, rows):
        """The texts of these rows as counts of their words; <unk> is none."""
        texts, words, counts = [self.text(side, split, row) for row in rows], [], []
        for text in texts:
            own, held = np.unique(text[text > 0], return_counts=True)
            words.append(own)
            counts.append(held)
        return topics.Bags(*(np.concatenate([*parts, np.zeros(0, int)]).astype(int) for parts in (words, counts)),
                           np.cumsum([0, *map(len, words)]))

    def topical(self):
        """Cosine of the topics of question and answer under LDA of the right training answers: scores of the split's rows.

        Topics and prior by MAP on valid, where several are tried and there is something to rank.
        """
        labels, size = np.array(self.data["train.labels"]), self.data.meta["words"]
        train = self.bags("train", "answer", np.flatnonzero(labels == 1))

        def scores(found, alpha, split):
            shares = []
            for side in ("question", "answer"):
                gamma = topics.lda_posterior(found, alpha, self.bags(split, side, range(len(self.data[f"{split}.labels"]))))
                shares.append(gamma / np.linalg.norm(gamma, axis=1, keepdims=True))
            return (shares[0] * shares[1]).sum(1)

        tried, fitted = list(product(self.settings.lda_topics, self.settings.lda_alpha)), []
        for k, alpha in tried if self.grouped("valid")[0] else tried[:1]:
            found = topics.fit_lda(train, size, k, alpha, ETA, self.settings.seed)
            fitted.append((self.ranked(scores(found, alpha, "valid"), "valid")["map"] if len(tried) > 1 else 0.0, found, alpha))
        _, found, alpha = max(fitted, key=lambda f: f[0])
        return scores(found, alpha, self.split)

    def baselines(self, model, fresh):
        """overlap: summed log(N / n_w) of the question's words that the answer has; query_likelihood: its mass of smoothing by MAP on

        valid; lda: how alike the topics of both are; equal_scores: every order is as likely.
        """
        masses = MASSES if self.grouped("valid")[0] else MASSES[1:2]
        mass = max(masses, key=lambda m: self.ranked(self.query_likelihood("valid", m), "valid")["map"]) if len(masses) > 1 else masses[0]
        weights = self.weights()
        overlap = np.array([weights[np.intersect1d(self.text("question", self.split, i), self.text("answer", self.split, i))].sum()
                            for i in range(len(self.labels))])
        return {"overlap": self.ranked(overlap), "query_likelihood": self.ranked(self.query_likelihood(self.split, mass)),
                "lda": self.ranked(self.topical()), "equal_scores": self.ranked(np.zeros(len(self.labels)))}

    def exhibit(self, model, gallery, seed):
        names, rows = self.data.table("words"), []
        for g in [self.groups[i] for i in np.linspace(0, len(self.groups) - 1, 8).astype(int)]:
            order = g[np.argsort(-self.last[g], kind="stable")]
            rows.append([" ".join(names[w] for w in self.text("question", self.split, g[0])),
                         " ".join(names[w] for w in self.text("answer", self.split, order[0])[:40]),
                         ", ".join(str(i + 1) for i in np.flatnonzero(self.labels[order] == 1))])
        gallery.table("Questions and the answers put first", ["question", "first answer (40 words)", "rank of the right one"], rows,
                      f"{len(self.groups)} questions are ranked. Left out are {self.left_out} whose answers are all wrong or all right "
                      "(the filtered convention of WikiQA and TREC-QA; figures that keep them are lower). Ties count at their mean rank.")
