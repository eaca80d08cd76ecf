"""A git worktree beside the workspace that shares DVC's cache: what runs in it leaves the workspace as it is, and is resumable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.names import some
from pipelines.provenance import git
from stages.settings import InputError

FOLDER = Path("data/.profiles")


def head(root: Path, what: str) -> str:
    """The last commit, which `what` runs at."""
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        raise InputError(f"{root}: {what} runs at a commit, and there is none; run git init and commit first")
    return commit


def changed(root: Path) -> list[str]:
    """Files that differ from the last commit."""
    return git(root, "diff", "--name-only", "HEAD").splitlines()


def note(line: str, files: Sequence[str]) -> None:
    print(f"note: {line} {some(files)}", file=sys.stderr, flush=True)


def worktree(root: Path, name: str, commit: str) -> Path:
    """The worktree `name` at `commit`; made where it is not there, what lies in it that git does not track is kept."""
    folder = root / FOLDER / name
    if not (folder / ".git").exists():
        run_git(root, "worktree", "prune")
        run_git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    if git(folder, "rev-parse", "HEAD") != commit:
        run_git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    share_cache(root, folder)
    return folder


def run_git(folder: Path, *arguments: str, given: bytes = b"") -> None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, input=given, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["failed"]
        raise InputError(f"git {' '.join(arguments)} in {folder}: {said[-1]}")


def share_cache(root: Path, folder: Path) -> None:
    """Let the worktree's DVC use the cache of the project: stages that ran here are restored there, and nothing is stored twice."""
    from dvc.config import Config

    cache = Config(str(root / ".dvc"))["cache"].get("dir") or str(root / ".dvc" / "cache")
    with Config(str(folder / ".dvc")).edit("local") as local:
        local.setdefault("cache", {})["dir"] = cache


def compose(folder: Path, overrides: Sequence[str], where: str) -> None:
    """Write the composed params.yaml, by the function that `dvc exp run` uses; `where` is named in the line of a mistake."""
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        compose_and_dump(folder / "params.yaml", str(folder), None, "params", str(folder), list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"{where}: cannot be laid over params.yaml: {' '.join(str(error).split())}") from None
