"""The standard library as a knowledge graph, lifted to classes and modules: what a method or function does counts for its class,
else for its module.

| relation | head | tail |
|---|---|---|
| in_package | module | package |
| defines_class | module | class |
| inherits | class | class |
| imports | module | module |
| calls | class or module | class or module whose function is called |
| instantiates | class or module | class |
| raises, catches | class or module | exception |
| calls_builtin | class or module | built-in function or type, exceptions left out: `raises` has them |
| has_method_named | class | `name()` |
| takes_argument_named | class or module | `name=` |

Left out because they repeat another relation: `has_method` (of has_method_named), exceptions under calls_builtin and instantiates
(of raises), calls where `imports` or `inherits` already joins the two, a module's use of a class it defines. `audit` measures what
is left: mostly exceptions that are caught where they are raised.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.ingest import standard_library
from stages.ingest.raw import Raw
from stages.ingest.symbols import BUILTINS, FUNCTIONS, Symbols
from stages.settings import field

Triple = tuple[str, str, str]
BUILTIN_EXCEPTIONS = frozenset(
    n for n in BUILTINS if isinstance(getattr(builtins, n), type) and issubclass(getattr(builtins, n), BaseException)
)
SPECIAL = ("self", "cls")


@dataclass(frozen=True)
class KnowledgeOptions:
    core: int = field(4, low=1, doc="triples an entity must stand in to be kept")
    one_to_one: int = field(0, low=0, doc="simulated mirror entities, for a relation of kind 1-1")
    seed: int = field(0, doc="of the simulated relation")


def stdlib_knowledge(options: KnowledgeOptions) -> Raw:
    triples = core(sorted(_triples(Symbols())), options.core)
    triples = mirrored(triples, options.one_to_one, np.random.default_rng(options.seed))
    leaks = [row for row in audit(triples) if row["duplicate"] > 0.02 or row["inverse"] > 0.02]
    return Raw(
        "triples", {"triples": pl.DataFrame(triples, schema=["head", "relation", "tail"], orient="row")},
        licence=standard_library.LICENCE, address=standard_library.ADDRESS,
        notes={"python": standard_library.python_version(), "audit": leaks},
    )


def core(triples: list[Triple], k: int) -> list[Triple]:
    """The largest part of `triples` in which every entity stands in at least `k` of them, order kept."""
    while True:
        degree = Counter(entity for head, _, tail in triples for entity in (head, tail))
        kept = [t for t in triples if degree[t[0]] >= k and degree[t[2]] >= k]
        if len(kept) == len(triples):
            return kept
        triples = kept


def audit(triples: list[Triple]) -> list[dict]:
    """For each ordered pair of relations, the share of the first's (head, tail) pairs that the second has too (`duplicate`), and
    has turned round (`inverse`); pairs of relations that share nothing are left out. A relation's `inverse` of itself is its symmetry.
    """
    pairs = defaultdict(set)
    for head, relation, tail in triples:
        pairs[relation].add((head, tail))
    rows = []
    for a in sorted(pairs):
        turned = {(t, h) for h, t in pairs[a]}
        for b in sorted(pairs):
            duplicate = len(pairs[a] & pairs[b]) / len(pairs[a]) if a != b else 0.0
            inverse = len(turned & pairs[b]) / len(pairs[a])
            if duplicate or inverse:
                rows.append({"relation": a, "other": b, "duplicate": duplicate, "inverse": inverse})
    return rows


def mirrored(triples: list[Triple], n: int, rng) -> list[Triple]:
    """`triples` with `n` simulated entities: each `mirrors` one entity and repeats about half of what that one is the head of."""
    heads = sorted({t[0] for t in triples})
    added = []
    for index in sorted(rng.choice(len(heads), min(n, len(heads)), replace=False)):
        copy = f"mirror of {heads[index]}"
        own = [t for t in triples if t[0] == heads[index]]
        added += [(copy, "mirrors", heads[index]), *((copy, r, t) for _, r, t in own if rng.random() < 0.5)]
    return triples + added


def _triples(symbols: Symbols) -> set[Triple]:
    found: set[Triple] = set()
    exceptions = _exceptions(symbols)
    modules = [d for d in symbols.definitions.values() if d.kind == "module"]
    for module in modules:
        if "." in module.name:
            found.add((module.name, "in_package", module.name.rpartition(".")[0]))
        for target in symbols.imports[module.name].values():
            while target and symbols.kind(target) != "module":
                target = target.rpartition(".")[0]
            if target and target != module.name:
                found.add((module.name, "imports", target))
    for definition in symbols.definitions.values():
        here = _lifted(symbols, definition.name)
        if definition.kind == "class":
            found.add((definition.module, "defines_class", definition.name))
            found.update((definition.name, "inherits", _named(base)) for base in definition.bases)
        if definition.kind == "function":
            if definition.owner:
                found.add((here, "has_method_named", f"{definition.node.name}()"))
            found.update((here, "takes_argument_named", f"{a}=") for a in _arguments(definition.node) if a not in SPECIAL)
        found.update(_actions(symbols, definition, here, exceptions))
    told = {r: {(h, t) for h, relation, t in found if relation == r} for r in ("imports", "inherits", "defines_class")}
    repeated = {"calls": told["imports"] | told["inherits"], "instantiates": told["defines_class"]}
    return {t for t in found if (t[0], t[2]) not in repeated.get(t[1], ())}


def _actions(symbols, definition, here, exceptions):
    """What the statements of `definition` raise, catch, call and instantiate."""
    for node in symbols.references(definition, (ast.Raise, ast.ExceptHandler, ast.Call)):
        if isinstance(node, ast.Raise):
            value = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            target = symbols.resolve(value, definition.module, definition.owner) if value else None
            if target in exceptions:
                yield here, "raises", _named(target)
        elif isinstance(node, ast.ExceptHandler):
            for kind in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
                target = symbols.resolve(kind, definition.module, definition.owner) if kind else None
                if target in exceptions:
                    yield here, "catches", _named(target)
        else:
            target = symbols.resolve(node.func, definition.module, definition.owner)
            if target in exceptions or target is None:
                continue
            if target in BUILTINS:
                yield here, "calls_builtin", _named(target)
            elif symbols.kind(target) == "class" and target != here:
                yield here, "instantiates", target
            elif symbols.kind(target) == "function":
                there = _lifted(symbols, target)
                if there not in (here, definition.module):
                    yield here, "calls", there


def _exceptions(symbols) -> set[str]:
    """Exception classes: the built-in ones and what inherits from them."""
    found = set(BUILTIN_EXCEPTIONS)
    classes = [d for d in symbols.definitions.values() if d.kind == "class"]
    while True:
        more = {d.name for d in classes if d.name not in found and any(b in found for b in d.bases)}
        if not more:
            return found
        found |= more


def _lifted(symbols, name):
    definition = symbols.definitions[name]
    return definition.owner or (name if definition.kind != "function" else definition.module)


def _named(name):
    return f"builtins.{name}" if name in BUILTINS else name


def _arguments(node):
    assert isinstance(node, FUNCTIONS)
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
