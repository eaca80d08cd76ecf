"""Run a domain's suite: passes over the tables, each seeing only the rows that the passes before it let through."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from stages.files import new_folder, replacing
from stages.validate.checks import Check, Thresholds, at_most, never
from stages.validate.judge import SHOWN, Result, judge
from stages.validate.suite import Dataset, Suite, chunk_rows

QUARANTINE = {"table": pl.String, "row": pl.Int64, "expectation": pl.String, "column": pl.String, "reason": pl.String, "record": pl.String}
ROW_GROUP = 250_000  # as in ingest: the same rows give the same bytes


@dataclass
class Outcome:
    results: list[Result]
    dataset: Dataset
    quarantine: pl.DataFrame
    rows: dict[str, int]
    thresholds: Thresholds

    @property
    def failures(self) -> list[Result]:
        """What stops the pipeline: table-level failures, and row-level expectations that could not be judged."""
        return [r for r in self.results if not r.success and (r.check.level == "table" or not r.unexpected)]


def run(dataset: Dataset, suite: Suite, thresholds: Thresholds) -> Outcome:
    """Judge `dataset`; its tables lose the rows that fail. Stops where schema or array are wrong: nothing else could be judged."""
    before = {name: table.height for name, table in dataset.tables.items()}
    results, quarantined = [_schema(dataset, suite), *_judged(suite.facts(dataset), dataset)], []
    sound = all(r.success for r in results)
    if sound:
        suite.measure(dataset)
        for make in suite.passes:
            last = len(results)
            found = _judged(make(dataset, thresholds), dataset)
            results += found
            quarantined += _set_aside(found, dataset)
    quarantine = pl.concat(quarantined) if quarantined else pl.DataFrame(schema=QUARANTINE)
    if sound:
        # before the last pass, about whole tables: too few rows or classes may be the consequence
        results[last:last] = _judged(_few_quarantined(before, quarantine, suite, thresholds), dataset)
    return Outcome(results, dataset, quarantine, before, thresholds)


def _schema(dataset: Dataset, suite: Suite) -> Result:
    rows = []
    for name, expected in suite.kinds[dataset.kind].items():
        if name in dataset.tables:
            found = {k: v for k, v in dataset.tables[name].schema.items() if not k.startswith("_")}
            open_columns = {c: kind for c in found if c not in expected and (kind := suite.extra(name, c)) is not None}
            rows += [(name, c, str(kind), str(found.get(c, "missing"))) for c, kind in {**expected, **open_columns}.items()]
    frame = pl.DataFrame(rows, schema=["table", "column", "expected", "found"], orient="row")
    wrong = frame.filter(pl.col("expected") != pl.col("found"))
    where = (wrong["table"][0], wrong["column"][0]) if len(wrong) else (", ".join(dataset.tables), "")
    check = never("columns_and_types", where[0], where[1], pl.col("expected") != pl.col("found"),
                  "the columns and types of docs/formats.md", level="table", frame=frame, note="{n} of {total} columns differ")
    return judge(frame, [check])[0]


def _judged(checks: list[Check], dataset: Dataset) -> list[Result]:
    """Results in the order of `checks`; those on one frame share a Great Expectations suite."""
    groups: dict[int | str, list[int]] = {}
    for i, check in enumerate(checks):
        groups.setdefault(check.table if check.frame is None else id(check.frame), []).append(i)
    results: dict[int, Result] = {}
    for members in groups.values():
        first = checks[members[0]]
        frame = dataset.tables[first.table] if first.frame is None else first.frame
        results.update(zip(members, judge(frame, [checks[i] for i in members]), strict=True))
    return [results[i] for i in range(len(checks))]


def _set_aside(results: list[Result], dataset: Dataset) -> list[pl.DataFrame]:
    """Take the rows that failed at row level out of the tables; return them as quarantine frames."""
    frames = []
    for name, table in dataset.tables.items():
        failed: dict[int, list[Check]] = {}
        for result in results:
            if result.check.level == "row" and result.check.table == name:
                for row in result.rows.tolist():
                    failed.setdefault(row, []).append(result.check)
        if not failed:
            continue
        rows = sorted(failed)
        bad = table[rows]
        records = bad.select(c for c in table.columns if not c.startswith("_")).iter_rows(named=True)
        frames.append(pl.DataFrame({
            "table": [name] * len(rows),
            "row": bad["_row"].cast(pl.Int64),
            "expectation": [failed[r][0].name for r in rows],
            "column": [failed[r][0].column for r in rows],
            "reason": ["; ".join(f"{c.column}: expected {c.allowed}" for c in failed[r]) for r in rows],
            "record": [as_json(record) for record in records],
        }, schema=QUARANTINE))
        keep = np.ones(table.height, bool)
        keep[rows] = False
        dataset.tables[name] = table.filter(pl.Series(keep))
    return frames


def as_json(record: dict) -> str:
    """A row as JSON text. NaN and infinity, which JSON lacks, are spelled; dates are ISO."""
    spelled = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(spelled, ensure_ascii=False, allow_nan=False, default=str)


def _few_quarantined(before: dict[str, int], quarantine: pl.DataFrame, suite: Suite, t: Thresholds) -> list[Check]:
    """A check for each table: at most its share of rows was set aside. The column is that of the most frequent reason."""
    limits = dict.fromkeys(before, "max_quarantine_share") | suite.limits
    checks = []
    for name, rows in before.items():
        gone = quarantine.filter(pl.col("table") == name)
        frame = pl.DataFrame({"set_aside": np.isin(np.arange(rows), gone["row"].to_numpy())})
        columns = gone.group_by("expectation", "column").len().sort(["len", "expectation"], descending=[True, False])["column"]
        check = at_most(getattr(t, limits[name]), "few_rows_quarantined", name, columns[0] if len(columns) else "", pl.col("set_aside"),
                        "rows that row-level expectations let through", "{n} of {total} rows were set aside", frame=frame,
                        setting=limits[name])
        shown = gone.head(SHOWN).select("reason", "record").iter_rows()
        checks.append(replace(check, examples=[{"reason": r, **json.loads(record)} for r, record in shown]))
    return checks


def write_quarantine(outcome: Outcome, path: Path) -> None:
    with replacing(path) as temporary:
        outcome.quarantine.write_parquet(temporary, compression="zstd", row_group_size=ROW_GROUP)


def write_clean(outcome: Outcome, folder: Path) -> None:
    """The raw folder's files without the rows set aside; files that lost nothing are copied byte for byte."""
    dataset = outcome.dataset
    with new_folder(folder) as new:
        for path in sorted(dataset.folder.iterdir()):
            table = dataset.tables.get("images" if path.suffix == ".npy" else path.stem)
            if table is None or table.height == outcome.rows["images" if path.suffix == ".npy" else path.stem]:
                shutil.copyfile(path, new / path.name)
            elif path.suffix == ".parquet":
                table.select(c for c in table.columns if not c.startswith("_")).write_parquet(
                    new / path.name, compression="zstd", row_group_size=ROW_GROUP)
            else:
                _write_rows(dataset.arrays[path.stem], table["_row"].to_numpy(), new / path.name)


def _write_rows(array: np.ndarray, rows: np.ndarray, path: Path) -> None:
    step = chunk_rows(array)
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": (len(rows), *array.shape[1:])}
    with open(path, "wb") as out:  # not a memory map: a full disk ends that process without a word
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, len(rows), step):
            out.write(np.ascontiguousarray(array[rows[start:start + step]]).data)
