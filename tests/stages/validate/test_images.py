"""Planted faults in images and points: which expectation catches each, and that the array's rows follow their table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from stages.validate import suite

SMALL = {"min_rows": 10}


def pixels(n=30, side=4):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 1), dtype=np.uint8)


def table(images, **columns):
    flat = images.reshape(len(images), -1).astype(np.float64)
    n = len(images)
    return pl.DataFrame({
        "image_id": [f"i{i}" for i in range(n)], "split": pl.Series([None] * n, dtype=pl.String), "label": ["ab"[i % 2] for i in range(n)],
        "domain": pl.Series([None] * n, dtype=pl.String), "group": pl.Series([None] * n, dtype=pl.String),
        "height": pl.Series([images.shape[1]] * n, dtype=pl.Int32), "width": pl.Series([images.shape[2]] * n, dtype=pl.Int32),
        "mean": flat.mean(1), "std": flat.std(1), "minimum": flat.min(1), "maximum": flat.max(1)}).with_columns(**columns)


def put(frame, row, **cells):
    for column, value in cells.items():
        values = frame[column].to_list()
        values[row] = value
        frame = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))
    return frame


def test_clean_images_pass(held):
    done = held("images", "images", {"images": table(pixels())}, {"images": pixels()}, **SMALL)
    assert not done.failed and done.quarantine.is_empty() and (done.array("images") == pixels()).all()


ROWS = [
    ("image_id_present", {"image_id": None}),
    ("no_blank_text", {"image_id": " "}),
    ("id_once", {"image_id": "i0"}),
    ("known_split", {"split": "dev"}),
    ("height_present", {"height": None}),
    ("height_in_range", {"height": 1}),
    ("width_in_range", {"width": 5}),
    ("no_replacement_characters", {"label": "\ufffd"}),
    ("table_describes_array", {"mean": 3.0}),
]


@pytest.fixture(scope="module")
def faulty(held):
    """Every fault of ROWS, from row 1 on."""
    frame = table(pixels())
    for i, (_, cells) in enumerate(ROWS):
        frame = put(frame, i + 1, **cells)
    return held("images", "images", {"images": frame}, {"images": pixels()}, **SMALL, max_quarantine_share=0.5)


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[e for e, _ in ROWS])
def test_a_faulty_row_goes_to_quarantine(faulty, i):
    assert faulty.set_aside(ROWS[i][0]) == [i + 1]


def test_images_leave_with_their_rows(faulty):
    kept = np.delete(pixels(), range(1, 10), axis=0)
    assert not faulty.failed and (faulty.array("images") == kept).all() and faulty.array("images").dtype == np.uint8
    assert faulty.clean("images")["image_id"].to_list() == ["i0", *(f"i{i}" for i in range(10, 30))]


def test_rows_follow_their_table_across_chunks(held, monkeypatch):
    monkeypatch.setattr(suite, "CHUNK", 100)  # 6 images a chunk, one at a time when measured
    done = held("images", "images", {"images": put(put(table(pixels()), 3, height=1), 17, height=1)}, {"images": pixels()}, **SMALL)
    assert done.quarantine["row"].to_list() == [3, 17] and (done.array("images") == np.delete(pixels(), [3, 17], axis=0)).all()


def test_a_table_in_another_order_than_the_array_is_caught(held):
    done = held("images", "images", {"images": table(pixels()[::-1])}, {"images": pixels()}, **SMALL)
    assert "few_rows_quarantined" in done.failed and done.result("table_describes_array").unexpected == 30


def test_factors_must_be_finite(held):
    frame = table(pixels(), factor_scale=pl.Series([1.0] * 29 + [float("inf")]))
    assert held("images", "images", {"images": frame}, {"images": pixels()}, **SMALL).set_aside("finite_numbers") == [29]


@pytest.mark.parametrize(("array", "expectation"), [
    (pixels().astype(np.float32), "array_type"),
    (pixels()[..., 0], "array_type"),
    (pixels(31), "row_for_row"),
])
def test_an_array_of_another_make_stops_before_anything_is_measured(held, array, expectation):
    done = held("images", "images", {"images": table(pixels())}, {"images": array}, **SMALL)
    assert done.failed == [expectation] and [r.check.name for r in done.outcome.results][-1] == "row_for_row"


def test_an_image_in_two_splits_leaves_training(held):
    images = pixels()
    images[2] = images[28]
    frame = table(images, split=pl.Series(["train"] * 20 + ["test"] * 10))
    done = held("images", "images", {"images": frame}, {"images": images}, **SMALL)
    assert done.set_aside("image_in_one_split") == [2]


def test_a_group_in_two_splits_leaves_training(held):
    frame = put(put(table(pixels(), split=pl.Series(["train"] * 20 + ["test"] * 10)), 4, group="writer"), 25, group="writer")
    assert held("images", "images", {"images": frame}, {"images": pixels()}, **SMALL).set_aside("group_in_one_split") == [4]


def test_copies_leave_where_a_hash_splits(held):
    images = pixels()
    images[9] = images[1]
    assert held("images", "images", {"images": table(images)}, {"images": images}, **SMALL).set_aside("no_copy_before_hash_split") == [9]


def test_an_unsplit_copy_of_a_published_image_leaves_though_it_comes_first(held):
    images = pixels()
    images[2] = images[28]
    frame = table(images, split=pl.Series([None] * 10 + ["train"] * 10 + ["test"] * 10))
    assert held("images", "images", {"images": frame}, {"images": images}, **SMALL).set_aside("no_copy_before_hash_split") == [2]


def test_copies_within_a_published_split_are_counted(held):
    images = pixels()
    images[9] = images[1]
    frame = table(images, split=pl.Series(["train"] * 29 + ["valid"]))
    done = held("images", "images", {"images": frame}, {"images": images}, **SMALL)
    assert not done.failed and done.quarantine.is_empty() and done.result("few_copies").note == "1 of 30 rows repeat an earlier image"


def test_constant_images_fail_beyond_their_share(held):
    images = pixels()
    images[5] = 7
    done = held("images", "images", {"images": table(images)}, {"images": images}, **SMALL)
    assert done.failed == ["few_constant_images"] and done.result("few_constant_images").examples[0]["image_id"] == "i5"


def test_all_equal_images_are_said_with_their_number(held):
    images = np.repeat(pixels(1), 30, axis=0)
    done = held("images", "images", {"images": table(images)}, {"images": images}, **SMALL)
    assert done.failed[0] == "rows_differ" and done.result("rows_differ").note == "all 30 rows are equal"


def test_values_left_between_0_and_1_fail(held):
    images = pixels(30, 8) // 128
    done = held("images", "images", {"images": table(images)}, {"images": images}, **SMALL)
    assert done.failed == ["value_range_used"] and done.result("value_range_used").note == "values are 1 apart"


def test_labels_of_images(held):
    split = pl.Series(["train"] * 20 + ["test"] * 10)
    frame = put(table(pixels(), split=split), 29, label="new")
    assert held("images", "images", {"images": frame}, {"images": pixels()}, **SMALL).failed == ["labels_seen_in_train"]


def test_one_class_only_is_said(held):
    done = held("images", "images", {"images": table(pixels(), label=pl.lit("a"))}, {"images": pixels()}, **SMALL)
    assert not done.failed and done.result("several_classes").note == "one class only, on all 30 labelled rows"


def points_table(n):
    empty = {c: pl.lit(None, pl.Float64) for c in ("mean", "std", "minimum", "maximum")}
    return table(np.zeros((n, 1, 1, 1), np.uint8)).with_columns(height=pl.lit(None, pl.Int32), width=pl.lit(None, pl.Int32), **empty)


def test_points_pass_and_lose_what_is_not_finite(held):
    points = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    points[3, 1] = np.nan
    points[8, 0] = np.inf
    done = held("images", "points", {"images": points_table(30)}, {"points": points}, **SMALL)
    assert not done.failed and done.set_aside("finite_points") == [3, 8]
    assert np.array_equal(done.array("points"), np.delete(points, [3, 8], axis=0))


def test_points_of_three_coordinates_are_refused(held):
    points = np.zeros((30, 3), np.float32)
    assert held("images", "points", {"images": points_table(30)}, {"points": points}, **SMALL).failed == ["array_type"]
