"""The Prefect flow: one task a stage, on a private local server whose home and database are data/.prefect.

Imports Prefect inside functions alone: a run with nothing to do must not pay for it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipelines import database, schedule
from pipelines.disk import FULL, full_is_one_error
from pipelines.graph import Plan, Stage
from pipelines.processes import Outcome, Processes, run_stage, signals_end
from pipelines.view import View
from stages.settings import InputError

HOME = Path("data/.prefect")
LOGS = Path("data/.logs")
SERVER_LIFE = 15.0  # seconds a server must live to be started once more when it ends
WORKERS = 16  # threads at least: Prefect warns where a task has more tags than threads; how many stages run at once, the slots say
SERVER_START = 120.0  # seconds; the first start in a workspace also makes the database
WITHOUT_SCHEDULES = ("--no-ui", "--no-scheduler", "--no-late-runs")  # the services that record task runs are all a flow needs
# BLAS and OpenMP inside the stages get one thread each, whatever --jobs says: a share of the cores would make the order of sums, and so the
# bytes, depend on how many stages run at once. Training sets its own number (`train.threads`), which is a parameter and tracked.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")


class StageFailed(Exception):
    """A stage ended badly; the message is its own error line."""


def stage_environment(slot: tuple[str, int]) -> dict[str, str]:
    """What a stage's process gets: this Python first on the path, unbuffered output, one BLAS thread, its device."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **ONE_THREAD, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1",
                   "GX_ANALYTICS_ENABLED": "false"}
    if slot[0] == "gpu":
        environment["CUDA_VISIBLE_DEVICES"] = str(slot[1])
    return environment


def private_environment(home: Path, port: int, console: str = "CRITICAL") -> None:
    """Point Prefect at the server of this flow alone; nothing of the user's own Prefect profile is read or written.

    `console` is the level from which Prefect's own log lines are shown; the view shows what happens in a flow.
    """
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update({
        "PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false", "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": console,
    })


@contextlib.contextmanager
def server(home: Path, processes: Processes, meanwhile: Callable[[], None], port: int = 0, schedules: bool = False,
           console: str = "CRITICAL") -> Iterator[None]:
    """A Prefect server on the loopback address while the context lasts. It starts while Prefect is imported here and `meanwhile` runs.

    `port` 0 takes a free one. With `schedules` it has its pages and the services that plan the runs of deployments.
    """
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} of 127.0.0.1 cannot be used ({error}); name a free one with --port") from None
        port = probe.getsockname()[1]
    private_environment(home, port, console)
    log = home / "server.log"
    with full_is_one_error(log), _server(port, log, processes, meanwhile, () if schedules else WITHOUT_SCHEDULES):
        yield


@contextlib.contextmanager
def _server(port: int, log: Path, processes: Processes, meanwhile: Callable[[], None], without: tuple[str, ...]) -> Iterator[None]:
    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--analytics-off",
                   *without]
        with log.open("ab") as output:
            return processes.start(command, stage=False, stdout=output, stderr=subprocess.STDOUT)

    log.write_bytes(b"")
    made = database.lay(log.parent)
    child = start()
    import prefect  # noqa: F401

    meanwhile()
    until = time.monotonic() + SERVER_START
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                break
        except OSError:
            if child.poll() is not None or time.monotonic() > until:
                raise InputError(f"Prefect's local server did not start; see {log} (or run `dvc repro`, which needs no server)") from None
            time.sleep(0.05)
    if made:
        database.keep(log.parent)
    over = threading.Event()

    def keep() -> None:  # stages do not need the server, and Prefect's clients try again for a minute
        nonlocal child
        began = 0.0
        while not over.wait(0.2):
            if child.poll() is None or processes.ending:
                continue
            if time.monotonic() - began < SERVER_LIFE:
                return  # it cannot live here
            began = time.monotonic()
            processes.ended(child.pid)
            with contextlib.suppress(OSError):
                child = start()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        settle()
        over.set()
        keeper.join()
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
            processes.ended(child.pid)


