"""Dates written in twenty locales, to be translated into ISO form: sequence to sequence with one right answer.

Formats are `medium`, `long` and `full`; `short` is left out because 03/04/05 has several readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from stages.ingest.raw import Raw
from stages.settings import InputError, field

LOCALES = ("cs", "da", "de", "el", "en_GB", "en_US", "es", "fa", "fi", "fr", "hu", "it", "ja", "nb", "nl", "pl", "pt", "ru", "sv", "tr")
FORMATS = ("medium", "long", "full")


@dataclass(frozen=True)
class DateOptions:
    pairs: int = field(10_000, low=1)
    two: float = field(0.5, low=0, high=1, doc="share of pairs that hold two dates")
    first_year: int = field(1950, low=1, high=9998)
    last_year: int = field(2049, low=1, high=9998)
    seed: int = 0


def dates(options: DateOptions) -> Raw:
    """Pairs of a text of one or two dates and the same in ISO form, no text twice; all texts of a target are one `group`."""
    from babel.dates import format_date

    if options.first_year > options.last_year:
        raise InputError(f"options.first_year: {options.first_year} is after options.last_year, {options.last_year}")
    rng = np.random.default_rng(options.seed)
    start = date(options.first_year, 1, 1)
    days = (date(options.last_year, 12, 31) - start).days + 1
    found: dict[str, str] = {}
    misses = 0
    while len(found) < options.pairs and misses < 100 * options.pairs:
        locale, count = LOCALES[rng.integers(len(LOCALES))], 1 + (rng.random() < options.two)
        moments = [start + timedelta(days=int(d)) for d in rng.integers(days, size=count)]
        text = " ; ".join(format_date(m, FORMATS[rng.integers(len(FORMATS))], locale) for m in moments)
        misses += text in found
        found[text] = " ; ".join(m.isoformat() for m in moments)
    rows = [(f"p{i:06d}", text, target, target) for i, (text, target) in enumerate(found.items())]
    return Raw("pairs", {"pairs": pl.DataFrame(rows, schema=["pair_id", "source", "target", "group"], orient="row")},
               licence="simulated; names of months and days from CLDR (Unicode licence) through babel", notes={"babel": _babel_version()})


def _babel_version():
    import babel

    return babel.__version__
