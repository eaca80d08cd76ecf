r"""Formulas as MathML, which browsers draw and screen readers read without any script: a small part of TeX in, markup out.

Known: letters, numbers, operators, `^`, `_`, `{}`, \frac{}{}, \sqrt{}, \text{}, \mathrm{}, \hat{}, \bar{}, \tilde{}, \dot{}, brackets after
\left and \right, the Greek letters and symbols of SYMBOLS, the functions of FUNCTIONS, spaces \, \; \quad. Every leaf is escaped. What is
not known is an InputError, so that a formula is never shown wrong.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from stages.settings import InputError

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.DOTALL)
GREEK = dict(zip("alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split(),
                 "αβγδεζηθκλμνξπρστφχψω", strict=True))
CAPITALS = {"Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ", "Omega": "Ω"}
SYMBOLS = {"le": "≤", "ge": "≥", "ne": "≠", "to": "→", "infty": "∞", "cdot": "·", "times": "×", "nabla": "∇", "partial": "∂", "approx": "≈",
           "in": "∈", "sim": "∼", "pm": "±", "mid": "|", "parallel": "∥", "circ": "∘", "ldots": "…", "propto": "∝", "ll": "≪", "gg": "≫",
           "lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "langle": "⟨", "rangle": "⟩", "iff": "⇔", "Rightarrow": "⇒", "top": "⊤",
           "{": "{", "}": "}", "subset": "⊂", "odot": "⊙"}
FUNCTIONS = ("log", "exp", "max", "min", "sup", "inf", "lim", "tanh", "cos", "tr", "diag", "Var", "Cov", "KL", "JSD", "argmin", "argmax")
LARGE = {"sum": "∑", "prod": "∏", "int": "∫"}
LETTERS = {"E": "𝔼", "R": "ℝ", "N": "𝒩"}  # \E, \R, \N
SPACES = {",": "0.17em", ";": "0.28em", "quad": "1em", " ": "0.3em"}
THIN = Markup('<mspace width="{}"/>').format(SPACES[","])
APPLIED = Markup("<mo>\u2061</mo>")  # function application: read aloud as "of"
ACCENTS = {"dot": "˙", "hat": "^", "bar": "¯", "tilde": "~"}


def mathml(tex: str) -> Markup:
    """`<math>` of the formula, with its TeX as alternative text. Raises InputError for TeX that it does not know."""
    body = _Reader(TOKEN.findall(tex), tex).row(None)
    return Markup('<math display="block" alttext="{}">{}</math>').format(tex, body)


class _Reader:
    def __init__(self, tokens: list[str], tex: str):
        self.tokens, self.at, self.tex = tokens, 0, tex

    def wrong(self, what: str) -> InputError:
        return InputError(f"formula {self.tex!r}: {what}")

    def next(self) -> str:
        self.skip()
        if self.at >= len(self.tokens):
            raise self.wrong("ends too early; a brace or an argument is missing")
        self.at += 1
        return self.tokens[self.at - 1]

    def skip(self) -> None:
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1

    def peek(self) -> str | None:
        self.skip()
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def row(self, end: str | None) -> Markup:
        """Everything up to `end` (which is taken), in one <mrow>."""
        parts = []
        while (token := self.peek()) != end:
            if token is None or token in ("}", "\\right"):
                raise self.wrong(f"{'ends before' if token is None else f'{token} without its partner; expected'} {end or 'the end'}")
            if token[1:] in FUNCTIONS and parts and not parts[-1].endswith(("</mo>", "/>")):
                parts.append(THIN)  # as TeX sets it: E log D, not ElogD
            parts.append(self.scripted())
            if parts[-1].endswith(APPLIED) and (self.peek() or end) not in (end, "(", "\\left", *(f"\\{space}" for space in SPACES)):
                parts.append(THIN)
        if end is not None:
            self.next()
        return Markup("<mrow>{}</mrow>").format(Markup("").join(parts))

    def scripted(self) -> Markup:
        """An atom with its sub- and superscript."""
        name = (self.peek() or "")[1:] if (self.peek() or "").startswith("\\") else ""
        large = name in (*LARGE, "lim", "max", "min", "sup", "inf")
        base, below, above = self.atom(), None, None
        while self.peek() in ("_", "^"):
            if self.next() == "_":
                below = self.atom()
            else:
                above = self.atom()
        tags = ("munder", "mover", "munderover") if large else ("msub", "msup", "msubsup")
        applied = APPLIED if name in FUNCTIONS else Markup("")
        if below is None and above is None:
            return base + applied
        tag = tags[2] if below is not None and above is not None else tags[0] if below is not None else tags[1]
        parts = Markup("").join(part for part in (base, below, above) if part is not None)
        return Markup("<{}>{}</{}>").format(Markup(tag), parts, Markup(tag)) + applied

    def atom(self) -> Markup:
        token = self.next()
        if token == "{":
            return self.row("}")
        if token.startswith("\\"):
            return self.named(token[1:])
        if token[0].isdigit():
            return leaf("mn", token)
        if token.isalpha():
            return leaf("mi", token)
        if token in ("_", "^", "}"):
            raise self.wrong(f"{token} where a symbol was expected")
        return leaf("mo", {"-": "−", "*": "∗", "'": "′"}.get(token, token))

    def named(self, name: str) -> Markup:
        if name == "frac":
            return Markup("<mfrac>{}{}</mfrac>").format(self.atom(), self.atom())
        if name == "sqrt":
            return Markup("<msqrt>{}</msqrt>").format(self.atom())
        if name in ("text", "mathrm"):
            return leaf("mtext" if name == "text" else "mi", self.raw().replace(" ", "\u00a0"))  # at its ends white space would be lost
        if name in ACCENTS:
            return Markup('<mover accent="true">{}{}</mover>').format(self.atom(), leaf("mo", ACCENTS[name]))
        if name in ("left", "right"):
            if name == "right":
                raise self.wrong("\\right without \\left")
            opening, inside, closing = self.bracket(), self.row("\\right"), self.bracket()
            return Markup("<mrow>{}{}{}</mrow>").format(opening, inside, closing)
        if name in SPACES:
            return Markup('<mspace width="{}"/>').format(SPACES[name])
        for table, tag in ((GREEK, "mi"), (CAPITALS, "mi"), (LETTERS, "mi"), (SYMBOLS, "mo"), (LARGE, "mo")):
            if name in table:
                return leaf(tag, table[name])
        if name in FUNCTIONS:
            return leaf("mi", name)
        raise self.wrong(f"unknown command \\{name}")

    def bracket(self) -> Markup:
        token = self.next()
        return Markup('<mo stretchy="true">{}</mo>').format(SYMBOLS.get(token.removeprefix("\\"), token))

    def raw(self) -> str:
        """The text between braces as it stands in the formula, spaces included."""
        if self.next() != "{":
            raise self.wrong("\\text needs braces")
        if "}" not in self.tokens[self.at :]:
            raise self.wrong("\\text without its closing brace")
        start, self.at = self.at, self.tokens.index("}", self.at) + 1
        return "".join(self.tokens[start : self.at - 1])


def leaf(tag: str, text: str) -> Markup:
    return Markup("<{}>{}</{}>").format(Markup(tag), escape(text), Markup(tag))
