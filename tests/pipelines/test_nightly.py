"""Nights on a small project: good, worse, accepted; what was missed is not made up; wrong use is one line before any work."""

from __future__ import annotations

import json
import sys

import pytest

from pipelines.compare import compare
from pipelines.nightly import ACCEPTED
from tests.pipelines.conftest import read_api, sh, steer

pytestmark = pytest.mark.xdist_group("prefect")


def nightly(folder, *arguments):
    return sh(folder, sys.executable, "-m", "pipelines.nightly", *arguments)


def rev(folder, name):
    return sh(folder, "git", "rev-parse", name).stdout.strip()


def change(folder, old, new):
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def judged(done):
    """The finished project, in which the metric of the runs has a direction."""
    names = done / "stages/evaluate/names.json"
    names.parent.mkdir(parents=True)
    names.write_text(json.dumps({"auc": {"title": "AUC", "better": "higher"}}))
    return done


def test_a_good_night_is_kept_and_published_and_a_worse_one_fails_until_it_is_accepted(judged, api, tmp_path):
    first = nightly(judged, "--api", api, "--publish", str(tmp_path / "www"))
    assert first.returncode == 0, first.stderr
    assert "good: HEAD → workspace: nothing moved; 3 the same; kept as nightly-" in first.stdout
    kept = first.stdout.split()[-1]
    assert (tmp_path / "www/index.html").read_bytes() == (judged / "reports/index.html").read_bytes()
    assert rev(judged, ACCEPTED) == ACCEPTED  # git knows no such name yet: a night accepts nothing by itself

    head = rev(judged, "HEAD")
    assert nightly(judged, "--accept").stdout == f"accepted: nothing → {head[:9]} (all)\n" and rev(judged, ACCEPTED) == head
    before = json.loads((judged / "reports/metrics/gan.json").read_text())["auc"]["mean"]
    change(judged, "k: 1", "k: 2")
    worse = nightly(judged, "--api", api, "--publish", str(tmp_path / "www"))
    after = json.loads((judged / "reports/metrics/gan.json").read_text())["auc"]["mean"]
    assert after < 0.98 * before  # the hash of these parameters is smaller: what the test rests on
    assert worse.returncode == 1
    assert f"worse than {ACCEPTED}: gan auc {before:.4g} → {after:.4g}" in worse.stderr and "tolerated ±0.018" in worse.stderr
    assert (tmp_path / "www/index.html").read_bytes() == (judged / "reports/index.html").read_bytes()  # it is published all the same
    assert rev(judged, ACCEPTED) == head
    found = [a for a in read_api(api, "artifacts", {"artifacts": {"key": {"any_": ["comparison"]}}}) if "regressed" in a["data"]]
    assert any("| gan | auc ↑ |" in a["data"] for a in found)

    # what Prefect's page tells of the flow that the night started
    flow = next(run for run in read_api(api, "flow_runs", {}) if run["name"] == f"master@{head[:7]}+ evaluate@gan, report")
    assert flow["parameters"]["stages"] == ["evaluate@gan", "report"]
    of_flow = {"flow_runs": {"id": {"any_": [flow["id"]]}}}
    assert {run["name"]: set(run["tags"]) for run in read_api(api, "task_runs", of_flow)} == {
        "evaluate@gan": {"evaluate", "digits", "cpu"}, "report": {"report", "cpu"}}
    told = {artifact["key"]: artifact["data"] for artifact in read_api(api, "artifacts", of_flow)}
    assert set(told) == {"plan", "parameters", "stages", "metrics", "report"}
    assert "params.yaml: runs.gan.evaluate modified" in told["plan"] and "| `runs.gan.evaluate.k` | `2` |" in told["parameters"]
    assert [(row["stage"], row["outcome"]) for row in json.loads(told["stages"])] == [("evaluate@gan", "done"), ("report", "done")]
    assert "spectral" in told["metrics"] and f"file://{judged}/reports/index.html" in told["report"]

    accepted = nightly(judged, "--accept", kept)  # the day's last: the worse one took the name
    assert accepted.returncode == 0 and rev(judged, ACCEPTED) != head
    assert not compare(judged, [ACCEPTED]).regressed and compare(judged, [head]).regressed


