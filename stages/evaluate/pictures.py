"""Pictures of a run as RGB arrays: grids of images, images beside their reconstructions, maps of vectors. numpy and Pillow, no fonts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PALETTE = np.array([(68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119), (153, 85, 17),
                    (204, 102, 0), (0, 68, 136), (40, 40, 40)], np.uint8)  # after Paul Tol; grey is for no label
BORDER = 235


def to_bytes(images: np.ndarray) -> np.ndarray:
    """float [N, C, H, W] in [0, 1] -> uint8 [N, H, W, 3]; one channel becomes grey, more than three show the first three."""
    x = np.moveaxis(np.asarray(images), 1, -1)
    x = np.round(np.clip(x, 0.0, 1.0) * 255).astype(np.uint8)
    if x.shape[-1] == 2:
        x = x[..., :1]
    return np.repeat(x, 3, -1) if x.shape[-1] == 1 else x[..., :3]


def grid(images: np.ndarray, columns: int, width: int = 640) -> np.ndarray:
    """uint8 [N, H, W, 3] -> one picture, row by row, enlarged by a whole number (pixels stay square) to at most `width`."""
    n, h, w, _ = images.shape
    scale = max(1, width // (columns * (w + 1)))
    images = images.repeat(scale, 1).repeat(scale, 2)
    h, w, gap = h * scale, w * scale, max(1, scale // 2)
    rows = -(-n // columns)
    page = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), BORDER, np.uint8)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        page[top : top + h, left : left + w] = image
    return page


def beside(first: np.ndarray, second: np.ndarray, columns: int) -> np.ndarray:
    """Rows of the first images, each above its row of the second: uint8 [N, H, W, 3] twice -> one picture."""
    rows = []
    for start in range(0, len(first), columns):
        a, b = first[start : start + columns], second[start : start + columns]
        blank = np.full((columns - len(a), *a.shape[1:]), BORDER, np.uint8)
        rows += [a, blank, b, blank]
    return grid(np.concatenate(rows), columns)


def scatter(points: np.ndarray, labels: np.ndarray | None = None, size: int = 640, radius: int = 3) -> np.ndarray:
    """Map of points [N, 2], coloured by label (ten colours in turn; -1 and no labels: grey). Outermost 1 % of each side are clipped in."""
    points = np.asarray(points, np.float64)
    low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
    place = np.clip((points - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    pixel = np.round(2 * (place * (size - 40) + 20)).astype(int)
    page = Image.new("RGB", (2 * size, 2 * size), (255, 255, 255))  # drawn twice as large, for smooth edges
    draw = ImageDraw.Draw(page)
    labels = np.full(len(points), -1) if labels is None else labels
    for (x, y), label in zip(pixel.tolist(), np.asarray(labels).tolist(), strict=True):
        colour = (150, 150, 150) if label < 0 else tuple(PALETTE[label % len(PALETTE)].tolist())
        draw.ellipse((x - 2 * radius, 2 * size - y - 2 * radius, x + 2 * radius, 2 * size - y + 2 * radius), fill=colour)
    return np.asarray(page.resize((size, size), Image.Resampling.BOX))


def save(picture: np.ndarray, path: Path) -> None:
    """PNG of at most 300 kB: full colour, else 64 colours, else half the size until it fits."""
    image = Image.fromarray(picture)
    image.save(path, "PNG", optimize=True)
    while path.stat().st_size > 300_000:
        image.quantize(64).save(path, "PNG", optimize=True)
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)


def legend(names: list[str]) -> str:
    """The colours of a map in words, for its alternative text: names beyond the tenth share a colour."""
    spoken = ("blue", "red", "green", "yellow", "cyan", "purple", "brown", "orange", "navy", "black")
    return ", ".join(f"{name} {spoken[i % 10]}" for i, name in enumerate(names))
