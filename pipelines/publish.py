"""Copy a profile's finished metrics with what they rest on to reports/NAME/<run>.json: `python -m pipelines.publish study`.

The records of its claims that the workspace has no entry for go to reports/claims.

Reads the worktree in which `python -m pipelines.profile` ran, or with --rev a commit or an experiment of `dvc exp run`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pipelines import profile, provenance
from pipelines.arguments import Parser
from pipelines.graph import Graph, plan
from pipelines.provenance import git
from pipelines.revisions import Revision, Workspace
from pipelines.yaml_file import read_yaml
from stages.command import command
from stages.files import remove, replacing, write_json
from stages.settings import InputError, choose

PICTURE = 64 * 1024  # bytes of a published picture at most
EXAMPLES = """examples:
  python -m pipelines.publish study                after python -m pipelines.profile study
  python -m pipelines.publish study --rev study    after dvc exp run --temp -S +profiles=study -n study
"""


class Folder(Workspace):
    """Results of a profile in its worktree: they say how long each run took and on what."""

    def __init__(self, root: Path, name: str):
        super().__init__(root / profile.FOLDER / name)
        if not (self.folder / "dvc.lock").is_file():
            raise InputError(f"{self.folder}: nothing there to publish; run python -m pipelines.profile {name} first, or name a --rev")
        self.commit = git(self.folder, "rev-parse", "HEAD")

    def stale(self) -> set[str]:
        """Stages that DVC would run, and what hangs on them: their results are of other code or parameters."""
        return set(plan(Graph(self.folder)).stages)


class Saved(Revision):
    """Results of a profile in a commit or a DVC experiment; git and DVC keep no durations and no machine."""

    def stale(self) -> set[str]:
        """Stages whose recorded parameters are not those of the commit's params.yaml; DVC makes an experiment of a whole run alone."""
        params = read(self, "params.yaml")
        return {name for name, stage in (read(self, "dvc.lock").get("stages") or {}).items()
                if any(at(params, key) != value for key, value in stage.get("params", {}).get("params.yaml", {}).items())}


def read(source: Folder | Saved, path: str) -> dict:
    """A YAML file of the source as plain data; {} where there is none."""
    import yaml

    return yaml.safe_load(source.read(path) or b"") or {}


def publish(root: Path, name: str, source: Folder | Saved, stale: set[str]) -> tuple[list[str], list[str]]:
    """Write reports/`name`/<run>.json for every finished run and remove those of runs that are no more; (published, not finished)."""
    params, stages = read(source, "params.yaml"), read(source, "dvc.lock").get("stages") or {}
    target = root / "reports" / name
    published, unfinished = [], []
    for run in params.get("runs") or {}:
        path = f"reports/metrics/{run}.json"
        content = source.read(path)
        if content is None or f"evaluate@{run}" in stale or not recorded(content, path, stages.get(f"evaluate@{run}", {})):
            unfinished.append(run)
            continue
        metrics = json.loads(content)
        rests_on = {**origin(name, run, source, params, stages), "protocol": protocol(metrics, params["runs"][run])}
        picture = picture_of(run, source)
        if picture:
            with replacing(target / f"{run}.png") as temporary:
                temporary.write_bytes(picture[1])
        else:
            remove(target / f"{run}.png")
        write_json(target / f"{run}.json", {**metrics, **rests_on, **({"picture": picture[0]} if picture else {})})
        published.append(run)
    for path in sorted([*target.glob("*.json"), *target.glob("*.png")]):
        if path.stem not in (params.get("runs") or {}):
            remove(path)
    return published, unfinished


def picture_of(run: str, source: Folder | Saved) -> tuple[dict, bytes] | None:
    """(title and alternative text, PNG) of the first of the run's pictures that is small enough for a repository."""
    folder = f"reports/samples/{run}"
    for picture in json.loads(source.read(f"{folder}/details.json") or b"{}").get("pictures", ()):
        content = source.read(f"{folder}/{picture['file']}")
        if content is not None and len(content) <= PICTURE:
            return {"title": picture["title"], "alt": picture["alt"]}, content
    return None


