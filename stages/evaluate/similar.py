"""`python -m stages.evaluate similar RUN NAME`: what lies nearest to a word, item, node, entity or metadata value of a trained run."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.evaluate import recommend
from stages.evaluate.neighbours import Neighbours
from stages.evaluate.ranking import top_k
from stages.evaluate.trained import add_run, trained_run
from stages.prepared import Prepared
from stages.settings import InputError, choose

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Table:
    """A table of vectors: `name` as in the exported files, labels [N], vectors float32 [N, D], counts in train [N] or None, trained [N]."""

    name: str
    labels: list[str]
    vectors: np.ndarray
    counts: np.ndarray | None
    trained: np.ndarray


def tables_of(model, data: Prepared) -> dict[str, Table]:
    """Tables of vectors by name, that of the dataset's own rows first."""
    found = {}
    for vectors, tensor in model.vectors().items():
        name, labels = data.rows_of(vectors)
        if name == labels:
            counts = np.array(data["counts"]) if name in ("words", "items") else None
            rows = [str(x) for x in data.table(labels)]
            trained = np.diff(data["indptr"]) > 0 if name == "nodes" else np.ones(len(rows), bool) if counts is None else counts > 0
            if name == "words" and not hasattr(model, "losses"):  # a language model reads and predicts <unk>
                trained = trained & (np.array(rows) != UNKNOWN)
            found[name] = Table(name, rows, tensor.detach().cpu().numpy(), counts, trained)
    return found


def place_of(name: str, tables: dict[str, Table], run: str, catalogue: Path | None = None) -> tuple[Table, int, str]:
    """(table, row, note) of the label, of several equal ones the most frequent; else InputError with the nearest spellings."""
    for table in tables.values():
        rows = [i for i, label in enumerate(table.labels) if label == name]
        if not rows:
            continue
        row = rows[0] if table.counts is None else max(rows, key=lambda i: table.counts[i])
        if not table.trained[row]:
            why = ("has no edge in the train graph" if table.counts is None else "stands for all rarer words and is left out of training"
                   if table.counts[row] else "never occurs in the train split")
            raise InputError(f"run {run}: {name!r} {why}, so its vector was never trained; choose another")
        return table, row, f"{len(rows)} rows of {table.name} bear this name; that with the most occurrences is shown" if rows[1:] else ""
    called = {} if catalogue is None else _catalogue(catalogue)
    if name in called:
        if called[name] != name and any(called[name] in table.labels for table in tables.values()):
            raise InputError(f"run {run}: {name!r} is the id of an item called {called[name]!r}; ask for it by that name")
        raise InputError(f"run {run}: {name!r} is in the catalogue but was never bought in the train split, or less often than "
                         "prepare.min_count, so it has no vector"
                         + ("; a metadata value of it can be asked for instead" if len(tables) > 1 else ""))
    near = _spellings(name, [label for table in tables.values() for label in table.labels])
    raise InputError(f"run {run}: none of its {', '.join(t.name for t in tables.values())} is called {name!r}; "
                     + (f"nearest spellings: {', '.join(near)}" if near else "nothing is spelt nearly so"))


def _spellings(name: str, labels: list[str], n: int = 5) -> list[str]:
    by_lower = {}
    for label in labels:
        by_lower.setdefault(label.lower(), label)
    within = [label for lower, label in by_lower.items() if name.lower() in lower][:n] if len(name) > 2 else []
    close = [by_lower[x] for x in difflib.get_close_matches(name.lower(), by_lower, n=n, cutoff=0.6)]
    return list(dict.fromkeys([*close, *within]))[:n]


def _catalogue(path: Path) -> dict[str, str]:
    """{id or name: name} of all items that the source knows; empty where there is no such file."""
    if not path.is_file():
        return {}
    import polars as pl

    table = pl.read_parquet(path, columns=["item_id", "item"])
    return {**dict(zip(table["item_id"], table["item"], strict=True)), **{name: name for name in table["item"]}}


def similar(table: Table, row: int, k: int) -> list[tuple[str, float, int | None]]:
    """(label, cosine, count in train) of the k nearest others; what was never trained is left out."""
    kept = np.flatnonzero(table.trained)
    ids, cosines = Neighbours(table.vectors[kept]).nearest(table.vectors[row], k, skip=int(np.searchsorted(kept, row)))
    return [(table.labels[i], float(c), None if table.counts is None else int(table.counts[i]))
            for i, c in zip(kept[ids], cosines, strict=True)]


def bought_with(model, data: Prepared, row: int, k: int) -> dict[str, list[tuple[str, int, float]]]:
    """What goes into a basket with an item: (label, training receipts with both, input-output score), at most k each.

    `bought with`: those bought with it most often, equal ones by the score; `expected with`: those of the highest score, seen or not.
    """
    receipts = recommend.receipt_matrix(data["train.tokens"], data["train.offsets"], data.meta["items"])
    together = np.asarray((receipts.T @ receipts[:, [row]]).todense()).ravel()
    vectors = {name: tensor.detach().cpu().numpy() for name, tensor in model.vectors().items()}
    scores = (vectors["output"] @ vectors["input"][row]).astype(np.float64)
    together[row], scores[row] = 0, -np.inf
    often = np.lexsort((np.arange(len(scores)), -scores, -together))[:k]
    orders = {"bought with": often[together[often] > 0], "expected with": top_k(scores[None], min(k, len(scores) - 1))[0]}
    labels = data.table("items")
    return {title: [(str(labels[i]), int(together[i]), float(scores[i])) for i in ids] for title, ids in orders.items()}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.evaluate similar", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What lies nearest to a word, item, node, entity or metadata value of a trained run.",
        epilog="examples:\n  python -m stages.evaluate similar skipgram list\n"
               "  python -m stages.evaluate similar metaprod2vec 'category 07' -k 5\n"
               "  python -m stages.evaluate similar prod2vec 'item 04 of category 22' --seed-of-run 1\nin Python: docs/vectors.md")
    add_run(parser)
    parser.add_argument("name", help="a word, item, node, entity, relation or metadata value, spelt as in the data")
    parser.add_argument("-k", type=int, default=10, help="how many neighbours (default 10)")
    parser.add_argument("--table", help="look the name up in this table alone, e.g. items or field.category")
    args = parser.parse_args(arguments)
    if args.k < 1:
        raise InputError(f"-k: {args.k} neighbours were asked for; allowed: at least 1")
    model, data = trained_run(args, "vectors")
    tables = tables_of(model, data)
    if args.table:
        tables = {args.table: tables[choose(args.table, tables, "--table", "table of vectors")]}
    catalogue = args.prepared.parent / "clean" / data.folder.name / "items.parquet" if "items" in tables else None
    table, row, note = place_of(args.name, tables, args.run, catalogue)
    counted = table.counts is not None
    print(f"{args.name} ({table.name}{f', {table.counts[row]} in train' if counted else ''})" + (f"; {note}" if note else ""))
    _show(["similar", "cosine", *(["in train"] if counted else [])],
          [[label, f"{c:.3f}", *([n] if counted else [])] for label, c, n in similar(table, row, args.k)])
    if table.name == "items" and {"input", "output"} <= {*model.vectors()}:
        for title, rows in bought_with(model, data, row, args.k).items():
            _show([title, "receipts", "score"], [[label, n, f"{s:.2f}"] for label, n, s in rows])


def _show(columns: list[str], rows: list[list]) -> None:
    cells = [columns, *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print()
    for row in cells:
        print("  " + row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)), sep="  ")
    if not rows:
        print("  none")
