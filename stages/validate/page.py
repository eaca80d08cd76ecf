"""The Data Docs page and summary.json of one dataset: Great Expectations' results as one HTML file that asks nothing of the net.

Its own renderer needs styles and fonts from other hosts, and writes clock times and random ids; this page is the same bytes for the
same data.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.files import new_folder, write_json
from stages.validate.checks import Check
from stages.validate.engine import Outcome, as_json
from stages.validate.judge import SHOWN, Result

LONGEST = 160  # characters of a value shown
ROW, REASONS = 80, 4  # characters of a row, reasons, in a line of the terminal
STATES, HOLDS = ("failed", "not judged", "set aside", "noted"), "holds"


def write_report(name: str, domain: str, outcome: Outcome, quarantine: Path, folder: Path) -> None:
    """`folder`/index.html and summary.json (docs/formats.md). `quarantine`: where the page says that rows set aside are."""
    with new_folder(folder) as new:
        write_json(new / "summary.json", _summary(name, domain, outcome))
        (new / "index.html").write_text(_page(name, domain, outcome, quarantine), encoding="utf-8")


def failure_line(name: str, outcome: Outcome, page: Path, places: dict[str, tuple[str, Path]]) -> str:
    """The one line about the first failure: dataset, expectation, column, count, five offending rows, the setting that decides, the page.

    `places`: for each threshold the block of the file of settings that holds it, and that file.
    """
    first, *others = outcome.failures
    check = first.check
    rows = " | ".join(_cut(as_json(_short(_judged_first(e, check.column), 40)), ROW) for e in first.examples[:SHOWN]) or "none"
    also = f"; also: {', '.join(r.check.name for r in others)}" if others else ""
    said = f" ({first.note})" if first.note else ""
    mend = "mend the data"
    if check.setting:
        change = "lower" if check.setting.startswith("min_") else "raise"
        block, file = places[check.setting]
        mend = f"{change} {block}.{check.setting} ({getattr(outcome.thresholds, check.setting):g}) in {file} or mend the data"
    return (f"{name}: expectation {check.name} failed on {_where(check)}: {first.unexpected} unexpected, expected {check.allowed}{said}; "
            f"rows: {rows}{also}; {mend}; see {page}")


def aside_line(name: str, outcome: Outcome, quarantine: Path, page: Path) -> str:
    """How many rows were set aside, the most frequent reasons and where both are to be read; "" for none."""
    gone = outcome.quarantine
    if gone.is_empty():
        return ""
    counted = gone.group_by("expectation", "column").len().sort(["len", "expectation"], descending=[True, False])
    reasons = [f"{_reason(expectation, column)} {n}" for expectation, column, n in counted.head(REASONS).iter_rows()]
    more = ", ..." if counted.height > REASONS else ""
    return f"{name}: {gone.height} of {sum(outcome.rows.values())} rows set aside ({', '.join(reasons)}{more}), see {quarantine} and {page}"


def _reason(expectation: str, column: str) -> str:
    return f"missing {column}" if expectation == f"{column}_present" else expectation


def _judged_first(example: dict, judged: str) -> dict:
    """A row for a short line: the first column, which is the id, then the judged ones, then what else has a value."""
    filled = {k: v for k, v in example.items() if k != "reason" and (v is not None or k in judged.split(", "))}
    return {k: filled[k] for k in dict.fromkeys([*list(filled)[:1], *judged.split(", "), *filled]) if k in filled}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest - 1] + "…"


def _summary(name: str, domain: str, outcome: Outcome) -> dict:
    gone = _gone(outcome)
    return {
        "dataset": name, "domain": domain, "success": not outcome.failures,
        "rows": sum(outcome.rows.values()), "quarantined": outcome.quarantine.height,
        "tables": {table: {"rows": n, "quarantined": gone[table]} for table, n in outcome.rows.items()},
        "expectations": [{
            "table": r.check.table, "expectation": r.check.name, "column": r.check.column, "level": r.check.level, "success": r.success,
            "unexpected": r.unexpected, "examples": [_short(e) for e in r.examples], "allowed": r.check.allowed, "note": r.note,
            "judged_by": _rule(r),
        } for r in outcome.results],
    }


def _gone(outcome: Outcome) -> dict[str, int]:
    gone = dict(outcome.quarantine.group_by("table").len().iter_rows())
    return {table: gone.get(table, 0) for table in outcome.rows}


def _where(check: Check) -> str:
    return f"{check.table}.{check.column}" if check.column else check.table


def _rule(result: Result) -> str:
    arguments = ", ".join(f"{k}={v}" for k, v in (result.check.arguments or {}).items())
    return f"{result.check.expectation}({arguments})"


def _consequence(result: Result) -> str:
    if result.check.level == "row":
        return "row by row: a row that fails goes to quarantine"
    if (result.check.arguments or {}).get("mostly") == 0:
        return "of the table: counted, never a failure"
    return "of the table: a failure stops the pipeline"


def _short(example: dict, longest: int = LONGEST) -> dict:
    """A row with long values cut, every value something JSON can hold."""
    def cut(value):
        if value is None or isinstance(value, (bool, int)):
            return value
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return _cut(text, longest)
    return {str(k): cut(v) for k, v in example.items()}


def _state(result: Result) -> str:
    if result.note.startswith("could not be judged"):
        return "not judged"
    if result.success:
        return "noted" if result.unexpected else HOLDS
    return "set aside" if result.check.level == "row" else "failed"


def _page(name: str, domain: str, outcome: Outcome, quarantine: Path) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    gone = _gone(outcome)
    entries = [{
        "state": _state(r), "name": r.check.name.replace("_", " "), "where": _where(r.check), "level": r.check.level,
        "allowed": r.check.allowed, "unexpected": r.unexpected, "note": r.note, "rule": _rule(r), "consequence": _consequence(r),
        "columns": list(dict.fromkeys(k for e in r.examples for k in e)), "examples": [_short(e) for e in r.examples],
    } for r in outcome.results]
    found = sorted((e for e in entries if e["state"] != HOLDS), key=lambda e: STATES.index(e["state"]))
    return environment.get_template("page.html").render(
        name=name, domain=domain, success=not outcome.failures, quarantine=quarantine.as_posix(),
        found=found, holding=[e for e in entries if e["state"] == HOLDS],
        tally=[(state, n) for state in (*STATES, HOLDS) if (n := sum(e["state"] == state for e in entries))],
        tables=[{"name": t, "rows": n, "gone": gone[t], "clean": n - gone[t]} for t, n in outcome.rows.items()])
