"""dvc.lock written stage by stage: the bytes that DVC would write, at the cost of one entry.

DVC parses the whole file and writes it anew for every stage that ends, under its lock, with a YAML library that keeps comments: 0.2 s at 30
stages, over a second at 130, where it comes to more than anything else a flow adds. Here the one entry is written by the same library
and put in the place of the old one. And the file is replaced as a whole: DVC truncates it first, so that a kill at that moment would lose
what every stage had recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.files import read_json, write_json

HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (?! |#)", re.MULTILINE)  # where an entry of `stages:` begins
_PLAIN = re.compile(r"  [\w@.-]+:\n(    .*\n)*\Z")  # an entry as DVC writes it, its name not quoted


def install() -> None:
    """Let the DVC of this process write its lock file so. Where the file does not look as DVC leaves it, DVC writes it as ever."""
    from dvc.dvcfile import Lockfile, logger
    from dvc.stage import serialize

    whole = Lockfile.dump_stages

    def dump_stages(self, stages, **kwargs):
        if not stages or getattr(self.repo.fs, "protocol", None) != "local":
            return whole(self, stages, **kwargs)
        try:
            with open(self.path, encoding="utf-8", newline="") as file:
                text = file.read()
        except FileNotFoundError:
            return whole(self, stages, **kwargs)
        new = replaced(text, {name: entry for stage in stages for name, entry in serialize.to_lockfile(stage, **kwargs).items()})
        if new is None:
            return whole(self, stages, **kwargs)
        if new != text:
            logger.info("Updating lock file '%s'", self.relpath)
            write(self.path, new)
            self.repo.scm_context.track_file(self.relpath)
        return None

    Lockfile.dump_stages = dump_stages


def write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def replaced(text: str, changed: Mapping[str, dict]) -> str | None:
    """`text` of a lock file with these entries in place of the old ones, new ones at the end; None where it is not DVC's own."""
    from dvc.utils.serialize import dumps_yaml

    blocks = entries(text)
    if blocks is None:
        return None
    for name, entry in changed.items():
        block = dumps_yaml({"stages": {name: entry}}).removeprefix("stages:\n")
        if not _PLAIN.match(block) or _name(block) != name:
            return None
        blocks[name] = block
    return HEAD + "".join(blocks.values())


def entries(text: str) -> dict[str, str] | None:
    """{stage: its lines}, in the file's order; None where the file is not as DVC leaves it."""
    if not text.startswith(HEAD) or not text.endswith("\n") or "\r" in text or "\t" in text:
        return None
    body = text[len(HEAD):]
    starts = [found.start() for found in _ENTRY.finditer(body)]
    if not starts or starts[0] != 0:
        return None
    blocks = [body[start:end] for start, end in zip(starts, [*starts[1:], len(body)], strict=True)]
    named = {_name(block): block for block in blocks if _PLAIN.match(block)}
    return named if len(named) == len(blocks) else None


def _name(block: str) -> str:
    return block[2:block.index(":\n")]


def order(root: Path) -> list[str]:
    """Names of the stages in dvc.lock, in the file's order; [] where there is none."""
    from dvc.utils.serialize import load_yaml

    path = Path(root) / "dvc.lock"
    if not path.is_file():
        return []
    found = entries(path.read_text(encoding="utf-8"))
    return list(load_yaml(path).get("stages") or {}) if found is None else list(found)


NOTE = Path("data/.prefect/lock_order.json")  # the order a flow found, until one has done all it was to do


def begin(root: Path) -> None:
    """Note the order for `finish`, unless a flow that was killed or failed has; drop what that one left half-written."""
    for left in Path(root).glob("dvc.lock.[0-9]*"):
        left.unlink()
    if not (Path(root) / NOTE).is_file():
        write_json(Path(root) / NOTE, order(root))


def finish(root: Path, running: Iterable[str], whole: bool = True) -> None:
    """`settle` by the order that was noted, if one was; it stays noted where the flow did not do the `whole`, for the one that does."""
    if (Path(root) / NOTE).is_file():
        settle(root, read_json(Path(root) / NOTE), running)
        if whole:
            (Path(root) / NOTE).unlink()


def settle(root: Path, before: Iterable[str], running: Iterable[str]) -> None:
    """Give dvc.lock the order `dvc repro` would have left: what stood there first (`before`), then new stages in running order.

    Stages that end side by side enter the file in the order they end; without this a parallel run would shuffle a tracked file.
    """
    from dvc.utils.serialize import modify_yaml

    place = {name: number for number, name in enumerate(dict.fromkeys([*before, *running]))}
    now = order(root)
    wanted = sorted(now, key=lambda name: place.get(name, len(place)))
    if now == wanted:
        return
    path = Path(root) / "dvc.lock"
    found = entries(path.read_text(encoding="utf-8"))
    if found is not None:
        write(str(path), HEAD + "".join(found[name] for name in wanted))
        return
    with modify_yaml(str(path)) as lock:
        lock["stages"] = {name: lock["stages"][name] for name in wanted}
