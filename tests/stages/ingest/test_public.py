"""Every public source on small files of the published format, made here and laid into a mirror."""

import bz2
import dataclasses
import gzip
import importlib
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import polars as pl
import pytest
import scipy.io
import scipy.sparse
from PIL import Image
from sklearn.datasets import load_digits

from stages.ingest import public_files
from stages.ingest.public_files import PUBLIC
from stages.ingest.sources import options_of
from stages.settings import InputError

CONLLU = """# newdoc id = doc1
# sent_id = s-1
# text = Don't go.
1-2\tDon't\t_\t_\t_
1\tDo\tdo\tAUX\tVBP
2\tn't\tnot\tPART\tRB
3\tgo\tgo\tVERB\tVB
4\t.\t.\tPUNCT\t.

# sent_id = s-2
# text = It rains
1\tIt\tit\tPRON\tPRP
1.1\telided\t_\t_\t_
2\trains\train\tVERB\tVBZ
"""


@pytest.fixture
def publish(tmp_path, monkeypatch, take):
    """Lay `files` (name: bytes or text) into a mirror as dataset `name`, checksums aside, and ingest it."""

    def run(name, files, **options):
        known = PUBLIC[name]
        for file, content in files.items():
            path = tmp_path / "mirror" / known.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            content = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" and not file.endswith("tar.gz") else content)
        bare = tuple(dataclasses.replace(f, url=None, sha256=None, content=None) for f in known.files)
        monkeypatch.setitem(public_files.PUBLIC, name, dataclasses.replace(known, files=bare))
        monkeypatch.setenv("BAZNAMA_MIRROR", str(tmp_path / "mirror"))
        described, out = take(known.domain, "public", name, **options)
        assert described["licence"] == known.licence and described["address"] == known.address
        assert all(len(total) == 64 for total in described["sha256"].values()) and described["sha256"]
        return pl.read_parquet(out / f"{ {'graph': 'edges', 'points': 'images'}.get(described['kind'], described['kind']) }.parquet"), out

    return run


def tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_source_declares_itself_and_has_its_loader(name):
    known = PUBLIC[name]
    assert known.licence and known.address.startswith("http") and known.files
    assert all(len(total) == 64 and set(total) <= set("0123456789abcdef") for f in known.files for total in (f.sha256, f.content) if total)
    assert all(f.url is None or f.url.startswith("http") for f in known.files)
    assert dataclasses.is_dataclass(options_of(getattr(importlib.import_module(f"stages.ingest.{known.module}"), name)))


def test_groceries_with_and_without_levels(publish):
    files = {"groceries_stedy.csv": "ham,whole milk\nham\n"}
    table, out = publish("groceries", files)
    assert table.select("receipt_id", "position", "item").rows() == [
        ("g00000", 0, "ham"), ("g00000", 1, "whole milk"), ("g00001", 0, "ham")]
    assert not (out / "items.parquet").exists()
    levels = "labels,level2,level1\nham,ham,meat\nwhole milk,milk,dairy\n"
    table, out = publish("groceries", {**files, "groceries_items_levels_from_rda.csv": levels})
    assert table.select("category", "department").row(1) == ("milk", "dairy")
    assert pl.read_parquet(out / "items.parquet").columns == ["item_id", "item", "category", "department"]


JOURNEY = {
    "transactions_sample.csv.gz": "household_id,store_id,basket_id,product_id,quantity,week,transaction_timestamp\n"
                                  "1,9,100,7,2.0,5,1485630500.0\n2,9,101,8,1.0,5,1485630413.0\n1,9,102,8,1.0,5,1485630413.0\n",
    "products.csv.gz": "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n"
                       "7,2,GROCERY,National,ICE,CUBES,22 LB\n8,3,MEAT,Private,HAM,,\n9,3,MEAT,Private,BEEF,,\n",
}


