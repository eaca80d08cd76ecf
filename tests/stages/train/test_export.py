"""The files that carry vectors to other tools, each read back by a reader of its own."""

import json
import sys
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet
import pytest
import torch

from stages.models import item2vec, translation, word2vec
from stages.prepared import Prepared
from stages.runs import family_module
from stages.settings import configure
from stages.train.export import escaped, write_vectors
from tests.contract.test_families import FAMILIES, made, small_data

ITEMS = ["whole milk", "milk 2%", "bread", "bread", "nān\tتازه", "line\nbreak"]


def prepared(folder, meta, arrays, tables):
    folder.mkdir()
    for name, value in {**tables, "meta": {"dataset": "d", "hash": "0", **meta}}.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    for name, value in arrays.items():
        np.save(folder / f"{name}.npy", value)
    return Prepared(folder)


def shop(folder):
    meta = {"kind": "receipts", "items": 6, "fields": {"category": 2}}
    return prepared(folder, meta, {"field.category": np.array([0, 0, 1, 1, -1, 1], np.int32)},
                    {"items": ITEMS, "field.category": ["dairy", "bakery goods"]})


def trained(data, module=item2vec, **settings):
    torch.manual_seed(0)
    model = module.Model(configure(module.Config, {"dimension": 5, **settings}, "model"), data.meta)
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape) * (1e-5 if name == "input" else 100))
    return model


def written(folder, model, data):
    for seed in (0, 3):
        (folder / str(seed)).mkdir(parents=True)
    other = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    return write_vectors(folder, model, {0: {k: t.clone() for k, t in model.state_dict().items()}, 3: other}, data)


