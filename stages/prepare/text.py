"""Text -> vocabulary and encoded sequences: documents, pairs, questions, bags of words."""

from __future__ import annotations

import numpy as np
import polars as pl

from stages import subwords
from stages.prepare.splits import SPLITS, Shares, with_splits
from stages.settings import InputError
from stages.tokens import END, START, UNKNOWN, TextSettings, tokens


def pieces_of(texts: pl.Series, settings: TextSettings) -> bytes | None:
    """The subword model of the train split's texts; None for other tokenisers."""
    if settings.tokenizer != "subwords":
        return None
    return subwords.fit(texts.str.to_lowercase() if settings.lower else texts, settings.subwords)


def learnt(models: dict[str, bytes | None]) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, meta) that keep the subword models, each by the name of its array; both empty for other tokenisers."""
    if None in models.values():
        return {}, {}
    return {name: np.frombuffer(model, np.uint8) for name, model in models.items()}, {"subwords": True}


def vocabulary(
    token_lists: list[pl.Series], settings: TextSettings, specials: tuple[str, ...] = (UNKNOWN,), model: bytes | None = None
) -> tuple[list[str], np.ndarray]:
    """(words by falling train count, ties by spelling; their counts int64). Specials come first.

    With a subword `model` all its pieces are words: those that train is never cut into, single characters above all, come last, with
    count 0, and spell what train lacks.
    """
    counted = (
        pl.concat([t.explode(empty_as_null=False) if t.dtype == pl.List else t for t in token_lists])
        .rename("w")
        .to_frame()
        .drop_nulls()
        .group_by("w")
        .len()
        .sort(["len", "w"], descending=[True, False])
    )
    kept = counted.filter(pl.col("len") >= (settings.min_count if model is None else 1), pl.col("w").is_in(specials).not_())
    kept = kept.head(max(settings.max_words - len(specials), 0))
    rare = int(counted["len"].sum() - kept["len"].sum())
    counts = np.concatenate([[rare], np.zeros(len(specials) - 1, np.int64), kept["len"].to_numpy().astype(np.int64)])
    if kept.is_empty():
        raise InputError(f"the vocabulary is empty: no word occurs {settings.min_count} times in the train split; lower prepare.min_count")
    words = [*specials, *kept["w"]]
    if model is not None:
        spare = sorted({*subwords.names(model)} - {*words})
        words, counts = [*words, *spare], np.concatenate([counts, np.zeros(len(spare), np.int64)])
    return words, counts.astype(np.int64)


def encode(lists: pl.Series, ids: pl.DataFrame, settings: TextSettings) -> tuple[np.ndarray, np.ndarray, int]:
    """(tokens int32 end to end, offsets int64 [texts + 1], texts that were cut). `ids` has columns w and id; the rest is <unk> = 0."""
    lengths = lists.list.len().fill_null(0)
    cut = int((lengths > settings.max_length).sum())
    lists = lists.list.head(settings.max_length)
    flat = lists.explode(empty_as_null=False).rename("w").to_frame().drop_nulls()
    encoded = flat.join(ids, on="w", how="left", maintain_order="left")["id"].fill_null(0).to_numpy().astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lists.list.len().fill_null(0).to_numpy().astype(np.int64))]).astype(np.int64)
    return encoded, offsets, cut


def _ids(words: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"w": words, "id": np.arange(len(words), dtype=np.int32)})


def _labels(table: pl.DataFrame) -> list[str]:
    return sorted(table["label"].drop_nulls().unique()) if "label" in table.columns else []


def _label_ids(part: pl.DataFrame, labels: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(labels)}
    return np.array([index.get(x, -1) for x in part["label"]] if "label" in part.columns else [-1] * len(part), np.int32)


def documents(table: pl.DataFrame, settings: TextSettings, shares: Shares):
    """arrays, tables, meta of kind documents, or with `bag` of kind counts."""
    if settings.bag and settings.tokenizer == "subwords":
        raise InputError("prepare.bag: bags are of words, but prepare.tokenizer is subwords; set that to words")
    if settings.bag:
        return bags(table, settings, shares)
    table = with_splits(table, "doc_id", shares)
    parts = {s: table.filter(pl.col("split") == s) for s in SPLITS}
    model = pieces_of(parts["train"]["text"], settings)
    lists = {s: tokens(part["text"], settings, model) for s, part in parts.items()}
    words, counts = vocabulary([lists["train"]], settings, model=model)
    labels, (kept, facts) = _labels(table), learnt({"subwords": model})
    arrays, cut = {"counts": counts, **kept}, 0
    for s in SPLITS:
        arrays[f"{s}.tokens"], arrays[f"{s}.offsets"], n = encode(lists[s], _ids(words), settings)
        arrays[f"{s}.labels"] = _label_ids(parts[s], labels)
        if settings.sentences:
            arrays[f"{s}.sentences"] = lines_of(parts[s]["text"], settings, model)
        cut += n
    meta = {
        "words": len(words),
        "classes": len(labels),
        "cut": cut,
        "documents": {s: len(p) for s, p in parts.items()},
        "tokens": {s: len(arrays[f"{s}.tokens"]) for s in SPLITS},
        "unknown_share": {s: float((arrays[f"{s}.tokens"] == 0).mean()) if len(arrays[f"{s}.tokens"]) else 0.0 for s in SPLITS},
        **facts,
    }
    return arrays, {"words": words, "labels": labels}, meta


def lines_of(texts: pl.Series, settings: TextSettings, model: bytes | None = None) -> np.ndarray:
    """Of each token of the texts, end to end and cut as `encode` cuts: the number of its line in its text, int32; empty lines are none."""
    found = [np.zeros(0, np.int32)]
    for lines in texts.str.split("\n").to_list():
        lengths = tokens(pl.Series(lines, dtype=pl.String), settings, model).list.len().to_numpy()
        lengths = lengths[lengths > 0]
        found.append(np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[: settings.max_length])
    return np.concatenate(found)


def bags(table: pl.DataFrame, settings: TextSettings, shares: Shares):
    """Documents as kind counts: words of two characters or more that begin with a letter and are not among scikit-learn's 318 English

    stop words. A document without any known word keeps its (empty) row.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = (
        pl.DataFrame({"row": np.arange(len(table)), "w": tokens(table["text"], settings)})
        .explode("w", empty_as_null=False).drop_nulls()
        .filter(pl.col("w").str.contains(r"^\p{L}\S"), pl.col("w").is_in(sorted(ENGLISH_STOP_WORDS)).not_())
        .group_by("row", "w", maintain_order=True).len()
        .group_by("row", maintain_order=True).agg(words=pl.col("w"), counts=pl.col("len").cast(pl.Int32))
    )
    empty = pl.col("words").fill_null([]), pl.col("counts").fill_null([])
    table = table.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).join(found, on="row", how="left", maintain_order="left")
    arrays, tables, meta = counts(table.with_columns(*empty), settings, shares)
    return arrays, tables, {**meta, "kind": "counts"}


