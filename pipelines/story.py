"""What Prefect's pages tell of a flow: its name, the tags of its tasks, its parameters, and artifacts: plan, stages, metrics, the report.

Prefect is imported inside the functions that write artifacts; they are called inside a flow run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.provenance import REPORT, git
from pipelines.summary import metric_rows, unmeasured
from pipelines.yaml_file import read_yaml

FEW = 3  # stages that a flow run is named by


def run_name(root: Path, stages: Iterable[str]) -> str:
    """`main@1a2b3c4 evaluate@vae, report`, or how many stages where they are many; `+` where files differ from the commit."""
    names = list(stages)
    commit = git(root, "rev-parse", "--short", "HEAD")
    branch = git(root, "rev-parse", "--abbrev-ref", "HEAD") if commit else ""
    changed = "+" if commit and git(root, "status", "--porcelain", "--untracked-files=no") else ""
    where = f"{branch}@{commit}{changed}" if commit else root.name
    return f"{where} {', '.join(names) if len(names) <= FEW else f'{len(names)} stages'}"


def tags(root: Path, names: Iterable[str], resources: Mapping[str, str]) -> dict[str, list[str]]:
    """{stage: its entry of dvc.yaml, dataset, family, and gpu or cpu} by params.yaml."""
    params = read_yaml(root / "params.yaml")
    found = {}
    for name in names:
        group, _, key = name.partition("@")
        run = (params.get("runs") or {}).get(key) or {}
        about = [run.get("dataset"), run.get("family")] if group in ("train", "evaluate") else [key]
        found[name] = list(dict.fromkeys(str(tag) for tag in (group, *about, resources[name]) if tag))
    return found


def why(reasons: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: "; ".join(lines) or "hangs on a stage that runs" for name, lines in reasons.items()}


def tell_plan(reasons: Mapping[str, list[str]], waits: Mapping[str, Iterable[str]]) -> None:
    """The artifact `plan`: what was stale and why, and what each stage waits for."""
    from prefect.artifacts import create_table_artifact

    rows = [{"stage": name, "why": text, "waits for": ", ".join(waits[name])} for name, text in why(reasons).items()]
    create_table_artifact(rows, key="plan", description="What was stale, and why")


def tell_parameters(root: Path, names: Iterable[str]) -> None:
    """The artifact `parameters`: what params.yaml holds of the runs and datasets that take part."""
    from prefect.artifacts import create_markdown_artifact

    from stages.params import leaves

    params, keys = read_yaml(root / "params.yaml"), {name.partition("@")[2] for name in names}
    runs = {key: entry for key, entry in (params.get("runs") or {}).items() if key in keys}
    used = keys | {entry.get("dataset") for entry in runs.values() if isinstance(entry, dict)}
    chosen = {"train": params.get("train"), "runs": runs,
              "datasets": {key: entry for key, entry in (params.get("datasets") or {}).items() if key in used}}
    lines = [f"| `{key}` | `{plain(value)}` |" for key, value in leaves(chosen) if value not in ({}, None)]
    create_markdown_artifact("\n".join(["| parameter | value |", "|---|---|", *lines]), key="parameters",
                             description="params.yaml, where it speaks of what this flow runs")


def plain(value) -> str:
    return str(value).replace("|", "\\|").replace("`", "'").replace("\n", " ")


def tell_end(root: Path, reasons: Mapping[str, list[str]], outcomes: Mapping) -> None:
    """The artifacts `stages` (how each ended, in which time), `metrics` (with the best baseline of each) and `report` (where it lies)."""
    from prefect.artifacts import create_link_artifact, create_table_artifact

    reason = why(reasons)
    ended = [{"stage": name, "outcome": outcome.state, "seconds": round(outcome.seconds, 1), "why": reason.get(name, ""),
              "error": outcome.error} for name, outcome in outcomes.items()]
    create_table_artifact(ended, key="stages", description="How each stage ended")
    rows = metric_rows(root, unmeasured(outcomes))
    if rows:
        create_table_artifact(rows, key="metrics", description="reports/metrics after this flow")
    create_link_artifact((root / REPORT).resolve().as_uri(), link_text=str(root / REPORT), key="report",
                         description="Rendered at the end of the flow, on the machine that ran it")
