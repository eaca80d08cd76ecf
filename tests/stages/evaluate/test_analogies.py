import numpy as np
import pytest

from stages.evaluate import analogies
from stages.evaluate.ngrams import KneserNey


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


TEXT = [[1, 2, 3, 1, 2, 4], [1, 2, 3, 2], [4]]


def kneser_ney(order=3):
    offsets = np.cumsum([0] + [len(d) for d in TEXT])
    return KneserNey(np.concatenate(TEXT), offsets, np.bincount(np.concatenate(TEXT), minlength=6), order)


def test_kneser_ney_sums_to_one_after_every_context():
    model = kneser_ney()
    for context in [(1, 2), (2, 3), (-1, -1), (-1, 1), (4, 4), (5, 1), (5, 5)]:
        assert sum(model.probability((*context, w)) for w in range(6)) == pytest.approx(1)


def test_kneser_ney_equals_its_formula():
    """p(3 | 1 2) by hand: three occurrences of (1 2): before 3 twice, before 4 once."""
    text = [[-1, -1, *d] for d in TEXT]
    three = [tuple(d[i : i + 3]) for d in text for i in range(len(d) - 2)]
    two, one = {g[1:] for g in three}, {g[2:] for g in {x for x in three}}

    def discount(counts):
        ones, twos = (sum(c == n for c in counts) for n in (1, 2))
        return ones / (ones + 2 * twos)
    d3 = discount([three.count(g) for g in set(three)])
    before2 = {g: len({x for x in three if x[1:] == g}) for g in two}
    d2 = discount(before2.values())
    before1 = {g: len({x for x in two if x[1:] == g}) for g in one}
    d1 = discount(before1.values())
    unigram = np.maximum(np.bincount(sum(TEXT, []), minlength=6), 0.5)
    p = unigram[3] / unigram.sum()
    p = max(before1[(3,)] - d1, 0) / sum(before1.values()) + d1 * len(before1) / sum(before1.values()) * p
    after2 = {g: n for g, n in before2.items() if g[0] == 2}
    p = max(after2[(2, 3)] - d2, 0) / sum(after2.values()) + d2 * len(after2) / sum(after2.values()) * p
    p = (2 - d3) / 3 + d3 * 2 / 3 * p
    assert kneser_ney().probability((1, 2, 3)) == pytest.approx(p)
    offsets = np.array([0, 3])
    assert kneser_ney().losses(np.array([1, 2, 3]), offsets)[2] == pytest.approx(-np.log(p))
