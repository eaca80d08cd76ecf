"""`-S key=value`: the pipeline with other parameters, run beside the workspace and kept as an experiment of DVC.

As `dvc exp run --temp -S ...`, but in parallel and resumable: a worktree data/.profiles/NAME holds the workspace as it is, with its
changes that are not committed, and the parameters changed; params.yaml of the workspace is never written.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines import beside, compare, movements, profile
from pipelines.estimate import MEASURED
from pipelines.graph import Graph
from pipelines.revisions import WORKSPACE, Workspace
from pipelines.summary import directions
from pipelines.yaml_file import read_yaml
from stages.files import write_json
from stages.params import leaves
from stages.settings import InputError, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of an experiment, a folder and a git ref at once
BASE = Path("data/.prefect/base.json")  # in the worktree: what it was made of
KINDS = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (list, "a list"), (dict, "a mapping"))
FORMS = "allowed: key=value as in runs.skipgram.train.epochs=5, +key=value for a new key, ~key to take one out, +profiles=NAME"


def prepare(root: Path, given: Sequence[str], name: str | None) -> Path:
    """The worktree with the workspace's files and the parameters of `given` in it. What it computed before, from the same, is kept."""
    overrides = checked(root, given)
    name = name or "set-" + hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:7]
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name!r}: not a name; allowed: letters, digits, _ and -, beginning with a letter or a digit")
    if name in profile.names(root):
        raise InputError(f"--name {name}: a profile has this name; choose another")
    commit = beside.head(root, "-S")
    changes = subprocess.run(["git", "-C", str(root), "diff", "--binary", "HEAD"], capture_output=True, check=True).stdout
    if changes:
        beside.note("with the changes that are not committed, of", beside.changed(root))
    base = {"commit": commit, "changes": hashlib.sha256(changes).hexdigest(), "set": overrides}
    folder = beside.worktree(root, name, commit)
    if not (folder / BASE).is_file() or json.loads((folder / BASE).read_text()) != base:
        beside.run_git(folder, "checkout", "--quiet", "--force", "--detach", commit)
        beside.run_git(folder, "clean", "--quiet", "-d", "--force", "--", "reports")
        if changes:
            beside.run_git(folder, "apply", "--whitespace=nowarn", given=changes)
        lay(folder, overrides)
        if (root / MEASURED).is_file() and not (folder / MEASURED).is_file():  # --estimate and the order of stages know these times
            (folder / MEASURED).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / MEASURED, folder / MEASURED)
        # outputs the workspace has recorded, as far as the cache holds them: then only what the parameters change is stale
        dvc(folder, "checkout", "--quiet", "--force", "--allow-missing")
        write_json(folder / BASE, base)
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False)


def checked(root: Path, given: Sequence[str]) -> list[str]:
    """The overrides, each of known form, key and type. Raises InputError for the first mistake; nothing has been written then."""
    from dvc.utils.hydra import to_hydra_overrides
    from hydra.errors import HydraException

    params = read_yaml(root / "params.yaml")
    plain = [text.removeprefix("params.yaml:") for text in given]
    for text in plain:
        try:
            override = to_hydra_overrides([text])[0]
        except HydraException:
            raise InputError(f"-S {text!r}: not to be understood; {FORMS}") from None
        if override.is_sweep_override():
            raise InputError(f"-S {text!r}: several values at once; give one, and run the others after it")
        if override.is_add() and override.key_or_group == "profiles":
            name = str(override.value())
            if name not in profile.names(root):
                raise InputError(f"-S {text!r}: unknown profile {name!r}; allowed: {', '.join(profile.names(root)) or 'none is there'}"
                                 f"{nearest(name, profile.names(root))}")
        elif not override.is_add() and not override.is_force_add():
            check(params, override.key_or_group, None if override.is_delete() else override.value(), text, override.is_delete())
    return plain


def check(params: dict, key: str, value, text: str, delete: bool) -> None:
    """The key is there, and the value of its kind. Whether it is allowed, stages.check says before any stage starts."""
    old: object = params
    for part in key.split("."):
        if not isinstance(old, dict) or part not in old:
            known = {".".join(leaf.split(".")[:depth]) for leaf, _ in leaves(params) for depth in range(1, leaf.count(".") + 2)}
            raise InputError(f"-S {text!r}: unknown key {key!r}{nearest(key, sorted(known)) or ''}"
                             + (f"; +{text} adds a new one" if key and not delete else ""))
        old = old[part]
    if delete or old is None:
        return
    wanted = next(words for kind, words in KINDS if isinstance(old, kind))
    found = next((words for kind, words in KINDS if isinstance(value, kind)), "nothing")
    if wanted != found:
        raise InputError(f"-S {text!r}: {key} is {wanted}, now {json.dumps(old, ensure_ascii=False)}; found {found}")


def lay(folder: Path, overrides: Sequence[str]) -> None:
    """Write params.yaml of the worktree. Without a profile among them its comments and order stay, as with `dvc exp run -S`."""
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import apply_overrides

    if any(text.startswith("+profiles=") for text in overrides):
        beside.compose(folder, overrides, f"-S {' -S '.join(overrides)}")
        return
    try:
        apply_overrides(folder / "params.yaml", list(overrides))
    except InvalidArgumentError as error:
        raise InputError(f"-S {' -S '.join(overrides)}: {' '.join(str(error.__cause__ or error).split())}") from None


def conclude(root: Path, folder: Path, targets: Sequence[str]) -> None:
    """Say what moved against the workspace and keep the worktree's state as an experiment: all of it, or what the targets need."""
    here = movements.state(Workspace(root))
    there = Workspace(folder)
    there.name = folder.name
    compare.terminal(movements.compared([here, movements.state(there)], compare.tolerances(root), directions(root)))
    new = subprocess.run(["git", "-C", str(folder), "ls-files", "--others", "--exclude-standard", "--", "reports"], capture_output=True,
                         text=True, check=True).stdout.splitlines()
    graph = Graph(folder)
    saved = dvc(folder, "exp", "save", "--force", "--name", folder.name, *(word for path in new for word in ("--include-untracked", path)),
                *(graph.upstream(graph.resolve(targets)) if targets else ()))
    if saved.returncode:
        said = [line for line in saved.stderr.splitlines() if line.startswith("ERROR")] or saved.stderr.splitlines() or ["failed"]
        raise InputError(f"the run ended well in {folder}, and `dvc exp save` could not keep it: {said[0]}")
    print(f"experiment: {folder.name} (dvc exp show; dvc exp apply {folder.name}; python -m pipelines.compare {WORKSPACE} {folder.name})")
