"""What the report reads: the files that the other stages leave under reports/ for params.yaml's entries, checked on the way in.

A run or dataset of params.yaml without files is kept with None in their place; a file that is there but broken is one InputError line.
Formats: docs/formats.md. Keys that are not known here are left alone, so that a stage may say more than the report shows.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stages import params, verdicts
from stages.files import read_json
from stages.settings import InputError, choose, configure

NOT_METRICS = ("headline", "baselines", "parameters", "reproducible", "features", "inception", "split")
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Name:
    """How a metric is spoken of: an entry of names.json."""

    title: str
    better: Literal["higher", "lower", "none"] = "none"
    unit: str | None = None
    meaning: str | None = None


@dataclass(frozen=True)
class Value:
    """A metric over `n` seeds; None where the number was not finite. `spread`: over repetitions inside one seed's evaluation.

    `values`: of each seed, in the order of the run's seeds, where there are several and all have one.
    """

    mean: float | None
    sd: float | None = None
    n: int = 1
    spread: float | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Metrics:
    headline: str
    values: dict[str, Value]
    baselines: dict[str, dict[str, Value]]
    parameters: int | None
    reproducible: bool | None
    features: str | None


@dataclass(frozen=True)
class Curves:
    """Logged terms by seed: `terms[name][seed]` is a list of (step, value) in the file's order."""

    terms: dict[str, dict[str, list[tuple[float, float]]]]


@dataclass(frozen=True)
class Picture:
    file: str
    title: str
    alt: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str | None = None


@dataclass(frozen=True)
class Expectation:
    expectation: str
    success: bool
    table: str | None = None
    column: str | None = None
    level: str | None = None
    unexpected: int | None = None
    examples: list[Any] = dataclasses.field(default_factory=list)
    allowed: Any = None
    note: str | None = None


@dataclass(frozen=True)
class Validation:
    success: bool
    rows: int
    quarantined: int
    expectations: list[Expectation]
    has_page: bool


@dataclass(frozen=True)
class Dataset:
    name: str
    settings: params.Dataset
    validation: Validation | None


@dataclass(frozen=True)
class Run:
    name: str
    settings: params.Run
    dataset: Dataset
    metrics: Metrics | None
    curves: Curves | None
    pictures: list[Picture]
    tables: list[Table]


@dataclass(frozen=True)
class ClaimCheck:
    """A number of a claim of kind E beside the expected one; text stands for what JSON cannot hold (`infinite`)."""

    what: str
    measured: float | str | None
    expected: float | str | None
    tolerance: float
    passes: bool
    relation: str = "equal to"
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClaimTest:
    """A paired test of a claim of kind D: differences over seeds, positive where the claim is right."""

    what: str
    mean: float
    interval: tuple[float, float]
    p: float
    differences: tuple[float, ...]
    effect: float | None = None


@dataclass(frozen=True)
class ClaimFigure:
    """`lines` are (label, [(x, y)])."""

    title: str
    x: str = "step"
    log_x: bool = False
    path: bool = False
    lines: tuple = ()


@dataclass(frozen=True)
class Claim:
    """A record of reports/claims; not tested yet: all but `name` is empty. `adjusted`: p after Holm's correction, of kind D."""

    name: str
    kind: str = ""
    statement: str = ""
    formula: str = ""
    source: str = ""
    done: str = ""
    turn: str = ""
    changes: str = ""
    verdict: str = ""
    rule: str = ""
    seeds: tuple[int, ...] = ()
    checks: tuple[ClaimCheck, ...] = ()
    tests: tuple[ClaimTest, ...] = ()
    figures: tuple[ClaimFigure, ...] = ()
    p: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class Inputs:
    datasets: dict[str, Dataset]
    runs: dict[str, Run]
    names: dict[str, Name]
    common: dict[str, Any]  # `train:` of params.yaml, under every run
    strays: list[str]  # runs with a metrics file and no entry in params.yaml
    claims: list[Claim]
    failed: tuple[str, ...] = ()  # what went wrong in the flow that renders this