def read_word2vec(path):
    """As gensim does: words and numbers parted by single spaces, as many as the first line says."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    n, d = map(int, lines[0].split())
    rows = [line.rstrip().split(" ") for line in lines[1:-1]]
    assert len(rows) == n and all(len(row) == d + 1 for row in rows) and len({row[0] for row in rows}) == n
    return [row[0] for row in rows], np.array([row[1:] for row in rows], np.float32)


def test_every_format_holds_the_vectors_of_every_table(tmp_path):
    data = shop(tmp_path / "data")
    model = trained(data, fields=["category"])
    assert written(tmp_path / "run", model, data) == ""  # leaves the weights of the last seed in the model
    folder, wanted = tmp_path / "run" / "3", {k: v.numpy() for k, v in model.vectors().items()}
    table = pyarrow.parquet.read_table(folder / "vectors.parquet").to_pylist()
    for name, key, labels in (("items", "input", ITEMS), ("items.output", "output", ITEMS), ("field.category", "field.category",
                              ["dairy", "bakery goods"]), ("field.category.output", "output.field.category", ["dairy", "bakery goods"])):
        rows = [row for row in table if row["table"] == name]
        assert [row["label"] for row in rows] == labels and [row["id"] for row in rows] == list(range(len(labels)))
        assert np.array_equal(np.array([row["vector"] for row in rows], np.float32), wanted[key])
    assert len(table) == 2 * (6 + 2)
    for name, key, labels in (("items", "input", ITEMS), ("field.category", "field.category", ["dairy", "bakery goods"])):
        words, vectors = read_word2vec(folder / f"{name}.txt")
        np.testing.assert_allclose(vectors, wanted[key], rtol=1e-6)
        assert [unquote(w.split("#")[0]) for w in words] == labels
        tsv = [line.split("\t") for line in (folder / f"{name}.vectors.tsv").read_text(encoding="utf-8").splitlines()]
        np.testing.assert_allclose(np.array(tsv, np.float32), wanted[key], rtol=1e-6)
    lines = (folder / "items.labels.tsv").read_text(encoding="utf-8").split("\n")
    assert lines[:3] == ["label\tcategory", "whole milk\tdairy", "milk 2%\tdairy"]
    assert lines[5:7] == ["nān تازه\t", "line break\tbakery goods"]
    assert (folder / "field.category.labels.tsv").read_text(encoding="utf-8") == "dairy\nbakery goods\n"  # one column: no header
    assert sorted(p.name for p in folder.iterdir()) == ["field.category.labels.tsv", "field.category.txt", "field.category.vectors.tsv",
                                                        "items.labels.tsv", "items.txt", "items.vectors.tsv", "vectors.parquet"]


def test_labels_are_words_without_white_space_and_none_twice():
    assert escaped(["a b", "a b", "50%", "x\u00a0y", "", "a%20b", "é", "a%20b#1"]) == [
        "a%20b", "a%20b#1", "50%25", "x%C2%A0y", "%00", "a%2520b", "é", "a%2520b#1"]
    assert escaped(["x", "x#2", "x"]) == ["x", "x#2", "x#2#2"]


def test_the_same_weights_give_the_same_bytes(tmp_path):
    data = shop(tmp_path / "data")
    for name in ("a", "b"):
        written(tmp_path / name, trained(data, fields=["category"]), data)
    files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*.*"))]
    assert len(files) == 14 and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_words_entities_and_relations_bear_their_names(tmp_path):
    words = prepared(tmp_path / "w", {"kind": "documents", "words": 3}, {}, {"words": ["<unk>", "a", "b"]})
    names = {"entities": ["x", "y", "z"], "relations": ["r"]}
    facts = prepared(tmp_path / "t", {"kind": "triples", "entities": 3, "relations": 1}, {}, names)
    for data, module, tables in ((words, word2vec, ["words", "words.output"]), (facts, translation, ["entities", "relations"])):
        written(tmp_path / f"run-{tables[0]}", trained(data, module), data)
        table = pyarrow.parquet.read_table(tmp_path / f"run-{tables[0]}" / "0" / "vectors.parquet")
        assert list(dict.fromkeys(table["table"].to_pylist())) == tables
        assert (tmp_path / f"run-{tables[0]}" / "0" / f"{tables[0]}.txt").is_file()


@pytest.mark.parametrize("family", [f for f in FAMILIES if hasattr(family_module(f).Model, "vectors")])
def test_the_vectors_of_every_family_have_labels(family, tmp_path):
    meta = small_data(family_module(family).Model.kinds[0])[1]
    data = prepared(tmp_path / "d", meta, {}, {})
    sizes = {**meta, **{f"field.{name}": n for name, n in meta.get("fields", {}).items()}}
    vectors = made(family)[0].vectors()
    tables = {name: data.rows_of(name) for name in vectors}
    assert all(len(vectors[name]) == sizes[labels] for name, (_, labels) in tables.items())
    assert len({table for table, _ in tables.values()}) == len(tables) and any(table == labels for table, labels in tables.values())


def test_a_node_carries_its_class(tmp_path):
    data = prepared(tmp_path / "g", {"kind": "graph", "nodes": 3, "classes": 2}, {"labels": np.array([1, -1, 0], np.int32)},
                    {"nodes": ["u", "v", "w"], "labels": ["red", "blue"]})
    assert data.columns_of("nodes") == {"class": ["blue", "", "red"]}
    assert data.rows_of("node") == ("nodes", "nodes") and data.rows_of("context") == ("nodes.context", "nodes")


def test_without_pyarrow_the_rest_is_written_and_it_is_said_once(tmp_path, monkeypatch):
    data = shop(tmp_path / "data")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = written(tmp_path / "run", trained(data), data)
    assert said.startswith("vectors.parquet was left out") and "pyarrow" in said
    assert (tmp_path / "run" / "3" / "items.txt").is_file() and not list((tmp_path / "run").rglob("*.parquet"))


def test_a_model_without_vectors_has_nothing_to_write_and_a_wrong_length_is_a_fault(tmp_path):
    data = shop(tmp_path / "data")
    assert write_vectors(tmp_path, SimpleNamespace(), {0: {}}, data) == ""
    model = trained(data)
    (tmp_path / "data" / "items.json").write_text('["one"]')
    with pytest.raises(ValueError, match="'input': 6 rows, but .* names 1 items"):
        written(tmp_path / "run", model, data)
