"""Files of public datasets: from the mirror if there is one, else downloaded once, resumed where a download stopped, and checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from stages.command import disk_is_full
from stages.ingest.public_files import File, Public
from stages.ingest.text_files import BLOCK, OPENERS, is_html, truncated
from stages.settings import InputError

STORE = Path("data/.downloads")  # git and DVC ignore it
TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 4


class Files(Mapping):
    """name -> path of a public dataset's files, each found, checked or downloaded when it is first asked for.

    An optional file that is nowhere is not `in` the mapping. `sha256` holds those of the files used.
    """

    def __init__(self, public: Public, store: Path | None = None):
        self._files = {file.name: file for file in public.files}
        self._folder, self._store = public.folder, store
        self._found: dict[str, Path | None] = {}
        self.sha256: dict[str, str] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._found:
            found = find(self._files[name], self._folder, self._store)
            self._found[name] = found and found[0]
            if found:
                self.sha256[name] = found[1]
        if self._found[name] is None:
            raise KeyError(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def find(file: File, folder: str, store: Path | None = None) -> tuple[Path, str] | None:
    """(path, sha256) of `file`: from BAZNAMA_MIRROR, from what was downloaded before, or downloaded now; None if optional and nowhere.

    Raises InputError when it is nowhere, or is not what its checksum says.
    """
    mirror = os.environ.get("BAZNAMA_MIRROR")
    for path in [Path(mirror) / folder / file.name, Path(mirror) / file.name] if mirror else []:
        if path.is_file():
            return path, checked(path, file)
    target = (store or STORE) / folder / file.name
    if target.is_file():
        return target, checked(target, file, aside=True)
    if file.optional and file.url is None:
        return None
    if file.url is None:
        said = f"{mirror}/{folder}" if mirror else "BAZNAMA_MIRROR, which is not set"
        raise InputError(f"{folder}/{file.name}: has no address and is not in {said}; put it there or in {target.parent}")
    try:
        download(file.url, target)
    except InputError:
        if file.optional:
            return None
        raise
    return target, checked(target, file, aside=True)


def download(url: str, target: Path) -> None:
    """Fetch `url` into `target` by way of `target`.part, going on where an earlier attempt stopped (HTTP Range)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    reason: object = "the connection ended early"
    for _ in range(ATTEMPTS):
        try:
            if _fetch(url, part):
                os.replace(part, target)
                return
        except (urllib.error.HTTPError, ValueError) as error:
            reason = error
            break
        except (OSError, http.client.HTTPException) as error:
            if disk_is_full(error):
                raise
            reason = getattr(error, "reason", error)
    raise InputError(f"{url}: not downloaded ({reason}); run again to go on where it stopped, or set BAZNAMA_MIRROR to a folder with it")


def _fetch(url, part) -> bool:
    """Append what `part` lacks; True when it is complete. An answer without a range starts it anew."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "baznama", **({"Range": f"bytes={have}-"} if have else {})})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()  # nothing beyond what is there: complete, or of another file
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if whole == str(have):
            return True
        part.unlink()
        return False
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        left = answer.headers.get("Content-Length")
        with open(part, "ab" if goes_on else "wb") as file:
            done = 0
            while block := answer.read(BLOCK):
                if done == 0 and not goes_on and is_html(block[:512]):
                    raise ValueError("a web page came instead of data")
                file.write(block)
                done += len(block)
        return left is None or done == int(left)


def checked(path: Path, file: File, aside: bool = False) -> str:
    """The sha256 of `path` if it, or its decompressed content, is what `file` says. `aside`: a wrong file is renamed to <name>.bad."""
    found = sha256(path)
    wanted = [s for s in (file.sha256, file.content) if s]
    if not wanted or found == file.sha256:
        return found
    if file.content:
        try:
            if sha256(path, unpack=True) == file.content:
                return found
        except InputError:
            pass  # truncated: the checksum is wrong all the same
    with open(path, "rb") as start:
        page = is_html(start.read(512))
    mend = "; replace the file in the mirror"
    if aside:
        os.replace(path, path.with_name(path.name + ".bad"))
        mend = f"; it is kept as {path.name}.bad, run again to download anew"
    what = "a web page instead of data" if page else "wrong checksum"
    raise InputError(f"{path}: {what}: expected sha256 {wanted[0][:16]}..., found {found[:16]}...{mend}")


def sha256(path: Path, unpack: bool = False) -> str:
    total = hashlib.sha256()
    opener = OPENERS.get(path.suffix, open) if unpack else open
    try:
        with opener(path, "rb") as file:
            while block := file.read(BLOCK):
                total.update(block)
    except (EOFError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise truncated(path, error) from None
    return total.hexdigest()
