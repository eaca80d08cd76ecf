"""Texts of tokens as a reader writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

SPECIALS = {"<unk>", "<s>", "</s>", "<end>"}
SPACE = "\u2581"  # sentencepiece's mark of the space before a piece


def speller(names: Sequence[str], subwords: bool) -> Callable[[Sequence[int]], str]:
    """ids -> text: words parted by spaces, characters by nothing, pieces of words (`subwords`) by the spaces that they carry."""
    characters = max((len(name) for name in names if name not in SPECIALS), default=2) <= 1
    joint = "" if subwords or characters else " "

    def spelt(ids: Sequence[int]) -> str:
        text = joint.join(names[i] for i in ids)
        return text.replace(SPACE, " ").strip() if subwords else text

    return spelt
