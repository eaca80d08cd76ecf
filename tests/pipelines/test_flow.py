"""The command as a user runs it: `python -m pipelines.repro` on a small project, with Prefect behind it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import sys
import time
import urllib.request

import pytest

from pipelines.graph import Graph
from tests.pipelines.conftest import alive, dvc, repro, sh, start_repro, steer, until

pytestmark = pytest.mark.xdist_group("prefect")  # one shared server is enough


def outputs(folder):
    """Bytes of everything the stages wrote and of dvc.lock."""
    files = [p for top in ("data/prepared", "data/models", "reports/metrics") for p in sorted((folder / top).rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in [*files, folder / "reports/index.html", folder / "dvc.lock"]}


def test_the_flow_leaves_what_dvc_repro_leaves_in_parallel_and_then_has_nothing_to_do(project, finished, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # a profile of the user's that must not matter
    steer(project, "meet", "train-vae", "train-gan")  # each waits for the other: they end only if they run side by side
    steer(project, "meet", "train-gan", "train-vae")
    steer(project, "slow", "train-vae", "0.1")
    (project / "data/.prefect").mkdir(parents=True)
    with sqlite3.connect(server[1] / "prefect.db") as made, sqlite3.connect(project / "data/.prefect/prefect.db") as copy:
        made.backup(copy)  # saves the seconds in which Prefect makes an empty database
    flow = repro(project, "--jobs", "2")
    assert flow.returncode == 0, flow.stderr
    assert outputs(project) == outputs(finished)
    lines = flow.stdout.splitlines()
    assert lines[0] == "9 of 9 stages to run, 2 at a time"
    assert any(line.split()[:4] == ["vae", "digits", "auc", "0.9005"] and "spectral 0.5" in line for line in lines), flow.stdout
    assert lines[-2:] == [f"report: {project}/reports/index.html", f"provenance: {project}/reports/provenance.html"]
    assert "working on train-vae" in (project / "data/.logs/train@vae.log").read_text()

    database = sqlite3.connect(project / "data/.prefect/prefect.db")
    tasks = "select task_run.name, task_run.state_type from task_run join flow_run on flow_run.id = flow_run_id where flow_run.name != ''"
    assert dict(database.execute(tasks)).items() >= dict.fromkeys(Graph(project).stages, "COMPLETED").items()
    messages = {text for (text,) in database.execute("select message from log")}
    assert "working on train-vae" in messages
    assert any("spectral" in str(data) for (data,) in database.execute("select data from artifact where key = 'metrics'"))
    database.close()
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("*prefect*"))

    before = (project / "dvc.lock").read_bytes()
    again = sh(project, sys.executable, "-X", "importtime", "-m", "pipelines.repro")
    assert again.returncode == 0 and again.stdout.splitlines()[0] == "nothing to do: 9 stages are up to date"
    assert "| dvc.repo" in again.stderr and not [name for name in ("prefect", "torch", "rich") if f" {name}\n" in again.stderr]
    assert "spectral 0.5" in again.stdout and (project / "dvc.lock").read_bytes() == before
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."


def test_one_failure_leaves_the_rest_done_and_is_told_with_its_own_line(done, api):
    for key, value in (("d: 3", "d: 33"), ("d: 4", "d: 44")):
        (done / "params.yaml").write_text((done / "params.yaml").read_text().replace(key, value))
    steer(done, "fail", "train-vae")
    old = (done / "reports/metrics/gan.json").read_bytes()
    flow = repro(done, "--api", api, "--retries", "1")
    assert flow.returncode == 1
    said = [line for line in flow.stderr.splitlines() if line]
    assert said[:2] == ["FAILED train@vae: error: train-vae cannot go on", "    some detail"]
    assert "not run, for want of what failed: evaluate@vae, report" in said
    assert said[-1] == "1 failed, 2 not run, 2 done; full output in data/.logs/"
    assert (done / "reports/metrics/gan.json").read_bytes() != old
    page = (done / "reports/provenance.html").read_text()
    assert "train-vae cannot go on" in page and "Not everything ran" in page
    assert dvc(done, "status", "evaluate@gan").stdout.strip() == "Data and pipelines are up to date."
    asked = urllib.request.Request(f"{api}/task_runs/filter", json.dumps({"task_runs": {"name": {"any_": ["train@vae"]}}}).encode(),
                                   {"Content-Type": "application/json"})
    runs = [run for run in json.load(urllib.request.urlopen(asked)) if run["state_type"] == "FAILED"]
    assert max(runs, key=lambda run: run["start_time"])["run_count"] == 2  # other tests fail this stage on the same server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_flow_that_is_ended_leaves_no_orphan_and_the_next_one_finishes(done, finished, api, ended, number):
    """kill -9 and Ctrl-C in the middle of a stage that has a child of its own."""
    steer(done, "child", "train-vae")
    slow = steer(done, "slow", "train-vae", "120")
    flow = start_repro(done, "--api", api, "--force", "train@vae")
    ended(flow)
    pid = int(until(lambda: (done / "child/train-vae.pid").is_file() and (done / "child/train-vae.pid").read_text()))
    until(lambda: "working on" in (done / "data/.logs/train@vae.log").read_text())
    flow.send_signal(number)
    output, _ = flow.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert (flow.returncode, output.splitlines()[-1]) == (130, "error: interrupted; run again to go on where it stopped")
        assert not alive(pid)
        return
    slow.unlink()
    (done / "child/train-vae").unlink()
    again = repro(done, "--api", api)  # at once: it waits until the warden has ended the stages of the last one
    assert again.returncode == 0, again.stderr
    assert not alive(pid)
    assert outputs(done) == outputs(finished)


@pytest.fixture
def held(done):
    """The workspace's lock, held by this process as a flow holds it."""
    path = done / "data/.prefect/lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"pid": os.getpid(), "since": "2026-01-02 03:04:05"}))
        file.flush()
        yield file


