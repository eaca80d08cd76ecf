"""The workspace as git sees it, changes that are not committed included, as one commit without a past: what a stage would find here.

A stage on a worker must read what it would read in this workspace, or its entry of dvc.lock would describe another one. So changes that are
not committed travel (and are named); what git ignores does not, and DVC's outputs come from the remote.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.provenance import git
from stages.settings import InputError

# the same files make the same commit, whoever asks and when: a worker that has it needs nothing sent
NOBODY = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
          for what, value in (("NAME", "baznama"), ("EMAIL", "baznama@localhost"), ("DATE", "2000-01-01T00:00:00Z"))}


@dataclass(frozen=True)
class Snapshot:
    """`commit` without a parent, a `bundle` of it, the `project` it belongs to (by its first commit), paths `changed` since HEAD."""

    commit: str
    bundle: bytes
    project: str
    changed: tuple[str, ...]


def take(root: Path) -> Snapshot:
    """The snapshot of the repository at `root`. Neither its index nor any branch is touched. Raises InputError where there is no commit."""
    head = git(root, "rev-parse", "HEAD")
    if not head:
        raise InputError(f"{root}: workers get the workspace through git, and there is no commit; run git init and commit first")
    if git(root, "rev-parse", "--show-prefix"):
        raise InputError(f"{root}: not the top of its git repository; a cluster can only run a project that is")
    changed = tuple(line[3:] for line in git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames").splitlines())
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        own = Path(git(root, "rev-parse", "--absolute-git-dir")) / "index"
        if own.is_file():
            shutil.copyfile(own, index)  # knows which files did not change
        settings = {**os.environ, **NOBODY, "GIT_INDEX_FILE": str(index)}

        def run(*arguments: str) -> str:
            done = subprocess.run(["git", *arguments], cwd=root, env=settings, capture_output=True, text=True, errors="replace")
            if done.returncode:
                raise InputError(f"git {arguments[0]} in {root}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
            return done.stdout.strip()

        run("add", "--all")
        commit = run("commit-tree", run("write-tree"), "-m", f"the workspace at {head[:12]}")
        # a bundle names a branch or tag; this one is there for a moment and belongs to nobody
        reference = f"refs/baznama/{os.getpid()}"
        try:
            run("update-ref", reference, commit)
            run("bundle", "create", "--quiet", str(Path(folder) / "bundle"), reference)
        finally:
            run("update-ref", "-d", reference)
        bundle = (Path(folder) / "bundle").read_bytes()
    first = git(root, "rev-list", "--max-parents=0", "HEAD").splitlines()[-1]
    return Snapshot(commit, bundle, first[:12], changed)
