import polars as pl

from stages.ingest.corpora import pieces


def rows(out, name):
    return pl.read_parquet(out / f"{name}.parquet")


def test_text_file_by_paragraph_line_and_whole(take, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n\n three \n")
    for unit, texts in ((None, ["one\ntwo", "three"]), ("paragraph", ["one\ntwo", "three"]), ("line", ["one", "two", "three"]),
                        ("file", ["one\ntwo\n\n\n three"])):
        _, out = take("corpora", "path", path, **({"unit": unit} if unit else {}))
        assert rows(out, "documents")["text"].to_list() == texts
    assert pieces("\n\n", "paragraph") == []


def test_folder_of_texts_has_labels_and_splits_from_its_subfolders(take, tmp_path):
    for name in ("train/sport/a.txt", "train/art/b.txt", "test/art/c.txt"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text(name)
    _, out = take("corpora", "path", tmp_path / "t")
    assert rows(out, "documents").select("doc_id", "split", "label", "group").rows() == [
        ("test/art/c.txt", "test", "art", None), ("train/art/b.txt", "train", "art", None), ("train/sport/a.txt", "train", "sport", None)]


def test_paragraphs_of_several_files_are_grouped_by_file(take, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("one\n\ntwo")
    _, out = take("corpora", "path", tmp_path, unit="paragraph")
    assert rows(out, "documents").select("doc_id", "group").rows() == [
        ("a.txt#0", "a.txt"), ("a.txt#1", "a.txt"), ("b.txt#0", "b.txt"), ("b.txt#1", "b.txt")]


def test_documents_of_a_table_with_published_splits(take, tmp_path):
    (tmp_path / "d.csv").write_text("body,topic,part\nhello there,x,Train\nbye,y,dev\nagain,y,\n")
    _, out = take("corpora", "path", tmp_path / "d.csv", columns={"text": "body", "label": "topic", "split": "part"})
    assert rows(out, "documents").select("doc_id", "split", "text", "label").rows() == [
        ("0", "train", "hello there", "x"), ("1", "valid", "bye", "y"), ("2", None, "again", "y")]


def test_pairs_without_a_header_and_with_quotes(take, tmp_path):
    (tmp_path / "pairs.tsv").write_text('"Go," he said\tبرو\nWho?\tچه کسی؟\n')
    columns = {"source": "column_1", "target": "column_2"}
    _, out = take("corpora", "path", tmp_path / "pairs.tsv", kind="pairs", header=False, columns=columns)
    assert rows(out, "pairs").select("source", "target").rows() == [('"Go," he said', "برو"), ("Who?", "چه کسی؟")]


def test_a_folder_of_splits_is_one_table(take, tmp_path):
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(f"source,target\n{name},x\n")
    (tmp_path / "LICENSE").write_text("free")
    _, out = take("corpora", "path", tmp_path, kind="pairs")
    assert rows(out, "pairs").select("split", "source").rows() == [("test", "test"), ("train", "train"), ("valid", "val")]


def test_questions_get_ids_by_their_text_and_whole_labels(take, refusal, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "why", "answer": "so", "label": 1}\n{"question": "how", "answer": "thus", "label": 0}\n'
                    '{"question": "why", "answer": "no", "label": 0}\n')
    _, out = take("corpora", "path", path, kind="questions")
    table = rows(out, "questions")
    assert table["question_id"].to_list() == ["2", "1", "2"] and table["label"].to_list() == [1, 0, 0] and table["label"].dtype == pl.Int8


def test_wrong_labels_splits_and_units_are_refused(refusal, tmp_path):
    (tmp_path / "q.csv").write_text("question,answer,label\nwhy,so,yes\n")
    assert "label 'yes' of a question is no number" in refusal("corpora", "path", tmp_path / "q.csv", kind="questions")
    (tmp_path / "d.csv").write_text("text,split\na,holdout\n")
    assert "unknown split 'holdout'" in refusal("corpora", "path", tmp_path / "d.csv")
    assert "options.unit" in refusal("corpora", "path", tmp_path / "d.csv", kind="pairs", unit="line")
    assert "options.kind" in refusal("corpora", "path", tmp_path / "d.csv", kind="pair")
