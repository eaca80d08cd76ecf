"""A project as it lies in the workspace, or as it was at a commit or a DVC experiment: its files, read without a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipelines.names import some
from pipelines.provenance import git
from stages.settings import InputError, nearest

WORKSPACE = "workspace"


def resolve(root: Path, rev: str, where: str = "--rev", allowed: str = "any commit") -> str:
    """The commit `rev` names: whatever git knows, or the name of a DVC experiment. `allowed` begins what an unknown one is told."""
    if commit := git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"):
        return commit
    listed = git(root, "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    experiments = {ref.rpartition("/")[2]: commit for commit, ref in (line.split(" ", 1) for line in listed)}  # the newest of a name wins
    if rev not in experiments:
        named = {kind: git(root, "for-each-ref", "--sort=-version:refname", "--format=%(refname:strip=2)", f"refs/{folder}").splitlines()
                 for kind, folder in (("branch", "heads"), ("tag", "tags"))} | {"experiment": sorted(experiments)}
        told = "".join(f"; {kind} {some(names)}" for kind, names in named.items() if names)
        raise InputError(f"{where}: unknown revision {rev!r}; allowed: {allowed}{told}{nearest(rev, sum(named.values(), []))}")
    return experiments[rev]


class Objects:
    """git's objects through one `git cat-file --batch`: a process a file would take seconds over many commits. Context manager."""

    def __init__(self, root: Path):
        self._root = root
        self._git: subprocess.Popen | None = None

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *_) -> None:
        if self._git:
            self._git.stdin.close()
            self._git.wait()
            self._git.stdout.close()

    def read(self, name: str) -> bytes | None:
        """The content of `commit:path` or of an object's hash; None where there is no such file."""
        if self._git is None:
            command = ["git", "-C", str(self._root), "cat-file", "--batch"]
            self._git = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._git.stdin.write(name.encode("utf-8", "surrogateescape") + b"\n")
        self._git.stdin.flush()
        head = self._git.stdout.readline().split()
        if len(head) != 3 or head[1] not in (b"blob", b"tree", b"commit", b"tag"):
            return None
        content = self._git.stdout.read(int(head[2]) + 1)[:-1]
        return content if head[1] == b"blob" else None


class Workspace:
    """The files as they lie there, committed or not."""

    name, commit = WORKSPACE, ""

    def __init__(self, root: Path):
        self.folder = Path(root)

    def read(self, path: str) -> bytes | None:
        file = self.folder / path
        return file.read_bytes() if file.is_file() else None

    def listed(self, folder: str) -> list[str]:
        """Paths of the JSON files in `folder`."""
        return [path.relative_to(self.folder).as_posix() for path in sorted((self.folder / folder).glob("*.json"))]


class Revision:
    """The files at a commit or a DVC experiment, under the name it was asked for."""

    def __init__(self, root: Path, rev: str, where: str = "--rev", allowed: str = "any commit"):
        if not git(root, "rev-parse", "--git-dir"):
            raise InputError(f"{root}: not in a git repository, so there is no {rev!r}; run git init and commit first")
        self.root, self.name, self.commit = root, rev, resolve(root, rev, where, allowed)

    def read(self, path: str) -> bytes | None:
        with Objects(self.root) as objects:
            return objects.read(f"{self.commit}:{path}")

    def listed(self, folder: str) -> list[str]:
        """Paths of the JSON files in `folder`."""
        found = git(self.root, "ls-tree", "-z", "--name-only", "--full-tree", self.commit, f"{folder}/").split("\0")
        return sorted(path for path in found if path.endswith(".json"))
