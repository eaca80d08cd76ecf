"""Public images. Each function reads the files of `public_files.PUBLIC` of its name."""

from __future__ import annotations

import bz2
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from stages.bicubic import resized
from stages.ingest.download import Files
from stages.ingest.image_files import read_idx
from stages.ingest.pictures import NoOptions, PatchOptions, digits, patches
from stages.ingest.raw import Raw, image_table
from stages.ingest.text_files import truncated
from stages.pictures import read_picture
from stages.settings import InputError, field

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class MnistOptions:
    stacked: int = field(0, low=0, doc="so many training images of three digits, each a colour channel; 0: the digits themselves")
    seed: int = field(0, doc="of the draws of stacked digits")
    beside: Literal["none", "digits"] = field("none", doc="a second domain: scikit-learn's digits, enlarged to 28 x 28")


def mnist(options: MnistOptions, files: Files, scratch: Path) -> Raw:
    if options.stacked and options.beside != "none":
        raise InputError("options.beside: stacked digits have no second domain; leave one of the two out")
    found = _idx(files)
    if options.stacked:
        return _stacked(*found, options)
    raw = _raw(*found)
    return _beside(raw) if options.beside == "digits" else raw


def _beside(raw):
    """The images as domain mnist, and as domain digits those of `pictures.digits`, 8x8, enlarged 7/2 times (bicubic).

    Digits have no published split: prepare derives it.
    """
    small = digits(NoOptions())
    enlarged = resized(small.arrays["images"], Fraction(7, 2))
    names = small.tables["images"]
    table = image_table(enlarged, image_id=names["image_id"], label=names["label"])
    both = [t.with_columns(domain=pl.lit(domain)) for t, domain in ((raw.tables["images"], "mnist"), (table, "digits"))]
    return Raw("images", {"images": pl.concat(both, how="diagonal")}, {"images": np.concatenate([raw.arrays["images"], enlarged])},
               notes={"second domain": f"digits, {small.licence}, {small.address}"})


def fashion_mnist(options: NoOptions, files: Files, scratch: Path) -> Raw:
    images, split, labels = _idx(files)
    return _raw(images, split, [FASHION[int(i)] for i in labels])


def _stacked(images, split, labels, options):
    """Stacked digits (Metz et al. 2017, https://arxiv.org/abs/1611.02163): three digits drawn at random are the channels of one image.

    Its label is the three digits, 1,000 classes. There are six training images to a test image, as in MNIST; each split is drawn from
    its own digits, so that none of test was trained on.
    """
    rng, split, labels = np.random.default_rng(options.seed), np.array(split), np.array(labels)
    stacks, parts = [], []
    for part, n in (("train", options.stacked), ("test", max(1, options.stacked // 6))):
        stacks.append(rng.choice(np.flatnonzero(split == part), (n, 3)))
        parts += [part] * n
    rows = np.concatenate(stacks)
    raw = _raw(np.moveaxis(images[rows, :, :, 0], 1, -1), parts, ["".join(digits) for digits in labels[rows]])
    raw.truth = {"stacked": 3}
    return raw


def _idx(files):
    """Images, split and label numbers of four IDX files: 60,000 images are train, 10,000 are test, as published."""
    images = [read_idx(files[f"{part}-images-idx3-ubyte.gz"]) for part in ("train", "t10k")]
    labels = [read_idx(files[f"{part}-labels-idx1-ubyte.gz"]) for part in ("train", "t10k")]
    for part, some, of in zip(("train", "t10k"), images, labels, strict=True):
        if len(some) != len(of):
            raise InputError(f"{files[f'{part}-labels-idx1-ubyte.gz']}: {len(of)} labels for {len(some)} images; fetch both files again")
    split = ["train"] * len(images[0]) + ["test"] * len(images[1])
    return np.concatenate(images)[..., None], split, [str(i) for i in np.concatenate(labels)]


def usps(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """16x16 in LIBSVM's sparse text: label 1..10 (digit + 1), then index:value with values -1..1, made round((v + 1) * 127.5)."""
    images, labels, split = [], [], []
    for name, part in (("usps.bz2", "train"), ("usps.t.bz2", "test")):
        try:
            text = bz2.open(files[name], "rt", encoding="ascii").read()
        except (EOFError, OSError, UnicodeDecodeError) as error:
            raise truncated(files[name], error) from None
        for line in text.splitlines():
            label, *pixels = line.split()
            flat = np.full(256, 0.0)
            for index, value in (pixel.split(":") for pixel in pixels):
                flat[int(index) - 1] = float(value)
            images.append(np.rint((np.clip(flat, -1, 1) + 1) * 127.5).astype(np.uint8).reshape(16, 16, 1))
            labels.append(str(int(float(label)) - 1))
            split.append(part)
    return _raw(np.stack(images) if images else np.zeros((0, 16, 16, 1), np.uint8), split, labels)


def kodak(options: PatchOptions, files: Files, scratch: Path) -> Raw:
    """Patches of the photographs; see `pictures.photo_patches` for what `group` and `domain` are."""
    return patches([(name.split(".")[0], read_picture(path, 3)) for name, path in sorted(files.items())], options)


def _raw(images, split, labels):
    table = image_table(images, image_id=[f"{s}-{i:05d}" for i, s in enumerate(split)], split=split, label=labels)
    return Raw("images", {"images": table}, {"images": images})