def test_complete_journey_by_household_and_week_or_basket(publish):
    table, out = publish("complete_journey", JOURNEY)
    assert table.select("receipt_id", "position", "item_id", "item").rows() == [
        ("h2-w5", 0, "8", "8"), ("h1-w5", 0, "8", "8"), ("h1-w5", 1, "7", "CUBES")]
    assert table["department"].to_list() == ["MEAT", "MEAT", "GROCERY"]
    assert pl.read_parquet(out / "items.parquet")["item_id"].to_list() == ["7", "8"]
    assert set(publish("complete_journey", JOURNEY, receipt="basket")[0]["receipt_id"]) == {"100", "101", "102"}


def test_online_retail_keeps_what_is_dirty(publish):
    table, _ = publish("online_retail", {
        "online_retail_by_day_concat.csv.gz": "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
                                              "C5,D,,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom\n"})
    assert table.select("receipt_id", "item_id", "item", "quantity").rows() == [("C5", "D", None, -1.0)]


def test_wn18_maps_numbers_and_reads_head_tail_relation(publish):
    files = {"entity2id.txt": "3\nx\t0\ny\t1\nz\t2\n", "relation2id.txt": "1\n_part\t0\n", "train2id.txt": "2\n0 1 0\n1 2 0\n",
             "valid2id.txt": "1\n0 2 0\n", "test2id.txt": "0\n"}
    assert publish("wn18", files)[0].rows() == [("x", "_part", "y", "train"), ("y", "_part", "z", "train"), ("x", "_part", "z", "valid")]
    with pytest.raises(InputError, match="promises 2 triples, it has 1"):
        publish("wn18", {**files, "train2id.txt": "2\n0 1 0\n"})


@pytest.mark.parametrize(("name", "archive", "prefix"), [("wn18rr", "WN18RR.tar.gz", ""), ("fb15k_237", "FB15k-237.tar.gz", ""),
                                                         ("fb15k", "fb15k.tgz", "FB15k/freebase_mtr100_mte100-")])
def test_archives_of_triples_keep_their_split(publish, name, archive, prefix):
    parts = {f"{prefix}{part}.txt": f"/m/1\t/r/{part}\t/m/2\n" for part in ("valid", "train", "test")}
    table, _ = publish(name, {archive: tar(parts)})
    assert table.rows() == [("/m/1", f"/r/{part}", "/m/2", part) for part in ("train", "valid", "test")]


def test_fb15k_237_with_readable_names(publish):
    parts = {f"{part}.txt": "/m/1\t/r\t/m/2\n" for part in ("valid", "train", "test")}
    names = json.dumps({"/m/1": {"label": "Denton"}})
    table, _ = publish("fb15k_237", {"FB15k-237.tar.gz": tar(parts), "entity2wikidata.json.gz": names}, names=True)
    assert table.row(0) == ("Denton (/m/1)", "/r", "/m/2", "train")


def test_triples_that_are_no_triples_are_one_line(publish):
    with pytest.raises(InputError, match="wn18rr: its files are not in the expected format"):
        publish("wn18rr", {"WN18RR.tar.gz": tar({f"{part}.txt": "a\tb\n" for part in ("train", "valid", "test")})})


def test_countries_read_the_task_asked_for(publish):
    files = {f"countries_{task}/{part}.txt": f"{task}\tlocatedin\t{part}\n" for task in ("S1", "S2") for part in ("train", "valid", "test")}
    assert publish("countries", files, task="S2")[0]["head"].unique().to_list() == ["S2"]


def test_cora_keeps_the_published_split(publish):
    packed = io.BytesIO()
    np.savez(packed, edges=np.array([[0, 1], [1, 2]]), labels=np.array([4, 4, 0]), idx_train=[0], idx_val=[1], idx_test=[2])
    table, out = publish("cora", {"cora_planetoid.npz": packed.getvalue()})
    assert table.rows() == [("0", "1", 1.0), ("1", "2", 1.0)]
    assert pl.read_parquet(out / "nodes.parquet")["label"].to_list() == ["4", "4", "0"]
    assert json.loads((out / "source.json").read_text())["published_split"] == {"train": ["0"], "valid": ["1"], "test": ["2"]}


