import math

import pytest

from stages.evaluate.bleu import corpus_bleu, self_bleu


def slow(candidate, references):
    """BLEU-4 of one text against several references by plain loops; half a match where none is."""
    logs = 0.0
    for n in range(1, 5):
        pieces = [tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1)]
        right = 0
        for gram in set(pieces):
            most = max(sum(tuple(r[i : i + n]) == gram for i in range(len(r) - n + 1)) for r in references)
            right += min(pieces.count(gram), most)
        logs += math.log((right or 0.5) / len(pieces))
    nearest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
    return math.exp(logs / 4) * min(1.0, math.exp(1 - nearest / len(candidate)))


def test_corpus_bleu_by_value():
    assert corpus_bleu(["a b c d e".split()], ["a b c d e".split()]) == 1.0
    assert corpus_bleu(["a b c d".split()], ["a b c d e".split()]) == pytest.approx(math.exp(1 - 5 / 4))
    assert corpus_bleu(["a b c d x".split()], ["a b c d e".split()]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert corpus_bleu(["the the the the the".split()], ["the cat sat on the".split()]) == 0.0, "counts are clipped"


def test_self_bleu_against_plain_loops():
    texts = ["a b c d e".split(), "a b c d".split(), "x a b c y z z".split(), "q r s t u v".split(), ["a"]]
    wanted = [slow(t, texts[:i] + texts[i + 1 :]) for i, t in enumerate(texts) if len(t) >= 4]
    assert self_bleu(texts) == pytest.approx(sum(wanted) / len(wanted))
    assert self_bleu([["a", "b", "c", "d"]] * 3) == 1.0
