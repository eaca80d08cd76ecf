"""Image sources that come with scikit-learn and scikit-image: handwritten digits, patches of photographs."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stages.ingest.raw import Raw, image_table
from stages.pictures import read_picture
from stages.settings import InputError, field

SKLEARN = "BSD-3-Clause (scikit-learn)"


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass(frozen=True)
class PatchOptions:
    size: int = field(32, low=4, doc="side of a patch in pixels")
    stride: int = field(8, low=1, doc="pixels from one patch to the next within a block")
    block: int = field(64, low=4, doc="side of the blocks a photograph is cut into; no patch crosses their borders")
    split_by: Literal["block", "photograph"] = field("block", doc="what is in one split as a whole")


def digits(options: NoOptions) -> Raw:
    """scikit-learn's 1,797 handwritten digits, 8x8; values 0..16 become round(v * 255 / 16)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    table = image_table(images, image_id=[f"d{i:04d}" for i in range(len(images))], label=[str(t) for t in bunch.target])
    return Raw("images", {"images": table}, {"images": images}, licence=SKLEARN + "; UCI optical digits, CC BY 4.0",
               address="https://archive.ics.uci.edu/dataset/80", notes={"scaling": "round(value * 255 / 16)"})


def photo_patches(options: PatchOptions) -> Raw:
    """Square patches of scikit-learn's two photographs; `domain` is the photograph.

    A split by patch would leak, patches overlap; one by photograph has two groups for three splits. So a photograph is cut into blocks
    that no patch crosses, and `group` is the block.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    named = [(path.replace("\\", "/").rsplit("/", 1)[-1].split(".")[0], photo)
             for path, photo in zip(bunch.filenames, bunch.images, strict=True)]
    raw = patches(sorted(named, key=lambda n: n[0]), options)
    raw.licence = "CC BY 2.0: china.jpg by Danielle Buma, flower.jpg by dany13"
    raw.address = "https://github.com/scikit-learn/scikit-learn/tree/main/sklearn/datasets/images"
    return raw


# split by photograph, chosen before any model was trained; two are tested on
PHOTOGRAPHS = {"astronaut.png": "train", "china": "train", "flower": "train", "rocket.jpg": "valid", "chelsea.png": "test",
               "coffee.png": "test"}


def photographs(options: PatchOptions) -> Raw:
    """Square patches of six photographs, two of scikit-learn and four of scikit-image; `domain` and `group` are the photograph.

    Three are for training, one for validation, two for testing: a photograph is in one split as a whole. Two are few, a cat
    and a cup of coffee: what is measured on them says little of other photographs.
    """
    from sklearn.datasets import load_sample_image

    folder = Path(importlib.util.find_spec("skimage").submodule_search_locations[0]) / "data"
    named = [(name.split(".")[0], read_picture(folder / name, 3) if "." in name else load_sample_image(f"{name}.jpg"))
             for name in PHOTOGRAPHS]
    raw = patches(named, dataclasses.replace(options, split_by="photograph"))
    split = {name.split(".")[0]: s for name, s in PHOTOGRAPHS.items()}
    table = raw.tables["images"]
    raw.tables["images"] = table.with_columns(split=table["domain"].replace_strict(split))
    raw.licence = ("CC BY 2.0: china.jpg by Danielle Buma, flower.jpg by dany13; CC0: chelsea.png by Stefan van der Walt, coffee.png by "
                   "Rachel Michetti; public domain: astronaut.png (NASA), rocket.jpg (SpaceX)")
    raw.address = ["https://github.com/scikit-learn/scikit-learn/tree/main/sklearn/datasets/images",
                   "https://github.com/scikit-image/scikit-image/tree/main/src/skimage/data"]
    return raw


def patches(photos: list[tuple[str, np.ndarray]], options: PatchOptions) -> Raw:
    """Patches of named photographs [H, W, 3], block by block; what is left over at the right and below is not used."""
    if options.size > options.block:
        raise InputError(f"options.size: a patch of {options.size} does not fit into blocks of {options.block}; raise options.block")
    cut, ids, domains, groups = [], [], [], []
    starts = range(0, options.block - options.size + 1, options.stride)
    for name, photo in photos:
        for row in range(0, photo.shape[0] - options.block + 1, options.block):
            for column in range(0, photo.shape[1] - options.block + 1, options.block):
                for y, x in ((row + a, column + b) for a in starts for b in starts):
                    cut.append(photo[y:y + options.size, x:x + options.size])
                    ids.append(f"{name}-{y:04d}-{x:04d}")
                    domains.append(name)
                    groups.append(name if options.split_by == "photograph" else f"{name}-{row:04d}-{column:04d}")
    if not cut:
        least = min(min(photo.shape[:2]) for _, photo in photos)
        raise InputError(f"options.block: blocks of {options.block} do not fit into the photographs; at most {least}")
    images = np.stack(cut)
    return Raw("images", {"images": image_table(images, image_id=ids, domain=domains, group=groups)}, {"images": images})
