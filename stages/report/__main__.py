"""`python -m stages.report`: reports/index.html, reports/pages/ and reports/assets/ from what the other stages left under reports/."""

from __future__ import annotations

import argparse
from pathlib import Path

from stages import params
from stages.command import command
from stages.files import new_folder, replacing
from stages.report.inputs import read_inputs
from stages.report.pages import ASSETS, TEMPLATES, render
from stages.report.studies import read_beyond


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.report", description="Render the report: one folder of plain HTML, opened as index.html."
    )
    parser.add_argument(
        "--reports",
        type=Path,
        default=Path("reports"),
        help="folder of metrics/, curves/, samples/ and validation/; the pages go there too",
    )
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings of the pipeline: which datasets and runs there are"
    )
    parser.add_argument(
        "--names", type=Path, default=Path("stages/evaluate/names.json"), help="titles, directions and meanings of the metrics"
    )
    parser.add_argument("--benches", type=Path, default=Path("bench/results"), help="comparisons that python -m bench --record left")
    parser.add_argument(
        "--without", action="append", default=[], metavar="KEY",
        help="show runs.NAME (or NAME alone), datasets.NAME or claims.NAME as not run: what lies there of it is old (may be given again)",
    )
    parser.add_argument(
        "--failed", action="append", default=[], metavar="LINE", help="say on the overview that this went wrong (may be given again)"
    )
    given = parser.parse_args()
    inputs = read_inputs(given.reports, params.load(given.params), given.names, given.without, given.failed)
    write(given.reports, render(inputs, read_beyond(given.reports, given.benches)))


def write(reports: Path, pages: dict[str, str]) -> None:
    """Put the pages in place of the old ones, the overview last; pages of runs that are gone go too."""
    with new_folder(reports / "assets") as folder:
        for name in ASSETS:
            (folder / name).write_bytes((TEMPLATES / name).read_bytes())
    with new_folder(reports / "pages") as folder:
        for address, text in pages.items():
            if address != "index.html":
                (folder / Path(address).name).write_text(text, encoding="utf-8")
    with replacing(reports / "index.html") as temporary:
        temporary.write_text(pages["index.html"], encoding="utf-8")


if __name__ == "__main__":
    command(main)
