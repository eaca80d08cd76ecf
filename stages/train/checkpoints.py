"""Checkpoints of training: one safetensors file a seed, written whole or not at all; what a killed run goes on from.

`<root>/<run>/<seed>/<key>.safetensors`, where key is a hash of all that could change the result, so a changed setting starts afresh. When
a seed is done its file holds the final weights alone, so that adding a seed to the list later trains that seed alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.files import read_json, remove, replacing, write_json
from stages.runs import save_tensors


@dataclass
class State:
    """What is in a checkpoint: `step` finished steps (epochs of kernel families), named tensors, and JSON facts."""

    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    done: bool = False


class Store:
    """The checkpoints of one run."""

    def __init__(self, root: Path, run: str, key: str):
        self.folder, self.key = Path(root) / run, key
        self.damaged: Path | None = None  # a checkpoint that could not be read, put aside under this name

    def path(self, seed: int) -> Path:
        return self.folder / str(seed) / f"{self.key}.safetensors"

    def load(self, seed: int) -> State | None:
        """The last state of `seed` under this key, or None. A file that cannot be read is put aside and training starts afresh."""
        path = self.path(seed)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                return State(facts.pop("step"), {k: file.get_tensor(k) for k in file.keys()}, facts, facts.pop("done"))
        except (SafetensorError, KeyError, TypeError, ValueError, OSError):
            self.damaged = path.with_suffix(".bad")
            os.replace(path, self.damaged)
            return None

    def save(self, seed: int, state: State) -> None:
        facts = {**state.facts, "step": state.step, "done": state.done}
        with replacing(self.path(seed)) as temporary:
            save_tensors(temporary, state.tensors, {"facts": json.dumps(facts)})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def begin(self, seeds: list[int]) -> None:
        """Forget finished seeds if the same list was finished before under this key: then the user asks to train it again."""
        record = self.folder / "finished.json"
        if record.is_file() and read_json(record) == {"key": self.key, "seeds": sorted(seeds)}:
            for seed in seeds:
                self.path(seed).unlink(missing_ok=True)
        record.unlink(missing_ok=True)

    def finish(self, seeds: list[int]) -> None:
        """All seeds are done: drop what other settings and other seeds left behind, note the list."""
        keep = {self.path(seed) for seed in seeds}
        for path in sorted(self.folder.glob("*/*")):
            if path not in keep:
                remove(path)
        write_json(self.folder / "finished.json", {"key": self.key, "seeds": sorted(seeds)})


def key_of(facts: dict, sources: list[Path]) -> str:
    """Hash of the settings and facts and of the bytes of the source files."""
    digest = sha256(json.dumps(facts, sort_keys=True).encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]
