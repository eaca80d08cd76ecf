"""Trained runs on disk: `run.json` and one `weights.safetensors` a seed. Nothing is ever unpickled."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import stages.models
from stages.files import read_json
from stages.settings import InputError, choose, configure


def families() -> list[str]:
    """Names of the family files."""
    return sorted(m.name for m in pkgutil.iter_modules(stages.models.__path__) if m.name != "base" and not m.ispkg)


def family_module(name: str, where: str = "family"):
    """The module of a family, after a check against the files that exist."""
    path = f"stages/models/{choose(name, families(), where, 'family')}.py"
    try:
        module = importlib.import_module(f"stages.models.{name}")
    except (ImportError, SyntaxError, NameError) as error:
        raise InputError(f"{path}: cannot be imported ({type(error).__name__}: {error}); mend the file") from error
    for part in ("Config", "Model"):
        if not hasattr(module, part):
            raise InputError(f"{path}: has no {part}; stages/models/base.py says what a family is")
    if not module.Model.kinds:
        raise InputError(f"{path}: Model.kinds is empty; set it to the kinds of prepared data it reads (docs/formats.md), e.g. ('images',)")
    return module


def read_tensors(path: Path) -> dict:
    """Tensors of a safetensors file; anything else (a pickle, a truncated file) is refused in one line."""
    path = Path(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train the run first") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file ({error}); only safetensors are read, pickles never; "
                         "delete it and train again") from None


def save_tensors(path: Path, tensors: dict, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file. Raises OSError as any other writing does (the library would hide a full disk in an error of its own)."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    except SafetensorError as error:
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number.group(1)), os.strerror(int(number.group(1))), str(path)) from None
        raise


def load_run(folder: Path, seed: int, meta: dict):
    """The trained model of `seed` in eval mode on the CPU; `meta` is the prepared dataset's. Raises InputError if it does not fit."""
    folder = Path(folder)
    run = read_json(folder / "run.json")
    module = family_module(run["family"], f"{folder}/run.json")
    model = module.Model(configure(module.Config, run["model"], f"{folder}/run.json: model"), meta)
    tensors = read_tensors(folder / str(seed) / "weights.safetensors")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{folder}/{seed}/weights.safetensors: does not fit family {run['family']} "
                         f"({str(error).splitlines()[-1].strip()}); train again") from None
    return model.eval()
