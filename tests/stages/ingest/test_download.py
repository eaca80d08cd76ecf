"""Downloads against a server of the test's own: resumed, checked, kept aside when wrong; the mirror comes first."""

import gzip
import hashlib
import http.server
import threading

import pytest

from stages.ingest import download
from stages.ingest.download import Files, find
from stages.ingest.public_files import File, Public
from stages.settings import InputError

DATA = bytes(range(256)) * 40_000  # 10 MB, so that it comes in several blocks
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """`server.url(name)`; `server.cut`: bytes after which answers break off; `server.seen`: Range headers; `server.ranges`: obey them."""
    monkeypatch.delenv("BAZNAMA_MIRROR", raising=False)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            self.server.seen.append(wanted)
            body = self.server.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.server.ranges else 0
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:start + self.server.cut])

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.files, running.seen, running.cut, running.ranges = {"/data.bin": DATA}, [], len(DATA), True
    running.url = lambda name: f"http://127.0.0.1:{running.server_port}/{name}"
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def test_download_is_checked_and_done_once(server, tmp_path):
    file = File("data.bin", server.url("data.bin"), SUM)
    for _ in range(2):
        path, total = find(file, "set", tmp_path)
        assert path == tmp_path / "set" / "data.bin" and total == SUM and path.read_bytes() == DATA
    assert server.seen == [None] and [p.name for p in path.parent.iterdir()] == ["data.bin"]


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 4_000_000
    path, _ = find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path)
    assert path.read_bytes() == DATA
    assert server.seen == [None, "bytes=4000000-", "bytes=8000000-"]


def test_a_later_run_resumes_the_part_that_is_there(server, tmp_path):
    part = tmp_path / "set" / "data.bin.part"
    part.parent.mkdir()
    part.write_bytes(DATA[:7_000_000])
    assert find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path)[1] == SUM
    assert server.seen == ["bytes=7000000-"]
    part.write_bytes(DATA)  # complete, but killed before it got its name
    (tmp_path / "set" / "data.bin").unlink()
    assert find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path)[1] == SUM


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.ranges = False
    part = tmp_path / "set" / "data.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"from an older file")
    assert find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path)[1] == SUM


def test_wrong_checksum_is_kept_aside(server, tmp_path):
    file = File("data.bin", server.url("data.bin"), "0" * 64)
    with pytest.raises(InputError, match=r"data.bin: wrong checksum: expected sha256 0000.*found .*kept as data.bin.bad") as caught:
        find(file, "set", tmp_path)
    assert "\n" not in str(caught.value)
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["data.bin.bad"]
    find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path)  # the next run downloads anew


def test_html_instead_of_data_is_no_download(server, tmp_path):
    server.files["/data.bin"] = b"<!DOCTYPE html><html>please log in</html>"
    with pytest.raises(InputError, match="a web page came instead of data"):
        find(File("data.bin", server.url("data.bin"), None), "set", tmp_path)
    assert not (tmp_path / "set" / "data.bin").exists()


def test_missing_address_and_absent_server_are_one_line(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"not downloaded \(HTTP Error 404.*BAZNAMA_MIRROR"):
        find(File("none.bin", server.url("none.bin"), None), "set", tmp_path)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(InputError, match="not downloaded .*refused"):
        find(File("data.bin", "http://127.0.0.1:9/data.bin", None), "set", tmp_path)
    with pytest.raises(InputError, match="set/data.bin: has no address.*BAZNAMA_MIRROR, which is not set"):
        find(File("data.bin", None, None), "set", tmp_path)


def test_mirror_comes_first_and_is_never_changed(server, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    (mirror / "set").mkdir(parents=True)
    (mirror / "set" / "data.bin").write_bytes(DATA)
    monkeypatch.setenv("BAZNAMA_MIRROR", str(mirror))
    path, _ = find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path / "store")
    assert path == mirror / "set" / "data.bin" and server.seen == []
    (mirror / "set" / "data.bin").write_bytes(b"<html>")
    with pytest.raises(InputError, match="a web page instead of data: .*replace the file in the mirror"):
        find(File("data.bin", server.url("data.bin"), SUM), "set", tmp_path / "store")
    assert (mirror / "set" / "data.bin").read_bytes() == b"<html>"


def test_a_mirror_may_have_compressed_the_same_bytes_anew(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    packed = tmp_path / "set" / "a.gz"
    monkeypatch.setenv("BAZNAMA_MIRROR", str(tmp_path))
    file = File("a.gz", None, "0" * 64, hashlib.sha256(b"content").hexdigest())
    packed.write_bytes(gzip.compress(b"content", 1))
    assert find(file, "set")[0] == packed
    for other in (gzip.compress(b"other"), gzip.compress(b"content")[:-5]):
        packed.write_bytes(other)
        with pytest.raises(InputError, match="wrong checksum"):
            find(file, "set")


def test_files_are_fetched_when_asked_for_and_optional_ones_may_be_missing(server, tmp_path):
    public = Public("images", "", "set", "", "", (File("data.bin", server.url("data.bin"), SUM), File("extra", None, None, optional=True),
                                                  File("gone", server.url("gone"), None, optional=True)))
    files = Files(public, tmp_path)
    assert server.seen == [] and len(files) == 3
    assert "extra" not in files and "gone" not in files and files["data.bin"].read_bytes() == DATA
    assert files.sha256 == {"data.bin": SUM}
