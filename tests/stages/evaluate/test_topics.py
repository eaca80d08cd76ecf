import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import dirichlet

from stages.evaluate import topics
from stages.evaluate.topics import Bags


def bags(documents):
    flat = [(w, c) for d in documents for w, c in d]
    return Bags(np.array([w for w, _ in flat]), np.array([c for _, c in flat]), np.cumsum([0, *map(len, documents)]))


def test_npmi_against_counting_by_hand(monkeypatch):
    monkeypatch.setattr(topics, "TOP", 3)
    documents = [[(0, 2), (1, 1)], [(0, 1), (1, 5)], [(2, 1)], [(1, 1), (3, 1)]]
    weights = np.array([[9.0, 8, 7, 0], [0, 9, 8, 7]])
    sets = [{w for w, _ in d} for d in documents]
    for row, words in enumerate(((0, 1, 2), (1, 2, 3))):
        wanted = []
        for a, b in combinations(words, 2):
            pa, pb, both = (sum(s <= d for d in sets) / 4 for s in ({a}, {b}, {a, b}))
            wanted.append(-1.0 if both == 0 else math.log(both / (pa * pb)) / -math.log(both))
        assert topics.npmi(weights, bags(documents))[row] == pytest.approx(np.mean(wanted), abs=1e-6)


def test_npmi_of_words_that_are_always_together_is_one_and_never_is_minus_one(monkeypatch):
    monkeypatch.setattr(topics, "TOP", 2)
    found = topics.npmi(np.array([[3.0, 2, 0, 0], [3, 0, 0, 2]]), bags([[(0, 1), (1, 1)], [(2, 1)], [(3, 1)]]))
    assert found.tolist() == pytest.approx([1.0, -1.0], abs=1e-6)


def test_diversity(monkeypatch):
    monkeypatch.setattr(topics, "DIVERSE", 2)
    assert topics.diversity(np.array([[3.0, 2, 0, 0], [0, 0, 3, 2]])) == 1.0
    assert topics.diversity(np.array([[3.0, 2, 0, 0], [3, 2, 0, 0]])) == 0.5


def test_the_bound_of_lda_lies_just_below_the_likelihood_by_simulation():
    rng = np.random.default_rng(0)
    phi, alpha = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]), 0.5
    documents = bags([[(0, 4), (1, 1)], [(3, 2), (0, 2)], [(2, 1)]])
    theta = dirichlet([alpha] * 2).rvs(200_000, random_state=rng)
    p = np.log(theta @ phi)
    found = topics.lda_bound(phi, alpha, documents)
    for i, (a, b) in enumerate(zip(documents.offsets[:-1], documents.offsets[1:], strict=True)):
        exact = np.log(np.exp(p[:, documents.words[a:b]] @ documents.counts[a:b]).mean())
        assert exact - 0.5 < found[i] < exact + 0.01


def test_one_topic_is_the_unigram_model_exactly_and_perplexities_by_value():
    phi = np.array([[0.5, 0.25, 0.25]])
    documents = bags([[(0, 2), (1, 1)], [(2, 4)]])
    bound = topics.lda_bound(phi, 0.3, documents)
    assert bound.tolist() == pytest.approx([2 * math.log(0.5) + math.log(0.25), 4 * math.log(0.25)])
    found = topics.perplexity_of_documents(bound, documents.lengths)
    assert found["perplexity_document"] == pytest.approx(math.exp((-bound[0] / 3 - bound[1] / 4) / 2))
    assert found["perplexity_corpus"] == pytest.approx(math.exp(-bound.sum() / 7))
