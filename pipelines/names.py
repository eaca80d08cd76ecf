"""Names in a line of text: the first few, and how many there are besides."""

from __future__ import annotations

from collections.abc import Iterable


def some(names: Iterable[str], most: int = 5, between: str = ", ") -> str:
    names = list(names)
    return between.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
