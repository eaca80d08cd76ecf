"""Picture files: what is turned into bytes, and what is refused in one line."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stages.pictures import read_picture
from stages.settings import InputError


@pytest.fixture
def saved(tmp_path):
    def save(image, name="a.png", **options):
        path = tmp_path / name
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
        return path

    return save


def test_sixteen_bits_are_scaled_and_not_clipped(saved):
    path = saved(np.array([[0, 257, 300, 32896, 65535]], np.uint16))
    assert read_picture(path, None)[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    assert read_picture(path, 3).shape == (1, 5, 3)


def test_a_palette_becomes_its_colours(saved):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert read_picture(saved(image), None)[0].tolist() == [[10, 20, 30], [200, 100, 50]]


def test_opaque_alpha_is_left_out_and_transparency_refused(saved):
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[..., :3] = 7
    assert (read_picture(saved(pixels), None) == 7).all() and read_picture(saved(pixels), None).shape == (2, 2, 3)
    pixels[0, 0, 3] = 12
    with pytest.raises(InputError, match=r"b\.png: has transparent pixels \(alpha down to 12 of 255\).*flatten it"):
        read_picture(saved(pixels, "b.png"), None)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([1, 2, 3, 4, 5, 6])
    with pytest.raises(InputError, match="transparent"):
        read_picture(saved(palette, "c.png", transparency=0), None)


def test_a_picture_of_any_size_is_read_and_one_that_would_fill_the_memory_refused(saved, tmp_path, monkeypatch, recwarn):
    """Pillow warns of 89 million pixels and refuses 179 million, under the name of an attack."""
    path, limit = saved(Image.new("L", (14_000, 13_000), 7)), Image.MAX_IMAGE_PIXELS
    assert 14_000 * 13_000 > 2 * limit and read_picture(path, None).shape == (13_000, 14_000, 1)
    assert Image.MAX_IMAGE_PIXELS == limit and not len(recwarn)
    header = struct.pack(">IIBBBBB", 100_000, 20_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    (tmp_path / "claims.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(InputError, match="claims.png: 100000 x 20000 are more than 500,000,000 pixels; cut it into parts"):
        read_picture(tmp_path / "claims.png", None)


def test_values_of_32_bits_and_damaged_files_are_refused(saved, tmp_path):
    with pytest.raises(InputError, match=r"mode F\), of no known range"):
        read_picture(saved(np.zeros((2, 2), np.float32), "a.tiff"), None)
    path = saved(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8), "b.png")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"b\.png: a corrupt picture"):
        read_picture(path, None)


def test_a_photograph_is_turned_as_its_camera_said(saved):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn it clockwise
    assert read_picture(saved(pixels, exif=exif), 1)[..., 0].tolist() == np.rot90(pixels, -1).tolist()
