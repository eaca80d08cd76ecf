"""docs/data.md: every example is tried as it stands there, and no source is missing from its tables."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.ingest.builtin import BUILTIN
from stages.ingest.public_files import PUBLIC
from stages.ingest.sources import ingest
from stages.params import Dataset
from stages.settings import configure

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)
ENTRIES = {name: entry for kind, text in BLOCK.findall(TEXT) if kind == "yaml" for name, entry in yaml.safe_load(text).items()}
# the files shown, in the order of the page
NAMES = ["my/sales.csv", "my/baskets.jsonl", "my/reviews.tsv", "my/letters/anna/1.txt", "my/pairs.tsv", "my/questions.csv",
         "my/friends.txt", "my/people.csv", "my/facts.tsv", "my/calls.csv"]
ROWS = {"my-sales": 3, "my-baskets": 3, "my-reviews": 2, "my-letters": 1, "my-pairs": 2, "my-questions": 2, "my-friends": 2, "my-people": 2,
        "my-facts": 2, "my-pictures": 2, "my-arrays": 3, "my-idx": 3, "my-photos-x4": 5, "my-sides": 2, "my-piles": 2}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = [text for kind, text in BLOCK.findall(TEXT) if kind != "yaml"]
    assert len(shown) == len(NAMES) and all(f"`{name}`" in TEXT for name in NAMES)
    for name, text in zip(NAMES, shown, strict=True):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    for name, size in (("cat/1.png", (3, 4)), ("dog/2.png", (5, 4))):
        (Path("my/pictures") / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(Path("my/pictures") / name)
    sizes = {"photos/1.png": (32, 33), "photos/2.png": (16, 16), "sides/before/1.png": (4, 4), "sides/after/1.jpg": (4, 4)}
    for name, size in sizes.items():
        (Path("my") / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(Path("my") / name)
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    np.savez("my/images.npz", x=images / 11, y=np.arange(3))
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(3, dtype=np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        Path(f"my/{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


@pytest.mark.parametrize("name", sorted(ROWS))
def test_example_works_as_it_is_written(folder, name):
    described = ingest(name, configure(Dataset, ENTRIES[name], name), Path("raw") / name)
    assert described["rows"] == ROWS[name] and "unreadable" not in described


def test_every_example_is_tried():
    assert set(ROWS) == {name for name, entry in ENTRIES.items() if entry["source"] == "path"}
    assert all(entry["name"] in PUBLIC for entry in ENTRIES.values() if entry["source"] == "public")


def test_tables_name_every_source_with_licence_and_address():
    for name in BUILTIN:
        assert f"`{name}`" in TEXT
    for name, known in PUBLIC.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` | {known.domain} |"))
        assert known.licence in row and f"<{known.address}>" in row


def test_every_threshold_and_prepare_setting_stands_in_its_table_with_its_default():
    from dataclasses import fields
    from importlib import import_module

    from stages.prepare.__main__ import SETTINGS

    rows = {tuple(cells[1:3]): cells[1:-1] for line in TEXT.splitlines() if len(cells := [c.strip() for c in line.split("|")]) > 5}
    validate = yaml.safe_load((Path(__file__).resolve().parents[3] / "params.yaml").read_text(encoding="utf-8"))["validate"]
    thresholds = {row[0]: row for row in rows.values() if len(row) == 6}
    for i, (domain, given) in enumerate(validate.items(), 1):
        for f in fields(import_module(f"stages.validate.{domain}").SUITE.thresholds):
            assert float(thresholds[f"`{f.name}`"][i]) == given.get(f.name, f.default), f"{domain}: {f.name}"
    for kind, settings in SETTINGS.items():
        of_kind = {row[1]: row[2] for row in rows.values() if len(row) == 4 and kind in row[0].split(", ")}
        assert set(of_kind) == {f"`{f.name}`" for f in fields(settings)}, kind
