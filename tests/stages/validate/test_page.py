"""The page: nothing asked of the net, text of the data escaped, the same bytes for the same data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from stages.validate.engine import as_json
from stages.validate.page import failure_line

TEXT = dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String)
HOSTILE = '<script>alert("x")</script><img src=https://example.org/x.png>\ufffd'
SMALL = {"min_rows": 10, "min_vocabulary": 20}


def documents(label="سلام"):
    return pl.DataFrame([(f"d{i}", None, HOSTILE if i == 5 else f"word{i}", label, None) for i in range(40)], TEXT, orient="row")


@pytest.fixture(scope="module")
def done(held):
    """One row set aside, one class only, and a label share that fails nothing."""
    return held("corpora", "documents", {"documents": documents()}, **SMALL)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_asks_nothing_of_the_net(done):
    tags = Tags(done.page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [a for _, attributes in tags for a in attributes if a in ("src", "href", "action", "srcset", "poster", "background")]
    style = "".join(re.findall(r"<style>(.*?)</style>", done.page, re.S))
    assert "url(" not in style and "@import" not in style


def test_text_from_data_is_escaped_and_keeps_its_direction(done):
    assert "<script" not in done.page and "&lt;script&gt;" in done.page
    page = Tags(done.page)
    assert any(HOSTILE in text for text in page.text), "shown as it is written"
    assert [a for tag, a in page.tags if tag == "td" and a.get("dir") == "auto"]


def test_the_page_has_a_title_a_language_and_a_width(done):
    tags = dict(Tags(done.page).tags)
    assert tags["html"]["lang"] == "en" and tags["meta"]["name"] == "viewport" and "toy: data validation" in done.page
    assert "<title>toy: data validation</title>" in done.page


def test_the_page_says_what_was_set_aside_noted_and_held(done):
    assert "Every table-level expectation holds" in done.page and "one class only, on all 39 labelled rows" in done.page
    assert '<span class="state set aside">' in done.page and '<span class="state noted">' in done.page and "What holds" in done.page


def test_two_labels_are_not_called_one(held):
    two = documents().with_columns(label=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b")))
    found = held("corpora", "documents", {"documents": two}, **SMALL)
    result = found.result("several_classes")
    assert (result.success, result.unexpected, result.note) == (True, 0, "") and "one class only" not in found.page


def test_the_line_of_a_failure_is_short_and_names_the_setting_that_mends_it(held):
    trains = pl.int_range(pl.len()) < 30
    same = documents().with_columns(text=pl.when(trains).then(pl.lit("same words " + "again and " * 50)).otherwise(pl.col("text")),
                                    split=pl.when(trains).then(pl.lit("train")).otherwise(pl.lit("valid")))
    failed = held("corpora", "documents", {"documents": same}, **SMALL)
    line = failure_line("toy", failed.outcome, "page.html", {"min_vocabulary": ("validate.corpora", "p")})
    assert line.startswith("toy: expectation enough_words failed on documents.text: 1 unexpected, expected at least 20 different words (")
    assert line.endswith("; also: few_copies; lower validate.corpora.min_vocabulary (20) in p or mend the data; see page.html")
    failed = held("corpora", "documents", {"documents": same}, min_rows=10, min_vocabulary=2)
    line = failure_line("toy", failed.outcome, "page.html", {"max_duplicate_share": ("validate.corpora", "p")})
    assert "few_copies failed on documents.text: 29 unexpected" in line and len(line) < 800
    assert line.endswith("; raise validate.corpora.max_duplicate_share (0.2) in p or mend the data; see page.html")
    rows = line.split("; rows: ")[1].split("; ")[0].split(" | ")
    assert len(rows) == 5 and max(map(len, rows)) <= 80 and rows[0].startswith('{"doc_id": "d1", "text": "same words')


def test_a_stopped_dataset_says_so(held):
    failed = held("corpora", "documents", {"documents": documents()}, min_rows=50, min_vocabulary=20)
    assert "Stopped: a table-level expectation failed" in failed.page and not failed.summary["success"]
    assert failed.page.index("enough rows") < failed.page.index("no replacement characters"), "what failed stands first"


def test_the_same_data_gives_the_same_bytes(held, done):
    again = held("corpora", "documents", {"documents": documents()}, **SMALL)
    for name in ("report/index.html", "report/summary.json", "quarantine.parquet", "clean/documents.parquet"):
        assert (again.folder / name).read_bytes() == (done.folder / name).read_bytes(), name
    other = held("corpora", "documents", {"documents": documents("else")}, **SMALL, max_quarantine_share=0.3)
    assert other.page != done.page


def test_the_summary_is_what_the_formats_say(done):
    assert {k: done.summary[k] for k in ("dataset", "domain", "success", "rows", "quarantined")} == {
        "dataset": "toy", "domain": "corpora", "success": True, "rows": 40, "quarantined": 1}
    entry = next(e for e in done.summary["expectations"] if e["expectation"] == "no_replacement_characters")
    assert (entry["table"], entry["level"], entry["success"], entry["unexpected"]) == ("documents", "row", False, 1)
    assert entry["examples"][0]["doc_id"] == "d5" and entry["allowed"] and "note" in entry


def test_a_long_value_is_cut_in_the_report_and_whole_in_quarantine(held):
    long = documents().with_columns(text=pl.when(pl.col("doc_id") == "d5").then(pl.lit("\ufffd" + "x" * 5000)).otherwise(pl.col("text")))
    cut = held("corpora", "documents", {"documents": long}, **SMALL)
    entry = next(e for e in cut.summary["expectations"] if e["expectation"] == "no_replacement_characters")
    assert len(entry["examples"][0]["text"]) == 160 and entry["examples"][0]["text"].endswith("…")
    assert len(json.loads(cut.quarantine["record"][0])["text"]) == 5001


def test_records_spell_what_json_lacks():
    spelled = json.loads(as_json({"a": float("nan"), "b": float("-inf"), "c": None, "d": 1.5}))
    assert spelled == {"a": "nan", "b": "-inf", "c": None, "d": 1.5}
