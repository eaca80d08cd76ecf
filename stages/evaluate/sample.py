"""`python -m stages.evaluate sample RUN --out FILE`: draw from a trained run's generator."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stages.evaluate import pictures
from stages.evaluate.trained import add_run, trained_run, write_array
from stages.files import replacing
from stages.settings import InputError, choose


def samples(model, n: int, seed: int) -> np.ndarray:
    """n draws: uint8 [n, H, W, C] of a model of images, float32 [n, 2] of one of points. A pure function of model, n and seed."""
    drawn = model.sample(n, torch.Generator().manual_seed(seed)).float().cpu().numpy()
    return drawn if drawn.ndim == 2 else np.round(np.clip(np.moveaxis(drawn, 1, -1), 0.0, 1.0) * 255).astype(np.uint8)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.evaluate sample", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Draw from a trained run's generator.",
        epilog="examples:\n  python -m stages.evaluate sample gan --out digits.png\n"
               "  python -m stages.evaluate sample vae -n 1000 --seed 7 --out digits.npy")
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="FILE.png: a grid to look at; FILE.npy: uint8 [n, height, width, channels]")
    parser.add_argument("-n", type=int, default=64, help="how many (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    args = parser.parse_args(arguments)
    choose(args.out.suffix, (".png", ".npy"), f"--out {args.out}", "kind of file")
    if args.n < 1 or args.seed < 0:
        raise InputError(f"-n {args.n} --seed {args.seed}: allowed: at least 1 sample, a seed of at least 0")
    model, _ = trained_run(args, "sample")
    drawn = samples(model, args.n, args.seed)
    if args.out.suffix == ".npy":
        write_array(args.out, drawn)
    elif drawn.ndim == 2:
        raise InputError(f"--out {args.out}: run {args.run} draws points, which make no grid of images; name a file that ends in .npy")
    else:
        page = pictures.grid(pictures.to_bytes(np.moveaxis(drawn, -1, 1) / 255.0), columns=max(1, round(args.n**0.5)))
        with replacing(args.out) as temporary:
            pictures.save(page, temporary)
    print(f"{args.out}: {args.n} samples of {args.run}, seed {args.seed}")
