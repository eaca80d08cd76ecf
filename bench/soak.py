"""Kill -9 at random moments: of the flow, of DVC, of a stage's own process, of Prefect's server. Then start again, and see what is left.

    python -m bench.soak                    # 60 rounds, about half an hour on 2 cores
    python -m bench.soak --quick            # 6 rounds

The project is a clone of the last commit with a few small runs and a DVC cache of its own. A round is a fresh copy of it (every fourth with
nothing run at all, the others with their data prepared) and one kill, at a moment drawn evenly over the time an undisturbed flow takes, of
a process of each kind in turn (of the next one, where none runs at that moment). Then it is started until it ends well.

That must come within three starts, with dvc.lock, metrics, curves, models, samples and report equal byte for byte to those of the
undisturbed flow; with no process left, no lock held, no file half-written. What was running when the flow was killed must be gone before
the next one works, and a training that had a checkpoint must go on from it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.repro import clone

KINDS = ("flow", "dvc", "stage", "server")
STARTS = 3  # after the kill
PARAMS = """
split: {salt: baznama, valid: 0.1, test: 0.1}
validate:
  graphs: {min_rows: 20, min_nodes: 10, min_classes: 1, max_label_share: 0.95}
  images: {min_rows: 50, min_side: 2, max_side: 4096, min_value_range: 32.0, min_classes: 1}
datasets:
  karate: {domain: graphs, source: builtin, name: karate, options: {}, validate: {}, prepare: {heldout: 0.1}}
  digits: {domain: images, source: builtin, name: digits, options: {}, validate: {}, prepare: {}}
train: {device: cpu, threads: 1, checkpoint_seconds: 0.1}
claims: {}
comparisons: {}
runs:
  deepwalk: {family: random_walk, dataset: karate, features: none, seeds: [0], model: {dimension: 16, window: 5}, train: {epochs: 20},
             evaluate: {}}
  vae: {family: vae, dataset: digits, features: none, seeds: [0, 1], model: {}, train: {steps: 400}, evaluate: {samples: 200}}
