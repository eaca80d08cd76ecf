"""`python -m pipelines.graph` prints what is stale; `--table` writes docs/staleness.md, every leaf of params.yaml against its stages."""

from __future__ import annotations

from pathlib import Path

from pipelines.arguments import Parser
from pipelines.graph import Graph, plan, show
from pipelines.staleness import write_table
from stages.command import command


def main() -> None:
    parser = Parser(prog="python -m pipelines.graph", description="What is stale, and why.",
                    epilog="examples: python -m pipelines.graph; python -m pipelines.graph evaluate@vae")
    parser.add_argument("targets", nargs="*", help="stages, entries of dvc.yaml, or paths of outputs; without any, everything")
    parser.add_argument("--table", action="store_true", help="write docs/staleness.md: every leaf of params.yaml, and what it reruns")
    options = parser.parse_args()
    if options.table:
        print(f"wrote {write_table(Path('.'))}")
    else:
        show(plan(Graph(), options.targets))


if __name__ == "__main__":
    command(main)
