"""The coordinator's parts, each alone: addresses, remotes, snapshots, places on workers that come and go."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

from pipelines.cluster import bootstrap, coordinator, snapshot, storage, workers
from pipelines.cluster.slots import ClusterSlots
from pipelines.cluster.workers import Worker
from pipelines.graph import Plan, Stage
from stages.settings import InputError
from tests.pipelines.conftest import ROOT, dvc, sh


@pytest.mark.parametrize(("address", "line"), [
    ("dusk://a:1", "--runner dusk://a:1: unknown kind of cluster; allowed: dask://HOST:PORT; ray://HOST:PORT, ray://auto"),
    ("127.0.0.1:8786", "--runner 127.0.0.1:8786: unknown kind of cluster"),
    ("dask://auto", "--runner dask://auto: not an address; expected dask://HOST:PORT"),
    ("dask://host", "--runner dask://host: not an address"),
    ("ray://somewhere", "--runner ray://somewhere: not an address; expected ray://HOST:PORT, ray://auto"),
])
def test_an_address_that_is_none(address, line):
    with pytest.raises(InputError) as error:
        workers.check(address)
    assert str(error.value).startswith(line)
    assert workers.check("ray://local") == ("ray", "local") and workers.check("dask://[::1]:8786") == ("dask", "[::1]:8786")


def test_what_is_not_installed_is_named_with_how_to_get_it(project, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("distributed", "dvc_s3") else find(name))
    with pytest.raises(InputError, match="dask://a:1: needs the package distributed; .*: pip install -r requirements-cluster.lock"):
        workers.check("dask://a:1")
    dvc(project, "remote", "add", "bucket", "s3://here/there")
    with pytest.raises(InputError, match=r"remote bucket \(s3://here/there\): needs the package dvc_s3; .*requirements-cluster.lock"):
        storage.choose(project, "bucket")


def test_nobody_at_the_address(monkeypatch):
    from pipelines.cluster import dask

    monkeypatch.setattr(dask, "PATIENCE", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(InputError, match=f"--runner dask://127.0.0.1:{port}: no Dask scheduler answers there .*start one with: dask sch"):
        workers.connect(f"dask://127.0.0.1:{port}", Path("."))


def test_a_remote_that_is_not_there(project, tmp_path):
    with pytest.raises(InputError, match=r"--runner needs a DVC remote, .* no default one; .*configured: none; dvc remote add NAME URL"):
        storage.choose(project, None)
    dvc(project, "remote", "add", "shared", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="--remote shard: no such DVC remote; configured: shared .did you mean 'shared'"):
        storage.choose(project, "shard")
    with pytest.raises(InputError, match=r"remote shared \(.*nowhere\): no such folder"):
        storage.answers(project, *storage.choose(project, "shared"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dvc(project, "remote", "add", "bucket", "s3://here/there")
        dvc(project, "remote", "modify", "bucket", "endpointurl", f"http://127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(InputError, match=r"remote bucket \(s3://here/there\): http://127.0.0.1:\d+ does not answer \(.*refused"):
            storage.answers(project, *storage.choose(project, "bucket"))


def test_keys_stay_here():
    lines = storage.told("bucket", {"url": "s3://a/b", "endpointurl": "http://c", "secret_access_key": "hidden", "use_ssl": False})
    assert "hidden" not in lines and "secret" not in lines
    assert "['remote \"bucket\"']\nurl = s3://a/b\nendpointurl = http://c\nuse_ssl = false\n" in lines.replace("    ", "")


def test_a_snapshot_is_what_git_sees_and_leaves_git_alone(project):
    with pytest.raises(InputError, match="there is no commit; run git init and commit first"):
        snapshot.take(project)
    sh(project, "git", "add", "-A")
    sh(project, "git", "commit", "-q", "-m", "all")
    (project / "work.py").unlink()
    (project / "params.yaml").write_text("changed: true\n")
    (project / "new.py").write_text("new")
    (project / "data").mkdir()
    (project / "data" / "ignored").write_text("ignored")
    before = sh(project, "git", "status", "--porcelain").stdout, sh(project, "git", "for-each-ref").stdout
    taken = snapshot.take(project)
    assert before == (sh(project, "git", "status", "--porcelain").stdout, sh(project, "git", "for-each-ref").stdout)
    assert sorted(taken.changed) == ["new.py", "params.yaml", "work.py"]
    assert taken == snapshot.take(project)
    names = sh(project, "git", "ls-tree", "-r", "--name-only", taken.commit).stdout.split()
    assert "new.py" in names and "work.py" not in names and "data/ignored" not in names
    assert sh(project, "git", "show", f"{taken.commit}:params.yaml").stdout == "changed: true\n"
    assert sh(project, "git", "rev-list", "--count", taken.commit).stdout.strip() == "1"


class Fake:
    """A cluster whose workers are what the test says."""

    gives_devices = False

    def __init__(self, *there: Worker, **facts):
        self.there, self._facts = list(there), facts

    def workers(self):
        return self.there

    def facts(self, worker, libraries):
        own = bootstrap.facts(libraries)
        return {**own, "versions": {**own["versions"], **self._facts.get(worker.label, {})}}


ONE, TWO = Worker("tcp://1", "one", 2, 0, 8.0), Worker("tcp://2", "two", 1, 1, 8.0)


def stage(name, needs=(), resource="cpu", memory=0.0):
    return Stage(name, tuple(needs), (), (), (f"data/{name}",), resource, memory)


def test_places_are_those_of_the_workers_and_near_what_was_made(monkeypatch):
    monkeypatch.setattr("pipelines.cluster.slots.LOOK", 0.0)
    fake = Fake(ONE)
    slots = ClusterSlots(fake, lambda worker: True)
    assert [slots.take(stage(name))[0] for name in "ab"] == ["one", "one"] and slots.take(stage("c")) is None
    fake.there = [ONE, TWO]  # a worker comes
    assert slots.take(stage("c"))[0] == "two" and slots.take(stage("d")) is None
    assert slots.take(stage("g", resource="gpu")) == ("two", 0) and slots.of("g")[1] == ("gpu", 0)
    assert slots.take(stage("h", resource="gpu")) is None  # it waits for the device, though
    slots.made("c")
    for name in "abc":
        slots.give_back(name)
    assert slots.take(stage("d", needs=["c"]))[0] == "two"
    assert slots.take(stage("e", needs=["c"]))[0] == "one"
    fake.there = [ONE]  # and goes
    assert slots.take(stage("f"))[0] == "one" and slots.of("d")[0] is None
    slots.give_back("f")
    assert slots.move(stage("d"), lambda: False) and slots.of("d")[0] == ONE
    slots.give_back("d")


def test_a_flow_without_workers_ends(monkeypatch):
    monkeypatch.setattr("pipelines.cluster.slots.PATIENCE", 0.0)
    fake = Fake(ONE)
    slots = ClusterSlots(fake, lambda worker: True)
    fake.there = []
    with pytest.raises(InputError, match="no worker has been there for 0 s"):
        slots.look()


def test_a_stage_that_loses_the_last_worker_gives_back_what_it_has_not(monkeypatch):
    monkeypatch.setattr("pipelines.cluster.slots.PATIENCE", 0.0)
    monkeypatch.setattr("pipelines.cluster.slots.LOOK", 0.0)
    fake = Fake(ONE)
    slots = ClusterSlots(fake, lambda worker: True)
    slots.take(stage("a"))
    fake.there = []
    with pytest.raises(InputError, match="no worker"):
        slots.move(stage("a"), lambda: False)
    slots.give_back("a")


def test_workers_that_differ_are_named_or_refused(tmp_path):
    notes = []

    def cluster(strict, **facts):
        taken = snapshot.Snapshot("c", b"", "p", ())
        return coordinator.Cluster(tmp_path, None, Plan({}, {}, []), Fake(ONE, TWO, **facts), taken, "r", "", strict, notes.append)

    cluster(False, two={"numpy": "1.0", "torch": None})
    [note] = notes
    assert note.startswith("note: worker two differs from this machine, results may too: ")
    assert "numpy 1.0, here 2." in note and "no torch, here 2." in note
    with pytest.raises(InputError, match=r"worker two: differs from this machine \(--strict\): numpy 1.0, here"):
        cluster(True, two={"numpy": "1.0"})
    with pytest.raises(InputError, match="worker one: no dvc there; install the same as here, or end that worker"):
        cluster(False, one={"dvc": None})


def test_a_worker_writes_nowhere_but_into_outputs():
    assert coordinator.inside("reports/metrics/a.json", ["reports"])
    assert not any(coordinator.inside(path, ["reports"]) for path in ("reports/../work.py", "/etc/passwd", "work.py", "reports/./a"))


def test_where_ray_start_would_ask_for_a_token_it_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 32)
    code = "import os, pipelines.cluster.ray; print(os.environ['RAY_AUTH_MODE'])"
    for given, mode in (({}, "token"), ({"RAY_AUTH_MODE": "disabled"}, "disabled")):
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert sh(ROOT, sys.executable, "-c", code).stdout == f"{mode}\n"
