"""Word vectors against people's answers: the Google analogies and WordSim-353."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

COVERED = 0.5  # a score over fewer of the questions says more about the vocabulary than about the vectors
BLOCK = 1024  # questions answered at once
DIGITS = 12  # of a cosine: what differs by rounding alone is equal


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows at length 1; rows of zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def answered(vectors: np.ndarray, questions: np.ndarray, unknown: int = 0) -> np.ndarray:
    """1.0 right, 0.0 wrong, NaN not covered [n], by 3CosAdd (Mikolov, Yih, Zweig 2013, https://aclanthology.org/N13-1090).

    vectors [V, D]; questions int [n, 4] of words a, b, c, d, -1 for a word without a vector: a question with one is not covered. The
    answer is the word nearest by cosine to b - a + c, unit vectors all, among the whole vocabulary but a, b, c and the row `unknown`;
    of equally near ones the first.
    """
    unit, found = unit_rows(vectors), np.full(len(questions), np.nan)
    covered = np.flatnonzero((questions >= 0).all(1))
    for start in range(0, len(covered), BLOCK):
        rows = covered[start : start + BLOCK]
        a, b, c, d = questions[rows].T
        scores = np.round((unit[b] - unit[a] + unit[c]) @ unit.T, DIGITS)
        scores[np.arange(len(rows))[:, None], questions[rows, :3]] = -np.inf
        scores[:, unknown] = -np.inf
        found[rows] = scores.argmax(1) == d
    return found


def similarities(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosine of each pair [n]; NaN where a word has no vector (-1)."""
    unit, found = unit_rows(vectors), np.full(len(pairs), np.nan)
    covered = (pairs >= 0).all(1)
    found[covered] = np.round((unit[pairs[covered, 0]] * unit[pairs[covered, 1]]).sum(1), DIGITS)
    return found


def word_tests(vectors: np.ndarray, data, unknown: int = 0) -> dict[str, float]:
    """Coverage of each test, and its score where more than half of it is covered; `data` has the arrays of docs/formats.md.

    Accuracies are shares of the covered questions, in all and apart for semantic and syntactic (`gram...`) sections; the correlation is
    Spearman's, equal values at their mean rank, over the covered pairs.
    """
    right, found = answered(vectors, np.asarray(data["analogies"]), unknown), {}
    syntactic = np.array([name.startswith("gram") for name in data.table("sections")])[data["analogies.sections"]]
    for name, chosen in (("", slice(None)), ("_semantic", ~syntactic), ("_syntactic", syntactic)):
        covered = ~np.isnan(right[chosen])
        if not covered.size:
            continue
        found[f"analogy_coverage{name}"] = float(covered.mean())
        if covered.mean() > COVERED:
            found[f"analogy_accuracy{name}"] = float(right[chosen][covered].mean())
    cosines = similarities(vectors, np.asarray(data["similarity"]))
    covered = ~np.isnan(cosines)
    found["wordsim_coverage"] = float(covered.mean())
    if covered.mean() > COVERED and np.ptp(cosines[covered]) > 0:
        found["wordsim_spearman"] = float(spearmanr(cosines[covered], np.asarray(data["similarity.scores"])[covered]).statistic)
    return found


def by_section(vectors: np.ndarray, data, unknown: int = 0) -> list[list]:
    """[section, questions, covered, share of the covered that is right or None where half or less is covered], in their order."""
    right, rows = answered(vectors, np.asarray(data["analogies"]), unknown), []
    for i, name in enumerate(data.table("sections")):
        own = right[data["analogies.sections"] == i]
        covered = own[~np.isnan(own)]
        rows.append([name, len(own), len(covered), float(covered.mean()) if len(covered) > COVERED * len(own) else None])
    return rows
