"""Rules of verdicts, against numbers worked out by other means."""

import numpy as np
import pytest
from scipy import stats

from stages import verdicts


def test_interval_and_one_sided_test_are_those_of_student():
    x = np.random.default_rng(0).normal(0.4, 1, 12)
    reference = stats.ttest_1samp(x, 0, alternative="greater")
    p, effect = verdicts.one_sided(list(x))
    assert p == pytest.approx(reference.pvalue) and effect == pytest.approx(x.mean() / x.std(ddof=1))
    assert verdicts.interval(list(x)) == pytest.approx(tuple(stats.ttest_1samp(x, 0).confidence_interval()))
    assert verdicts.interval([1.0]) is None
    assert verdicts.one_sided([1.0] * 5) == (0.0, None) and verdicts.one_sided([0.0] * 5) == (1.0, None)


def test_holm_by_hand():
    found = verdicts.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, total=4)
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert verdicts.holm({"a": 0.004}, total=15) == pytest.approx({"a": 0.06})  # the others count though they have no record
    assert verdicts.holm({"a": 0.5}) == {"a": 1.0}


def test_directions():
    above, below, astride = (0.1, 0.2), (-0.2, -0.1), (-0.1, 0.2)
    assert verdicts.direction([above, above], 0.01) == "holds"
    assert verdicts.direction([above], 0.06) == verdicts.direction([above, astride], 0.01) == "not decided at this scale"
    assert verdicts.direction([above, below], 0.01) == "does not hold"
