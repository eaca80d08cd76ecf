"""`python -m stages.check`: every setting of params.yaml, those of sources, suites, families and evaluation included, before any work."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from pathlib import Path

from stages.claims.__main__ import experiment
from stages.command import command
from stages.evaluate.settings import EvaluateSettings
from stages.ingest import sources
from stages.params import Params, load
from stages.settings import configure
from stages.train.settings import run_settings


def check(params: Params, path: Path) -> dict[str, dict]:
    """Raise InputError for the first mistake; return every run's merged settings, as `stages.train --settings` reads them."""
    for domain, given in params.validate.items():
        configure(importlib.import_module(f"stages.validate.{domain}").SUITE.thresholds, given, f"{path}.validate.{domain}")
    for name, entry in params.datasets.items():
        sources.check(name, entry)
        thresholds = importlib.import_module(f"stages.validate.{entry.domain}").SUITE.thresholds
        configure(thresholds, {**params.validate.get(entry.domain, {}), **entry.validate}, f"{path}.datasets.{name}.validate")
    for name, claim in params.claims.items():
        where = f"{path}.claims.{name}"
        configure(experiment(name, claim.theme, where)[1], claim.settings, f"{where}.settings")
    merged = {}
    for name, run in params.runs.items():
        where = f"{path}.runs.{name}"
        layers = {f"{path}.train": params.train, f"{where}.train": run.train}
        _, config, settings = run_settings(run.family, run.model, layers, where)
        configure(EvaluateSettings, run.evaluate, f"{where}.evaluate")
        merged[name] = {
            "family": run.family,
            "dataset": run.dataset,
            "seeds": list(run.seeds),
            "model": dataclasses.asdict(config),
            "train": dataclasses.asdict(settings),
        }
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.check",
        description="Check every setting of params.yaml and exit.",
        epilog="example: python -m stages.check --run vae > vae.json   (for a machine without yaml)",
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--run", help="print this run's merged settings as JSON, as python -m stages.train --settings reads them")
    args = parser.parse_args()
    params = load(args.params)
    if args.run:
        params.run(args.run)
    merged = check(params, args.params)
    if args.run:
        print(json.dumps(merged[args.run], indent=1))
    else:
        print(
            f"{args.params}: {len(params.datasets)} datasets, {len(params.runs)} runs and {len(params.claims)} claims, every setting known"
        )


if __name__ == "__main__":
    command(main)
