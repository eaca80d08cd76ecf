"""`python -m stages.evaluate sample RUN --out FILE`: draw images, points or texts from a trained run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.evaluate import pictures
from stages.evaluate.lines import check_target, write_lines
from stages.evaluate.spelling import speller
from stages.evaluate.trained import add_run, trained_run, write_array
from stages.files import replacing
from stages.settings import InputError, choose


def samples(model, n: int, seed: int, of: Tensor | None = None) -> np.ndarray:
    """n draws: uint8 [n, H, W, C] of a model of images, float32 [n, 2] of one of points. A pure function of its arguments."""
    drawn = model.sample(n, torch.Generator().manual_seed(seed), *(() if of is None else (of,))).float().cpu().numpy()
    return drawn if drawn.ndim == 2 else np.round(np.clip(np.moveaxis(drawn, 1, -1), 0.0, 1.0) * 255).astype(np.uint8)


def texts_of(model, data, n: int, seed: int, of: Tensor | None = None) -> list[str]:
    """n texts, words drawn one by one, each a line. A pure function of its arguments."""
    spelt = speller([*data.table("words"), "<end>"], "subwords" in data.meta)
    return [spelt(text) for text in model.write(n, torch.Generator().manual_seed(seed), *(() if of is None else (of,)))]


def asked(model, data, n: int, of: str | None) -> Tensor | None:
    """The class or category of each of n samples, int64 [n]; None where none was named. InputError for one that the run does not have."""
    if of is None:
        return None
    if getattr(model, "sample_of", None) is None:
        raise InputError(f"--of {of}: this run draws without being asked for a class or category; leave it out")
    kind, choices = model.sample_of
    names = [str(name) for name in data.table("labels")] if kind == "class" else [str(i) for i in range(choices)]
    return torch.full((n,), names.index(choose(of, names, "--of", "class" if kind == "class" else "category")))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.evaluate sample", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Draw images, points or texts from a trained run.",
        epilog="examples:\n  python -m stages.evaluate sample gan --out digits.png\n"
               "  python -m stages.evaluate sample vae -n 1000 --seed 7 --out digits.npy\n"
               "  python -m stages.evaluate sample acgan --of 7 --out sevens.png\n"
               "  python -m stages.evaluate sample twr-vae -n 20 --out sentences.txt")
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True,
                        help="FILE.png: a grid to look at; FILE.npy: uint8 [n, height, width, channels], of points float32 [n, 2]; "
                             "of texts FILE.txt, one a line")
    parser.add_argument("-n", type=int, default=64, help="how many (default 64)")
    parser.add_argument("--of", metavar="NAME", help="a class of a conditional run, or a category (0, 1, ...) of a code")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    args = parser.parse_args(arguments)
    choose(args.out.suffix, (".png", ".npy", ".txt"), f"--out {args.out}", "kind of file")
    if args.n < 1 or args.seed < 0:
        raise InputError(f"-n {args.n} --seed {args.seed}: allowed: at least 1 sample, a seed of at least 0")
    check_target(args.out)
    model, data = trained_run(args, "sample", "write")
    if (args.out.suffix == ".txt") != hasattr(model, "write"):
        texts = hasattr(model, "write")
        raise InputError(f"--out {args.out}: run {args.run} draws {'texts' if texts else 'no texts'}; "
                         f"name a file that ends in {'.txt' if texts else '.png or .npy'}")
    of = asked(model, data, args.n, args.of)
    if args.out.suffix == ".txt":
        write_lines(args.out, texts_of(model, data, args.n, args.seed, of))
        return print(f"{args.out}: {args.n} texts of {args.run}, seed {args.seed}")
    drawn = samples(model, args.n, args.seed, of)
    if args.out.suffix == ".npy":
        write_array(args.out, drawn)
    elif drawn.ndim == 2:
        raise InputError(f"--out {args.out}: run {args.run} draws points, which make no grid of images; name a file that ends in .npy")
    else:
        page = pictures.grid(pictures.to_bytes(np.moveaxis(drawn, -1, 1) / 255.0), columns=max(1, round(args.n**0.5)))
        with replacing(args.out) as temporary:
            pictures.save(page, temporary)
    print(f"{args.out}: {args.n} samples of {args.run}, seed {args.seed}")