def test_blogcatalog_from_sparse_matrices(publish):
    packed = io.BytesIO()
    network = scipy.sparse.csc_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float))
    scipy.io.savemat(packed, {"network": network, "group": scipy.sparse.csc_matrix(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], float))})
    table, out = publish("blogcatalog", {"blogcatalog.mat": packed.getvalue()})
    assert table.rows() == [("0", "1", 1.0), ("1", "2", 1.0)]
    assert pl.read_parquet(out / "nodes.parquet")["label"].to_list() == ["0|2", "1", None]
    with pytest.raises(InputError, match="blogcatalog.mat: truncated"):
        publish("blogcatalog", {"blogcatalog.mat": packed.getvalue()[:90]})


@pytest.mark.parametrize(("name", "ending"), [("newsgroups", ".gz"), ("newsgroups_nvdm", "")])
def test_counts_number_words_from_one(publish, name, ending):
    files = {f"train.feat{ending}": "1 2:3 1:1\n2 3:1\n", f"test.feat{ending}": "2 1:2\n1\n", "vocab.new": "ape 0 \nbee 0 \ncat 0 \n"}
    table, _ = publish(name, files)
    assert table.rows() == [("train-00000", "train", "1", ["bee", "ape"], [3, 1]), ("train-00001", "train", "2", ["cat"], [1]),
                            ("test-00000", "test", "2", ["ape"], [2]), ("test-00001", "test", "1", [], [])]
    table, _ = publish(name, {**files, f"train.feat{ending}": "1 2:3\n", f"test.feat{ending}": "1 1:2\n"})
    assert table["label"].null_count() == 2
    with pytest.raises(InputError, match="line 1 has a word id outside 1 to 3"):
        publish(name, {**files, f"train.feat{ending}": "1 4:3\n"})


def test_wikitext_by_article_with_and_without_the_training_part(publish):
    text = " \n = First = \n \n Some text . \n = = Part = = \n More . \n = Second = \n \n End . \n"
    packed = io.BytesIO()
    pl.DataFrame({"text": [line + "\n" for line in text.split("\n")]}).write_parquet(packed)
    files = {"valid.txt": text, "test.txt": text}
    table, _ = publish("wikitext2", files, parts=["valid", "test"])
    assert table.filter(pl.col("split") == "test")["text"].to_list() == [
        "= First =\nSome text .\n= = Part = =\nMore .", "= Second =\nEnd ."]
    anew, _ = publish("wikitext2", files, parts=["valid", "test"], splits="hash")
    assert anew["split"].to_list() == [None] * 4 and anew["text"].equals(table["text"])
    with pytest.raises(InputError, match=r"options.parts: .*parts: \[valid, test\]"):
        publish("wikitext2", files)
    longer = text.replace("Some text .", "Some text here . More of it ! And so on . 1 . 5 m ; and so on")
    told, _ = publish("wikitext2", {**files, "test.txt": longer}, parts=["test"], unit="sentence", low=3, high=6)
    assert told.select("doc_id", "text", "group").rows() == [
        ("test-0000#0", "Some text here .", "test-0000"), ("test-0000#1", "More of it !", "test-0000")]
    table, _ = publish("wikitext2", {**files, "train.parquet": packed.getvalue()})
    assert table.filter(pl.col("split") == "train")["text"].equals(table.filter(pl.col("split") == "test")["text"])


def test_tiny_shakespeare_by_speech(publish):
    table, _ = publish("tiny_shakespeare", {"input.txt": "First:\nSpeak.\n\nAll:\nSpeak, speak.\n\nFirst:\nNo."}, passage=2)
    assert table.select("text", "group").rows() == [("First:\nSpeak.", "p0000"), ("All:\nSpeak, speak.", "p0000"), ("First:\nNo.", "p0001")]


def test_text8_is_cut_by_characters_as_is_usual(publish):
    text = " ".join(f"w{i:02d}" for i in range(100))
    table, _ = publish("text8", {"text8.zip": zipped({"text8": text})}, words=40)
    sizes = table.with_columns(n=pl.col("text").str.split(" ").list.len()).select("split", "n").rows()
    assert sizes == [("train", 40), ("train", 40), ("train", 10), ("valid", 5), ("test", 5)]
    assert " ".join(table["text"]) == text


