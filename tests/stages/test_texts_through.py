"""Texts through every stage, from a file to its metrics: the published formats that are in no mirror, and what people's files get wrong."""

import dataclasses
import gzip
import importlib
import sys

import numpy as np
import pytest
import yaml

from stages.command import command
from stages.files import read_json
from stages.ingest import public_files
from stages.prepared import Prepared

STAGES = {"ingest": ["--out", "raw"],
          "validate": ["--in", "raw", "--clean", "clean", "--quarantine", "aside.parquet", "--report", "report"],
          "prepare": ["--in", "clean", "--out", "prepared"], "train": ["--data", "prepared", "--out", "model"],
          "evaluate": ["--model", "model", "--data", "prepared"]}
CORPORA = {"min_rows": 3, "min_vocabulary": 3, "max_label_share": 1.0, "max_duplicate_share": 1.0, "max_quarantine_share": 1.0}


@pytest.fixture
def stage(tmp_path, monkeypatch, capsys):
    """`stage(name)` runs a stage of the dataset `d` or the run `r` in the test's folder; (exit code, what it printed, its error line)."""
    monkeypatch.chdir(tmp_path)

    def call(name):
        main = importlib.import_module(f"stages.{name}.__main__").main
        monkeypatch.setattr(sys, "argv", [name, "r" if name in ("train", "evaluate") else "d", *STAGES[name]])
        code = 0
        try:
            command(main)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err.strip()

    return call


@pytest.fixture
def settings(tmp_path):
    """Write params.yaml: the dataset's entry, its run's family and model."""

    def write(source, name, options=None, prepare=None, family="seq2seq", model=None, steps=2):
        entry = {"domain": "corpora", "source": source, "name": name, "options": options or {}, "validate": {}, "prepare": prepare or {}}
        run = {"family": family, "dataset": "d", "features": "none", "seeds": [0], "model": model or {}, "evaluate": {},
               "train": {"steps": steps, "batch_size": 8, "log_every": 1, "validate_every": 0, "patience": 0}}
        whole = {"split": {"salt": "s", "valid": 0.2, "test": 0.2}, "validate": {"corpora": CORPORA}, "datasets": {"d": entry},
                 "train": {"device": "cpu", "threads": 1}, "runs": {"r": run}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")

    return write


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Lay a public source's files where its loader looks for them, checksums aside."""

    def lay(name, files):
        known = public_files.PUBLIC[name]
        for file, text in files.items():
            path = tmp_path / "mirror" / known.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
        bare = tuple(dataclasses.replace(f, url=None, sha256=None, content=None) for f in known.files)
        monkeypatch.setitem(public_files.PUBLIC, name, dataclasses.replace(known, files=bare))
        monkeypatch.setenv("BAZNAMA_MIRROR", str(tmp_path / "mirror"))

    return lay


def metrics(tmp_path):
    found = read_json(tmp_path / "reports/metrics/r.json")
    return {name: value["mean"] for name, value in found.items() if isinstance(value, dict) and "mean" in value}


ANIMALS = "Hund Katze Maus Vogel Fisch Pferd Esel Schaf".split(), "dog cat mouse bird fish horse donkey sheep".split()


@pytest.mark.parametrize("prepare", [{}, {"tokenizer": "subwords", "subwords": 60}], ids=["words", "subwords"])
def test_captions_in_the_format_of_multi30k_are_translated_from_german(prepare, mirror, settings, stage, tmp_path):
    files = {}
    for part, rows in (("train", range(8)), ("val", (0, 3, 6)), ("test_2016_flickr", (1, 4, 5, 7))):
        for language, names, form in (("de", ANIMALS[0], "Ein {} sieht einen {} im Park."), ("en", ANIMALS[1], "A {} sees a {} in Park.")):
            texts = [form.format(names[i], names[(i + shift) % 8]) for i in rows for shift in ((1, 2) if part == "train" else (3,))]
            files[f"{part}.{language}.gz"] = "\n".join(texts) + "\n"
    mirror("multi30k", files)
    model = {"attention": "additive", "hidden": 16, "embedding": 8, "longest": 12}
    settings("public", "multi30k", {"translated": "other"}, prepare, model=model)
    assert [stage(name)[0] for name in STAGES] == [0] * 5
    data, found = Prepared(tmp_path / "prepared"), metrics(tmp_path)
    assert {"\u2581ein", "ein"} & {*data.table("source.words")} and {"\u2581park", "park"} & {*data.table("target.words")}
    assert data.meta["pairs"] == {"train": 16, "valid": 3, "test": 4} and 0 <= found["bleu"] < 1 and found["attention_entropy"] > 0
    details = read_json(tmp_path / "reports/samples/r/details.json")
    notes = {t["title"]: t["note"] for t in details["tables"]}
    assert ("tok:13a" if prepare else "tok:none") in notes["By length of the source"]


def test_questions_in_the_format_of_wikiqa_are_ranked_and_those_without_an_answer_left_out(mirror, settings, stage, tmp_path):
    files = {}
    for part, n in (("train", 12), ("dev", 4), ("test", 5)):
        rows = [(q, a, "1" if a == q % 3 and q != 2 else "0") for q in range(n) for a in range(3)]  # nothing is right of the third question
        files |= {f"{part}/id.txt": "\n".join(str(q) for q, _, _ in rows), f"{part}/sim.txt": "\n".join(right for _, _, right in rows),
                  f"{part}/a.toks": "\n".join(f"how {part} is number {q} made ?" for q, _, _ in rows),
                  f"{part}/b.toks": "\n".join(f"the {part} number {q} is made in way {a} ." for q, a, _ in rows)}
    mirror("wikiqa", files)
    settings("public", "wikiqa", family="nasm", model={"latent": 3, "embedding": 6, "hidden": 6})
    assert [stage(name)[0] for name in STAGES] == [0] * 5
    found = metrics(tmp_path)
    assert found["questions_left_out"] == 1 and 0 < found["map"] <= 1 and found["map"] == found["mrr"], "one right answer a question"
    assert "4 questions are ranked. Left out are 1" in read_json(tmp_path / "reports/samples/r/details.json")["tables"][0]["note"]


def documents(tmp_path, rows):
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f'"{row}"\n' for row in rows), encoding="utf-8")
    return "texts.csv"


