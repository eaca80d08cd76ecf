"""A chart of lines as an RGB array, for runs whose numbers are a series. The font is Pillow's own: nothing is read from the system."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.evaluate.pictures import PALETTE

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 180, 20, 52
INK, FAINT = (60, 60, 60), (225, 225, 225)


def lines(series: dict[str, list[tuple[float, float]]], x_title: str, y_title: str, ticks: list[float]) -> np.ndarray:
    """A line a method over x (drawn at equal distances, one a tick), named at its right end; y from 0 to 1. uint8 [H, W, 3]."""
    page = Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    at = {x: LEFT + (WIDTH - LEFT - RIGHT) * i / max(len(ticks) - 1, 1) for i, x in enumerate(ticks)}

    def height(y):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - min(max(y, 0.0), 1.0))

    for y in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line((LEFT, height(y), WIDTH - RIGHT, height(y)), fill=FAINT)
        draw.text((LEFT - 8, height(y)), f"{y:g}", INK, font, anchor="rm")
    for x, place in at.items():
        draw.line((place, TOP, place, HEIGHT - BOTTOM), fill=FAINT)
        draw.text((place, HEIGHT - BOTTOM + 6), f"{x:g}", INK, font, anchor="mt")
    draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8), x_title, INK, font, anchor="mb")
    draw.text((8, 4), y_title, INK, font, anchor="lt")
    ends = []
    for i, (name, points) in enumerate(series.items()):
        colour = tuple(PALETTE[i % len(PALETTE)].tolist())
        path = [(at[x], height(y)) for x, y in points]
        draw.line(path, fill=colour, width=3 if i == 0 else 2)
        for x, y in path:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        if path:
            ends.append([path[-1][1], path[-1], name, colour])
    lowest = -np.inf
    for end in sorted(ends, key=lambda e: e[0]):  # names of lines that end together stand under each other
        lowest = end[0] = max(end[0], lowest + 15)
    shift = max(0.0, lowest - (HEIGHT - BOTTOM))
    for place, (x, y), name, colour in ends:
        draw.line((x + 4, y, x + 12, place - shift), fill=colour)
        draw.text((x + 15, place - shift), name, colour, font, anchor="lm")
    return np.asarray(page)
