"""The commands that use a trained run: neighbours and what is bought with an item, samples, codes."""

import sys

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from PIL import Image

from stages.command import command
from stages.evaluate import __main__ as stage
from stages.evaluate import lines, neighbours
from stages.evaluate.neighbours import Neighbours
from stages.files import read_json, write_json
from stages.params import load
from stages.runs import load_run
from stages.settings import InputError
from tests.stages.evaluate.test_evaluate_runs import digits, encode, knowledge, network, sequences, write_prepared, write_run


def slow(vectors, query, k, skip):
    """Cosines in float64, one at a time."""
    cosines = [(-float(v @ query / (np.linalg.norm(v) * np.linalg.norm(query) or 1)), i) for i, v in enumerate(vectors.astype(float))
               if i != skip]
    return [i for _, i in sorted(cosines)[:k]], [-c for c, _ in sorted(cosines)[:k]]


@pytest.mark.parametrize("rows", [7, 300, 1 << 18])
def test_the_nearest_are_those_of_a_full_sort(rows, monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", rows)  # 2,000 vectors in many blocks, in a few, in one
    vectors = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    index = Neighbours(vectors)
    for q, k, skip in ((3, 5, 3), (1999, 1, None), (40, 30, 40), (40, 5000, 40)):
        ids, cosines = index.nearest(vectors[q], k, skip)
        wanted = slow(vectors, vectors[q], k, skip)
        assert ids.tolist() == wanted[0] and cosines == pytest.approx(wanted[1], abs=1e-6)


def test_equal_cosines_come_by_id_and_zero_vectors_last():
    vectors = np.array([[0, 0], [2, 0], [1, 0], [0, 1], [-1, 0], [3, 0]] * 200, np.float32)
    ids, cosines = Neighbours(vectors).nearest(np.array([1.0, 0]), 4, skip=1)
    assert ids.tolist() == [2, 5, 7, 8] and cosines.tolist() == [1.0] * 4
    assert Neighbours(vectors[:6]).nearest(np.array([1.0, 0]), 9)[1].tolist() == [1, 1, 1, 0, 0, -1]


def workplace(tmp_path, **runs):
    """params.yaml with the runs {name: (family, prepared folder or None where it is not trained)}."""
    names = {run: data.name if data else "shop" for run, (_, data) in runs.items()}
    dataset = {"domain": "receipts", "source": "builtin", "name": "x", "options": {}, "validate": {}, "prepare": {}}
    params = {"split": {"salt": "s"}, "validate": {}, "datasets": {d: dataset for d in names.values()}, "train": {},
              "runs": {run: {"family": family, "dataset": names[run], "features": "none"} for run, (family, _) in runs.items()}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))


def ask(tmp_path, monkeypatch, capsys, *words, code=0, verb="similar"):
    capsys.readouterr()
    places = ["--params", tmp_path / "params.yaml", "--models", tmp_path / "models", "--prepared", tmp_path / "prepared"]
    monkeypatch.setattr(sys, "argv", ["evaluate", verb, *map(str, [*words, *places])])
    if not code:
        command(stage.main)
        return capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        command(stage.main)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == code and len(lines) == 1
    return lines[0]


@pytest.fixture
def shop(tmp_path):
    data = sequences(tmp_path / "prepared" / "shop", "receipts")
    counts = np.load(data / "counts.npy")
    counts[39] = 0
    np.save(data / "counts.npy", counts)
    workplace(tmp_path, mine=("item2vec", data), other=("item2vec", None), net=("classifier", None))

    def partners(model):
        model.input[:40] = torch.eye(40)
        model.input[3, 2], model.input[39, 2] = 2.0, 50.0  # thing 39 was never bought: it is not shown
        model.output[:40] = torch.eye(40)[np.arange(40) ^ 1] * 9
        model.output[7, 2] = 99.0
    write_run(tmp_path / "models" / "mine", "item2vec", data, seeds=(0, 4), change=partners, dimension=40)
    return tmp_path


