"""DVC's commands forked from one process: the same as `python -m dvc`, and nothing left whoever is killed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pipelines.flow import log_of
from pipelines.forks import Ended
from pipelines.processes import Processes, run_stage
from tests.pipelines.conftest import alive, environment, steer, until


@pytest.fixture
def warm():
    with Processes() as processes:
        processes.warm()
        yield processes


def run(done, processes, name, force=False):
    lines = []
    outcome = run_stage(name, processes, done, done / log_of(name), lines.append, str, force, environment())
    return outcome, lines


def begun(done, processes, name):
    """The stage, forced, in a thread, at the moment its own process has a child: (what it comes to, that child, DVC's process)."""
    key = name.replace("@", "-")
    slow = steer(done, "slow", key, "120")
    steer(done, "child", key)
    found = []
    thread = threading.Thread(target=lambda: found.append(run(done, processes, name, force=True)[0]))
    thread.start()
    child = int(until(lambda: (done / f"child/{key}.pid").is_file() and (done / f"child/{key}.pid").read_text()))
    slow.unlink()
    (done / f"child/{key}").unlink()
    (dvc,) = [group for group, stage in processes._groups.items() if stage]
    return thread, found, child, dvc


def test_a_forked_command_does_what_the_command_does(done, warm):
    outcome, lines = run(done, warm, "train@vae")
    assert outcome.state == "unchanged" and lines[0] == "Stage 'train@vae' didn't change, skipping"
    assert warm._forks._children == {} and warm._forks._ready.is_set() and not warm._forks._gone
    before = (done / "dvc.lock").read_bytes()
    outcome, lines = run(done, warm, "train@vae", force=True)
    assert outcome.state == "done" and "Running stage 'train@vae':" in lines and (done / "dvc.lock").read_bytes() == before
    assert 0.05 < outcome.cpu < 60 and 0.01 < outcome.memory < 2
    (done / "work.py").write_text("import os\nprint(os.getcwd(), os.getsid(0) == os.getppid() or os.getsid(0), os.environ['MINE'], "
                                  "os.get_terminal_size)\nimport sys; sys.exit('error: enough')\n")
    log = done / log_of("train@vae")
    outcome = run_stage("train@vae", warm, done, log, str, str, False, {**environment(), "MINE": "here"})
    assert (outcome.state, outcome.error) == ("failed", "error: enough") and f"{done} " in log.read_text() and " here " in log.read_text()


def test_where_dvc_cannot_be_forked_it_is_started(done, warm):
    warm._forks.close()
    until(lambda: warm._forks._gone)
    assert run(done, warm, "train@vae")[0].state == "unchanged"


def test_when_dvc_alone_is_killed_its_training_is_ended(done, warm):
    thread, found, child, dvc = begun(done, warm, "train@vae")
    os.kill(dvc, signal.SIGKILL)
    thread.join(20)
    assert (found[0].state, found[0].error) == ("failed", "DVC was killed by SIGKILL")
    assert not alive(child)


def test_when_the_server_is_killed_the_stage_is_run_again_without_it(done, warm):
    before = (done / "dvc.lock").read_bytes()
    thread, found, child, dvc = begun(done, warm, "train@vae")
    (server,) = [group for group, stage in warm._groups.items() if not stage]
    os.kill(server, signal.SIGKILL)
    thread.join(60)
    assert found[0].state == "done" and not alive(child) and not alive(dvc)
    assert (done / "dvc.lock").read_bytes() == before
    assert warm._forks._gone


def test_ending_ends_a_forked_group(done, warm):
    thread, found, child, dvc = begun(done, warm, "train@vae")
    warm.end()
    thread.join(20)
    assert found[0].state == "interrupted" and not alive(child) and not alive(dvc)


def test_how_a_started_command_ended_is_known_too(done):
    with Processes() as processes:
        running = processes.start_dvc(["--version"], done, environment())
        assert os.read(running.output, 100)[:1].isdigit()
        end = running.ended.result(60)
        os.close(running.output)
        processes.ended(running.pid)
    assert end.code == 0 and end.cpu > 0.05 and end.memory > 0.01 and end != Ended(0)
