"""Pieces of words by byte-pair encoding, by the sentencepiece library.

Sennrich, Haddow, Birch 2016, https://aclanthology.org/P16-1162 ; Kudo, Richardson 2018, https://aclanthology.org/D18-2012 .
The space before a word is the mark U+2581 at the head of its piece, so that pieces end to end spell the text.
"""

from __future__ import annotations

import io
import re

import polars as pl

from stages.settings import InputError


def fit(texts: pl.Series, size: int) -> bytes:
    """The model of the texts' lines, at most `size` pieces; the same texts give the same bytes. Every character of them is a piece.

    Raises InputError where the texts hold more characters than `size`.
    """
    import sentencepiece

    model = io.BytesIO()
    lines = [line for text in texts.drop_nulls() for line in text.split("\n") if line.strip()]
    if not lines:
        raise InputError("the train split has no text to learn pieces of words from")
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=size, hard_vocab_limit=False,
            character_coverage=1.0, normalization_rule_name="identity", num_threads=1, max_sentence_length=1 << 20, minloglevel=2,
            bos_id=-1, eos_id=-1)
    except RuntimeError as error:
        least = re.search(r"(\d+) vs (\d+)", str(error))
        what = f"; at least {least[2]} are needed, one a character" if least else f" ({error})"
        raise InputError(f"prepare.subwords: {size} pieces are too few for the train split{what}") from None
    return model.getvalue()


def cut(texts: pl.Series, model: bytes) -> pl.Series:
    """list[str] a text: the pieces of its lines, one after another; a null text gives null."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    found = [None if text is None else [piece for line in text.split("\n") for piece in processor.encode(line, out_type=str)]
             for text in texts]
    return pl.Series(texts.name, found, dtype=pl.List(pl.String))


def names(model: bytes) -> list[str]:
    """Every piece of the model but `<unk>`."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size()) if not processor.is_unknown(i)]
