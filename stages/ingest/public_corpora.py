"""Public texts. Each function reads the files of `public_files.PUBLIC` of its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from stages.ingest.archives import member
from stages.ingest.corpora import pieces
from stages.ingest.download import Files
from stages.ingest.raw import Raw
from stages.ingest.text_files import plain
from stages.ingest.word_tests import WordTests
from stages.settings import InputError, field

PAIRS = ["pair_id", "split", "source", "target", "group"]
DOCUMENTS = dict.fromkeys(("doc_id", "split", "text", "label", "group"), pl.String)
TITLE = re.compile(r"^ = [^=].*[^=] = $")
WIKI_END = re.compile(r"(?<= [.!?]) (?=[A-Z])")


@dataclass(frozen=True)
class NoOptions:
    pass


@dataclass(frozen=True)
class WikiOptions(WordTests):
    parts: list[Literal["train", "valid", "test"]] = field(["train", "valid", "test"])
    splits: Literal["published", "hash"] = field("published", doc="hash: articles of all parts are parted anew, by a hash of their id")
    unit: Literal["article", "sentence"] = field("article", doc="what is a document; sentences are grouped by article, titles left out")
    low: int = field(4, low=1, doc="fewest tokens (between spaces) of a sentence")
    high: int = field(40, low=1, doc="most tokens")


@dataclass(frozen=True)
class TreebankOptions(WordTests):
    kind: Literal["pairs", "documents"] = field("pairs", doc="pairs of words and their universal part-of-speech tags, or sentences alone")


@dataclass(frozen=True)
class DirectionOptions:
    translated: Literal["english", "other"] = field("english", doc="the side that is translated into the other one")


@dataclass(frozen=True)
class TatoebaOptions(DirectionOptions, WordTests):
    kind: Literal["pairs", "english"] = field("pairs", doc="pairs, or the English sentences alone as documents, each once")


@dataclass(frozen=True)
class PassageOptions(WordTests):
    passage: int = field(50, low=1, doc="speeches that share a group, so that a split does not cut a scene into single lines")


@dataclass(frozen=True)
class Text8Options(WordTests):
    words: int = field(1000, low=1, doc="words a document")


def newsgroups(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _counts(files["train.feat.gz"], files["test.feat.gz"], files["vocab.new"], scratch)


def newsgroups_nvdm(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _counts(files["train.feat"], files["test.feat"], files["vocab.new"], scratch)


def _counts(train, test, vocabulary, scratch):
    """NVDM's sparse format: `label id:count id:count ...`, ids from 1 in the order of the vocabulary file. One label for all is none."""
    words = [line.split(" ")[0] for line in _text(vocabulary, scratch).splitlines()]
    rows = []
    for split, path in (("train", train), ("test", test)):
        for number, line in enumerate(_text(path, scratch).splitlines()):
            label, *entries = line.split()
            pairs = [(int(i), int(n)) for i, n in (entry.split(":") for entry in entries)]
            if any(not 1 <= i <= len(words) for i, _ in pairs):
                raise InputError(f"{path}: line {number + 1} has a word id outside 1 to {len(words)}; is {vocabulary.name} its own?")
            rows.append((f"{split}-{number:05d}", split, label, [words[i - 1] for i, _ in pairs], [n for _, n in pairs]))
    table = pl.DataFrame(rows, schema={"doc_id": pl.String, "split": pl.String, "label": pl.String, "words": pl.List(pl.String),
                                       "counts": pl.List(pl.Int32)}, orient="row")
    if table["label"].n_unique() == 1:
        table = table.with_columns(label=pl.lit(None, dtype=pl.String))
    return Raw("counts", {"counts": table}, notes={"vocabulary": len(words)})


def wikitext2(options: WikiOptions, files: Files, scratch: Path) -> Raw:
    """One document an article, titles kept; the training part may be missing when `parts` does without it (then `splits: hash` gives

    a training split of other articles than the published one, whose figures do not compare).
    """
    rows = []
    for part in options.parts:
        if part == "train" and "train.parquet" not in files:
            raise InputError("options.parts: the training part is neither in the mirror nor downloadable now (wikitext2/train.parquet); "
                             "without it write parts: [valid, test]")
        if part == "train":
            lines = pl.read_parquet(files["train.parquet"])["text"].str.strip_chars_end("\n").to_list()
        else:
            lines = _text(files[f"{part}.txt"], scratch).split("\n")
        articles: list[list[str]] = [[]]
        for line in lines:
            if TITLE.match(line):
                articles.append([])
            articles[-1].append(line.strip())
        texts = ["\n".join(line for line in article if line) for article in articles]
        split = part if options.splits == "published" else None
        for i, text in enumerate(t for t in texts if t):
            if options.unit == "article":
                rows.append((f"{part}-{i:04d}", split, text, None, None))
            else:
                rows += [(f"{part}-{i:04d}#{n}", split, s, None, f"{part}-{i:04d}") for n, s in enumerate(_sentences(text, options))]
    found = _documents(rows)
    if options.unit == "sentence":
        found.tables["documents"] = found.tables["documents"].unique("text", keep="first", maintain_order=True)
    return found


def _sentences(article: str, options: WikiOptions) -> list[str]:
    """Sentences of an article's tokenised lines, of `low` to `high` tokens; a full stop stands by itself there. No titles (` = ... = `)."""
    found = [s for line in article.split("\n") if not line.startswith("= ") for s in WIKI_END.split(line)]
    return [s for s in found if options.low <= len(s.split()) <= options.high]


def tiny_shakespeare(options: PassageOptions, files: Files, scratch: Path) -> Raw:
    """One document a speech; `passage` speeches are a group."""
    speeches = pieces(_text(files["input.txt"], scratch), "paragraph")
    return _documents((f"s{i:05d}", None, text, None, f"p{i // options.passage:04d}") for i, text in enumerate(speeches))