def test_treebank_as_tagged_pairs_and_as_sentences(publish):
    files = {f"en_ewt-ud-{part}.conllu.gz": CONLLU for part in ("train.rebuilt", "dev", "test")}
    table, _ = publish("ud_english_ewt", files)
    assert table.filter(pl.col("split") == "valid").select("pair_id", "source", "target", "group").rows() == [
        ("s-1", "Do n't go .", "AUX PART VERB PUNCT", "doc1"), ("s-2", "It rains", "PRON VERB", "doc1")]
    table, _ = publish("ud_english_ewt", files, kind="documents")
    assert table["text"].to_list()[:2] == ["Don't go.", "It rains"]


def test_tatoeba_pairs_and_groups(publish):
    table, _ = publish("tatoeba_eng_pes", {"pes.txt": "Go.\tبرو\tCC-BY\nGo.\tبروید\tCC-BY\n"})
    assert table.select("source", "target", "group").rows() == [("Go.", "برو", "Go."), ("Go.", "بروید", "Go.")]
    table, _ = publish("tatoeba_eng_fra", {"fra-eng.zip": zipped({"_about.txt": "x", "fra.txt": "Go.\tVa !\n"})}, translated="other")
    assert table.select("source", "target", "group").rows() == [("Va !", "Go.", "Go.")]
    table, _ = publish("tatoeba_eng_pes", {"pes.txt": "Go.\tبرو\tCC-BY\nGo.\tبروید\tCC-BY\nNo.\tنه\n"}, kind="english")
    assert table["text"].to_list() == ["Go.", "No."]


def test_multi30k_lines_up_two_languages(publish):
    files = {f"{part}.{language}.gz": f"{language} one\n{language} two\n" for part in ("train", "val", "test_2016_flickr")
             for language in ("en", "de")}
    table, _ = publish("multi30k", files)
    assert table["split"].to_list() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert table.select("source", "target").row(1) == ("en two", "de two")
    with pytest.raises(InputError, match="1 lines against 2 English ones"):
        publish("multi30k", {**files, "val.de.gz": "de one\n"})


@pytest.mark.parametrize(("name", "parts"), [("wikiqa", ("train", "dev", "test")), ("trec_qa", ("train-all", "raw-dev", "raw-test"))])
def test_questions_from_parallel_files(publish, name, parts):
    content = {"id.txt": "q1\nq1\n", "a.toks": "who ?\nwho ?\n", "b.toks": "me .\nyou .\n", "sim.txt": "0\n1\n"}
    files = {f"{part}/{file}": text for part in parts for file, text in content.items()}
    table, _ = publish(name, files)
    assert table.rows()[2:4] == [
        ("valid-q1", "valid", "who ?", "me .", 0, "valid-q1"), ("valid-q1", "valid", "who ?", "you .", 1, "valid-q1")]
    with pytest.raises(InputError, match="its files have 2, 2, 2, 1 lines"):
        publish(name, {**files, f"{parts[0]}/sim.txt": "0\n"})


@pytest.mark.parametrize(("name", "label"), [("mnist", "3"), ("fashion_mnist", "Dress")])
def test_idx_sets_keep_train_and_test(publish, name, label):
    images, labels = np.arange(2 * 6, dtype=np.uint8).reshape(2, 2, 3), np.array([3, 3], np.uint8)

    def idx(array):
        return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    files = {f"{p}-images-idx3-ubyte.gz": idx(images) for p in ("train", "t10k")} | {
        f"{p}-labels-idx1-ubyte.gz": idx(labels) for p in ("train", "t10k")}
    table, out = publish(name, files)
    assert table.select("split", "label").rows() == [("train", label)] * 2 + [("test", label)] * 2
    assert np.array_equal(np.load(out / "images.npy")[2:, :, :, 0], images)
    with pytest.raises(InputError, match="1 labels for 2 images"):
        publish(name, {**files, "t10k-labels-idx1-ubyte.gz": idx(labels[:1])})


