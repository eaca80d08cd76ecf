"""Planted faults in corpora: which expectation catches each, and where the row goes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from stages.prepare.splits import Shares, with_splits

SMALL = {"min_rows": 10, "min_vocabulary": 20}
TEXT = dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String)
PAIR = dict.fromkeys(("pair_id", "split", "source", "target", "group"), pl.String)
QUESTION = {"question_id": pl.String, "split": pl.String, "question": pl.String, "answer": pl.String, "label": pl.Int8, "group": pl.String}
COUNTS = {"doc_id": pl.String, "split": pl.String, "label": pl.String, "words": pl.List(pl.String), "counts": pl.List(pl.Int32)}


def texts(n=40, split=None, labels=("a", "b")):
    rows = [(f"d{i}", split, f"word{i} and some more سلام", labels[i % len(labels)], None) for i in range(n)]
    return pl.DataFrame(rows, TEXT, orient="row")


def published(n=40):
    """30 in train, 10 in test."""
    return texts(n).with_columns(split=pl.Series(["train"] * 30 + ["test"] * 10))


def put(frame, row, **cells):
    for column, value in cells.items():
        values = frame[column].to_list()
        values[row] = value
        frame = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))
    return frame


def planted(frame, faults):
    for i, (_, cells) in enumerate(faults):
        frame = put(frame, i + 1, **cells)
    return frame


def test_clean_documents_pass(held):
    done = held("corpora", "documents", {"documents": published()}, **SMALL)
    assert not done.failed and done.quarantine.is_empty() and done.clean("documents").equals(published())
    assert all(r.success for r in done.outcome.results)


DOCUMENTS = [
    ("doc_id_present", {"doc_id": None}),
    ("text_present", {"text": None}),
    ("no_blank_text", {"text": " \n"}),
    ("no_blank_text", {"doc_id": ""}),
    ("no_replacement_characters", {"text": "so na\ufffdve"}),
    ("no_control_characters", {"text": "a\x00b c"}),
    ("no_control_characters", {"text": "a b\x85c"}),
    ("words_of_text", {"text": "one"}),
    ("known_split", {"split": "dev"}),
    ("id_once", {"doc_id": "d0"}),
]


@pytest.fixture(scope="module")
def documents(held):
    """Every fault of DOCUMENTS, from row 1 on."""
    return held("corpora", "documents", {"documents": planted(published(), DOCUMENTS)}, **SMALL, max_quarantine_share=0.5, min_words=2)


@pytest.mark.parametrize("i", range(len(DOCUMENTS)), ids=[e for e, _ in DOCUMENTS])
def test_a_faulty_document_goes_to_quarantine(documents, i):
    assert i + 1 in documents.set_aside(DOCUMENTS[i][0])
    assert not documents.failed and documents.clean("documents").height == 40 - len(DOCUMENTS) == 40 - documents.quarantine.height


def test_tabs_line_breaks_and_joiners_are_not_control_characters(held):
    frame = put(published(), 3, text="one\ttwo\r\nthree می‌روم")
    assert held("corpora", "documents", {"documents": frame}, **SMALL).quarantine.is_empty()


def test_texts_longer_than_allowed_leave(held):
    done = held("corpora", "documents", {"documents": put(published(), 2, text="w " * 30)}, **SMALL, max_words=20)
    assert done.set_aside("words_of_text") == [2]


def test_a_text_in_two_splits_leaves_training_and_stays_in_test(held):
    frame = put(published(), 5, text="  " + published()["text"][35] + " ")
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.set_aside("text_in_one_split") == [5] and "d35" in done.clean("documents")["doc_id"].to_list()


def test_a_group_in_two_splits_leaves_training(held):
    frame = put(put(put(published(), 1, group="book"), 2, group="book"), 39, group="book")
    assert held("corpora", "documents", {"documents": frame}, **SMALL).set_aside("group_in_one_split") == [1, 2]


def test_copies_leave_where_a_hash_could_put_them_on_both_sides(held):
    frame = put(texts(), 9, text=texts()["text"][4])
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.set_aside("no_copy_before_hash_split") == [9]


@pytest.mark.parametrize(("loose", "kept"), [(4, 35), (38, 2)])
def test_a_copy_without_a_split_leaves_and_the_published_one_stays_in_either_order(held, loose, kept):
    frame = put(put(published(), loose, split=None), kept, text="  " + published()["text"][loose])
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.set_aside("no_copy_before_hash_split") == [loose] == done.quarantine["row"].to_list()


def test_copies_leave_a_published_train_that_valid_is_taken_from(held):
    frame = put(published(), 9, text=published()["text"][4])
    assert held("corpora", "documents", {"documents": frame}, **SMALL).set_aside("no_copy_before_hash_split") == [9]
    frame = put(frame, 30, split="valid")
    assert held("corpora", "documents", {"documents": frame}, **SMALL).quarantine.is_empty()


def test_a_valid_split_that_leaks_away_leaves_train_to_the_hash(held):
    """valid is test once more: it leaves, prepare takes valid from train, and train's copies are then in its way."""
    frame = put(put(put(published(), 30, split="valid"), 31, text=published()["text"][30]), 9, text=published()["text"][4])
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.set_aside("text_in_one_split") == [30] and done.set_aside("no_copy_before_hash_split") == [9]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("published", [["train", "test"], ["train", "valid", "test"], ["train"], ["test"]], ids="-".join)
def test_no_text_and_no_group_is_in_two_splits_after_prepare(held, published, seed):
    rng = np.random.default_rng(seed)

    def drawn(choices, share, n=400):
        return [choices[rng.integers(len(choices))] if rng.random() < share else None for _ in range(n)]

    copied, grouped = drawn(range(60), 0.4), drawn([f"g{i}" for i in range(80)], 0.5)
    frame = texts(400).with_columns(
        split=pl.Series(drawn(published, 0.5), dtype=pl.String), group=pl.Series(grouped, dtype=pl.String),
        text=pl.Series([f"text {i if c is None else f'copy {c}'}" for i, c in enumerate(copied)]))
    done = held("corpora", "documents", {"documents": frame}, **SMALL, max_quarantine_share=1.0, max_duplicate_share=1.0)
    clean = done.clean("documents")
    assert 150 < clean.height < 400
    out = with_splits(clean, "doc_id", Shares("s", 0.2, 0.2))
    for column in ("text", "group"):
        assert out.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1


