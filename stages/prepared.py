"""Reading a prepared dataset: `meta.json` and memory-mapped arrays, one `.npy` file each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from stages.files import read_json
from stages.settings import InputError


class Prepared:
    """A folder of data/prepared. `data["train.images"]` is a read-only memory map; `data.meta` what meta.json says."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.meta = read_json(self.folder / "meta.json")

    @cached_property
    def names(self) -> list[str]:
        return sorted(p.stem for p in self.folder.glob("*.npy"))

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.npy").is_file()

    def __getitem__(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise InputError(f"{self.folder}: has no array {name!r}; it holds {', '.join(self.names) or 'none'}")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{path}: not readable as an array ({error}); delete it and rerun the prepare stage") from None

    def table(self, name: str):
        """The JSON table `name` (a list of words, items, labels: its index is the id)."""
        return read_json(self.folder / f"{name}.json")
