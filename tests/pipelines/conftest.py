"""Small DVC projects, made by the tests: two datasets, three runs, a report; each stage a few milliseconds of Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PARAMS = """\
split: {salt: a, test: 0.1}
train: {lr: 1, threads: 1}
datasets:
  shop: {domain: receipts, options: {n: 3}}
  digits: {domain: images, options: {n: 4}}
runs:
  emb: {dataset: shop, model: {d: 2}, evaluate: {}}
  vae: {dataset: digits, model: {d: 3}, evaluate: {}}
  gan: {dataset: digits, model: {d: 4}, evaluate: {k: 1}}
"""

DVC = """\
stages:
  prepare:
    foreach: ${datasets}
    do:
      cmd: python work.py prepare ${key} --out data/prepared/${key}
      deps: [work.py]
      params: [split, "datasets.${key}.options"]
      outs: ["data/prepared/${key}"]
      meta: {resource: cpu}
  train:
    foreach: ${runs}
    do:
      cmd: python work.py train ${key} --read data/prepared/${item.dataset} --out data/models/${key}
      deps: [work.py, "data/prepared/${item.dataset}"]
      params: [train, "runs.${key}.model"]
      outs: ["data/models/${key}"]
      meta: {resource: gpu}
  evaluate:
    foreach: ${runs}
    do:
      cmd: python work.py evaluate ${key} --read data/models/${key} --out reports/metrics/${key}.json
      deps: [work.py, "data/models/${key}"]
      params: ["runs.${key}.evaluate"]
      metrics:
        - reports/metrics/${key}.json: {cache: false}
      meta: {resource: cpu}
  report:
    cmd: python work.py report --read reports/metrics --out reports/index.html
    deps: [work.py, reports/metrics]
    outs: [reports/index.html]
"""

STUDY = """\
# @package _global_
runs:
  vae: {model: {d: 30}}
  more: {dataset: digits, model: {d: 9}, evaluate: {}}
"""

# what a stage does besides its output is steered by files that DVC does not watch: slow/NAME (seconds), fail/NAME, child/NAME (starts a
# process of its own), meet/NAME (goes on once the stage named there runs too)
WORK = """\
import argparse, hashlib, json, os, pathlib, subprocess, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("stage"); parser.add_argument("name", nargs="?", default="all")
parser.add_argument("--read", type=pathlib.Path); parser.add_argument("--out", type=pathlib.Path)
a = parser.parse_args()
key = f"{a.stage}-{a.name}"
began = time.time()
if pathlib.Path(f"child/{key}").is_file():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    pathlib.Path(f"child/{key}.pid").write_text(str(child.pid))
if pathlib.Path(f"meet/{key}").is_file():
    pathlib.Path(f"meet/{key}.here").touch()
    other = pathlib.Path("meet") / (pathlib.Path(f"meet/{key}").read_text() + ".here")
    while not other.is_file():
        time.sleep(0.05)
        if time.time() > began + 60:
            sys.exit("error: nobody came")
if pathlib.Path(f"slow/{key}").is_file():
    print(f"working on {key}", flush=True)
    time.sleep(float(pathlib.Path(f"slow/{key}").read_text()))
if pathlib.Path(f"fail/{key}").is_file():
    print("some detail")
    sys.exit(f"error: {key} cannot go on")
files = sorted(a.read.rglob("*")) if a.read and a.read.is_dir() else [a.read] if a.read else []
text = hashlib.sha256(b"".join(p.read_bytes() for p in files if p.is_file()) + pathlib.Path("params.yaml").read_bytes()).hexdigest()
pathlib.Path("spans").mkdir(exist_ok=True)
if a.stage == "evaluate":
    value = int(text[:4], 16) / 65536
    of = lambda mean: {"auc": {"mean": mean, "sd": 0.0, "n": 1}}
    baselines = {"spectral": of(0.5), "floor": of(0.9), "unigram": of(0.25)}
    text = json.dumps({"headline": "auc", **of(value), "baselines": baselines, "parameters": 3})
if a.out.suffix:
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(text)
else:
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "x").write_text(text)
pathlib.Path(f"spans/{key}").write_text(f"{began} {time.time()}")
"""


def sh(folder: Path, *command: str, **options) -> subprocess.CompletedProcess:
    """Run to the end with a clean environment; output as text."""
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, **options)


def environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_", "GIT_"))}
    me = {f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**mine, **me, "GIT_CONFIG_GLOBAL": "/dev/null", "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}"}


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    done = sh(folder, sys.executable, "-m", "dvc", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def repro(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return sh(folder, sys.executable, "-m", "pipelines.repro", *arguments)


def start_repro(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "pipelines.repro", *arguments], cwd=folder, env=environment(), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def until(condition, seconds: float = 60.0):
    """The first true value of `condition()`; fails the test when it does not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def steer(folder: Path, what: str, stage: str, text: str = "") -> Path:
    path = folder / what / stage
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    ignored = "/data/\n/reports/timing\n/reports/index.html\n/reports/provenance.html\n/reports/history.html\n" + (
        "/slow\n/fail\n/child\n/meet\n/spans\n")
    files = {"params.yaml": PARAMS, "dvc.yaml": DVC, "work.py": WORK, ".gitignore": ignored, ".dvcignore": "__pycache__\n"}
    for name, text in files.items():
        (folder / name).write_text(text)
    sh(folder, "git", "init", "-q")
    dvc(folder, "init", "-q")
    dvc(folder, "config", "core.autostage", "false")
    return folder


@pytest.fixture(scope="session")
def finished(fresh: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(fresh, folder)
    dvc(folder, "repro", "-q")
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-q", "-m", "all")
    return folder


@pytest.fixture(scope="session")
def profiled(finished: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("profiled") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    for key, value in (("hydra.enabled", "true"), ("hydra.config_dir", "."), ("hydra.config_name", "params")):
        dvc(folder, "config", key, value)
    (folder / "profiles").mkdir()
    (folder / "profiles/study.yaml").write_text(STUDY)
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-q", "-m", "study")
    return folder


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    """A project in git and DVC, nothing run yet."""
    return Path(shutil.copytree(fresh, tmp_path / "project"))


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """The project with everything run by DVC itself, and committed."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


@pytest.fixture
def studied(profiled: Path, tmp_path: Path) -> Path:
    """The finished project with a committed study profile."""
    return Path(shutil.copytree(profiled, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """(address, home) of a Prefect server, for the flows of the tests that are not about the private one."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui",
                                "--no-scheduler", "--no-late-runs", "--analytics-off"], env={**environment(), "PREFECT_HOME": str(home)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def up():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2).status == 200
        except OSError:
            return False

    until(up, 120)
    yield f"http://127.0.0.1:{port}/api", home
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def api(server):
    return server[0]


def read_api(api: str, kind: str, body: dict) -> list[dict]:
    """What a Prefect server answers to POST /`kind`/filter."""
    asked = urllib.request.Request(f"{api}/{kind}/filter", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(asked))


@pytest.fixture
def ended():
    """Processes to kill when the test is over, whatever it came to."""
    started: list[subprocess.Popen] = []
    yield started.append
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
