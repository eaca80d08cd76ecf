"""Texts that a user gives to a trained run, a line each, and texts that it writes."""

from __future__ import annotations

import os
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

WORDS = 100_000  # of hypotheses times the longest text held at once
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


def check_target(path: Path) -> None:
    """InputError where no file can be written at `path`: said before the work, not after it."""
    folder = next(p for p in path.absolute().parents if p.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path}: no file can be written there; name one in a folder that is yours")


def write_lines(path: Path, texts: list[str]) -> None:
    """The texts, a line each: line breaks within one become spaces."""
    with replacing(path) as temporary:
        temporary.write_text("".join(" ".join(text.splitlines()) + "\n" for text in texts), encoding="utf-8")


class Translator:
    """Sentences through a trained run of family seq2seq, cut into words as its dataset was."""

    def __init__(self, model, data, params: Path, dataset: str):
        self.model, self.data = model, data
        self.settings = configure(TextSettings, load(params).datasets[dataset].prepare, f"{params}.datasets.{dataset}.prepare")
        self.pieces = data["source.subwords"].tobytes() if "source.subwords" in data else None
        self.index = {word: i for i, word in enumerate(data.table("source.words"))}
        self.unknown: dict[str, int] = {}  # words of the texts that the run has never read, and how often
        self.cut = 0  # texts longer than prepare.max_length
        self.stopped = 0  # translations that model.longest ended

    def ids(self, texts: list[str]) -> list[list[int]]:
        found = []
        for words in tokens(pl.Series([text.strip() for text in texts], dtype=pl.String), self.settings, self.pieces).to_list():
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
        read = self.ids(texts)
        for start, end in groups([len(words) for words in read], max(1, WORDS // beam)):
            known = [words for words in read[start:end] if words]
            made = iter(())
            if known:
                offsets = torch.from_numpy(np.cumsum([0, *map(len, known)]))
                made = iter(self.model.search(torch.tensor(sum(known, [])), offsets, beam)[0])
            for words in read[start:end]:
                found = next(made) if words else []
                self.stopped += len(found) >= self.model.config.longest
                yield spelt(found)

    def told(self) -> str:
        """What of the texts the run could not read or write as they are."""
        found = ""
        if self.unknown:
            total, seen = sum(self.unknown.values()), sorted(self.unknown, key=lambda w: (-self.unknown[w], w))
            found = f"; {total} unknown word{'s' * (total > 1)}, never read in training: {', '.join(map(ascii, seen[:5]))}" \
                    + ", ..." * (len(seen) > 5)
        if self.cut:
            found += f"; {self.cut} read to {self.settings.max_length} words alone (prepare.max_length)"
        return found + (f"; {self.stopped} ended at {self.model.config.longest} words (model.longest)" if self.stopped else "")


def groups(lengths: list[int], most: int) -> Iterator[tuple[int, int]]:
    """(first, end) of neighbours whose number times their longest is at most `most`; one alone may be longer."""
    start, longest = 0, 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > start and (i + 1 - start) * longest > most:
            yield start, i
            start, longest = i, length
    if lengths:
        yield start, len(lengths)
