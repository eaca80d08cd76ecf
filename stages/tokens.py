"""Texts -> tokens, the same for what a run is trained on and for what is asked of it later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from stages import subwords
from stages.settings import field

UNKNOWN, START, END = "<unk>", "<s>", "</s>"


@dataclass(frozen=True)
class TextSettings:
    tokenizer: Literal["words", "characters", "spaces", "subwords"] = field(
        "words", doc="spaces: what stands between white space, as it is; subwords: pieces of words, learnt from the train split")
    subwords: int = field(4000, low=10, high=1_000_000, doc="different pieces that are learnt, of tokenizer subwords")
    lower: bool = field(True)
    min_count: int = field(1, low=1, doc="rarer words are <unk>")
    max_words: int = field(1_000_000, low=2, doc="vocabulary size with <unk>")
    max_length: int = field(1_000_000, low=1, doc="longer texts are cut, and counted in meta.json")
    valid: float | None = field(None, low=0.0, high=0.8)
    test: float | None = field(None, low=0.0, high=0.8)
    bag: bool = field(False, doc="of documents: how often each word occurs (kind counts), without English stop words, marks and numbers")
    sentences: bool = field(False, doc="of documents: each line is a sentence; the array `sentences` says of which each token is")


def tokens(texts: pl.Series, settings: TextSettings, model: bytes | None = None) -> pl.Series:
    """list[str] a text; `model` is that of `pieces_of`.

    Words are runs of letters, digits, marks, underscores and apostrophes or zero-width joiners inside them; any other visible character
    is a token of its own, but for a written `<unk>`, which is one.
    """
    if settings.lower:
        texts = texts.str.to_lowercase()
    if model is not None:
        return subwords.cut(texts, model)
    if settings.tokenizer == "characters":
        return texts.str.split("")
    if settings.tokenizer == "spaces":
        return texts.str.extract_all(r"\S+")
    return texts.str.extract_all(UNKNOWN + r"|[\w\p{M}]+(?:['’\x{200c}\x{200d}][\w\p{M}]+)*|[^\w\s]")
