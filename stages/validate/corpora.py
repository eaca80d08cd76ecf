"""Expectations of corpora: documents, sentence pairs, questions with answers, bags of words."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from stages.settings import field
from stages.validate import checks
from stages.validate.checks import Check, LabelThresholds
from stages.validate.suite import Dataset, Suite


@dataclass(frozen=True)
class CorpusThresholds(LabelThresholds):
    min_rows: int = field(20, low=1)
    min_words: int = field(1, low=1, doc="words of a text; shorter ones are set aside")
    max_words: int = field(200_000, low=1)
    min_vocabulary: int = field(50, low=1, doc="different words of the whole corpus")
    max_duplicate_share: float = field(0.2, low=0.0, high=1.0, doc="texts that repeat one of the same split")
    max_unseen_label_share: float = field(0.0, low=0.0, high=1.0, doc="rows of valid and test with a label that train lacks")


KINDS = {
    "documents": {"documents": dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String),
                  "analogies": dict.fromkeys(("section", "a", "b", "c", "d"), pl.String),
                  "similarity": {"first": pl.String, "second": pl.String, "score": pl.Float64}},
    "pairs": {"pairs": dict.fromkeys(("pair_id", "split", "source", "target", "group"), pl.String)},
    "questions": {"questions": {"question_id": pl.String, "split": pl.String, "question": pl.String, "answer": pl.String,
                                "label": pl.Int8, "group": pl.String}},
    "counts": {"counts": {"doc_id": pl.String, "split": pl.String, "label": pl.String, "words": pl.List(pl.String),
                          "counts": pl.List(pl.Int32)}},
}
TEXTS = {"documents": ["text"], "pairs": ["source", "target"], "questions": ["question", "answer"], "counts": ["words"]}
WORDS_OF_TESTS = {"analogies": ["a", "b", "c", "d"], "similarity": ["first", "second"]}
IDS = {"documents": "doc_id", "pairs": "pair_id", "questions": "question_id", "counts": "doc_id"}
WORD = r"[\w\p{M}]+|[^\w\s]"  # a mark of punctuation is a token, as in prepare


def measure(data: Dataset) -> None:
    """`_content`: what must not stand in two splits; `_unit`: what a hash split keeps together; `_words`: words of each text column."""
    kind = data.kind
    texts = TEXTS[kind]
    if kind == "counts":
        joined = [pl.col("words").list.join(" "), pl.col("counts").cast(pl.List(pl.String)).list.join(" ")]
        lengths = [pl.col("words").list.len().alias("_words_words")]
    else:
        joined = [pl.col(c).str.strip_chars() for c in texts]
        lengths = [pl.col(c).str.count_matches(WORD).alias(f"_words_{c}") for c in texts]
    group = pl.col("group") if "group" in data.tables[kind].columns else pl.lit(None, pl.String)
    data.tables[kind] = data.tables[kind].with_columns(
        pl.concat_str(joined, separator="\x1f").alias("_content"), pl.coalesce(group, IDS[kind]).alias("_unit"), *lengths)


def rows(data: Dataset, t: CorpusThresholds) -> list[Check]:
    kind = data.kind
    texts, id_column = TEXTS[kind], IDS[kind]
    lists = kind == "counts"
    found = [checks.present(kind, c) for c in (id_column, *texts)]
    found.append(checks.not_blank(kind, [id_column] if lists else [id_column, *texts]))
    found += checks.encoded(kind, texts, lists)
    found += [Check(f"words_of_{c}", kind, c, f"{t.min_words} to {t.max_words} words", value=pl.col(f"_words_{c}"),
                    arguments={"min_value": t.min_words, "max_value": t.max_words}) for c in texts]
    found.append(checks.known_split(kind))
    for name in sorted(data.tables.keys() - {kind}):  # tests of word vectors
        found += [checks.present(name, c) for c in KINDS[kind][name]] + checks.encoded(name, WORDS_OF_TESTS[name])
    if kind == "questions":
        found += [checks.present(kind, "label"),
                  Check("label_is_right_or_wrong", kind, "label", "0 or 1", "ExpectColumnValuesToBeInSet", {"value_set": [0, 1]}),
                  checks.unique("answer_once", kind, ["question_id", "answer"])]
    else:
        found.append(checks.unique("id_once", kind, [id_column]))
    if lists:
        lengths = (pl.col("words").list.len() != pl.col("counts").list.len()).fill_null(True)
        found += [checks.present(kind, "counts"),
                  checks.never("a_count_a_word", kind, "words, counts", lengths, "as many counts as words"),
                  checks.never("counts_positive", kind, "counts", pl.col("counts").list.min() < 1, "counts of 1 or more"),
                  checks.never("word_once", kind, "words", pl.col("words").list.n_unique() != pl.col("words").list.len(),
                               "each word once in a document")]
    return found


def splits(data: Dataset, t: CorpusThresholds) -> list[Check]:
    kind = data.kind
    texts, content = ", ".join(TEXTS[kind]), pl.col("_content")
    found = [checks.no_leak("text_in_one_split", kind, texts, content, "text")]
    if kind == "questions":
        found.append(checks.no_leak("question_in_one_split", kind, "question_id", pl.col("question_id"), "question"))
    if "group" in data.tables[kind].columns:
        found.append(checks.no_leak("group_in_one_split", kind, "group", pl.col("group"), "group"))
    return found


def copies(data: Dataset, t: CorpusThresholds) -> list[Check]:
    kind, unit = data.kind, pl.col("_unit")
    found = [checks.no_loose_copies(kind, ", ".join(TEXTS[kind]), pl.col("_content"), unit, "text")]
    if kind == "questions":
        found.append(checks.no_loose_copies(kind, "question_id, group", pl.col("question_id"), unit, "question", "question_in_one_group"))
    return found


def whole(data: Dataset, t: CorpusThresholds) -> list[Check]:
    kind = data.kind
    frame = data.tables[kind]
    words = _vocabulary(frame, kind)
    found = [
        checks.enough_rows(kind, t.min_rows),
        checks.aggregate("enough_words", kind, ", ".join(TEXTS[kind]), {", ".join(TEXTS[kind]): words}, t.min_vocabulary,
                         f"at least {t.min_vocabulary} different words", f"{words} different words", "min_vocabulary"),
        checks.copies(t.max_duplicate_share, kind, ", ".join(TEXTS[kind]), pl.col("_content"), "text"),
    ]
    if "label" in frame.columns:
        found += checks.labels(frame, kind, t) + checks.seen_labels(t.max_unseen_label_share, frame, kind)
    return found


def _vocabulary(frame: pl.DataFrame, kind: str) -> int:
    if kind == "counts":
        return frame.select(pl.col("words").explode(empty_as_null=False).n_unique()).item()
    return frame.select(pl.concat([pl.col(c).str.to_lowercase().str.extract_all(WORD).explode(empty_as_null=False)
                                   for c in TEXTS[kind]]).n_unique()).item()


SUITE = Suite(thresholds=CorpusThresholds, kinds=KINDS, measure=measure, passes=(rows, splits, copies, whole),
              optional=("analogies", "similarity"))