def test_a_second_flow_is_refused_and_told_who_runs(done, held):
    second = repro(done)
    assert second.returncode == 2
    assert second.stderr.strip() == (f"error: another flow runs in this workspace: pid {os.getpid()}, since 2026-01-02 03:04:05; "
                                     "wait for it, end it, or use --wait")
    assert repro(done, "--dry").returncode == 0  # looking is free


def test_wait_waits(done, held):
    second = start_repro(done, "--wait")
    time.sleep(1.5)
    assert second.poll() is None
    fcntl.flock(held, fcntl.LOCK_UN)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 0
    assert output.splitlines()[:2] == [f"waiting for the flow that runs in this workspace: pid {os.getpid()}, since 2026-01-02 03:04:05",
                                       "nothing to do: 9 stages are up to date"]


def own(folder, module, code):
    """Give the project a module of its own before the real one; the rest of the packages stays the real one."""
    path = folder / "stages" / module
    for package in [p for p in path.parents if p.is_relative_to(folder / "stages")]:
        package.mkdir(exist_ok=True, parents=True)
        (package / "__init__.py").write_text("from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n")
    path.write_text(code)


def states(folder, code):
    own(folder, "ingest/states.py", code)


RENDER = "import pathlib, sys; pathlib.Path('rendered').write_text(' '.join(sys.argv[1:]))"


