"""Every metric over revisions, the worst movement first: `python -m pipelines.compare [REV ...]`.

Without a revision the last commit is held against the workspace, with one that revision; with several the first is held against the last.
A revision is whatever git knows, the name of a DVC experiment, or `workspace`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines import movements, summary
from pipelines.arguments import Parser
from pipelines.metrics import METRICS, Value
from pipelines.movements import Comparison, Movement
from pipelines.revisions import WORKSPACE, Revision, Workspace
from pipelines.yaml_file import read_yaml
from stages.command import FAILED, command
from stages.params import Compare, known_metrics
from stages.settings import InputError, configure

EXAMPLES = """examples:
  python -m pipelines.compare                       the last commit against the workspace
  python -m pipelines.compare v1.0                  v1.0 against the workspace
  python -m pipelines.compare v1.0 v1.1 HEAD        v1.0 against HEAD, with v1.1 between them
  python -m pipelines.compare nightly-2026-11-21    an experiment of DVC against the workspace
  python -m pipelines.compare HEAD~1 HEAD --fail    exit code 1 where a metric is worse than params.yaml tolerates
"""
ARROWS = {"higher": " ↑", "lower": " ↓"}
STYLES = {"regressed": "bold red", "lost": "bold red", "improved": "green"}
QUIET = ("same",)  # shown only with --all


def tolerances(root: Path) -> Compare:
    """The checked `compare:` of params.yaml; the defaults where there is none."""
    given = read_yaml(root / "params.yaml").get("compare")
    return known_metrics(configure(Compare, given, "params.yaml.compare"), "params.yaml.compare")


def compare(root: Path, revisions: Sequence[str]) -> Comparison:
    """Compare `revisions` (one or none: against the workspace). Raises InputError for an unknown one, or one without metrics."""
    settings = tolerances(root)
    names = list(revisions) or ["HEAD"]
    names += [WORKSPACE] if len(names) == 1 else []
    sources = [Workspace(root) if name == WORKSPACE else Revision(root, name, "revision", f"any commit, {WORKSPACE}") for name in names]
    states = [movements.state(source) for source in sources]
    for state in states:
        if not state.metrics:
            raise InputError(f"{state.name}: no readable file in {METRICS}/; allowed: what `git log -- {METRICS}` lists, or workspace")
    return movements.compared(states, settings, summary.directions(root))


def main() -> None:
    parser = Parser(prog="python -m pipelines.compare", description=__doc__.split(":")[0] + ".", epilog=EXAMPLES)
    parser.add_argument("revisions", nargs="*", metavar="REV", help="a commit, a branch, a tag, an experiment of DVC, or workspace")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--markdown", action="store_true", help="print Markdown")
    shown.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="also metrics that did not move")
    parser.add_argument("--fail", action="store_true", help="exit code 1 where a metric is worse than `compare:` in params.yaml tolerates")
    options = parser.parse_args()
    found = compare(Path.cwd(), options.revisions)
    try:
        if options.json:
            print(json.dumps(plain(found), indent=1, ensure_ascii=False))
        elif options.markdown:
            print(markdown(found, options.all))
        else:
            terminal(found, options.all)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader that has seen enough (`| head`) is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(FAILED if options.fail and found.regressed else 0)


def visible(found: Comparison, everything: bool) -> list[Movement]:
    return [item for item in found.movements if everything or item.verdict not in QUIET]


def cells(item: Movement) -> list[str]:
    """run, metric, a value a revision, change, tolerated, noise, verdict."""
    name = f"{item.baseline}: {item.metric}" if item.baseline else item.metric
    change = "" if item.change is None else f"{item.change:+.4g}" + (f" ({item.relative:+.1%})" if item.relative is not None else "")
    allowed = "" if item.allowed is None else f"±{item.allowed:.3g}"
    return [item.run, name + ARROWS.get(item.better, ""), *map(text, item.values), change, allowed, item.noise, item.verdict]


def text(value: Value | None) -> str:
    return summary.MISSING if value is None else summary.shown({"mean": value.mean, "sd": value.sd, "n": value.n})


def heads(found: Comparison) -> list[str]:
    return ["run", "metric", *(state.name for state in found.states), "change", "tolerated", "noise from", "verdict"]


def beside(found: Comparison, rows: Sequence[Movement]) -> list[tuple[str, str, list[str]]]:
    """(runs, kind, lines) of what changed beside the movements `rows`; runs for which the same changed stand together."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for run in dict.fromkeys(item.run for item in rows):
        for kind, lines in found.changes.get(run, {}).items():
            groups.setdefault((kind, tuple(lines)), []).append(run)
    return [(", ".join(runs), kind, list(lines)) for (kind, lines), runs in groups.items()]


def verdict(found: Comparison) -> str:
    """One line: how many metrics moved which way."""
    own = [item.verdict for item in found.movements if not item.baseline]
    parts = [f"{own.count(kind)} {kind}" for kind in ("lost", "regressed", "improved", "moved", "within", "new", "gone") if kind in own]
    return f"{found.states[0].name} → {found.states[-1].name}: {', '.join(parts) or 'nothing moved'}; {own.count('same')} the same"


def terminal(found: Comparison, everything: bool = False, stream=None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=False)
    if not console.is_terminal:  # a file or a pipe has no width to keep to
        console = Console(file=stream, highlight=False, width=200)
    for line in found.warnings:
        console.print(Text(f"note: {line}", style="yellow"), soft_wrap=True)
    rows = visible(found, everything)
    if rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        figures = range(2, 3 + len(found.states))
        for number, title in enumerate(heads(found)):
            table.add_column(title, justify="right" if number in figures else "left", overflow="fold", no_wrap=number in figures)
        for item in rows:
            table.add_row(*map(Text, cells(item)), style=STYLES.get(item.verdict))
        console.print(table)
        for runs, kind, lines in beside(found, rows):
            console.print(Text(f"{kind} of {runs}: {'; '.join(lines)}", style="dim"), soft_wrap=True)
    console.print(Text(verdict(found)), soft_wrap=True)


def markdown(found: Comparison, everything: bool = False, rows: Sequence[Movement] | None = None) -> str:
    """The table for a commit message, a pull request or a page of Prefect; `rows` in place of all that moved."""
    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for entry in entries) + " |"

    rows = visible(found, everything) if rows is None else rows
    head = heads(found)
    table = [line(head), "|" + "|".join("---" for _ in head) + "|", *(line(cells(item)) for item in rows)] if rows else []
    changes = [f"- {kind} of {runs}: " + "; ".join(f"`{entry}`" for entry in lines) for runs, kind, lines in beside(found, rows)]
    notes = [f"- note: {warning}" for warning in found.warnings]
    return "\n\n".join("\n".join(part) for part in ([verdict(found)], table, changes, notes) if part)


def plain(found: Comparison) -> dict:
    """The comparison as JSON holds it."""
    return {
        "revisions": [{"name": state.name, "commit": state.commit or None} for state in found.states],
        "regressed": len(found.regressed),
        "movements": [{
            "run": item.run, "baseline": item.baseline or None, "metric": item.metric, "better": item.better, "verdict": item.verdict,
            "values": [value and {"mean": value.mean, "sd": value.sd, "n": value.n} for value in item.values],
            "change": item.change, "relative": item.relative, "tolerated": item.allowed, "noise": item.noise or None,
        } for item in found.movements],
        "changes": found.changes,
        "warnings": found.warnings,
    }


if __name__ == "__main__":
    command(main)
