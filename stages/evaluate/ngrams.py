"""Interpolated Kneser-Ney n-grams: the language model that a neural one has to beat.

Kneser, Ney 1995; the interpolated form with one discount an order, D = n_1 / (n_1 + 2 n_2), of Chen, Goodman 1999
(https://doi.org/10.1006/csla.1999.0128, section 3):

    p(w | u) = max(c(u w) - D, 0) / c(u) + D N(u .) / c(u) p(w | u'),   u' = u without its first word,

c is the count for the longest context and, below, the number of different words before; N(u .) the number of different words after u.
The shortest order backs off to the share of each word in the training text.
"""

from __future__ import annotations

from collections import Counter

import numpy as np


class KneserNey:
    def __init__(self, tokens: np.ndarray, offsets: np.ndarray, counts: np.ndarray, order: int):
        """tokens int [n] of documents between `offsets`; counts int [V] of training; `order` 5: the last four words are read."""
        self.order, self.unigram = order, np.maximum(np.asarray(counts, np.float64), 0.5)
        self.unigram = self.unigram / self.unigram.sum()
        grams = Counter()
        for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
            grams.update(grams_of(tokens[start:stop], order))
        self.levels = []  # shortest first: counts of n-grams; of a context the total and the number of different words after it; discount
        for length in range(order, 0, -1):
            totals, after = Counter(), Counter()
            for gram, count in grams.items():
                totals[gram[:-1]] += count
                after[gram[:-1]] += 1
            ones, twos = (sum(count == n for count in grams.values()) for n in (1, 2))
            self.levels.insert(0, (grams, totals, after, ones / (ones + 2 * twos) if ones else 0.5))
            if length > 1:
                grams = Counter(gram[1:] for gram in grams)

    def probability(self, gram: tuple[int, ...]) -> float:
        """p(last word | the words before it)."""
        p = self.unigram[gram[-1]]
        for length, (grams, totals, after, discount) in enumerate(self.levels, 1):
            own = gram[-length:]
            total = totals.get(own[:-1], 0)
            if total:
                p = max(grams.get(own, 0) - discount, 0.0) / total + discount * after[own[:-1]] / total * p
        return p

    def losses(self, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """-log p of each word of the documents given those before it, nats [n]."""
        return np.array([-np.log(self.probability(gram)) for start, stop in zip(offsets[:-1], offsets[1:], strict=True)
                         for gram in grams_of(tokens[start:stop], self.order)])


def grams_of(document: np.ndarray, order: int):
    """The n-gram that ends at each word; before the beginning stands -1."""
    padded = (-1,) * (order - 1) + tuple(int(t) for t in document)
    return (padded[i : i + order] for i in range(len(document)))