def word_tests(analogies: pl.DataFrame, similarity: pl.DataFrame, words: list[str], settings: TextSettings):
    """(arrays, tables) of the tests of word vectors: ids of their words, lower-cased where the corpus is; -1 is not in the vocabulary."""
    index = {word: i for i, word in enumerate(words) if word != UNKNOWN}

    def ids(table, columns):
        found = [[index.get(w.lower() if settings.lower else w, -1) for w in table[c]] for c in columns]
        return np.array(found, np.int32).reshape(len(columns), -1).T

    sections = list(analogies["section"].unique(maintain_order=True))
    place = {name: i for i, name in enumerate(sections)}
    return {
        "analogies": ids(analogies, ("a", "b", "c", "d")),
        "analogies.sections": np.array([place[s] for s in analogies["section"]], np.int32),
        "similarity": ids(similarity, ("first", "second")),
        "similarity.scores": similarity["score"].to_numpy().astype(np.float64),
    }, {"sections": sections}


def pairs(table: pl.DataFrame, settings: TextSettings, shares: Shares):
    """Sentence pairs: two vocabularies with <unk> <s> </s>; arrays S.source.*, S.target.*."""
    table = with_splits(table, "pair_id", shares)
    arrays, tables, meta = {}, {}, {"pairs": {s: table.filter(pl.col("split") == s).height for s in SPLITS}, "cut": 0}
    for side in ("source", "target"):
        model = pieces_of(table.filter(pl.col("split") == "train")[side], settings)
        lists = {s: tokens(table.filter(pl.col("split") == s)[side], settings, model) for s in SPLITS}
        words, counts = vocabulary([lists["train"]], settings, (UNKNOWN, START, END), model)
        kept, facts = learnt({f"{side}.subwords": model})
        arrays, meta = {**arrays, **kept}, {**meta, **facts}
        arrays[f"{side}.counts"], tables[f"{side}.words"], meta[f"{side}_words"] = counts, words, len(words)
        for s in SPLITS:
            arrays[f"{s}.{side}.tokens"], arrays[f"{s}.{side}.offsets"], n = encode(lists[s], _ids(words), settings)
            meta["cut"] += n
    return arrays, tables, meta


