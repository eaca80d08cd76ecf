"""Which source an entry means: a built-in one, a public one, or the user's own files; found, checked, read and written."""

from __future__ import annotations

import importlib
import typing
from pathlib import Path

import polars as pl

from stages.command import disk_is_full
from stages.files import new_folder, remove
from stages.ingest.builtin import BUILTIN
from stages.ingest.raw import write
from stages.ingest.text_files import existing
from stages.settings import InputError, choose, configure

DOMAINS = ("receipts", "corpora", "graphs", "images")
SOURCES = ("builtin", "public", "path")


def ingest(dataset: str, entry, out: Path) -> dict:
    """Read the source of `entry` (domain, source, name, options) and write it as the folder `out`; returns source.json.

    Raises InputError for whatever the user can mend: names, options, files, checksums.
    """
    where = f"datasets.{dataset}"
    choose(entry.domain, DOMAINS, f"{where}.domain", "domain")
    choose(entry.source, SOURCES, f"{where}.source", "source")
    origin = {"dataset": dataset, "domain": entry.domain, "source": entry.source, "name": entry.name}
    scratch = Path(out).with_name(f".{Path(out).name}.scratch")
    with new_folder(scratch):  # an interrupted ingest left none of it, or an old one that is cleared here
        pass
    try:
        raw, explain = _READ[entry.source](entry, where, scratch)
        if entry.options.get("word_tests"):
            raw = importlib.import_module("stages.ingest.word_tests").with_word_tests(raw, where, scratch)
        try:
            return write(raw, out, origin)
        except pl.exceptions.PolarsError as error:  # of a table that is read while it is written
            if disk_is_full(error):
                raise
            raise explain(error) from None
    finally:
        remove(scratch)


def _builtin(entry, where, scratch):
    known = BUILTIN[choose(entry.name, BUILTIN, f"{where}.name", "built-in source")]
    function = _function(known, entry, where)
    return function(configure(options_of(function), entry.options, f"{where}.options")), RuntimeError


def _path(entry, where, scratch):
    from stages.ingest.table_files import explained

    function = importlib.import_module(f"stages.ingest.{entry.domain}").from_path
    options = configure(options_of(function), entry.options, f"{where}.options")
    path = existing(Path(entry.name), f"{where}.name")
    try:
        return function(options, path, scratch), lambda error: explained(path, options, error)
    except pl.exceptions.PolarsError as error:
        if disk_is_full(error):
            raise
        raise explained(path, options, error) from None


def _public(entry, where, scratch):
    from stages.ingest.download import Files
    from stages.ingest.public_files import PUBLIC
    from stages.ingest.table_files import first_line

    known = PUBLIC[choose(entry.name, PUBLIC, f"{where}.name", "public source")]
    function = _function(known, entry, where)
    files = Files(known)
    options = configure(options_of(function), entry.options, f"{where}.options")
    try:
        raw = function(options, files, scratch)
    except (ValueError, IndexError, pl.exceptions.PolarsError) as error:  # a line that is not as the format has it
        if disk_is_full(error):
            raise
        raise InputError(f"{entry.name}: its files are not in the expected format ({first_line(error)}); fetch them again") from None
    raw.licence, raw.address, raw.sha256 = known.licence, known.address, files.sha256
    return raw, lambda error: InputError(f"{entry.name}: not readable ({first_line(error)}); fetch its files again")


_READ = {"builtin": _builtin, "public": _public, "path": _path}


def _function(known, entry, where):
    if known.domain != entry.domain:
        raise InputError(f"{where}.domain: {entry.name} belongs to {known.domain}, found {entry.domain!r}")
    return getattr(importlib.import_module(f"stages.ingest.{known.module}"), entry.name)


def check(dataset: str, entry) -> None:
    """Refuse what `ingest` would refuse of names and options, before any work: reads no data."""
    where = f"datasets.{dataset}"
    if entry.source == "path":
        function = importlib.import_module(f"stages.ingest.{entry.domain}").from_path
    else:
        known = BUILTIN if entry.source == "builtin" else importlib.import_module("stages.ingest.public_files").PUBLIC
        function = _function(known[choose(entry.name, known, f"{where}.name", f"{entry.source} source")], entry, where)
    configure(options_of(function), entry.options, f"{where}.options")


def options_of(function) -> type:
    """The options dataclass a source takes: the type of its first parameter."""
    return next(iter(typing.get_type_hints(function).values()))
