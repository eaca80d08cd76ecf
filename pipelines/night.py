"""The nightly flow: sources, reproduce, compare with the accepted commit, keep as an experiment, publish the report, fail if worse.

`pipelines/night.py:nightly` is the entrypoint of the deployment (prefect.yaml); `python -m pipelines.nightly` starts and schedules it.
It works in the folder it is started in, the project's root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed

from pipelines import compare
from pipelines.movements import Comparison, Movement
from pipelines.nightly import ACCEPTED, REPORTS, check_publish
from pipelines.processes import TAIL, Processes
from pipelines.provenance import git
from pipelines.workspace import locked
from stages.files import new_folder
from stages.settings import InputError

LATE = 60.0  # minutes after its time from which a night counts as missed
KEEP = "nightly"  # experiments are called nightly-2026-11-21


def night_name() -> str:
    """Name of the flow run: nightly of the day it stands for, at the commit it starts from."""
    commit = git(Path.cwd(), "rev-parse", "--short", "HEAD") or "no commit"
    due = flow_run.scheduled_start_time or datetime.now(UTC)
    return f"{KEEP} {due.astimezone():%Y-%m-%d %H:%M} {commit}"


@flow(name="baznama-nightly", flow_run_name=night_name, persist_result=False, retries=0)
def nightly(publish: str | None = None, accepted: str = ACCEPTED, jobs: int | None = None, late: float = LATE):
    """Note sources, rerun what is stale, compare with `accepted`, keep, publish; failed when a stage failed or a metric is worse.

    `publish`: folder that gets a copy of the report. `late`: minutes after which a missed night is not made up.
    """
    root, log = Path.cwd(), get_run_logger()
    due = flow_run.scheduled_start_time
    if due and datetime.now(UTC) - due > timedelta(minutes=late):
        return Cancelled(message=f"missed: it was due {due.astimezone():%Y-%m-%d %H:%M}; nights that were missed are not made up")
    check_publish(root, publish)
    sources(root)
    code, tail = reproduce(root, jobs)
    worse: list[Movement] = []
    if code == 0:
        found = held_against(root, accepted)
        worse = found.regressed
        name = save(root)
        log.info("kept as experiment %s; accept it with: python -m pipelines.nightly --accept %s", name, name)
    if publish:
        publish_report(root, publish)
    if code:
        return Failed(message=" | ".join(["not everything ran", *tail]))
    if worse:
        return Failed(message=f"worse than {found.states[0].name}: " + "; ".join(map(short, worse)))
    return "; ".join([compare.verdict(found), f"kept as {name}"])


@task(name="sources", task_run_name="note the sources", cache_policy=NO_CACHE)
def sources(root: Path) -> None:
    """Bring data/sources.json up to date, so that DVC notices new data; says which datasets changed."""
    if not (root / "stages/ingest/states.py").is_file():
        return
    with locked(root, wait=True):
        said = run([sys.executable, "-m", "stages.ingest.states"], root)
    get_run_logger().info(said or "no source changed")


@task(name="reproduce", task_run_name="reproduce what is stale", cache_policy=NO_CACHE)
def reproduce(root: Path, jobs: int | None) -> tuple[int, list[str]]:
    """`python -m pipelines.repro --wait` as a child that reports to the same server; (exit code, its own lines of what failed)."""
    command = [sys.executable, "-m", "pipelines.repro", "--wait", "--api", os.environ["PREFECT_API_URL"]]
    command += ["--jobs", str(jobs)] if jobs else []
    log, lines = get_run_logger(), []
    with Processes() as processes:  # when this process dies, so does the child, and with it the stages
        child = processes.start(command, stage=True, cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)
        for line in child.stdout:
            if line.strip():
                log.info(line.rstrip())
                lines.append(line.rstrip())
        code = child.wait()
        processes.ended(child.pid)
    return code, [line for line in lines[-4 * TAIL:] if line.startswith(("FAILED ", "error: "))] if code else []


@task(name="compare", task_run_name="compare with the accepted commit", cache_policy=NO_CACHE)
def held_against(root: Path, accepted: str) -> Comparison:
    """The workspace held against `accepted`; against the last commit where nothing was accepted yet. Shown as an artifact."""
    if accepted == ACCEPTED and not git(root, "rev-parse", "--verify", "--quiet", ACCEPTED):
        get_run_logger().info("nothing accepted yet: compared with the last commit (python -m pipelines.nightly --accept)")
        accepted = "HEAD"
    found = compare.compare(root, [accepted])
    create_markdown_artifact(compare.markdown(found), key="comparison", description=compare.verdict(found))
    get_run_logger().info(compare.verdict(found))
    for item in found.regressed:
        get_run_logger().error("worse: %s", short(item))
    return found


@task(name="save", task_run_name="keep as an experiment", cache_policy=NO_CACHE)
def save(root: Path) -> str:
    """The workspace as an experiment of DVC named by the day; a second one of a day takes the place of the first."""
    name = f"{KEEP}-{time.strftime('%Y-%m-%d')}"
    with locked(root, wait=True):
        run([sys.executable, "-m", "dvc", "exp", "save", "--force", "--name", name, "--include-untracked", str(REPORTS)], root)
    return name


@task(name="publish", task_run_name="publish the report", cache_policy=NO_CACHE)
def publish_report(root: Path, target: str) -> None:
    """A copy of reports/ takes the place of the folder `target`, as a whole."""
    with new_folder(Path(target)) as folder:
        shutil.copytree(root / REPORTS, folder, dirs_exist_ok=True)
    link = (Path(target).resolve() / "index.html").as_uri()
    create_link_artifact(link, link_text=f"report in {target}", key="published", description="The report of this night")


def short(item: Movement) -> str:
    """`vae auc 0.8 → 0.6 (-25.0%, tolerated ±0.016)`."""
    first, last = compare.text(item.values[0]), compare.text(item.values[-1])
    if item.change is None:
        return f"{item.run} {item.metric} {first} → {last} (lost)"
    share = f"{item.relative:+.1%}, " if item.relative is not None else ""
    return f"{item.run} {item.metric} {first} → {last} ({share}tolerated ±{item.allowed:.3g})"


def run(command: list[str], root: Path) -> str:
    """The command's output; its last line of complaint as an InputError where it fails."""
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = lines[-1] if lines else f"{' '.join(command)}: exit code {done.returncode}"
        raise InputError(said.removeprefix("error: ").removeprefix("ERROR: "))
    return done.stdout.strip()


def environment() -> dict[str, str]:
    """This process's, without what Prefect tells the process of one flow run alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
