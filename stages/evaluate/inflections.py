"""Words beside their own forms with -s, -ed and -ing: what an English vocabulary asks of its vectors without any file of questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.evaluate.analogies import answered, unit_rows

ENDINGS = ("s", "ed", "ing")
SHORTEST = 4  # letters of a stem: "a" and "as" are no forms of one word
FEWEST = 20  # pairs, for a mean to say anything
RARE = 10  # fewer training occurrences, of the rarer of the two
QUESTIONS = 1000  # of an ending, a seeded sample
MOST = 4000  # pairs that are ranked, likewise
BLOCK = 256  # pairs against the vocabulary at once


def forms(words: Sequence[str]) -> np.ndarray:
    """(stem, form, ending) of every word of the vocabulary whose form with an ending is in it too: int64 [n, 3]."""
    index = {word: i for i, word in enumerate(words)}
    found = [(i, index[word + ending], e) for i, word in enumerate(words) for e, ending in enumerate(ENDINGS)
             if len(word) >= SHORTEST and word.isalpha() and word + ending in index]
    return np.array(found, np.int64).reshape(-1, 3)


def reciprocal_ranks(vectors: np.ndarray, pairs: np.ndarray, unknown: int = 0) -> np.ndarray:
    """1/rank by cosine of each pair's second word among all others but `unknown`, seen from the first, and the other way; their mean [n].

    Equally near words share the mean of their ranks.
    """
    unit, found = unit_rows(vectors), np.zeros(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        for a, b in (pairs[start : start + BLOCK].T, pairs[start : start + BLOCK, ::-1].T):
            near, rows = unit[a] @ unit.T, np.arange(len(a))
            own = near[rows, b][:, None].copy()
            near[rows, a], near[rows, b], near[:, unknown] = -np.inf, -np.inf, -np.inf
            found[start : start + BLOCK] += 0.5 / (1 + (near > own).sum(1) + 0.5 * (near == own).sum(1))
    return found


def questions(pairs: np.ndarray, seed: int) -> np.ndarray:
    """Analogies stem : form :: other stem : its form, of pairs [n, 3] with one ending: int64 [q, 4]."""
    asked, rng = [np.zeros((0, 4), np.int64)], np.random.default_rng(seed)
    for ending in range(len(ENDINGS)):
        own = pairs[pairs[:, 2] == ending, :2]
        both = np.argwhere(~np.eye(len(own), dtype=bool))
        chosen = both[np.sort(rng.permutation(len(both))[:QUESTIONS])]
        asked.append(np.concatenate([own[chosen[:, 0]], own[chosen[:, 1]]], 1))
    return np.concatenate(asked)


def scores(vectors: np.ndarray, words: Sequence[str], counts: np.ndarray, seed: int) -> dict[str, float]:
    """How near the forms of a word are to it, all and of rare words, and the analogies between forms seen RARE times or more.

    {} of a vocabulary with fewer than FEWEST pairs of forms (no English words).
    """
    pairs = forms(words)
    pairs = pairs[np.sort(np.random.default_rng(seed).permutation(len(pairs))[:MOST])]
    rare, found = np.asarray(counts)[pairs[:, :2]].min(1) < RARE, {}
    if len(pairs) >= FEWEST:
        found["inflection_mrr"] = float((ranks := reciprocal_ranks(vectors, pairs[:, :2])).mean())
        if rare.sum() >= FEWEST:
            found["inflection_mrr_rare"] = float(ranks[rare].mean())
        if (~rare).sum() >= FEWEST:
            found["inflection_accuracy"] = float(answered(vectors, questions(pairs[~rare], seed)).mean())
    return found
