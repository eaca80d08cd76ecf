"""BLEU of translations, by sacrebleu, and self-BLEU of samples.

Papineni et al. 2002, https://aclanthology.org/P02-1040 : the geometric mean of clipped n-gram precisions, n = 1 .. 4, times
exp(1 - r / c) where the candidates' total length c is below the references' r.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

ORDER = 4


def grams(words: Sequence, n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def corpus_bleu(candidates: Sequence[str], references: Sequence[str], tokenize: str = "none") -> tuple[float, str]:
    """(BLEU in [0, 1], sacrebleu's signature), one reference a candidate, no smoothing: 0 where no n-gram of an order is right.

    `tokenize` as sacrebleu names it: none, where the texts are tokens between spaces, or 13a for running text.
    Post 2018, https://aclanthology.org/W18-6319 .
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=tokenize, smooth_method="none", force=True)
    return metric.corpus_score(list(candidates), [list(references)]).score / 100, metric.get_signature().format()


def self_bleu(texts: Sequence[Sequence]) -> float:
    """Mean BLEU-4 of each text against all the others as its references (Zhu et al. 2018, https://arxiv.org/abs/1802.01886), in [0, 1].

    An order without a match counts half a match (add-half in the numerator alone); the length penalty takes the nearest reference.
    Texts of fewer than ORDER words are left out as candidates; NaN where none is left.
    """
    counted = [[grams(t, n + 1) for n in range(ORDER)] for t in texts]
    best = []  # of each n-gram its largest and second largest count in a text, and where the largest is
    for n in range(ORDER):
        table: dict[tuple, tuple[int, int, int]] = {}
        for i, own in enumerate(counted):
            for gram, count in own[n].items():
                first, second, where = table.get(gram, (0, 0, -1))
                table[gram] = (count, first, i) if count > first else (first, max(second, count), where)
        best.append(table)
    lengths, found = [len(t) for t in texts], []
    for i, text in enumerate(texts):
        if len(text) < ORDER or len(texts) < 2:
            continue
        total = 0.0
        for n in range(ORDER):
            right = 0
            for gram, count in counted[i][n].items():
                first, second, where = best[n][gram]
                right += min(count, second if where == i else first)
            total += math.log((right or 0.5) / (len(text) - n))
        nearest = min((abs(length - len(text)), length) for j, length in enumerate(lengths) if j != i)[1]
        found.append(math.exp(total / ORDER + min(0.0, 1 - nearest / len(text))))
    return sum(found) / len(found) if found else math.nan
