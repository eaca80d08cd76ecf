"""Great Expectations as the judge: order, counts, and that an expectation that raised is a failure, never a pass."""

from __future__ import annotations

import polars as pl

from stages.validate.checks import Check, at_most, enough_rows, never, present
from stages.validate.judge import judge

FRAME = pl.DataFrame({"n": [1, 2, 3, -4, None, 6, 7, -8], "_row": range(8)})


def test_results_come_in_the_order_of_the_checks_with_rows_and_examples():
    checks = [never("not_negative", "t", "n", pl.col("n") < 0, "0 or more"), enough_rows("t", 9), present("t", "n"),
              Check("small", "t", "n", "at most 6", arguments={"max_value": 6})]
    results = judge(FRAME, checks)
    assert [r.check.name for r in results] == ["not_negative", "enough_rows", "n_present", "small"]
    assert [r.success for r in results] == [False, False, False, False]
    assert [r.rows.tolist() for r in results] == [[3, 7], [], [4], [6]]
    assert results[0].examples == [{"n": -4}, {"n": -8}] and results[1].examples == [{"rows": 8}]


def test_a_share_may_fail_and_is_said():
    few, many = judge(FRAME, [at_most(share, f"upto{share}", "t", "n", pl.col("n") < 0, "0 or more", "{n} of {total}")
                              for share in (0.25, 0.2)])
    assert few.success and few.note == "2 of 8" and few.unexpected == 2
    assert not many.success


def test_an_expectation_that_raises_is_a_failure_that_stops():
    good, bad = judge(FRAME, [present("t", "_row"), Check("broken", "t", "n", "like x", "ExpectColumnValuesToMatchRegex", {"regex": "["})])
    assert good.success and not bad.success and bad.note.startswith("could not be judged: ") and bad.unexpected == 0


def test_a_second_frame_is_not_judged_by_the_first():
    check = never("not_negative", "t", "n", pl.col("n") < 0, "0 or more")
    assert [judge(frame, [check])[0].unexpected for frame in (FRAME, FRAME.head(3), FRAME.tail(1))] == [2, 0, 1]
