"""Interpolated modified Kneser-Ney n-grams: the language model that a neural one has to beat.

Kneser, Ney 1995; modified as by Chen, Goodman 1999 (https://doi.org/10.1006/csla.1999.0128, section 3): three discounts an order,

    p(w | u) = max(c(u w) - D(c), 0) / c(u) + sum_w' D(c(u w')) / c(u) p(w | u'),   u' = u without its first word,
    D(1) = 1 - 2 Y n_2 / n_1,  D(2) = 2 - 3 Y n_3 / n_2,  D(3 or more) = 3 - 4 Y n_4 / n_3,  Y = n_1 / (n_1 + 2 n_2), D(0) = 0,

n_i the n-grams of that order with c = i. c is the count for the longest n-grams and, below, the number of different words before. A
document begins with one <s>; nothing stands before it, so that an n-gram beginning with it keeps its count in every order. <s> is never
predicted. The shortest order backs off to the share of each word in the training text.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

START = -1  # <s>
FALLBACK = (0.0, 0.5, 1.0, 1.5)  # where a text is too small for the formula, as KenLM's --discount_fallback


class KneserNey:
    def __init__(self, tokens: np.ndarray, offsets: np.ndarray, counts: np.ndarray, order: int):
        """tokens int [n] of documents between `offsets`; counts int [V] of training; `order` 5: the last four words are read."""
        self.order, self.unigram = order, np.maximum(np.asarray(counts, np.float64), 0.5)
        self.unigram = self.unigram / self.unigram.sum()
        counted = [Counter() for _ in range(order)]  # by length: those at the beginning of a document, and all of the full length
        for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
            for gram in grams_of(tokens[start:stop], order):
                if len(gram) == order or gram[0] == START:
                    counted[len(gram) - 1][gram] += 1
        self.levels, grams = [], Counter()  # shortest first: counts of n-grams, discounts; of a context the total and what is discounted
        for length in range(order, 0, -1):
            grams = Counter(gram[1:] for gram in grams)
            grams.update(counted[length - 1])
            discount, totals, mass = discounts(grams), Counter(), Counter()
            for gram, count in grams.items():
                totals[gram[:-1]] += count
                mass[gram[:-1]] += discount[min(count, 3)]
            self.levels.insert(0, (grams, discount, totals, mass))

    def probability(self, gram: tuple[int, ...]) -> float:
        """p(last word | the words before it, START before the first of a document)."""
        p = self.unigram[gram[-1]]
        for length, (grams, discount, totals, mass) in enumerate(self.levels[: len(gram)], 1):
            own = gram[-length:]
            total = totals.get(own[:-1], 0)
            if total:
                count = grams.get(own, 0)
                p = (count - discount[min(count, 3)]) / total + mass[own[:-1]] / total * p
        return p

    def losses(self, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """-log p of each word of the documents given those before it, nats [n]."""
        return np.array([-np.log(self.probability(gram)) for start, stop in zip(offsets[:-1], offsets[1:], strict=True)
                         for gram in grams_of(tokens[start:stop], self.order)])


def discounts(grams: Counter) -> tuple[float, float, float, float]:
    """D(0) = 0, D(1), D(2), D(3 or more) of an order; the fallback where one is undefined or outside (0, i]."""
    n = [sum(count == i for count in grams.values()) for i in range(5)]
    if not all(n[1:4]):
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    found = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
    return (0.0, *found) if min(found) > 0.0 else FALLBACK


def grams_of(document: np.ndarray, order: int):
    """The n-gram that ends at each word: the word and up to order - 1 before it, the first of them START at the beginning."""
    padded = (START, *(int(t) for t in document))
    return (padded[max(end - order, 0) : end] for end in range(2, len(padded) + 1))
