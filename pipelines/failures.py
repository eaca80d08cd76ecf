"""After a failure: what is told of it, and what of the reports is older than the flow and must not be shown as current."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines import summary
from pipelines.processes import Outcome
from pipelines.schedule import GOOD

# what a stage leaves for the report; of a stage that did not end well it counts when it was written in this flow (a validation that fails
# writes its page first), and is hidden when it is older
PAGES = {"validate": ("datasets", "reports/validation/{}/summary.json"), "claims": ("claims", "reports/claims/{}.json"),
         "comparisons": ("comparisons", "reports/claims/{}.json")}


def hidden(root: Path, outcomes: Mapping[str, Outcome], began: float) -> list[str]:
    """Keys of params.yaml (`runs.vae`, `datasets.shop`, `claims.c1`) whose results are older than the flow, which began at `began`
    (seconds since the epoch), wanted them."""
    found = [f"runs.{run}" for run in summary.unmeasured(outcomes)]
    for name, outcome in outcomes.items():
        group, _, key = name.partition("@")
        if group in PAGES and outcome.state not in GOOD:
            section, page = PAGES[group]
            path = root / page.format(key)
            if not path.is_file() or path.stat().st_mtime < began:
                found.append(f"{section}.{key}")
    return found


def lines(outcomes: Mapping[str, Outcome]) -> list[str]:
    """One line a stage that failed, with its own error, and one of what could not run."""
    failed = [f"{name}: {outcome.error}" for name, outcome in outcomes.items() if outcome.state == "failed"]
    return [*failed, *unrun(outcomes)]


def unrun(outcomes: Mapping[str, Outcome]) -> list[str]:
    """One line of what could not run; none where all could."""
    left = [name for name, outcome in outcomes.items() if outcome.state == "not run"]
    return [f"not run, for want of what failed: {', '.join(left)}"] if left else []


def tell(outcomes: Mapping[str, Outcome]) -> bool:
    """Name every stage that failed with its own error line first, and what could not run for it. True when all went well."""
    bad = [(name, outcome) for name, outcome in outcomes.items() if outcome.state not in GOOD]
    for name, outcome in bad:
        if outcome.state == "failed":
            print(f"\nFAILED {name}: {outcome.error}", file=sys.stderr)
            for line in outcome.tail:
                print(f"    {line}", file=sys.stderr)
    for line in unrun(outcomes):
        print(f"\n{line}", file=sys.stderr)
    if bad:
        left = sum(outcome.state == "not run" for _, outcome in bad)
        done = len(outcomes) - len(bad)
        print(f"\n{len(bad) - left} failed, {left} not run, {done} done; full output in data/.logs/", file=sys.stderr, flush=True)
    return not bad
