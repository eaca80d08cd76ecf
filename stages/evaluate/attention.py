"""What a translator attends to: how wide, which source word beside each word it writes, and the whole map as a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, MARGIN = 14, 18  # pixels of a map
NAMED = 2  # letters of a name there is room for


def entropies(weights: np.ndarray) -> np.ndarray:
    """-sum a log a of each row of weights, in nats: [words written, words read] -> [words written]; 0 log 0 is 0."""
    return -(weights * np.log(np.where(weights > 0, weights, 1.0))).sum(1)


def alignment(weights: np.ndarray, read: list[str], written: list[str]) -> list[list]:
    """A row a word written: the word, the word read that it attends most, that weight, the entropy of all its weights."""
    best = weights[:, : len(read)].argmax(1)
    return [[word, read[j], round(float(w[j]), 3), round(float(h), 3)]
            for word, j, w, h in zip(written, best, weights, entropies(weights), strict=True)]


def heat(weights: np.ndarray, columns: list[str], rows: list[str]) -> np.ndarray:
    """Picture of a matrix in [0, 1], [len(rows), len(columns)], its rows and columns named by short texts: uint8 [H, W, 3].

    The font has ASCII letters alone, and Pillow lays nothing out from right to left: other scripts are shown by `alignment`.
    """
    page = Image.new("RGB", (MARGIN + CELL * len(columns) + 24, MARGIN + CELL * len(rows) + 6), (255, 255, 255))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for j, name in enumerate(columns):
        draw.text((MARGIN + CELL * (j + 0.5), MARGIN - 3), name[:NAMED], (60, 60, 60), font, anchor="mb")
    for i, name in enumerate(rows):
        draw.text((MARGIN - 3, MARGIN + CELL * (i + 0.5)), name[:NAMED], (60, 60, 60), font, anchor="rm")
        for j in range(len(columns)):
            shade = int(round(255 * (1 - float(np.clip(weights[i, j], 0, 1)))))
            left, top = MARGIN + CELL * j, MARGIN + CELL * i
            draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), (shade, shade, 255))
    return np.asarray(page)
