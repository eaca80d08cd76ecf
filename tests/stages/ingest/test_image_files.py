import gzip
import struct

import numpy as np
import polars as pl
import pytest
from PIL import Image

from stages.ingest.image_files import read_idx
from stages.settings import InputError


def idx(array):
    code = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}[array.dtype.name]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def test_idx_of_every_type_and_compression(tmp_path, images):
    for kind in ("uint8", "int8", "int16", "int32", "float32", "float64"):
        array = images.astype(kind)
        for name, data in (("a", idx(array)), ("a.gz", gzip.compress(idx(array)))):
            (tmp_path / name).write_bytes(data)
            read = read_idx(tmp_path / name)
            assert read.dtype == kind and np.array_equal(read, array)


def test_idx_with_labels(take, tmp_path, images):
    (tmp_path / "i-ubyte").write_bytes(idx(images))
    (tmp_path / "l-ubyte").write_bytes(idx(np.array([3, 1, 4, 1, 5], np.uint8)))
    _, out = take("images", "path", tmp_path / "i-ubyte", labels=str(tmp_path / "l-ubyte"))
    assert np.array_equal(np.load(out / "images.npy")[..., 0], images)
    table = pl.read_parquet(out / "images.parquet")
    assert table["label"].to_list() == ["3", "1", "4", "1", "5"] and table["height"][0] == 4 and table["width"][0] == 3
    assert table["maximum"].to_list() == images.max((1, 2)).tolist()


def test_bad_idx_is_refused(refusal, tmp_path, images):
    path = tmp_path / "i-ubyte"
    for data, said in ((idx(images)[:-1], "expected for shape (5, 4, 3), found 75"), (idx(images) + b"x", "damaged"),
                       (idx(images)[:9], "header of 16 bytes"), (b"PNG?", "not an IDX file"), (b"<!doctype html>", "a web page"),
                       (b"", "not an IDX file")):
        path.write_bytes(data)
        line = refusal("images", "path", path)
        assert line.startswith(f"{path}: ") and said in line
    packed = tmp_path / "i.gz"
    packed.write_bytes(gzip.compress(idx(images))[:-9])
    with pytest.raises(InputError, match="truncated"):
        read_idx(packed)
    path.write_bytes(idx(images))
    (tmp_path / "l").write_bytes(idx(np.zeros(3, np.uint8)))
    assert "3 labels for 5 images" in refusal("images", "path", path, labels=str(tmp_path / "l"))


def test_npz_names_scales_and_splits(take, tmp_path, images):
    np.savez(tmp_path / "a.npz", x=images / 255.0, y=np.arange(5), part=np.array(["train", "train", "train", "val", "test"]))
    _, out = take("images", "path", tmp_path / "a.npz", arrays={"images": "x", "labels": "y", "split": "part"}, scale="unit")
    assert np.array_equal(np.load(out / "images.npy")[..., 0], images)
    table = pl.read_parquet(out / "images.parquet")
    assert table["split"].to_list() == ["train", "train", "train", "valid", "test"] and table["label"][4] == "4"
    np.save(tmp_path / "a.npy", images)
    _, out = take("images", "path", tmp_path / "a.npy")
    assert np.load(out / "images.npy").shape == (5, 4, 3, 1)


def test_bad_npz_is_refused(refusal, tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{"code": 1}], dtype=object))
    assert "pickled Python objects, which are never read" in refusal("images", "path", path)
    np.savez(path, pictures=images)
    assert "no array 'images'; it holds pictures" in refusal("images", "path", path)
    assert "did you mean 'pictures'" in refusal("images", "path", path, arrays={"images": "picture"})
    np.savez(path, images=images)
    path.write_bytes(path.read_bytes()[:-30])
    assert "truncated" in refusal("images", "path", path)
    np.savez(path, images=images.astype(np.float32))
    assert "options.scale 'unit'" in refusal("images", "path", path, scale="unit")
    np.savez(path, images=images[0])
    assert "images have shape (4, 3)" in refusal("images", "path", path)
    np.savez(path, images=images, labels=np.zeros(4))
    assert "label has shape (4,)" in refusal("images", "path", path)
    np.savez(path, images=np.full((2, 4, 3), np.nan))
    assert "not finite" in refusal("images", "path", path)


def pictures(folder, sizes):
    rng = np.random.default_rng(1)
    for name, (height, width) in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)


def test_folder_of_pictures_has_labels_and_splits_from_its_subfolders(take, tmp_path):
    pictures(tmp_path / "p", {"train/cat/1.png": (4, 5), "test/dog/2.png": (4, 5), "train/cat/0.png": (4, 5)})
    _, out = take("images", "path", tmp_path / "p")
    assert pl.read_parquet(out / "images.parquet").select("image_id", "split", "label").rows() == [
        ("test/dog/2.png", "test", "dog"), ("train/cat/0.png", "train", "cat"), ("train/cat/1.png", "train", "cat")]
    assert np.array_equal(np.load(out / "images.npy")[0], np.asarray(Image.open(tmp_path / "p/test/dog/2.png")))


def test_pictures_of_several_sizes_are_refused_or_padded(take, refusal, tmp_path):
    pictures(tmp_path / "p", {"a.png": (4, 5), "b.png": (6, 3)})
    line = refusal("images", "path", tmp_path / "p")
    assert "6x3 pixels" in line and "4x5" in line and "options.size to pad" in line
    _, out = take("images", "path", tmp_path / "p", size="pad", channels=1)
    images, table = np.load(out / "images.npy"), pl.read_parquet(out / "images.parquet")
    assert images.shape == (2, 6, 5, 1) and not images[0, 4:].any() and not images[1, :, 3:].any() and images[1, 5, 2]
    assert table.select("height", "width").rows() == [(4, 5), (6, 3)]


def test_corrupt_pictures_are_named(refusal, tmp_path):
    pictures(tmp_path / "p", {"a.png": (40, 50), "b.png": (40, 50)})
    path = tmp_path / "p" / "b.png"
    whole = path.read_bytes()
    for data in (whole[:-500], b"", b"<html>", whole[:8] + b"\0" * 90):
        path.write_bytes(data)
        line = refusal("images", "path", tmp_path / "p")
        assert line.startswith(f"{path}: a corrupt picture")


def test_grey_and_colour_together_need_channels(refusal, tmp_path):
    pictures(tmp_path / "p", {"a.png": (4, 5)})
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "p" / "b.png")
    assert "set options.channels to 1 or 3" in refusal("images", "path", tmp_path / "p")
