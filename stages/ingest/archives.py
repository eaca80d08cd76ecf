"""Members of zip and tar archives, read in memory: nothing is unpacked to disk, and paths that lead outside are refused."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from stages.ingest.text_files import truncated
from stages.settings import InputError


def members(path: Path, suffix: str = "") -> dict[str, bytes]:
    """name -> content of every file of the archive whose name ends in `suffix`, by name.

    Raises InputError for a truncated archive, a link, or a member whose path is absolute or leads outside the archive.
    """
    try:
        found = _zip(path, suffix) if zipfile.is_zipfile(path) else _tar(path, suffix)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise truncated(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise truncated(path, error) from None
    return dict(sorted(found.items()))


def member(path: Path, name: str) -> bytes:
    """The content of the one member whose file name is `name`, whatever its folder."""
    found = [content for full, content in members(path, name).items() if PurePosixPath(full).name == name]
    if not found:
        raise InputError(f"{path}: the archive has no file {name!r}; fetch it again")
    return found[0]


def _zip(path, suffix):
    with zipfile.ZipFile(path) as archive:
        names = [_inside(info.filename, path) for info in archive.infolist() if not info.is_dir()]
        return {name: archive.read(name) for name in names if name.endswith(suffix)}


def _tar(path, suffix):
    with tarfile.open(path) as archive:
        infos = archive.getmembers()
        for info in infos:
            _inside(info.name, path)
            if info.issym() or info.islnk() or info.isdev():
                raise InputError(f"{path}: refused: member {info.name!r} is a link or a device, not a file; nothing was read")
        return {i.name: archive.extractfile(i).read() for i in infos if i.isfile() and i.name.endswith(suffix)}


def _inside(name, path):
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        raise InputError(f"{path}: refused: member {name!r} leads outside the archive's folder; nothing was read")
    return name
