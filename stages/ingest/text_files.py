"""Text files made plain: decompressed, in UTF-8, and refused in one line when they are something else."""

from __future__ import annotations

import bz2
import codecs
import encodings.aliases
import gzip
import lzma
import shutil
import zlib
from pathlib import Path

from stages.settings import InputError, nearest

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BLOCK = 1 << 20


def existing(path: Path, where: str) -> Path:
    """`path` if there is such a file or folder, else InputError naming the nearest neighbour in its folder."""
    if path.exists():
        return path
    beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    raise InputError(f"{where}: no such file or folder: {path}{nearest(path.name, beside)}; paths are relative to the project's root")


def plain(path: Path, encoding: str, scratch: Path) -> Path:
    """`path` itself if it is uncompressed UTF-8, else a copy in `scratch` that is.

    Raises InputError for a truncated or corrupt archive, HTML in place of data, and bytes that are not of `encoding`.
    """
    path = Path(path)
    try:
        codec = codecs.lookup(encoding)
    except LookupError:
        known = sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()})
        raise InputError(f"options.encoding: unknown encoding {encoding!r}{nearest(encoding, known)}") from None
    source = unpacked(path, scratch)
    refuse_html(source, path)
    if codec.name in ("utf-8", "ascii"):
        check_utf8(source, path)
        return source
    target = scratch / f"{path.name}.utf8"
    decoder = codec.incrementaldecoder()
    with open(source, "rb") as read, open(target, "wb") as write:
        for start, block in _blocks(read):
            try:
                write.write(decoder.decode(block, final=not block).encode())
            except UnicodeError as error:
                said = f"not {codec.name} near byte {start} ({error.reason})"
                raise InputError(f"{path}: {said}; set options.encoding to what it is") from None
    return target


def unpacked(path: Path, scratch: Path) -> Path:
    """`path` itself, or where its name ends in .gz, .bz2 or .xz a decompressed copy in `scratch`."""
    if path.suffix not in OPENERS:
        return path
    target = scratch / path.stem
    try:
        with OPENERS[path.suffix](path, "rb") as read, open(target, "wb") as write:
            shutil.copyfileobj(read, write, BLOCK)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise truncated(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise truncated(path, error) from None
    return target


def truncated(path: Path, error) -> InputError:
    return InputError(f"{path}: truncated or not what its name says ({error}); fetch or write it again")


def refuse_html(source: Path, named: Path) -> None:
    with open(source, "rb") as file:
        start = file.read(512)
    if is_html(start):
        raise InputError(f"{named}: a web page instead of data (it starts with {start[:15]!r}); download the file itself")


def is_html(start: bytes) -> bool:
    text = start.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html"))


def check_utf8(source: Path, named: Path) -> None:
    """Raise InputError with the byte offset and line of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 0
    with open(source, "rb") as file:
        for start, block in _blocks(file):
            held = decoder.getstate()[0]  # bytes of a character cut by the border of two blocks
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = error.start - len(held)
                byte = error.object[error.start]
                line = lines + block.count(b"\n", 0, max(at, 0)) + 1
                raise InputError(
                    f"{named}: not UTF-8: byte 0x{byte:02x} at offset {start + at}, line {line}; "
                    "set options.encoding to what it is, for example cp1252 or latin-1"
                ) from None
            lines += block.count(b"\n")


def _blocks(file):
    """(offset, block) until and including one empty block at the end."""
    offset = 0
    while True:
        block = file.read(BLOCK)
        yield offset, block
        if not block:
            return
        offset += len(block)
