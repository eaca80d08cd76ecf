"""`python -m stages.claims ID`: run a claim's experiment and write reports/claims/ID.json with its verdict."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import typing
from pathlib import Path

import stages.claims
from stages.command import command
from stages.files import write_json
from stages.params import load
from stages.settings import choose, configure


def themes() -> list[str]:
    """Names of the theme files."""
    return sorted(m.name for m in pkgutil.iter_modules(stages.claims.__path__) if m.name not in ("record", "__main__"))


def experiment(name: str, theme: str, where: str):
    """(function, its settings dataclass) of claim `name`: the function of that name in the theme's file."""
    module = importlib.import_module(f"stages.claims.{choose(theme, themes(), f'{where}.theme', 'theme')}")
    known = [key for key in vars(module) if key[:1] == "c" and key[1:].isdigit()]
    function = getattr(module, choose(name, known, where, f"claim of theme {theme}"))
    return function, typing.get_type_hints(function)["settings"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.claims", description="Test a claim of theory by experiment.", epilog="example: python -m stages.claims c10"
    )
    parser.add_argument("claim", help="an entry under claims: in the params file")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    args = parser.parse_args()
    entry = load(args.params).claim(args.claim)
    where = f"{args.params}.claims.{args.claim}"
    function, settings = experiment(args.claim, entry.theme, where)
    claim = function(configure(settings, entry.settings, f"{where}.settings"), list(entry.seeds))
    write_json(args.reports / "claims" / f"{args.claim}.json", claim.record(args.claim, list(entry.seeds)))
    print(f"{args.claim}: {claim.verdict} ({sum(c.passes for c in claim.checks)} of {len(claim.checks)} checks pass)")


if __name__ == "__main__":
    command(main)
