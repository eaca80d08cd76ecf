"""`python -m pipelines.readme`: write the tables of README.md from published metrics and benchmark results. No number there is typed."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.arguments import Parser
from pipelines.summary import best_baseline, shown
from stages.files import read_json, replacing
from stages.settings import InputError


def results_table(root: Path) -> str:
    """A row a run of reports/study: headline metric as mean and standard deviation over seeds, beside its best baseline."""
    names = read_json(root / "stages/evaluate/names.json")
    lines = ["| run | metric | value | best baseline |", "|---|---|---|---|"]
    for path in sorted((root / "reports/study").glob("*.json")):
        metrics = read_json(path)
        headline = metrics["headline"]
        better = names[headline]["better"]
        value, (name, beside) = metrics[headline], best_baseline(metrics, headline, better)
        arrow = {"higher": " ↑", "lower": " ↓"}.get(better, "")
        lines.append(
            f"| {path.stem} | {names[headline]['title']}{arrow} | {shown(value)} ({value['n']} seed{'s' * (value['n'] > 1)}) | "
            f"{f'{name} {shown(beside)}' if name else 'none'} |"
        )
    return "\n".join(lines)


def speed_table(root: Path) -> str:
    """A row a comparison of bench/results: ours beside the peer, in turn in one run, and the ratio's limit where one was measured."""
    lines = ["| work: peer, ours | peer | ours | unit | ratio | quality of peer | of ours |", "|---|---|---|---|---|---|---|"]
    for path in sorted((root / "bench/results").glob("*.json")):
        found = read_json(path)
        if "peer" not in found:  # no comparison: bench/soak.py
            continue
        for r in (found, *found.get("also", ())):
            ratio = f"{r['ratio']:.2f}" + (f" (at most {r['limit']:.2f})" if "limit" in r else "")
            lines.append(f"| {r['name']} | {r['peer']:.4g} | {r['ours']:.4g} | {r['unit']} | {ratio} | {r['quality_peer']:.6g} | "
                         f"{r['quality_ours']:.6g} |")
    return "\n".join(lines)


BLOCKS = {"results": results_table, "speed": speed_table}


def rendered(text: str, root: Path) -> str:
    """README's text with every generated block filled anew."""
    for name, table in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name}: written by python -m pipelines\.readme -->\n).*?(<!-- end of {name} -->)", re.S)
        if not pattern.search(text):
            raise InputError(f"README.md: the block {name!r} is missing; expected its two comment lines")
        text = pattern.sub(lambda m, t=table: m[1] + t(root) + "\n" + m[2], text)
    return text


def main() -> None:
    parser = Parser(prog="python -m pipelines.readme", description=__doc__.split(": ", 1)[1])
    parser.parse_args()
    path = Path("README.md")
    with replacing(path) as temporary:
        temporary.write_text(rendered(path.read_text(encoding="utf-8"), Path()), encoding="utf-8")


if __name__ == "__main__":
    from stages.command import command

    command(main)
