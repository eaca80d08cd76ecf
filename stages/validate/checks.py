"""What must hold, as data: a `Check` names a Great Expectations expectation, the column it judges and what a person reads about it.

Nothing here imports Great Expectations (2-3 s, 275 MB): settings are refused before it is loaded, `judge.py` alone runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from stages.settings import field

SPLITS = ("train", "valid", "test")
REPLACEMENT = "\ufffd"
# C0 and C1 controls (NUL included) but tab, line feed and carriage return
CONTROLS = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F\u0080-\u009F]"


@dataclass(frozen=True)
class Thresholds:
    """What every domain's `validate:` block may hold."""

    max_quarantine_share: float = field(0.2, low=0.0, high=1.0, doc="of a table's rows that row-level expectations may set aside")
    min_rows: int = field(1, low=1, doc="of the main table, after quarantine")


@dataclass(frozen=True)
class LabelThresholds(Thresholds):
    """The same where records carry labels."""

    min_classes: int = field(1, low=1, doc="distinct labels a labelled dataset must have; one class is said, not refused, by default")
    max_label_share: float = field(0.9, low=0.0, high=1.0, doc="of labelled records in the most frequent of two or more classes")


@dataclass(frozen=True)
class Check:
    """One expectation. `value` is what it judges: an expression over the table's rows (faults are counted, 0 is right), or the column.

    `frame` holds aggregates to judge instead of the table's own rows. At level "row" a row that fails goes to quarantine; at level
    "table" the share of rows allowed to fail is `mostly`'s rest, and more of them stop the pipeline. `note` may use {n} and {total}; with
    {n} it is said only where something is unexpected. `setting` names the threshold that decides at table level.
    """

    name: str
    table: str
    column: str
    allowed: str
    expectation: str = "ExpectColumnValuesToBeBetween"
    arguments: dict[str, Any] | None = None
    level: Literal["row", "table"] = "row"
    value: pl.Expr | None = None
    frame: pl.DataFrame | None = None
    note: str = ""
    setting: str = ""
    examples: Sequence[dict] | None = None


def _presence(column: str) -> pl.Expr:
    """1 or null: Great Expectations would take NaN for null too, and text would become a million Python objects."""
    return pl.when(pl.col(column).is_not_null()).then(1.0)


def present(table: str, column: str) -> Check:
    return Check(f"{column}_present", table, column, f"a value in {column}", "ExpectColumnValuesToNotBeNull", value=_presence(column))


def mostly_present(share: float, table: str, column: str) -> Check:
    return Check(f"{column}_mostly_present", table, column, f"at most {percent(share)} of the rows without {column}",
                 "ExpectColumnValuesToNotBeNull", {"mostly": round(1 - share, 12)}, "table", _presence(column),
                 note=f"{{n}} of {{total}} rows have no {column}", setting="max_null_share")


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def never(name: str, table: str, column: str, fault: pl.Expr, allowed: str, **rest) -> Check:
    """No row (at level "table": at most a `share` of them) may have `fault`; an unknown (null) is no fault."""
    share = rest.pop("share", None)
    arguments = {"value_set": [0]} | ({"mostly": round(1 - share, 12)} if share is not None else {})
    faults = fault.fill_null(False).cast(pl.Int8)  # in-set is one array operation; between would call Python for every row
    return Check(name, table, column, allowed, "ExpectColumnValuesToBeInSet", arguments, value=faults, **rest)


def at_most(share: float, name: str, table: str, column: str, fault: pl.Expr, allowed: str, note: str, **rest) -> Check:
    """Table level: at most `share` of the rows have `fault`, and their count is said."""
    if share < 1:
        allowed = f"{allowed}; up to {percent(share)} of the rows may differ" if share else allowed
    return never(name, table, column, fault, allowed, share=share, level="table", note=note, **rest)


def aggregate(name: str, table: str, column: str, row: dict, low: float, allowed: str, note: str = "",
              setting: str = "") -> Check:
    """Table level: `row[column]`, a number about the whole table, is at least `low`."""
    return Check(name, table, column, allowed, arguments={"min_value": low}, level="table", frame=pl.DataFrame([row]), note=note,
                 setting=setting)


def enough_rows(table: str, low: int, setting: str = "min_rows") -> Check:
    return Check("enough_rows", table, "", f"at least {low} rows", "ExpectTableRowCountToBeBetween", {"min_value": low}, "table",
                 setting=setting)


def finite(table: str, columns: Sequence[str]) -> Check:
    fault = pl.any_horizontal(pl.col(columns).is_finite().not_())
    return never("finite_numbers", table, ", ".join(columns), fault, "finite numbers (no NaN, no infinity)")


