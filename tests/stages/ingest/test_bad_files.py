"""What is wrong with a file is one line that names it, says what was found and how to mend it; nothing is left half-ingested."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pytest

from stages.ingest.archives import member, members
from stages.ingest.text_files import BLOCK, check_utf8, plain
from stages.settings import InputError

ROOT = Path(__file__).resolve().parents[3]
CSV = "receipt_id,item\n" + "".join(f"{i // 3},item {i}\n" for i in range(3000))


def test_missing_file_names_the_nearest_beside_it(refusal, tmp_path):
    (tmp_path / "receipts-2024.csv").write_text(CSV)
    line = refusal("receipts", "path", tmp_path / "receipts_2024.csv")
    assert "no such file or folder" in line and "did you mean 'receipts-2024.csv'" in line and "datasets.it.name" in line


def test_truncated_gzip(refusal, tmp_path):
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:-2000])
    line = refusal("receipts", "path", path)
    assert line.startswith(f"{path}: truncated")


def test_not_gzip_at_all(refusal, tmp_path):
    path = tmp_path / "r.csv.gz"
    path.write_text(CSV)
    assert line_says(refusal("receipts", "path", path), path, "not what its name says")


def test_truncated_parquet(refusal, tmp_path):
    whole, path = tmp_path / "w.parquet", tmp_path / "r.parquet"
    pl.DataFrame({"receipt_id": ["1"], "item": ["a"]}).write_parquet(whole)
    path.write_bytes(whole.read_bytes()[:-10])
    assert line_says(refusal("receipts", "path", path), path, "truncated or not a Parquet file")


def test_html_in_place_of_data(refusal, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("\n<!DOCTYPE html><html><body>404</body></html>")
    assert line_says(refusal("receipts", "path", path), path, "a web page instead of data")


def test_not_utf8_names_offset_line_and_the_option(refusal, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes("receipt_id,item\n1,tea\n2,Käse\n".encode("cp1252"))
    line = refusal("receipts", "path", path)
    assert line_says(line, path, "byte 0xe4 at offset 25, line 3") and "options.encoding" in line


def test_utf8_is_checked_across_the_border_of_blocks(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"a" * (BLOCK - 1) + "ä".encode() + b"\nxx\xff")
    with pytest.raises(InputError, match=f"offset {BLOCK + 4}, line 2"):
        check_utf8(path, path)
    path.write_bytes(b"a" * (BLOCK - 1) + b"\xc3")  # cut within a character
    with pytest.raises(InputError, match=f"0xc3 at offset {BLOCK - 1}, line 1"):
        check_utf8(path, path)
    path.write_bytes(b"a" * (BLOCK - 1) + "ä".encode())
    check_utf8(path, path)


def test_unknown_and_wrong_encodings(refusal, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(CSV.encode() + b"9,\x81\n")
    assert "did you mean 'cp1252'" in refusal("receipts", "path", path, encoding="cp-1252x")
    assert line_says(refusal("receipts", "path", path, encoding="cp1252"), path, "not cp1252")


def test_empty_datasets(refusal, tmp_path):
    empty, header, folder = tmp_path / "e.csv", tmp_path / "h.csv", tmp_path / "f"
    empty.write_text("")
    header.write_text("receipt_id,item\n")
    folder.mkdir()
    assert "empty file" in refusal("receipts", "path", empty)
    assert "gave no rows" in refusal("receipts", "path", header)
    assert "empty folder" in refusal("receipts", "path", folder)
    assert "no picture" in refusal("images", "path", folder)


def test_a_line_that_is_not_json_is_named(refusal, tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf")
    assert "d.jsonl: an empty file" in refusal("corpora", "path", path)
    path.write_text("\n\n{}\n")
    assert "d.jsonl: its first lines hold no record" in refusal("corpora", "path", path)
    path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(1500)) + '{"text": \n')
    assert line_says(refusal("corpora", "path", path), path, "line 1501 is not JSON")
    path.write_text("[1, 2]\n")
    assert line_says(refusal("corpora", "path", path), path, "line 1 is not a JSON object")


def test_the_line_is_named_in_a_compressed_table_too(refusal, tmp_path):
    rows = "".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(1500))
    for name, opened in (("d.jsonl.gz", gzip.open), ("d.jsonl.xz", lzma.open)):
        with opened(tmp_path / name, "wt") as file:
            file.write(rows + '{"text": \n')
        assert line_says(refusal("corpora", "path", tmp_path / name), tmp_path / name, "line 1501 is not JSON")
    path = tmp_path / "r.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("receipt_id,item\n1,bread\n1,milk,2,3\n")
    assert line_says(refusal("receipts", "path", path), path, "line 3 has 4 fields, the first line 2")


def test_a_lone_quote_means_nothing_where_tabs_separate(refusal, tmp_path):
    rows = "receipt_id\titem\n1\t\"12 inch\n" + "1\tbread\n" * 20000 + "1\tmilk\t2\t3\n"
    for name, opened in (("my.shop.tsv", open), ("my.shop.tsv.bz2", bz2.open)):
        with opened(tmp_path / name, "wt") as file:
            file.write(rows)
        assert line_says(refusal("receipts", "path", tmp_path / name), tmp_path / name, "line 20003 has 4 fields, the first line 2")


def test_unknown_names_list_what_is_allowed(refusal, tmp_path):
    line = refusal("images", "builtin", "digit")
    assert "unknown built-in source 'digit'" in line and "did you mean 'digits'" in line and "photo_patches" in line
    assert "did you mean 'fashion_mnist'" in refusal("images", "public", "fashion-mnist")
    assert "belongs to images" in refusal("graphs", "builtin", "digits")
    (tmp_path / "r.xls").write_text(CSV)
    assert "tells no format; set options.format to one of csv, parquet, jsonl" in refusal("receipts", "path", tmp_path / "r.xls")


def test_a_failure_leaves_the_former_output_as_it_was(take, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(CSV)
    _, out = take("receipts", "path", path)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    path.write_text(CSV + "1,b,c,d\n")
    with pytest.raises(InputError):
        take("receipts", "path", path)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before and [p.name for p in out.parent.iterdir()] == ["it"]


def test_output_is_replaced_whole(take, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(CSV.replace("item\n", "item\n", 1))
    _, out = take("receipts", "path", path, metadata={"kind": "item"})
    assert (out / "items.parquet").exists()
    _, out = take("receipts", "path", path)
    assert sorted(p.name for p in out.iterdir()) == ["receipts.parquet", "source.json"]


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt", "c:/evil.txt"])
def test_archives_with_paths_outside_are_refused_and_nothing_is_written(tmp_path, name):
    zipped, tarred = tmp_path / "a.zip", tmp_path / "a.tar.gz"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("good.txt", "fine")
        archive.writestr(name, "evil")
    with tarfile.open(tarred, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    for path in (zipped, tarred):
        with pytest.raises(InputError, match="refused: member .* leads outside"):
            members(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "a.zip"]


def test_links_and_truncated_archives_are_refused(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match="is a link"):
        members(path)
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("b.txt")
        info.size = 5000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 20))
    assert list(members(path)) == ["b.txt"]
    with pytest.raises(InputError, match="has no file 'c.txt'"):
        member(path, "c.txt")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated"):
        members(path)


def test_plain_gives_utf8_whatever_went_in(tmp_path):
    for name, data, encoding in (("a.txt", "ä\n".encode("utf-16"), "utf-16"), ("b.txt.gz", gzip.compress("ä\n".encode()), "utf-8")):
        (tmp_path / name).write_bytes(data)
        assert plain(tmp_path / name, encoding, tmp_path).read_bytes() == "ä\n".encode()


def test_the_command_ends_with_one_line_and_code_2(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("split: {salt: a}\nvalidate: {}\ntrain: {}\nruns: {}\ndatasets:\n  it: {domain: receipts, source: path, "
                      f"name: {tmp_path / 'none.csv'}, options: {{}}, validate: {{}}, prepare: {{}}}}\n")
    command = [sys.executable, "-m", "stages.ingest", "it", "--params", params, "--out", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: datasets.it.name: no such file") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def ingest_in_little_room(tmp_path, frame, kilobytes):
    """The command on `frame` where no file may grow above `kilobytes`, over an earlier output."""
    frame.write_parquet(tmp_path / "r.parquet")
    params = tmp_path / "params.yaml"
    params.write_text("split: {salt: a}\nvalidate: {}\ntrain: {}\nruns: {}\ndatasets:\n  it: {domain: receipts, source: path, "
                      f"name: {tmp_path / 'r.parquet'}, options: {{}}, validate: {{}}, prepare: {{}}}}\n")
    (tmp_path / "raw" / "it").mkdir(parents=True)
    (tmp_path / "raw" / "it" / "old").touch()
    command = f'ulimit -f {kilobytes}; exec "{sys.executable}" -m stages.ingest it --params "{params}" --out "{tmp_path / "raw" / "it"}"'
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)


def test_a_full_disk_is_one_line_and_leaves_the_former_output(tmp_path):
    texts = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]  # such as no codec makes small
    done = ingest_in_little_room(tmp_path, pl.DataFrame({"receipt_id": texts, "item": texts[::-1]}), 100)
    assert done.returncode == 1 and done.stderr.startswith("error: disk full while writing ") and done.stderr.count("\n") == 1
    assert [p.relative_to(tmp_path / "raw").as_posix() for p in sorted((tmp_path / "raw").rglob("*"))] == ["it", "it/old"]


def test_a_quote_that_never_closes_is_named_with_its_line(refusal, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('receipt_id,item\n1,"tea\npot"\n2,cup\n3,"bowl\n' + "".join(f"{i},item {i}\n" for i in range(4, 500)))
    assert line_says(refusal("receipts", "path", path), path, "a quote opened near line 5 never closes; mend it, or set options.quote")


def line_says(line, path, words):
    return line.startswith(f"{path}: ") and words in line
