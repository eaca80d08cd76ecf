"""Prepare: splits by hash, vocabularies from train alone, arrays that say what the tables said."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from stages import subwords
from stages.prepare import graphs, images, receipts, text
from stages.prepare.splits import Shares, by_hash, position, with_splits
from stages.settings import InputError

SHARES = Shares("salt", 0.2, 0.2)


def ids(n):
    return [f"id{i}" for i in range(n)]


def test_position_is_uniform_and_depends_on_salt():
    x = np.array([position(i, "a") for i in ids(4000)])
    counts = np.histogram(x, 10, (0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-square, 9 degrees of freedom, p = .001
    assert abs(np.corrcoef(x, [position(i, "b") for i in ids(4000)])[0, 1]) < 0.05


def test_new_rows_do_not_move_old_ones():
    table = pl.DataFrame({"doc_id": ids(300)})
    before = with_splits(table, "doc_id", SHARES)
    shuffled = pl.concat([pl.DataFrame({"doc_id": [f"new{i}" for i in range(50)]}), table[::-1]])
    after = dict(with_splits(shuffled, "doc_id", SHARES).select("doc_id", "split").iter_rows())
    assert all(after[d] == s for d, s in before.select("doc_id", "split").iter_rows())
    assert before["split"].value_counts().sort("split")["count"].to_list() == pytest.approx([60, 180, 60], abs=25)


def test_groups_stay_together_and_published_splits_win():
    table = pl.DataFrame({"doc_id": ids(60), "group": [f"g{i % 20}" for i in range(60)], "split": ["test"] * 3 + [None] * 57})
    out = with_splits(table, "doc_id", SHARES)
    assert out["split"][:3].to_list() == ["test"] * 3
    rest = out[20:]
    assert rest.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


def test_valid_is_carved_from_a_published_train():
    table = pl.DataFrame({"doc_id": ids(200), "split": ["train"] * 150 + ["test"] * 50})
    out = with_splits(table, "doc_id", SHARES)
    assert out["split"][150:].unique().to_list() == ["test"]
    assert {d for d, s in out[:150].select("doc_id", "split").iter_rows() if s == "valid"} == {
        d for d in ids(150) if by_hash(d, SHARES) == "valid"
    }


def test_records_without_a_split_follow_their_group():
    groups = {"a": "test", "b": "train", "c": "valid"}
    table = pl.DataFrame({"doc_id": ids(120), "group": [f"{'abc'[i % 3]}{i // 6}" for i in range(120)],
                          "split": [None if i % 6 < 3 else groups["abc"[i % 3]] for i in range(120)]})
    out = with_splits(table, "doc_id", SHARES)
    assert out["split"].to_list() == [groups[g[0]] for g in table["group"]]
    carved = with_splits(table.filter(~pl.col("group").str.starts_with("c")), "doc_id", SHARES)
    assert carved.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(carved.filter(pl.col("group").str.starts_with("b"))["split"]) == {"train", "valid"}


def test_a_group_of_two_published_splits_lends_neither():
    table = pl.DataFrame({"doc_id": ids(200), "group": [f"g{i // 4}" for i in range(200)], "split": ["train", None, "test", "valid"] * 50})
    out = with_splits(table, "doc_id", SHARES)
    assert out["split"][1::4].to_list() == [by_hash(f"g{i}", SHARES) for i in range(50)]


def test_nothing_left_to_train_on_is_said():
    with pytest.raises(InputError, match="no record is left in the train split"):
        with_splits(pl.DataFrame({"doc_id": ["a"], "split": ["test"]}), "doc_id", SHARES)


def documents(texts, **settings):
    table = pl.DataFrame(
        {"doc_id": ids(len(texts)), "split": ["train"] * (len(texts) - 2) + ["valid", "test"], "text": texts, "label": None},
        schema_overrides={"label": pl.String},
    )
    return text.documents(table, text.TextSettings(**settings), SHARES)


def test_documents_decode_to_what_was_written():
    arrays, tables, meta = documents(["B a b", "a, ünïcode", "a zebra", "b a"])
    words = tables["words"]
    decoded = [words[i] for i in arrays["train.tokens"]]
    assert decoded == ["b", "a", "b", "a", ",", "ünïcode"]
    assert arrays["train.offsets"].tolist() == [0, 3, 6]
    assert words[:2] == ["<unk>", "a"] and arrays["counts"].tolist() == [0, 2, 2, 1, 1]
    assert [words[i] for i in arrays["valid.tokens"]] == ["a", "<unk>"]  # zebra is not in train
    assert meta["unknown_share"]["valid"] == 0.5


def test_rare_words_and_long_texts():
    arrays, tables, meta = documents(["a a b", "a c", "a", "a"], min_count=2, max_length=2)
    assert tables["words"] == ["<unk>", "a"] and arrays["counts"].tolist() == [2, 3] and meta["cut"] == 1
    assert arrays["train.tokens"].tolist() == [1, 1, 1, 0]


def test_persian_words_keep_their_joiners():
    assert text.tokens(pl.Series(["می‌روم، خانه"]), text.TextSettings())[0].to_list() == ["می‌روم", "،", "خانه"]


def test_empty_vocabulary_is_said():
    with pytest.raises(InputError, match="vocabulary is empty"):
        documents(["", "", "a", "b"])


def test_pairs_questions_and_counts():
    table = pl.DataFrame({"pair_id": ids(3), "split": ["train", "train", "test"], "source": ["x y", "z", "x"], "target": ["1", "2 3", "9"]})
    arrays, tables, meta = text.pairs(table, text.TextSettings(), SHARES)
    assert tables["target.words"][:3] == ["<unk>", "<s>", "</s>"] and arrays["test.target.tokens"].tolist() == [0]
    asked = pl.DataFrame(
        {
            "question_id": ["q", "q", "r"],
            "split": ["train", "train", "test"],
            "question": ["a b", "a b", "a"],
            "answer": ["c", "d", "c"],
            "label": [1, 0, 1],
        }
    )
    arrays, _, _ = text.questions(asked, text.TextSettings(), SHARES)
    assert arrays["train.ids"].tolist() == [0, 0] and arrays["train.labels"].tolist() == [1, 0]
    bags = pl.DataFrame(
        {
            "doc_id": ids(3),
            "split": ["train", "train", "test"],
            "label": ["x", "y", "x"],
            "words": [["a", "b"], ["b"], ["b", "new"]],
            "counts": [[1, 2], [3], [4, 5]],
        }
    )
    arrays, tables, _ = text.counts(bags, text.TextSettings(), SHARES)
    assert tables["words"] == ["<unk>", "b", "a"] and arrays["counts"].tolist() == [0, 5, 1]
    assert arrays["test.words"].tolist() == [1] and arrays["test.counts"].tolist() == [4] and arrays["test.offsets"].tolist() == [0, 1]


def test_bags_leave_out_stop_words_marks_and_numbers_and_keep_empty_documents():
    arrays, tables, meta = documents(["Tea the tea, pot 42 x", "of the, 7", "tea unknown", "pot"], bag=True)
    assert meta["kind"] == "counts" and tables["words"] == ["<unk>", "tea", "pot"]
    assert arrays["train.words"].tolist() == [1, 2] and arrays["train.counts"].tolist() == [2, 1]
    assert arrays["train.offsets"].tolist() == [0, 2, 2] and arrays["valid.offsets"].tolist() == [0, 1]
    assert meta["documents"] == {"train": 2, "valid": 1, "test": 1}


def test_each_token_knows_its_line_also_where_a_text_is_cut():
    arrays, _, meta = documents(["a b.\n\nc d e\nf", "g\nh", "a", "a"], sentences=True, max_length=5)
    assert arrays["train.sentences"].tolist() == [0, 0, 0, 1, 1, 0, 1] and len(arrays["train.tokens"]) == 7 and meta["cut"] == 1


def test_tokens_between_spaces_stay_as_they_are():
    found = text.tokens(pl.Series(["self._x ( <string> ) ", "\ufeffA b"]), text.TextSettings(tokenizer="spaces", lower=False)).to_list()
    assert found == [["self._x", "(", "<string>", ")"], ["\ufeffA", "b"]]


def test_subwords_are_learnt_from_train_alone_and_spell_every_text_of_its_characters():
    texts = ["the lower the lowest", "می‌روم\nlow lower"] * 10 + ["slower wolves", "the zebra"]
    arrays, tables, meta = documents(texts, tokenizer="subwords", subwords=40, sentences=True)
    words, again = tables["words"], documents(texts, tokenizer="subwords", subwords=40)[0]
    assert meta["subwords"] and len(words) <= 40 and all(np.array_equal(arrays[k], again[k]) for k in again)

    def spelt(split, i):
        ends = arrays[f"{split}.offsets"]
        return "".join(words[t] for t in arrays[f"{split}.tokens"][ends[i] : ends[i + 1]]).replace("\u2581", " ").strip()

    assert spelt("train", 0) == texts[0] and spelt("train", 1) == "می‌روم low lower", "a line ends a word"
    ends = arrays["train.offsets"]
    assert spelt("valid", 0) == "slower wol<unk>es", "v is not in train, though every other letter of new words is"
    assert set(arrays["train.sentences"][ends[1] : ends[2]]) == {0, 1} and len(arrays["train.sentences"]) == ends[-1]
    assert subwords.cut(pl.Series(["the low"]), arrays["subwords"].tobytes()).to_list() == [["\u2581the", "\u2581low"]], "the model is kept"
    table = pl.DataFrame({"pair_id": ids(3), "split": ["train", "train", "test"], "source": ["a b"] * 3, "target": ["ا ب"] * 3})
    kept, _, facts = text.pairs(table, text.TextSettings(tokenizer="subwords", subwords=10), SHARES)
    assert facts["subwords"] and {"source.subwords", "target.subwords"} < set(kept)
    with pytest.raises(InputError, match="10 pieces are too few for the train split; at least 1. are needed, one a character"):
        documents(texts, tokenizer="subwords", subwords=10)
    with pytest.raises(InputError, match="bags are of words"):
        documents(texts, tokenizer="subwords", bag=True)


def receipt_table():
    return pl.DataFrame(
        {
            "receipt_id": ["1", "1", "2", "2", "3", "4"],
            "position": [1, 0, 0, 1, 0, 0],
            "item_id": ["b", "a", "a", "c", "new", "a"],
            "item": ["B", "A", "A", "C", "New", "A"],
            "split": ["train"] * 4 + ["test", "valid"],
        }
    )


def test_receipts():
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "item": ["A", "B", "C"], "category": ["x", "y", None]})
    arrays, tables, meta = receipts.receipts(receipt_table(), items, ["category"], receipts.ReceiptSettings(), SHARES)
    assert tables["items"] == ["A", "B", "C"] and arrays["counts"].tolist() == [2, 1, 1]
    assert arrays["train.tokens"].tolist() == [0, 1, 0, 2]  # in the order of position
    assert arrays["field.category"].tolist() == [0, 1, -1] and meta["left_out"] == {"train": 0, "valid": 0, "test": 1}


def test_lines_stay_with_their_receipt_where_a_field_is_called_group():
    lines = pl.DataFrame({"receipt_id": [f"r{i // 4:03}" for i in range(400)], "position": [i % 4 for i in range(400)],
                          "item_id": [f"i{i % 7}" for i in range(400)], "item": [f"I{i % 7}" for i in range(400)],
                          "group": [f"g{i % 7}" for i in range(400)]})
    _, tables, meta = receipts.receipts(lines, None, ["group"], receipts.ReceiptSettings(), SHARES)
    assert sum(meta["receipts"].values()) == 100 and len(tables["field.group"]) == 7


def test_receipts_by_time():
    table = receipt_table().with_columns(timestamp=pl.Series([3, 3, 1, 1, 2, 4]).cast(pl.Datetime("us")))
    arrays, _, meta = receipts.receipts(table, None, [], receipts.ReceiptSettings(split_by="time"), Shares("s", 0.25, 0.25))
    assert meta["receipts"] == {"train": 2, "valid": 1, "test": 1} and meta["tokens"]["train"] == 3
    with pytest.raises(InputError, match="needs a timestamp"):
        receipts.receipts(receipt_table(), None, [], receipts.ReceiptSettings(split_by="time"), SHARES)


def random_graph(n=40, edges=150, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"n{i:02d}" for i in range(n)]
    pairs = rng.integers(n, size=(edges, 2))
    return (
        pl.DataFrame({"source": [names[a] for a, _ in pairs], "target": [names[b] for _, b in pairs], "weight": np.ones(edges)}),
        pl.DataFrame({"node_id": names, "label": ["a" if i % 2 else None for i in range(n)]}),
    )


def test_graph_holds_out_edges_without_isolating_nodes():
    edges, nodes = random_graph()
    arrays, tables, meta = graphs.graph(edges, nodes, graphs.GraphSettings(heldout=0.3, heldout_valid=0.1), SHARES)
    full, _, _ = graphs.graph(edges, nodes, graphs.GraphSettings(), SHARES)
    had = np.diff(full["indptr"]) > 0
    assert (np.diff(arrays["indptr"])[had] > 0).all()
    rows = np.repeat(np.arange(40), np.diff(arrays["indptr"]))
    kept = set(zip(rows.tolist(), arrays["indices"].tolist(), strict=True))
    assert kept == {(b, a) for a, b in kept}
    held = {tuple(e) for e in arrays["heldout.edges"].tolist()} | {tuple(e) for e in arrays["heldout_valid.edges"].tolist()}
    every = set(zip(np.repeat(np.arange(40), np.diff(full["indptr"])).tolist(), full["indices"].tolist(), strict=True))
    assert held and not held & kept and held <= every and len(kept) + 2 * len(held) == len(every)
    non = {tuple(e) for e in arrays["heldout.non_edges"].tolist()}
    assert len(non) == len(arrays["heldout.edges"]) and not non & every
    assert meta["heldout"]["heldout"] == len(arrays["heldout.edges"])


def test_held_out_edges_depend_on_neither_order_nor_direction():
    edges, nodes = random_graph()
    settings = graphs.GraphSettings(heldout=0.3, heldout_valid=0.1)
    arrays, _, meta = graphs.graph(edges, nodes, settings, SHARES)
    turned = edges.rename({"source": "target", "target": "source"}).select(edges.columns)
    for other in (edges[::-1], turned, pl.concat([turned[::2], edges[1::2]]).sample(fraction=1.0, shuffle=True, seed=3)):
        again, _, again_meta = graphs.graph(other, nodes[::-1], settings, SHARES)
        assert again_meta == meta and all((again[name] == arrays[name]).all() for name in arrays)


def test_parallel_edges_are_summed_and_loops_left_out():
    edges = pl.DataFrame({"source": ["a", "b", "a"], "target": ["b", "a", "a"], "weight": [1.0, 2.0, 9.0]})
    arrays, _, _ = graphs.graph(edges, pl.DataFrame({"node_id": ["a", "b"], "label": [None, None]}), graphs.GraphSettings(), SHARES)
    assert arrays["weights"].tolist() == [3.0, 3.0] and arrays["indices"].tolist() == [1, 0]
    with pytest.raises(InputError, match="no edge between two different nodes"):
        graphs.graph(edges[2:], pl.DataFrame({"node_id": ["a"]}), graphs.GraphSettings(), SHARES)


def test_several_labels_a_node_become_a_matrix():
    edges, nodes = random_graph()
    joined = nodes.with_columns(label=pl.Series(["b|a" if i == 0 else None if i == 1 else "|" if i == 2 else "c" for i in range(40)]))
    arrays, tables, meta = graphs.graph(edges, joined, graphs.GraphSettings(label_separator="|"), SHARES)
    assert tables["labels"] == ["a", "b", "c"] and meta["classes"] == 3 and arrays["label_matrix"].shape == (40, 3)
    assert arrays["label_matrix"][:4].tolist() == [[True, True, False], [False] * 3, [False] * 3, [False, False, True]]
    assert arrays["labels"][:4].tolist() == [0, -1, -1, 2]
    arrays, tables, _ = graphs.graph(edges, joined, graphs.GraphSettings(), SHARES)  # a bar is no separator unless somebody says so
    assert "label_matrix" not in arrays and tables["labels"] == ["b|a", "c", "|"]


def test_some_labels_are_for_choosing_settings():
    edges, nodes = random_graph()
    arrays, _, _ = graphs.graph(edges, nodes, graphs.GraphSettings(), replace(SHARES, valid=0.3))
    again, _, _ = graphs.graph(edges, nodes[::-1], graphs.GraphSettings(), replace(SHARES, valid=0.3))
    reserved = arrays["labels_valid"]
    assert 2 <= reserved.sum() <= 12 and (arrays["labels"][reserved] >= 0).all() and (again["labels_valid"] == reserved).all()


def test_a_graph_counts_isolated_nodes_and_refuses_weights_that_are_none():
    edges, nodes = random_graph()
    more = pl.concat([nodes, pl.DataFrame({"node_id": ["z1", "z2"], "label": [None, "a"]})])
    arrays, tables, meta = graphs.graph(edges, more, graphs.GraphSettings(), SHARES)
    alone = [tables["nodes"][i] for i in np.flatnonzero(np.diff(arrays["indptr"]) == 0)]
    assert meta["isolated"] == len(alone) and {"z1", "z2"} <= set(alone)
    with pytest.raises(InputError, match="weigh -2 together; weights must be above 0"):
        graphs.graph(pl.concat([edges, pl.DataFrame({"source": ["z1"], "target": ["z2"], "weight": [-2.0]})]), more, graphs.GraphSettings(),
                     SHARES)


def test_every_test_entity_is_in_train():
    rng = np.random.default_rng(1)
    table = pl.DataFrame(
        {
            "head": [f"h{i}" for i in rng.integers(60, size=300)],
            "relation": [f"r{i}" for i in rng.integers(3, size=300)],
            "tail": [f"t{i}" for i in rng.integers(60, size=300)],
        }
    ).unique(maintain_order=True)
    arrays, tables, meta = graphs.triples(table, graphs.TripleSettings(), replace(SHARES, test=0.4))
    known = set(arrays["train.triples"][:, [0, 2]].ravel().tolist())
    for s in ("valid", "test"):
        assert len(arrays[f"{s}.triples"]) and set(arrays[f"{s}.triples"][:, [0, 2]].ravel().tolist()) <= known
    assert sum(meta["triples"].values()) == len(table)


def test_splits_of_triples_do_not_depend_on_row_order():
    """Sparse, so that many held-out triples move to train; half of them with a published split."""
    rng = np.random.default_rng(2)
    drawn = [(f"h{i}", f"r{j}", f"t{k}") for i, j, k in zip(*rng.integers([[90], [4], [90]], size=(3, 200)), strict=True)]
    table = pl.DataFrame(list(dict.fromkeys(drawn)), ["head", "relation", "tail"], orient="row")
    table = table.with_columns(split=pl.Series([("test", "train", None, None)[i % 4] for i in range(len(table))], dtype=pl.String))
    arrays, tables, meta = graphs.triples(table, graphs.TripleSettings(), replace(SHARES, test=0.4))
    hashed = table.filter(pl.col("split").is_null())
    assert len(arrays["train.triples"]) > (table["split"] == "train").sum() + sum(
        by_hash("\t".join(r[:3]), replace(SHARES, test=0.4)) == "train" for r in hashed.iter_rows()), "some moved"
    for seed in range(5):
        shuffled = table.sample(fraction=1.0, shuffle=True, seed=seed)
        again, again_tables, again_meta = graphs.triples(shuffled, graphs.TripleSettings(), replace(SHARES, test=0.4))
        assert again_meta == meta and again_tables == tables and all((again[name] == arrays[name]).all() for name in arrays)


def test_published_triples_with_unseen_entities_are_counted():
    table = pl.DataFrame({"head": ["a", "a"], "relation": ["r", "r"], "tail": ["b", "zz"], "split": ["train", "test"]})
    arrays, _, meta = graphs.triples(table, graphs.TripleSettings(), SHARES)
    assert meta["left_out"]["test"] == 1 and len(arrays["test.triples"]) == 0


def test_relation_categories():
    def rows(pairs, r):
        return [(h, r, t) for h, t in pairs]

    train = np.array(
        rows([(0, 1), (2, 3)], 0)
        + rows([(0, 1), (0, 2), (3, 4), (3, 5)], 1)
        + rows([(1, 0), (2, 0), (4, 3), (5, 3)], 2)
        + rows([(0, 1), (0, 2), (3, 1), (3, 2)], 3)
    )
    assert graphs.categories(train, list("abcd")) == {"a": "1-1", "b": "1-N", "c": "N-1", "d": "N-N"}


def test_images():
    pixels = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2, 1)
    table = pl.DataFrame({"image_id": ids(40), "split": ["train", "test"] * 20, "label": ["x", None] * 20, "factor_scale": np.arange(40.0)})
    arrays, tables, meta = images.images(table, pixels, "images", images.ImageSettings(), Shares("s", 0.0, 0.0))
    assert (
        (arrays["test.images"] == pixels[1::2]).all()
        and (arrays["test.labels"] == -1).all()
        and arrays["train.factors"][:, 0].tolist() == list(range(0, 40, 2))
    )
    assert meta["shape"] == [2, 2, 1] and meta["classes"] == 1 and tables["factors"] == ["scale"]


def test_stage_is_reproducible_and_says_what_is_wrong(tmp_path):
    import subprocess
    import sys

    clean = tmp_path / "clean"
    clean.mkdir()
    pl.DataFrame(
        {"doc_id": ids(50), "split": [None] * 50, "text": [f"word{i % 7} and" for i in range(50)], "label": [None] * 50},
        schema_overrides={"split": pl.String, "label": pl.String},
    ).write_parquet(clean / "documents.parquet")
    (clean / "source.json").write_text(json.dumps({"domain": "corpora", "kind": "documents"}))
    entry = "{domain: corpora, source: path, name: x, options: {}, validate: {}, prepare: {min_count: %s}}"
    params = tmp_path / "params.yaml"

    def run(out, least):
        params.write_text(f"split: {{salt: s}}\nvalidate: {{}}\ntrain: {{}}\nruns: {{}}\ndatasets:\n  d: {entry % least}\n")
        return subprocess.run(
            [sys.executable, "-m", "stages.prepare", "d", "--in", clean, "--out", tmp_path / out, "--params", params],
            capture_output=True,
            text=True,
        )

    for out in ("a", "b"):
        assert run(out, 1).returncode == 0
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    bad = run("a", 1000)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1 and "lower prepare.min_count" in bad.stderr
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == files  # what was there is still there


def test_a_written_unk_is_the_unknown_word():
    """WikiText writes <unk> for its rare words: one token, no second word beside the vocabulary's own, and counted with the rare ones."""
    texts = ["the <unk> sea", "the sea", "odd the", "<unk> sea"]
    table = pl.DataFrame({"doc_id": ids(4), "split": ["train"] * 3 + ["test"], "text": texts})
    arrays, tables, _ = text.documents(table, text.TextSettings(min_count=2), SHARES)
    assert tables["words"] == ["<unk>", "the", "sea"] and arrays["counts"].tolist() == [2, 3, 2]
    assert arrays["train.tokens"].tolist() == [1, 0, 2, 1, 2, 0, 1] and arrays["test.tokens"].tolist() == [0, 2]
