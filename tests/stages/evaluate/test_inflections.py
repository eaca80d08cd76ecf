"""A word's own forms as a test of its vector, and what training costs a token: by hand, and against slow code."""

import numpy as np
import pytest

from stages.evaluate import inflections, words

WORDS = ["<unk>", "walk", "walks", "walked", "turn", "turned", "as", "ass", "jump", "jumps", "x2yz", "x2yzs"]


def test_the_forms_of_a_vocabulary():
    found = [(WORDS[a], WORDS[b], inflections.ENDINGS[e]) for a, b, e in inflections.forms(WORDS)]
    assert found == [("walk", "walks", "s"), ("walk", "walked", "ed"), ("turn", "turned", "ed"), ("jump", "jumps", "s")]


def test_reciprocal_ranks_equal_sorting():
    vectors = np.random.default_rng(0).standard_normal((12, 3))
    pairs, slow = np.array([[1, 2], [4, 5], [8, 9]]), []
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    for both in pairs:
        ranks = []
        for a, b in (both, both[::-1]):
            others = sorted((i for i in range(1, 12) if i != a), key=lambda i, a=a: -(unit[a] @ unit[i]))
            ranks.append(1 / (1 + others.index(b)))
        slow.append(np.mean(ranks))
    assert inflections.reciprocal_ranks(vectors, pairs) == pytest.approx(slow)


def test_vectors_that_are_all_alike_share_their_ranks():
    assert inflections.reciprocal_ranks(np.ones((12, 2)), np.array([[1, 2]])) == pytest.approx([1 / (1 + 9 / 2)])


def test_analogies_are_of_one_ending_and_two_stems():
    asked = inflections.questions(inflections.forms(WORDS), 0)
    assert [[WORDS[i] for i in row] for row in asked.tolist()] == [
        ["walk", "walks", "jump", "jumps"], ["jump", "jumps", "walk", "walks"],
        ["walk", "walked", "turn", "turned"], ["turn", "turned", "walk", "walked"]]


def test_scores_of_vectors_in_which_an_ending_is_one_step():
    rng = np.random.default_rng(0)
    stems = [a + b + "ord" for a in "abcdefg" for b in "xyzuvw"]
    names = ["<unk>", *stems, *(s + "s" for s in stems)]
    meaning, step = 5 * rng.standard_normal((len(stems), 40)), rng.standard_normal(40)
    vectors = np.concatenate([np.zeros((1, 40)), meaning, meaning + step])
    counts = np.where(np.arange(len(names)) % 2, 30, 3)
    counts[len(stems) + 1 :] = counts[1 : len(stems) + 1]
    found = inflections.scores(vectors, names, counts, 0)
    assert found == {"inflection_mrr": 1.0, "inflection_mrr_rare": 1.0, "inflection_accuracy": 1.0}
    shuffled = np.concatenate([vectors[:1], rng.permutation(vectors[1:])])
    assert all(value < 0.3 for value in inflections.scores(shuffled, names, counts, 0).values())
    assert inflections.scores(vectors[: len(stems)], names[: len(stems)], counts[: len(stems)], 0) == {}


@pytest.mark.parametrize("per_pair", [False, True])
def test_rows_a_token_are_those_of_every_window(per_pair):
    documents, window, outputs, touched, centres = [[1, 2, 3, 4], [5], [6, 7]], 2, 6, 0, 0
    for document in documents:
        for i in range(len(document)):
            near = [j for j in range(len(document)) if 0 < abs(i - j) <= window]
            centres += bool(near)
            touched += len(near) + outputs * (len(near) if per_pair else bool(near))
    tokens, offsets = np.concatenate(documents), np.cumsum([0, *map(len, documents)])
    contexts = words.target_counts(tokens, offsets, window, 8).sum()
    assert words.rows_per_token(contexts, centres, outputs, per_pair) == pytest.approx(touched / centres)
