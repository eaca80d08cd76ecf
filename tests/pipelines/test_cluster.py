"""Stages on the workers of a real Dask cluster, two processes in folders of their own, data through a real remote."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from pipelines import schedule
from pipelines.cluster import coordinator, storage
from pipelines.graph import Graph, plan
from pipelines.processes import Processes
from stages.settings import InputError
from tests.pipelines.conftest import ROOT, alive, dvc, environment, repro, sh, steer, until

pytestmark = pytest.mark.xdist_group("prefect")  # shares its server

PARAMS = "seed: 1\nruns: {a: {dataset: all, k: 1}, b: {dataset: all, k: 2}}\n"

DVC = """\
stages:
  prepare:
    cmd: python work.py prepare all --out data/prepared
    deps: [work.py]
    params: [test, seed]
    outs: [data/prepared]
  train:
    foreach: [a, b]
    do:
      cmd: python work.py train ${item} --read data/prepared --out data/models/${item}
      deps: [work.py, data/prepared]
      params: ["runs.${item}"]
      outs: ["data/models/${item}"]
      metrics:
        - reports/metrics/${item}.json: {cache: false}
  report:
    cmd: python work.py report all --read reports/metrics --out reports/index.html
    deps: [work.py, reports/metrics]
    outs: [reports/index.html]
"""

# steered through a folder outside of all workspaces: HERE/meet waits for the other training, HERE/hang/NAME hangs once, HERE/fail/NAME
# fails
WORK = """\
import argparse, hashlib, os, pathlib, subprocess, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("stage"); parser.add_argument("name")
parser.add_argument("--read", type=pathlib.Path); parser.add_argument("--out", type=pathlib.Path)
a = parser.parse_args()
here = pathlib.Path(os.environ["HERE"])
print(f"{a.stage} {a.name} at work", flush=True)
hang = here / "hang" / f"{a.stage}-{a.name}"
if hang.is_file():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    a.out.mkdir(parents=True)
    (a.out / "half").write_text("half a result")
    hang.rename(hang.with_suffix(".now"))
    hang.with_suffix(".pid").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(300)
if (here / "meet").is_dir() and a.stage == "train":
    (here / "meet" / a.name).touch()
    until = time.time() + 60
    while len(list((here / "meet").iterdir())) < 2:
        time.sleep(0.05)
        if time.time() > until:
            sys.exit("error: nobody came")
if (here / "fail" / f"{a.stage}-{a.name}").is_file():
    print("some detail")
    sys.exit(f"error: {a.name} cannot go on")
files = sorted(a.read.rglob("*")) if a.read else []
text = hashlib.sha256(b"".join(p.read_bytes() for p in files if p.is_file()) + pathlib.Path("params.yaml").read_bytes()).hexdigest()
if a.out.suffix:
    a.out.write_text(text)
else:
    a.out.mkdir(parents=True)
    (a.out / "x").write_text(text + a.name)
if a.stage == "train":
    for folder in ("metrics", "timing"):
        pathlib.Path(f"reports/{folder}").mkdir(parents=True, exist_ok=True)
        pathlib.Path(f"reports/{folder}/{a.name}.json").write_text('{"headline": "auc", "auc": {"mean": 0.5, "sd": null, "n": 1}}')
"""
IGNORED = "/data/\n/reports/timing\n/reports/index.html\n/reports/provenance.html\n__pycache__/\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The folder through which tests steer stages, wherever they run."""
    folder = tmp_path_factory.mktemp("here")
    os.environ["HERE"] = str(folder)
    return folder


@pytest.fixture
def steered(here):
    for path in here.iterdir():
        shutil.rmtree(path)
    return here


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Address of an S3-compatible server with the bucket `storage`; its keys are in the environment, as a worker's would be."""
    port = free_port()
    os.environ.update({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
                       "AWS_EC2_METADATA_DISABLED": "true"})
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], env=environment(), stdout=log,
                              stderr=log, start_new_session=True)
    until(lambda: answers(port), 60)
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/storage", method="PUT")).close()
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def worker_environment(folder: Path) -> dict[str, str]:
    """A worker has the packages and nothing of the project: what it runs of that was sent to it."""
    return {name: value for name, value in environment().items() if name != "PYTHONPATH"} | {"BAZNAMA_WORKER_DIR": str(folder)}


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Dask:
    """A scheduler and workers, each a process with a folder of its own."""

    def __init__(self, folder: Path):
        self.folder, self.port, self.workers, self._all = folder, free_port(), {}, []
        self.address = f"dask://127.0.0.1:{self.port}"
        self._start("scheduler", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard",
                    "--no-show")
        until(lambda: answers(self.port), 60)
        for name in ("one", "two"):
            self.start_worker(name)

    def _start(self, name: str, module: str, *arguments: str) -> subprocess.Popen:
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / name / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=self.folder / name, stdout=log, stderr=log,
                                       env=worker_environment(self.folder / name / "work"),
                                       start_new_session=True)
        self._all.append(process)
        return process

    def start_worker(self, name: str) -> None:
        self.workers[name] = self._start(name, "distributed.cli.dask_worker", f"tcp://127.0.0.1:{self.port}", "--nthreads", "1",
                                         "--no-nanny", "--no-dashboard", "--name", name)

    def close(self) -> None:
        for process in self._all:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster(here, s3, tmp_path_factory):
    started = Dask(tmp_path_factory.mktemp("dask"))
    yield started
    started.close()


