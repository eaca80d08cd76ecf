"""What is read out of source text, on a library of a few lines, and the sizes on the real one."""

import ast
import textwrap

import polars as pl
import pytest

from stages.ingest import pydoc, python_tokens, standard_library
from stages.ingest.stdlib_calls import CallOptions, stdlib_calls
from stages.ingest.stdlib_knowledge import KnowledgeOptions, audit, core, mirrored, stdlib_knowledge
from stages.ingest.symbols import Symbols
from stages.settings import InputError

# what a call returns is known only when it runs, so `zoo.Lion().eat` below leads nowhere
FILES = {
    "zoo/__init__.py": """
        '''The zoo.  It opens at nine every day.'''
        from .animals import Cat as Lion
        from zoo.food import *
        raise SystemError
        """,
    "zoo/animals.py": """
        from zoo import food
        class Animal:
            '''An animal eats. It sleeps as well, mostly at night.'''
            def eat(self, what):
                food.cook(what)
                self.chew()
            def chew(self): len([])
        class Cat(Animal):
            def eat(self, what):
                super().eat(what)
                if not what: raise food.Hungry(what)
            def serve(self):
                def inner(): return food.Dish()
                return inner
        """,
    "zoo/food.py": """
        import zoo.animals
        class Hungry(ValueError): pass
        class Dish: pass
        def cook(what):
            try: return Dish()
            except (Hungry, KeyError): sorted(what)
        """,
    "park.py": """
        import zoo, zoo.food as f
        def visit():
            zoo.Lion().eat(1); zoo.cook(2); f.Dish()
        """,
    "test/ignored.py": "x = 1",
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.setattr(standard_library, "root", lambda: tmp_path)


def test_modules_come_sorted_and_without_tests(library):
    assert [m.name for m in standard_library.modules()] == ["park", "zoo", "zoo.animals", "zoo.food"]
    assert [m.package for m in standard_library.modules()] == ["park", "zoo", "zoo", "zoo"]


def test_nothing_is_executed(library):
    Symbols()  # zoo/__init__.py would raise


def test_names_resolve_through_imports_stars_and_bases(library):
    symbols = Symbols()
    assert symbols.dotted("zoo.Lion") == "zoo.animals.Cat"
    assert symbols.dotted("zoo.cook") == "zoo.food.cook"
    assert symbols.member("zoo.animals.Cat", "chew") == "zoo.animals.Animal.chew"
    assert symbols.definitions["zoo.animals.Cat"].bases == ["zoo.animals.Animal"]
    assert symbols.definitions["zoo.food.Hungry"].bases == ["ValueError"]
    assert symbols.dotted("zoo.nothing") is None


def test_calls_are_lifted_to_classes_and_counted(library):
    edges = {(a, b): w for a, b, w in stdlib_calls(CallOptions(smallest=1)).tables["edges"].rows()}
    assert edges == {
        ("zoo.animals.Animal", "zoo.food.cook"): 1.0, ("zoo.animals.Animal", "zoo.animals.Cat"): 2.0,  # super() and inheritance
        ("zoo.animals.Cat", "zoo.food.Hungry"): 1.0, ("zoo.animals.Cat", "zoo.food.Dish"): 1.0, ("zoo.food.Dish", "zoo.food.cook"): 1.0,
        ("park.visit", "zoo.animals.Cat"): 1.0, ("park.visit", "zoo.food.cook"): 1.0, ("park.visit", "zoo.food.Dish"): 1.0,
    }


def test_small_packages_leave_the_call_graph(library):
    assert set(stdlib_calls(CallOptions(smallest=2)).tables["nodes"]["label"]) == {"zoo"}


def test_relations_of_the_knowledge_graph(library):
    found = set(stdlib_knowledge(KnowledgeOptions(core=1)).tables["triples"].rows())
    assert found == {
        ("zoo.animals", "in_package", "zoo"), ("zoo.food", "in_package", "zoo"),
        ("zoo", "imports", "zoo.animals"), ("zoo.animals", "imports", "zoo.food"), ("zoo.food", "imports", "zoo"),
        ("park", "imports", "zoo"), ("park", "imports", "zoo.food"),
        ("zoo.animals", "defines_class", "zoo.animals.Animal"), ("zoo.animals", "defines_class", "zoo.animals.Cat"),
        ("zoo.food", "defines_class", "zoo.food.Hungry"), ("zoo.food", "defines_class", "zoo.food.Dish"),
        ("zoo.animals.Cat", "inherits", "zoo.animals.Animal"), ("zoo.food.Hungry", "inherits", "builtins.ValueError"),
        ("zoo.animals.Animal", "has_method_named", "eat()"), ("zoo.animals.Animal", "has_method_named", "chew()"),
        ("zoo.animals.Cat", "has_method_named", "eat()"), ("zoo.animals.Cat", "has_method_named", "serve()"),
        ("zoo.animals.Animal", "takes_argument_named", "what="), ("zoo.animals.Cat", "takes_argument_named", "what="),
        ("zoo.food", "takes_argument_named", "what="),
        ("zoo.animals.Animal", "calls", "zoo.food"), ("zoo.animals.Animal", "calls_builtin", "builtins.len"),
        ("zoo.animals.Cat", "calls_builtin", "builtins.super"), ("zoo.food", "calls_builtin", "builtins.sorted"),
        ("zoo", "raises", "builtins.SystemError"),
        ("zoo.animals.Cat", "raises", "zoo.food.Hungry"), ("zoo.animals.Cat", "instantiates", "zoo.food.Dish"),
        ("zoo.food", "catches", "zoo.food.Hungry"), ("zoo.food", "catches", "builtins.KeyError"),
        ("park", "instantiates", "zoo.animals.Cat"), ("park", "instantiates", "zoo.food.Dish"),
    }


def test_audit_finds_duplicates_inverses_and_symmetry():
    triples = [("a", "r", "b"), ("c", "r", "d"), ("a", "same", "b"), ("b", "turned", "a"), ("e", "sym", "f"), ("f", "sym", "e")]
    rows = {(row["relation"], row["other"]): (row["duplicate"], row["inverse"]) for row in audit(triples)}
    assert rows == {("r", "same"): (0.5, 0.0), ("same", "r"): (1.0, 0.0), ("r", "turned"): (0.0, 0.5), ("turned", "r"): (0.0, 1.0),
                    ("same", "turned"): (0.0, 1.0), ("turned", "same"): (0.0, 1.0), ("sym", "sym"): (0.0, 1.0)}


def test_core_leaves_only_entities_with_enough_triples():
    square = [("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d"), ("d", "r", "a")]
    assert core([*square, ("a", "r", "tail"), ("tail", "r", "end")], 2) == square
    assert core(square, 3) == []


def test_mirrors_are_one_to_one():
    import numpy as np

    triples = [(f"h{i}", "r", f"t{j}") for i in range(10) for j in range(4)]
    added = mirrored(triples, 6, np.random.default_rng(0))[len(triples):]
    mirrors = [(h, t) for h, r, t in added if r == "mirrors"]
    assert len(mirrors) == len({h for h, _ in mirrors}) == len({t for _, t in mirrors}) == 6
    copied = {(h, t) for h, r, t in added if r == "r"}
    assert 0 < len(copied) < 24 and all((h.removeprefix("mirror of "), "r", t) in triples for h, t in copied)


def test_sentences_are_split_bounded_and_distinct(library):
    table = pydoc.pydoc_sentences(pydoc.SentenceOptions(low=4, high=6)).tables["documents"]
    assert table.rows() == [("zoo#1", "zoo", "It opens at nine every day.")]
    table = pydoc.pydoc_sentences(pydoc.SentenceOptions(low=3)).tables["documents"]
    assert table["text"].to_list() == ["It opens at nine every day.", "An animal eats.", "It sleeps as well, mostly at night."]
    assert set(table["group"]) == {"zoo"}


def test_paragraphs_lose_rules_and_examples():
    text = "Title\n=====\n\nSome running\ntext here.\n\n>>> f(1)\n2\n\n* an item\n\n| a | table |"
    assert pydoc.paragraphs(text) == ["Title", "Some running text here.", "an item"]


def test_chunks_join_a_short_rest():
    words = list("abcdefghi")
    assert [len(c) for c in pydoc.chunks(words, 4)] == [4, 5]
    assert [len(c) for c in pydoc.chunks(words[:7], 4)] == [4, 3]
    assert pydoc.chunks(words, 0) == [words] and pydoc.chunks([], 4) == []


def test_sizes_on_the_real_library(monkeypatch):
    read = list(standard_library.modules())
    monkeypatch.setattr(standard_library, "modules", lambda: iter(read))
    symbols = Symbols()
    monkeypatch.setattr("stages.ingest.stdlib_knowledge.Symbols", lambda: symbols)
    monkeypatch.setattr("stages.ingest.stdlib_calls.Symbols", lambda: symbols)
    triples = stdlib_knowledge(KnowledgeOptions()).tables["triples"]
    entities = pl.concat([triples["head"], triples["tail"]])
    assert 18_000 < triples.height < 32_000 and 2_200 < entities.n_unique() < 3_800 and triples["relation"].n_unique() == 11
    assert entities.value_counts()["count"].min() >= 4
    assert max(max(row["duplicate"], row["inverse"]) for row in audit(triples.rows())) < 0.3
    calls = stdlib_calls(CallOptions()).tables
    assert 1_500 < calls["nodes"].height < 3_000 and 20 <= calls["nodes"]["label"].n_unique() <= 40
    sentences = pydoc.pydoc_sentences(pydoc.SentenceOptions()).tables["documents"]
    assert 11_000 < sentences.height < 18_000 and sentences["text"].n_unique() == sentences.height
    assert sentences["text"].str.split(" ").list.len().is_between(4, 25).all()


def test_a_name_is_tagged_by_its_part_and_not_by_its_letters(library):
    tree_text = "import io\nclass A(B):\n    async def f(self, x=1):\n        self.x = x\n        return g(x=self.f(x), y='é')  # x\n"
    found = python_tokens.tagged(tree_text, ast.parse(tree_text))
    assert found[0] == [("import", "keyword"), ("io", "import")]
    assert [t for _, t in found[1][:4]] == ["keyword", "class_name", "operator", "load"]
    assert ("f", "function_name") in found[2] and ("x", "parameter") in found[2] and ("<number>", "number") in found[2]
    assert found[3] == [("self", "load"), (".", "operator"), ("x", "attribute"), ("=", "operator"), ("x", "load")]
    assert [(w, t) for w, t in found[4] if w in ("g", "x", "f", "y")] == [
        ("g", "call"), ("x", "keyword_argument"), ("f", "method_call"), ("x", "load"), ("y", "keyword_argument")]


def test_tagged_lines_have_a_tag_a_token_and_names_their_kind(library):
    table = python_tokens.python_tokens(python_tokens.TokenOptions(every=1, low=2)).tables["pairs"]
    assert (table["source"].str.split(" ").list.len() == table["target"].str.split(" ").list.len()).all()
    assert table["source"].n_unique() == len(table) and "super ( ) . eat ( what )" in table["source"].to_list()
    names = dict(python_tokens.stdlib_names(python_tokens.NameOptions()).tables["documents"].select("text", "label").iter_rows())
    assert names["Animal"] == "class" and names["cook"] == "function" and names["chew"] == "method" and "inner" not in names


def test_documents_split_by_module_have_their_package_as_label(library):
    plain, labelled = (pydoc.pydoc_documents(pydoc.DocumentOptions(words=0, group=group, modules=2)).tables["documents"].sort("doc_id")
                       for group in ("package", "module"))
    assert plain["text"].equals(labelled["text"]) and plain["label"].null_count() == len(plain)
    assert set(plain["group"]) == {"zoo"} and labelled["group"].to_list() == ["zoo", "zoo.animals"]
    assert labelled["label"].to_list() == ["zoo", "zoo"]
    few = pydoc.pydoc_documents(pydoc.DocumentOptions(words=0, group="module", modules=3)).tables["documents"]
    assert few["label"].null_count() == 2, "two modules with docstrings are fewer than three"


def test_paragraphs_hold_a_sentence_a_line_and_questions_their_own_answer(library, monkeypatch):
    rows = pydoc.pydoc_paragraphs(pydoc.ParagraphOptions()).tables["documents"]["text"].to_list()
    assert "An animal eats.\nIt sleeps as well, mostly at night." in rows
    texts = [(f"zoo.o{i}", "zoo", f"What is number {i}?\n\nIt is the answer {i} and a few more words to be long.") for i in range(5)]
    monkeypatch.setattr(pydoc, "_texts", lambda: iter(texts))
    table = pydoc.pydoc_questions(pydoc.QuestionOptions(candidates=3)).tables["questions"]
    assert table.group_by("question_id").agg(pl.col("label").sum(), pl.len()).select("label", "len").unique().rows() == [(1, 3)]
    right = table.filter(pl.col("label") == 1)
    assert all(q.split()[-1].rstrip("?") in a for q, a in right.select("question", "answer").iter_rows())
    with pytest.raises(InputError, match="options.low: 7 is more than options.high"):
        pydoc.pydoc_paragraphs(pydoc.ParagraphOptions(low=7))