def test_copies_within_a_group_stay_since_a_group_is_split_as_one(held):
    frame = put(put(texts(), 9, text=texts()["text"][4], group="book"), 4, group="book")
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.quarantine.is_empty() and done.result("few_copies").note == "1 of 40 rows repeat an earlier text"


def test_many_copies_within_a_published_split_fail(held):
    frame = put(published(), 30, split="valid")
    frame = frame.with_columns(text=pl.when(pl.int_range(pl.len()) < 15).then(pl.lit("the same text")).otherwise(pl.col("text")))
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.failed == ["few_copies"] and done.result("few_copies").unexpected == 14


def test_a_vocabulary_of_one_is_said_and_fails(held):
    frame = texts().with_columns(text=pl.Series(["same " * (i + 1) for i in range(40)]))
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.failed == ["enough_words"] and done.result("enough_words").note == "1 different words"


def test_one_class_only_is_said_and_goes_on_unless_more_are_asked_for(held):
    done = held("corpora", "documents", {"documents": texts(labels=("a",))}, **SMALL)
    assert not done.failed and done.result("several_classes").note == "one class only, on all 40 labelled rows"
    assert "one class only" in done.page and done.result("several_classes").unexpected == 1


def test_fewer_classes_than_asked_for_fail(held):
    assert held("corpora", "documents", {"documents": texts(labels=("a",))}, **SMALL, min_classes=2).failed == ["enough_classes"]


def test_a_class_with_nearly_everything_fails(held):
    frame = texts(labels=("a",) * 39 + ("b",))
    done = held("corpora", "documents", {"documents": frame}, **SMALL)
    assert done.failed == ["labels_in_balance"]
    assert done.result("labels_in_balance").examples == [{"label": "a", "rows": 39, "share": pytest.approx(0.975)}]


def test_a_label_that_train_lacks_fails(held):
    done = held("corpora", "documents", {"documents": put(published(), 38, label="new")}, **SMALL)
    assert done.failed == ["labels_seen_in_train"] and done.result("labels_seen_in_train").examples[0]["doc_id"] == "d38"


