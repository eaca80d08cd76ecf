import polars as pl


def test_edge_list_without_a_header_makes_its_own_nodes(take, tmp_path):
    path = tmp_path / "g.txt"
    path.write_text("b a 2\na c 0.5\n")
    _, out = take("graphs", "path", path, header=False, separator=" ")
    assert pl.read_parquet(out / "edges.parquet").rows() == [("b", "a", 2.0), ("a", "c", 0.5)]
    assert pl.read_parquet(out / "nodes.parquet").rows() == [("a", None), ("b", None), ("c", None)]


def test_mapped_columns_and_a_file_of_labelled_nodes(take, tmp_path):
    (tmp_path / "e.csv").write_text("from,to,note\n1,2,x\n")
    (tmp_path / "n.csv").write_text("id,kind\n1,red\n2,blue\n3,\n")
    _, out = take("graphs", "path", tmp_path / "e.csv", columns={"source": "from", "target": "to"}, nodes=str(tmp_path / "n.csv"),
                  node_columns={"node_id": "id", "label": "kind"})
    assert pl.read_parquet(out / "edges.parquet").rows() == [("1", "2", 1.0)]
    assert pl.read_parquet(out / "nodes.parquet").rows() == [("1", "red"), ("2", "blue"), ("3", None)]


def test_triples_of_a_folder_keep_their_published_split(take, tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f"tehran\tcapital_of\t{name}\n")
    described, out = take("graphs", "path", tmp_path, kind="triples", header=False)
    assert described["kind"] == "triples"
    assert sorted(pl.read_parquet(out / "triples.parquet").rows()) == [
        ("tehran", "capital_of", "test", "test"), ("tehran", "capital_of", "train", "train"), ("tehran", "capital_of", "valid", "valid")]


def test_triples_of_one_file_have_no_split(take, tmp_path):
    (tmp_path / "t.csv").write_text("s,p,o\na,r,b\n")
    _, out = take("graphs", "path", tmp_path / "t.csv", kind="triples", columns={"head": "s", "relation": "p", "tail": "o"})
    assert pl.read_parquet(out / "triples.parquet").rows() == [("a", "r", "b", None)]


def test_what_does_not_fit_is_refused(refusal, tmp_path):
    (tmp_path / "e.csv").write_text("source,target,weight\na,b,heavy\n")
    assert "weight 'heavy' in column 'weight' is no number" in refusal("graphs", "path", tmp_path / "e.csv")
    (tmp_path / "e.csv").write_text("source,aim\na,b\n")
    assert "has no column 'target'" in refusal("graphs", "path", tmp_path / "e.csv")
    (tmp_path / "e.csv").write_text("source,target\na,b\n")
    assert "options.nodes: no such file" in refusal("graphs", "path", tmp_path / "e.csv", nodes=str(tmp_path / "none.csv"))
    assert "has no column 'node_id'" in refusal("graphs", "path", tmp_path / "e.csv", nodes=str(tmp_path / "e.csv"))
    (tmp_path / "t.tsv").write_text("a\tb\n")
    assert "has no column 'tail'" in refusal("graphs", "path", tmp_path / "t.tsv", kind="triples", header=False)