def test_neighbours_and_what_is_bought_with_an_item(shop, monkeypatch, capsys):
    out = ask(shop, monkeypatch, capsys, "mine", "thing 2", "-k", 2)
    blocks = [[line.split() for line in block.splitlines()] for block in out.strip().split("\n\n")]
    together = [r for r in np.split(np.load(shop / "prepared/shop/train.tokens.npy"), 300) if 2 in r]
    assert out.startswith("thing 2 (items, ")
    assert blocks[1][1][:3] == ["thing", "3", "0.894"] and "thing 39" not in out  # 2 / sqrt(5)
    assert blocks[2][0] == ["bought", "with", "receipts", "score"] and blocks[2][1] == ["thing", "3", str(len(together)), "9.00"]
    assert [row[:2] for row in blocks[3][1:]] == [["thing", "7"], ["thing", "3"]] and blocks[3][1][3] == "99.00"
    assert "field.category" in ask(shop, monkeypatch, capsys, "mine", "c3", "--seed-of-run", 4)


def test_what_cannot_be_answered_is_one_line(shop, monkeypatch, capsys):
    say = lambda *words: ask(shop, monkeypatch, capsys, *words, code=2)  # noqa: E731
    assert "is called 'thng 2'; nearest spellings: thing 2" in say("mine", "thng 2")
    assert "nothing is spelt nearly so" in say("mine", "xyzzy")
    assert "'thing 39' never occurs in the train split" in say("mine", "thing 39")
    assert "no seed 1 was trained; allowed: 0, 4" in say("mine", "thing 2", "--seed-of-run", 1)
    assert "unknown run 'mien'" in (line := say("mien", "x")) and "did you mean 'mine'" in line
    assert "run other: not trained" in say("other", "x")
    assert "family classifier has no vectors; runs that have: mine, other" in say("net", "x")
    assert "unknown table of vectors 'item'; allowed: items, field.category, field.brand" in say("mine", "x", "--table", "item")
    assert "allowed: at least 1" in say("mine", "thing 2", "-k", 0)
    (shop / "clean" / "shop").mkdir(parents=True)
    pl.DataFrame({"item_id": ["i99", "i2"], "item": ["a dusty thing", "thing 2"]}).write_parquet(shop / "clean" / "shop" / "items.parquet")
    assert "'a dusty thing' is in the catalogue but was never bought" in say("mine", "a dusty thing")
    assert "was never bought" in say("mine", "i99")
    assert "'i2' is the id of an item called 'thing 2'" in say("mine", "i2")


@pytest.mark.parametrize("family,make,name,table", [("word2vec", lambda f: sequences(f, "documents"), "thing 5", "words"),
                                                    ("random_walk", network, "n7", "nodes"), ("translation", knowledge, "q", "relations")])
def test_words_nodes_and_relations_have_neighbours_too(family, make, name, table, tmp_path, monkeypatch, capsys):
    data = make(tmp_path / "prepared" / "d")
    workplace(tmp_path, mine=(family, data))
    write_run(tmp_path / "models" / "mine", family, data)
    out = ask(tmp_path, monkeypatch, capsys, "mine", name, "-k", 2)
    assert out.startswith(f"{name} ({table}") and "bought with" not in out and len(out.strip().splitlines()) == 5


@pytest.mark.parametrize("family,make,name,why", [("word2vec", lambda f: sequences(f, "documents"), "<unk>", "stands for all rarer words"),
                                                  ("random_walk", network, "n0", "has no edge in the train graph")])
