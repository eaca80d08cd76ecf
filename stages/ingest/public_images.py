"""Public images. Each function reads the files of `public_files.PUBLIC` of its name."""

from __future__ import annotations

import bz2
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.ingest.download import Files
from stages.ingest.image_files import read_idx
from stages.ingest.pictures import PatchOptions, patches
from stages.ingest.raw import Raw, image_table
from stages.ingest.text_files import truncated
from stages.pictures import read_picture
from stages.settings import InputError

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class NoOptions:
    pass


def mnist(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _idx(files, [str(i) for i in range(10)])


def fashion_mnist(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _idx(files, FASHION)


def _idx(files, names):
    """Four IDX files: 60,000 images are train, 10,000 are test, as published."""
    images = [read_idx(files[f"{part}-images-idx3-ubyte.gz"]) for part in ("train", "t10k")]
    labels = [read_idx(files[f"{part}-labels-idx1-ubyte.gz"]) for part in ("train", "t10k")]
    for part, some, of in zip(("train", "t10k"), images, labels, strict=True):
        if len(some) != len(of):
            raise InputError(f"{files[f'{part}-labels-idx1-ubyte.gz']}: {len(of)} labels for {len(some)} images; fetch both files again")
    split = ["train"] * len(images[0]) + ["test"] * len(images[1])
    return _raw(np.concatenate(images)[..., None], split, [names[i] for i in np.concatenate(labels)])


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
