"""Checked settings: a dataclass describes what a mapping may hold, `configure` turns the mapping into it.

Every wrong key, type or value is one line: where it stands, what was given, what is allowed, the nearest match.
Uses the standard library alone, so that a bare training machine reads settings by the same rules.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping


class InputError(Exception):
    """Something the user gave is wrong. The message is one line: what, where, what is allowed, how to mend it."""


def field(default, *, low=None, high=None, above=None, doc=""):
    """A dataclass field with a range: `low <= value <= high`, or `value > above`. `default` may be a mutable dict or list."""
    meta = {"low": low, "high": high, "above": above, "doc": doc}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """' (did you mean X?)' for the closest allowed name, or nothing."""
    match = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def choose(value: str, allowed: Iterable[str], where: str, what: str) -> str:
    """`value` if it is one of `allowed`, else InputError naming the nearest match."""
    allowed = list(allowed)
    if value not in allowed:
        shown = ", ".join(map(str, allowed)) or "none"
        raise InputError(f"{where}: unknown {what} {value!r}; allowed: {shown}{nearest(value, allowed)}")
    return value


def configure(cls: type, given: Mapping | None, where: str):
    """An instance of dataclass `cls` from the mapping `given`; `where` names the mapping's place in the file.

    Raises InputError for an unknown key, a missing one, a wrong type or a value out of range.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: expected a mapping of settings, found {given!r}; write {{}} for none")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in given:
        if key not in fields:
            raise InputError(f"{where}.{key}: unknown setting; allowed: {', '.join(fields) or 'none'}{nearest(key, fields)}")
    values = {}
    for name, f in fields.items():
        if name in given:
            values[name] = _checked(given[name], hints[name], f.metadata, f"{where}.{name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}.{name}: missing; expected {_spell(hints[name])}")
    return cls(**values)


def _checked(value, hint, meta, where):
    converted = _convert(value, hint, where)
    for item in converted if isinstance(converted, (tuple, list)) else (converted,):
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            continue
        low, high, above = meta.get("low"), meta.get("high"), meta.get("above")
        if (low is not None and item < low) or (high is not None and item > high) or (above is not None and item <= above):
            bounds = [f"at least {low}" if low is not None else "", f"more than {above}" if above is not None else "",
                      f"at most {high}" if high is not None else ""]
            raise InputError(f"{where}: {item!r} is out of range; allowed: {' and '.join(b for b in bounds if b)}")
        if item != item or item in (float("inf"), float("-inf")):
            raise InputError(f"{where}: {item!r} is not a finite number")
    return converted


def _convert(value, hint, where):
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    wrong = InputError(f"{where}: expected {_spell(hint)}, found {value!r}")
    if hint is typing.Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        for option in options:
            try:
                return _convert(value, option, where)
            except InputError:
                continue
        raise wrong
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool) != isinstance(args[list(args).index(value)], bool):
            raise InputError(f"{where}: unknown value {value!r}; allowed: {', '.join(map(str, args))}{nearest(value, args)}")
        return value
    if origin in (tuple, list):
        if isinstance(value, str) or not isinstance(value, (tuple, list)):
            raise wrong
        inner = args[0] if args else typing.Any
        if origin is tuple and args and args[-1] is not Ellipsis and len(args) != len(value):
            raise wrong
        return origin(_convert(v, inner, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise wrong
        if not args:
            return dict(value)
        return {_convert(k, args[0], where): _convert(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return configure(hint, value, where)
    if hint is float:
        if isinstance(value, bool):
            raise wrong
        if isinstance(value, str):  # YAML reads 1e-3 as a string
            try:
                return float(value)
            except ValueError:
                raise wrong from None
        if not isinstance(value, (int, float)):
            raise wrong
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong
        return value
    if hint in (str, bool):
        if not isinstance(value, hint):
            raise wrong
        return value
    raise TypeError(f"settings of type {hint} are not supported ({where})")


def _spell(hint) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a mapping"}
    if hint in names:
        return names[hint]
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing (null)" if a is type(None) else _spell(a) for a in args)
    if origin in (tuple, list):
        return f"a list of {_spell(args[0])}" if args else "a list"
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, args))
    return "a mapping"
