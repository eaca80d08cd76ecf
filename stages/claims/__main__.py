"""`python -m stages.claims ID`: run a claim's experiment and write reports/claims/ID.json with what it measured."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import typing
from pathlib import Path

import stages.claims
from stages.claims.runs import Runs
from stages.command import command
from stages.files import write_json
from stages.params import Comparison, load
from stages.settings import InputError, choose, configure
from stages.verdicts import PAIRS

NOT_THEMES = ("record", "runs", "quadrature", "trials", "__main__")


def themes() -> list[str]:
    """Names of the theme files."""
    return sorted(m.name for m in pkgutil.iter_modules(stages.claims.__path__) if m.name not in NOT_THEMES)


def experiment(name: str, entry, where: str):
    """(function, its settings dataclass) of claim `name`: the function of that name in the theme's file. `entry` is that of params.yaml."""
    module = importlib.import_module(f"stages.claims.{choose(entry.theme, themes(), f'{where}.theme', 'theme')}")
    known = [key for key in vars(module) if key[:1] == "c" and key[1:].isdigit()]
    function = getattr(module, choose(name, known, where, f"claim of theme {entry.theme}"))
    hints = typing.get_type_hints(function)
    if ("runs" in hints) != isinstance(entry, Comparison):
        what, place = ("reads trained runs", "comparisons") if "runs" in hints else ("trains what it needs itself", "claims")
        raise InputError(f"{where}: {name} {what}; its place is under {place}: in the params file")
    if getattr(function, "paired", False) and len(entry.seeds) < PAIRS:
        raise InputError(f"{where}.seeds: found {list(entry.seeds)}, but a paired test needs at least {PAIRS} seeds; list more")
    return function, hints["settings"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.claims", description="Test a claim of theory by experiment.", epilog="example: python -m stages.claims c10"
    )
    parser.add_argument("claim", help="an entry under claims: or comparisons: in the params file")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--metrics", type=Path, help="folder of the runs' metrics (REPORTS/metrics; published: reports/study)")
    args = parser.parse_args()
    params = load(args.params)
    entry = params.claim(args.claim)
    where = f"{args.params}.{'comparisons' if isinstance(entry, Comparison) else 'claims'}.{args.claim}"
    function, settings = experiment(args.claim, entry, where)
    settings = configure(settings, entry.settings, f"{where}.settings")
    import torch

    torch.set_num_threads(1)
    if isinstance(entry, Comparison):
        trained = None if args.metrics else {name: params.runs[name].seeds for name in entry.runs}  # published runs have their profile's
        runs = Runs(entry.runs, args.metrics or args.reports / "metrics", where, trained)
        claim, seeds = function(settings, runs), list(range(runs.seeds))
    else:
        claim, seeds = function(settings, list(entry.seeds)), list(entry.seeds)
    record = claim.record(args.claim, seeds)
    write_json(args.reports / "claims" / f"{args.claim}.json", record)
    if claim.kind == "E":
        print(f"{args.claim}: {claim.verdict} ({sum(c.passes for c in claim.checks)} of {len(claim.checks)} checks pass)")
    else:
        print(f"{args.claim}: p {record['p']:.3g} before Holm's correction over all claims of kind D (the page shows the verdict)")


if __name__ == "__main__":
    command(main)
