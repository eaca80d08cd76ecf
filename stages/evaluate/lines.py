"""Texts that a user gives to a trained run, a line each, and texts that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch

from stages.evaluate.spelling import speller
from stages.files import replacing
from stages.params import load
from stages.settings import InputError, configure
from stages.tokens import TextSettings, tokens

ROWS = 64  # texts through a model at once
UNKNOWN = 0


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, without its byte-order mark; empty ones too. One InputError line for what is no text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a text file, a sentence a line") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason}); save it as UTF-8") from None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise InputError(f"{path}: holds no text; write a sentence a line")
    return lines


def write_lines(path: Path, lines: list[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class Translator:
    """Sentences through a trained run of family seq2seq, cut into words as its dataset was."""

    def __init__(self, model, data, params: Path, dataset: str):
        self.model, self.data = model, data
        self.settings = configure(TextSettings, load(params).datasets[dataset].prepare, f"{params}.datasets.{dataset}.prepare")
        self.pieces = data["source.subwords"].tobytes() if "source.subwords" in data else None
        self.index = {word: i for i, word in enumerate(data.table("source.words"))}
        self.unknown: dict[str, int] = {}  # words of the texts that the run has never read, and how often
        self.cut = 0  # texts longer than prepare.max_length

    def ids(self, texts: list[str]) -> list[list[int]]:
        found = []
        for words in tokens(pl.Series(texts, dtype=pl.String), self.settings, self.pieces).to_list():
            self.cut += len(words) > self.settings.max_length
            words = words[: self.settings.max_length]
            for word in words:
                if word not in self.index:
                    self.unknown[word] = self.unknown.get(word, 0) + 1
            found.append([self.index.get(word, UNKNOWN) for word in words])
        return found

    def translate(self, texts: list[str], beam: int) -> Iterator[str]:
        """The translation of each text, in order; of one without a word the empty text."""
        spelt = speller(self.data.table("target.words"), "subwords" in self.data.meta)
        for start in range(0, len(texts), ROWS):
            read = self.ids(texts[start : start + ROWS])
            known = [r for r in read if r]
            made = iter(())
            if known:
                offsets = torch.from_numpy(np.cumsum([0, *map(len, known)]))
                made = iter(self.model.search(torch.tensor(sum(known, [])), offsets, beam)[0])
            for words in read:
                yield spelt(next(made)) if words else ""

    def told(self) -> str:
        """What of the texts the run could not read as they are."""
        found = ""
        if self.unknown:
            seen = ", ".join(sorted(self.unknown, key=lambda w: (-self.unknown[w], w))[:5])
            found = f"; {sum(self.unknown.values())} words it has never read, taken for one unknown word: {seen}" \
                    + ", ..." * (len(self.unknown) > 5)
        return found + (f"; {self.cut} cut after {self.settings.max_length} words" if self.cut else "")
