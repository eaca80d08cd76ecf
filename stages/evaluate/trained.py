"""What the commands of `python -m stages.evaluate` have in common: a trained run by its name."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stages.files import read_json, replacing
from stages.params import load
from stages.prepared import Prepared
from stages.runs import family_module, load_run
from stages.settings import InputError


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a trained run."""
    parser.add_argument("run", help="a trained run of params.yaml")
    parser.add_argument("--seed-of-run", type=int, metavar="S", help="of the run's training seeds; default the first")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--models", type=Path, default=Path("data/models"))
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))


def trained_run(args: argparse.Namespace, *abilities: str):
    """(model in eval mode, prepared data) of the run that `add_run`'s arguments name. Its family must have one of the methods `abilities`.

    Raises InputError, one line each, for a run that is unknown, of a family that cannot do this, not trained, or not with that seed.
    """
    params, folder = load(args.params), args.models / args.run
    entry = params.run(args.run)

    def able(family, *where):
        return any(hasattr(family_module(family, *where).Model, ability) for ability in abilities)

    if not able(entry.family, f"{args.params}.runs.{args.run}.family"):
        others = [name for name, run in params.runs.items() if able(run.family)]
        raise InputError(f"run {args.run}: family {entry.family} has no {' or '.join(abilities)}; "
                         f"runs that have: {', '.join(others) or 'none'}")
    if not (folder / "run.json").is_file():
        raise InputError(f"run {args.run}: not trained ({folder}/run.json is missing); run python -m pipelines.repro train@{args.run}")
    facts, data = read_json(folder / "run.json"), Prepared(args.prepared / entry.dataset)
    if args.seed_of_run is not None and args.seed_of_run not in facts["seeds"]:
        raise InputError(f"run {args.run}: no seed {args.seed_of_run} was trained; allowed: {', '.join(map(str, facts['seeds']))}")
    return load_run(folder, facts["seeds"][0] if args.seed_of_run is None else args.seed_of_run, data.meta), data


def write_array(path: Path, values: np.ndarray) -> None:
    """A .npy file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