def test_stacked_digits_are_three_digits_of_their_own_split_as_channels(publish):
    images, labels = np.arange(12, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2), np.arange(12, dtype=np.uint8) % 10

    def idx(array):
        return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    files = {f"{p}-images-idx3-ubyte.gz": idx(images + by) for p, by in (("train", 0), ("t10k", 100))} | {
        f"{p}-labels-idx1-ubyte.gz": idx(labels) for p in ("train", "t10k")}
    table, out = publish("mnist", files, stacked=60)
    pixels = np.load(out / "images.npy")
    assert table["split"].to_list() == ["train"] * 60 + ["test"] * 10 and pixels.shape == (70, 4, 4, 3)
    assert (pixels[:60] < 12).all() and (pixels[60:] >= 100).all()
    first = pixels[:, 0, 0].astype(int) % 100 % 10
    assert table["label"].to_list() == ["".join(map(str, row)) for row in first] and len(set(table["label"])) > 50


def test_mnist_beside_the_small_digits_is_two_domains(publish):
    images, labels = np.arange(4 * 784, dtype=np.uint8).reshape(4, 28, 28), np.array([3, 1, 4, 1], np.uint8)

    def idx(array):
        return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    files = {f"{p}-images-idx3-ubyte.gz": idx(images) for p in ("train", "t10k")} | {
        f"{p}-labels-idx1-ubyte.gz": idx(labels) for p in ("train", "t10k")}
    table, out = publish("mnist", files, beside="digits")
    pixels, bunch = np.load(out / "images.npy"), load_digits()
    assert table["domain"].to_list() == ["mnist"] * 8 + ["digits"] * 1797 and pixels.shape == (1805, 28, 28, 1)
    assert table["split"].to_list() == ["train"] * 4 + ["test"] * 4 + [None] * 1797
    assert table["label"][8:].to_list() == [str(t) for t in bunch.target] and (pixels[:4, :, :, 0] == images).all()
    means = bunch.images.mean((1, 2)) * 255 / 16  # an enlargement keeps what is bright
    assert np.abs(pixels[8:].mean((1, 2, 3)) - means).max() < 8 and np.corrcoef(pixels[8:].mean((1, 2, 3)), means)[0, 1] > 0.99
    with pytest.raises(InputError, match="options.beside: stacked digits have no second domain"):
        publish("mnist", files, beside="digits", stacked=3)


def test_usps_from_sparse_text(publish):
    line = "8 1:-1 2:1 256:0\n"
    table, out = publish("usps", {"usps.bz2": bz2.compress(line.encode() * 2), "usps.t.bz2": bz2.compress(line.encode())})
    images = np.load(out / "images.npy")
    assert images.shape == (3, 16, 16, 1) and images[0, 0, :3, 0].tolist() == [0, 255, 128] and images[0, 15, 15, 0] == 128
    assert table.select("split", "label").rows() == [("train", "7"), ("train", "7"), ("test", "7")]


def test_kodak_is_cut_into_patches(publish):
    files = {}
    for file in PUBLIC["kodak"].files:
        packed = io.BytesIO()
        Image.fromarray(np.full((70, 130, 3), int(file.name[:2]), np.uint8)).save(packed, "PNG")
        files[file.name] = packed.getvalue()
    table, out = publish("kodak", files, size=64, stride=64, block=64)
    assert table["domain"].to_list() == [f"{i:02d}" for i in range(1, 9) for _ in range(2)]
    assert np.load(out / "images.npy")[:, 0, 0, 0].tolist() == [i for i in range(1, 9) for _ in range(2)]


def test_a_missing_file_names_the_mirror(refusal, tmp_path, monkeypatch):
    monkeypatch.setenv("BAZNAMA_MIRROR", str(tmp_path / "nowhere"))
    assert "cora/cora_planetoid.npz: has no address and is not in" in refusal("graphs", "public", "cora")
