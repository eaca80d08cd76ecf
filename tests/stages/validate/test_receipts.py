"""Planted faults in receipts: which expectation catches each, and where the row goes."""

from __future__ import annotations

import datetime
import json

import polars as pl
import pytest

SMALL = {"min_rows": 10, "min_receipts": 5, "min_items": 3}


def lines(receipts=20, per_receipt=3, items=10):
    """Clean lines: receipt r holds items r, r+1, ... (mod items)."""
    rows = [(f"r{r:03d}", p, f"i{(r + p) % items}", f"item {(r + p) % items}", 1.0, datetime.datetime(2024, 1, 1 + r % 28), "soap")
            for r in range(receipts) for p in range(per_receipt)]
    return pl.DataFrame(rows, orient="row", schema={
        "receipt_id": pl.String, "position": pl.Int32, "item_id": pl.String, "item": pl.String, "quantity": pl.Float64,
        "timestamp": pl.Datetime("us"), "category": pl.String})


def described(items=10):
    return pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "item": [f"item {i}" for i in range(items)], "brand": ["b"] * items})


def put(frame, column, row, value):
    """`frame` with one cell replaced."""
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def test_clean_receipts_pass_and_come_out_as_they_went_in(held):
    done = held("receipts", "receipts", {"receipts": lines(), "items": described()}, **SMALL)
    assert not done.failed and done.quarantine.is_empty()
    assert done.summary["success"] and done.summary["rows"] == 70 and done.summary["quarantined"] == 0
    assert done.clean("receipts").equals(lines()) and done.clean("items").equals(described())


def test_what_could_not_be_read_stands_in_the_record(held):
    table = put(lines(), "quantity", 7, None).with_columns(quantity_text=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("many")))
    done = held("receipts", "receipts", {"receipts": table}, **SMALL)
    assert done.set_aside("quantity_present") == [7] and json.loads(done.quarantine["record"][0])["quantity_text"] == "many"
    assert not done.failed, "the column of texts may be null everywhere else"


CELLS = [
    ("receipt_id_present", "receipt_id", None),
    ("position_present", "position", None),
    ("item_id_present", "item_id", None),
    ("item_present", "item", None),
    ("quantity_present", "quantity", None),
    ("quantity_in_range", "quantity", 0.0),
    ("quantity_in_range", "quantity", -2.0),
    ("quantity_in_range", "quantity", 1e9),
    ("finite_numbers", "quantity", float("nan")),
    ("finite_numbers", "quantity", float("inf")),
    ("position_in_range", "position", -1),
    ("no_blank_text", "item", "  "),
    ("no_replacement_characters", "item", "caf\ufffd"),
    ("no_control_characters", "category", "so\x00ap"),
    ("no_control_characters", "item", "so\x1bap"),
    ("line_once", "position", 0),
]


@pytest.fixture(scope="module")
def faulty(held):
    """Every fault of CELLS, each in the second line of its own receipt."""
    frame = lines()
    for i, (_, column, value) in enumerate(CELLS):
        frame = put(frame, column, 3 * i + 1, value)
    return held("receipts", "receipts", {"receipts": frame}, **SMALL, max_quarantine_share=0.5)


@pytest.mark.parametrize("i", range(len(CELLS)), ids=[f"{e}-{v!r}" for e, _, v in CELLS])
def test_a_faulty_cell_sends_its_row_to_quarantine(faulty, i):
    expectation, column, _ = CELLS[i]
    entry = faulty.quarantine.row(by_predicate=pl.col("row") == 3 * i + 1, named=True)
    assert entry["expectation"] == expectation and entry["table"] == "receipts"
    assert column in entry["column"] and f"{entry['column']}: expected " in entry["reason"]
    record = json.loads(entry["record"])
    assert set(record) == set(lines().columns) and record["timestamp"] == f"2024-01-{i + 1:02d} 00:00:00"
    assert not faulty.result(expectation).success and 3 * i + 1 in faulty.result(expectation).rows


def test_nothing_but_the_faulty_cells_left(faulty):
    assert not faulty.failed and faulty.quarantine.height == len(CELLS)
    assert faulty.clean("receipts").height == 60 - len(CELLS)


def test_every_row_is_either_clean_or_in_quarantine(held):
    frame = put(put(put(lines(), "quantity", 3, -1.0), "item", 3, None), "item", 50, "\x07")
    done = held("receipts", "receipts", {"receipts": frame}, **SMALL)
    assert done.quarantine["row"].to_list() == [3, 50]
    first = done.quarantine.row(0, named=True)
    assert first["expectation"] == "item_present" and "quantity: expected above 0" in first["reason"], "one row, every reason"
    kept = frame.with_row_index().filter(~pl.col("index").is_in([3, 50])).drop("index")
    assert done.clean("receipts").equals(kept)
    assert done.summary["quarantined"] == 2 and done.summary["rows"] == 60


def test_too_many_rows_in_quarantine_stop_the_pipeline(held):
    frame = lines().with_columns(pl.when(pl.col("receipt_id") < "r005").then(-1.0).otherwise(pl.col("quantity")).alias("quantity"))
    done = held("receipts", "receipts", {"receipts": frame}, **SMALL)
    assert done.failed == ["few_rows_quarantined"]
    result = done.result("few_rows_quarantined")
    assert result.unexpected == 15 and result.check.column == "quantity"
    assert "15 of 60 rows" in result.note and len(result.examples) == 5 and result.examples[0]["quantity"] == -1.0


