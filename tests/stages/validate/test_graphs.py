"""Planted faults in graphs and triples: which expectation catches each, and where the row goes."""

from __future__ import annotations

import polars as pl
import pytest

SMALL = {"min_rows": 10, "min_nodes": 5}
EDGE = {"source": pl.String, "target": pl.String, "weight": pl.Float64}
NODE = {"node_id": pl.String, "label": pl.String}
TRIPLE = dict.fromkeys(("head", "relation", "tail", "split"), pl.String)


def ring(n=20):
    edges = [(f"n{i}", f"n{(i + 1) % n}", 1.0) for i in range(n)]
    nodes = [(f"n{i}", "ab"[i % 2]) for i in range(n)]
    return {"edges": pl.DataFrame(edges, EDGE, orient="row"), "nodes": pl.DataFrame(nodes, NODE, orient="row")}


def more(tables, name, *rows):
    return {**tables, name: pl.concat([tables[name], pl.DataFrame(list(rows), tables[name].schema, orient="row")])}


def test_a_clean_graph_passes(held):
    done = held("graphs", "graph", ring(), **SMALL)
    assert not done.failed and done.quarantine.is_empty() and done.clean("edges").equals(ring()["edges"])


EDGES = [
    ("source_present", (None, "n1", 1.0)),
    ("target_present", ("n1", None, 1.0)),
    ("weight_present", ("n1", "n3", None)),
    ("weight_in_range", ("n1", "n3", 0.0)),
    ("weight_in_range", ("n1", "n3", -1.0)),
    ("weight_in_range", ("n1", "n3", 1e7)),
    ("finite_numbers", ("n1", "n3", float("nan"))),
    ("source_is_a_node", ("stranger", "n3", 1.0)),
    ("target_is_a_node", ("n3", "stranger", 1.0)),
]
NODES = [
    ("node_id_present", (None, "a")),
    ("no_blank_text", ("", "a")),
    ("no_control_characters", ("n\x00", "a")),
    ("no_replacement_characters", ("n\ufffd", "a")),
    ("node_once", ("n4", "b")),
]


@pytest.fixture(scope="module")
def faulty_graph(held):
    """A clean ring of 20 with the faults of EDGES and NODES behind it."""
    tables = more(more(ring(), "edges", *(e for _, e in EDGES)), "nodes", *(n for _, n in NODES))
    return held("graphs", "graph", tables, **SMALL, max_quarantine_share=0.5)


@pytest.mark.parametrize("i", range(len(EDGES)), ids=[f"{e}-{edge}" for e, edge in EDGES])
def test_a_faulty_edge_goes_to_quarantine(faulty_graph, i):
    assert 20 + i in faulty_graph.set_aside(EDGES[i][0], "edges")
    assert not faulty_graph.failed and faulty_graph.clean("edges").equals(ring()["edges"])


@pytest.mark.parametrize("i", range(len(NODES)), ids=[e for e, _ in NODES])
def test_a_faulty_node_goes_to_quarantine(faulty_graph, i):
    assert faulty_graph.set_aside(NODES[i][0], "nodes") == [20 + i] and faulty_graph.clean("nodes").equals(ring()["nodes"])


def test_an_edge_to_a_node_that_went_to_quarantine_follows_it(held):
    tables = more(more(ring(), "nodes", ("bad\x00", "a")), "edges", ("n1", "bad\x00", 1.0))
    assert held("graphs", "graph", tables, **SMALL).set_aside("target_is_a_node") == [20]


def test_isolated_nodes_are_counted_and_fail_beyond_their_share(held):
    done = held("graphs", "graph", more(ring(), "nodes", ("alone", "a")), **SMALL)
    assert not done.failed and done.result("few_isolated_nodes").note == "1 of 21 nodes have no edge to another node"


def test_many_isolated_nodes_fail_and_a_self_loop_is_no_neighbour(held):
    tables = more(ring(), "nodes", *((f"alone{i}", "a") for i in range(4)))
    done = held("graphs", "graph", more(tables, "edges", ("alone0", "alone0", 1.0)), **SMALL)
    assert done.failed == ["few_isolated_nodes"] and done.result("few_isolated_nodes").unexpected == 4


def test_self_loops_fail_beyond_their_share(held):
    done = held("graphs", "graph", more(ring(), "edges", ("n1", "n1", 1.0), ("n2", "n2", 1.0)), **SMALL)
    assert done.failed == ["few_self_loops"] and done.result("few_self_loops").examples[0]["source"] == "n1"


def test_repeated_edges_are_counted(held):
    done = held("graphs", "graph", more(ring(), "edges", ("n0", "n1", 2.0)), **SMALL)
    assert not done.failed and done.result("few_repeated_edges").unexpected == 1


