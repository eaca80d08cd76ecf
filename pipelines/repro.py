"""Run what is stale, in parallel: `python -m pipelines.repro`.

DVC decides what is stale, Prefect runs it; where nothing is stale, nothing is started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines import estimate, failures, history, lockfile, provenance, summary
from pipelines.arguments import Parser, at_least
from pipelines.disk import full_is_one_error
from pipelines.graph import Graph, Plan, plan, show
from pipelines.processes import Outcome, Processes
from pipelines.provenance import REPORT
from pipelines.schedule import GOOD, Slots, devices, memory
from pipelines.workspace import drop_half_copied, locked
from stages import params
from stages.command import FAILED, INTERRUPTED, command, fail
from stages.settings import InputError

RESULTS = ("evaluate@", "claims@", "comparisons@")  # stages whose results a report is rendered for, though its stage was not asked for
EXAMPLES = """examples:
  python -m pipelines.repro                    everything that is stale
  python -m pipelines.repro --dry              only say what would run, why, and what it waits for
  python -m pipelines.repro --estimate         how long it will take, and how much memory
  python -m pipelines.repro evaluate@vae       one run, and what it needs
  python -m pipelines.repro train --jobs 4     all trainings, four stages at a time
  python -m pipelines.repro train@gan --force  once more, stale or not
  python -m pipelines.repro -S runs.skipgram.train.epochs=5 evaluate@skipgram   with another parameter, beside the workspace
  python -m pipelines.repro --runner dask://HOST:8786 --remote NAME   on a cluster (docs/cluster.md)
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m pipelines.repro", description="Run what is stale, in parallel.", epilog=EXAMPLES)
    parser.add_argument("targets", nargs="*", help="stages, entries of dvc.yaml, or paths of outputs; without any, everything")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE",
                        help="with this parameter, beside the workspace, kept as an experiment of DVC (may be given again)")
    parser.add_argument("--name", help="with -S: name of the experiment (set-... by the parameters)")
    parser.add_argument("--jobs", type=at_least(1), default=cores, help="stages at a time on the processor (%(default)s)")
    parser.add_argument("--gpus", type=at_least(0), help="graphics devices to use, one stage on each (all there are)")
    parser.add_argument("--force", action="store_true", help="run the targets (without any, everything) even where nothing changed")
    parser.add_argument("--dry", action="store_true", help="only print what would run, why, and what it waits for")
    parser.add_argument("--estimate", action="store_true", help="only print what that will take, by what the stages took the last time")
    parser.add_argument("--retries", type=at_least(0), default=0, help="further tries of a stage that failed (%(default)s)")
    parser.add_argument("--wait", action="store_true", help="when another flow runs in this workspace, wait for it")
    parser.add_argument("--api", help="address of a Prefect server to report to, in place of a private one (http://127.0.0.1:4200/api)")
    parser.add_argument("--runner", metavar="ADDRESS", help="run the stages on a cluster: dask://HOST:PORT, ray://HOST:PORT, ray://auto or "
                                                            "ray://local; its workers say how many at a time")
    parser.add_argument("--remote", metavar="NAME", help="with --runner: the DVC remote that data goes through (the default remote)")
    parser.add_argument("--strict", action="store_true", help="with --runner: refuse workers with other versions or instructions than here")
    options = parser.parse_args(arguments)
    if options.name and not options.set:
        raise InputError("--name names the experiment that -S makes; give -S KEY=VALUE too")
    if options.runner and options.set:
        raise InputError("-S runs on this machine; without --runner")
    if not options.runner and (options.remote or options.strict):
        raise InputError(f"{'--remote' if options.remote else '--strict'} says how a cluster is used; name one with --runner ADDRESS")
    return options


def main() -> None:
    options = parse()
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise InputError(f"{root}: no dvc.yaml here; run from the project's root")
    workspace = root
    if options.set:
        from pipelines import variation

        root = variation.prepare(workspace, options.set, options.name)
        os.chdir(root)
    if options.dry or options.estimate:
        wanted = planned(root, options.targets, options.force)
        if wanted.stages:
            wait_for(settings_check(root))
        if options.dry:
            show(wanted)
        if options.estimate:
            estimate.show(estimate.estimated(wanted.stages, estimate.measured(root), slots_of(options)), wanted.stages, options.jobs)
        return
    with locked(root, options.wait) as lock:
        code = reproduce(root, options, lock)
        if options.set and code == 0:
            variation.conclude(workspace, root, options.targets)
    sys.exit(code)


