"""The user's own receipts: columns, formats, streaming order, and one line for what cannot be read."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from stages.ingest.receipts import positions

CSV = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,Colour
7,0010,tea,2,2024-01-05 08:00:00,green
8,0011,cup,1,2024-01-05 09:30:00,white
7,0011,cup,3,2024-01-05 08:00:00,blue
9,0011,"cup, large",x,2024-01-06 10:00:00,white
"""
COLUMNS = {"receipt_id": "InvoiceNo", "item_id": "StockCode", "item": "Description", "quantity": "Quantity", "timestamp": "InvoiceDate"}


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text(CSV)
    return path


def test_columns_are_mapped_ids_stay_text_and_positions_count_within_a_receipt(take, shop):
    described, out = take("receipts", "path", shop, columns=COLUMNS, metadata={"colour": "Colour"})
    table = pl.read_parquet(out / "receipts.parquet")
    assert table["receipt_id"].to_list() == ["7", "8", "7", "9"] and table["item_id"].to_list() == ["0010", "0011", "0011", "0011"]
    assert table["position"].to_list() == [0, 0, 1, 0] and table["position"].dtype == pl.Int32
    assert table["timestamp"][1].isoformat() == "2024-01-05T09:30:00"
    assert described["fields"] == ["colour"] and described["rows"] == 4


def test_a_value_that_cannot_be_read_is_null_and_counted(take, shop):
    described, out = take("receipts", "path", shop, columns=COLUMNS)
    table = pl.read_parquet(out / "receipts.parquet")
    assert table["quantity"].to_list() == [2.0, 1.0, 3.0, None]
    assert table["quantity_text"].to_list() == [None, None, None, "x"] and "timestamp_text" not in table.columns
    assert described["unreadable"] == {"quantity": 1}


def test_catalogue_takes_the_most_frequent_value(take, shop):
    _, out = take("receipts", "path", shop, columns=COLUMNS, metadata=["Colour"])
    assert pl.read_parquet(out / "items.parquet").rows() == [("0010", "tea", "green"), ("0011", "cup", "white")]


def test_without_item_or_quantity_the_other_stands_in(take, tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text('receipt_id\titem\n1\t"5 inch" nail\n1\tham\n')
    _, out = take("receipts", "path", path)
    table = pl.read_parquet(out / "receipts.parquet")
    assert table["item_id"].to_list() == table["item"].to_list() == ['"5 inch" nail', "ham"]
    assert table["quantity"].to_list() == [1.0, 1.0] and table["timestamp"].null_count() == 2


def test_parquet_jsonl_gzip_and_other_encodings_give_the_same_rows(take, tmp_path):
    rows = [{"r": i // 2, "item": f"Käse {i}", "quantity": i} for i in range(6)]
    frame = pl.DataFrame(rows)
    frame.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "marked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8-sig")
    with gzip.open(tmp_path / "c.csv.gz", "wt", encoding="utf-8") as file:
        file.write(frame.write_csv())
    (tmp_path / "d.csv").write_bytes(frame.write_csv(separator=";").encode("cp1252"))
    (tmp_path / "e").mkdir()
    frame.head(3).write_csv(tmp_path / "e" / "1.csv")
    frame.tail(3).write_csv(tmp_path / "e" / "2.csv")
    tables = []
    for name in ("a.parquet", "b.jsonl", "marked.jsonl", "c.csv.gz", "d.csv", "e"):
        options = {"separator": ";", "encoding": "cp1252"} if name == "d.csv" else {}
        _, out = take("receipts", "path", tmp_path / name, columns={"receipt_id": "r"}, **options)
        tables.append(pl.read_parquet(out / "receipts.parquet"))
    assert all(t.equals(tables[0]) for t in tables[1:])
    assert tables[0]["position"].to_list() == [0, 1, 0, 1, 0, 1] and tables[0]["item"][1] == "Käse 1"


def test_timestamps_by_format_and_as_seconds(take, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("receipt_id,item,timestamp,seconds\n1,a,05/02/2024 10:00,86400\n1,b,,86400.5\n")
    _, out = take("receipts", "path", path, timestamp_format="%d/%m/%Y %H:%M")
    assert [str(t) for t in pl.read_parquet(out / "receipts.parquet")["timestamp"]] == ["2024-02-05 10:00:00", "None"]
    _, out = take("receipts", "path", path, columns={"timestamp": "seconds"}, timestamp_format="epoch")
    assert str(pl.read_parquet(out / "receipts.parquet")["timestamp"][0]) == "1970-01-02 00:00:00"


def test_positions_against_a_loop():
    keys = np.random.default_rng(0).integers(0, 30, 500)
    seen: dict[int, int] = {}
    expected = []
    for key in keys.tolist():
        expected.append(seen.get(key, 0))
        seen[key] = expected[-1] + 1
    assert positions(keys).tolist() == expected and positions(keys[:0]).tolist() == []


def test_many_row_groups_keep_the_order_of_the_file(take, tmp_path):
    n = 600_000
    frame = pl.DataFrame({"receipt_id": np.arange(n) // 3, "item": np.arange(n) % 101})
    frame.write_csv(tmp_path / "big.csv")
    _, out = take("receipts", "path", tmp_path / "big.csv")
    table = pl.read_parquet(out / "receipts.parquet")
    assert table["receipt_id"].equals(frame["receipt_id"].cast(pl.String)) and table["item"].equals(frame["item"].cast(pl.String))
    assert (table["position"].to_numpy() == np.arange(n) % 3).all()


def test_wrong_column_names_name_the_nearest(refusal, shop):
    line = refusal("receipts", "path", shop, columns={**COLUMNS, "receipt_id": "InvoiceNumber"})
    assert "options.columns.receipt_id" in line and "no column 'InvoiceNumber' (did you mean 'InvoiceNo'?)" in line
    line = refusal("receipts", "path", shop, columns={"reciept_id": "InvoiceNo"})
    assert "unknown column of the table 'reciept_id'" in line and "did you mean 'receipt_id'" in line
    assert "has no column 'receipt_id'" in refusal("receipts", "path", shop)
    assert "has no column 'item'" in refusal("receipts", "path", shop, columns={"receipt_id": "InvoiceNo"})
    line = refusal("receipts", "path", shop, columns=COLUMNS, metadata={"colour": "Color"})
    assert "options.metadata.colour" in line and "did you mean 'Colour'" in line
    assert "another name" in refusal("receipts", "path", shop, columns=COLUMNS, metadata={"item": "Colour"})


def test_all_of_a_column_unreadable_is_an_error_with_an_example(refusal, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("receipt_id,item,timestamp\n1,a,05/02/2024\n1,b,06/02/2024\n")
    line = refusal("receipts", "path", path)
    assert "no timestamp" in line and "'05/02/2024'" in line and "options.timestamp_format" in line


def test_a_line_with_too_many_fields_is_named(refusal, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("receipt_id,item\n1,a\n1,b,c,d\n")
    line = refusal("receipts", "path", path)
    assert f"{path}: line 3 has 4 fields, the first line 2" in line and "options.separator" in line
