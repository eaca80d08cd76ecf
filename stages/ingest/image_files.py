"""Arrays as they lie on disk: IDX and NPZ. Pictures are stages/pictures.py."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from stages.ingest.text_files import BLOCK, OPENERS, is_html, truncated
from stages.settings import InputError, nearest

# type codes of the IDX format, big-endian
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file (http://yann.lecun.com/exdb/mnist), compressed or not, in native byte order.

    Raises InputError for a file that is not IDX, is truncated, or has bytes left over.
    """
    data = _bytes(path)
    if is_html(data[:512]):
        raise InputError(f"{path}: a web page instead of data; download the file itself")
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise InputError(f"{path}: not an IDX file (it starts with {data[:4]!r}); expected two zero bytes, a type, the number of axes")
    dimensions, kind = data[3], np.dtype(IDX_TYPES[data[2]])
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise InputError(f"{path}: truncated: an IDX header of {header} bytes was expected, the file has {len(data)}; fetch it again")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = header + math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise InputError(f"{path}: truncated or damaged: {expected} bytes expected for shape {shape}, found {len(data)}; fetch it again")
    return np.frombuffer(data, kind, offset=header).reshape(shape).astype(kind.newbyteorder("="))


def _bytes(path):
    opener = OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            return b"".join(iter(lambda: file.read(BLOCK), b""))
    except (EOFError, zlib.error) as error:
        raise truncated(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise truncated(path, error) from None


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, or of one NPY file as `images`. Objects, which are pickles, are refused."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"images": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path}: truncated or not an NPZ file ({error}); write it again") from None
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise InputError(f"{path}: holds pickled Python objects, which are never read; save it with plain arrays alone") from None
        raise InputError(f"{path}: truncated or not an NPZ file ({error}); write it again") from None


def array(arrays: dict[str, np.ndarray], name: str, path: Path, where: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"{where}: {path} has no array {name!r}; it holds {', '.join(arrays)}{nearest(name, arrays)}")
    return arrays[name]
