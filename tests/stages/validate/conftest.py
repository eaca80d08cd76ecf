"""`held(...)` writes a raw dataset, holds it against its domain's suite in this process and gives back what came of it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.command import quiet_libraries
from stages.settings import configure

quiet_libraries()


class Held:
    """An outcome with what was written beside it."""

    def __init__(self, outcome, folder):
        self.outcome, self.folder = outcome, folder
        self.quarantine = pl.read_parquet(folder / "quarantine.parquet")
        self.failed = [r.check.name for r in outcome.failures]
        self.page = (folder / "report" / "index.html").read_text(encoding="utf-8")
        self.summary = json.loads((folder / "report" / "summary.json").read_text(encoding="utf-8"))

    def result(self, name, table=None):
        found = [r for r in self.outcome.results if r.check.name == name and table in (None, r.check.table)]
        assert len(found) == 1, f"{name}: {len(found)} results among {[r.check.name for r in self.outcome.results]}"
        return found[0]

    def clean(self, table):
        return pl.read_parquet(self.folder / "clean" / f"{table}.parquet")

    def array(self, name):
        return np.load(self.folder / "clean" / f"{name}.npy", allow_pickle=False)

    def set_aside(self, name, table=None):
        """Raw positions of the rows in quarantine for expectation `name`."""
        rows = self.quarantine.filter(pl.col("expectation") == name)
        return sorted((rows if table is None else rows.filter(pl.col("table") == table))["row"].to_list())


def write_raw(folder, kind, tables, arrays=None):
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    for name, array in (arrays or {}).items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / "source.json").write_text(json.dumps({"kind": kind, "rows": 0}), encoding="utf-8")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    from stages.validate.engine import run, write_clean, write_quarantine
    from stages.validate.page import write_report
    from stages.validate.suite import read

    def hold(domain, kind, tables, arrays=None, **thresholds):
        tmp_path = tmp_path_factory.mktemp("held")
        suite = import_module(f"stages.validate.{domain}").SUITE
        write_raw(tmp_path / "raw", kind, tables, arrays)
        outcome = run(read(tmp_path / "raw", suite), suite, configure(suite.thresholds, thresholds, "validate"))
        write_quarantine(outcome, tmp_path / "quarantine.parquet")
        write_clean(outcome, tmp_path / "clean")
        write_report("toy", domain, outcome, Path("quarantine.parquet"), tmp_path / "report")
        return Held(outcome, tmp_path)

    return hold


@pytest.fixture(scope="session")
def raw():
    """The writer of raw folders, for tests that run the stage as a command."""
    return write_raw
