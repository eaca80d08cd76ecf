"""The standard library as source text: parsed, never imported, in sorted order.

Left out: tests, what some distributions package apart (so that the same Python gives the same data everywhere), and what is
generated on the machine it was built on.
"""

from __future__ import annotations

import ast
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LICENCE = "PSF-2.0 (Python)"
ADDRESS = "https://github.com/python/cpython"
SKIPPED = {
    "test", "tests", "idle_test", "idlelib", "lib2to3", "tkinter", "turtledemo", "turtle", "distutils", "ensurepip", "venv",
    "site-packages", "dist-packages", "__pycache__", "__phello__", "_sysconfigdata", "sitecustomize", "usercustomize",
    "antigravity", "this",
}


@dataclass(frozen=True)
class SourceModule:
    """One module: dotted name, the package it is reported under (its first component), whether it is a package, its tree."""

    name: str
    package: str
    is_package: bool
    tree: ast.Module


def python_version() -> str:
    return platform.python_version()


def root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def modules() -> Iterator[SourceModule]:
    """Every module of the standard library that is written in Python, by dotted name."""
    found = []
    for path in root().rglob("*.py"):
        parts = list(path.relative_to(root()).with_suffix("").parts)
        if any(p in SKIPPED or "-" in p or p.startswith("_sysconfigdata") for p in parts):
            continue
        is_package = parts[-1] == "__init__"
        found.append((".".join(parts[:-1] if is_package else parts), is_package, path))
    for name, is_package, path in sorted(found):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in old modules
            yield SourceModule(name, name.split(".")[0], is_package, ast.parse(path.read_bytes()))


def docstrings(module: SourceModule) -> Iterator[tuple[str, str]]:
    """(qualified name, cleaned docstring) of the module, its classes and functions, in the order of the file."""

    def visit(node, name):
        text = ast.get_docstring(node)
        if text:
            yield name, text
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from visit(child, f"{name}.{child.name}")

    yield from visit(module.tree, module.name)


def topics() -> list[tuple[str, str]]:
    """(name, text) of the reference manual's topics that `pydoc_data` carries, read from its source."""
    path = root() / "pydoc_data" / "topics.py"
    if path.is_file():
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "topics":
                return sorted(ast.literal_eval(node.value).items())
    return []
