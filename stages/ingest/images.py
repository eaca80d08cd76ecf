"""The user's own images: IDX and NPZ arrays, folders of pictures with one subfolder a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from stages.ingest.image_files import array, read_idx, read_npz
from stages.ingest.image_folders import photographs
from stages.ingest.raw import Raw, image_table
from stages.ingest.table_files import SPLITS
from stages.ingest.text_files import existing
from stages.pictures import PICTURES, read_picture
from stages.settings import InputError, choose, field

ARRAYS = ("images", "labels", "split")


@dataclass(frozen=True)
class ImageOptions:
    labels: str | None = field(None, doc="with an IDX file of images: the IDX file of their labels")
    arrays: dict[str, str] = field({}, doc="with NPZ: which array holds images, labels, split")
    scale: Literal["none", "unit", "signed"] = field("none", doc="values are 0..255 (none), 0..1 (unit) or -1..1 (signed)")
    channels: Literal[1, 3] | None = None
    size: Literal["refuse", "pad"] = field("refuse", doc="pictures of several sizes: refuse, or pad with black right and below")
    patch: int | None = field(None, low=4, doc="cut every picture of a folder into squares of so many pixels; their group is the picture")
    domains: tuple[str, ...] = field((), doc="two subfolders, the images to translate and those to make of them; others are not read")
    paired: bool = field(False, doc="a picture of the one subfolder belongs to that of the other with the same name")


def from_path(options: ImageOptions, path: Path, scratch: Path) -> Raw:
    """Images of a folder of pictures, an NPZ (or NPY) file, or an IDX file and its labels."""
    if path.is_dir():
        return photographs(path, options) if options.domains or options.patch or options.paired else folder(path, options)
    if path.suffix in (".npz", ".npy"):
        return npz(path, options)
    images = read_idx(path)
    labels = None
    if options.labels:
        labels = read_idx(existing(Path(options.labels), "options.labels"))
        if labels.shape != images.shape[:1]:
            raise InputError(f"options.labels: {len(labels)} labels for {len(images)} images; expected one label an image")
    return from_arrays(images, labels, None, options, path)


def npz(path: Path, options: ImageOptions) -> Raw:
    arrays = read_npz(path)
    for name in options.arrays:
        choose(name, ARRAYS, "options.arrays", "array")
    names = {name: options.arrays.get(name, name) for name in ARRAYS if name in options.arrays or name in arrays or name == "images"}
    found = {name: array(arrays, key, path, f"options.arrays.{name}") for name, key in names.items()}
    return from_arrays(found["images"], found.get("labels"), found.get("split"), options, path)


def from_arrays(images, labels, split, options: ImageOptions, path: Path) -> Raw:
    """Images [N, H, W] or [N, H, W, C] with labels and split of length N."""
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise InputError(f"{path}: images have shape {images.shape}; expected N x H x W, or N x H x W x C with 1 or 3 channels")
    images = as_bytes(images if images.ndim == 4 else images[..., None], options.scale, path)
    columns = {"image_id": [f"{path.name.split('.')[0]}-{i:06d}" for i in range(len(images))]}
    for name, values in (("label", labels), ("split", split)):
        if values is not None:
            if values.shape != images.shape[:1]:
                raise InputError(f"{path}: {name} has shape {values.shape}; expected one value for each of {len(images)} images")
            columns[name] = [str(v) for v in values.tolist()]
    columns |= {"split": [SPLITS.get(s.lower(), s) for s in columns["split"]]} if "split" in columns else {}
    if options.channels and options.channels != images.shape[-1]:
        raise InputError(f"options.channels: {path} has {images.shape[-1]} channels, found {options.channels}; leave it out for arrays")
    return Raw("images", {"images": image_table(images, **columns)}, {"images": images}, licence="the user's own")


def as_bytes(images: np.ndarray, scale: str, path: Path) -> np.ndarray:
    """`images` as uint8. Values outside the range that `scale` states are an error, never clipped."""
    low, high = {"none": (0, 255), "unit": (0, 1), "signed": (-1, 1)}[scale]
    if images.dtype == np.uint8 and scale == "none":
        return images
    if images.dtype.kind not in "uif" or (images.size and not np.isfinite(images).all()):
        raise InputError(f"{path}: images of type {images.dtype} with values that are not finite numbers; expected {low} to {high}")
    least, most = (images.min(), images.max()) if images.size else (low, low)
    if least < low or most > high:
        raise InputError(f"{path}: image values from {least:g} to {most:g}; options.scale {scale!r} means {low} to {high}, "
                         "other scales: none (0 to 255), unit (0 to 1), signed (-1 to 1)")
    return np.rint((images.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def folder(path: Path, options: ImageOptions) -> Raw:
    """Every picture under `path`, by name. A subfolder named train, valid or test is the split, the innermost other one the label."""
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not found:
        raise InputError(f"{path}: holds no picture ({', '.join(PICTURES)}); an empty dataset is of no use")
    pictures, rows = [], []
    for file in found:
        folders = file.relative_to(path).parts[:-1]
        pictures.append(read_picture(file, options.channels))
        rows.append({"image_id": file.relative_to(path).as_posix(),
                     "split": next((SPLITS[f.lower()] for f in folders if f.lower() in SPLITS), None),
                     "label": next((f for f in reversed(folders) if f.lower() not in SPLITS), None)})
    if len({p.shape[2] for p in pictures}) > 1:
        raise InputError(f"{path}: grey and colour pictures together; set options.channels to 1 or 3")
    images = stacked(pictures, found, options.size)
    columns = pl.DataFrame(rows, schema=dict.fromkeys(("image_id", "split", "label"), pl.String))
    table = image_table(images, **{name: columns[name] for name in columns.columns})
    sizes = {"height": [p.shape[0] for p in pictures], "width": [p.shape[1] for p in pictures]}  # before padding
    return Raw("images", {"images": table.with_columns(**{n: pl.Series(v) for n, v in sizes.items()})}, {"images": images},
               licence="the user's own")


def stacked(pictures: list[np.ndarray], names: list, size: str) -> np.ndarray:
    """Pictures as one array [N, H, W, C]; those of other sizes are refused or padded with black on the right and below."""
    shapes = {p.shape[:2] for p in pictures}
    if len(shapes) == 1:
        return np.stack(pictures)
    if size == "refuse":
        other = next(i for i, p in enumerate(pictures) if p.shape != pictures[0].shape)
        raise InputError(f"{names[other]}: {'x'.join(map(str, pictures[other].shape[:2]))} pixels where {names[0]} has "
                         f"{'x'.join(map(str, pictures[0].shape[:2]))}; make them equal, or set options.size to pad")
    height, width = (max(s[i] for s in shapes) for i in (0, 1))
    images = np.zeros((len(pictures), height, width, pictures[0].shape[2]), np.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image[: picture.shape[0], : picture.shape[1]] = picture
    return images
