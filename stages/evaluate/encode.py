"""`python -m stages.evaluate encode RUN --out FILE`: codes of images, a split's or one's own, under a trained run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.evaluate.trained import add_run, trained_run, write_array
from stages.models.base import image_tensor
from stages.settings import InputError

ROWS = 1024  # images through the encoder at once


def codes(model, images: np.ndarray) -> np.ndarray:
    """float32 [N, D]: `model.encode` of uint8 images [N, H, W, C]."""
    return np.concatenate([model.encode(image_tensor(images[i : i + ROWS])).float().cpu().numpy() for i in range(0, len(images), ROWS)])


def own_images(path: Path, shape: list[int]) -> np.ndarray:
    """A .npy file of uint8 images [N, H, W, C], or [N, H, W] where C is 1, of the shape the run was trained on."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"--images {path}: no such file") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"--images {path}: not readable as a .npy array ({error}); write one with numpy.save") from None
    height, width, channels = shape
    if images.ndim == 3 and channels == 1:
        images = images[..., None]
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, channels) or not len(images):
        allowed = f"uint8 [N, {height}, {width}, {channels}], N at least 1"
        raise InputError(f"--images {path}: found {images.dtype} {list(images.shape)}; allowed: {allowed}")
    return images


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.evaluate encode", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Codes of images under a trained run: float32 [N, D], row i of image i.",
        epilog="examples:\n  python -m stages.evaluate encode vae --split test --out codes.npy\n"
               "  python -m stages.evaluate encode vae --images mine.npy --out codes.npy")
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="FILE.npy")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--split", choices=("train", "valid", "test"), help="of the run's own dataset")
    source.add_argument("--images", type=Path, help="FILE.npy of uint8 images, as large as those the run was trained on")
    args = parser.parse_args(arguments)
    if args.out.suffix != ".npy":
        raise InputError(f"--out {args.out}: codes are written as a .npy array; name a file that ends in .npy")
    model, data = trained_run(args, "encode")
    if data.meta["kind"] != "images":
        raise InputError(f"run {args.run}: encode is for images, but its dataset holds {data.meta['kind']}")
    images = own_images(args.images, data.meta["shape"]) if args.images else data[f"{args.split}.images"]
    found = codes(model, images)
    write_array(args.out, found)
    print(f"{args.out}: codes of {len(found)} images, {found.shape[1]} numbers each")
