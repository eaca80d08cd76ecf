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


def plain(candidates, references):
    """Corpus BLEU-4 of one reference each, by its definition."""
    logs, (c, r) = 0.0, (sum(len(t.split()) for t in side) for side in (candidates, references))
    for n in range(1, 5):
        right = made = 0
        for one, other in zip(candidates, references, strict=True):
            own, told = ([tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n + 1)] for t in (one, other))
            right += sum(min(own.count(gram), told.count(gram)) for gram in set(own))
            made += len(own)
        logs += math.log(right / made)
    return math.exp(logs / 4) * min(1.0, math.exp(1 - r / c))


def test_corpus_bleu_by_value_and_against_its_definition():
    assert corpus_bleu(["a b c d e"], ["a b c d e"])[0] == pytest.approx(1.0)
    assert corpus_bleu(["a b c d"], ["a b c d e"])[0] == pytest.approx(math.exp(1 - 5 / 4))
    assert corpus_bleu(["the the the the the"], ["the cat sat on the"])[0] == 0.0, "counts are clipped"
    texts = ["7 3 3 9 1 4", "12 5 5 8 2", "4 4 4 4 4 1"], ["7 3 3 9 1 1 2", "5 5 8 2 12", "4 4 4 4 1 1"]
    found, signature = corpus_bleu(*texts)
    assert found == pytest.approx(plain(*texts)) and 0 < found < 1
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:none|version:")
    assert corpus_bleu(["one, two, three."], ["one , two , three ."], "13a")[0] == pytest.approx(1.0), "13a parts marks from words"


def test_self_bleu_against_plain_loops():
    texts = ["a b c d e".split(), "a b c d".split(), "x a b c y z z".split(), "q r s t u v".split(), ["a"]]
    wanted = [slow(t, texts[:i] + texts[i + 1 :]) for i, t in enumerate(texts) if len(t) >= 4]
    assert self_bleu(texts) == pytest.approx(sum(wanted) / len(wanted))
    assert self_bleu([["a", "b", "c", "d"]] * 3) == 1.0
