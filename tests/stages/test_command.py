"""What a program says when something outside it goes wrong: one line, an exit code, nothing half-written."""

import errno
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from stages.command import command
from stages.files import new_folder, read_json, replacing, rounded, write_json
from stages.runs import load_run, read_tensors, save_tensors
from stages.settings import InputError


@pytest.mark.parametrize(
    ("raised", "code", "expected"),
    [
        (InputError("a.b: unknown\n  thing"), 2, "error: a.b: unknown thing\n"),
        (MemoryError(), 1, "error: out of memory: the machine has no more to give; use a smaller batch_size or dataset\n"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nstack"),
            1,
            "error: out of memory: [enforce fail]",
        ),
        (RuntimeError("CUDA error: device-side assert or device lost"), 1, "error: the GPU failed: CUDA error"),
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), 1, "error: disk full while writing x/y; free some space and run again"),
        (OSError("2222 requested and 2016 written"), 1, "error: disk full while writing output; free some space"),
        (ValueError("parquet: No space left on device (os error 28)"), 1, "error: disk full while writing output; free some space"),
        (KeyboardInterrupt(), 130, "error: interrupted; run again to go on"),
    ],
)
def test_one_line_and_the_exit_code(raised, code, expected, capsys):
    def main():
        raise raised

    with pytest.raises(SystemExit) as stop:
        command(main)
    err = capsys.readouterr().err
    assert stop.value.code == code and err.startswith(expected) and err.count("\n") == 1


def test_a_defect_of_ours_is_not_dressed_up():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command(main)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(RuntimeError), new_folder(tmp_path / "d") as folder:
        (folder / "f").write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_process_left_half_written_goes_with_the_next_write(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f".x.json.{gone.pid}.tmp", ".x.json.1.tmp", f".y.json.{gone.pid}.tmp"):
        (tmp_path / name).write_text("half")
    write_json(tmp_path / "x.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.json.1.tmp", f".y.json.{gone.pid}.tmp", "x.json"]  # process 1 runs


def test_json_is_rounded_and_has_no_nan(tmp_path):
    assert rounded({"a": [1.23456789, float("nan")], "b": torch.tensor(2.0), "c": 3}) == {"a": [1.23457, None], "b": 2.0, "c": 3}
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="bad.json: not readable as JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(InputError, match="no such file; run the stage that writes it"):
        read_json(tmp_path / "none.json")


def test_weights_are_safetensors_and_nothing_else(tmp_path):
    pickled = tmp_path / "weights.safetensors"
    torch.save({"x": torch.zeros(2)}, pickled)
    with pytest.raises(InputError, match="only safetensors are read, pickles never"):
        read_tensors(pickled)
    save_file({"x": torch.zeros(1000)}, pickled)
    pickled.write_bytes(pickled.read_bytes()[:500])
    with pytest.raises(InputError, match="not a safetensors file"):
        read_tensors(pickled)
    with pytest.raises(InputError, match="no such file; train the run first"):
        read_tensors(tmp_path / "none")
    with pytest.raises(OSError) as caught:
        save_tensors(tmp_path / "no" / "folder", {"x": torch.zeros(1)})
    assert caught.value.errno == errno.ENOENT


def test_a_run_of_another_make_is_refused(tmp_path):
    (tmp_path / "0").mkdir()
    save_file({"other": torch.zeros(1)}, tmp_path / "0/weights.safetensors")
    (tmp_path / "run.json").write_text(json.dumps({"family": "gan", "model": {}}))
    meta = {"shape": [8, 8, 1], "classes": 0}
    with pytest.raises(InputError, match="does not fit family gan"):
        load_run(tmp_path, 0, meta)
    (tmp_path / "run.json").write_text(json.dumps({"family": "os", "model": {}}))
    with pytest.raises(InputError, match="unknown family 'os'"):
        load_run(tmp_path, 0, meta)


def test_a_family_file_that_is_none_is_one_line(monkeypatch):
    import sys
    from types import ModuleType

    from stages.runs import family_module

    for name, parts, expected in (
        ("vae", {}, "stages/models/vae.py: has no Config"),
        ("gan", {"Config": 1, "Model": type("Model", (), {"kinds": ()})}, "stages/models/gan.py: Model.kinds is empty"),
    ):
        module = ModuleType(f"stages.models.{name}")
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, f"stages.models.{name}", module)
        with pytest.raises(InputError, match=expected):
            family_module(name)
