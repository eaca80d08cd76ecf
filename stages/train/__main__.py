"""`python -m stages.train RUN --data data/prepared/DATASET --out data/models/RUN`: train every seed of a run, resuming what was killed."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import os
import platform
import resource
import sys
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import llvmlite.binding
import numba
import numpy as np
import torch

from stages.command import FAILED, command, fail
from stages.files import new_folder, read_json, replacing, rounded, write_json
from stages.models.base import KernelModel
from stages.prepared import Prepared
from stages.runs import save_tensors
from stages.settings import InputError, choose
from stages.train.checkpoints import Store, key_of
from stages.train.export import write_vectors
from stages.train.group import follows, group, processes_of
from stages.train.loop import DivergedError, pick_device, train
from stages.train.memory import check_memory
from stages.train.progress import Progress
from stages.train.settings import check_processes, run_settings

ROOT = Path(__file__).resolve().parents[2]


def sources_of(module_file: Path) -> list[Path]:
    """The file and every file of stages/ that it imports, directly or not, sorted: what a change of code could change in the result."""
    found, queue = set(), [module_file.resolve()]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            elif isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            for name in names:
                candidate = ROOT / (name.replace(".", "/") + ".py")
                if name.startswith("stages.") and candidate.is_file():
                    queue.append(candidate)
    return sorted(found)


def read_run(name: str, params_file: Path, settings_file: Path | None):
    """(family, dataset, seeds, module, config, loop settings, whether its evaluation asks for labels): from params.yaml, or from JSON on
    a machine without yaml."""
    if settings_file is None:
        from stages.params import load

        params = load(params_file)
        run, where = params.run(name), f"{params_file}.runs.{name}"
        layers = {f"{params_file}.train": params.train, f"{where}.train": run.train}
        probed = run.evaluate.get("probe") == "required"
        return run.family, run.dataset, list(run.seeds), *run_settings(run.family, run.model, layers, where), probed
    given, where = read_json(settings_file), str(settings_file)
    for key in given:
        choose(key, ("family", "dataset", "seeds", "model", "train"), where, "key")
    made = run_settings(given.get("family", ""), given.get("model", {}), {f"{where}.train": given.get("train", {})}, where)
    return given["family"], given.get("dataset", ""), given.get("seeds", [0]), *made, False


def write_curve(path: Path, curves: dict[int, list[dict]]) -> None:
    """seed,step,loss and every other term; 6 significant digits; a term that a row lacks is empty."""
    columns = list(dict.fromkeys(k for rows in curves.values() for row in rows for k in row if k not in ("step", "loss")))
    with replacing(path) as temporary:
        lines = [",".join(["seed", "step", "loss", *columns])]
        for seed, rows in curves.items():
            for row in rows:
                terms = [f"{rounded(float(row[k]))}" if k in row else "" for k in ("loss", *columns)]
                lines.append(",".join([str(seed), str(row["step"]), *terms]))
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.train",
        description="Train every seed of a run; a killed one goes on from its last checkpoint.",
        epilog="examples: python -m stages.train vae --data data/prepared/digits --out data/models/vae;  on a machine with torch alone: "
        "python -m stages.check --run vae > vae.json here, python -m stages.train vae --settings vae.json --data ... --out ... there",
    )
    parser.add_argument("run")
    parser.add_argument("--data", type=Path, required=True, help="folder written by the prepare stage")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--settings", type=Path, help="JSON with family, seeds, model and train in place of params.yaml")
    parser.add_argument("--checkpoints", type=Path, default=Path("data/checkpoints"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    return parser.parse_args()


def main() -> None:
    try:
        run(parse())
    except (InputError, KeyboardInterrupt):
        if follows():  # the first process tells
            sys.exit(FAILED)
        raise


def run(args: argparse.Namespace) -> None:
    """Train the run, in as many processes as it says; the first writes what comes of it."""
    family, dataset, seeds, module, config, settings, probed = read_run(args.run, args.params, args.settings)
    data = Prepared(args.data)
    if data.meta["kind"] not in module.Model.kinds:
        raise InputError(
            f"run {args.run}: family {family} reads {' or '.join(module.Model.kinds)}, but {args.data} holds "
            f"{data.meta['kind']}; choose another dataset or family"
        )
    if probed and data.meta.get("classes", 0) < 2:
        raise InputError(
            f"run {args.run}: evaluate.probe is required, but {args.data} has labels of {data.meta.get('classes', 0)} classes, and a probe "
            "needs 2; label the dataset (docs/data.md) or write probe: auto"
        )
    kernel = issubclass(module.Model, KernelModel)
    device = pick_device("cpu" if kernel else settings.device)  # kernels are numba's
    torch.set_num_threads(settings.threads)
    numba.set_num_threads(min(settings.threads, numba.config.NUMBA_NUM_THREADS))
    torch.use_deterministic_algorithms(True, warn_only=True)
    sources = sorted({*sources_of(Path(module.__file__)), *sources_of(Path(__file__)), *sorted(Path(__file__).parent.glob("*.py"))})
    facts = {
        "model": dataclasses.asdict(config),
        "train": {**dataclasses.asdict(settings), "checkpoint_seconds": None, "processes": None},
        "data": data.meta["hash"],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "device": device.type,
    }
    store = Store(args.checkpoints, args.run, key_of(facts, sources))
    trained, parameters = {}, 0
    processes = processes_of(settings.processes)
    check_processes(module.Model, family, processes, args.run)
    with group(processes, device) as (among, device):
        if among.rank == 0:
            store.begin(seeds)
        for seed in seeds:
            torch.manual_seed(seed)
            model = module.Model(config, data.meta)
            check_memory(model, -(-settings.batch_size // processes), args.run, device)
            parameters = sum(p.numel() for p in model.parameters())
            title = args.run if len(seeds) == 1 else f"{args.run} seed {seed}"
            unit, total = ("epochs", settings.epochs) if kernel else ("steps", settings.steps)
            progress = Progress(title, total, unit, quiet=among.rank > 0)
            try:
                trained[seed] = train(model, data, settings, seed, device, store, progress, among=among)
            except DivergedError as error:
                sys.exit(FAILED) if follows() else fail(f"run {args.run}, seed {seed}: {error}", FAILED)
    if among.rank:
        return
    processes = max(r.processes for r in trained.values())
    with new_folder(args.out) as out:
        for seed, result in trained.items():
            (out / str(seed)).mkdir()
            save_tensors(out / str(seed) / "weights.safetensors", result.weights)
        if left_out := write_vectors(out, model, {seed: result.weights for seed, result in trained.items()}, data):
            print(f"{args.run}: {left_out}", flush=True)
        write_json(
            out / "run.json",
            {
                "run": args.run,
                "family": family,
                "dataset": dataset or data.meta["dataset"],
                "domain": data.meta["domain"],
                "seeds": list(seeds),
                "model": dataclasses.asdict(config),
                "train": {**dataclasses.asdict(settings), "processes": processes},
                "parameters": parameters,
                "steps": {str(s): r.steps for s, r in trained.items()},
                "reproducible": device.type == "cpu" and processes == 1 and (settings.threads == 1 or not kernel),
                "source": key_of({}, sources_of(Path(module.__file__))),
            },
        )
    write_curve(args.reports / "curves" / f"{args.run}.csv", {s: r.curve for s, r in trained.items()})
    seconds = sum(r.seconds for r in trained.values())
    write_json(
        args.reports / "timing" / f"{args.run}.json",
        {
            "seconds": seconds,
            "examples_per_second": sum(r.examples for r in trained.values()) / max(seconds, 1e-9),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "threads": settings.threads,
            "processes": processes,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "machine": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "instructions": llvmlite.binding.get_host_cpu_name(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
    )
    store.finish(seeds)
    print(json.dumps({"run": args.run, "seconds": round(seconds, 1), "out": str(args.out)}))


if __name__ == "__main__":
    command(main)
