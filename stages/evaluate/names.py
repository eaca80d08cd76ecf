"""The one list of metric names (names.json), and docs/metrics.md made from it: `python -m stages.evaluate.names`."""

from __future__ import annotations

from pathlib import Path

from stages.files import read_json, replacing

FILE = Path(__file__).with_name("names.json")
NOT_METRICS = ("headline", "baselines", "parameters", "reproducible", "features")

HEAD = """# Metrics

Generated from `stages/evaluate/names.json` by `python -m stages.evaluate.names`; edit that file, not this one.

Every number is measured on the test split, which nothing else reads. Over several seeds a number is the mean, with the standard deviation
(n - 1) beside it. Likelihood-like numbers are in nats, positive, lower is better. Ranks break ties by the mean ("realistic" rank).

| name | metric | better | unit | meaning |
|---|---|---|---|---|
"""


def names() -> dict[str, dict]:
    """{metric: {title, better: higher | lower | none, unit, meaning}}."""
    return read_json(FILE)


def check_names(metrics: dict) -> None:
    """ValueError for a metric of a metrics file that names.json does not explain: a fault of the program, not of its user."""
    known = names()
    used = {*metrics} - {*NOT_METRICS} | {name for values in metrics["baselines"].values() for name in values} | {metrics["headline"]}
    if unknown := sorted(used - {*known}):
        raise ValueError(f"metrics without an entry in {FILE.name}: {', '.join(unknown)}")


def markdown() -> str:
    """The text of docs/metrics.md."""
    words = {"higher": "higher", "lower": "lower", "none": "neither"}
    rows = (f"| `{name}` | {e['title']} | {words[e['better']]} | {e['unit'] or '–'} | {e['meaning']} |\n" for name, e in names().items())
    return HEAD + "".join(rows)


if __name__ == "__main__":
    with replacing(Path("docs/metrics.md")) as _temporary:
        _temporary.write_text(markdown(), encoding="utf-8")