def test_too_few_documents_fail(held):
    assert held("corpora", "documents", {"documents": texts(30)}, **{**SMALL, "min_rows": 31}).failed == ["enough_rows"]


def pairs(n=30):
    return pl.DataFrame([(f"p{i}", None, f"source {i}", f"target {i * 7}", None) for i in range(n)], PAIR, orient="row")


def test_pairs_pass_clean_and_lose_blank_sides_and_repeated_pairs(held):
    frame = put(put(pairs(), 3, target=" "), 8, source="source 2", target="target 14")
    done = held("corpora", "pairs", {"pairs": frame}, **SMALL)
    assert not done.failed and done.set_aside("no_blank_text") == [3] and done.set_aside("no_copy_before_hash_split") == [8]
    assert done.clean("pairs").height == 28


def questions():
    return pl.DataFrame([(f"q{i // 2}", "train" if i < 20 else "test", f"question number {i // 2}", f"answer {i} here", i % 2, None)
                         for i in range(30)], QUESTION, orient="row")


def test_questions_pass_clean(held):
    assert held("corpora", "questions", {"questions": questions()}, **SMALL).quarantine.is_empty()


QUESTIONS = [
    ("label_is_right_or_wrong", {"label": 3}),
    ("label_present", {"label": None}),
    ("answer_once", {"question_id": "q0", "answer": "answer 0 here"}),
    ("answer_present", {"answer": None}),
    ("question_in_one_split", {"question_id": "q14"}),
]


@pytest.fixture(scope="module")
def faulty_questions(held):
    return held("corpora", "questions", {"questions": planted(questions(), QUESTIONS)}, **SMALL)


@pytest.mark.parametrize("i", range(len(QUESTIONS)), ids=[e for e, _ in QUESTIONS])
def test_a_faulty_question_goes_to_quarantine(faulty_questions, i):
    assert faulty_questions.set_aside(QUESTIONS[i][0]) == [i + 1] and not faulty_questions.failed


def test_answers_of_a_question_stay_in_one_group_where_a_hash_splits(held):
    frame = put(put(questions().with_columns(split=pl.lit(None, pl.String)), 4, group="a"), 5, group="b")
    done = held("corpora", "questions", {"questions": frame}, **SMALL)
    assert done.set_aside("question_in_one_group") == [5] == done.quarantine["row"].to_list()
    half = put(questions(), 4, split=None)
    assert held("corpora", "questions", {"questions": half}, **SMALL).quarantine.is_empty(), "prepare puts it with its question"


def bags():
    return pl.DataFrame([(f"d{i}", "train" if i < 20 else "test", "ab"[i % 2], [f"w{i}", "the"], [1 + i % 3, 2]) for i in range(30)],
                        COUNTS, orient="row")


def test_bags_of_words_pass_clean(held):
    done = held("corpora", "counts", {"counts": bags()}, **SMALL)
    assert not done.failed and done.quarantine.is_empty()


BAGS = [
    ("words_present", {"words": None}),
    ("words_of_words", {"words": [], "counts": []}),
    ("a_count_a_word", {"counts": [1]}),
    ("counts_positive", {"counts": [1, 0]}),
    ("word_once", {"words": ["the", "the"]}),
    ("no_control_characters", {"words": ["a\x00", "the"]}),
    ("no_replacement_characters", {"words": ["\ufffd", "the"]}),
    ("text_in_one_split", {"words": ["w25", "the"], "counts": [2, 2]}),
]


@pytest.fixture(scope="module")
def faulty_bags(held):
    return held("corpora", "counts", {"counts": planted(bags(), BAGS)}, **SMALL, max_quarantine_share=0.5)


@pytest.mark.parametrize("i", range(len(BAGS)), ids=[e for e, _ in BAGS])
def test_a_faulty_bag_goes_to_quarantine(faulty_bags, i):
    assert faulty_bags.set_aside(BAGS[i][0]) == [i + 1] and not faulty_bags.failed


def test_punctuation_is_text(held):
    frame = put(published(), 7, text="?!")
    assert held("corpora", "documents", {"documents": frame}, **SMALL).quarantine.is_empty()
