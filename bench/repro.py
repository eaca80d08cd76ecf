"""The default pipeline from a fresh clone: `python -m pipelines.repro` against `dvc repro`, in turn, each with nothing cached.

    python -m bench.repro --pairs 3                    # the whole pipeline; about 5 minutes a pair on 2 cores
    python -m bench.repro --quick                      # one run and what it needs, once
    python -m bench.repro evaluate@vae --jobs 2        # any targets

Every start is a clone of the last commit with a DVC cache of its own: no data, no run cache, no compiled kernels. Wall and CPU seconds
are of the command with all its descendants, Prefect's server included. Quality is the share of files that came out byte for byte as
`dvc repro`'s: dvc.lock, metrics and curves.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.pairs import Timed, alternate, closing_line

ROOT = Path(__file__).parents[1]
QUICK = ("evaluate@vae",)


def clone(folder: Path) -> Path:
    """A fresh clone of the last commit, with the project's own environment linked into it."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def measured(folder: Path, command: list[str]) -> Timed:
    """Run `command` in a fresh clone; the result is the bytes of what it left in git's sight."""
    clone(folder)
    tools = folder / ".venv" / "bin"
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([str(tools / "python"), *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed in a fresh clone:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    paths = [folder / "dvc.lock", *sorted(folder.glob("reports/metrics/*.json")), *sorted(folder.glob("reports/curves/*.csv"))]
    left = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return Timed(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, left)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.repro", description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", help="stages; without any, the whole pipeline")
    parser.add_argument("--jobs", type=int, default=2, help="stages at a time of ours (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=f"one pair of {' '.join(QUICK)}")
    options = parser.parse_args()
    if options.quick:
        options.targets, options.pairs = [*QUICK], 1
    with tempfile.TemporaryDirectory(prefix="bench-repro-") as folder:
        place = Path(folder) / "clone"

        def peer(_: int) -> Timed:
            return measured(place, ["-m", "dvc", "repro", *options.targets])

        def ours(_: int) -> Timed:
            return measured(place, ["-m", "pipelines.repro", "--jobs", str(options.jobs), *options.targets])

        print(f"{'':24}{'wall s':>8}{'CPU s':>8}", flush=True)
        runs = []
        for _ in range(max(options.pairs, 1)):
            runs += alternate(peer, ours, 1)
            for name, run in zip(("dvc repro", f"pipelines.repro --jobs {options.jobs}"), runs[-1], strict=True):
                print(f"{name:24}{run.wall:8.1f}{run.cpu:8.1f}", flush=True)
    same = [sum(ours.result.get(path) == data for path, data in peer.result.items()) / len(peer.result) for peer, ours in runs]
    rates = [[1 / run[side].wall for run in runs] for side in (0, 1)]
    name = f"a cold pipeline: dvc repro 3.67, ours with --jobs {options.jobs}"
    wall = sorted(ours.wall / peer.wall for peer, ours in runs)[len(runs) // 2]
    print(closing_line(name, *rates, 1.0, min(same), "pipelines/s", ratio_wall=wall))


if __name__ == "__main__":
    main()
