"""Public graphs and knowledge graphs. Each function reads the files of `public_files.PUBLIC` of its name."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from stages.ingest.archives import members
from stages.ingest.download import Files
from stages.ingest.image_files import array, read_npz
from stages.ingest.raw import Raw
from stages.ingest.text_files import truncated
from stages.settings import InputError, field

SCHEMA = ["head", "relation", "tail", "split"]


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass(frozen=True)
class NameOptions:
    names: bool = field(False, doc="readable names of entities where entity2wikidata.json.gz knows one")


@dataclass(frozen=True)
class CountriesOptions:
    task: Literal["S1", "S2", "S3"] = "S1"


def wn18(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """Numbered triples, `head tail relation` (in this order), the count on the first line; names from the two id files."""
    entities, relations = (_names(files[f"{kind}2id.txt"]) for kind in ("entity", "relation"))
    rows = []
    for split in ("train", "valid", "test"):
        path = files[f"{split}2id.txt"]
        count, *lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) != int(count):
            raise InputError(f"{path}: truncated: its first line promises {count} triples, it has {len(lines)}; fetch it again")
        for head, tail, relation in map(str.split, lines):
            rows.append((entities[head], relations[relation], entities[tail], split))
    return _triples(rows)


def wn18rr(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _triples(_archive(files["WN18RR.tar.gz"]))


def fb15k(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _triples(_archive(files["fb15k.tgz"]))


def fb15k_237(options: NameOptions, files: Files, scratch: Path) -> Raw:
    """With `names` an entity is `label (/m/id)`, so that entities of one label stay apart."""
    rows = _archive(files["FB15k-237.tar.gz"])
    if not options.names:
        return _triples(rows)
    if "entity2wikidata.json.gz" not in files:
        raise InputError("options.names: entity2wikidata.json.gz is not there; put it into the mirror's fb15k-237, or leave names out")
    with gzip.open(files["entity2wikidata.json.gz"], "rt", encoding="utf-8") as file:
        label = {mid: f"{entry['label']} ({mid})" for mid, entry in json.load(file).items() if entry.get("label")}
    return _triples([(label.get(h, h), r, label.get(t, t), split) for h, r, t, split in rows])


def countries(options: CountriesOptions, files: Files, scratch: Path) -> Raw:
    rows = []
    for split in ("train", "valid", "test"):
        text = files[f"countries_{options.task}/{split}.txt"].read_text(encoding="utf-8")
        rows += [(*line.split("\t"), split) for line in text.splitlines() if line]
    return _triples(rows)


def cora(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """Papers and citations in Planetoid's numbering; its split of nodes (140, 500, 1,000) is in source.json as `published_split`."""
    path = files["cora_planetoid.npz"]
    arrays = read_npz(path)
    get = {name: array(arrays, name, path, "cora") for name in ("edges", "labels", "idx_train", "idx_val", "idx_test")}
    edges = pl.DataFrame({"source": get["edges"][:, 0], "target": get["edges"][:, 1]}).with_columns(weight=pl.lit(1.0))
    nodes = pl.DataFrame({"node_id": range(len(get["labels"])), "label": get["labels"]})
    split = {name: [str(i) for i in get[f"idx_{part}"]] for name, part in (("train", "train"), ("valid", "val"), ("test", "test"))}
    return Raw("graph", {"edges": edges, "nodes": nodes}, notes={"published_split": split})


def blogcatalog(options: NoOptions, files: Files, scratch: Path) -> Raw:
    """Sparse matrices `network` (nodes x nodes) and `group` (nodes x groups); a node of several groups has them joined by `|`."""
    import scipy.io
    import scipy.sparse

    path = files["blogcatalog.mat"]
    try:
        held = scipy.io.loadmat(path, variable_names=("network", "group"))
    except (ValueError, TypeError, IndexError, OSError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        raise truncated(path, error) from None
    network, group = (scipy.sparse.csr_array(array(held, name, path, "blogcatalog")) for name in ("network", "group"))
    upper = scipy.sparse.triu(network, 0).tocoo()
    order = sorted(zip(upper.row.tolist(), upper.col.tolist(), upper.data.tolist(), strict=True))
    labels = ["|".join(str(g) for g in sorted(group.indices[a:b].tolist())) or None
              for a, b in zip(group.indptr[:-1], group.indptr[1:], strict=True)]
    edges = pl.DataFrame(order, schema={"source": pl.Int64, "target": pl.Int64, "weight": pl.Float64}, orient="row")
    return Raw("graph", {"edges": edges, "nodes": pl.DataFrame({"node_id": range(len(labels)), "label": labels})},
               notes={"labels": "several a node, joined by |"})


def _names(path):
    """number -> name of an id file: the count on the first line, then name, tab, number."""
    return {number: name for name, number in (line.split() for line in path.read_text(encoding="utf-8").splitlines()[1:] if line)}


def _archive(path):
    """Rows of the train, valid and test file of an archive: head, relation and tail between tabs."""
    rows = []
    found = members(path, ".txt")
    for split in ("train", "valid", "test"):
        contents = [text for name, text in found.items() if name.removesuffix(".txt").endswith(split)]
        if not contents:
            raise InputError(f"{path}: the archive has no file of {split} triples (it holds {', '.join(found) or 'none'}); fetch it again")
        rows += [(*line.split("\t"), split) for line in contents[0].decode().splitlines() if line]
    return rows


def _triples(rows) -> Raw:
    return Raw("triples", {"triples": pl.DataFrame(rows, schema=SCHEMA, orient="row")})