LM = {"family": "text_vae", "model": {"latent": 0, "embedding": 4, "hidden": 6, "longest": 6}}
PLAIN = [f"word{i % 5} stands beside word{i % 7} here" for i in range(30)]


def test_an_empty_document_is_set_aside_and_said(settings, stage, tmp_path):
    settings("path", documents(tmp_path, [*PLAIN, "", "   "]), **LM)
    assert stage("ingest")[0] == 0
    code, out, _ = stage("validate")
    assert code == 0 and out.count("\n") == 1 and "2 of 32" in out and "aside.parquet" in out
    stage("prepare")
    assert sum(Prepared(tmp_path / "prepared").meta["documents"].values()) == 30


def test_a_document_of_unknown_words_alone_is_measured_as_such_and_left_out_of_bags(settings, stage, tmp_path):
    rows = [(text, ("train", "valid", "test")[i % 3]) for i, text in enumerate(PLAIN)] + [("zygote quokka", "test")]
    (tmp_path / "texts.csv").write_text("text,split\n" + "".join(f"{t},{s}\n" for t, s in rows), encoding="utf-8")
    settings("path", "texts.csv", prepare={"min_count": 2}, **LM)
    assert [stage(name)[0] for name in STAGES] == [0] * 5 and np.isfinite(metrics(tmp_path)["perplexity_elbo"])
    assert Prepared(tmp_path / "prepared")["test.tokens"][-2:].tolist() == [0, 0]
    settings("path", "texts.csv", prepare={"min_count": 2, "bag": True}, family="nvdm", model={"latent": 2, "hidden": [4]})
    assert [stage(name)[0] for name in ("prepare", "train", "evaluate")] == [0] * 3 and metrics(tmp_path)["empty_documents"] == 1


