"""data/sources.json: the file by which DVC notices that a source changed."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.ingest import states
from stages.ingest.public_files import PUBLIC
from stages.settings import InputError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with one dataset of each kind; paths are relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("receipt_id,item\n1,a\n")
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    (tmp_path / "pictures" / "cat" / "1.png").write_bytes(b"x")
    write(tmp_path, ALL)
    return tmp_path


ALL = {
    "shop": "{domain: receipts, source: builtin, name: simulated_shop}",
    "kg": "{domain: graphs, source: builtin, name: stdlib_knowledge}",
    "mnist": "{domain: images, source: public, name: mnist}",
    "mine": "{domain: receipts, source: path, name: mine.csv}",
    "cats": "{domain: images, source: path, name: pictures, options: {labels: mine.csv}}",
}


def write(folder, entries):
    (folder / "params.yaml").write_text("datasets:\n" + "".join(f"  {name}: {entry}\n" for name, entry in entries.items()))


def update(check=False):
    return states.update(Path("params.yaml"), Path("data/sources.json"), check)


def read():
    return json.loads(Path("data/sources.json").read_text())


def test_each_kind_of_source_has_its_state(project):
    assert update() == ["cats", "kg", "mine", "mnist", "shop"]
    found = read()
    assert found["shop"] == {} and found["kg"] == {"python": platform.python_version()}
    assert found["mine"]["files"]["mine.csv"] == {"size": 20, "sha256": sha(b"receipt_id,item\n1,a\n")}
    assert found["cats"]["files"] == {"mine.csv": found["mine"]["files"]["mine.csv"],
                                      "pictures": {"count": 1, "size": 1, "sha256": sha(f"{sha(b'x')}  cat/1.png\n".encode())}}
    assert found["mnist"]["sha256"]["train-images-idx3-ubyte.gz"] == PUBLIC["mnist"].files[0].content


def test_nothing_changed_writes_nothing(project):
    update()
    os.utime("data/sources.json", ns=(1, 1))
    assert update() == [] and os.stat("data/sources.json").st_mtime_ns == 1


def test_a_changed_file_changes_exactly_its_dataset(project):
    update()
    Path("pictures/cat/2.png").write_bytes(b"y")
    assert update(check=True) == ["cats"] and read()["cats"]["files"]["pictures"]["count"] == 1
    assert update() == ["cats"] and update() == [] and read()["cats"]["files"]["pictures"]["count"] == 2
    Path("pictures/cat/2.png").rename("pictures/cat/3.png")  # a label may hang on a name
    assert update() == ["cats"] and update() == []


def test_a_removed_dataset_leaves(project):
    update()
    write(project, {"mine": ALL["mine"]})
    assert update() == ["cats", "kg", "mnist", "shop"] and list(read()) == ["mine"]


def test_hashes_are_remembered_by_size_and_time(project, monkeypatch):
    update()
    with monkeypatch.context() as patch:
        patch.setattr(states.hashlib, "file_digest", lambda *args: pytest.fail("hashed again"))
        assert update() == []
    before = os.stat("mine.csv")
    Path("mine.csv").write_text("receipt_id,item\n1,b\n")  # same size
    os.utime("mine.csv", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert update() == ["cats", "mine"]


def test_a_missing_file_is_noted_and_left_to_ingest(project):
    Path("mine.csv").unlink()
    update()
    assert read()["mine"] == {"files": {"mine.csv": {"missing": True}}}


def test_damaged_state_is_written_anew_and_wrong_params_are_one_line(project):
    update()
    Path("data/sources.json").write_text("{")
    assert len(update()) == 5
    Path("params.yaml").write_text("datasets: [1]")
    with pytest.raises(InputError, match="expected a mapping under datasets"):
        update()
    Path("params.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not readable as YAML"):
        update()
    Path("params.yaml").unlink()
    with pytest.raises(InputError, match="no such file"):
        update()


def test_command_is_quick_and_check_tells_by_its_code(project):
    command = [sys.executable, "-m", "stages.ingest.states", "--params", project / "params.yaml", "--out", project / "sources.json"]

    def run(*more):
        return subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True)

    checked = run("--check")
    assert checked.returncode == 1 and "not up to date: cats, kg, mine, mnist, shop" in checked.stdout
    assert run().returncode == 0 and run("--check").returncode == 0 and run("--check").stdout == ""


def test_imports_nothing_heavy():
    code = "import sys, stages.ingest.states; print(sorted({'numpy', 'polars', 'torch', 'yaml', 'urllib.request'} & set(sys.modules)))"
    start = time.process_time()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
    assert time.process_time() - start < 1


def sha(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()
