"""The user's own photographs to translate: patches, two piles, pairs by name, and what cannot be used."""

import re

import numpy as np
import polars as pl
import pytest
from PIL import Image


def pictures(folder, sizes, seed=0):
    rng = np.random.default_rng(seed)
    for name, shape in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)


def test_a_folder_without_pictures_is_no_misspelling(refusal, tmp_path):
    pictures(tmp_path / "p", {"x/1.png": (8, 8, 3)})
    (tmp_path / "p/y").mkdir()
    line = refusal("images", "path", tmp_path / "p", domains=["x", "y"])
    assert "p/y: holds no picture" in line and "did you mean" not in line


def test_photographs_are_cut_into_patches_that_stay_together(take, tmp_path):
    pictures(tmp_path / "p", {"a.png": (40, 33, 3), "sub/b.png": (16, 16, 3)})
    out = take("images", "path", tmp_path / "p", patch=16)[1]
    table = pl.read_parquet(out / "images.parquet")
    images = np.load(out / "images.npy")
    whole = np.asarray(Image.open(tmp_path / "p/a.png"))
    assert images.shape == (5, 16, 16, 3) and (images[1] == whole[:16, 16:32]).all()
    assert table["group"].to_list() == ["a"] * 4 + ["sub/b"] and table["image_id"].n_unique() == 5


def test_pairs_by_name_whatever_the_ending(take, tmp_path):
    names = ("train/in/a.png", "train/out/a.bmp", "test/in/b.png", "test/out/b.png")
    pictures(tmp_path / "p", dict.fromkeys(names, (8, 8, 3)))
    table = pl.read_parquet(take("images", "path", tmp_path / "p", domains=["in", "out"], paired=True)[1] / "images.parquet")
    assert table["domain"].to_list() == ["in", "in", "out", "out"] and table["group"].to_list() == ["b", "a", "b", "a"]
    assert table["split"].to_list() == ["test", "train", "test", "train"]


def test_two_piles_need_no_pairs(take, tmp_path):
    pictures(tmp_path / "p", {"x/1.png": (8, 8, 3), "y/2.png": (8, 8, 3), "y/3.png": (8, 8, 3), "z/4.png": (8, 8, 3)})
    table = pl.read_parquet(take("images", "path", tmp_path / "p", domains=["y", "x"])[1] / "images.parquet")
    assert table["image_id"].to_list() == ["y/2.png", "y/3.png", "x/1.png"]
    assert table["group"].to_list() == ["y/2", "y/3", "x/1"]  # of one name they would not belong together


@pytest.mark.parametrize(("sizes", "options", "message"), [
    ({"x/1.png": (8, 8, 3), "y/1.png": (8, 8, 3), "y/2.png": (8, 8, 3)}, {"domains": ["x", "y"], "paired": True},
     r"1 pictures in x, 2 in y, 1 of them without the other half, .*y/2\.png first"),
    ({"x/1.png": (8, 8, 3), "y/1.png": (8, 9, 3)}, {"domains": ["x", "y"], "paired": True},
     r"y/1\.png: 8x9x3 \(height, width, channels\) where .*x/1\.png has 8x8x3; make the two of a pair equal"),
    ({"x/1.png": (8, 8), "y/1.png": (8, 8, 3)}, {"domains": ["x", "y"], "paired": True},
     r"y/1\.png: 8x8x3 .* has 8x8x1; set options\.channels to 1 or 3"),
    ({"a.png": (8, 20, 3)}, {"patch": 16}, r"a\.png: 8x20 pixels are less than a patch of 16; lower options\.patch"),
    ({"x/1.png": (8, 8, 3)}, {"domains": ["x", "yy"]}, r"p/yy: holds no picture .*subfolders there: x"),
    ({"x/1.png": (8, 8, 3)}, {"domains": ["x"]}, "options.domains: found 1 of them; name two subfolders"),
    ({"x/1.png": (8, 8, 3)}, {"paired": True}, "options.domains: found 0 of them"),
    ({"x/1.png": (8, 8, 3), "y/2.png": (9, 9, 3)}, {"domains": ["x", "y"]}, r"9x9x3 .* where .*8x8x3; make them equal, set options\.patch"),
    ({"a.png": (16, 16), "b.png": (16, 16, 3)}, {"patch": 16}, r"b\.png: 16x16x3 .*set options\.channels"),
])
def test_what_cannot_be_used_is_one_line(refusal, tmp_path, sizes, options, message):
    pictures(tmp_path / "p", sizes)
    assert re.search(message, refusal("images", "path", tmp_path / "p", **options))
