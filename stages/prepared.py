"""Reading a prepared dataset: `meta.json` and memory-mapped arrays, one `.npy` file each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from stages.files import read_json
from stages.settings import InputError

MAIN = {"documents": "words", "receipts": "items", "graph": "nodes", "triples": "entities"}  # what a dataset's vectors are of
OTHERS = {"relation": "relations", "normal": "relations"}
FIRST = ("input", "node", "entity", "relation")  # of several vectors of the same rows, those that bear the rows' name


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

    def rows_of(self, vectors: str) -> tuple[str, str]:
        """(name for users, JSON table of its rows) of what a model's `vectors()` calls `vectors`: input of receipts is items, output

        items.output. Metadata values, field.<name>, keep their name; output.field.<name> is field.<name>.output.
        """
        kind, metadata, field = vectors.partition("field.")
        if metadata:
            table = f"field.{field}"
            return (f"{table}.{kind.rstrip('.')}" if kind else table), table
        table = OTHERS.get(vectors, MAIN.get(self.meta["kind"]))
        if table is None:
            raise InputError(f"{self.folder}: {self.meta['kind']} have no named rows that vectors could be of")
        return (table if vectors in FIRST else f"{table}.{vectors}"), table

    def columns_of(self, table: str) -> dict[str, list]:
        """What else is known of the rows of `table`: an item's metadata, a node's label; empty text where there is none."""
        if table == "items":
            found = {name: (self[f"field.{name}"], self.table(f"field.{name}")) for name in self.meta.get("fields", {})}
        elif table == "nodes" and self.meta.get("classes"):
            found = {"class": (self["labels"], self.table("labels"))}
        else:
            found = {}
        return {name: [values[i] if i >= 0 else "" for i in ids.tolist()] for name, (ids, values) in found.items()}
