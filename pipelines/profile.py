"""Run a profile beside the workspace: `python -m pipelines.profile study`.

The last commit, with profiles/NAME.yaml laid over its params.yaml (as `dvc exp run -S +profiles=NAME` does), in a git worktree of its own
under data/.profiles/NAME that shares DVC's cache. The flow runs there, in parallel and resumable; the workspace stays as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pipelines import beside
from pipelines.arguments import Parser
from pipelines.provenance import git
from stages.command import command
from stages.settings import InputError, choose

PROFILES = Path("profiles")
FOLDER = beside.FOLDER

EXAMPLES = """examples:
  python -m pipelines.profile study                 the whole profile; killed or failed, the same line goes on
  python -m pipelines.profile study evaluate@vae    one run of it
  python -m pipelines.profile study --dry           what would run, and why
  python -m pipelines.publish study                 then: copy its metrics to reports/study
"""


def main() -> None:
    parser = Parser(prog="python -m pipelines.profile", description=__doc__.split("\n")[0], epilog=EXAMPLES)
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
    commit = beside.head(root, "a profile")
    if f"{PROFILES / name}.yaml" not in git(root, "ls-files", str(PROFILES)).splitlines():
        raise InputError(f"{PROFILES / name}.yaml: not in git; a profile runs at a commit: add and commit it first")
    if left_out := beside.changed(root):
        beside.note("the profile runs at the last commit; left out are changes of", left_out)
    folder = beside.worktree(root, name, commit)
    beside.run_git(folder, "checkout", "--quiet", commit, "--", "params.yaml")
    beside.compose(folder, [f"+profiles={name}"], f"{PROFILES / name}.yaml")
    return folder


if __name__ == "__main__":
    command(main)
