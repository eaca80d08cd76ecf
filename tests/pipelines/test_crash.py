"""After kill -9 of anything, and after a full disk: nothing runs on, one line says it, the next start ends where an undisturbed one does.

A few moments only; `python -m bench.soak` draws them at random, on real trainings.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import lockfile
from pipelines.workspace import locked
from tests.pipelines.conftest import alive, dvc, repro, sh, start_repro, steer, until
from tests.pipelines.test_flow import outputs

pytestmark = pytest.mark.xdist_group("prefect")


def working(folder: Path) -> dict[int, list[str]]:
    """{pid: command line} of the living processes whose working folder is `folder`."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder) and alive(int(process.name)):
                found[int(process.name)] = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
    return found


def working_stage(folder: Path, name: str) -> int:
    """The pid of the stage's own process, once it runs."""
    return until(lambda: [pid for pid, words in working(folder).items() if words[1:4] == ["work.py", *name.split("-")]])[0]


def released(folder: Path) -> bool:
    with (folder / "data/.prefect/lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    held = folder / ".dvc/tmp/rwlock"
    return not held.is_file() or not any(json.loads(held.read_text() or "{}").values())


def test_dvc_the_stage_and_the_flow_are_killed_one_after_another(done, finished, api, ended):
    """And while the first flow works a second one is refused and a third one waits."""
    slow = steer(done, "slow", "train-vae", "120")
    arguments = ["--api", api, "--force", "train@vae"]

    first = start_repro(done, *arguments)
    ended(first)
    stage = working_stage(done, "train-vae")
    os.kill(os.getpgid(stage), signal.SIGKILL)  # DVC leads the group of what it started
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 1 and "FAILED train@vae: DVC was killed by SIGKILL" in output, output
    assert not alive(stage) and not working(done)

    second = start_repro(done, *arguments)
    ended(second)
    os.kill(working_stage(done, "train-vae"), signal.SIGKILL)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1 and "FAILED train@vae: " in output and "Traceback" not in output, output
    assert not working(done)

    third = start_repro(done, *arguments)
    ended(third)
    stage = working_stage(done, "train-vae")
    refused = repro(done)
    assert refused.returncode == 2 and refused.stderr.startswith(f"error: another flow runs in this workspace: pid {third.pid}, since ")
    waiting = start_repro(done, "--api", api, "--wait")
    ended(waiting)
    time.sleep(0.5)
    slow.unlink()
    third.kill()
    third.communicate()
    output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and not alive(stage), output
    assert outputs(done) == outputs(finished) and released(done) and not working(done)


def test_the_flow_goes_on_when_its_prefect_server_is_killed(done, finished, server, ended):
    steer(done, "slow", "train-vae", "3")
    (done / "data/.prefect").mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(server[1] / "prefect.db") as made, sqlite3.connect(done / "data/.prefect/prefect.db") as copy:
        made.backup(copy)
    flow = start_repro(done, "--force", "train@vae")
    ended(flow)
    working_stage(done, "train-vae")
    until(lambda: "working on" in (done / "data/.logs/train@vae.log").read_text())
    (victim,) = [pid for pid, words in working(done).items() if "prefect" in words]
    os.kill(victim, signal.SIGKILL)
    output, _ = flow.communicate(timeout=120)
    assert flow.returncode == 0, output
    assert "Traceback" not in output and "error" not in output, output
    assert outputs(done) == outputs(finished) and not working(done)
    with sqlite3.connect(done / "data/.prefect/prefect.db") as database:
        (state,) = database.execute("select state_type from flow_run order by created desc limit 1").fetchone()
    assert state == "COMPLETED"


def test_what_killed_commands_left_in_dvcs_list_of_held_paths_goes(tmp_path):
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    gone, other = (subprocess.Popen([sys.executable, "-c", code]) for code in ("", "import time; time.sleep(60)"))
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro"])
    gone.wait()
    entries = [{"pid": process.pid, "cmd": "dvc repro"} for process in (gone, other, living)]  # the second number is a program's now
    path.write_text(json.dumps({"read": {"/a": entries, "/b": entries[:2]}, "write": {"/c": entries[0], "/d": entries[2]}}))
    with locked(tmp_path):
        assert json.loads(path.read_text()) == {"read": {"/a": entries[2:]}, "write": {"/d": entries[2]}}
    path.write_text('{"read": {"/a"')
    with locked(tmp_path):
        assert not path.exists()
    for process in (other, living):
        process.kill()
        process.wait()


def test_what_dvc_left_half_copied_in_its_cache_goes_unless_somebody_writes_it(done):
    folder = next((done / ".dvc/cache/files/md5").iterdir())
    old, fresh, open_one = (folder / f".{name}.tmp" for name in ("old", "fresh", "open"))
    with open_one.open("w"):
        for path in (old, fresh, open_one):
            path.write_text("half")
            os.utime(path, (0, time.time() - (0 if path == fresh else 60)))
        lockfile.begin(done)  # a flow that did not come to its end
        assert repro(done).returncode == 0
        assert sorted(path.name for path in folder.glob(".*")) == [".fresh.tmp", ".open.tmp"]


FILL = """
import pathlib, sys
if pathlib.Path("fill/" + "-".join(sys.argv[1:3])).is_file():
    from stages.command import command
    from stages.files import new_folder
    def fill():
        with new_folder(pathlib.Path(sys.argv[sys.argv.index("--out") + 1])) as folder:
            (folder / "a").write_bytes(b"some")
            (folder / "x").write_bytes(bytes(5_000_000))
    command(fill)
"""


def test_a_disk_that_is_full_for_a_stage_is_one_line_and_the_rerun_goes_on(project, finished, api):
    """No file may grow beyond 4 MB, and the stage's does: a write that fails half-way, as on a full disk."""
    (project / "work.py").write_text(FILL + (project / "work.py").read_text())
    full = steer(project, "fill", "train-vae")
    flow = sh(project, "bash", "-c", "ulimit -f 4000; exec \"$0\" -m pipelines.repro \"$@\"", sys.executable, "--api", api,
              "evaluate@vae", "evaluate@gan")
    told = [line for line in flow.stderr.splitlines() if line.startswith("FAILED ")]
    assert flow.returncode == 1 and len(told) == 1 and "Traceback" not in flow.stderr, flow.stderr
    assert told[0].startswith("FAILED train@vae: error: disk full while writing ")
    assert not list((project / "data/models").glob("*vae*")) and not (project / "reports/metrics/vae.json").exists()
    assert (project / "reports/metrics/gan.json").read_bytes() == (finished / "reports/metrics/gan.json").read_bytes()
    full.unlink()
    again = repro(project, "--api", api, "evaluate@vae")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "2 of 3 stages to run, 2 at a time"
    assert (project / "reports/metrics/vae.json").read_bytes() == (finished / "reports/metrics/vae.json").read_bytes()
    assert dvc(project, "status", "evaluate@vae").stdout.strip() == "Data and pipelines are up to date."