def test_rows_that_were_never_trained_are_refused_and_nobodys_neighbours(family, make, name, why, tmp_path, monkeypatch, capsys):
    data = make(tmp_path / "prepared" / "d")
    if family == "word2vec":
        write_json(data / "words.json", [name, *(f"thing {i}" for i in range(1, 40))])
        np.save(data / "counts.npy", np.maximum(np.load(data / "counts.npy"), 1))
    else:
        indptr, indices = np.load(data / "indptr.npy"), np.load(data / "indices.npy")
        rows = np.repeat(np.arange(60), np.diff(indptr))
        kept = (rows != 0) & (indices != 0)
        np.save(data / "indptr.npy", np.r_[0, np.cumsum(np.bincount(rows[kept], minlength=60))])
        np.save(data / "indices.npy", indices[kept])
        np.save(data / "weights.npy", np.load(data / "weights.npy")[kept])
    workplace(tmp_path, mine=(family, data))
    write_run(tmp_path / "models" / "mine", family, data)
    line = ask(tmp_path, monkeypatch, capsys, "mine", name, code=2)
    assert f"{name!r} {why}" in line and "so its vector was never trained; choose another" in line
    shown = ask(tmp_path, monkeypatch, capsys, "mine", "thing 5" if family == "word2vec" else "n7", "-k", 100)
    assert name not in {row.split("  ")[1].strip() for row in shown.splitlines()[3:]} and len(shown.splitlines()) > 35


@pytest.fixture
def pictures(tmp_path):
    data = digits(tmp_path / "prepared" / "digits")
    workplace(tmp_path, vae=("vae", data), gan=("gan", data))
    for family in ("vae", "gan"):
        write_run(tmp_path / "models" / family, family, data)
    return tmp_path


def test_samples_are_those_of_the_model_and_the_same_twice(pictures, monkeypatch, capsys):
    model = load_run(pictures / "models" / "gan", 0, read_json(pictures / "prepared" / "digits" / "meta.json"))
    ask(pictures, monkeypatch, capsys, "gan", "-n", 9, "--seed", 5, "--out", pictures / "a.npy", verb="sample")
    with torch.no_grad():
        wanted = model.sample(9, torch.Generator().manual_seed(5)).permute(0, 2, 3, 1).numpy()
    found = np.load(pictures / "a.npy")
    assert found.dtype == np.uint8 and np.abs(found / 255.0 - wanted).max() < 0.51 / 255
    for name in ("b.png", "c.png"):
        ask(pictures, monkeypatch, capsys, "gan", "-n", 4, "--out", pictures / name, verb="sample")
    assert (pictures / "b.png").read_bytes() == (pictures / "c.png").read_bytes() and Image.open(pictures / "b.png").width > 100


def test_codes_of_own_images_are_those_of_the_encoder(pictures, monkeypatch, capsys):
    images = np.load(pictures / "prepared" / "digits" / "test.images.npy")[:5]
    np.save(pictures / "mine.npy", images[..., 0])  # one channel may be left out
    ask(pictures, monkeypatch, capsys, "vae", "--images", pictures / "mine.npy", "--out", pictures / "mine-codes.npy", verb="encode")
    ask(pictures, monkeypatch, capsys, "vae", "--split", "test", "--out", pictures / "test-codes.npy", verb="encode")
    mine, test = np.load(pictures / "mine-codes.npy"), np.load(pictures / "test-codes.npy")
    with torch.no_grad():
        model = load_run(pictures / "models" / "vae", 0, read_json(pictures / "prepared" / "digits" / "meta.json"))
        wanted = model.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 255.0).numpy()
    np.testing.assert_allclose(mine, wanted, atol=1e-6)
    assert test.shape == (120, 3) and np.allclose(test[:5], mine, atol=1e-5)


def test_samples_of_a_class_are_those_that_the_model_makes_of_it(pictures, monkeypatch, capsys):
    data = pictures / "prepared" / "digits"
    workplace(pictures, acgan=("gan", data), gan=("gan", data))
    write_run(pictures / "models" / "acgan", "gan", data, condition="projection")
    ask(pictures, monkeypatch, capsys, "acgan", "-n", 5, "--of", 7, "--out", pictures / "sevens.npy", verb="sample")
    model = load_run(pictures / "models" / "acgan", 0, read_json(data / "meta.json"))
    with torch.no_grad():
        wanted, other = (model.sample(5, torch.Generator().manual_seed(0), torch.full((5,), c)).permute(0, 2, 3, 1) for c in (7, 2))
    found = np.load(pictures / "sevens.npy") / 255.0
    assert np.abs(found - wanted.numpy()).max() < 0.51 / 255 < np.abs(found - other.numpy()).max()
    say = lambda run, of: ask(pictures, monkeypatch, capsys, run, "--of", of, "--out", pictures / "x.npy", verb="sample", code=2)  # noqa: E731
    assert "--of: unknown class 'seven'" in say("acgan", "seven") and "--of 3: this run draws without" in say("gan", 3)