@pytest.fixture
def project(initial, here, tmp_path) -> Path:
    """The small project in git, with a folder as its remote; nothing of it ever ran on a worker."""
    folder = Path(shutil.copytree(initial, tmp_path / "project"))
    (tmp_path / "storage").mkdir()
    (folder / "params.yaml").write_text(f"test: {tmp_path.name}\n{PARAMS}")
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-q", "-m", "all")
    return folder


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("initial")
    for name, text in {"dvc.yaml": DVC, "work.py": WORK, ".gitignore": IGNORED, ".dvcignore": "__pycache__\n"}.items():
        (folder / name).write_text(text)
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "stages").mkdir()
    for name in ("settings.py", "files.py", "command.py"):
        shutil.copy(ROOT / "stages" / name, folder / "stages")
    (folder / "stages/__init__.py").write_text("from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n")
    sh(folder, "git", "init", "-q")
    dvc(folder, "init", "-q")
    (folder / ".dvc/config").write_text("[core]\n    remote = shared\n['remote \"shared\"']\n    url = ../../storage\n")
    return folder


def run(folder: Path, address: str, targets=(), remote=None, begun=None):
    """(outcomes, lines of each stage) of a flow on a cluster, without Prefect: the schedule and the coordinator alone."""
    wanted = plan(Graph(folder), targets)
    finished, lines = queue.Queue(), {name: [] for name in wanted.stages}
    with Processes() as processes, coordinator.connected(folder, wanted, address, remote, strict=True) as there:
        if begun:
            begun(there, processes)

        def start(stage, slot):
            def work():
                outcome = there.run(stage.name, processes, folder / "data" / ".logs" / f"{stage.name}.log", lines[stage.name].append,
                                    lambda text: None, False)
                finished.put((stage.name, outcome))
            threading.Thread(target=work).start()

        return schedule.run(wanted.stages, there.slots, start, finished, {}, lambda: processes.ending), lines


