"""dvc.yaml names every file a stage's program imports: a missing one would leave results that no longer fit the code."""

import ast
from pathlib import Path

import pytest
import yaml

from stages.params import load

ROOT = Path(__file__).resolve().parents[2]


def imports(path: Path, seen: set[Path]) -> set[Path]:
    """Every file under stages/ that the file imports, directly or not, wherever in it the import stands."""
    if path in seen:
        return seen
    seen.add(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stages"):
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("stages")]
        for name in names:
            for candidate in (ROOT / (name.replace(".", "/") + ".py"), ROOT / name.replace(".", "/") / "__init__.py"):
                if candidate.is_file():
                    imports(candidate, seen)
    return seen


def named(stage: str) -> list[str]:
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    return [d for d in definition.get("do", definition)["deps"] if d.startswith("stages")]


def covered(path: Path, deps: list[str]) -> bool:
    relative = path.relative_to(ROOT).as_posix()
    return any(relative == d or relative.startswith(d + "/") for d in deps)


def needed(stage: str) -> set[Path]:
    """Everything the stage's package imports."""
    found = set()
    for path in sorted((ROOT / "stages" / stage).rglob("*.py")):
        imports(path, found)
    return found


@pytest.mark.parametrize("stage", ["ingest", "validate", "prepare", "report"])
def test_every_imported_file_is_a_dependency(stage):
    missing = [p.relative_to(ROOT).as_posix() for p in sorted(needed(stage)) if not covered(p, named(stage))]
    assert not missing, f"dvc.yaml: {stage}.deps misses {missing}"


def test_every_file_of_a_claim_is_a_dependency():
    for name, claim in load(ROOT / "params.yaml").claims.items():
        files = imports(ROOT / "stages/claims/__main__.py", set()) | imports(ROOT / f"stages/claims/{claim.theme}.py", set())
        deps = [d.replace("${item.theme}", claim.theme) for d in named("claims")]
        missing = [p.relative_to(ROOT).as_posix() for p in sorted(files) if not covered(p, deps)]
        assert not missing, f"dvc.yaml: claims@{name} misses {missing}"


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_every_file_of_a_family_is_a_dependency(stage):
    for name, run in load(ROOT / "params.yaml").runs.items():
        deps = [d.replace("${item.family}", run.family) for d in named(stage)]
        files = needed(stage) | imports(ROOT / f"stages/models/{run.family}.py", set())
        missing = [p.relative_to(ROOT).as_posix() for p in sorted(files) if not covered(p, deps) and p.name != "__init__.py"]
        assert not missing, f"dvc.yaml: {stage}@{name} misses {missing}"


def test_layers_run_one_way():
    """pipelines never import models or training; no stage imports another, but evaluate and train may read models.

    The page of history, which pipelines render, wears the report's look: its templates and charts, nothing else of it.
    """
    for path in sorted((ROOT / "pipelines").glob("*.py")):
        used = {p.relative_to(ROOT).parts[1] for p in imports(path, set()) if p.relative_to(ROOT).parts[0] == "stages"}
        look = {"report"} if path.name == "history.py" else set()
        assert not used & ({"models", "train", "evaluate", "ingest", "validate", "prepare", "report"} - look), path
    allowed = {
        "claims": {"evaluate", "train", "models"},
        "train": {"models"},
        "evaluate": {"models"},
        "models": set(),
        "ingest": set(),
        "validate": set(),
        "prepare": set(),
        "report": set(),
    }
    for stage, others in allowed.items():
        for path in sorted((ROOT / "stages" / stage).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stages."):
                    other = node.module.split(".")[1]
                    assert other not in allowed or other in others | {stage}, f"{path}: imports stages.{other}"
