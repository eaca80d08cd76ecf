"""`python -m bench [NAMES] [--quick] [--record]`: run the benchmarks in turn; `--record` keeps the closing lines in bench/results/."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = ("__init__", "__main__", "images", "pairs")


def machine() -> dict:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return {"processor": names[0] if names else platform.machine(), "cores": cores, "python": platform.python_version()}


def main() -> None:
    known = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in HELPERS)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the benchmarks in turn.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all without any")
    parser.add_argument("--quick", action="store_true", help="smaller work, about a minute each")
    parser.add_argument("--record", action="store_true", help="write bench/results/NAME.json (not with --quick)")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"unknown benchmark {name!r}; allowed: {', '.join(known)}")
    if options.quick and options.record:
        parser.error("--record keeps full runs only; leave out --quick")
    for name in options.names or known:
        command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if options.quick else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            last = ""
            for line in child.stdout:
                print(line, end="", flush=True)
                last = line if line.strip() else last
        if child.returncode:
            sys.exit(child.returncode)
        if options.record:
            (HERE / "results").mkdir(exist_ok=True)
            (HERE / "results" / f"{name}.json").write_text(json.dumps({**json.loads(last), **machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