def results(output):
    """{run: its row} of the table at the end of a flow."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.startswith(("emb ", "vae ", "gan "))}


def test_after_a_failure_no_old_number_is_shown(done, api):
    own(done, "report/__main__.py", RENDER)
    for key, value in (("d: 3", "d: 33"), ("d: 4", "d: 44")):
        (done / "params.yaml").write_text((done / "params.yaml").read_text().replace(key, value))
    steer(done, "fail", "train-vae")
    steer(done, "fail", "evaluate-gan")
    flow = repro(done, "--api", api)
    assert flow.returncode == 1
    rows = results(flow.stdout)
    assert rows["vae"] == rows["gan"] == ["digits", "-", "failed", "-", "-"] and rows["emb"][1] == "auc"
    said = (done / "rendered").read_text()
    assert said.startswith("--without runs.vae --without runs.gan --failed train@vae: error: train-vae cannot go on --failed evaluate@gan")
    assert said.endswith(" --failed not run, for want of what failed: evaluate@vae, report")
    assert f"report: {done}/reports/index.html" in flow.stdout


def test_targets_are_in_the_report_whose_path_is_printed(done, api):
    own(done, "report/__main__.py", RENDER)
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("k: 1", "k: 2"))
    trained = repro(done, "train@gan")
    assert trained.returncode == 0 and "report:" not in trained.stdout and not (done / "rendered").exists()
    measured = repro(done, "--api", api, "evaluate@gan")
    assert measured.returncode == 0, measured.stderr
    assert f"report: {done}/reports/index.html" in measured.stdout and (done / "rendered").read_text() == ""
    own(done, "report/__main__.py", "raise SystemExit(1)")
    again = repro(done, "evaluate@gan")
    assert "nothing to do" in again.stdout and "report:" not in again.stdout


def test_settings_are_read_before_dvc_reads_them_and_checked_before_the_plan_is_told(done, api):
    own(done, "params.py", "from stages.settings import InputError\ndef load(path):\n"
                           "    if 'runz' in path.read_text(): raise InputError(f\"{path}: unknown setting 'runz'\")\n")
    own(done, "check.py", "import sys, time; time.sleep(0.3); sys.exit('error: params.yaml.runs.vae.model: d is too much')")
    before = (done / "params.yaml").read_text()
    (done / "params.yaml").write_text(before.replace("runs:", "runz:"))
    wrong = repro(done)
    assert (wrong.returncode, wrong.stderr, wrong.stdout) == (2, "error: params.yaml: unknown setting 'runz'\n", "")
    (done / "params.yaml").write_text(before)
    assert "nothing to do" in repro(done).stdout
    for more in (["--api", api], ["--dry"], ["--estimate"]):
        wrong = repro(done, "--force", *more)
        assert (wrong.returncode, wrong.stderr, wrong.stdout) == (1, "error: params.yaml.runs.vae.model: d is too much\n", "")


def test_a_full_disk_is_one_line(done):
    """No file may grow beyond 40 KB: the database of Prefect's server does."""
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("k: 1", "k: 2"))
    script = "ulimit -f 40; exec \"$0\" -m pipelines.repro"
    flow = sh(done, "bash", "-c", script, sys.executable)
    assert flow.returncode == 1, flow.stdout + flow.stderr
    assert flow.stderr.startswith("error: disk full while writing ") and len(flow.stderr.splitlines()) == 1, flow.stderr


@pytest.mark.parametrize(("arguments", "line"), [
    (["train@vea"], "unknown target 'train@vea'; allowed: a stage, an output's path, or one of prepare, train, evaluate, report "
                    "(did you mean 'train@vae'?)"),
    (["--api", "http://127.0.0.1:1/api", "--force"], "--api http://127.0.0.1:1/api: no Prefect server answers there"),
])
def test_wrong_use_is_one_line_before_any_work(done, arguments, line):
    states(done, "open('looked', 'w')")
    before = outputs(done)
    wrong = repro(done, *arguments)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"error: {line}") and len(wrong.stderr.strip().splitlines()) == 1
    assert outputs(done) == before
    assert (done / "looked").exists() == ("--api" in arguments)


def test_wrong_numbers_and_a_wrong_folder(done, tmp_path):
    assert "argument --jobs: 0 is out of range; allowed: at least 1" in repro(done, "--jobs", "0").stderr
    nowhere = repro(tmp_path)
    assert nowhere.returncode == 2 and "no dvc.yaml here; run from the project's root" in nowhere.stderr


def test_the_states_of_the_sources_are_brought_up_to_date_first(done):
    states(done, "import json; json.dump({'shop': 2}, open('data/sources.json', 'w'))")
    text = (done / "dvc.yaml").read_text().replace('params: [split, "datasets.${key}.options"]',
                                                   'params: [split, "datasets.${key}.options", {data/sources.json: [shop]}]')
    (done / "dvc.yaml").write_text(text)
    dry = repro(done, "--dry")
    assert "prepare@shop: data/sources.json new" in dry.stdout, dry.stdout + dry.stderr
    states(done, "import sys; sys.exit('error: a.csv: no such file')")
    wrong = repro(done)
    assert (wrong.returncode, wrong.stderr) == (1, "error: a.csv: no such file\n")


def test_dry_names_what_would_run_and_why_and_runs_nothing(done):
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("k: 1", "k: 2"))
    before = outputs(done)
    dry = repro(done, "--dry")
    assert dry.stdout.splitlines() == ["evaluate@gan: params.yaml: runs.gan.evaluate modified",
                                       "report: hangs on a stage above; waits for evaluate@gan",
                                       "2 of 9 stages to run"]
    assert outputs(done) == before


def test_help_has_examples(done):
    text = repro(done, "--help").stdout
    assert "examples:" in text and "--dry" in text