def publish_claims(root: Path, source: Folder | Saved, stale: set[str]) -> tuple[list[str], list[str]]:
    """Copy the finished records of claims that the profile has and the workspace has not to reports/claims; (published, not finished)."""
    params, stages, own = read(source, "params.yaml"), read(source, "dvc.lock").get("stages") or {}, read_yaml(root / "params.yaml")
    published, unfinished = [], []
    for section in ("claims", "comparisons"):
        for claim in params.get(section) or {}:
            if claim in (own.get(section) or {}):
                continue
            path, stage = f"reports/claims/{claim}.json", f"{section}@{claim}"
            content = source.read(path)
            if content is None or stage in stale or not recorded(content, path, stages.get(stage, {})):
                unfinished.append(claim)
                continue
            with replacing(root / path) as temporary:
                temporary.write_bytes(content)
            published.append(claim)
    return published, unfinished


def recorded(content: bytes, path: str, stage: Mapping) -> bool:
    """Whether DVC's record of the stage is of this very file."""
    hashes = {out["path"]: out.get("md5") for out in stage.get("outs", ())}
    return hashes.get(path) == hashlib.md5(content, usedforsecurity=False).hexdigest()


def at(params: Mapping, key: str):
    """The value under a dotted key; None where there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, Mapping) else None
    return params


def origin(name: str, run: str, source: Folder | Saved, params: Mapping, stages: Mapping) -> dict:
    """What the metrics of `run` rest on; None where the source does not say."""
    entry = params["runs"][run]
    dataset = entry.get("dataset")
    hashes = {dep["path"]: dep.get("md5") for dep in stages[f"evaluate@{run}"].get("deps", ()) if dep["path"].startswith("data/")}
    timing = json.loads(source.read(f"reports/timing/{run}.json") or b"{}") if isinstance(source, Folder) else {}
    seconds = timing.get("seconds")
    return {
        "profile": name, "commit": source.commit,
        "params": {**entry, "train": {**(params.get("train") or {}), **(entry.get("train") or {})}},
        "dataset": (params.get("datasets") or {}).get(dataset), "data": hashes,
        "versions": provenance.versions() if timing else None, "machine": machine(timing) if timing else None,
        "hours": seconds / 3600 if isinstance(seconds, (int, float)) else None,
    }


UNSAID = ("split", "inception", "inception_sha256")  # settings that the words below put otherwise


def protocol(metrics: Mapping, entry: Mapping) -> str:
    """How the figures came about, in words: `test split, 3 seeds, feature net classifier, samples 5000`."""
    seeds, features = len(entry.get("seeds") or [0]), entry.get("features")
    parts = [f"{metrics.get('split', 'test')} split", f"{seeds} seed{'s' * (seeds > 1)}",
             *([f"feature net {features}"] if metrics.get("features") else []),
             *([f"Inception {metrics['inception'][:8]}"] if metrics.get("inception") else []),
             *(f"{key} {value}" for key, value in (entry.get("evaluate") or {}).items() if key not in UNSAID)]
    return ", ".join(parts)


def machine(timing: Mapping) -> dict:
    """This machine, which must be the one that trained: the timing file says so, and wins where it says more."""
    told = {key: timing[key] for key in ("device", "processor", "machine", "peak_memory_mb", "threads") if key in timing}
    return {**provenance.machine(), **told}


def main() -> None:
    parser = Parser(prog="python -m pipelines.publish", description=__doc__.split("\n")[0], epilog=EXAMPLES)
    parser.add_argument("name", help="the profile: study or paper")
    parser.add_argument("--rev", help="read a commit or an experiment in place of the profile's worktree")
    options = parser.parse_args()
    root = Path.cwd()
    choose(options.name, profile.names(root), str(profile.PROFILES), "profile")
    source = Saved(root, options.rev) if options.rev else Folder(root, options.name)
    stale = source.stale()
    published, unfinished = publish(root, options.name, source, stale)
    claims, open_claims = publish_claims(root, source, stale)
    if not published:
        where = options.rev or source.folder
        raise InputError(f"{where}: no finished run in it; run python -m pipelines.profile {options.name} to the end first")
    left = [*unfinished, *open_claims]
    print(f"published {len(published)} runs to reports/{options.name}" + (f", {len(claims)} claims to reports/claims" if claims else "")
          + (f"; not finished: {', '.join(left)}" if left else ""))


if __name__ == "__main__":
    command(main)
