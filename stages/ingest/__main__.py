"""`python -m stages.ingest DATASET --out data/raw/DATASET`: one dataset of params.yaml as normalised tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.command import command
from stages.params import load

EXAMPLES = """examples:
  python -m stages.ingest shop --out data/raw/shop
  python -m stages.ingest my-receipts --out data/raw/my-receipts --params params.yaml

An entry under datasets: in params.yaml says where the data comes from; docs/data.md shows every source."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.ingest", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="an entry under datasets: in the params file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced whole")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file of settings (default: params.yaml)")
    args = parser.parse_args()
    entry = load(args.params).dataset(args.dataset)

    from stages.ingest.sources import ingest

    ingest(args.dataset, entry, args.out)


if __name__ == "__main__":
    command(main)
