from collections import Counter

import numpy as np
import pytest

from stages.evaluate import analogies
from stages.evaluate.ngrams import FALLBACK, KneserNey, discounts


def slow_answer(vectors, a, b, c):
    """3CosAdd one word at a time; word 0 is <unk>."""
    def unit(w):
        return vectors[w] / max(sum(x * x for x in vectors[w]) ** 0.5, 1e-12)
    best, answer = -np.inf, None
    for w in range(1, len(vectors)):
        score = round(sum(x * (q - p + r) for x, p, q, r in zip(unit(w), unit(a), unit(b), unit(c), strict=True)), 12)
        if w not in (a, b, c) and score > best:
            best, answer = score, w
    return answer


@pytest.mark.parametrize("block", [1024, 3])
def test_answers_equal_the_slow_search_with_ties_and_unknown_words(block, monkeypatch):
    monkeypatch.setattr(analogies, "BLOCK", block)
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (12, 3)).astype(float)  # small whole numbers: many words equally near
    vectors[7] = vectors[5] * 2  # the same direction
    vectors[9] = 0
    questions = np.stack([rng.permutation(np.arange(1, 12))[:4] for _ in range(200)])
    questions[::7, rng.integers(4)] = -1
    questions[3::11, 3] = 5
    found = analogies.answered(vectors, questions)
    scores = []
    for (a, b, c, d), own in zip(questions, found, strict=True):
        if min(a, b, c, d) < 0:
            assert np.isnan(own)
        else:
            scores.append(own == (slow_answer(vectors, a, b, c) == d))
    assert all(scores) and len(scores) > 150 and 0 < np.nanmean(found) < 1


def test_parallelograms_are_answered_and_the_question_words_are_no_answer():
    vectors = np.array([[9, 9, 9], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, -1, 0]], float)
    assert analogies.answered(vectors, np.array([[1, 2, 3, 4]]))[0] == 1
    assert analogies.answered(vectors, np.array([[1, 2, 3, 3], [1, 2, 3, 2]])).tolist() == [0, 0]


def ranks(values):
    """Mean rank of equal values, by counting."""
    return np.array([sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values])


class Data(dict):
    def table(self, name):
        return self[name]


def given(questions, sections, pairs, scores):
    return Data({"analogies": np.array(questions, np.int32).reshape(-1, 4), "analogies.sections": np.array(sections, np.int32),
                  "sections": ["family", "gram8-plural"], "similarity": np.array(pairs, np.int32), "similarity.scores": np.array(scores)})


def test_correlation_is_spearmans_over_the_covered_pairs_with_ties():
    rng = np.random.default_rng(1)
    vectors = rng.integers(0, 2, (9, 3)).astype(float) + 0.1
    pairs, scores = rng.integers(0, 9, (60, 2)), rng.integers(0, 6, 60).astype(float)
    pairs[::5, 1] = -1
    found = analogies.word_tests(vectors, given(np.zeros((0, 4)), [], pairs, scores))
    covered = pairs[:, 1] >= 0
    cosines = [round(float(vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])), 12)
               for a, b in pairs[covered]]
    x, y = ranks(cosines), ranks(scores[covered])
    assert len(set(cosines)) < len(cosines)
    assert found["wordsim_coverage"] == pytest.approx(covered.mean())
    assert found == {"wordsim_coverage": found["wordsim_coverage"], "wordsim_spearman": pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)}


def test_a_score_needs_more_than_half_of_its_questions_covered():
    vectors = np.array([[9, 9, 9], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, -1, 0]], float)
    known, unknown = [1, 2, 3, 4], [1, 2, 3, -1]
    found = analogies.word_tests(vectors, given([known, known, unknown, known, unknown, unknown], [0, 0, 0, 1, 1, 1],
                                                   [[1, 2], [1, -1]], [1.0, 2.0]))
    assert found == {"analogy_coverage": 0.5, "analogy_coverage_semantic": pytest.approx(2 / 3), "analogy_accuracy_semantic": 1.0,
                     "analogy_coverage_syntactic": pytest.approx(1 / 3), "wordsim_coverage": 0.5}
    rows = analogies.by_section(vectors, given([known, [1, 2, 3, 5], unknown], [0, 0, 1], [[1, 2]], [1.0]))
    assert rows == [["family", 2, 2, 0.5], ["gram8-plural", 1, 0, None]]


