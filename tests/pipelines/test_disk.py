"""What counts as a full disk."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from pipelines.disk import full_is_one_error


def nested():
    try:
        raise OSError(errno.EDQUOT, "quota", "dvc.lock")
    except OSError:
        raise ValueError("cannot write") from None


@pytest.mark.parametrize(("broken", "file"), [
    (nested, "dvc.lock"),
    (lambda: sqlite3.connect(":memory:").execute("select raise_it"), None),
])
def test_an_error_that_came_from_a_full_disk_says_so_and_others_pass(broken, file):
    with pytest.raises(OSError if file else sqlite3.OperationalError) as caught, full_is_one_error():
        broken()
    assert not file or (caught.value.errno, caught.value.filename) == (errno.ENOSPC, file)


def test_sqlite_and_the_servers_log_have_words_alone(tmp_path):
    with pytest.raises(OSError, match="No space left"), full_is_one_error():
        raise RuntimeError from sqlite3.OperationalError("database or disk is full")
    log = tmp_path / "server.log"
    log.write_text("INFO started\n")
    with pytest.raises(KeyError), full_is_one_error(log):
        raise KeyError("500 from the server")
    log.write_text("INFO started\nOSError: [Errno 28] No space left on device\n")
    with pytest.raises(OSError) as caught, full_is_one_error(log):
        raise KeyError("500 from the server")
    assert caught.value.filename == str(log)