"""
TRACKED = ("data/raw", "data/clean", "data/quarantine", "data/prepared", "data/models", "reports/metrics", "reports/curves",
           "reports/samples", "reports/validation", "reports/index.html", "reports/pages", "reports/assets")


class Wrong(Exception):
    """The workspace is not what it must be."""


class Project:
    """A copy of the project in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        tools = folder / ".venv" / "bin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_", "PYTHONPATH"))}
        self.environment = {**kept, "PATH": f"{tools}{os.pathsep}{kept['PATH']}", "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1",
                            "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}

    def start(self, *arguments: str, log: str = "flow.log") -> subprocess.Popen:
        with (self.folder / ".dvc/tmp" / log).open("wb") as output:
            return subprocess.Popen([sys.executable, "-m", "pipelines.repro", "--jobs", "2", *arguments], cwd=self.folder, stdout=output,
                                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True)

    def said(self, log: str = "flow.log") -> str:
        return (self.folder / ".dvc/tmp" / log).read_text(encoding="utf-8", errors="replace")

    def run(self, *arguments: str) -> float:
        """A flow to its good end; seconds."""
        began = time.monotonic()
        if self.start(*arguments).wait():
            raise Wrong(f"an undisturbed flow failed:\n{self.said()[-3000:]}")
        return time.monotonic() - began

    def processes(self) -> dict[int, str]:
        """{pid: kind} of the living processes that work here."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                place = os.readlink(folder / "cwd")
                if place != str(self.folder) and not place.startswith(f"{self.folder}/"):
                    continue
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if state not in "ZX":
                found[int(folder.name)] = kind(words, int(folder.name) == int(group), int(parent))
        return found

    def checkpoints(self) -> set[str]:
        """Runs whose training has a checkpoint and is not done."""
        return {path.parts[-3] for path in self.folder.glob("data/checkpoints/*/*/*.safetensors")
                if not (self.folder / "data/models" / path.parts[-3]).exists()}

    def bytes(self) -> dict[str, bytes]:
        files = [p for top in TRACKED for p in sorted([self.folder / top, *(self.folder / top).rglob("*")]) if p.is_file()]
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in [self.folder / "dvc.lock", *files]}


def kind(words: list[str], leads: bool, parent: int) -> str:
    """What a process is, by its command line; `leads`: it leads a process group."""
    line = " ".join(words)
    if "pipelines.repro" in words:
        return "flow"
    if re.search(r"-m prefect|prefect server", line):
        return "server"
    if re.search(r"-m stages\.(?!check|ingest\.states)", line) and not words[0].endswith("sh"):
        return "stage"
    if leads and ("forkserver" in line and "forkserver" in " ".join(command_of(parent)) or re.search(r"-m dvc", line)):
        return "dvc"
    return "other"


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def copied(source: Path, target: Path) -> Project:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    return Project(target)


def one_round(project: Project, expected: dict[str, bytes], victim: str, moment: float, api: str, rng: np.random.Generator) -> dict | float:
    """Kill, start again until it ends, compare. Its seconds where it had ended before anything could be killed. Raises Wrong."""
    own = victim == "server" or rng.random() < 0.25
    arguments = () if own else ("--api", api)
    flow = project.start(*arguments)
    began = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return well_ended(flow, project, moment)
    killed = False
    while not killed and flow.poll() is None:  # at once, or between two stages with the next
        alive, interrupted = project.processes(), project.checkpoints()
        pids = [pid for pid, name in alive.items() if name == victim]
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(pids[rng.integers(len(pids))], signal.SIGKILL)
            killed = True
        time.sleep(0 if killed else 0.02)
    if not killed:
        return moment + well_ended(flow, project, 300)
    code = flow.wait(300)
    told = [line for line in project.said().splitlines() if re.match(r"error: |FAILED |Traceback", line)]
    if "Traceback" in told:
        raise Wrong(f"a traceback after the {victim} was killed:\n{project.said()[-3000:]}")
    starts, last, resumed = 1, code, set()
    while last and starts <= STARTS:
        left = set(alive) - {flow.pid} if victim == "flow" and starts == 1 else set()
        again, began_again = project.start(*arguments), time.time()
        starts += 1
        while again.poll() is None and not re.search(r"stages to run|nothing to do", project.said()):
            time.sleep(0.05)
        if orphans := left & set(project.processes()):
            raise Wrong(f"the next flow works beside {orphans} of the one that was killed")
        last = again.wait(300)
        for run in sorted(interrupted - resumed):
            log = project.folder / f"data/.logs/train@{run}.log"
            if log.is_file() and log.stat().st_mtime > began_again:  # else it had not been hit, and ended
                if not re.search(r"goes on from|is finished, its weights", log.read_text(errors="replace")):
                    raise Wrong(f"training of {run} began anew though there was a checkpoint")
                resumed.add(run)
    if last:
        raise Wrong(f"no good end in {starts} starts after the {victim} was killed:\n{project.said()[-3000:]}")
    check(project, expected)
    return {"victim": victim, "moment": moment, "starts": starts, "seconds": time.monotonic() - began, "resumed": len(resumed),
            "told": told[0] if told else ""}


def well_ended(flow: subprocess.Popen, project: Project, seconds: float) -> float:
    """Seconds until a flow ended to which nothing was done. Raises TimeoutExpired after `seconds`, Wrong where it failed."""
    began = time.monotonic()
    if flow.wait(seconds):
        raise Wrong(f"an undisturbed flow failed:\n{project.said()[-3000:]}")
    return time.monotonic() - began


def check(project: Project, expected: dict[str, bytes]) -> None:
    """Nothing of it runs, no lock is held, nothing lies about, and all bytes are the expected ones. Raises Wrong."""
    until = time.monotonic() + 2
    while (alive := project.processes()) and time.monotonic() < until:
        time.sleep(0.05)
    if alive:
        raise Wrong(f"still running after the end: {alive}")
    for name in ("data/.prefect/lock", ".dvc/tmp/lock"):
        with (project.folder / name).open("rb+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Wrong(f"{name} is held") from None
    held = project.folder / ".dvc/tmp/rwlock"
    if held.is_file() and any(json.loads(held.read_text() or "{}").get(key) for key in ("read", "write")):
        raise Wrong(f"stuck in {held.name}: {held.read_text()}")
    found = project.bytes()
    differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if differ:
        raise Wrong(f"{len(differ)} files differ from the undisturbed ones: {', '.join(differ[:8])}")
    litter = sorted(str(p.relative_to(project.folder)) for p in project.folder.rglob("*.tmp") if p.is_file() and ".venv" not in p.parts
                    and ".git" not in p.parts and ".dvc" not in p.parts)
    litter += [str(p.name) for p in project.folder.glob("dvc.lock.*")]
    if litter:
        raise Wrong(f"half-written files left: {litter[:5]}")


@contextlib.contextmanager
def server(home: Path) -> Iterator[str]:
    """A Prefect server for the rounds that are not about the flow's own: its start costs more than all else in a round."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui", "--no-scheduler",
               "--no-late-runs", "--analytics-off"]
    with subprocess.Popen(command, env={**os.environ, "PREFECT_HOME": str(home / "prefect"), "DO_NOT_TRACK": "1"}, cwd=home,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}/api"
            until = time.monotonic() + 120
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    sys.exit("error: Prefect's server did not start")
                time.sleep(0.2)
            yield address
        finally:
            process.kill()


