"""A small project for the training stage as a program: images of noise, one run `r`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def digits(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, n in (("train", 64), ("valid", 16), ("test", 16)):
        np.save(folder / f"{split}.images.npy", rng.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8))
        np.save(folder / f"{split}.labels.npy", rng.integers(0, 3, n).astype(np.int32))
    (folder / "meta.json").write_text(
        json.dumps({"dataset": "d", "domain": "images", "kind": "images", "shape": [4, 4, 1], "classes": 3, "hash": "h"})
    )


def params(path: Path, run: str) -> None:
    path.write_text(f"""
split: {{salt: s}}
validate: {{}}
train: {{device: cpu, checkpoint_seconds: 0.05}}
datasets:
  d: {{domain: images, source: builtin, name: digits, options: {{}}, validate: {{}}, prepare: {{}}}}
runs:
  r: {run}
""")


def arguments(tmp_path) -> list[str]:
    """The stage's command line for run r of the project in tmp_path."""
    places = {"data": "data", "out": "out", "params": "params.yaml", "checkpoints": "checkpoints", "reports": "reports"}
    return ["r", *(text for name, place in places.items() for text in (f"--{name}", str(tmp_path / place)))]


def start(tmp_path, *more):
    command = [sys.executable, "-m", "stages.train", *arguments(tmp_path), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """(code, stderr) of the stage run in this process: starting Python and torch anew costs seconds."""
    from stages.command import command
    from stages.train.__main__ import main

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["train", *arguments(tmp_path), *map(str, more)])
        capsys.readouterr()
        try:
            command(main)
        except SystemExit as stop:
            return stop.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def finish(process):
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def weights(tmp_path, seed=0):
    return (tmp_path / "out" / str(seed) / "weights.safetensors").read_bytes()
