"""Small built-in sources by what is known of them, and that the same input gives the same bytes."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.ingest.builtin import BUILTIN
from stages.ingest.raw import SCHEMAS

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"simulated_shop": {"receipts": 60, "customers": 7}, "dates": {"pairs": 300}, "ring": {"points": 200}, "grid": {"points": 200},
         "adding": {"series": 30}, "copying": {"pairs": 40}, "seasons": {"series": 30}, "python_tokens": {"every": 2},
         "pydoc_questions": {"candidates": 2},
         "photo_patches": {"block": 128, "stride": 64}, "photographs": {"block": 128, "stride": 64}, "shapes": {"positions": 2},
         "stdlib_calls": {"smallest": 3}, "stdlib_knowledge": {"core": 2, "one_to_one": 5}}
ALL = """
import sys
from pathlib import Path
from stages.ingest import sources, standard_library
from stages.ingest.builtin import BUILTIN
from stages.params import Dataset
standard_library.root = lambda: Path(sys.argv[1])
for name, known in BUILTIN.items():
    sources.ingest(name, Dataset(known.domain, "builtin", name, SMALL.get(name, {}), {}, {}), Path(sys.argv[2]) / name)
"""


@pytest.fixture
def library(tmp_path):
    """A small part of the real standard library."""
    real, copy = Path(sysconfig.get_path("stdlib")), tmp_path / "library"
    for package in ("json", "logging", "pydoc_data"):
        shutil.copytree(real / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "test*"))
    for module in ("argparse", "csv", "queue", "heapq", "io", "abc", "string", "textwrap", "urllib/parse"):
        (copy / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / f"{module}.py", copy / f"{module}.py")
    return copy


def test_two_runs_give_the_same_bytes_whatever_the_hash_seed(tmp_path, library):
    sums = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": seed}
        code = ALL.replace("SMALL", repr(SMALL))
        subprocess.run([sys.executable, "-c", code, library, tmp_path / seed], check=True, cwd=ROOT, env=environment)
        files = sorted(p for p in (tmp_path / seed).rglob("*") if p.is_file())
        sums.append({p.relative_to(tmp_path / seed).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert {name.split("/")[0] for name in sums[0]} == set(BUILTIN)
    assert [name for name in sums[0] if sums[0][name] != sums[1].get(name)] == []


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_unknown_option_is_refused(name, refusal):
    line = refusal(BUILTIN[name].domain, "builtin", name, typo=1)
    assert "options.typo" in line and "unknown setting" in line


def test_written_columns_are_those_of_the_schema(take):
    _, out = take("receipts", "builtin", "simulated_shop", **SMALL["simulated_shop"])
    schema = pl.read_parquet(out / "receipts.parquet").schema
    assert dict(list(schema.items())[:6]) == SCHEMAS["receipts"]["receipts"]
    assert list(schema)[6:] == ["category", "brand", "department"]


def test_digits_are_scaled_from_16_to_255(take):
    described, out = take("images", "builtin", "digits")
    images, table = np.load(out / "images.npy"), pl.read_parquet(out / "images.parquet")
    assert images.shape == (1797, 8, 8, 1) and images.dtype == np.uint8
    assert sorted(np.unique(images)) == [round(v * 255 / 16) for v in range(17)]
    assert described["kind"] == "images" and described["rows"] == 1797
    assert table["label"].head(3).to_list() == ["0", "1", "2"]
    assert table["mean"][5] == pytest.approx(images[5].mean()) and table["std"][5] == pytest.approx(images[5].std())


def test_small_graphs_have_their_known_sizes(take):
    for name, nodes, edges, labels in (("karate", 34, 78, 2), ("les_miserables", 77, 254, 0)):
        described, out = take("graphs", "builtin", name)
        assert described["tables"] == {"edges": edges, "nodes": nodes}
        assert pl.read_parquet(out / "nodes.parquet")["label"].drop_nulls().n_unique() == labels


def test_every_digit_has_its_nearest_neighbours(take):
    _, out = take("graphs", "builtin", "digits_neighbours", neighbours=3)
    edges = pl.read_parquet(out / "edges.parquet")
    degree = pl.concat([edges["source"], edges["target"]]).value_counts()
    assert degree.height == 1797 and degree["count"].min() >= 3
    assert (edges["source"] < edges["target"]).all() and not edges.is_duplicated().any()
    label = dict(pl.read_parquet(out / "nodes.parquet").iter_rows())
    assert sum(label[a] == label[b] for a, b in zip(edges["source"], edges["target"], strict=True)) / edges.height > 0.95


def test_dates_have_one_right_answer_and_stay_together_in_a_group(take):
    _, out = take("corpora", "builtin", "dates", pairs=4000, first_year=1999, last_year=2001)
    table = pl.read_parquet(out / "pairs.parquet")
    assert table.height == table["source"].n_unique() == 4000
    assert table["group"].equals(table["target"].rename("group"))
    moments = [date.fromisoformat(m) for target in table["target"] for m in target.split(" ; ")]
    assert min(moments) == date(1999, 1, 1) and max(moments) == date(2001, 12, 31)
    assert 0.4 < table["target"].str.contains(";").mean() < 0.6
    assert "2. april 1999" in table["source"].to_list() or any("april" in s for s in table["source"])


def test_a_patch_never_crosses_the_border_of_its_block(take):
    _, out = take("images", "builtin", "photo_patches", size=32, stride=16, block=64)
    table, images = pl.read_parquet(out / "images.parquet"), np.load(out / "images.npy")
    assert set(table["domain"]) == {"china", "flower"} and images.shape == (2 * 6 * 10 * 9, 32, 32, 3)
    for image_id, group in table.select("image_id", "group").rows():
        name, y, x = image_id.split("-")
        assert group == f"{name}-{int(y) // 64 * 64:04d}-{int(x) // 64 * 64:04d}" and int(y) % 64 <= 32


def test_shapes_hold_every_combination_once_and_factors_explain_the_pixels(take):
    described, out = take("images", "builtin", "shapes", size=16, scales=2, orientations=3, positions=4)
    images, table = np.load(out / "images.npy"), pl.read_parquet(out / "images.parquet")
    assert len(images) == 3 * 2 * 3 * 4 * 4 == len(np.unique(images.reshape(len(images), -1), axis=0))
    mass = images[..., 0].astype(float)
    x = (mass.sum(1) * (np.arange(16) + 0.5)).sum(1) / mass.sum((1, 2)) / 16
    place = np.array(described["truth"]["x"])[table["factor_x"].to_numpy().astype(int)]
    round_ones = (table["label"] != "triangle").to_numpy()  # a triangle's centre of mass is not the centre it turns about
    assert np.abs(x - place)[round_ones].max() < 0.02
    area = [mass[(table["factor_scale"] == s).to_numpy()].sum() for s in (0, 1)]
    assert area[1] / area[0] == pytest.approx(4, rel=0.15)


def test_mixtures_lie_around_their_modes(take):
    for name, modes in (("ring", 8), ("grid", 25)):
        described, out = take("images", "builtin", name, points=2000)
        points, label = np.load(out / "points.npy"), pl.read_parquet(out / "images.parquet")["label"].cast(pl.Int64).to_numpy()
        centres = np.array(described["truth"]["modes"])
        assert points.dtype == np.float32 and len(centres) == modes == len(np.unique(label))
        assert (points - centres[label]).std() == pytest.approx(described["truth"]["sigma"], rel=0.05)


def test_the_copy_problem_asks_for_what_was_shown(take):
    _, out = take("corpora", "builtin", "copying", pairs=30, length=3, lag=4)
    table = pl.read_parquet(out / "pairs.parquet")
    for source, target in table.select("source", "target").iter_rows():
        s, t = source.split(), target.split()
        assert s[3:] == ["_"] * 4 + ["?"] + ["_"] * 3 and t == ["_"] * 8 + s[:3] and "_" not in s[:3]
    assert table["source"].n_unique() == len(table)


def test_a_sum_hides_in_two_marked_numbers_and_a_season_repeats(take):
    source, out = take("images", "builtin", "adding", series=40, length=10)
    series, table = np.load(out / "series.npy"), pl.read_parquet(out / "images.parquet")
    assert series.shape == (40, 10, 2) and (series[..., 1].sum(1) == 2).all() and (series[:, :5, 1].sum(1) == 1).all()
    assert np.allclose(table["factor_sum"].to_numpy(), (series[..., 0] * series[..., 1]).sum(1), atol=1e-6)
    source, out = take("images", "builtin", "seasons", series=50, length=49, noise=0.0, period=12)
    assert source["truth"] == {"period": 12}
    series, table = np.load(out / "series.npy")[..., 0], pl.read_parquet(out / "images.parquet")
    other = table["factor_period"].to_numpy()
    straight = series[:, 24:] - 2 * series[:, 12:-12] + series[:, :-24]  # the season of 12 and the trend are gone
    t = np.arange(straight.shape[1])
    left = []
    for row, period in zip(straight, other, strict=True):
        basis = np.stack([np.sin(2 * np.pi * t / period), np.cos(2 * np.pi * t / period)], 1)
        left.append(np.abs(row - basis @ np.linalg.lstsq(basis, row, rcond=None)[0]).max())
    assert max(left) < 1e-4


def test_photographs_are_whole_in_one_split(take):
    _, out = take("images", "builtin", "photographs", size=64, stride=64, block=64)
    table = pl.read_parquet(out / "images.parquet")
    split = dict(table.select("group", "split").unique().rows())
    assert split == {"astronaut": "train", "china": "train", "flower": "train", "rocket": "valid", "chelsea": "test", "coffee": "test"}
    assert (table["group"] == table["domain"]).all() and len(table) == 326 and table["image_id"].n_unique() == 326


def test_patches_are_kept_together_by_block_or_by_photograph(take):
    blocks, photographs = (pl.read_parquet(take("images", "builtin", "photo_patches", size=64, stride=64, block=64, **options)[1]
                                           / "images.parquet")["group"].n_unique() for options in ({}, {"split_by": "photograph"}))
    assert blocks == 120 and photographs == 2
