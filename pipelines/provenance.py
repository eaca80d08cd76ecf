"""What the results rest on: commit, parameters, data, versions, machine, durations. Rendered beside the report, outside DVC and git."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.processes import Outcome
from pipelines.summary import read_yaml
from stages.files import replacing

PAGE = Path("reports/provenance.html")
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
    page = template.render(facts=facts(root), seconds=sorted(seconds.items()), total=sum(seconds.values()), bad=bad)
    path = root / PAGE
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
