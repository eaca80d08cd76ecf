"""YAML as plain data, by the fast parser."""

from __future__ import annotations

from pathlib import Path


def read_yaml(path: Path) -> dict:
    """A YAML file as plain data; {} where there is none."""
    import yaml

    if not path.is_file():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