def encoded(table: str, columns: Sequence[str], lists: bool = False) -> list[Check]:
    """Texts were decoded with the right encoding: no U+FFFD, no control characters."""
    def any_has(pattern: str, literal: bool) -> pl.Expr:
        def has(text: pl.Expr) -> pl.Expr:
            return text.str.contains(pattern, literal=literal)
        return pl.any_horizontal(pl.col(c).list.eval(has(pl.element())).list.any() if lists else has(pl.col(c)) for c in columns)
    where = ", ".join(columns)
    return [
        never("no_replacement_characters", table, where, any_has(REPLACEMENT, True), "text without U+FFFD, the trace of a wrong encoding"),
        never("no_control_characters", table, where, any_has(CONTROLS, False), "text without control characters (NUL, escape, ...)"),
    ]


def not_blank(table: str, columns: Sequence[str]) -> Check:
    fault = pl.any_horizontal(pl.col(c).str.strip_chars() == "" for c in columns)
    return never("no_blank_text", table, ", ".join(columns), fault, "more than white space")


def unique(name: str, table: str, columns: Sequence[str]) -> Check:
    """No later row repeats an earlier row's `columns`; the first stays."""
    first = pl.struct(columns).is_first_distinct() if len(columns) > 1 else pl.col(columns[0]).is_first_distinct()
    fault = first.not_() & pl.all_horizontal(pl.col(columns).is_not_null())
    return never(name, table, ", ".join(columns), fault, f"each {' and '.join(columns)} once")


# splits

def known_split(table: str) -> Check:
    return Check("known_split", table, "split", "train, valid, test or nothing", "ExpectColumnValuesToBeInSet", {"value_set": list(SPLITS)})


def _rank() -> pl.Expr:
    return pl.col("split").replace_strict({name: i for i, name in enumerate(SPLITS)}, default=None, return_dtype=pl.Int8)


def no_leak(name: str, table: str, column: str, key: pl.Expr, what: str) -> Check:
    """`key` stands in one published split. The copy nearest to training leaves, so that a published test split stays as it was."""
    fault = (_rank() < _rank().max().over(key)) & key.is_not_null()
    return never(name, table, column, fault, f"no {what} in two splits; the copy nearest to training leaves")


def no_loose_copies(table: str, column: str, key: pl.Expr, unit: pl.Expr, what: str, name: str = "no_copy_before_hash_split") -> Check:
    """Where a hash of `unit` decides the split, equal `key`s of two units could land on both sides: they stay in one unit.

    A hash decides for rows without a published split, and for train where nobody published valid (prepare takes valid from it). The unit
    that stays is the first with a published split, else the first. Judge it after the leaks: those may leave no valid split.
    Copies are set aside here because a split by content could not also keep groups together.
    """
    split = pl.col("split")
    hashed = split.is_null() | ((split == "train") & (split == "valid").any().not_())
    stays = pl.coalesce(unit.filter(split.is_not_null()).first().over(key), unit.first().over(key))
    return never(name, table, column, hashed & (unit != stays) & key.is_not_null(),
                 f"each {what} once where a hash decides the split and could put copies on both sides; one with a published split stays, "
                 "else the first")


def copies(share: float, table: str, column: str, key: pl.Expr, what: str) -> Check:
    fault = key.is_first_distinct().not_() & key.is_not_null()
    return at_most(share, "few_copies", table, column, fault, f"no {what} twice", f"{{n}} of {{total}} rows repeat an earlier {what}",
                   setting="max_duplicate_share")


# labels

def labels(frame: pl.DataFrame, table: str, t: LabelThresholds, column: str = "label") -> list[Check]:
    """Enough classes, none of which has nearly everything. One class only is said and can go on; balance is judged from two."""
    counted = frame.group_by(pl.col(column).cast(pl.String)).len("rows").drop_nulls().sort(["rows", column], descending=[True, False])
    if counted.is_empty():
        return []
    total = int(counted["rows"].sum())
    enough = f"at least {t.min_classes} classes" if t.min_classes > 1 else "at least 1 class"
    checks = [
        aggregate("enough_classes", table, column, {column: counted.height}, t.min_classes, enough, f"{counted.height} found",
                  "min_classes"),
        at_most(1.0, "several_classes", table, column, pl.lit(counted.height == 1), "two or more classes (counted)",
                f"one class only, on all {total} labelled rows" if counted.height == 1 else "", frame=counted.head(1)),
    ]
    if counted.height > 1:
        shares = counted.with_columns(share=pl.col("rows") / total)
        checks.append(Check("labels_in_balance", table, column, f"no class above {percent(t.max_label_share)} of the labelled rows",
                            arguments={"max_value": t.max_label_share}, level="table", frame=shares, value=pl.col("share"),
                            setting="max_label_share"))
    return checks


def seen_labels(share: float, frame: pl.DataFrame, table: str) -> list[Check]:
    """Labels of a published valid or test split occur in train."""
    if "train" not in frame["split"].to_list():
        return []
    trained = frame.filter(pl.col("split") == "train")["label"].drop_nulls().unique().sort().to_list()
    fault = pl.col("split").is_in(["valid", "test"]) & pl.col("label").is_not_null() & pl.col("label").is_in(trained).not_()
    return [at_most(share, "labels_seen_in_train", table, "label", fault, "labels of valid and test that train has",
                    "{n} of {total} rows carry a label that train lacks", setting="max_unseen_label_share")]