def read_inputs(reports: Path, settings: params.Params, names: Path, without: Sequence[str] = (), failed: Sequence[str] = ()) -> Inputs:
    """Everything the pages show; of what `without` names (`runs.vae` or `vae`, `datasets.shop`, `claims.c1`) nothing is read. Raises
    InputError for a missing folder, for any file that cannot be understood and for an unknown name in `without`."""
    if not reports.is_dir():
        raise InputError(f"{reports}: no such folder; --reports is the folder that holds metrics/, curves/, samples/ and validation/")
    left_out: dict[str, set[str]] = {"runs": set(), "datasets": set(), "claims": set(), "comparisons": set()}
    for key in without:
        section, dot, name = key.partition(".")
        section, name = (section, name) if dot else ("runs", key)
        choose(section, left_out, f"--without {key}", "section")
        choose(name, getattr(settings, section), "--without", section.removesuffix("s"))
        left_out[section].add(name)
    datasets = {name: Dataset(name, entry, None if name in left_out["datasets"] else read_validation(reports / "validation" / name))
                for name, entry in settings.datasets.items()}
    runs = {}
    for name, entry in settings.runs.items():
        if name in left_out["runs"]:
            runs[name] = Run(name, entry, datasets[entry.dataset], None, None, [], [])
            continue
        pictures, tables = read_details(reports / "samples" / name)
        runs[name] = Run(
            name,
            entry,
            datasets[entry.dataset],
            read_metrics(reports / "metrics" / f"{name}.json"),
            read_curves(reports / "curves" / f"{name}.csv"),
            pictures,
            tables,
        )
    strays = sorted(p.stem for p in (reports / "metrics").glob("*.json") if p.stem not in runs)
    claims = read_claims(reports / "claims", [*settings.claims, *settings.comparisons], left_out["claims"] | left_out["comparisons"])
    return Inputs(datasets, runs, read_names(names), settings.train, strays, claims, tuple(failed))


def read_names(path: Path) -> dict[str, Name]:
    if not path.is_file():
        return {}
    return {key: known(Name, entry, f"{path}: {key}") for key, entry in mapping(read_json(path), path).items()}


def read_metrics(path: Path) -> Metrics | None:
    return parse_metrics(mapping(read_json(path), path), path) if path.exists() else None


def parse_metrics(given: dict, path: Path) -> Metrics:
    """A metrics file's content, checked; `path` is named in errors."""
    values = {key: known(Value, entry, f"{path}: {key}") for key, entry in given.items() if key not in NOT_METRICS}
    headline = given.get("headline")
    choose(headline, values, f"{path}: headline", "metric")
    baselines = {
        name: {
            key: known(Value, entry, f"{path}: baselines.{name}.{key}")
            for key, entry in mapping(found, f"{path}: baselines.{name}").items()
        }
        for name, found in mapping(given.get("baselines") or {}, f"{path}: baselines").items()
    }
    return Metrics(headline, values, baselines, given.get("parameters"), given.get("reproducible"), given.get("features"))


def read_curves(path: Path) -> Curves | None:
    """Curves of one run; empty and NaN cells are left out. The header must have `seed` and `step`."""
    if not path.exists():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV ({error}); delete it and rerun its stage") from None
    header = lines[0] if lines else []
    if header[:2] != ["seed", "step"]:
        raise InputError(
            f"{path}: expected a header seed,step,loss,...; found {','.join(header) or 'nothing'}; delete it and rerun its stage"
        )
    terms: dict[str, dict[str, list]] = {name: {} for name in header[2:]}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise InputError(f"{path}: line {number} has {len(line)} cells, the header {len(header)}; delete it and rerun its stage")
        try:
            step, values = float(line[1]), [float(cell) if cell else math.nan for cell in line[2:]]
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}; delete it and rerun its stage") from None
        for name, value in zip(terms, values, strict=True):
            if math.isfinite(value):
                terms[name].setdefault(line[0], []).append((step, value))
    return Curves({name: seeds for name, seeds in terms.items() if seeds})


def read_details(folder: Path) -> tuple[list[Picture], list[Table]]:
    path = folder / "details.json"
    if not path.exists():
        return [], []
    given = mapping(read_json(path), path)
    pictures = []
    for i, entry in enumerate(sequence(given.get("pictures"), f"{path}: pictures")):
        picture = known(Picture, entry, f"{path}: pictures[{i}]")
        width, height = png_size(folder, picture.file, f"{path}: pictures[{i}].file")
        pictures.append(dataclasses.replace(picture, width=width, height=height))
    tables = []
    for i, entry in enumerate(sequence(given.get("tables"), f"{path}: tables")):
        table = known(Table, entry, f"{path}: tables[{i}]")
        for j, row in enumerate(table.rows):
            if len(row) != len(table.columns):
                raise InputError(
                    f"{path}: tables[{i}].rows[{j}]: {len(row)} cells for {len(table.columns)} columns; rerun the evaluate stage"
                )
        tables.append(table)
    return pictures, tables