@pytest.fixture
def texts(tmp_path):
    prepared = tmp_path / "prepared"
    spoken = sequences(prepared / "spoken", "documents")
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "valid", "test"):
        for side in ("source", "target"):
            arrays[f"{split}.{side}.tokens"], arrays[f"{split}.{side}.offsets"] = encode(rng.integers(3, 9, (20, 4)).tolist())
    specials = ["<unk>", "<s>", "</s>"]
    dates = write_prepared(prepared / "dates", {"domain": "corpora", "kind": "pairs", "source_words": 9, "target_words": 9}, arrays,
                           {"source.words": [*specials, *"abcdef"], "target.words": [*specials,
                            "one", "two", "three", "four", "پنج", "<b>"]})
    workplace(tmp_path, lm=("text_vae", spoken), pairs=("seq2seq", dates))
    write_run(tmp_path / "models" / "lm", "text_vae", spoken, latent=0, embedding=4, hidden=6)
    write_run(tmp_path / "models" / "pairs", "seq2seq", dates, attention="additive", embedding=4, hidden=6, longest=5)
    return tmp_path


def test_texts_are_drawn_a_line_each(texts, monkeypatch, capsys):
    for name in ("a.txt", "b.txt"):
        ask(texts, monkeypatch, capsys, "lm", "-n", 7, "--seed", 3, "--out", texts / name, verb="sample")
    lines = (texts / "a.txt").read_text().splitlines()
    model = load_run(texts / "models" / "lm", 0, read_json(texts / "prepared/spoken/meta.json"))
    names = read_json(texts / "prepared/spoken/words.json")
    with torch.no_grad():
        wanted = [" ".join(names[i] for i in text) for text in model.write(7, torch.Generator().manual_seed(3))]
    assert lines == wanted and (texts / "b.txt").read_text().splitlines() == wanted
    for name, told in (("x.npy", "run lm draws texts; name a file that ends in .txt"), ("x.doc", "unknown kind of file '.doc'")):
        assert told in ask(texts, monkeypatch, capsys, "lm", "--out", texts / name, verb="sample", code=2)


def test_sentences_are_translated_line_by_line(texts, monkeypatch, capsys):
    """As the model searches by itself: marks of order, empty lines, unknown words and capital letters in the file."""
    (texts / "in.txt").write_bytes("\ufeffA b c\r\n\n zz b\nf f zz zz\n".encode())
    told = ask(texts, monkeypatch, capsys, "pairs", texts / "in.txt", texts / "out.txt", "--beam", 2, verb="translate")
    assert "out.txt: 4 lines translated by pairs; 3 unknown words, never read in training: 'zz'; 3 ended at 5 words" in told
    model = load_run(texts / "models" / "pairs", 0, read_json(texts / "prepared/dates/meta.json"))
    names, wanted = read_json(texts / "prepared/dates/target.words.json"), []
    for ids in ([3, 4, 5], [], [0, 4], [8, 8, 0, 0]):
        with torch.no_grad():
            made = model.search(torch.tensor(ids), torch.tensor([0, len(ids)]), 2)[0][0] if ids else []
        wanted.append(" ".join(names[i] for i in made))
    assert (texts / "out.txt").read_text(encoding="utf-8").split("\n") == [*wanted, ""] and any(wanted)


