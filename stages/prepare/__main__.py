"""`python -m stages.prepare DATASET --in data/clean/DATASET --out data/prepared/DATASET`: arrays that training maps into memory."""

from __future__ import annotations

import argparse
import dataclasses
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from stages.command import command
from stages.files import new_folder, read_json, write_json
from stages.params import load
from stages.prepare.graphs import GraphSettings, TripleSettings, graph, triples
from stages.prepare.images import ImageSettings, images
from stages.prepare.receipts import ReceiptSettings, receipts
from stages.prepare.splits import Shares
from stages.prepare.text import counts, documents, pairs, questions, word_tests
from stages.settings import InputError, choose, configure
from stages.tokens import TextSettings

TEXT = {"documents": documents, "pairs": pairs, "questions": questions, "counts": counts}
KINDS = {"receipts": ("receipts",), "corpora": tuple(TEXT), "graphs": ("graph", "triples"),
         "images": ("images", "points", "series", "two_domains")}  # of a domain
SETTINGS = {
    "receipts": ReceiptSettings,
    "graph": GraphSettings,
    "triples": TripleSettings,
    "images": ImageSettings,
    "points": ImageSettings,
    "series": ImageSettings,
    "two_domains": ImageSettings,
    **dict.fromkeys(TEXT, TextSettings),
}


def prepare(folder: Path, kind: str, settings, shares: Shares, source: dict):
    """(arrays, tables, meta) of the cleaned tables in `folder`."""

    def table(name):
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise InputError(f"{path}: no such file; rerun the validate stage")
        return pl.read_parquet(path)

    if kind in TEXT:
        arrays, tables, meta = TEXT[kind](table(kind), settings, shares)
        if (folder / "analogies.parquet").is_file() and not settings.bag:
            found = word_tests(table("analogies"), table("similarity"), tables["words"], settings)
            arrays, tables = {**arrays, **found[0]}, {**tables, **found[1]}
        return arrays, tables, meta
    if kind == "receipts":
        items = table("items") if (folder / "items.parquet").is_file() else None
        return receipts(table("receipts"), items, source.get("fields", []), settings, shares)
    if kind == "graph":
        return graph(table("edges"), table("nodes"), settings, shares)
    if kind == "triples":
        return triples(table("triples"), settings, shares)
    pixels = np.load(folder / f"{kind}.npy", mmap_mode="r", allow_pickle=False)
    arrays, tables, meta = images(table("images"), pixels, kind, settings, shares)
    known = ("modes", "sigma", "stacked", "period")
    return arrays, tables, {**meta, **{k: v for k, v in (source.get("truth") or {}).items() if k in known}}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.prepare",
        description="Encode a validated dataset.",
        epilog="example: python -m stages.prepare shop --in data/clean/shop --out data/prepared/shop",
    )
    parser.add_argument("dataset")
    parser.add_argument("--in", dest="source", type=Path, required=True, help="folder written by the validate stage")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    args = parser.parse_args()
    params = load(args.params)
    source = read_json(args.source / "source.json")
    kind = choose(source["kind"], SETTINGS, f"{args.source}/source.json: kind", "kind")
    given = params.dataset(args.dataset).prepare
    settings = configure(SETTINGS[kind], given, f"{args.params}.datasets.{args.dataset}.prepare")
    own = {k: v for k in ("valid", "test") if (v := getattr(settings, k, None)) is not None}
    shares = configure(Shares, {**dataclasses.asdict(params.split), **own}, f"{args.params}.split")
    arrays, tables, meta = prepare(args.source, kind, settings, shares, source)
    digest = sha256()
    with new_folder(args.out) as out:
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            np.save(out / f"{name}.npy", array, allow_pickle=False)
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        for name, rows in tables.items():
            write_json(out / f"{name}.json", rows)
        write_json(
            out / "meta.json", {"dataset": args.dataset, "domain": source["domain"], "kind": kind, **meta, "hash": digest.hexdigest()}
        )
    if meta.get("cut"):
        print(f"{args.dataset}: {meta['cut']} texts were cut to their first {settings.max_length} tokens (prepare.max_length)")


if __name__ == "__main__":
    command(main)
