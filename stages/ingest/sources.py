"""Which source an entry means: a built-in one, a public one, or the user's own files; found, checked, read and written."""

from __future__ import annotations

import importlib
import typing
from pathlib import Path

import polars as pl

from stages.files import new_folder, remove
from stages.ingest.raw import write
from stages.ingest.text_files import existing
from stages.settings import InputError, choose, configure

DOMAINS = ("receipts", "corpora", "graphs", "images")
SOURCES = ("builtin", "public", "path")

# name -> domain and module; the function of that name there takes its checked options and returns a Raw
BUILTIN = {
    "simulated_shop": ("receipts", "simulated_shop"),
    "pydoc_sentences": ("corpora", "pydoc"),
    "pydoc_documents": ("corpora", "pydoc"),
    "dates": ("corpora", "dates"),
    "karate": ("graphs", "small_graphs"),
    "les_miserables": ("graphs", "small_graphs"),
    "digits_neighbours": ("graphs", "small_graphs"),
    "stdlib_calls": ("graphs", "stdlib_calls"),
    "stdlib_knowledge": ("graphs", "stdlib_knowledge"),
    "digits": ("images", "pictures"),
    "photo_patches": ("images", "pictures"),
    "shapes": ("images", "shapes"),
    "ring": ("images", "mixtures"),
    "grid": ("images", "mixtures"),
}


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
        try:
            return write(raw, out, origin)
        except pl.exceptions.PolarsError as error:  # of a table that is read while it is written
            raise explain(error) from None
    finally:
        remove(scratch)


def _builtin(entry, where, scratch):
    domain, module = BUILTIN[choose(entry.name, BUILTIN, f"{where}.name", "built-in source")]
    if domain != entry.domain:
        raise InputError(f"{where}.domain: the built-in source {entry.name} belongs to {domain}, found {entry.domain!r}")
    function = getattr(importlib.import_module(f"stages.ingest.{module}"), entry.name)
    return function(configure(options_of(function), entry.options, f"{where}.options")), RuntimeError


def _path(entry, where, scratch):
    from stages.ingest.table_files import explained

    function = importlib.import_module(f"stages.ingest.{entry.domain}").from_path
    options = configure(options_of(function), entry.options, f"{where}.options")
    path = existing(Path(entry.name), f"{where}.name")
    try:
        return function(options, path, scratch), lambda error: explained(path, options, error)
    except pl.exceptions.PolarsError as error:
        raise explained(path, options, error) from None


_READ = {"builtin": _builtin, "path": _path}


def options_of(function) -> type:
    """The options dataclass a source takes: the type of its first parameter."""
    return next(iter(typing.get_type_hints(function).values()))
