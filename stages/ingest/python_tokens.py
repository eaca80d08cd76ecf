"""Python's own source as sequences: each token of a logical line with its class, and the names that are defined with what they name.

The class of a name is its part in the syntax tree, which the name alone does not tell: the same word is a parameter here, loaded there.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from dataclasses import dataclass

import polars as pl

from stages.ingest import standard_library
from stages.ingest.raw import Raw
from stages.settings import InputError, field

KINDS = {tokenize.NUMBER: "number", tokenize.STRING: "string", tokenize.OP: "operator"}


@dataclass(frozen=True)
class TokenOptions:
    every: int = field(6, low=1, doc="every n-th module, by name")
    low: int = field(4, low=1, doc="fewest tokens of a line")
    high: int = field(30, low=1, doc="most tokens")


@dataclass(frozen=True)
class NameOptions:
    pass


def python_tokens(options: TokenOptions) -> Raw:
    """Pairs: the tokens of a logical line (strings and numbers as <string>, <number>), and the class of each; no pair twice."""
    if options.low > options.high:
        raise InputError(f"options.low: {options.low} is more than options.high, {options.high}; no line would be left")
    rows, seen = [], set()
    for module in list(standard_library.modules())[:: options.every]:
        parts = module.name.split(".")
        path = standard_library.root().joinpath(*parts, "__init__.py") if module.is_package else \
            standard_library.root().joinpath(*parts).with_suffix(".py")
        text = path.read_bytes().decode("utf-8", "replace")
        for i, line in enumerate(tagged(text, module.tree)):
            words, tags = " ".join(w for w, _ in line), " ".join(t for _, t in line)
            if options.low <= len(line) <= options.high and words not in seen:
                seen.add(words)
                rows.append((f"{module.name}#{i}", words, tags, module.package))
    table = pl.DataFrame(rows, schema=["pair_id", "source", "target", "group"], orient="row")
    return Raw("pairs", {"pairs": table}, licence=standard_library.LICENCE, address=standard_library.ADDRESS,
               notes={"python": standard_library.python_version()})


def tagged(text: str, tree: ast.Module) -> list[list[tuple[str, str]]]:
    """(token, class) of each logical line of a module."""
    roles, lines, line = parts_of_names(tree), [], []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            if keyword.iskeyword(token.string):
                line.append((token.string, "keyword"))
            else:
                at = token.start[0], len(token.line[: token.start[1]].encode())
                line.append((token.string, roles.get((at, token.string), "other")))
        elif token.type in KINDS:
            kind = KINDS[token.type]
            line.append((token.string if kind == "operator" else f"<{kind}>", kind))
        elif token.type == tokenize.NEWLINE:
            lines.append(line)
            line = []
    return lines


def parts_of_names(tree: ast.Module) -> dict[tuple[tuple[int, int], str], str]:
    """{((line, byte), name): its part}: load, store, call, parameter, keyword_argument; names after a dot and definitions by themselves."""
    found, called = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called.add(id(node.func))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            kind = "call" if id(node) in called else "load" if isinstance(node.ctx, ast.Load) else "store"
            found[(node.lineno, node.col_offset), node.id] = kind
        elif isinstance(node, ast.Attribute):
            at = node.end_lineno, node.end_col_offset - len(node.attr.encode())
            found[at, node.attr] = "method_call" if id(node) in called else "attribute"
        elif isinstance(node, ast.arg):
            found[(node.lineno, node.col_offset), node.arg] = "parameter"
        elif isinstance(node, ast.keyword) and node.arg:
            found[(node.lineno, node.col_offset), node.arg] = "keyword_argument"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            word, kind = ("class ", "class_name") if isinstance(node, ast.ClassDef) else ("def ", "function_name")
            before = len("async ") if isinstance(node, ast.AsyncFunctionDef) else 0
            found[(node.lineno, node.col_offset + before + len(word)), node.name] = kind
        elif isinstance(node, ast.alias):
            found[(node.lineno, node.col_offset), node.name.split(".")[0]] = "import"
    return found


def stdlib_names(options: NameOptions) -> Raw:
    """Documents of one name each; the label is what it names. A name of several kinds is left out."""
    kinds: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for module in standard_library.modules():
        for node in ast.walk(module.tree):
            for name, kind in named(node):
                kinds.setdefault(name, set()).add(kind)
                first.setdefault(name, f"{module.name}.{name}")
    rows = [(first[name], name, next(iter(k))) for name, k in kinds.items() if len(k) == 1 and 3 <= len(name) <= 30 and name.isascii()]
    table = pl.DataFrame(rows, schema=["doc_id", "text", "label"], orient="row").unique("doc_id", keep="first", maintain_order=True)
    return Raw("documents", {"documents": table}, licence=standard_library.LICENCE, address=standard_library.ADDRESS,
               notes={"python": standard_library.python_version()})


def named(node: ast.AST):
    """(name, what it names) that a node of the tree defines."""
    if isinstance(node, ast.ClassDef):
        yield node.name, "exception" if node.name.endswith(("Error", "Exception", "Warning")) else "class"
        for child in node.body:
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield child.name, "method"
    elif isinstance(node, ast.Module):
        for child in node.body:
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield child.name, "function"
            elif isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name) and child.targets[0].id.isupper():
                yield child.targets[0].id, "constant"
