"""The Google analogies and WordSim-353 travel with a corpus, or are refused in one line."""

import dataclasses
import json
import re
import sys

import numpy as np
import polars as pl
import pytest
import yaml

from stages.ingest import public_files, word_tests
from stages.prepare import __main__ as prepare
from stages.validate import __main__ as validate

ANALOGIES = ": family\nboy girl King queen\n\n: gram8-plural\ncat cats dog dogs\n"
SIMILARITY = "tiger\tcat\t7.35\ntiger\ttiger\t10.00\n"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Lay the two files into a mirror, checksums aside."""
    def lay(analogies=ANALOGIES, similarity=SIMILARITY):
        folder = tmp_path / "mirror" / "word_eval"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("questions-words.txt", analogies), ("EN-WS-353-ALL.txt", similarity)):
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        bare = tuple(dataclasses.replace(f, url=None, sha256=None) for f in public_files.WORD_TESTS.files)
        monkeypatch.setattr(word_tests, "WORD_TESTS", dataclasses.replace(public_files.WORD_TESTS, files=bare))
        monkeypatch.setenv("BAZNAMA_MIRROR", str(tmp_path / "mirror"))
        text = tmp_path / "text.txt"
        text.write_text("\n\n".join(f"The King and the queen saw cat number {i}." for i in range(30)), encoding="utf-8")
        return text
    return lay


def test_both_come_in_with_licence_and_checksums_and_not_unasked(take, mirror):
    text = mirror()
    described, out = take("corpora", "path", text, word_tests=True)
    assert pl.read_parquet(out / "analogies.parquet").rows() == [
        ("family", "boy", "girl", "King", "queen"), ("gram8-plural", "cat", "cats", "dog", "dogs")]
    assert pl.read_parquet(out / "similarity.parquet").rows() == [("tiger", "cat", 7.35), ("tiger", "tiger", 10.0)]
    assert "Apache-2.0" in described["word_tests"]["licence"] and len(described["word_tests"]["sha256"]) == 2
    assert described["rows"] == 30
    described, out = take("corpora", "path", text)
    assert "word_tests" not in described and not (out / "analogies.parquet").exists()


@pytest.mark.parametrize(("files", "said"), [
    ({"analogies": ": family\nboy girl king\n"}, "questions-words.txt: line 2 is 'boy girl king'; expected `: section` or, .* four words"),
    ({"analogies": "boy girl king queen\n"}, "questions-words.txt: line 1 "),
    ({"analogies": ": family\n"}, "holds no analogy"),
    ({"analogies": "<!DOCTYPE html><html>"}, "a web page instead of data"),
    ({"similarity": "tiger\tcat\tmuch\n"}, "EN-WS-353-ALL.txt: line 1 is .*expected two words and a number, parted by tabs"),
    ({"similarity": "tiger cat 7.35\n"}, "line 1 is 'tiger cat 7.35'"),
    ({"similarity": "tiger\tcat\tnan\n"}, "line 1 is "),
    ({"similarity": ""}, "holds no pair of words"),
    ({"similarity": b"tiger\tcaf\xe9\t3\n"}, "not UTF-8: byte 0xe9"),
])
def test_a_corrupt_file_is_refused(refusal, mirror, files, said):
    assert re.search(said, refusal("corpora", "path", mirror(**files), word_tests=True))


def test_pairs_have_no_word_tests(refusal, mirror, tmp_path):
    mirror()
    (tmp_path / "pairs.csv").write_text("source,target\na,b\n")
    line = refusal("corpora", "path", tmp_path / "pairs.csv", kind="pairs", word_tests=True)
    assert "datasets.it.options.word_tests" in line and "this source gives pairs" in line


def test_they_pass_validation_and_are_encoded_in_the_corpus_own_case(take, mirror, tmp_path, monkeypatch):
    _, raw = take("corpora", "path", mirror(), word_tests=True)
    entry = {"domain": "corpora", "source": "path", "name": "text.txt", "options": {"word_tests": True},
             "validate": {"min_vocabulary": 5, "max_duplicate_share": 1.0}}
    params = {"split": {"salt": "s", "valid": 0.1, "test": 0.1}, "validate": {}, "train": {}, "claims": {}, "runs": {},
              "datasets": {"lower": {**entry, "prepare": {}}, "kept": {**entry, "prepare": {"lower": False}}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for name, king in (("lower", "king"), ("kept", "King")):
        monkeypatch.setattr(sys, "argv", ["validate", name, "--in", str(raw), "--clean", str(tmp_path / "clean"), "--quarantine",
                                          str(tmp_path / "q.parquet"), "--report", str(tmp_path / "report"), "--params",
                                          str(tmp_path / "params.yaml")])
        validate.main()
        monkeypatch.setattr(sys, "argv", ["prepare", name, "--in", str(tmp_path / "clean"), "--out", str(tmp_path / name), "--params",
                                          str(tmp_path / "params.yaml")])
        prepare.main()
        words = json.loads((tmp_path / name / "words.json").read_text())
        found = np.load(tmp_path / name / "analogies.npy")
        assert found[0].tolist() == [-1, -1, words.index(king), words.index("queen")]
        assert np.load(tmp_path / name / "analogies.sections.npy").tolist() == [0, 1]
        assert np.load(tmp_path / name / "similarity.npy").tolist() == [[-1, words.index("cat")], [-1, -1]]
        assert np.load(tmp_path / name / "similarity.scores.npy").tolist() == [7.35, 10.0]