def questions(table: pl.DataFrame, settings: TextSettings, shares: Shares):
    """Question-answer pairs: one vocabulary; the rows of a question stay in one split; S.question.*, S.answer.*, S.labels, S.ids."""
    keyed = (
        table.with_columns(group=pl.coalesce("group", "question_id"))
        if "group" in table.columns
        else table.with_columns(group=pl.col("question_id"))
    )
    table = with_splits(keyed, "question_id", shares)
    parts = {s: table.filter(pl.col("split") == s) for s in SPLITS}
    model = pieces_of(pl.concat([parts["train"]["question"].rename("text"), parts["train"]["answer"].rename("text")]), settings)
    lists = {(s, side): tokens(parts[s][side], settings, model) for s in SPLITS for side in ("question", "answer")}
    words, counts = vocabulary([lists["train", "question"], lists["train", "answer"]], settings, model=model)
    kept, facts = learnt({"subwords": model})
    arrays, cut = {"counts": counts, **kept}, 0
    for s in SPLITS:
        for side in ("question", "answer"):
            arrays[f"{s}.{side}.tokens"], arrays[f"{s}.{side}.offsets"], n = encode(lists[s, side], _ids(words), settings)
            cut += n
        arrays[f"{s}.labels"] = parts[s]["label"].to_numpy().astype(np.int32)
        order = {q: i for i, q in enumerate(parts[s]["question_id"].unique(maintain_order=True))}
        arrays[f"{s}.ids"] = np.array([order[q] for q in parts[s]["question_id"]], np.int32)
    return arrays, {"words": words}, {"words": len(words), "cut": cut, "pairs": {s: len(p) for s, p in parts.items()}, **facts}


def counts(table: pl.DataFrame, settings: TextSettings, shares: Shares):
    """Bags of words without text, one sparse row a document: S.offsets, S.words (ids), S.counts, S.labels."""
    table = with_splits(table, "doc_id", shares)
    parts = {s: table.filter(pl.col("split") == s) for s in SPLITS}
    long = parts["train"].select("words", "counts").explode(["words", "counts"], empty_as_null=False)
    totals = long.group_by(pl.col("words").alias("w")).agg(pl.col("counts").sum().alias("len")).drop_nulls()
    totals = totals.sort(["len", "w"], descending=[True, False]).filter(pl.col("len") >= settings.min_count).head(settings.max_words - 1)
    words, labels = [UNKNOWN, *totals["w"]], _labels(table)
    arrays = {"counts": np.concatenate([[0], totals["len"].to_numpy()]).astype(np.int64)}
    for s, part in parts.items():
        known = (
            part.select("words", "counts")
            .with_row_index("row")
            .explode(["words", "counts"], empty_as_null=False)
            .join(_ids(words), left_on="words", right_on="w", how="inner", maintain_order="left")
        )
        arrays[f"{s}.words"], arrays[f"{s}.counts"] = known["id"].to_numpy().astype(np.int32), known["counts"].to_numpy().astype(np.int32)
        per_row = np.bincount(known["row"].to_numpy(), minlength=len(part)) if len(part) else np.zeros(0, np.int64)
        arrays[f"{s}.offsets"] = np.concatenate([[0], np.cumsum(per_row)]).astype(np.int64)
        arrays[f"{s}.labels"] = _label_ids(part, labels)
    return (
        arrays,
        {"words": words, "labels": labels},
        {"words": len(words), "classes": len(labels), "documents": {s: len(p) for s, p in parts.items()}},
    )