def documents(n=60, words=6, seed=0):
    """Texts of a few frequent words, some of one word, some empty."""
    rng = np.random.default_rng(seed)
    return [rng.choice(words - 1, rng.integers(0, 9), p=np.arange(words - 1, 0, -1) / 15).tolist() for _ in range(n)]


def kneser_ney(texts, order, words=6):
    tokens = np.array(sum(texts, []), np.int64)
    return KneserNey(tokens, np.cumsum([0] + [len(d) for d in texts]), np.bincount(tokens, minlength=words), order)


def slow_kneser_ney(texts, order, words, gram):
    """The recursion of Chen and Goodman's equations, every count by going through the text."""
    padded = [[-1, *d] for d in texts]
    windows = lambda n: [tuple(d[i : i + n]) for d in padded for i in range(len(d) - n + 1)]  # noqa: E731

    def counts(n):
        found, longer = {}, set(windows(n + 1))
        for g in set(windows(n)) - {(-1,)}:
            found[g] = windows(n).count(g) if n == order or g[0] == -1 else sum(x[1:] == g for x in longer)
        return found

    def p(context, word):
        n, base = len(context) + 1, np.maximum(np.bincount(sum(texts, []), minlength=words), 0.5)
        lower = p(context[1:], word) if context else base[word] / base.sum()
        all_ = counts(n)
        after = {g[-1]: c for g, c in all_.items() if g[:-1] == context}
        if not after:
            return lower
        n1, n2, n3, n4 = (list(all_.values()).count(i) for i in (1, 2, 3, 4))
        ds = [0.5, 1.0, 1.5]
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            formula = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            ds = formula if min(formula) > 0 else ds
        d = lambda c: 0 if c == 0 else ds[min(c, 3) - 1]  # noqa: E731
        c = after.get(word, 0)
        return max(c - d(c), 0) / sum(after.values()) + sum(map(d, after.values())) / sum(after.values()) * lower
    return p(gram[:-1], gram[-1])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_sums_to_one_after_every_context(order):
    model = kneser_ney(documents(), order)
    for context in [(), (-1,), (-1, 0), (-1, 5), (0, 1), (1, 0, 0, 2), (-1, 0, 1, 0), (5,), (5, 5, 5, 5)]:
        context = context[max(len(context) + 1 - order, 0) :]
        assert sum(model.probability((*context, w)) for w in range(6)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_equals_the_slow_recursion(order):
    texts, tested = documents(), documents(6, seed=1)
    model = kneser_ney(texts, order)
    grams = [tuple([-1, *d][max(i + 2 - order, 0) : i + 2]) for d in tested for i in range(len(d))]
    expected = [-np.log(slow_kneser_ney(texts, order, 6, g)) for g in grams]
    found = model.losses(np.array(sum(tested, [])), np.cumsum([0] + [len(d) for d in tested]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert any(discount != FALLBACK for _, discount, *_ in model.levels) or order == 1


def test_an_ngram_at_the_beginning_keeps_its_count():
    """Three documents begin with 1: below the longest order too (-1, 1) counts 3, while (2, 1), after <s> alone, counts 1."""
    levels = kneser_ney([[1, 2], [1, 3], [1], [2, 1]], 3).levels
    assert levels[1][0][-1, 1] == 3 and levels[1][0][2, 1] == 1 and levels[0][0][(1,)] == 2 and (-1,) not in levels[0][0]


def test_the_three_discounts_by_value():
    counted = Counter(dict(enumerate([1] * 10 + [2] * 4 + [3] * 2 + [4] + [9])))  # Y = 10 / 18
    assert discounts(counted) == pytest.approx((0, 1 - 2 * 5 / 9 * 4 / 10, 2 - 3 * 5 / 9 * 2 / 4, 3 - 4 * 5 / 9 / 2))
    assert discounts(Counter(dict(enumerate([1, 1, 2])))) == FALLBACK
    assert discounts(Counter(dict(enumerate([1] * 9 + [2] + [3] * 5)))) == FALLBACK  # D(2) would be negative
