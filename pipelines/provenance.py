"""What the results rest on: commit, parameters, data, versions, machine, durations. Rendered beside the report, outside DVC and git."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.processes import Outcome
from pipelines.summary import runs_of
from pipelines.yaml_file import read_yaml
from stages.files import replacing, write_json

PAGE = Path("reports/provenance.html")
REPORT = Path("reports/index.html")
RECORD = Path("reports/provenance.json")
# vector and matrix extensions, as /proc/cpuinfo names them: they decide how libraries order and round sums
INSTRUCTIONS = re.compile(r"avx|amx|fma|sse4|asimd|sve|sme2?$|bf16")
NO_NUMBERS = ("dvc", "prefect", "altair")  # libraries that move and draw numbers and compute none
NOT_RUN = Outcome("not run")
LIBRARIES = ("torch", "numpy", "numba", "scipy", "scikit-learn", "polars", "pyarrow", "great-expectations", "torchmetrics", "safetensors",
             "networkx", "dvc", "prefect", "altair")


def facts(root: Path) -> dict:
    """Everything the page and a published result say of their origin, as plain data."""
    lock = read_yaml(root / "dvc.lock").get("stages") or {}
    return {
        "commit": git(root, "rev-parse", "HEAD") or None,
        "changed": [line for line in git(root, "status", "--porcelain").splitlines() if line],
        "params": hashlib.sha256((root / "params.yaml").read_bytes()).hexdigest() if (root / "params.yaml").is_file() else None,
        "data": outputs(lock),
        "versions": versions(),
        "machine": machine(),
    }


def git(root: Path, *arguments: str) -> str:
    """git's answer without the last line end; empty where there is no repository or no git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""


def outputs(lock: Mapping) -> list[dict]:
    """Path, MD5, size and number of files of every DVC output under data/ and reports/metrics/, by path."""
    found = {out["path"]: out for stage in lock.values() for out in stage.get("outs", ())}
    return [{"path": path, "md5": out.get("md5"), "size": out.get("size"), "files": out.get("nfiles", 1)}
            for path, out in sorted(found.items()) if path.startswith(("data/", "reports/metrics/"))]


def versions() -> dict[str, str]:
    """{library: version} of what is installed, Python's first."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """What the results ran on, as far as it can be told without a library."""
    found = {"system": platform.platform(), "processor": processor(), "cores": str(os.cpu_count()),
             "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"}
    for number, card in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))):
        found[f"device {number}"] = entry(card, "Model") or "NVIDIA"
    return found


def environment() -> dict:
    """What can change bytes: system, processor, its vector instructions, graphics devices, libraries. The same on machines of one kind."""
    flags = (entry(Path("/proc/cpuinfo"), "flags") or entry(Path("/proc/cpuinfo"), "Features")).split()
    devices = {key: name for key, name in machine().items() if key.startswith("device ")}
    return {"system": f"{platform.system()} {platform.machine()}", "processor": processor(),
            "instructions": sorted(flag for flag in set(flags) if INSTRUCTIONS.match(flag)), **devices,
            "versions": {name: version for name, version in versions().items() if name not in NO_NUMBERS}}


def record(root: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Note in reports/provenance.json, which is in git, on what the runs trained or measured by this flow ran.

    A run that DVC found unchanged or took from its cache keeps its entry, so that a rerun with nothing to do changes no byte. DVC does not
    know the file: it may differ between machines whose results do not.
    """
    ran = {run for run in runs_of(outcomes) for group in ("train", "evaluate") if outcomes.get(f"{group}@{run}", NOT_RUN).state == "done"}
    if not ran:
        return
    path = root / RECORD
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        environments, runs = dict(old["environments"]), dict(old["runs"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: git has what it was
        environments, runs = {}, {}
    now = environment()
    key = hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:12]
    there = {file.stem for file in (root / "reports" / "metrics").glob("*.json")}
    runs = {run: value for run, value in sorted({**runs, **dict.fromkeys(ran, key)}.items()) if run in there}
    environments = {name: content for name, content in sorted({**environments, key: now}.items()) if name in runs.values()}
    write_json(path, {"environments": environments, "runs": runs})


def processor() -> str:
    return entry(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def entry(path: Path, key: str) -> str:
    """The value of the first `key : value` line of a file of /proc; empty where there is none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def render(root: Path, seconds: Mapping[str, float], outcomes: Mapping[str, Outcome]) -> Path:
    """Write reports/provenance.html; the same facts give the same bytes. `seconds` of every stage ever timed, `outcomes` of this flow."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    bad = {name: outcome for name, outcome in outcomes.items() if outcome.state in ("failed", "not run", "interrupted")}
    template = environment.get_template("provenance.html")
    path = root / PAGE
    page = template.render(facts=facts(root), seconds=sorted(seconds.items()), total=sum(seconds.values()), bad=bad,
                           report=REPORT.name if (root / REPORT).is_file() else None)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