def settle() -> None:
    """Send what Prefect still has in its queues; without it the interpreter tries for a minute to reach a server that has ended."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)


@contextlib.contextmanager
def api(address: str, first: Callable[[], None]) -> Iterator[None]:
    """Report to the Prefect server at `address` in place of a private one; `first` runs once it has answered."""
    os.environ["PREFECT_API_URL"] = address
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=10):
            pass
    except (OSError, ValueError) as error:
        raise InputError(f"--api {address}: no Prefect server answers there ({error}); expected as in http://127.0.0.1:4200/api") from None
    first()
    yield


def execute(plan: Plan, root: Path, slots: schedule.Slots, processes: Processes, view: View, retries: int = 0,
            seconds: Mapping[str, float] | None = None, elsewhere: Callable[..., Outcome] | None = None) -> dict[str, Outcome]:
    """Run the plan as a Prefect flow; returns how each stage ended. Call from the main thread, with the API of PREFECT_API_URL up.

    `elsewhere` runs a stage in the place of `run_stage`: `pipelines.cluster.coordinator.Cluster.run`.
    """
    import logging

    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.logging import get_run_logger
    from prefect.states import Failed
    from prefect.task_runners import ThreadPoolTaskRunner

    from pipelines import story

    finished: queue.Queue[tuple[str, Outcome]] = queue.Queue()
    outcomes: dict[str, Outcome] = {}
    logging.raiseExceptions = False  # a log that the server cannot take is told once, by what ends the flow
    logging.getLogger("prefect.flow_runs").propagate = logging.getLogger("prefect.task_runs").propagate = False

    @task(name="stage", task_run_name="{name}", retries=retries, retry_delay_seconds=1, cache_policy=NO_CACHE, persist_result=False,
          retry_condition_fn=lambda *_: not processes.ending)
    def run_one(name: str, slot: tuple[str, int]) -> str:
        try:
            tell, show, forced = get_run_logger().info, lambda text: view.line(name, text), plan.why[name] == ["forced"]
            if elsewhere:
                outcomes[name] = elsewhere(name, processes, root / log_of(name), tell, show, forced)
            else:
                outcomes[name] = run_stage(name, processes, root, root / log_of(name), tell, show, forced, stage_environment(slot))
        except OSError as error:
            if error.errno not in FULL:
                raise
            outcomes[name] = Outcome("failed", error=f"error: disk full while writing {error.filename or root / log_of(name)}; "
                                                     "free some space and run again")
        if outcomes[name].state not in schedule.GOOD:
            raise StageFailed(outcomes[name].error)
        return outcomes[name].state

    tags = story.tags(root, plan.stages, {name: stage.resource for name, stage in plan.stages.items()})
    run_name = story.run_name(root, plan.stages)

    @flow(name="baznama", flow_run_name=lambda: run_name, task_runner=ThreadPoolTaskRunner(max_workers=max(slots.total, WORKERS)),
          validate_parameters=False, persist_result=False)
    def reproduce(stages: list[str], jobs: int, retries: int):  # parameters that Prefect's page shows
        futures = {}
        story.tell_plan(plan.why, {name: [other for other in stage.needs if other in plan.stages] for name, stage in plan.stages.items()})
        story.tell_parameters(root, stages)

        def start(stage: Stage, slot: tuple[str, int]) -> None:
            view.started(stage.name, slot)
            before = [futures[name] for name in stage.needs if name in futures]  # ended already: named so that Prefect draws the edges
            future = futures[stage.name] = run_one.with_options(tags=tags[stage.name]).submit(stage.name, slot, wait_for=before)
            future.add_done_callback(lambda _: finished.put((stage.name, ended(stage.name))))

        def ended(name: str) -> Outcome:
            outcome = outcomes.get(name) or Outcome("failed", error="Prefect could not run the task; see data/.prefect/server.log")
            view.finished(name, outcome)
            return outcome

        with signals_end(processes):
            result = schedule.run(plan.stages, slots, start, finished, seconds or {}, lambda: processes.ending)
        story.tell_end(root, plan.why, result)
        outcomes.update(result)
        bad = [name for name, outcome in result.items() if outcome.state not in schedule.GOOD]
        return Failed(message=f"not done: {', '.join(bad)}") if bad else "done"

    state = reproduce(list(plan.stages), slots.cpu, retries, return_state=True)
    if len(outcomes) < len(plan.stages):
        state.result()  # raises what broke the flow itself
    return {name: outcomes[name] for name in plan.stages}


def log_of(name: str) -> Path:
    return LOGS / (name.replace("/", "-").replace(":", "-") + ".log")
