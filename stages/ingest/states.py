"""`python -m stages.ingest.states`: bring data/sources.json up to date, the file by which DVC notices new data.

Standard library and yaml alone, because every `make run` starts with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from pathlib import Path

from stages.command import command
from stages.files import write_json
from stages.ingest.builtin import BUILTIN
from stages.ingest.public_files import PUBLIC
from stages.settings import InputError

EXAMPLES = """examples:
  python -m stages.ingest.states            write data/sources.json if a source changed, say which
  python -m stages.ingest.states --check    write nothing, exit 1 if a source changed"""
OTHER_FILES = ("labels", "nodes")  # options that name a second file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.ingest.states", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file of settings (default: params.yaml)")
    parser.add_argument("--out", type=Path, default=Path("data/sources.json"), help="file to bring up to date (default: data/sources.json)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is not up to date")
    args = parser.parse_args()
    changed = update(args.params, args.out, args.check)
    if changed:
        print(f"{args.out}: {'not up to date' if args.check else 'updated'}: {', '.join(changed)}")
    sys.exit(1 if changed and args.check else 0)


def update(params: Path, out: Path, check: bool = False) -> list[str]:
    """Names of the datasets whose state differs from `out`, which is written unless `check`. Entries without a dataset are removed.

    Datasets that only a profile has are looked at too: `dvc exp run -S +profiles=NAME` finds their entries nowhere else.
    """
    memo_path = out.with_name(".sources_memo.json")
    memo = _read(memo_path) if memo_path.is_file() else {}
    before = dict(memo)
    datasets = _datasets(params)
    for profile in sorted(Path(params).parent.glob("profiles/*.yaml")):
        datasets = {**_datasets(profile, required=False), **datasets}
    found = {str(name): state(entry, memo) for name, entry in sorted(datasets.items(), key=lambda e: str(e[0]))}
    old = _read(out) if out.is_file() else {}
    changed = sorted(name for name in {*old, *found} if old.get(name) != found.get(name))
    if memo != before:
        write_json(memo_path, memo)
    if changed and not check:
        write_json(out, found)
    return changed


def state(entry: dict, memo: dict) -> dict:
    """What the source of `entry` is now; {} where nothing outside the parameters can change it (or the entry is wrong: ingest says how)."""
    source, name = (entry.get(key) if isinstance(entry, dict) else None for key in ("source", "name"))
    if source == "builtin" and name in BUILTIN and BUILTIN[name].reads_standard_library:
        return {"python": platform.python_version()}
    if source == "public" and name in PUBLIC:
        return {"sha256": {file.name: file.content or file.sha256 for file in PUBLIC[name].files}}
    if source == "path" and isinstance(name, str):
        options = entry.get("options") if isinstance(entry.get("options"), dict) else {}
        others = [options[key] for key in OTHER_FILES if isinstance(options.get(key), str)]
        return {"files": {Path(path).as_posix(): _held(Path(path), memo) for path in (name, *others)}}
    return {}


def _held(path, memo):
    """{size, sha256} of a file; of a folder {count, size, sha256}, the hash of its sorted names with the hash of each.

    A missing one says so and leaves the error to ingest.
    """
    if not path.exists():
        return {"missing": True}
    if not path.is_dir():
        return {"size": path.stat().st_size, "sha256": _sha256(path, memo)}
    files = sorted(p for p in path.rglob("*") if p.is_file())
    listing = "".join(f"{_sha256(p, memo)}  {p.relative_to(path).as_posix()}\n" for p in files)
    return {"count": len(files), "size": sum(p.stat().st_size for p in files),
            "sha256": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()}


def _sha256(file, memo):
    """The hash, not computed again while size and time of the last change are those of the memo."""
    about = file.stat()
    known = memo.get(str(file.resolve()))
    if known and known[:2] == [about.st_size, about.st_mtime_ns]:
        return known[2]
    with open(file, "rb") as opened:
        total = hashlib.file_digest(opened, "sha256").hexdigest()
    memo[str(file.resolve())] = [about.st_size, about.st_mtime_ns, total]
    return total


def _datasets(params, required=True):
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        settings = yaml.load(Path(params).read_text(encoding="utf-8"), Loader=loader)  # a safe loader either way
    except FileNotFoundError:
        raise InputError(f"{params}: no such file; name the file of settings with --params") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{params}: not readable as YAML ({error})") from None
    datasets = settings.get("datasets") if isinstance(settings, dict) else None
    if datasets is None and not required:
        return {}
    if not isinstance(datasets, dict):
        raise InputError(f"{params}: expected a mapping under datasets:, found {datasets!r}")
    return datasets


def _read(path):
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return held if isinstance(held, dict) else {}
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}  # written anew


if __name__ == "__main__":
    command(main)