def test_a_stage_that_fails_makes_the_night_fail_and_keeps_nothing(judged, api):
    change(judged, "k: 1", "k: 2")
    steer(judged, "fail", "evaluate-gan")
    failed = nightly(judged, "--api", api)
    assert failed.returncode == 1
    assert "not everything ran | FAILED evaluate@gan: error: evaluate-gan cannot go on" in failed.stderr
    assert not sh(judged, "git", "for-each-ref", "refs/exps").stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["--cron", "0 3 * *"], "--cron '0 3 * *': not a cron line; allowed: minute hour day month weekday, as in \"0 3 * * *\""),
    (["--cron", "0 3 * * *", "--timezone", "Mars/Hill"], "--timezone 'Mars/Hill': not a time zone; allowed: a name as in Europe/Berlin"),
    (["--api", "http://127.0.0.1:9/api"], "--api http://127.0.0.1:9/api: no Prefect server answers there"),
    (["--cron", "0 3 * * *", "--api", "http://127.0.0.1:9/api"], "--api http://127.0.0.1:9/api: no Prefect server answers there"),
    (["--publish", "/proc/www"], "--publish /proc/www: /proc cannot be written"),
    (["--publish", "data"], "--publish data: holds something that is no report (no index.html)"),
    (["--publish", "reports/www"], "--publish reports/www: lies inside reports/ or around it"),
    (["--accepted", "nowhere"], "--accepted: unknown revision 'nowhere'; allowed: any commit; branch master"),
    (["--accept", "nowhere"], "--accept: unknown revision 'nowhere'; allowed: any commit; branch master"),
    (["--notify", "http://127.0.0.1:9"], "--notify, --timezone and --port belong to a schedule"),
    (["--port", "4300"], "--notify, --timezone and --port belong to a schedule"),
    (["--jobs", "0"], "argument --jobs: 0 is out of range; allowed: at least 1; python -m pipelines.nightly --help"),
    (["now"], "unrecognized arguments: now"),
    (["--cron", "0 3 * * *", "--notify", "ftp:/x"], "--notify ftp:/x: neither an address (https://...) nor a block"),
])
def test_wrong_use_is_one_line_before_any_work(done, arguments, said):
    found = nightly(done, *arguments)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
    assert found.stderr.startswith(f"error: {said}")
    assert not (done / "data/.prefect/nightly/prefect.db").exists() and not (done / "data/.prefect/serve/prefect.db").exists()


def test_a_second_nightly_run_is_told_who_runs(done):
    (done / "data/.prefect/nightly").mkdir(parents=True)
    holder = "import sys; sys.path.insert(0, '.')\nfrom pathlib import Path\nfrom pipelines.workspace import locked\n" \
             "import subprocess\nwith locked(Path('.'), lock=Path('data/.prefect/nightly/lock')):\n" \
             "    print(subprocess.run([sys.executable, '-m', 'pipelines.nightly'], capture_output=True, text=True).stderr)\n"
    assert "error: another nightly run runs in this workspace: pid " in sh(done, sys.executable, "-c", holder).stdout


def test_nights_that_were_missed_are_cancelled(judged, api):
    """Runs that are hours late, as a scheduler leaves them when the machine was off."""
    code = """
import sys
from datetime import datetime, timedelta, timezone
from prefect.states import Scheduled
from prefect.client.orchestration import get_client
from pipelines.night import nightly
from prefect.flow_engine import run_flow
for hours in (50, 26, 2):
    with get_client(sync_client=True) as client:
        due = datetime.now(timezone.utc) - timedelta(hours=hours)
        made = client.create_flow_run(nightly, state=Scheduled(scheduled_time=due))
        state = run_flow(nightly, flow_run=client.read_flow_run(made.id), return_type="state")
        print(state.type.value, state.message)
"""
    ran = sh(judged, "env", f"PREFECT_API_URL={api}", sys.executable, "-c", code)
    lines = ran.stdout.splitlines()
    assert [line.split(" it was due")[0] for line in lines] == ["CANCELLED missed:"] * 3, ran.stdout + ran.stderr
    assert not sh(judged, "git", "for-each-ref", "refs/exps").stdout
