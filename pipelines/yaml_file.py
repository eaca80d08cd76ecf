"""YAML as plain data, by the fast parser."""

from __future__ import annotations

from pathlib import Path

from stages.settings import InputError


def read_yaml(path: Path) -> dict:
    """A YAML file as plain data; {} where there is none. Raises InputError where it is not YAML."""
    import yaml

    if not path.is_file():
        return {}
    try:
        return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