def test_sentences_beyond_the_limit_are_cut_counted_and_said(settings, stage, tmp_path):
    settings("path", documents(tmp_path, [*PLAIN, "one two three four five six seven eight nine"]), prepare={"max_length": 6}, **LM)
    stage("ingest"), stage("validate")
    code, out, _ = stage("prepare")
    assert code == 0 and out == "d: 1 texts were cut to their first 6 tokens (prepare.max_length)\n"
    data = Prepared(tmp_path / "prepared")
    assert data.meta["cut"] == 1 and max(np.diff(data[f"{s}.offsets"]).max() for s in ("train", "valid", "test")) == 6


def test_mixed_directions_and_scripts_and_a_byte_order_mark_come_through_as_written(settings, stage, tmp_path):
    forms = [("سلام دنیا", "hello world"), ("می‌روم", "日本 go"), ("שלום", "мир peace")]
    texts = [f"{a} = {b} {i}" for i in range(12) for a, b in forms]
    pairs = "".join(f'"{t}","{t}"\n' for t in texts)
    (tmp_path / "pairs.csv").write_bytes(b"\xef\xbb\xbfsource,target\n" + pairs.encode())
    settings("path", "pairs.csv", {"kind": "pairs"}, model={"attention": "additive", "hidden": 8, "embedding": 4, "longest": 8}, steps=1)
    assert [stage(name)[0] for name in STAGES] == [0] * 5
    words = Prepared(tmp_path / "prepared").table("source.words")
    assert {"می‌روم", "سلام", "שלום", "日本", "мир"} <= {*words} and not any("\ufeff" in w for w in words)
    details = read_json(tmp_path / "reports/samples/r/details.json")
    shown = [row for t in details["tables"] if t["title"] == "Translations" for row in t["rows"]]
    assert shown and all(row[0] == row[1] for row in shown) and any(row[0].startswith("سلام دنیا = hello world") for row in shown)
    maps = [t for t in details["tables"] if t["title"].startswith("Attention, ")]
    assert maps and maps[0]["rows"][0][1] in {*words, "="} and not details["pictures"], "the pictures' font lacks these letters"


def test_broken_utf8_names_the_byte_the_line_and_what_to_set(settings, stage, tmp_path):
    (tmp_path / "texts.csv").write_bytes(b"text\ngood\ncaf\xe9\n")
    settings("path", "texts.csv", **LM)
    code, out, err = stage("ingest")
    assert code == 2 and not out and err.count("\n") == 0 and not (tmp_path / "raw").exists()
    assert "texts.csv: not UTF-8: byte 0xe9 at offset 13, line 3; set options.encoding" in err


def test_questions_without_any_right_answer_are_one_line_before_anything_is_measured(settings, stage, tmp_path):
    rows = "".join(f"what is {q},it is {q} and {a},0\n" for q in range(30) for a in range(2))
    (tmp_path / "asked.csv").write_text("question,answer,label\n" + rows, encoding="utf-8")
    settings("path", "asked.csv", {"kind": "questions"}, family="nasm", model={"latent": 2, "embedding": 4, "hidden": 4})
    assert [stage(name)[0] for name in ("ingest", "validate", "prepare", "train")] == [0] * 4
    code, _, err = stage("evaluate")
    assert code == 2 and err.count("\n") == 0 and not (tmp_path / "reports/metrics").exists()
    assert "no question of its test split has a right and a wrong answer (labels 1 and 0), so nothing can be ranked" in err


def test_a_split_without_any_row_is_one_line(settings, stage, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,target,split\n" + "".join(f"a b {i},c {i},train\n" for i in range(20)) + "d,e,valid\n",
                                        encoding="utf-8")
    for kind, family, model in (("pairs", "seq2seq", {"hidden": 4, "embedding": 4}), ("documents", LM["family"], LM["model"])):
        columns = {"columns": {"text": "source", "split": "split"}} if kind == "documents" else {}
        settings("path", "pairs.csv", {"kind": kind, **columns}, family=family, model=model)
        assert [stage(name)[0] for name in ("ingest", "validate", "prepare", "train")] == [0] * 4
        code, _, err = stage("evaluate")
        assert code == 2 and err.count("\n") == 0 and f"its test split has no {kind[:-1]}" in err
