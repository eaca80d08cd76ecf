"""Folders of photographs to learn a translation from: cut into patches, as two domains, as pairs by file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.ingest.pictures import PatchOptions, patches
from stages.ingest.raw import Raw, image_table
from stages.ingest.table_files import SPLITS
from stages.pictures import PICTURES, read_picture
from stages.settings import InputError, nearest


def photographs(path: Path, options) -> Raw:
    """Rows in order of domain, name and place; `group` is the picture's name without its ending, of both domains where they are paired.

    Folders named train, valid or test are the split; labels there are none.
    """
    found = _files(path, options)
    if options.paired:
        _check_names(path, options, found)
    images, columns = [], {"image_id": [], "split": [], "domain": [], "group": []}
    sizes: dict[str, tuple[Path, tuple]] = {}
    for domain, file in found:
        picture = read_picture(file, options.channels)
        name = _name(path, file, domain if options.paired else None)
        first, shape = sizes.setdefault(name if options.paired else "", (file, picture.shape))
        wrong = picture.shape != shape if options.paired or not options.patch else picture.shape[2] != shape[2]
        if wrong:
            belongs = "make the two of a pair equal" if options.paired else "make them equal, set options.patch, or set options.channels"
            if picture.shape[:2] == shape[:2]:
                belongs = "set options.channels to 1 or 3"
            raise InputError(f"{file}: {'x'.join(map(str, picture.shape))} (height, width, channels) where {first} has "
                             f"{'x'.join(map(str, shape))}; {belongs}")
        folders = [f.lower() for f in file.relative_to(path).parts[:-1]]
        for suffix, image in _pieces(file, picture, options.patch):
            images.append(image)
            columns["image_id"].append(file.relative_to(path).as_posix() + suffix)
            columns["split"].append(next((SPLITS[f] for f in folders if f in SPLITS), None))
            columns["domain"].append(domain)
            columns["group"].append(name)
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise InputError(f"{path}: pictures of {len(shapes)} sizes; make them equal, or set options.patch to cut them into patches")
    stacked = np.stack(images)
    return Raw("images", {"images": image_table(stacked, **columns)}, {"images": stacked}, licence="the user's own")


def _files(path: Path, options) -> list[tuple[str | None, Path]]:
    """(domain, file) of every picture that is read, by domain and name."""
    if options.paired and len(options.domains) != 2 or len(options.domains) not in (0, 2):
        raise InputError(f"options.domains: found {len(options.domains)} of them; name two subfolders of {path}, what is translated first")
    pictures = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not options.domains:
        found = [(None, file) for file in pictures]
    else:
        found = [(domain, file) for domain in options.domains for file in pictures if domain in file.relative_to(path).parts[:-1]]
    for domain in options.domains or [None]:
        if not any(d == domain for d, _ in found):
            there = sorted({p.name for p in path.rglob("*") if p.is_dir()})
            where = f"{path}/{domain}" if domain else str(path)
            raise InputError(f"{where}: holds no picture ({', '.join(PICTURES)}); subfolders there: {', '.join(there) or 'none'}"
                             + (nearest(domain, there) if domain and domain not in there else ""))
    return found


def _name(path: Path, file: Path, domain: str | None) -> str:
    parts = [p for p in file.relative_to(path).with_suffix("").parts if p != domain and p.lower() not in SPLITS]
    return "/".join(parts)


def _check_names(path: Path, options, found) -> None:
    named = {domain: {_name(path, file, d): file for d, file in found if d == domain} for domain in options.domains}
    first, second = (named[d] for d in options.domains)
    alone = sorted({*first} ^ {*second})
    if alone:
        file = first.get(alone[0]) or second.get(alone[0])
        raise InputError(f"{path}: {len(first)} pictures in {options.domains[0]}, {len(second)} in {options.domains[1]}, {len(alone)} of "
                         f"them without the other half, {file} first; give each pair one name, or set options.paired to false")


def _pieces(file: Path, picture: np.ndarray, patch: int | None):
    """(ending of the image's id, image) of the picture, or of its patches side by side; what is left over is not used."""
    if patch is None:
        return [("", picture)]
    if min(picture.shape[:2]) < patch:
        raise InputError(f"{file}: {picture.shape[0]}x{picture.shape[1]} pixels are less than a patch of {patch}; lower options.patch, or "
                         "move it out of the folder")
    raw = patches([("", picture)], PatchOptions(patch, patch, patch))
    return list(zip(raw.tables["images"]["image_id"], raw.arrays["images"], strict=True))
