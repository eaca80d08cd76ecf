"""`python -m stages.evaluate RUN --model data/models/RUN --data data/prepared/DATASET [--features data/models/NET]`: measure a trained run.

Writes reports/metrics/RUN.json and reports/samples/RUN/. `python -m stages.evaluate similar RUN NAME` shows neighbours (see similar.py).
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

import stages.evaluate.kinds
from stages.command import command
from stages.evaluate.gallery import Gallery
from stages.evaluate.inception import inception_of
from stages.evaluate.kinds.base import Kind, Setting
from stages.evaluate.names import check_names
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.stacked import Stacked, of_one_channel
from stages.files import new_folder, read_json, write_json
from stages.params import COMMANDS, NO_FEATURES, load
from stages.prepared import Prepared
from stages.runs import family_module, load_run
from stages.settings import InputError, choose, configure


def kinds() -> list[str]:
    """Kinds of data that can be evaluated: one file each."""
    return sorted(m.name for m in pkgutil.iter_modules(stages.evaluate.kinds.__path__) if m.name != "base")


def feature_net(folder: Path | None, meta: dict):
    """(net or None, sha256 of its weights or None): the first seed of a run whose model has `features`, e.g. a classifier."""
    if folder is None or folder.name == NO_FEATURES:
        return None, None
    run = read_json(folder / "run.json")
    if meta["kind"] not in ("images", "two_domains"):
        raise InputError(f"{folder}: a feature net serves images, but the dataset holds {meta['kind']}; write features: none")
    seed = run["seeds"][0]
    try:
        net = load_run(folder, seed, of_one_channel(meta) if "stacked" in meta else meta)
    except InputError:
        if meta.get("source_shape", meta["shape"]) == meta["shape"]:
            raise
        net = load_run(folder, seed, {**meta, "shape": meta["source_shape"]})  # a net of the other domain
    if not hasattr(net, "features"):
        raise InputError(f"{folder}: family {run['family']} has no features to compare images in; name a run of family classifier")
    return Stacked(net).eval() if "stacked" in meta else net, sha256((folder / str(seed) / "weights.safetensors").read_bytes()).hexdigest()


def sampling_seed(evaluation: int, training: int) -> int:
    """Seed of what a trained model draws while it is measured: its own stream for every training seed, and not the one it trained with,

    so that the deviation over seeds holds the noise of sampling too.
    """
    return int(np.random.SeedSequence((evaluation, training, 0xE7A1)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def summarised(values: list[dict[str, float]]) -> dict[str, dict]:
    """{metric: {mean, sd, n}} over seeds; sd with n - 1, None for one seed, which shows its `Repeated.spread` where it has one.

    Of several seeds `values` has each one's, for differences within a seed. A metric that some seed lacks is averaged over the others.
    Raises ValueError for a value that is no finite number.
    """
    found = {}
    for name in dict.fromkeys(k for v in values for k in v):
        given = [v[name] for v in values if name in v]
        numbers = np.array(given, np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} is {numbers[~np.isfinite(numbers)][0]}")
        found[name] = {"mean": numbers.mean(), "sd": numbers.std(ddof=1) if len(numbers) > 1 else None, "n": len(numbers)}
        if len(values) > 1 and len(given) == len(values):
            found[name]["values"] = numbers.tolist()
        if len(given) == 1 and getattr(given[0], "spread", None) is not None:
            found[name]["spread"] = given[0].spread
    return found


def evaluate(name: str, folder: Path, data: Prepared, features: Path | None, settings: EvaluateSettings) -> tuple[dict, Gallery]:
    """The metrics file's content and the run's gallery. Baselines are measured once, beside the first seed's model."""
    run = read_json(folder / "run.json")
    if settings.probe == "required" and data.meta.get("classes", 0) < 2:  # asked after training, which says it too
        raise InputError(f"run {name}: evaluate.probe is required, but {data.folder} has labels of {data.meta.get('classes', 0)} classes, "
                         "and a probe needs 2; label the dataset (docs/data.md) or write probe: auto")
    kind = choose(data.meta["kind"], kinds(), f"{data.folder}/meta.json: kind", "kind of data to evaluate")
    net, weights = feature_net(features, data.meta)
    inception, known = inception_of(settings, kind)
    setting = Setting(data, run["model"], settings, net, inception)
    evaluation: Kind = importlib.import_module(f"stages.evaluate.kinds.{kind}").Evaluation(setting)
    module = family_module(run["family"], f"{folder}/run.json")

    def fresh(seed):
        torch.manual_seed(seed)
        return module.Model(configure(module.Config, run["model"], f"{folder}/run.json: model"), data.meta).eval()

    values, gallery, baselines = [], Gallery(), {}
    for seed in run["seeds"]:
        model = load_run(folder, seed, data.meta)
        try:
            values.append(evaluation.measure(model, sampling_seed(settings.seed, seed)))
            summarised(values[-1:])
        except ValueError as error:
            raise InputError(f"run {name}, seed {seed}: {error}; train again with a smaller lr, or choose other data") from None
        if seed == run["seeds"][0]:
            baselines = evaluation.baselines(model, fresh)
            evaluation.exhibit(model, gallery, sampling_seed(settings.seed, seed))
    metrics = {"headline": evaluation.headline(values[0]), **summarised(values),
               "baselines": {k: summarised([v]) for k, v in baselines.items()},
               "parameters": run["parameters"], "reproducible": run["reproducible"], "features": weights}
    if inception is not None:
        metrics["inception"] = known
    if settings.split != "test":
        metrics["split"] = settings.split
    check_names(metrics)
    return metrics, gallery


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:  # no run may be called so
        with torch.no_grad():
            return importlib.import_module(f"stages.evaluate.{sys.argv[1]}").main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description="Measure a trained run beside its baselines.",
                                     epilog="example: python -m stages.evaluate vae --model data/models/vae --data data/prepared/digits "
                                            "--features data/models/classifier;  what a trained run knows: python -m stages.evaluate "
                                            f"{'|'.join(COMMANDS)} --help")
    parser.add_argument("run")
    parser.add_argument("--model", type=Path, required=True, help="folder written by the train stage")
    parser.add_argument("--data", type=Path, required=True, help="folder written by the prepare stage")
    parser.add_argument("--features", type=Path, help="folder of the run whose features FID and KID are computed in")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    args = parser.parse_args()
    settings = configure(EvaluateSettings, load(args.params).run(args.run).evaluate, f"{args.params}.runs.{args.run}.evaluate")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.no_grad():
        metrics, gallery = evaluate(args.run, args.model, Prepared(args.data), args.features, settings)
    with new_folder(args.reports / "samples" / args.run) as folder:
        gallery.write(folder)
    write_json(args.reports / "metrics" / f"{args.run}.json", metrics)
    headline = metrics["headline"]
    print(f"{args.run}: {headline} {metrics[headline]['mean']:.4g}"
          + "".join(f", {name} {found[headline]['mean']:.4g}" for name, found in metrics["baselines"].items() if headline in found))


if __name__ == "__main__":
    command(main)
