"""Run a profile beside the workspace: `python -m pipelines.profile study`.

The last commit, with profiles/NAME.yaml laid over its params.yaml (as `dvc exp run -S +profiles=NAME` does), in a git worktree of its own
under data/.profiles/NAME that shares DVC's cache. The flow runs there, in parallel and resumable; the workspace stays as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from pipelines.provenance import git
from stages.command import command
from stages.settings import InputError, choose

PROFILES = Path("profiles")
FOLDER = Path("data/.profiles")

EXAMPLES = """examples:
  python -m pipelines.profile study                 the whole profile; killed or failed, the same line goes on
  python -m pipelines.profile study evaluate@vae    one run of it
  python -m pipelines.profile study --dry           what would run, and why
  python -m pipelines.publish study                 then: copy its metrics to reports/study
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.profile", description=__doc__.split("\n")[0], epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="profiles/NAME.yaml")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="targets and options of python -m pipelines.repro")
    options = parser.parse_args()
    root = Path.cwd()
    folder = prepare(root, options.name)
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", "pipelines.repro", *options.rest])  # signals then reach the flow alone


def names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / PROFILES).glob("*.yaml"))


def prepare(root: Path, name: str) -> Path:
    """The worktree of profile `name` at the last commit, its params.yaml composed. What it computed before is kept."""
    choose(name, names(root), str(PROFILES), "profile")
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        raise InputError(f"{root}: a profile runs at a commit, and there is none; run git init and commit first")
    if f"{PROFILES / name}.yaml" not in git(root, "ls-files", str(PROFILES)).splitlines():
        raise InputError(f"{PROFILES / name}.yaml: not in git; a profile runs at a commit: add and commit it first")
    changed = git(root, "diff", "--name-only", "HEAD").splitlines()
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        print(f"note: the profile runs at the last commit; left out are changes of {shown}", file=sys.stderr, flush=True)
    folder = root / FOLDER / name
    if not (folder / ".git").exists():
        run_git(root, "worktree", "prune")
        run_git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    if git(folder, "rev-parse", "HEAD") != commit:
        run_git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    run_git(folder, "checkout", "--quiet", commit, "--", "params.yaml")
    share_cache(root, folder)
    compose(folder, name)
    return folder


def run_git(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise InputError(f"git {' '.join(arguments)} in {folder}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def share_cache(root: Path, folder: Path) -> None:
    """Let the worktree's DVC use the cache of the project: stages that ran here are restored there, and nothing is stored twice."""
    from dvc.config import Config

    cache = Config(str(root / ".dvc"))["cache"].get("dir") or str(root / ".dvc" / "cache")
    with Config(str(folder / ".dvc")).edit("local") as local:
        local.setdefault("cache", {})["dir"] = cache


def compose(folder: Path, name: str) -> None:
    """Write the composed params.yaml, by the function that `dvc exp run` uses."""
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        compose_and_dump(folder / "params.yaml", str(folder), None, "params", str(folder), [f"+profiles={name}"])
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"{PROFILES / name}.yaml: cannot be laid over params.yaml: {' '.join(str(error).split())}") from None


if __name__ == "__main__":
    command(main)
