"""`python -m stages.check`: every setting of params.yaml, those of sources, suites, families and evaluation included, before any work."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from pathlib import Path

from stages.claims.__main__ import experiment
from stages.command import command
from stages.evaluate.inception import check_inception
from stages.evaluate.settings import EvaluateSettings
from stages.ingest import sources
from stages.models.base import KernelModel, Model
from stages.params import NO_FEATURES, Params, Run, load
from stages.prepare.__main__ import KINDS, SETTINGS
from stages.runs import families, family_module
from stages.settings import InputError, configure
from stages.train.settings import run_settings

# loop settings that kernel families have no use for
KERNEL_READS_NOT = (
    "steps",
    "batch_size",
    "lr",
    "lr_scale",
    "lr_decay",
    "optimizer",
    "betas",
    "weight_decay",
    "clip_norm",
    "ema",
    "autocast",
    "channels_last",
)


def check(params: Params, path: Path) -> dict[str, dict]:
    """Raise InputError for the first mistake; return every run's merged settings, as `stages.train --settings` reads them."""
    for domain, given in params.validate.items():
        configure(importlib.import_module(f"stages.validate.{domain}").SUITE.thresholds, given, f"{path}.validate.{domain}")
    for name, entry in params.datasets.items():
        sources.check(name, entry)
        thresholds = importlib.import_module(f"stages.validate.{entry.domain}").SUITE.thresholds
        configure(thresholds, {**params.validate.get(entry.domain, {}), **entry.validate}, f"{path}.datasets.{name}.validate")
        check_prepare(entry.prepare, entry.domain, f"{path}.datasets.{name}.prepare")
    for section, entries in (("claims", params.claims), ("comparisons", params.comparisons)):
        for name, claim in entries.items():
            where = f"{path}.{section}.{name}"
            configure(experiment(name, claim, where)[1], claim.settings, f"{where}.settings")
    merged = {}
    for name, run in params.runs.items():
        where = f"{path}.runs.{name}"
        layers = {f"{path}.train": params.train, f"{where}.train": run.train}
        module, config, settings = run_settings(run.family, run.model, layers, where)
        check_run(params, run, module.Model, where)
        check_inception(configure(EvaluateSettings, run.evaluate, f"{where}.evaluate"), f"{where}.evaluate")
        merged[name] = {
            "family": run.family,
            "dataset": run.dataset,
            "seeds": list(run.seeds),
            "model": dataclasses.asdict(config),
            "train": dataclasses.asdict(settings),
        }
    return merged


def check_prepare(given: dict, domain: str, where: str) -> None:
    """The settings fit one of the kinds of data that the domain can hold; which one is known only when it was read."""
    kinds, mistake = list(dict.fromkeys(SETTINGS[kind] for kind in KINDS[domain])), None
    for settings in kinds:
        try:
            configure(settings, given, where)
            return
        except InputError as error:
            mistake = mistake or error
    raise mistake


def check_run(params: Params, run: Run, model: type[Model], where: str) -> None:
    """The family reads that domain's kinds of data and those loop settings, and the feature net has features."""
    domain = params.datasets[run.dataset].domain
    if not set(model.kinds) & set(KINDS[domain]):
        raise InputError(
            f"{where}.dataset: family {run.family} reads {' or '.join(model.kinds) or 'nothing (its Model sets no kinds)'}, but "
            f"{run.dataset} is of domain {domain} ({', '.join(KINDS[domain])})"
        )
    unread = KERNEL_READS_NOT if issubclass(model, KernelModel) else ("epochs",)
    for key in run.train:
        if key in unread:
            other = "epochs, and lr under model:," if issubclass(model, KernelModel) else "steps"
            raise InputError(f"{where}.train.{key}: family {run.family} does not read it; it reads {other} in its place")
    if run.features != NO_FEATURES:
        net = params.runs[run.features]
        if not hasattr(family_module(net.family, f"{path_of(where)}.runs.{run.features}.family").Model, "features"):
            able = [name for name in families() if hasattr(family_module(name).Model, "features")]
            raise InputError(
                f"{where}.features: run {run.features} (family {net.family}) has no features(x); allowed: a run of family "
                f"{', '.join(able)}, or {NO_FEATURES}"
            )


def path_of(where: str) -> str:
    return where.split(".runs.")[0]


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
        claims = len(params.claims) + len(params.comparisons)
        print(f"{args.params}: {len(params.datasets)} datasets, {len(params.runs)} runs and {claims} claims, every setting known")


if __name__ == "__main__":
    command(main)
