"""Great Expectations judges checks: pandas columns made from polars, one suite a frame, every exception a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
import polars as pl
from great_expectations.data_context.types.base import ProgressBarsConfig

from stages.validate.checks import Check

SHOWN = 5  # offending rows a result carries
RESULT = {"result_format": "COMPLETE", "return_unexpected_index_query": False, "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Result:
    """What an expectation found. `rows` are the positions of the offending rows in the judged frame, ascending."""

    check: Check
    success: bool
    unexpected: int
    rows: np.ndarray
    examples: list[dict]
    note: str


def judge(frame: pl.DataFrame, checks: Sequence[Check]) -> list[Result]:
    """One result a check, in the order of `checks`, all of them on `frame`. An expectation that raised has failed."""
    columns = {_judged(c): c.value for c in checks if c.value is not None} | {c.column: pl.col(c.column) for c in checks if _whole(c)}
    suite = gx.ExpectationSuite(name="suite", expectations=[
        getattr(gxe, c.expectation)(**_column(c), **(c.arguments or {}), meta={"check": i}) for i, c in enumerate(checks)])
    judged = _pandas(frame.select(**columns) if columns else frame.clear(), frame.height)
    batch = _whole_frame().get_batch(batch_parameters={"dataframe": judged})
    found = {r.expectation_config.meta["check"]: r for r in batch.validate(suite, result_format=RESULT).results}
    return [_result(frame, check, found[i]) for i, check in enumerate(checks)]


@cache
def _whole_frame():
    """The batch definition that takes a pandas frame as it is; one in a process, since making it serialises a context several times."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context.data_sources.add_pandas("polars").add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")


def _judged(check: Check) -> str:
    """What the computed column that a check judges is called."""
    return f"{check.name}({check.column})"


def _whole(check: Check) -> bool:
    """The check judges a column of the frame as it stands."""
    return check.value is None and "Table" not in check.expectation


def _column(check: Check) -> dict[str, str]:
    if check.value is not None:
        return {"column": _judged(check)}
    return {"column": check.column} if _whole(check) else {}


def _pandas(frame: pl.DataFrame, height: int) -> pd.DataFrame:
    """Columns as numpy arrays (Great Expectations has no polars engine)."""
    return pd.DataFrame({column.name: column.to_numpy() for column in frame.get_columns()}, index=pd.RangeIndex(height))


def _result(frame: pl.DataFrame, check: Check, found) -> Result:
    error = _exception(found.exception_info)
    if error:
        return Result(check, False, 0, np.zeros(0, np.int64), [], f"could not be judged: {error}")
    if "unexpected_count" not in found.result:  # about the table, not its rows
        seen = found.result["observed_value"]
        return Result(check, found.success, int(not found.success), np.zeros(0, np.int64), [{"rows": seen}], f"{seen} rows")
    n, total = found.result["unexpected_count"], found.result["element_count"]
    rows = np.sort(np.asarray(found.result["unexpected_index_list"] or [], np.int64))
    note = check.note.replace("{n}", str(n)).replace("{total}", str(total)) if n or "{n}" not in check.note else ""
    shown = frame.select(c for c in frame.columns if not c.startswith("_"))[rows[:SHOWN].tolist()].to_dicts()
    return Result(check, bool(found.success), n, rows, list(check.examples) if check.examples is not None else shown, note)


def _exception(info: dict) -> str:
    """The message of whatever was raised; GX puts one record here, or one for each metric."""
    records = [info] if "raised_exception" in info else list(info.values())
    return "; ".join(str(r.get("exception_message")) for r in records if r.get("raised_exception"))
