"""After a failure nothing older than the flow is shown as its result."""

from __future__ import annotations

import os

from pipelines import failures
from pipelines.processes import Outcome


def written(root, path, seconds):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("{}")
    os.utime(root / path, (seconds, seconds))


def test_what_is_older_than_the_flow_is_hidden(tmp_path):
    outcomes = {"ingest@gone": Outcome("failed", error="error: no file"), "validate@gone": Outcome("not run"),
                "validate@bad": Outcome("failed", error="error: 9 of 10 rows"), "validate@broken": Outcome("failed"),
                "validate@good": Outcome("done"), "claims@old": Outcome("failed"), "claims@new": Outcome("failed"),
                "claims@none": Outcome("failed"), "train@vae": Outcome("failed", error="error: NaN"), "evaluate@vae": Outcome("not run")}
    for name, seconds in (("gone", 50), ("bad", 150), ("broken", 50), ("good", 50)):
        written(tmp_path, f"reports/validation/{name}/summary.json", seconds)
    for name, seconds in (("old", 99), ("new", 101)):
        written(tmp_path, f"reports/claims/{name}.json", seconds)
    assert failures.hidden(tmp_path, outcomes, 100.0) == ["runs.vae", "datasets.gone", "datasets.broken", "claims.old", "claims.none"]
    assert failures.hidden(tmp_path, {"validate@good": Outcome("done"), "claims@old": Outcome("restored")}, 100.0) == []
    assert failures.lines(outcomes)[:2] == ["ingest@gone: error: no file", "validate@bad: error: 9 of 10 rows"]
    assert failures.lines(outcomes)[-1] == "not run, for want of what failed: validate@gone, evaluate@vae"
    assert failures.lines({"report": Outcome("done")}) == []
