"""Children of a flow: output as it comes, whole groups ended, busy DVC waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pipelines.flow import ONE_THREAD, log_of, stage_environment
from pipelines.processes import Processes, run_stage, signals_end
from tests.pipelines.conftest import ROOT, alive, environment, steer, until


@pytest.fixture
def stage(done):
    """Run a stage of the finished project in this process; (outcome, lines, what was shown)."""
    def run(name, **options):
        lines, shown = [], []
        with Processes() as processes:
            log = done / log_of(name)
            outcome = run_stage(name, processes, done, log, lines.append, shown.append, environment=environment(), **options)
        return outcome, lines, shown
    return run


def test_done_unchanged_and_restored(done, stage):
    assert stage("train@vae")[0].state == "unchanged"
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("d: 3", "d: 7"))
    outcome, lines, shown = stage("train@vae")
    assert outcome.state == "done" and outcome.seconds > 0
    assert "Running stage 'train@vae':" in lines and set(lines) <= set(shown)
    assert "Running stage 'train@vae':" in (done / "data/.logs/train@vae.log").read_text()
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("d: 7", "d: 3"))
    assert stage("train@vae")[0].state == "restored"


def test_a_failure_gives_the_stages_own_error_line_first(done, stage):
    steer(done, "fail", "train-vae")
    outcome, lines, _ = stage("train@vae", force=True)
    assert (outcome.state, outcome.error, outcome.tail) == ("failed", "error: train-vae cannot go on", ("some detail",))


def test_a_failure_that_dvc_found_is_told_in_its_words(done, stage):
    """The stage's command ends well, but does not write what it promised."""
    (done / "work.py").write_text("print('all is well')\n")
    outcome, _, _ = stage("train@vae", force=True)
    assert outcome.state == "failed" and outcome.error.startswith("ERROR: failed to reproduce 'train@vae': ") and "exist" in outcome.error


def test_a_progress_bar_is_shown_and_not_a_line(done, stage):
    bar = "for i in range(3):\n    print(f'\\rstep {i}', end='', flush=True); time.sleep(.1)\n"
    (done / "work.py").write_text(f"import sys, time\n{bar}print('\\rend')\nsys.exit(1)\n")
    _, lines, shown = stage("train@vae")
    assert "end" in lines and "step 1" in shown and not any("step" in line for line in lines)


def test_a_path_held_by_another_dvc_command_is_waited_for(done, stage):
    """DVC's lock of paths names a living process that writes data/models/vae; DVC gives up at once, we try again until it is let go."""
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path = str((done / "data/models/vae").resolve())
    lock = done / ".dvc/tmp/rwlock"
    lock.write_text(json.dumps({"write": {path: {"pid": holder.pid, "cmd": "dvc repro"}}, "read": {}}))
    threading.Timer(3.0, lambda: (holder.kill(), holder.wait())).start()
    outcome, lines, shown = stage("train@vae", force=True)
    assert outcome.state == "done", outcome
    assert any("is busy, it is being blocked by" in line for line in lines)
    assert "a path is held by another DVC command; trying again in 0.5 s" in shown


def test_a_stage_that_prints_busy_is_no_busy_dvc(done, stage):
    (done / "work.py").write_text("import sys\nprint('x is busy, it is being blocked by y')\nsys.exit('error: mine')\n")
    began = time.monotonic()
    outcome, lines, shown = stage("train@vae")
    assert outcome.error == "error: mine" and not any("trying again" in text for text in shown)
    assert time.monotonic() - began < 20


def test_ending_ends_the_whole_group(done):
    steer(done, "child", "train-vae")
    steer(done, "slow", "train-vae", "120")
    with Processes() as processes:
        found = []
        thread = threading.Thread(target=lambda: found.append(
            run_stage("train@vae", processes, done, done / log_of("x"), str, str, True, environment())))
        thread.start()
        child = int(until(lambda: (done / "child/train-vae.pid").is_file() and (done / "child/train-vae.pid").read_text()))
        assert alive(child)
        processes.end()
        thread.join(10)
        assert found[0].state == "interrupted"
        assert not alive(child)


def test_the_warden_ends_groups_that_ignore_being_asked_when_the_flow_is_killed(tmp_path):
    """kill -9 of the parent; its child ignores SIGTERM and has a child of its own."""
    stubborn = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, lambda *_: None); " \
               "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)']); open('pids', 'w').write(f'{c.pid} '); " \
               "[time.sleep(0.5) for _ in range(200)]"
    flow = subprocess.Popen([sys.executable, "-c", textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {str(ROOT)!r})
        from pipelines import warden
        from pipelines.processes import Processes
        processes = Processes()
        child = processes.start([sys.executable, "-c", {stubborn!r}], stage=True)
        open("flow", "w").write(str(child.pid))
        time.sleep(100)""")], cwd=tmp_path)
    pids = until(lambda: (tmp_path / "pids").is_file() and (tmp_path / "flow").is_file() and (tmp_path / "pids").read_text().strip()
                 and (tmp_path / "flow").read_text())
    group, inner = int(pids), int((tmp_path / "pids").read_text())
    assert alive(group) and alive(inner)
    flow.kill()
    flow.wait()
    until(lambda: not alive(inner), 3)  # asked, it went
    until(lambda: not alive(group), 12)  # it ignored that, and was killed


def test_signals_end_the_stages_and_not_this_process():
    with Processes() as processes:
        child = processes.start(["sleep", "100"], stage=True)
        server = processes.start(["sleep", "100"], stage=False)
        with signals_end(processes):
            os.kill(os.getpid(), signal.SIGTERM)
            assert child.wait(10) == -signal.SIGTERM
            assert processes.ending
            with pytest.raises(InterruptedError):
                processes.start(["sleep", "100"], stage=True)
        assert server.poll() is None  # it still has to take the flow's last state
    assert server.wait(10) == -signal.SIGTERM


def test_stage_environment_pins_blas_whatever_the_slot():
    assert {name: stage_environment(("cpu", 3))[name] for name in ONE_THREAD} == ONE_THREAD
    assert stage_environment(("gpu", 1))["CUDA_VISIBLE_DEVICES"] == "1"
    assert stage_environment(("cpu", 0))["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