def png_size(folder: Path, name: str, where: str, mend: str = "the evaluate stage") -> tuple[int, int]:
    """(width, height) from the picture's first bytes; only a PNG that lies in `folder` itself will do."""
    if Path(name).name != name or not (folder / name).is_file():
        raise InputError(f"{where}: no picture {name!r} in {folder}; rerun {mend}")
    start = (folder / name).read_bytes()[:24]
    if start[:8] != PNG or len(start) < 24:
        raise InputError(f"{folder / name}: not a PNG picture; rerun {mend}")
    return struct.unpack(">II", start[16:24])


def read_validation(folder: Path) -> Validation | None:
    path = folder / "summary.json"
    if not path.exists():
        return None
    given = mapping(read_json(path), path)
    expectations = [
        known(Expectation, entry, f"{path}: expectations[{i}]")
        for i, entry in enumerate(sequence(given.get("expectations"), f"{path}: expectations"))
    ]
    return known(
        Validation, {**given, "expectations": [], "has_page": (folder / "index.html").is_file()}, str(path), expectations=expectations
    )


def read_claims(folder: Path, wanted: Sequence[str], without: set[str]) -> list[Claim]:
    """The claims of params.yaml, and after them the records of a larger profile that lie there, by name; kind D with its verdict."""
    names = [*wanted, *sorted(path.stem for path in folder.glob("*.json") if path.stem not in wanted)]
    claims = [Claim(name) if name in without else read_claim(folder / f"{name}.json", name) for name in names]
    adjusted = verdicts.holm({claim.name: claim.p for claim in claims if claim.p is not None})
    return sorted((dataclasses.replace(claim, adjusted=adjusted[claim.name],
                                       verdict=verdicts.direction([test.interval for test in claim.tests], adjusted[claim.name]))
                   if claim.p is not None else claim for claim in claims), key=lambda claim: claim.name)


def read_claim(path: Path, name: str) -> Claim:
    """One record; of kind D without a verdict, which takes the p of all others."""
    if not path.exists():
        return Claim(name)
    given = mapping(read_json(path), path)
    parts = {key: tuple(known(cls, entry, f"{path}: {key}[{i}]") for i, entry in enumerate(sequence(given.get(key), f"{path}: {key}")))
             for key, cls in (("checks", ClaimCheck), ("tests", ClaimTest))}
    figures = []
    for i, figure in enumerate(sequence(given.get("figures"), f"{path}: figures")):
        lines = []
        for line in sequence(mapping(figure, f"{path}: figures[{i}]").get("lines"), f"{path}: figures[{i}].lines"):
            points = [(float(x), float(y)) for x, y in line["points"] if x is not None and y is not None]
            if points:
                lines.append((str(line["label"]), points))
        if lines:
            words = {key: value for key, value in figure.items() if key != "lines"}
            figures.append(known(ClaimFigure, words, f"{path}: figures[{i}]", lines=tuple(lines)))
    texts = {key: value for key, value in given.items() if key not in (*parts, "figures", "name") and value is not None}
    return known(Claim, {**texts, "name": name}, str(path), **parts, figures=tuple(figures))


def known(cls: type, given, where: str, **more):
    """`configure` on the keys that `cls` knows; `more` replaces fields that were read apart."""
    fields = {f.name for f in dataclasses.fields(cls)}
    return dataclasses.replace(configure(cls, {k: v for k, v in mapping(given, where).items() if k in fields}, where), **more)


def mapping(given, where) -> dict:
    if not isinstance(given, dict):
        raise InputError(f"{where}: expected a mapping, found {str(given)[:60]!r}; rerun the stage that writes it")
    return given


def sequence(given, where) -> list:
    if given is not None and not isinstance(given, list):
        raise InputError(f"{where}: expected a list, found {str(given)[:60]!r}; rerun the stage that writes it")
    return given or []