def quietly_piped() -> None:
    """`main`, for which a reader that has seen enough (`| head`) is no error."""
    try:
        with full_is_one_error():
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reproduce(root: Path, options: argparse.Namespace, lock: int) -> int:
    """Plan, run, tell. Returns the exit code."""
    began = time.time()
    if options.runner:
        from pipelines.cluster import coordinator

        coordinator.check(root, options.runner, options.remote)
    wanted = planned(root, options.targets, options.force)
    costs = estimate.measured(root)
    seconds = {name: cost.seconds for name, cost in costs.items()}
    if not wanted.stages:
        lockfile.finish(root, wanted.scope)  # of a flow that was killed at its end
        print(f"nothing to do: {len(wanted.scope)} stages are up to date")
        finish(root, wanted, seconds, {}, began)
        return 0
    checking = settings_check(root)  # while the server starts
    lockfile.begin(root)
    with contextlib.ExitStack() as leaving:
        cluster = None
        if options.runner:
            cluster = leaving.enter_context(coordinator.connected(root, wanted, options.runner, options.remote, options.strict))
        outcomes = run(root, wanted, slots_of(options), options, lock, seconds, checking, cluster)
    lockfile.finish(root, wanted.scope, all(outcome.state in GOOD for outcome in outcomes.values()))
    costs = estimate.keep(root, costs, outcomes)
    finish(root, wanted, {name: cost.seconds for name, cost in costs.items()}, outcomes, began)
    if any(outcome.state == "interrupted" for outcome in outcomes.values()):
        fail("interrupted; run again to go on where it stopped", INTERRUPTED)
    return 0 if failures.tell(outcomes) else FAILED


def slots_of(options: argparse.Namespace) -> Slots:
    return Slots(options.jobs, devices()[:options.gpus], memory())


def planned(root: Path, targets: Iterable[str], force: bool) -> Plan:
    """Bring the states of the sources up to date and ask DVC. An unknown target is told before either."""
    targets = list(targets)
    if (root / "stages" / "params.py").is_file():  # before DVC meets the mistakes, and in the project's own words
        params.load(Path(os.path.relpath(root / "params.yaml")))
    states = None if targets else module(root, "stages.ingest.states")
    graph = Graph(root)
    graph.resolve(targets)
    if (root / lockfile.NOTE).is_file():  # the last flow was killed or failed
        drop_half_copied(graph.cache)
    wait_for(states or module(root, "stages.ingest.states"))
    return plan(graph, targets, force)


def settings_check(root: Path) -> subprocess.Popen | None:
    """Start the check of every setting, whose end is waited for before a plan is told or a stage starts; it imports torch."""
    return module(root, "stages.check")


def module(root: Path, name: str) -> subprocess.Popen | None:
    """Start `python -m name` if the project has that module."""
    if not (root / Path(*name.split(".")).with_suffix(".py")).is_file():
        return None
    return subprocess.Popen([sys.executable, "-m", name], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def wait_for(child: subprocess.Popen | None) -> None:
    """Wait for a `module`; what it has to say of bad input is said here, and is the end."""
    if child is None:
        return
    _, errors = child.communicate()
    if child.returncode:
        own = [line for line in errors.splitlines() if line.startswith("error: ")]
        fail((own or errors.splitlines() or [f"exit code {child.returncode}"])[-1].removeprefix("error: "), child.returncode)


def run(root: Path, wanted: Plan, slots: Slots, options: argparse.Namespace, lock: int, seconds: Mapping[str, float],
        checking: subprocess.Popen | None, cluster=None) -> dict[str, Outcome]:
    """The plan through Prefect, on a private server or on the one that was named; its stages here or on a `cluster`."""
    from pipelines import flow
    from pipelines.view import View

    slots, elsewhere = (cluster.slots, cluster.run) if cluster else (slots, None)

    def checked() -> None:
        wait_for(checking)
        where = f" on {len(slots.workers)} workers" if cluster else ""
        print(f"{len(wanted.stages)} of {len(wanted.scope)} stages to run{where}, {slots.cpu} at a time", flush=True)

    with Processes(lock) as processes:
        if not cluster:
            processes.warm()
        with (flow.api(options.api, checked) if options.api else flow.server(root / flow.HOME, processes, checked)):
            with View(len(wanted.stages)) as view:
                return flow.execute(wanted, root, slots, processes, view, options.retries, seconds, elsewhere)


def finish(root: Path, wanted: Plan, seconds: Mapping[str, float], outcomes: Mapping[str, Outcome], began: float) -> None:
    """The table of results, the way to the report, and provenance beside it, of a flow that `began` then."""
    try:
        text = summary.table(summary.rows(root, summary.runs_of(wanted.scope), outcomes))
        if text:
            print(f"\n{text}\n")
    except InputError as error:  # a broken file of one run must not hide how the flow ended
        print(f"error: {error}", file=sys.stderr)
    provenance.record(root, outcomes)
    if report_is_current(root, wanted, outcomes, began):
        print(f"report: {root / REPORT}")
    history.render(root)
    print(f"provenance: {provenance.render(root, seconds, outcomes)}", flush=True)  # these two link to the report if it is there


def report_is_current(root: Path, wanted: Plan, outcomes: Mapping[str, Outcome], began: float) -> bool:
    """Whether the report holds what this flow left. It is rendered here where its stage was not asked for, or could not run."""
    states = {outcome.state for outcome in outcomes.values()}
    if "report" in wanted.scope and ("report" not in outcomes or outcomes["report"].state in GOOD):
        return (root / REPORT).is_file()
    if "interrupted" in states or not ("failed" in states or any(name.startswith(RESULTS) for name in wanted.scope)):
        return False
    if not (root / "stages" / "report" / "__main__.py").is_file():
        return False
    said = [*(word for key in failures.hidden(root, outcomes, began) for word in ("--without", key)),
            *(word for line in failures.lines(outcomes) for word in ("--failed", line))]
    return subprocess.run([sys.executable, "-m", "stages.report", *said], cwd=root, stdin=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    command(quietly_piped)
