"""The nightly run, now or every night: `python -m pipelines.nightly [--cron "0 3 * * *"]`. docs/nightly.md is its guide.

The flow is pipelines/night.py. It is imported once Prefect's environment is set, and only then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path

from pipelines import beside, flow
from pipelines.arguments import Parser, at_least
from pipelines.compare import tolerances
from pipelines.provenance import git
from pipelines.revisions import resolve
from pipelines.workspace import locked
from stages.command import FAILED, command
from stages.settings import InputError

HOME = flow.HOME / "serve"  # of the server that stays; a run that is started by hand has its own beside it
ONCE = flow.HOME / "nightly"
PORT = 4200
NAME = "nightly"
ACCEPTED = "refs/baznama/accepted"
REPORTS = Path("reports")
# what a notification says; the text of a webhook is JSON, so that quotes in a message do no harm
TEXT = "{{ flow_run.name }}: {{ flow_run.state.message }}"
JSON = '{"text": {{ (flow_run.name ~ ": " ~ flow_run.state.message) | tojson }}}'

EXAMPLES = """examples:
  python -m pipelines.nightly                                  once, now
  python -m pipelines.nightly --publish /srv/www/baznama       and copy the report there
  python -m pipelines.nightly --accept nightly-2026-11-21      hold the next nights against this one; runs nothing
  python -m pipelines.nightly --cron "0 3 * * *"               Prefect's server and the schedule on this machine, until it is ended
  python -m pipelines.nightly --cron "0 3 * * *" --notify https://hooks.example.org/T0/B0     and tell when a night fails
"""


def parse() -> argparse.Namespace:
    parser = Parser(prog="python -m pipelines.nightly", description=__doc__.split(":")[0] + ".", epilog=EXAMPLES)
    parser.add_argument("--publish", metavar="FOLDER", help="copy the report there")
    parser.add_argument("--accepted", metavar="REV", help="compare with this commit or experiment in place of the accepted one")
    parser.add_argument("--accept", metavar="REV", nargs="?", const="HEAD", help="make REV (HEAD) the accepted one; runs nothing")
    parser.add_argument("--jobs", type=at_least(1), help="stages at a time (as many as there are cores)")
    parser.add_argument("--api", help="report to this Prefect server (http://127.0.0.1:4200/api) in place of one of its own")
    parser.add_argument("--cron", metavar="LINE", help="stay, and run at these times: minute hour day month weekday")
    parser.add_argument("--timezone", metavar="ZONE", help="of --cron (this machine's)")
    parser.add_argument("--port", type=at_least(1), help=f"of the server that --cron starts ({PORT})")
    parser.add_argument("--notify", metavar="URL|BLOCK", help="with --cron: tell a webhook, or a block of Prefect (slack-webhook/team), "
                                                              "when a night fails")
    return parser.parse_args()


def main() -> None:
    options = parse()
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise InputError(f"{root}: no dvc.yaml here; run from the project's root")
    if not git(root, "rev-parse", "HEAD"):
        raise InputError(f"{root}: a night is held against a commit, and there is none; run git init and commit first")
    if options.accept:
        print(accept(root, options.accept))
        return
    tolerances(root)
    check_publish(root, options.publish)
    if options.accepted:
        resolve(root, options.accepted, "--accepted")
    if options.cron is None:
        if options.notify or options.timezone or options.port:
            raise InputError("--notify, --timezone and --port belong to a schedule; add --cron \"0 3 * * *\"")
        with locked(root, lock=ONCE / "lock", what="nightly run"):
            sys.exit(once(root, options))
    schedule(root, options)


def check_publish(root: Path, publish: str | None) -> None:
    """Raise InputError unless the folder can be written, and what it would replace is a report."""
    if publish is None:
        return
    target, where = Path(publish), f"--publish {publish}"
    if target.resolve().is_relative_to((root / REPORTS).resolve()) or (root / REPORTS).resolve().is_relative_to(target.resolve()):
        raise InputError(f"{where}: lies inside reports/ or around it; name a folder elsewhere")
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / "index.html").is_file())):
        raise InputError(f"{where}: holds something that is no report (no index.html); name a new folder, or an empty one")
    parent = next(folder for folder in target.resolve().parents if folder.exists())
    try:  # a real file: rights alone do not tell of a read-only or a special file system
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"{where}: {parent} cannot be written ({error.strerror}); name another folder, or change its rights") from None


def accept(root: Path, rev: str) -> str:
    """Make `rev` what nights are held against; a line that says so."""
    commit, old = resolve(root, rev, "--accept"), git(root, "rev-parse", "--verify", "--quiet", ACCEPTED)
    if not git(root, "ls-tree", "--name-only", commit, "reports/metrics/"):
        raise InputError(f"--accept {rev}: has no file in reports/metrics/; allowed: a commit or an experiment with metrics")
    beside.run_git(root, "update-ref", "-m", f"accepted {rev}", ACCEPTED, commit)
    return f"accepted: {old[:9] or 'nothing'} → {commit[:9]} ({git(root, 'log', '-1', '--format=%s', commit)})"


def settings(root: Path, options: argparse.Namespace) -> dict:
    """The parameters of the flow; a folder to publish to is named from the root, since a worker may start elsewhere."""
    given = {"publish": options.publish and str((root / options.publish).resolve()), "accepted": options.accepted, "jobs": options.jobs}
    return {key: value for key, value in given.items() if value is not None}


@contextlib.contextmanager
def reporting(root: Path, options: argparse.Namespace, home: Path, **server) -> Iterator[None]:
    """A Prefect server to report to while the context lasts: the one that was named, or one of our own."""
    from pipelines.processes import Processes

    if options.api:
        with flow.api(options.api, lambda: None):
            yield
        return
    with Processes() as processes, flow.server(root / home, processes, lambda: None, console="INFO", **server):
        yield


def once(root: Path, options: argparse.Namespace) -> int:
    with reporting(root, options, ONCE):
        from pipelines.night import nightly

        state = nightly(**settings(root, options), return_state=True)
    if state.is_completed():
        print(f"good: {state.result()}")
        return 0
    print(f"{state.name}: {state.message}", file=sys.stderr)
    return FAILED


def schedule(root: Path, options: argparse.Namespace) -> None:
    """Serve the deployment until a signal ends it."""
    zone = options.timezone or local_zone()
    check_notify(options.notify)
    if options.api:
        os.environ["PREFECT_API_URL"] = options.api
    else:
        (root / HOME).mkdir(parents=True, exist_ok=True)  # Prefect warns of a home that is not there
        flow.private_environment(root / HOME, options.port or PORT, "INFO")
    check_cron(options.cron, zone)  # the first to import Prefect, which reads its environment then
    with reporting(root, options, HOME, port=options.port or PORT, schedules=True):
        from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
        from prefect.schedules import Cron

        from pipelines.night import nightly

        # Prefect's own handler of SIGTERM leaves one unawaited and leaves; what it says of that helps nobody
        warnings.filterwarnings("ignore", "coroutine 'Runner.astop' was never awaited", RuntimeWarning)
        if options.notify:
            print(notify(options.notify))
        print(f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}: {NAME} at {options.cron} ({zone})", flush=True)
        # one at a time; what comes due meanwhile is cancelled, and the flow itself cancels nights whose time has passed
        one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
        nightly.serve(NAME, schedule=Cron(options.cron, timezone=zone), parameters=settings(root, options), global_limit=one,
                      print_starting_message=False)


def check_cron(line: str, zone: str) -> None:
    """Raise InputError unless Prefect takes the line and the zone."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=line)
    except ValidationError:
        raise InputError(f"--cron {line!r}: not a cron line; allowed: minute hour day month weekday, as in \"0 3 * * *\" for every night "
                         "at three") from None
    try:
        CronSchedule(cron=line, timezone=zone)
    except (ValidationError, ValueError):
        raise InputError(f"--timezone {zone!r}: not a time zone; allowed: a name as in Europe/Berlin, or UTC") from None


