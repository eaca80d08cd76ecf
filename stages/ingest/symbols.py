"""Names of the standard library resolved without running it: what is defined where, and what an expression refers to.

A symbol is a dotted name, `package.module.Class.method`. Resolution follows imports (also `from x import *` and names a package
passes on), attributes of modules and classes, `self`, `cls` and `super()`; what needs running the code stays unresolved (None).
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass, field

from stages.ingest import standard_library

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BUILTINS = frozenset(n for n in dir(builtins) if not n.startswith("_"))


@dataclass
class Definition:
    """A module, class or function. `owner` is the class a method belongs to, `bases` the resolved base classes of a class."""

    name: str
    kind: str
    module: str
    package: str
    node: ast.AST
    owner: str | None = None
    bases: list[str] = field(default_factory=list)


class Symbols:
    """All definitions (`definitions`, in source order) and the imports of every module."""

    def __init__(self):
        self.definitions: dict[str, Definition] = {}
        self.imports: dict[str, dict[str, str]] = {}
        self._stars: dict[str, list[str]] = {}
        for module in standard_library.modules():
            self._add_module(module)
        for found in [d for d in self.definitions.values() if d.kind == "class"]:
            for base in found.node.bases:
                target = self.resolve(base, found.module, None)
                if target and target != found.name and (target in BUILTINS or self.kind(target) == "class"):
                    found.bases.append(target)

    def kind(self, name: str | None) -> str | None:
        return self.definitions[name].kind if name in self.definitions else None

    def _add_module(self, module):
        self.definitions[module.name] = Definition(module.name, "module", module.name, module.package, module.tree)
        self.imports[module.name], self._stars[module.name] = {}, []
        self._add_imports(module)
        self._add_body(module.tree.body, module.name, module, None)

    def _add_body(self, body, prefix, module, owner):
        for node in body:
            if isinstance(node, (ast.If, ast.Try)):  # definitions chosen by platform or by what can be imported
                inner = [*node.body, *node.orelse, *(s for h in getattr(node, "handlers", []) for s in h.body)]
                self._add_body(inner, prefix, module, owner)
                continue
            if not isinstance(node, (ast.ClassDef, *FUNCTIONS)):
                continue
            name = f"{prefix}.{node.name}"
            if name in self.definitions:
                continue
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            self.definitions[name] = Definition(name, kind, module.name, module.package, node, owner)
            if kind == "class":
                self._add_body(node.body, name, module, name)

    def _add_imports(self, module):
        table = self.imports[module.name]
        parts = module.name.split(".")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    table[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
                    base = ".".join([*above, base] if base else above)
                for alias in node.names:
                    if alias.name == "*":
                        self._stars[module.name].append(base)
                    else:
                        table[alias.asname or alias.name] = f"{base}.{alias.name}"

    def member(self, name: str, attribute: str, depth: int = 0) -> str | None:
        """The symbol `name.attribute`: a definition, something a module passes on, or a method of a base class."""
        direct = f"{name}.{attribute}"
        if direct in self.definitions or depth > 8:
            return direct if direct in self.definitions else None
        kind = self.kind(name)
        if kind == "module":
            target = self.imports[name].get(attribute)
            if target:
                return self.dotted(target, depth + 1)
            for star in self._stars[name]:
                target = star != name and star in self.definitions and self.member(star, attribute, depth + 1)
                if target:
                    return target
        elif kind == "class":
            for base in self.definitions[name].bases:
                target = self.member(base, attribute, depth + 1)
                if target:
                    return target
        return None

    def dotted(self, name: str, depth: int = 0) -> str | None:
        """The definition a fully qualified dotted name refers to."""
        if name in self.definitions:
            return name
        head, _, last = name.rpartition(".")
        owner = head and self.dotted(head, depth)
        return self.member(owner, last, depth) if owner else None

    def resolve(self, expression: ast.AST, module: str, owner: str | None) -> str | None:
        """What `expression` refers to inside `module` (and class `owner`): a symbol, a builtin's name, or None."""
        if isinstance(expression, ast.Name):
            if owner and expression.id in ("self", "cls"):
                return owner
            return self.member(module, expression.id) or (expression.id if expression.id in BUILTINS else None)
        if isinstance(expression, ast.Attribute):
            value = expression.value
            if owner and isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super":
                found = (self.member(base, expression.attr) for base in self.definitions[owner].bases)
                return next((f for f in found if f), None)
            target = self.resolve(value, module, owner)
            return self.member(target, expression.attr) if target in self.definitions else None
        return None

    def references(self, definition: Definition, node_type):
        """Nodes of type `node_type` inside the body of a function or a module's own statements, in no particular order; nested
        definitions of a function are included, those of a module or class not."""
        stack = list(definition.node.body)
        inside = definition.kind == "function"
        while stack:
            node = stack.pop()
            if not inside and isinstance(node, (ast.ClassDef, *FUNCTIONS)):
                continue
            if isinstance(node, node_type):
                yield node
            stack.extend(ast.iter_child_nodes(node))