def test_texts_of_characters_are_cut_as_the_dataset_was(texts, monkeypatch, capsys):
    """White space around a line is none of it; what a terminal would act on is shown as it is written in Python."""
    params = yaml.safe_load((texts / "params.yaml").read_text())
    params["datasets"]["dates"]["prepare"] = {"tokenizer": "characters"}
    params["runs"]["pairs"]["evaluate"] = {"beam": 2}
    (texts / "params.yaml").write_text(yaml.safe_dump(params))
    (texts / "in.txt").write_text("abc  \n   \na\x1bb\n", encoding="utf-8")
    told = ask(texts, monkeypatch, capsys, "pairs", texts / "in.txt", texts / "out.txt", verb="translate")
    assert "1 unknown word, never read in training: '\\x1b'" in told and "\x1b" not in told
    model = load_run(texts / "models" / "pairs", 0, read_json(texts / "prepared/dates/meta.json"))
    names = read_json(texts / "prepared/dates/target.words.json")
    with torch.no_grad():
        made = [model.search(torch.tensor(ids), torch.tensor([0, len(ids)]), 2)[0][0] for ids in ([3, 4, 5], [3, 0, 4])]
    first, last = (" ".join(names[i] for i in m) for m in made)
    assert (texts / "out.txt").read_text(encoding="utf-8").split("\n") == [first, "", last, ""]


def test_neighbours_are_translated_together_within_a_budget():
    assert list(lines.groups([3, 1, 4, 1, 5, 9, 2], 8)) == [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7)]
    assert list(lines.groups([0, 0, 0], 1)) == [(0, 3)] and list(lines.groups([], 5)) == []


def test_what_cannot_be_translated_is_one_line_and_writes_nothing(texts, monkeypatch, capsys):
    good, out = texts / "good.txt", texts / "out.txt"
    good.write_text("a b\n")
    (texts / "latin.txt").write_bytes(b"a\nb \xe9\n")
    (texts / "empty.txt").write_text(" \n\n")
    say = lambda *words, run="pairs": ask(texts, monkeypatch, capsys, run, *words, verb="translate", code=2)  # noqa: E731
    assert "latin.txt, line 2: not UTF-8" in say(texts / "latin.txt", out)
    assert "empty.txt: holds no text" in say(texts / "empty.txt", out)
    assert "absent.txt: cannot be read (No such file" in say(texts / "absent.txt", out)
    assert "is the file that is read" in say(good, good) and "no file can be written there" in say(good, texts)
    assert "no file can be written there" in say(good, good / "below.txt") and good.is_file()
    assert "--beam 0: allowed: 1 to 100" in say(good, out, "--beam", 0)
    assert "family seq2seq has no translate_back" in say(good, out, "--back")
    assert "family text_vae has no translate or search; runs that have: pairs" in say(good, out, run="lm")
    assert not out.exists() and good.read_text() == "a b\n"


def test_what_cannot_be_encoded_or_drawn_is_one_line(pictures, monkeypatch, capsys):
    say = lambda verb, *words: ask(pictures, monkeypatch, capsys, *words, verb=verb, code=2)  # noqa: E731
    out = ["--out", pictures / "x.npy"]
    assert "family gan has no encode; runs that have: vae" in say("encode", "gan", "--split", "test", *out)
    assert "no such file" in say("encode", "vae", "--images", pictures / "absent.npy", *out)
    (pictures / "bad.npy").write_bytes(b"\x80\x04 a pickle")
    assert "not readable as a .npy array" in say("encode", "vae", "--images", pictures / "bad.npy", *out)
    np.save(pictures / "large.npy", np.zeros((2, 28, 28), np.uint8))
    assert "found uint8 [2, 28, 28, 1]; allowed: uint8 [N, 8, 8, 1]" in say("encode", "vae", "--images", pictures / "large.npy", *out)
    assert "unknown kind of file '.jpg'; allowed: .png, .npy, .txt" in say("sample", "gan", "--out", pictures / "x.jpg")
    assert "at least 1 sample" in say("sample", "gan", "-n", 0, *out)
    assert not list(pictures.glob("*x.*"))


def test_no_run_is_called_as_a_command(tmp_path):
    workplace(tmp_path, similar=("item2vec", None))
    with pytest.raises(InputError, match="runs.similar: python -m stages.evaluate similar is a command; choose another name"):
        load(tmp_path / "params.yaml")


def test_help_has_examples(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "similar", "--help"])
    with pytest.raises(SystemExit) as stop:
        command(stage.main)
    assert stop.value.code == 0 and "python -m stages.evaluate similar skipgram list" in capsys.readouterr().out