@pytest.mark.parametrize(("labels", "given", "failed"), [
    (["a"], {}, []),
    (["a"], {"min_classes": 2}, ["enough_classes"]),
    (["a"] * 39 + ["b"], {}, ["labels_in_balance"]),
    ([None], {"min_classes": 2}, []),
])
def test_classes_of_nodes(held, labels, given, failed):
    tables = ring(40)
    tables["nodes"] = tables["nodes"].with_columns(label=pl.Series([labels[i % len(labels)] for i in range(40)], dtype=pl.String))
    assert held("graphs", "graph", tables, **SMALL, **given).failed == failed


def test_a_small_graph_fails_on_edges_and_on_nodes(held):
    assert held("graphs", "graph", ring(), min_rows=21, min_nodes=21).failed == ["enough_rows", "enough_rows"]


def triples():
    rows = [(f"e{i % 12}", "ab"[i % 2], f"e{(5 * i + 1 + i // 12) % 12}", "train") for i in range(40)]
    rows += [("e0", "b", "e9", "valid"), ("e1", "b", "e10", "test")]
    return {"triples": pl.DataFrame([r for r in dict.fromkeys(rows) if r[0] != r[2]], TRIPLE, orient="row")}


def test_clean_triples_pass(held):
    done = held("graphs", "triples", triples(), **SMALL)
    assert not done.failed and done.quarantine.is_empty()


TRIPLES = [
    ("head_present", (None, "a", "e1", "train")),
    ("relation_present", ("e1", None, "e2", "train")),
    ("tail_present", ("e1", "a", None, "train")),
    ("no_blank_text", ("e1", " ", "e2", "train")),
    ("no_control_characters", ("e1\x00", "a", "e2", "train")),
    ("no_replacement_characters", ("e\ufffd", "a", "e2", "train")),
    ("known_split", ("e1", "a", "e11", "dev")),
    ("triple_once", ("e1", "b", "e10", "test")),
    ("triple_in_one_split", ("e1", "b", "e10", "train")),
]


@pytest.fixture(scope="module")
def faulty_triples(held):
    return held("graphs", "triples", more(triples(), "triples", *(t for _, t in TRIPLES)), **SMALL)


@pytest.mark.parametrize("i", range(len(TRIPLES)), ids=[e for e, _ in TRIPLES])
def test_a_faulty_triple_goes_to_quarantine(faulty_triples, i):
    assert faulty_triples.set_aside(TRIPLES[i][0]) == [triples()["triples"].height + i]
    assert not faulty_triples.failed and faulty_triples.clean("triples").equals(triples()["triples"])


def test_held_out_triples_of_unknown_entities_are_reported(held):
    tables = more(triples(), "triples", ("stranger", "a", "e2", "test"))
    done = held("graphs", "triples", tables, **SMALL, max_unknown_share=0.5)
    result = done.result("heldout_triples_known")
    assert not done.failed and result.success and result.note.startswith("1 of 3 valid and test triples")
    assert result.examples[0]["head"] == "stranger"


def test_many_held_out_triples_of_unknown_entities_fail(held):
    done = held("graphs", "triples", more(triples(), "triples", ("stranger", "a", "e2", "test")), **SMALL)
    assert done.failed == ["heldout_triples_known"]


def test_one_relation_only_is_said(held):
    tables = {"triples": triples()["triples"].with_columns(relation=pl.lit("a")).unique(maintain_order=True)}
    done = held("graphs", "triples", tables, **SMALL, max_quarantine_share=1.0)
    assert not done.failed and "one relation only" in done.result("several_relations").note


def test_triples_from_an_entity_to_itself_fail_beyond_their_share(held):
    loops = [(f"e{i}", "a", f"e{i}", "train") for i in range(6)]
    assert held("graphs", "triples", more(triples(), "triples", *loops), **SMALL).failed == ["few_self_loops"]


def test_too_few_entities_fail(held):
    assert held("graphs", "triples", triples(), min_rows=10, min_nodes=13).failed == ["enough_entities"]


def test_an_unsplit_copy_of_a_published_triple_leaves_though_it_comes_first(held):
    rows = triples()["triples"]
    loose = rows.tail(1).with_columns(split=pl.lit(None, pl.String))
    done = held("graphs", "triples", {"triples": pl.concat([loose, rows, loose])}, **SMALL)
    assert done.set_aside("triple_once") == [0, rows.height + 1] and done.clean("triples").equals(rows)


def test_of_a_triple_in_train_and_test_the_test_copy_stays_though_other_triples_lack_a_split(held):
    rows = triples()["triples"]
    leak, loose = rows.tail(1).with_columns(split=pl.lit("train")), rows.head(1).with_columns(split=pl.lit(None, pl.String))
    done = held("graphs", "triples", {"triples": pl.concat([leak, loose, rows[1:]])}, **SMALL)
    assert done.set_aside("triple_in_one_split") == [0] == done.quarantine["row"].to_list()
