"""Vectors of a trained run in the formats that other tools read, beside its weights. docs/vectors.md shows how to load them.

    vectors.parquet        table, id, label, vector: every table of vectors the model has
    TABLE.txt              word2vec's text format (gensim: KeyedVectors.load_word2vec_format)
    TABLE.vectors.tsv, TABLE.labels.tsv   a pair for the TensorBoard projector

The same weights give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from stages.models.base import Model
from stages.prepared import Prepared

DIGITS = "%.7g"  # of the text formats: about what float32 holds; the parquet file is exact


@torch.no_grad()
def write_vectors(folder: Path, model: Model, weights: dict[int, dict], data: Prepared) -> str:
    """Write the files into `folder`/<seed>/ for every seed's weights. Returns what was left out and why, or ''.

    A model without `vectors` has nothing to write. Raises ValueError where a table of vectors and its labels differ in length.
    """
    if not hasattr(model, "vectors"):
        return ""
    left_out = ""
    for seed, state in weights.items():
        model.load_state_dict(state)
        found, place = {}, folder / str(seed)
        for name, tensor in model.vectors().items():
            table, names = data.rows_of(name)
            labels, vectors = data.table(names), tensor.detach().to("cpu", torch.float32).numpy()
            if len(labels) != len(vectors):
                raise ValueError(f"vectors {name!r}: {len(vectors)} rows, but {data.folder} names {len(labels)} {table}")
            found[table] = labels, vectors
            if table == names:
                write_text(place / f"{table}.txt", labels, vectors)
                write_projector(place, table, labels, vectors, data)
        try:
            write_parquet(place / "vectors.parquet", found)
        except ImportError as error:
            left_out = f"vectors.parquet was left out ({error}); the text formats hold the same vectors"
    return left_out


def write_parquet(path: Path, tables: dict[str, tuple[list, np.ndarray]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parts = []
    for table, (labels, vectors) in tables.items():
        n, d = vectors.shape
        rows = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * d), pa.array(vectors.ravel()))
        parts.append(pa.table({"table": pa.array([table] * n), "id": pa.array(np.arange(n, dtype=np.int32)),
                               "label": pa.array([str(label) for label in labels]), "vector": rows}))
    parquet.write_table(pa.concat_tables(parts), path, compression="zstd")


def escaped(labels: list) -> list[str]:
    """Labels as words of word2vec's text format, which splits at spaces: white space, control characters and % as %XX (urllib's `unquote`

    takes it back); a label that was there before gets #<its id>, since readers keep the first of equal words only.
    """
    words, seen = [], set()
    for i, label in enumerate(labels):
        word = "".join(quote(c) if c == "%" or c.isspace() or not c.isprintable() else c for c in str(label)) or "%00"
        while word in seen:
            word = f"{word}#{i}"
        seen.add(word)
        words.append(word)
    return words


def write_text(path: Path, labels: list, vectors: np.ndarray) -> None:
    row = " ".join([DIGITS] * vectors.shape[1])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{len(vectors)} {vectors.shape[1]}\n")
        file.writelines(f"{word} {row % tuple(vector)}\n" for word, vector in zip(escaped(labels), vectors.tolist(), strict=True))


def write_projector(folder: Path, table: str, labels: list, vectors: np.ndarray, data: Prepared) -> None:
    """The projector wants a header exactly where there is more than one column."""
    row, columns = "\t".join([DIGITS] * vectors.shape[1]), {"label": labels, **data.columns_of(table)}
    with (folder / f"{table}.vectors.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(row % tuple(vector) + "\n" for vector in vectors.tolist())
    with (folder / f"{table}.labels.tsv").open("w", encoding="utf-8", newline="\n") as file:
        if len(columns) > 1:
            file.write("\t".join(columns) + "\n")
        for values in zip(*columns.values(), strict=True):
            file.write("\t".join(" ".join(str(v).split()) for v in values) + "\n")
