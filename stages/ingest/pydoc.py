"""Python's own documentation as a corpus: the reference topics of `pydoc_data` and every docstring of the standard library.

`group` is the top-level package of a docstring (or its module, where that is asked for) and `topics.<name>` of a topic, so that a hash
split keeps what is written about one thing on one side. Texts that occur twice are kept once, where they come first.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from stages.ingest import standard_library
from stages.ingest.raw import Raw
from stages.ingest.word_tests import WordTests
from stages.settings import InputError, field

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(*`]?[A-Z])")
RULE = re.compile(r"^\s*([|+].*|[\s*=~^#+.-]+)$")  # under titles, and tables drawn with characters


@dataclass(frozen=True)
class SentenceOptions(WordTests):
    low: int = field(4, low=1, doc="fewest tokens (between spaces) of a sentence")
    high: int = field(25, low=1, doc="most tokens")


@dataclass(frozen=True)
class DocumentOptions(WordTests):
    words: int = field(60, low=0, doc="words a document; the rest of a text shorter than half of it joins the last; 0: whole texts")
    group: Literal["package", "module"] = field("package", doc="what a split keeps together; by module, the package is the label")
    modules: int = field(5, low=2, doc="with group module: packages of fewer modules give no label, so that train has some of each")


@dataclass(frozen=True)
class ParagraphOptions:
    low: int = field(2, low=1, doc="fewest sentences of a paragraph")
    high: int = field(6, low=1, doc="most sentences")
    words: int = field(80, low=1, doc="most tokens (between spaces)")


@dataclass(frozen=True)
class QuestionOptions:
    candidates: int = field(8, low=2, high=1000, doc="answers of a question, one of them right")
    low: int = field(8, low=1, doc="fewest tokens of an answer")
    high: int = field(60, low=1, doc="most tokens")
    seed: int = 0


def pydoc_sentences(options: SentenceOptions) -> Raw:
    """One document a distinct sentence of `low` to `high` tokens."""
    if options.low > options.high:
        raise InputError(f"options.low: {options.low} is more than options.high, {options.high}; no sentence would be left")
    rows = []
    for name, group, text in _texts():
        sentences = [s for paragraph in paragraphs(text) for s in SENTENCE_END.split(paragraph)]
        rows += [(f"{name}#{i}", group, s) for i, s in enumerate(sentences) if options.low <= len(s.split()) <= options.high]
    return _raw(rows)


def pydoc_documents(options: DocumentOptions) -> Raw:
    """One document a chunk of `words` words of a topic, or of the docstrings of one module end to end.

    Split by package there is no label: a package of the test split is in no other. Split by module, the label is the package; the
    reference topics have none.
    """
    joined: dict[tuple[str, str], list[str]] = {}
    for name, group, text in _texts(by_module=True):
        joined.setdefault((name, group), []).extend(" ".join(paragraphs(text)).split())
    by_module, rows, labels = options.group == "module", [], []
    modules = Counter(group for (_, group), words in joined.items() if words)
    for (name, group), words in joined.items():
        found = chunks(words, options.words)
        rows += [(f"{name}#{i}", name if by_module else group, " ".join(chunk)) for i, chunk in enumerate(found)]
        labels += [group if by_module and modules[group] >= options.modules else None] * len(found)
    return _raw(rows, labels)


def pydoc_paragraphs(options: ParagraphOptions) -> Raw:
    """One document a distinct paragraph of `low` to `high` sentences, a sentence a line."""
    if options.low > options.high:
        raise InputError(f"options.low: {options.low} is more than options.high, {options.high}; no paragraph would be left")
    rows = []
    for name, group, text in _texts():
        for i, paragraph in enumerate(paragraphs(text)):
            lines = SENTENCE_END.split(paragraph)
            if options.low <= len(lines) <= options.high and len(paragraph.split()) <= options.words:
                rows.append((f"{name}#{i}", group, "\n".join(lines)))
    return _raw(rows)


def pydoc_questions(options: QuestionOptions) -> Raw:
    """A docstring's first line is the question; the paragraph after it is the right answer, such paragraphs of other objects of the same

    package are wrong ones. No person asked or judged: `right` means written for the same object.
    """
    found: dict[str, list[tuple[str, str, str]]] = {}
    seen = set()
    for name, group, text in _texts():
        parts = paragraphs(text)
        if group.startswith("topics.") or len(parts) < 2 or name in seen or not 3 <= len(parts[0].split()) <= 25:
            continue
        if options.low <= len(parts[1].split()) <= options.high and parts[1] not in seen:
            seen |= {name, parts[1]}
            found.setdefault(group, []).append((name, parts[0], parts[1]))
    rng, rows = np.random.default_rng(options.seed), []
    for group, own in sorted(found.items()):
        for i, (name, question, answer) in enumerate(own):
            if len(own) < options.candidates:
                continue
            others = np.delete(np.arange(len(own)), i)
            wrong = [own[j][2] for j in rng.choice(others, options.candidates - 1, replace=False)]
            answers = [(answer, 1)] + [(text, 0) for text in wrong]
            rows += [(name, group, question, *answers[j]) for j in rng.permutation(options.candidates)]
    table = pl.DataFrame(rows, schema=["question_id", "group", "question", "answer", "label"], orient="row")
    return Raw("questions", {"questions": table}, licence=standard_library.LICENCE, address=standard_library.ADDRESS,
               notes={"python": standard_library.python_version()})


def chunks(words: list[str], size: int) -> list[list[str]]:
    """`words` in runs of `size`; a last run shorter than half joins the one before it."""
    if size == 0 or len(words) <= size:
        return [words] if words else []
    cut = [words[i:i + size] for i in range(0, len(words), size)]
    if len(cut[-1]) * 2 < size:
        cut[-2:] = [cut[-2] + cut[-1]]
    return cut


def paragraphs(text: str) -> list[str]:
    """Running text of a docstring: blocks between blank lines on one line each, without rules and interactive examples."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines() if not RULE.match(line)]
        if lines and not any(line.startswith((">>>", "...", "$ ")) for line in lines):
            found.append(re.sub(r"^[*-] ", "", " ".join(" ".join(lines).split())))
    return found


def _texts(by_module: bool = False):
    """(name, group, text): topics, then docstrings, each distinct text once."""
    seen = set()
    for name, text in standard_library.topics():
        yield f"topics.{name}", f"topics.{name}", text
    for module in standard_library.modules():
        for name, text in standard_library.docstrings(module):
            if text not in seen:
                seen.add(text)
                yield module.name if by_module else name, module.package, text


def _raw(rows, labels=None) -> Raw:
    table = pl.DataFrame(rows, schema=["doc_id", "group", "text"], orient="row")
    if labels:
        table = table.with_columns(label=pl.Series(labels, dtype=pl.String))
    table = table.unique("text", keep="first", maintain_order=True)
    numbered = pl.int_range(pl.len()).over("doc_id").cast(pl.String)  # a class defined twice in a module gives its name twice
    table = table.with_columns(pl.when(numbered == "0").then(pl.col("doc_id")).otherwise(pl.col("doc_id") + "~" + numbered))
    return Raw("documents", {"documents": table}, licence=standard_library.LICENCE, address=standard_library.ADDRESS,
               notes={"python": standard_library.python_version()})
