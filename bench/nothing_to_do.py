"""Nothing to do: `python -m pipelines.repro` against `dvc status`, in turn, on made-up projects of 130 and of 350 stages.

A project has the shape of the real one: a third of its runs' number of datasets, each read, validated and prepared, every run trained on
one of them and evaluated, a report at the end; foreach over params.yaml, a dozen small dependencies a stage. Nothing is run: the outputs
are written here and `dvc commit` declares them up to date. Quality is the share of answers that say so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.pairs import Timed, alternate, closing_line

ROOT = Path(__file__).parents[1]
SIZES = (130, 350)
SHARED = tuple(f"code/shared{i}.py" for i in range(8))  # what every stage depends on


def group(over: str, command: str, deps: list[str], params: list[str], outs: list[str]) -> dict:
    return {"foreach": f"${{{over}}}", "do": {"cmd": command, "deps": [*SHARED, *deps], "params": params, "outs": outs}}


def make(folder: Path, stages: int) -> int:
    """Write a project of about `stages` stages into `folder`; returns how many it has."""
    runs = (stages - 1) // 3
    sets = max((stages - 1 - 2 * runs) // 3, 1)
    params = {"split": {"salt": "a", "test": 0.1}, "train": {"threads": 1},
              "datasets": {f"data{i}": {"domain": "receipts", "options": {"n": i}} for i in range(sets)},
              "runs": {f"run{i}": {"dataset": f"data{i % sets}", "model": {"dimension": i}, "evaluate": {}} for i in range(runs)}}
    text = {"stages": {
        "ingest": group("datasets", "mkdir -p data/raw/${key} && echo ${key} > data/raw/${key}/x", [], ["datasets.${key}.options"],
                        ["data/raw/${key}"]),
        "validate": group("datasets", "cp -r data/raw/${key} data/clean/${key}", ["data/raw/${key}"], ["datasets.${key}.domain"],
                          ["data/clean/${key}"]),
        "prepare": group("datasets", "cp -r data/clean/${key} data/prepared/${key}", ["data/clean/${key}"], ["split"],
                         ["data/prepared/${key}"]),
        "train": group("runs", "cp -r data/prepared/${item.dataset} data/models/${key}", ["data/prepared/${item.dataset}"],
                       ["train", "runs.${key}.model"], ["data/models/${key}"]),
        "evaluate": group("runs", "cp data/models/${key}/x reports/metrics/${key}.json", ["data/models/${key}"], ["runs.${key}.evaluate"],
                          [{"reports/metrics/${key}.json": {"cache": False}}]),
        "report": {"cmd": "ls reports/metrics > reports/index.html", "deps": [*SHARED, "reports/metrics"], "outs": ["reports/index.html"]}}}
    for name in SHARED:
        write(folder / name, name)
    for name in params["datasets"]:
        for place in ("raw", "clean", "prepared"):
            write(folder / "data" / place / name / "x", f"{name}\n")
    for name, entry in params["runs"].items():
        write(folder / "data/models" / name / "x", f"{entry['dataset']}\n")
        write(folder / "reports/metrics" / f"{name}.json", json.dumps({"headline": "auc", "auc": {"mean": 0.5}}))
    write(folder / "reports/index.html", "\n".join(params["runs"]))
    (folder / "params.yaml").write_text(json.dumps(params, indent=1))  # JSON is YAML
    (folder / "dvc.yaml").write_text(json.dumps(text, indent=1))
    (folder / ".gitignore").write_text("/data/\n/reports/\n")
    run(folder, "git", "init", "--quiet")
    run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    run(folder, sys.executable, "-m", "dvc", "config", "core.autostage", "false")
    run(folder, sys.executable, "-m", "dvc", "commit", "--force", "--quiet")
    return 3 * sets + 2 * runs + 1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}: {done.stderr[-2000:]}")
    return done


def timed(folder: Path, words: str, *command: str) -> Timed:
    began = time.perf_counter()
    before = os.times()
    found = words in run(folder, *command).stdout
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Timed(time.perf_counter() - began, cpu, found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nothing_to_do", description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help=f"{SIZES[0]} stages alone, three pairs")
    options = parser.parse_args()
    if options.quick:
        options.pairs = 3
    print(f"{'stages':>8}  {'':18}{'wall s':>8}{'CPU s':>8}", flush=True)
    more = {}
    for size in SIZES[:1] if options.quick else SIZES:
        with tempfile.TemporaryDirectory(prefix="bench-nothing-") as name:
            folder = Path(name)
            stages = make(folder, size)
            peer = lambda _, folder=folder: timed(folder, "up to date", sys.executable, "-m", "dvc", "status")  # noqa: E731
            ours = lambda _, folder=folder: timed(folder, "up to date", sys.executable, "-m", "pipelines.repro")  # noqa: E731
            runs = alternate(peer, ours, max(options.pairs, 1))
        for pair in runs:
            for what, side in zip(("dvc status", "pipelines.repro"), pair, strict=True):
                print(f"{stages:8}  {what:18}{side.wall:8.2f}{side.cpu:8.2f}", flush=True)
        ratios = sorted(b.wall / a.wall for a, b in runs)
        more[f"ratio_wall_{size}"] = ratios[len(ratios) // 2]
    rates = [[1 / pair[side].wall for pair in runs] for side in (0, 1)]
    found = [sum(pair[side].result for pair in runs) / len(runs) for side in (0, 1)]
    print(closing_line(f"nothing to do, {size} stages: dvc status 3.67, ours", *rates, *found, "runs/s", **more))


if __name__ == "__main__":
    main()