def text8(options: Text8Options, files: Files, scratch: Path) -> Raw:
    """Runs of words; of the characters the first 90 % are train, 5 % valid, 5 % test, as is usual, cut at the next space."""
    text = member(files["text8.zip"], "text8").decode("ascii")
    cuts = (0, text.find(" ", len(text) * 90 // 100), text.find(" ", len(text) * 95 // 100), len(text))
    rows = []
    for split, start, stop in zip(("train", "valid", "test"), cuts[:-1], cuts[1:], strict=True):
        words = text[start:stop].split()
        rows += [(f"{split}-{i:06d}", split, " ".join(words[i:i + options.words]), None, None) for i in range(0, len(words), options.words)]
    return _documents(rows)


def ud_english_ewt(options: TreebankOptions, files: Files, scratch: Path) -> Raw:
    """Sentences of the treebank as published; `group` is the document."""
    rows = []
    for split, name in (("train", "train.rebuilt"), ("valid", "dev"), ("test", "test")):
        rows += [(*row[:1], split, *row[1:]) for row in conllu(_text(files[f"en_ewt-ud-{name}.conllu.gz"], scratch))]
    table = pl.DataFrame(rows, schema=["id", "split", "text", "words", "tags", "group"], orient="row")
    if options.kind == "documents":
        return Raw("documents", {"documents": table.select("split", "text", "group", doc_id="id")})
    return Raw("pairs", {"pairs": table.select("split", "group", pair_id="id", source="words", target="tags")})


def conllu(text: str) -> list[tuple[str, str, str, str, str]]:
    """(id, text, words, tags, document) a sentence of a CoNLL-U file; words split apart (`don't`) are taken as their parts."""
    rows, document = [], ""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        about = dict(line[2:].split(" = ", 1) for line in lines if line.startswith("# ") and " = " in line)
        document = about.get("newdoc id", document)
        tokens = [fields for fields in (line.split("\t") for line in lines if line[:1].isdigit()) if fields[0].isdigit()]
        if tokens:
            words, tags = (" ".join(t[i].replace(" ", "_") for t in tokens) for i in (1, 3))
            rows.append((about.get("sent_id", str(len(rows))), about.get("text", words), words, tags, document))
    return rows


def tatoeba_eng_pes(options: TatoebaOptions, files: Files, scratch: Path) -> Raw:
    return _tatoeba(_text(files["pes.txt"], scratch), options)


def tatoeba_eng_fra(options: TatoebaOptions, files: Files, scratch: Path) -> Raw:
    return _tatoeba(member(files["fra-eng.zip"], "fra.txt").decode("utf-8"), options)


def _tatoeba(text, options):
    """English, tab, the other language (and an attribution); `group` is the English side, so that its translations stay together."""
    rows = [line.split("\t") for line in text.splitlines() if line]
    if options.kind == "english":
        return _documents((f"t{i:06d}", None, sentence, None, None) for i, sentence in enumerate(dict.fromkeys(row[0] for row in rows)))
    return _pairs(((f"t{i:06d}", None, row[0], row[1], row[0]) for i, row in enumerate(rows)), options)


def multi30k(options: DirectionOptions, files: Files, scratch: Path) -> Raw:
    """English-German captions line by line, in the published split (`translated: other` is the usual De-En)."""
    rows = []
    for split, part in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        english, german = (_lines(files[f"{part}.{language}.gz"], scratch) for language in ("en", "de"))
        if len(english) != len(german):
            raise InputError(f"{files[f'{part}.de.gz']}: {len(german)} lines against {len(english)} English ones; fetch both again")
        rows += [(f"{split}-{i:05d}", split, e, g, None) for i, (e, g) in enumerate(zip(english, german, strict=True))]
    return _pairs(rows, options)


def wikiqa(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _questions(files, {"train": "train", "valid": "dev", "test": "test"}, scratch)


def trec_qa(options: NoOptions, files: Files, scratch: Path) -> Raw:
    return _questions(files, {"train": "train-all", "valid": "raw-dev", "test": "raw-test"}, scratch)


def _questions(files, parts, scratch):
    """Four parallel files a part: a.toks (questions), b.toks (answers), sim.txt (1: right), id.txt (question)."""
    rows = []
    for split, part in parts.items():
        columns = [_lines(files[f"{part}/{name}"], scratch) for name in ("id.txt", "a.toks", "b.toks", "sim.txt")]
        if len({len(c) for c in columns}) > 1:
            lines = ", ".join(str(len(c)) for c in columns)
            raise InputError(f"{files[f'{part}/a.toks'].parent}: its files have {lines} lines; fetch them again")
        rows += [(f"{split}-{i}", split, q, a, int(float(label)), f"{split}-{i}") for i, q, a, label in zip(*columns, strict=True)]
    schema = ["question_id", "split", "question", "answer", "label", "group"]
    return Raw("questions", {"questions": pl.DataFrame(rows, schema=schema, orient="row")})


def _text(path, scratch):
    return plain(path, "utf-8", scratch).read_text(encoding="utf-8")


def _lines(path, scratch):
    return _text(path, scratch).rstrip("\n").split("\n")


def _documents(rows):
    return Raw("documents", {"documents": pl.DataFrame(list(rows), schema=DOCUMENTS, orient="row")})


def _pairs(rows, options):
    """Pairs of rows whose source is English, turned round where that is asked for."""
    table = pl.DataFrame(list(rows), schema=dict.fromkeys(PAIRS, pl.String), orient="row")
    if options.translated == "other":
        table = table.rename({"source": "target", "target": "source"}).select(PAIRS)
    return Raw("pairs", {"pairs": table})
