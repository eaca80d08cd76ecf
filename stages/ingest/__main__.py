"""`python -m stages.ingest DATASET --out data/raw/DATASET`: one dataset of params.yaml as normalised tables."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from stages.command import command
from stages.settings import InputError, choose, configure, field

EXAMPLES = """examples:
  python -m stages.ingest shop --out data/raw/shop
  python -m stages.ingest my-receipts --out data/raw/my-receipts --params params.yaml

An entry under datasets: in params.yaml says where the data comes from; docs/data.md shows every source."""


@dataclass(frozen=True)
class Entry:
    """An entry under `datasets:`. `options` are checked by the source they belong to."""

    domain: str
    source: str
    name: str
    options: dict = field({})
    validate: dict = field({})
    prepare: dict = field({})


def read_entry(params: Path, name: str) -> Entry:
    import yaml

    try:
        settings = yaml.safe_load(Path(params).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{params}: no such file; name the file of settings with --params") from None
    except yaml.YAMLError as error:
        raise InputError(f"{params}: not readable as YAML ({error})") from None
    datasets = (settings or {}).get("datasets") or {}
    choose(name, datasets, f"{params}: datasets", "dataset")
    return configure(Entry, datasets[name], f"datasets.{name}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.ingest", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="an entry under datasets: in the params file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced whole")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file of settings (default: params.yaml)")
    args = parser.parse_args()
    entry = read_entry(args.params, args.dataset)

    from stages.ingest.sources import ingest

    ingest(args.dataset, entry, args.out)


if __name__ == "__main__":
    command(main)
