"""The user's own texts: documents, sentence pairs, questions with answers; from tables or from text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from stages.ingest.raw import SCHEMAS, Raw
from stages.ingest.table_files import SPLITS, TableOptions, pick, scan
from stages.ingest.text_files import plain
from stages.ingest.word_tests import WordTests
from stages.settings import InputError, field

REQUIRED = {"documents": ("text",), "pairs": ("source", "target"), "questions": ("question", "answer", "label")}
IDS = {"documents": "doc_id", "pairs": "pair_id", "questions": "question_id"}


@dataclass(frozen=True)
class CorpusOptions(TableOptions, WordTests):
    kind: Literal["documents", "pairs", "questions"] = "documents"
    unit: Literal["file", "paragraph", "line"] | None = field(None, doc="what of a text file is a document; null: the file is a table")


def from_path(options: CorpusOptions, path: Path, scratch: Path) -> Raw:
    """A table of documents, pairs or questions; with `unit`, or for a folder of .txt files without named splits, plain text."""
    unit = options.unit
    if unit is None and options.kind == "documents":
        unit = "file" if path.is_dir() and any(path.rglob("*.txt")) and not any(path.glob("*.csv")) else None
        if path.is_file() and path.suffix == ".txt" and not options.format and not options.columns:
            unit = "paragraph"
    if unit:
        if options.kind != "documents":
            raise InputError(f"options.unit: plain text gives documents, not {options.kind}; remove options.unit or options.kind")
        return text_documents(path, unit, options.encoding, scratch)
    return from_table(scan(path, options, scratch), options.kind, options.columns, path)


def from_table(frame: pl.LazyFrame, kind: str, columns: dict[str, str], path: Path) -> Raw:
    """Documents, pairs or questions of `frame`; ids default to the number of the row. Labels of questions must be whole numbers."""
    allowed = tuple(SCHEMAS[kind][kind])
    chosen = pick(frame, columns, allowed, REQUIRED[kind], path)
    table = frame.select(pl.col(column).cast(pl.String).alias(name) for name, column in chosen.items())
    if "split" in chosen:
        table = table.with_columns(split=_split(table, path))
    if IDS[kind] not in chosen:
        table = table.with_row_index(IDS[kind]).with_columns(pl.col(IDS[kind]).cast(pl.String))
    if kind == "questions":
        table = _questions(table, chosen, path)
    return Raw(kind, {kind: table}, licence="the user's own")


def _split(table, path):
    given = table.select(pl.col("split").str.to_lowercase().unique().drop_nulls().sort()).collect().to_series().to_list()
    unknown = [name for name in given if name not in SPLITS]
    if unknown:
        raise InputError(f"{path}: unknown split {unknown[0]!r} in column split; allowed: {', '.join(SPLITS)}")
    return pl.col("split").str.to_lowercase().replace(SPLITS)


def _questions(table, chosen, path):
    """Labels as numbers; without an id, equal questions are one question."""
    label = pl.col("label").cast(pl.Float64, strict=False)
    wrong = table.filter(label.is_null() & pl.col("label").is_not_null()).select("label").head(1).collect()
    if wrong.height:
        raise InputError(f"{path}: label {wrong.item()!r} of a question is no number; 1 says that the answer is right, 0 that it is not")
    if "question_id" not in chosen:
        table = table.with_columns(question_id=pl.col("question").rank("dense").cast(pl.String))
    return table.with_columns(label=label.cast(pl.Int8))


def text_documents(path: Path, unit: str, encoding: str, scratch: Path) -> Raw:
    """Documents of a text file, or of every .txt file under a folder: a subfolder named train, valid or test is the split, the innermost
    other subfolder the label. The file is the `group` of its paragraphs and lines.
    """
    found = sorted(p for p in path.rglob("*.txt")) if path.is_dir() else [path]
    if not found:
        raise InputError(f"{path}: holds no .txt file; an empty dataset is of no use")
    rows = []
    for number, file in enumerate(found):
        inside = scratch / f"text{number}"
        inside.mkdir(parents=True, exist_ok=True)
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        folders = name.split("/")[:-1]
        split = next((SPLITS[f.lower()] for f in (*folders, file.stem) if f.lower() in SPLITS), None)
        label = next((f for f in reversed(folders) if f.lower() not in SPLITS), None)
        for i, text in enumerate(pieces(plain(file, encoding, inside).read_text(encoding="utf-8-sig"), unit)):
            whole = unit == "file"
            rows.append((name if whole else f"{name}#{i}", split, text, label, None if whole or len(found) == 1 else name))
    table = pl.DataFrame(rows, schema=dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String), orient="row")
    return Raw("documents", {"documents": table}, licence="the user's own")


def pieces(text: str, unit: str) -> list[str]:
    """`text` whole, its paragraphs (between blank lines) or its lines, without empty ones."""
    if unit == "file":
        cut = [text]
    elif unit == "paragraph":
        cut, held = [], []
        for line in [*text.splitlines(), ""]:
            if line.strip():
                held.append(line)
            else:
                cut.append("\n".join(held))
                held = []
    else:
        cut = text.splitlines()
    return [piece.strip() for piece in cut if piece.strip()]
