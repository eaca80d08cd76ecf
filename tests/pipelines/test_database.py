"""The empty database of Prefect's server, made once for an environment."""

from __future__ import annotations

import sqlite3

import pytest

from pipelines import database


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """A place to keep, and two workspaces, in the first of which Prefect has made a database that a server still has open."""
    monkeypatch.setattr(database, "kept", lambda: tmp_path / "environment" / "prefect-1")
    first, second = tmp_path / "first", tmp_path / "second"
    for home in (first, second):
        home.mkdir()
    opened = sqlite3.connect(first / "prefect.db")
    opened.execute("pragma journal_mode=wal")
    opened.execute("create table block (name)")
    opened.execute("insert into block values ('x')")
    opened.commit()
    (first / "memo_store.toml").write_text("x = 1")
    yield first, second
    opened.close()


def rows(home):
    return sqlite3.connect(home / "prefect.db").execute("select * from block").fetchall()


def test_it_is_kept_and_laid_where_there_is_none(homes):
    first, second = homes
    assert database.lay(second) is True and not (second / "prefect.db").exists()
    database.keep(first)
    assert database.lay(second) is False and rows(second) == [("x",)] and (second / "memo_store.toml").read_text() == "x = 1"
    sqlite3.connect(second / "prefect.db").execute("drop table block")
    assert database.lay(second) is False  # its own is never replaced
    with pytest.raises(sqlite3.OperationalError):
        rows(second)


def test_a_damaged_one_is_made_anew_and_one_that_cannot_be_kept_is_not(homes, monkeypatch):
    first, second = homes
    database.keep(first)
    (database.kept() / "prefect.db").write_bytes(b"no database" * 100)
    assert database.lay(second) is True and list(second.iterdir()) == []
    (first.parent / "file").write_text("")
    monkeypatch.setattr(database, "kept", lambda: first.parent / "file" / "prefect-1")
    database.keep(first)
    assert database.lay(second) is True