def local_zone() -> str:
    """The name of this machine's time zone; UTC where it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    link = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    return named if re.fullmatch(r"[A-Za-z_+-]+(/[\w+-]+)*", named) else link or "UTC"


def check_notify(target: str | None) -> None:
    """Raise InputError for what is neither an address nor TYPE/NAME of a block."""
    if target is None or re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", target):
        return
    parts = urllib.parse.urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--notify {target}: neither an address (https://...) nor a block of Prefect (slack-webhook/team)")


def notify(target: str) -> str:
    """Make, or bring up to date, the automation that tells `target` when a night fails; a line that says so."""
    from prefect.automations import Automation, EventTrigger
    from prefect.blocks.core import Block
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook, SendNotification
    from prefect.events.schemas.automations import Posture

    if "://" in target:
        block = Webhook(url=target, method="POST").save(f"baznama-{NAME}", overwrite=True)
        action = CallWebhook(block_document_id=block, payload=JSON)
    else:
        try:
            block = Block.load(target)
        except ValueError:
            raise InputError(f"--notify {target}: no such block on this server; make it with `prefect block create`, or name an address"
                             ) from None
        action = SendNotification(block_document_id=block._block_document_id, subject="Baznama: a night failed", body=TEXT)
    name = f"baznama: a {NAME} run failed"
    wanted = Automation(
        name=name, description="Written by python -m pipelines.nightly --notify",
        trigger=EventTrigger(expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}, posture=Posture.Reactive, threshold=1,
                             match_related={"prefect.resource.role": "deployment", "prefect.resource.name": NAME}),
        actions=[action])
    with contextlib.suppress(ValueError):
        wanted.id = Automation.read(name=name).id
    wanted.update() if wanted.id else wanted.create()
    return f"automation {name!r}: tells {target}"


if __name__ == "__main__":
    command(main)