def outputs(folder: Path) -> dict[str, bytes]:
    files = [p for top in ("data/prepared", "data/models", "reports/metrics") for p in sorted((folder / top).rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in [*files, folder / "reports/index.html", folder / "dvc.lock"]}


def as_local(folder: Path) -> dict[str, bytes]:
    """What `dvc repro` leaves in a clone."""
    clone = folder.parent / "local"
    sh(folder.parent, "git", "clone", "-q", str(folder), str(clone))
    dvc(clone, "repro", "-q")
    return outputs(clone)


def states(outcomes) -> dict[str, str]:
    return {name: outcome.state for name, outcome in outcomes.items()}


def test_a_flow_on_dask_leaves_what_dvc_repro_leaves(cluster, project, steered, server):
    """The command as a user runs it: two stages side by side on two workers, through Prefect and a folder as the remote."""
    (steered / "meet").mkdir()
    (project / "notes").write_text("not committed")
    flow = repro(project, "--runner", cluster.address, "--api", server[0])
    assert flow.returncode == 0, flow.stderr + flow.stdout
    assert flow.stderr == "note: workers get the workspace as it is now, with changes that are not committed: notes\n"
    assert flow.stdout.splitlines()[0] == "4 of 4 stages to run on 2 workers, 2 at a time"
    shutil.rmtree(steered / "meet")
    assert outputs(project) == as_local(project)
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."
    assert (project / "reports/timing/a.json").is_file()  # beside the outputs
    logs = {name: (project / f"data/.logs/{name}.log").read_text() for name in ("train@a", "train@b")}
    assert {log.splitlines()[0] for log in logs.values()} == {"on one", "on two"}
    assert "train a at work" in logs["train@a"]


def test_data_goes_through_s3_and_what_ran_once_is_restored_for_everyone(cluster, s3, project, steered):
    with (project / ".dvc/config").open("a") as config:
        for name, bucket in (("bucket", "storage"), ("absent", "absent")):
            config.write(f"['remote \"{name}\"']\n    url = s3://{bucket}/project\n    endpointurl = {s3}\n")
    with pytest.raises(InputError, match=r"remote absent \(s3://absent/project\): cannot be read from here: "):
        storage.answers(project, *storage.choose(project, "absent"))
    outcomes, _ = run(project, cluster.address, ["prepare"], "bucket")
    assert states(outcomes) == {"prepare": "done"}
    assert dvc(project, "status", "prepare").stdout.strip() == "Data and pipelines are up to date."
    clone = project.parent / "clone"
    sh(project.parent, "git", "clone", "-q", str(project), str(clone))
    shutil.copy(project / ".dvc/config", clone / ".dvc/config")
    outcomes, lines = run(clone, cluster.address, ["train@a"], "bucket")
    assert states(outcomes) == {"prepare": "restored", "train@a": "done"}
    assert not any("at work" in text for text in lines["prepare"]) and "train a at work" in lines["train@a"]
    assert (clone / "dvc.lock").read_bytes().startswith((project / "dvc.lock").read_bytes())
    assert (clone / "data/prepared/x").read_bytes() == (project / "data/prepared/x").read_bytes()


def test_a_stage_whose_worker_is_killed_runs_on_another(cluster, project, steered):
    steer(steered, "hang", "train-a")
    dvc(project, "repro", "-q", "prepare")  # here: the coordinator pushes it to the remote

    def killer(there, processes):
        def kill():
            until(lambda: (steered / "hang" / "train-a.pid").is_file())
            time.sleep(0.1)
            name = there.slots.of("train@a")[0].label
            os.kill(cluster.workers[name].pid, signal.SIGKILL)
            cluster.start_worker(name)
        threading.Thread(target=kill).start()

    outcomes, lines = run(project, cluster.address, ["train@a"], begun=killer)
    assert states(outcomes) == {"train@a": "done"}
    assert any(re.fullmatch(r"worker (one|two) went away.*; train@a begins again on another worker", text) for text in lines["train@a"])
    assert [text[:3] for text in lines["train@a"]].count("on ") == 2
    assert sorted(p.name for p in (project / "data/models/a").iterdir()) == ["x"]
    pids = [int(pid) for pid in (steered / "hang" / "train-a.pid").read_text().split()]
    until(lambda: not any(map(alive, pids)), 10)  # nothing of the first try is left on the machine
    assert dvc(project, "status", "train@a").stdout.strip() == "Data and pipelines are up to date."


def test_a_failing_stage_is_told_with_its_own_line_and_leaves_no_old_result(cluster, project, steered):
    dvc(project, "repro", "-q")
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("k: 1", "k: 3"))
    steer(steered, "fail", "train-a")
    outcomes, lines = run(project, cluster.address)
    assert states(outcomes) == {"train@a": "failed", "report": "not run"}
    assert (outcomes["train@a"].error, outcomes["train@a"].tail) == ("error: a cannot go on", ("train a at work", "some detail"))
    assert "some detail" in (project / "data/.logs/train@a.log").read_text()
    assert not (project / "data/models/a").exists()
    # a change that changes nothing downstream: DVC here says so, and no worker is asked
    (steered / "fail" / "train-a").unlink()
    outcomes, lines = run(project, cluster.address)
    assert states(outcomes) == {"train@a": "done", "report": "unchanged"} and lines["report"] == []


def test_a_flow_that_is_ended_ends_its_stage_on_the_worker(cluster, project, steered):
    steer(steered, "hang", "prepare-all")
    pids = []

    def ender(there, processes):
        def end():
            until(lambda: (steered / "hang" / "prepare-all.pid").is_file())
            pids.extend(int(pid) for pid in (steered / "hang" / "prepare-all.pid").read_text().split())
            processes.end()
        threading.Thread(target=end).start()

    outcomes, _ = run(project, cluster.address, ["prepare"], begun=ender)
    assert states(outcomes) == {"prepare": "interrupted"}
    until(lambda: not any(map(alive, pids)), 20)
    assert not (project / "dvc.lock").exists() and not (project / "data/prepared").exists()


@pytest.fixture
def nodes(here, tmp_path, monkeypatch):
    """Two nodes of Ray on this machine, one stage at a time on each."""
    # a token of whoever runs the tests (~/.ray/auth_token) would be shown by the flow and not asked for here
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", **worker_environment(tmp_path / "work")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    started.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    yield started
    started.shutdown()


def test_stages_run_side_by_side_on_ray(nodes, project, steered):
    (steered / "meet").mkdir()
    outcomes, lines = run(project, "ray://auto", ["train"])
    assert states(outcomes) == dict.fromkeys(("prepare", "train@a", "train@b"), "done")
    assert lines["train@a"][0] != lines["train@b"][0] and "train b at work" in lines["train@b"]
    assert dvc(project, "status", "train").stdout.strip() == "Data and pipelines are up to date."


def test_a_cluster_that_has_another_token_than_the_flow_is_told(nodes, project, tmp_path):
    """Only the flow shows a token: its tasks run and what they yield never arrives."""
    (tmp_path / "token").write_text("0" * 64)
    script = "import pipelines.cluster.ray as there; there.ANSWER = 5; from pipelines import repro; repro.command(repro.main)"
    shown = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"), "RAY_ADDRESS": nodes.address}
    asked = subprocess.run([sys.executable, "-c", script, "prepare", "--runner", "ray://auto", "--remote", "shared"], cwd=project,
                           env={**environment(), **shown}, capture_output=True, text=True, timeout=100)
    assert asked.returncode == 2 and "was asked and does not answer within 5 s" in asked.stderr, asked.stderr + asked.stdout