def prepared(folder: Path) -> tuple[Path, Path, dict[str, bytes], dict[str, float]]:
    """(a project with nothing run, one with its data prepared, the bytes of an undisturbed flow, its seconds from each)."""
    cold = clone(folder / "cold")
    for name in ("dvc.lock", "data/sources.json"):
        (cold / name).unlink(missing_ok=True)
    for top in ("reports/metrics", "reports/curves", "reports/claims"):
        shutil.rmtree(cold / top, ignore_errors=True)
    (cold / "reports/claims").mkdir(parents=True)  # none is made, and the report's stage reads the folder
    (cold / "reports/claims/.gitkeep").touch()
    (cold / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (cold / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    for command in (["add", "-A"], ["-c", "user.name=soak", "-c", "user.email=soak@localhost", "commit", "-q", "-m", "A small project"]):
        subprocess.run(["git", *command], cwd=cold, check=True, capture_output=True)
    whole = copied(cold, folder / "round")  # always this path: none may come into the bytes by chance
    whole.run()  # compiles the kernels, and makes Prefect's database
    for cache in [*whole.folder.rglob("__pycache__")]:
        if ".venv" not in cache.parts:
            shutil.copytree(cache, cold / cache.relative_to(whole.folder), dirs_exist_ok=True)
    (cold / "data/.prefect").mkdir(parents=True, exist_ok=True)
    shutil.copy(whole.folder / "data/.prefect/prefect.db", cold / "data/.prefect/prefect.db")
    expected = whole.bytes()
    seconds = {"cold": copied(cold, folder / "round").run()}
    check(Project(folder / "round"), expected)
    warm = copied(cold, folder / "round")
    warm.run("prepare")
    shutil.copytree(warm.folder, folder / "warm", symlinks=True)
    seconds["warm"] = warm.run()
    check(warm, expected)
    return cold, folder / "warm", expected, seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="6 rounds")
    parser.add_argument("--keep", type=Path, help="copy the workspace of a round that went wrong to this folder")
    options = parser.parse_args()
    rounds = 6 if options.quick else options.rounds
    done, wrong, number = [], [], 0
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name, server(Path(name)) as api:
        folder = Path(name).resolve()
        cold, warm, expected, seconds = prepared(folder)
        print(f"{len(expected)} files; undisturbed {seconds['cold']:.1f} s from nothing, {seconds['warm']:.1f} s with data prepared")
        print(f"{'round':>5}  {'begins':6}  {'killed':6}  {'after s':>7}  {'starts':>6}  {'resumed':>7}  {'seconds':>7}  told", flush=True)
        while len(done) + len(wrong) < rounds:
            begins = "cold" if len(done) % 4 == 3 else "warm"
            rng = np.random.default_rng([options.seed, number])
            number += 1
            project = copied(cold if begins == "cold" else warm, folder / "round")
            moment = float(rng.uniform(0, seconds[begins]))
            victim = KINDS[number % len(KINDS)]
            try:
                result = one_round(project, expected, victim, moment, api, rng)
            except (Wrong, subprocess.TimeoutExpired) as error:
                print(f"{number:5}  {begins:6}  WRONG: {error}", flush=True)
                wrong.append(str(error))
                if options.keep:
                    shutil.copytree(project.folder, options.keep / str(number), symlinks=True)
                continue
            finally:
                for pid in project.processes():  # also when this program is ended
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if isinstance(result, float):
                seconds[begins] = min(seconds[begins], result)  # the machine is less busy now
            else:
                done.append(result)
                print(f"{number:5}  {begins:6}  {result['victim']:6}  {moment:7.1f}  {result['starts']:6}  {result['resumed']:7}  "
                      f"{result['seconds']:7.1f}  {result['told'][:100]}", flush=True)
    killed = Counter(result["victim"] for result in done)
    print(json.dumps({"name": "kill -9 at random moments, then start again", "rounds": len(done) + len(wrong), "wrong": len(wrong),
                      "killed": {kind: killed[kind] for kind in KINDS}, "resumed": sum(bool(r["resumed"]) for r in done),
                      "starts": max((r["starts"] for r in done), default=0), "unit": "rounds"}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
