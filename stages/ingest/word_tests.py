"""Tests of word vectors that travel with a corpus: the Google analogies and WordSim-353 (option `word_tests` of documents).

Analogies: Mikolov et al. 2013 (https://arxiv.org/abs/1301.3781); similarity: Finkelstein et al. 2002 (https://doi.org/10.1145/503104.503110).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.ingest.download import Files
from stages.ingest.public_files import WORD_TESTS
from stages.ingest.raw import Raw
from stages.ingest.text_files import plain
from stages.settings import InputError, field


@dataclass(frozen=True)
class WordTests:
    """The option, for the options of a source of documents to inherit."""

    word_tests: bool = field(False, doc="add the Google analogies and WordSim-353, public files, for word vectors to be measured by")


def with_word_tests(raw: Raw, where: str, scratch: Path) -> Raw:
    """`raw` with the tables analogies and similarity. InputError where it holds no documents or a file is not what it should be."""
    if raw.kind != "documents":
        raise InputError(f"{where}.options.word_tests: they measure vectors of documents' words, but this source gives {raw.kind}; "
                         "leave it out")
    files = Files(WORD_TESTS)
    raw.tables["analogies"] = analogies(plain(files["questions-words.txt"], "utf-8", scratch))
    raw.tables["similarity"] = similarity(plain(files["EN-WS-353-ALL.txt"], "utf-8", scratch))
    raw.notes["word_tests"] = {"licence": WORD_TESTS.licence, "address": WORD_TESTS.address, "sha256": files.sha256}
    return raw


def analogies(path: Path) -> pl.DataFrame:
    """Lines of four words, a is to b as c is to d, under headings `: section`."""
    rows, section = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if words[:1] == [":"] and len(words) == 2:
            section = words[1]
        elif len(words) == 4 and section is not None:
            rows.append((section, *words))
        elif words:
            raise _unlike(path, number, line, "`: section` or, below one, four words")
    if not rows:
        raise InputError(f"{path}: holds no analogy; expected lines of four words below `: section`; fetch it again")
    return pl.DataFrame(rows, schema=dict.fromkeys(("section", "a", "b", "c", "d"), pl.String), orient="row")


def similarity(path: Path) -> pl.DataFrame:
    """Lines of two words and people's mean judgement of their similarity, parted by tabs."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        if not line.strip():
            continue
        try:
            first, second, score = fields[0], fields[1], float(fields[2])
        except (IndexError, ValueError):
            raise _unlike(path, number, line, "two words and a number, parted by tabs") from None
        if len(fields) != 3 or not first or not second or not math.isfinite(score):
            raise _unlike(path, number, line, "two words and a number, parted by tabs")
        rows.append((first, second, score))
    if not rows:
        raise InputError(f"{path}: holds no pair of words; fetch it again")
    return pl.DataFrame(rows, schema={"first": pl.String, "second": pl.String, "score": pl.Float64}, orient="row")


def _unlike(path, number, line, wanted):
    return InputError(f"{path}: line {number} is {line[:60]!r}; expected {wanted}; fetch the file again")
