"""Hold a dataset's raw tables against its domain's expectations; write the clean ones, the quarantine and a page about both."""

from __future__ import annotations

import argparse
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from stages.command import FAILED, command, fail
from stages.files import remove
from stages.params import load
from stages.settings import configure

EXAMPLE = """example:
  python -m stages.validate shop --in data/raw/shop --clean data/clean/shop \\
      --quarantine data/quarantine/shop.parquet --report reports/validation/shop

Thresholds: validate.<domain> in params.yaml, overlaid by datasets.<dataset>.validate.
Exit code 0: clean tables written. 1: an expectation about a whole table failed; quarantine and page are written, clean tables are not."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.validate", description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="an entry under datasets: in the params file")
    parser.add_argument("--in", dest="source", type=Path, required=True, help="folder written by the ingest stage")
    parser.add_argument("--clean", type=Path, required=True, help="folder to write, replaced whole")
    parser.add_argument("--quarantine", type=Path, required=True, help="parquet file of the rows set aside")
    parser.add_argument("--report", type=Path, required=True, help="folder of the page and summary.json")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    args = parser.parse_args()
    params = load(args.params)
    entry = params.dataset(args.dataset)
    suite = import_module(f"stages.validate.{entry.domain}").SUITE
    given = params.validate.get(entry.domain, {})
    configure(suite.thresholds, given, f"{args.params}.validate.{entry.domain}")  # each layer where it stands, so the line names the place
    thresholds = configure(suite.thresholds, {**given, **entry.validate}, f"{args.params}.datasets.{args.dataset}.validate")

    from stages.validate.suite import read

    dataset = read(args.source, suite)

    from stages.validate.engine import run, write_clean, write_quarantine
    from stages.validate.page import aside_line, failure_line, write_report

    outcome = run(dataset, suite, thresholds)
    write_quarantine(outcome, args.quarantine)
    write_report(args.dataset, entry.domain, outcome, args.quarantine, args.report)
    page = args.report / "index.html"
    if aside := aside_line(args.dataset, outcome, args.quarantine, page):
        print(aside, flush=True)
    if outcome.failures:
        remove(args.clean)  # of an earlier run: later stages must not take it for this data
        places = {f.name: (f"datasets.{args.dataset}.validate" if f.name in entry.validate else f"validate.{entry.domain}", args.params)
                  for f in fields(thresholds)}
        fail(failure_line(args.dataset, outcome, page, places), FAILED)
    write_clean(outcome, args.clean)


if __name__ == "__main__":
    command(main)
