"""Formulas: the markup of what is known, an error for what is not, and nothing of the text taken for markup."""

import xml.etree.ElementTree as ElementTree

import pytest

from stages.report.mathml import mathml
from stages.settings import InputError


def tree(tex):
    return ElementTree.fromstring(str(mathml(tex)))


def shape(element):
    return element.tag if not len(element) else (element.tag, *map(shape, element))


def test_scripts_fractions_and_roots():
    assert shape(tree(r"x_i^2")) == ("math", ("mrow", ("msubsup", "mi", "mi", "mn")))
    assert shape(tree(r"\frac{a}{\sqrt{2}}")) == ("math", ("mrow", ("mfrac", ("mrow", "mi"), ("mrow", ("msqrt", ("mrow", "mn"))))))
    assert shape(tree(r"\sum_{i} x")) == ("math", ("mrow", ("munder", "mo", ("mrow", "mi")), "mi"))
    assert shape(tree(r"\min_x f")) == ("math", ("mrow", ("munder", "mi", "mi"), "mo", "mspace", "mi"))
    assert shape(tree(r"\left( x \right)")) == ("math", ("mrow", ("mrow", "mo", ("mrow", "mi"), "mo")))


def test_a_function_stands_apart_from_what_is_beside_it_but_not_from_its_bracket():
    assert shape(tree(r"\E \log D")) == ("math", ("mrow", "mi", "mspace", "mi", "mo", "mspace", "mi"))
    assert shape(tree(r"- \log (x)")) == ("math", ("mrow", "mo", "mi", "mo", "mo", "mi", "mo"))
    assert shape(tree(r"\log \log x")) == ("math", ("mrow", "mi", "mo", "mspace", "mi", "mo", "mspace", "mi"))
    assert shape(tree(r"\KL \, \left( p \right)")) == ("math", ("mrow", "mi", "mo", "mspace", ("mrow", "mo", ("mrow", "mi"), "mo")))


def test_what_is_read_aloud():
    said = "".join(tree(r"\log x - \beta\, \KL(q \parallel p) \text{ if } x \le 0").itertext())
    assert said == "log\u2061x−βKL\u2061(q∥p)\u00a0if\u00a0x≤0"
    assert tree("x < y").get("alttext") == "x < y"


@pytest.mark.parametrize(("tex", "said"), [
    (r"\foo x", r"unknown command \foo"), (r"\frac{a}", "ends too early"), ("{a", "ends before"), ("a}", "without its partner"),
    (r"\left( a", "ends before"), ("_", "where a symbol was expected"), (r"\text{a", "without its closing brace"),
])
def test_what_is_not_known_is_one_line(tex, said):
    with pytest.raises(InputError) as error:
        mathml(tex)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_text_is_never_markup():
    assert "<script>" not in str(mathml(r"\text{<script>} <b> x")) and "&lt;" in str(mathml("a < b"))
