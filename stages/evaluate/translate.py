"""`python -m stages.evaluate translate RUN IN OUT`: a trained translator on a picture, a folder of them, or a text, a sentence a line."""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.command import FAILED, fail
from stages.evaluate.lines import Translator, check_target, read_lines, write_lines
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.tiles import bands
from stages.evaluate.trained import add_run, trained_run
from stages.files import replacing
from stages.params import load
from stages.pictures import PICTURES, read_picture
from stages.settings import InputError, configure

WIDEST = 100  # hypotheses of a search


def write_png(path: Path, rows: Iterable[np.ndarray], shape: tuple[int, int, int]) -> None:
    """A PNG of uint8 bands [h, W, C] as they come, C 1 or 3, so that it need never be in memory as a whole; whole or not at all."""
    height, width, channels = shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)))
        packer = zlib.compressobj(6)
        for band in rows:
            left = np.zeros_like(band)
            left[:, 1:] = band[:, :-1]
            lines = np.empty((len(band), 1 + width * channels), np.uint8)
            lines[:, 0], lines[:, 1:] = 1, (band - left).reshape(len(band), -1)  # filter 1: the difference to the pixel on the left
            file.write(chunk(b"IDAT", packer.compress(lines.tobytes())))
        file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))


def translated(model, translate: Callable, source: Path, target: Path, channels: tuple[int, int], scale: int, title: str) -> None:
    """One picture file through `translate`, `channels` those of what goes in and comes out. Raises InputError for what cannot be read."""
    image = read_picture(source, channels[0])
    height, width = image.shape[:2]

    def watched():
        done = 0
        for band in bands(translate, image, model.halo, model.multiple):
            yield band
            done += len(band)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\x1b[K{title}  {100 * done / (height * scale):.0f} %" + ("\n" if done == height * scale else ""))
                sys.stderr.flush()

    write_png(target, watched(), (height * scale, width * scale, channels[1]))


def work_of(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """(picture, PNG to write) of a file or of every picture of a folder, its subfolders included."""
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; name a picture or a folder of them")
    if not source.is_dir():
        if target.suffix.lower() != ".png":
            raise InputError(f"{target}: translations are written as PNG; name a file that ends in .png")
        return [(source, target)]
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise InputError(f"{source}: holds no picture ({', '.join(PICTURES)})")
    if target.is_file():
        raise InputError(f"{target}: is a file, but {source} is a folder; name a folder to write to")
    if target.resolve() == source.resolve():
        raise InputError(f"{target}: is the folder that is read; name another, so that no picture is written over")
    named: dict[Path, Path] = {}
    for file in files:
        relative = file.relative_to(source)
        made = target / relative.with_suffix(".png")
        named[file] = target / (relative.as_posix() + ".png") if made in named.values() else made  # a.jpg beside a.png
    return list(named.items())


def passed_over(source: Path) -> str:
    """What of a folder is no picture by its ending."""
    others = [p for p in source.rglob("*") if p.is_file() and p.suffix.lower() not in PICTURES] if source.is_dir() else []
    endings = ", ".join(sorted({p.suffix or "none" for p in others}))
    return f"; not read: {len(others)} other file{'s' * (len(others) > 1)} ({endings})" if others else ""


def of_sentences(args, model, data) -> None:
    """The lines of a file, in order, by the run's beam search."""
    if args.target.resolve() == args.source.resolve():
        raise InputError(f"{args.target}: is the file that is read; name another, so that no text is written over")
    check_target(args.target)
    lines, made, entry = read_lines(args.source), [], load(args.params).run(args.run)
    translator = Translator(model, data, args.params, entry.dataset)
    beam = args.beam or configure(EvaluateSettings, entry.evaluate, f"{args.params}.runs.{args.run}.evaluate").beam
    for line in translator.translate(lines, beam):
        made.append(line)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{args.source}  {len(made)}/{len(lines)}" + ("\n" if len(made) == len(lines) else ""))
            sys.stderr.flush()
    write_lines(args.target, made)
    print(f"{args.target}: {len(lines)} line{'s' * (len(lines) > 1)} translated by {args.run}{translator.told()}", flush=True)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.evaluate translate", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Apply a trained translator to a picture of any size, to every picture of a folder, or to the sentences of a text. A "
                    "picture of a folder that cannot be read is named and left out; exit code 1 then.",
        epilog="examples:\n  python -m stages.evaluate translate srresnet-x4 small.jpg large.png\n"
               "  python -m stages.evaluate translate cyclegan-photos --back my/photos my/sharp\n"
               "  python -m stages.evaluate translate seq2seq-additive dates.txt iso.txt")
    add_run(parser)
    parser.add_argument("source", type=Path, metavar="IN", help="a picture or a folder of them; of a run on pairs of texts a UTF-8 file")
    parser.add_argument("target", type=Path, metavar="OUT", help="a file that ends in .png, or a folder; of texts a file")
    parser.add_argument("--back", action="store_true", help="from the target's domain to the source's, where a run learns both")
    parser.add_argument("--beam", type=int, metavar="N", help="of sentences: width of the search, 1 is greedy (default: evaluate.beam)")
    args = parser.parse_args(arguments)
    if args.beam is not None and not 1 <= args.beam <= WIDEST:
        raise InputError(f"--beam {args.beam}: allowed: 1 to {WIDEST}")
    model, data = trained_run(args, *(["translate_back"] if args.back else ["translate", "search"]))
    if hasattr(model, "search"):
        return of_sentences(args, model, data)
    if args.beam is not None:
        raise InputError(f"--beam {args.beam}: run {args.run} translates pictures; leave it out")
    work = work_of(args.source, args.target)
    translate = model.translate_back if args.back else model.translate
    shapes = [data.meta["source_shape"], data.meta["shape"]]
    (height, _, a), (high, _, b) = reversed(shapes) if args.back else shapes
    refused = []
    for i, (source, target) in enumerate(work, 1):
        title = f"{i}/{len(work)} {source}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            translated(model, translate, source, target, (a, b), high // height, title)
            if not sys.stderr.isatty():
                print(title, file=sys.stderr, flush=True)
        except InputError as error:
            if not args.source.is_dir():
                raise
            refused.append(str(error))
            print(f"{title}  left out", file=sys.stderr, flush=True)
    done = f"{len(work) - len(refused)} of {len(work)} pictures translated by {args.run}"
    print(f"{args.target}: {done}{passed_over(args.source)}", flush=True)
    for line in refused:
        print(line, file=sys.stderr)
    if refused:
        fail(f"{args.source}: {len(refused)} of {len(work)} pictures could not be read; they are named above", FAILED)
