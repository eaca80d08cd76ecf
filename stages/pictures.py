"""Picture files as arrays of bytes: what Pillow reads, and nothing that would change a picture in silence."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from stages.settings import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MOST = 500_000_000  # pixels, up to 5 GB while they are read; a file of a few kilobytes may claim to have more than fit into the memory
GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")


def read_picture(path: Path, channels: int | None) -> np.ndarray:
    """uint8 [H, W, C] of a picture file, C = `channels`, or 1 for grey ones and 3 for all others.

    Turned as its EXIF orientation says. Palettes become colours, 16 bits become round(v / 257), an alpha channel without transparent pixels
    is left out. Raises InputError, one line, for transparent pixels (what lies behind them is not in the file), for 32-bit values, for more
    than 500 million pixels, and for a damaged file.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _of_any_size(), Image.open(path) as picture:
            if picture.width * picture.height > MOST:
                raise InputError(f"{path}: {picture.width} x {picture.height} are more than {MOST:,} pixels; cut it into parts")
            ImageOps.exif_transpose(picture, in_place=True)
            mode = picture.mode
            if mode in ("I", "F"):
                raise InputError(f"{path}: has 32 bits a value (mode {mode}), of no known range; save it with 8 or 16")
            wanted = channels or (1 if mode in GREY else 3)
            if mode.startswith("I;16"):
                bits = np.asarray(picture).astype(np.uint32).reshape(picture.height, picture.width, 1)
                return ((bits + 128) // 257).astype(np.uint8).repeat(wanted, 2)  # 257 is odd: no ties to round
            if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                if (clear := picture.getchannel("A").getextrema()[0]) < 255:
                    raise InputError(f"{path}: has transparent pixels (alpha down to {clear} of 255), which no model sees; "
                                     "flatten it on a background")
            mode = "L" if wanted == 1 else "RGB"
            whole = picture if picture.mode == mode else picture.convert(mode)
            return np.asarray(whole, np.uint8).reshape(picture.height, picture.width, wanted)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: a corrupt picture or none at all ({error}); replace it or move it out of the folder") from None


@contextlib.contextmanager
def _of_any_size():
    """Without Pillow's own limit, at which it warns of 89 million pixels and calls 179 million an error."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
