"""`python -m stages.validate`: exit codes, the one line, and what is and is not written."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
TEXT = dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String)


def documents(n=40):
    return pl.DataFrame([(f"d{i}", None, f"word{i} سلام", "a", None) for i in range(n)], TEXT, orient="row")


@pytest.fixture
def run(monkeypatch, capsys):
    """(exit code, stderr, stdout) of the stage in this process: one of its own takes seconds to load what it needs."""
    from stages.command import command
    from stages.validate.__main__ import main

    def call(folder, words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["validate", *words])
        code = 0
        try:
            command(main)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, err, out

    return lambda *given, **more: on(call, *given, **more)


def process(folder, words):
    done = subprocess.run([sys.executable, "-m", "stages.validate", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, done.stdout


def on(call, folder, raw, frame, validate=None, dataset="toy", own=None):
    """What `call` says of the stage on `frame`."""
    raw(folder / "data/raw/toy", "documents", {"documents": frame})
    entry = {"domain": "corpora", "source": "path", "name": "toy.csv", "options": {}, "validate": own or {}, "prepare": {}}
    settings = {"split": {"salt": "s", "valid": 0.1, "test": 0.1}, "validate": {"corpora": {"min_vocabulary": 20, **(validate or {})}},
                "datasets": {"toy": entry}, "train": {}, "runs": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    code, err, out = call(folder, [dataset, "--in", "data/raw/toy", "--clean", "data/clean/toy", "--quarantine",
                                   "data/quarantine/toy.parquet", "--report", "reports/validation/toy"])
    assert out.count("\n") <= 1
    return code, err, out


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_good_dataset_ends_quietly_with_its_outputs_and_nothing_else(tmp_path, raw):
    assert on(process, tmp_path, raw, documents()) == (0, "", "")
    assert files(tmp_path) == ["data/clean/toy/documents.parquet", "data/clean/toy/source.json", "data/quarantine/toy.parquet",
                               "data/raw/toy/documents.parquet", "data/raw/toy/source.json", "params.yaml",
                               "reports/validation/toy/index.html", "reports/validation/toy/summary.json"]
    quarantine = pl.read_parquet(tmp_path / "data/quarantine/toy.parquet")
    assert quarantine.columns == ["table", "row", "expectation", "column", "reason", "record"] and quarantine.is_empty()


def test_rows_set_aside_are_one_line_with_their_reasons(tmp_path, raw, run):
    row = pl.int_range(pl.len())
    frame = documents().with_columns(text=pl.when(row < 3).then(None).when(row == 3).then(pl.lit("\ufffd")).otherwise(pl.col("text")))
    assert run(tmp_path, raw, frame) == (0, "", "toy: 4 of 40 rows set aside (missing text 3, no_replacement_characters 1), "
                                                "see data/quarantine/toy.parquet and reports/validation/toy/index.html\n")


def test_a_failed_table_stops_with_one_line_and_leaves_the_page_but_no_clean_data(tmp_path, raw, run):
    (tmp_path / "data/clean/toy").mkdir(parents=True)
    (tmp_path / "data/clean/toy/old").touch()
    frame = documents().with_columns(text=pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("\ufffd")).otherwise(pl.col("text")))
    code, said, aside = run(tmp_path, raw, frame, own={"max_quarantine_share": 0.1})
    assert code == 1 and said.count("\n") == 1
    for part in ("error: toy: ", "few_rows_quarantined failed on documents.text: 10 unexpected", "10 of 40 rows",
                 "; raise datasets.toy.validate.max_quarantine_share (0.1) in params.yaml or mend the data; "
                 "see reports/validation/toy/index.html\n"):
        assert part in said
    assert [f"d{i}" in said for i in range(6)] == [True] * 5 + [False], "five offending rows"
    assert aside.startswith("toy: 10 of 40 rows set aside (")
    assert "reports/validation/toy/index.html" in files(tmp_path) and "data/quarantine/toy.parquet" in files(tmp_path)
    assert not (tmp_path / "data/clean/toy").exists(), "an earlier run's tables must not pass for these"
    assert pl.read_parquet(tmp_path / "data/quarantine/toy.parquet").height == 10


@pytest.mark.parametrize(("given", "line"), [
    ({"validate": {"max_word": 3}}, "params.yaml.validate.corpora.max_word: unknown setting"),
    ({"own": {"min_rows": "many"}}, "params.yaml.datasets.toy.validate.min_rows: expected a whole number"),
    ({"own": {"max_label_share": 2}}, "params.yaml.datasets.toy.validate.max_label_share: 2"),
    ({"dataset": "toi"}, "unknown dataset 'toi'; allowed: toy (did you mean 'toy'?)"),
])
def test_wrong_settings_are_one_line_before_any_work(tmp_path, raw, run, given, line):
    code, said, _ = run(tmp_path, raw, documents(), **given)
    assert code == 2 and said.count("\n") == 1 and line in said
    assert not (tmp_path / "reports").exists() and not (tmp_path / "data/clean").exists()


def test_a_broken_table_is_one_line(tmp_path, raw):
    raw(tmp_path / "broken", "documents", {"documents": documents()})
    from stages.settings import InputError
    from stages.validate.corpora import SUITE
    from stages.validate.suite import read

    path = tmp_path / "broken/documents.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"documents\.parquet: not readable .*; delete it and rerun the ingest stage"):
        read(tmp_path / "broken", SUITE)
    path.unlink()
    with pytest.raises(InputError, match=r"documents\.parquet: no such file; rerun the ingest stage"):
        read(tmp_path / "broken", SUITE)


def test_settings_are_refused_without_loading_great_expectations():
    modules = ", ".join(f"stages.validate.{name}" for name in ("receipts", "corpora", "graphs", "images", "suite", "__main__"))
    code = f"import sys, {modules}\nassert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_every_threshold_of_params_yaml_is_known_and_named():
    from dataclasses import fields

    from stages.settings import configure

    for domain, given in yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["validate"].items():
        thresholds = import_module(f"stages.validate.{domain}").SUITE.thresholds
        configure(thresholds, given, domain)
        assert set(given) == {f.name for f in fields(thresholds)}, f"{domain}: params.yaml shows every threshold there is"


@pytest.mark.parametrize(("domain", "kind", "tables", "arrays"), [
    ("receipts", "receipts", ("receipts", "items"), {}),
    ("corpora", "documents", ("documents",), {}),
    ("corpora", "counts", ("counts",), {}),
    ("graphs", "graph", ("edges", "nodes"), {}),
    ("graphs", "triples", ("triples",), {}),
    ("images", "images", ("images",), {"images": np.zeros((0, 4, 4, 1), np.uint8)}),
])
def test_a_dataset_without_rows_fails_on_its_rows_and_breaks_nothing(held, domain, kind, tables, arrays):
    kinds = import_module(f"stages.validate.{domain}").SUITE.kinds[kind]
    done = held(domain, kind, {name: pl.DataFrame(schema=kinds[name]) for name in tables}, arrays)
    assert "enough_rows" in done.failed and not done.summary["success"]
    thresholds = done.outcome.thresholds
    deciding = [r.check for r in done.outcome.results if r.check.level == "table" and (r.check.arguments or {}).get("mostly") != 0]
    facts = {"columns_and_types", "array_type", "row_for_row", "rows_differ"}  # no threshold mends these
    assert not [c.name for c in deciding if c.name not in facts and not hasattr(thresholds, c.setting or "none")]
    assert not [r.note for r in done.outcome.results if r.note.startswith("could not be judged")]
