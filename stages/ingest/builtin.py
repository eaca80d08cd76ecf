"""Built-in sources by name. Data alone: `states` reads it without heavy imports."""

from __future__ import annotations

from typing import NamedTuple


class Builtin(NamedTuple):
    domain: str
    module: str  # of stages.ingest; its function of the source's name takes checked options and returns a Raw
    reads_standard_library: bool = False  # then the data depend on Python's version


BUILTIN = {
    "simulated_shop": Builtin("receipts", "simulated_shop"),
    "pydoc_sentences": Builtin("corpora", "pydoc", True),
    "pydoc_documents": Builtin("corpora", "pydoc", True),
    "pydoc_paragraphs": Builtin("corpora", "pydoc", True),
    "pydoc_questions": Builtin("corpora", "pydoc", True),
    "python_tokens": Builtin("corpora", "python_tokens", True),
    "stdlib_names": Builtin("corpora", "python_tokens", True),
    "copying": Builtin("corpora", "series"),
    "dates": Builtin("corpora", "dates"),
    "karate": Builtin("graphs", "small_graphs"),
    "les_miserables": Builtin("graphs", "small_graphs"),
    "digits_neighbours": Builtin("graphs", "small_graphs"),
    "stdlib_calls": Builtin("graphs", "stdlib_calls", True),
    "stdlib_knowledge": Builtin("graphs", "stdlib_knowledge", True),
    "digits": Builtin("images", "pictures"),
    "photo_patches": Builtin("images", "pictures"),
    "photographs": Builtin("images", "pictures"),
    "shapes": Builtin("images", "shapes"),
    "adding": Builtin("images", "series"),
    "seasons": Builtin("images", "series"),
    "ring": Builtin("images", "mixtures"),
    "grid": Builtin("images", "mixtures"),
}
