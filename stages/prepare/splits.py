"""Splits fixed by a hash of the record's id (or group), never by row order: new rows do not reshuffle old ones."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import polars as pl

from stages.settings import InputError, field

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Shares:
    """`split:` of params.yaml with a dataset's own shares laid over it."""

    salt: str
    valid: float = field(0.1, low=0.0, high=0.8)
    test: float = field(0.1, low=0.0, high=0.8)


def position(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on the text and the salt alone."""
    return int.from_bytes(blake2b(f"{salt}:{text}".encode(), digest_size=8).digest(), "big") / 2**64


def by_hash(text: str, shares: Shares) -> str:
    """train, valid or test."""
    x = position(text, shares.salt)
    return "test" if x < shares.test else "valid" if x < shares.test + shares.valid else "train"


def with_splits(table: pl.DataFrame, id_column: str, shares: Shares, group: str | None = "group") -> pl.DataFrame:
    """`table` with a complete `split` column.

    A published split wins, and holds for the records of its group that have none; the others are split by the hash of their group, or of
    their id where they have none. Where a publisher gave train but no valid, valid is taken from train by hash. Copies are not looked
    for: validate leaves none that a hash could part. `group` names the column of groups, None where the id alone is one.
    Raises InputError where nothing is left to train on.
    """
    key = pl.coalesce(group, id_column) if group in table.columns else pl.col(id_column)
    keys = table.select(key=key.cast(pl.String))["key"].unique(maintain_order=True)
    assigned = pl.DataFrame({"_key": keys, "_hashed": [by_hash(k, shares) for k in keys]}, schema={"_key": pl.String, "_hashed": pl.String})
    table = table.with_columns(_key=key.cast(pl.String)).join(assigned, on="_key", how="left", maintain_order="left")
    if "split" in table.columns:
        own = pl.col("split").cast(pl.String)
        of_group = pl.when(own.min().over("_key") == own.max().over("_key")).then(own.min().over("_key"))  # null where there are two
        split = pl.coalesce(own, of_group)
        names = table["split"].drop_nulls().unique().to_list()
        if names and "valid" not in names:
            split = pl.when((split == "train") & (pl.col("_hashed") == "valid")).then(pl.lit("valid")).otherwise(split)
        table = table.with_columns(split=pl.coalesce(split, "_hashed"))
    else:
        table = table.with_columns(split=pl.col("_hashed"))
    table = table.drop("_key", "_hashed")
    if table.filter(pl.col("split") == "train").is_empty():
        raise InputError(f"no record is left in the train split (valid {shares.valid:g}, test {shares.test:g}, {len(keys)} groups); "
                         "lower the shares under split: or prepare:, or give the records finer groups")
    return table