def test_the_cause_is_named_before_its_consequences(held):
    done = held("receipts", "receipts", {"receipts": lines().with_columns(quantity=pl.lit(-1.0))}, **SMALL)
    assert done.failed[0] == "few_rows_quarantined" and {"enough_rows", "enough_receipts", "enough_items"} <= set(done.failed)


@pytest.mark.parametrize(("change", "column", "found"), [
    (lambda f: f.drop("item_id"), "item_id", "missing"),
    (lambda f: f.with_columns(pl.col("quantity").cast(pl.Int64)), "quantity", "Int64"),
    (lambda f: f.with_columns(pl.lit(1.5).alias("category")), "category", "Float64"),
])
def test_a_wrong_schema_stops_before_anything_else_is_judged(held, change, column, found):
    done = held("receipts", "receipts", {"receipts": change(lines())}, **SMALL)
    assert done.failed == ["columns_and_types"] and len(done.outcome.results) == 1
    result = done.result("columns_and_types")
    assert result.check.column == column and result.examples[0]["found"] == found


def test_metadata_of_an_item_nobody_bought_is_set_aside(held):
    done = held("receipts", "receipts", {"receipts": lines(), "items": described(11)}, **SMALL)
    assert not done.failed and done.set_aside("metadata_names_sold_item", "items") == [10]


def test_a_row_that_leaves_takes_the_metadata_of_its_item_along(held):
    frame = put(put(lines(), "item_id", 0, "rare"), "quantity", 0, -1.0)
    items = pl.concat([described(), pl.DataFrame({"item_id": ["rare"], "item": ["rare"], "brand": ["b"]})])
    done = held("receipts", "receipts", {"receipts": frame, "items": items}, **SMALL)
    assert done.set_aside("metadata_names_sold_item") == [10], "later passes see only what is left"


def test_mostly_unsold_metadata_fails(held):
    done = held("receipts", "receipts", {"receipts": lines(), "items": described(40)}, **SMALL)
    assert done.failed == ["few_rows_quarantined"] and not done.result("few_rows_quarantined", "items").success


def test_sold_items_without_metadata_fail(held):
    done = held("receipts", "receipts", {"receipts": lines(), "items": described(7)}, **SMALL)
    assert done.failed == ["sold_item_has_metadata"] and done.result("sold_item_has_metadata").unexpected == 3


def test_an_item_described_twice_keeps_its_first_row(held):
    done = held("receipts", "receipts", {"receipts": lines(), "items": pl.concat([described(), described(1)])}, **SMALL)
    assert not done.failed and done.set_aside("item_once") == [10]


def test_a_receipt_in_two_published_splits_leaves_the_one_nearer_to_training(held):
    splits = ["test" if r >= 18 else "train" for r in range(20) for _ in range(3)]
    splits[0] = "test"  # a line of receipt 0, whose others are in train
    done = held("receipts", "receipts", {"receipts": lines().with_columns(split=pl.Series(splits))}, **SMALL)
    assert done.set_aside("receipt_in_one_split") == [1, 2] and "r000" in done.clean("receipts")["receipt_id"].to_list()


def test_receipts_of_one_item_are_counted_and_go_on(held):
    frame = pl.concat([lines(), lines(30, 1).with_columns(pl.format("single{}", "receipt_id").alias("receipt_id"))])
    done = held("receipts", "receipts", {"receipts": frame}, **SMALL)
    result = done.result("several_items_a_receipt")
    assert not done.failed and result.success and result.note == "30 of 50 receipts hold one item"
    assert result.note in done.page


def test_nothing_but_receipts_of_one_item_fails(held):
    done = held("receipts", "receipts", {"receipts": lines(40, 1)}, **SMALL)
    assert done.failed == ["several_items_a_receipt"]


@pytest.mark.parametrize(("expectation", "given"), [
    ("enough_rows", {"min_rows": 61}), ("enough_receipts", {"min_receipts": 21}), ("enough_items", {"min_items": 11})])
def test_too_little_data_fails(held, expectation, given):
    assert held("receipts", "receipts", {"receipts": lines()}, **{**SMALL, **given}).failed == [expectation]


def test_repeated_lines_fail_beyond_their_share(held):
    again = lines().with_columns(pl.col("position") + 3)
    done = held("receipts", "receipts", {"receipts": pl.concat([lines(), again.head(30)])}, **SMALL)
    assert done.failed == ["few_repeated_lines"] and done.result("few_repeated_lines").unexpected == 30


def test_missing_metadata_fails_beyond_its_share_and_is_counted_below(held):
    frame = lines().with_columns(pl.when(pl.col("position") == 0).then(None).otherwise(pl.col("category")).alias("category"))
    assert held("receipts", "receipts", {"receipts": frame}, **SMALL).failed == ["category_mostly_present"]


def test_an_id_used_for_two_receipts_and_an_item_of_two_names_are_counted(held):
    frame = put(put(lines(), "timestamp", 0, datetime.datetime(2023, 1, 1)), "item", 0, "another name")
    done = held("receipts", "receipts", {"receipts": frame}, **SMALL)
    assert not done.failed
    assert done.result("one_time_a_receipt").unexpected == 1 and done.result("one_name_an_item").unexpected == 1
