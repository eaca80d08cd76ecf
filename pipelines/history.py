"""reports/history.html: every metric over the last commits that changed a metrics file, a line a metric. `python -m pipelines.history`.

Rendered by the flow beside the report, outside DVC and git: it depends on the commits themselves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from pipelines import summary
from pipelines.arguments import Parser, at_least
from pipelines.metrics import METRICS, Value, values
from pipelines.provenance import REPORT, git
from pipelines.revisions import WORKSPACE, Objects, Workspace
from stages.command import command
from stages.files import replacing

PAGE = Path("reports/history.html")
COMMITS = 100
TEMPLATES = Path(__file__).parent / "templates"
ROWS = 12  # changes a chart names in its table; all of them are in git
SHORT = 9
LEAST_SPAN = 0.02  # of the value: what a chart is high at least


@dataclass(frozen=True)
class Commit:
    """A commit that changed metrics files, or the workspace. `files` is {run: object or content hash} as they were at it."""

    name: str
    date: str
    subject: str
    files: dict[str, str]


@dataclass
class Series:
    """A metric of a run over the commits: (index of the commit, value) wherever it changed; None where it is not there."""

    run: str
    metric: str
    points: list[tuple[int, Value | None]] = field(default_factory=list)

    def at(self, index: int, value: Value | None) -> None:
        if self.points[-1][1] != value if self.points else value is not None:
            self.points.append((index, value))

    @property
    def moved(self) -> bool:
        return len({value.mean for _, value in self.points if value}) > 1


@dataclass(frozen=True)
class History:
    commits: list[Commit]
    headlines: dict[str, str]  # {run: metric} of the last commit that has the run
    series: dict[str, list[Series]]  # by run
    broken: list[str]


def history(root: Path, count: int = COMMITS) -> History:
    """The last `count` commits that changed reports/metrics, oldest first, and the workspace where it differs from the last."""
    commits, parsed, broken = recorded(root, count), {}, []
    workspace = Workspace(root)
    lying = {Path(path).stem: workspace.read(path) for path in workspace.listed(METRICS)}
    with Objects(root) as objects:
        last = commits[-1].files if commits else {}
        if lying != {run: objects.read(oid) for run, oid in last.items()}:
            hashes = {run: "workspace " + hashlib.sha256(content).hexdigest() for run, content in lying.items()}
            commits.append(Commit(WORKSPACE, "", "not committed", hashes))
        found: dict[tuple[str, str], Series] = {}
        headlines: dict[str, str] = {}
        for index, commit in enumerate(commits):
            now: dict[tuple[str, str], Value | None] = dict.fromkeys(found)
            for run, oid in commit.files.items():
                if oid not in parsed:
                    parsed[oid] = read(lying[run] if oid.startswith(WORKSPACE) else objects.read(oid))
                    if parsed[oid] is None:
                        broken.append(f"{commit.name}: {run}.json")
                if parsed[oid] is not None:
                    headlines[run], table = parsed[oid]
                    now.update({(run, metric): value for (baseline, metric), value in table.items() if not baseline})
            for key, value in now.items():
                found.setdefault(key, Series(*key)).at(index, value)
    by_run: dict[str, list[Series]] = {}
    for (run, _), series in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] != headlines.get(item[0][0]), item[0][1])):
        by_run.setdefault(run, []).append(series)
    return History(commits, headlines, by_run, broken)


def read(content: bytes | None) -> tuple[str, dict] | None:
    """(headline, values) of a metrics file; None where it cannot be read."""
    try:
        table = json.loads(content or b"")
        return str(table.get("headline", "")), values(table)
    except (ValueError, AttributeError, TypeError):
        return None


def recorded(root: Path, count: int) -> list[Commit]:
    """The last `count` commits of this branch that changed reports/metrics, oldest first; [] without any."""
    text = git(root, "-c", "core.quotePath=false", "log", "--first-parent", "--diff-merges=first-parent", f"--max-count={count}", "--raw",
               "--no-abbrev", "--no-renames", "--format=%x01%H%x00%cs%x00%s", "--", METRICS)
    entries = [entry for entry in text.split("\x01") if entry][::-1]
    commits: list[Commit] = []
    for number, entry in enumerate(entries):
        head, *changes = entry.splitlines()
        name, date, subject = head.split("\x00")
        if not number:
            files = listed(root, name)
        else:
            files = dict(commits[-1].files)
            for line in filter(None, changes):
                about, _, path = line.partition("\t")
                if path.endswith(".json"):
                    run, oid = Path(path).stem, about.split(" ")[3]
                    files.pop(run, None)
                    files.update({run: oid} if oid.strip("0") else {})
        commits.append(Commit(name, date, subject, files))
    return commits


def listed(root: Path, commit: str) -> dict[str, str]:
    """{run: object} of the metrics files at `commit`."""
    lines = git(root, "-c", "core.quotePath=false", "ls-tree", "--full-tree", commit, f"{METRICS}/").splitlines()
    entries = [(line.partition("\t")[2], line.split()[2]) for line in lines]
    return {Path(path).stem: oid for path, oid in entries if path.endswith(".json")}


@dataclass(frozen=True)
class Drawn:
    """A series as the page shows it: `lines` of (x, y) pieces without gaps, `labels` (commit:value) for the pointer, the last changes."""

    series: Series
    lines: list[tuple[str, str]]
    y_ticks: list[tuple[float, str]]
    rows: list[tuple[Commit, Value | None]]
    last: Value | None
    summary: str


def drawn(series: Series, commits: list[Commit]) -> Drawn:
    from stages.report import charts
    from stages.report.numbers import number

    means = [value.mean for _, value in series.points if value and value.mean is not None]
    low, high = min(means), max(means)
    widen = max(0.0, LEAST_SPAN * max(abs(low), abs(high)) - (high - low)) / 2  # a hair's movement shall look like one
    low, high = charts.margins(low - widen, high + widen)
    x = charts.Scale(-0.5, max(len(commits) - 0.5, 0.5), charts.LEFT, charts.WIDTH - charts.RIGHT)
    y = charts.Scale(low, high, charts.HEIGHT - charts.BOTTOM, charts.TOP)
    pieces: list[list[tuple[int, float]]] = [[]]
    for (index, value), end in zip(series.points, [*(i for i, _ in series.points[1:]), len(commits)], strict=True):
        if value is None or value.mean is None:
            pieces.append([])
        else:
            pieces[-1] += [(index, value.mean), *([(end - 1, value.mean)] if end - 1 > index else [])]
    lines = [(" ".join(f"{x(i)},{y(v)}" for i, v in piece), " ".join(f"{commits[i].name[:SHORT]}:{number(v)}" for i, v in piece))
             for piece in pieces if piece]
    last = series.points[-1][1]
    told = (f"{len(series.points)} values over {len(commits)} commits; first {number(means[0])}, last {number(means[-1])}, "
            f"lowest {number(min(means))}, highest {number(max(means))}.")
    return Drawn(series, lines, [(y(t), charts.tick(t)) for t in charts.linear_ticks(low, high)],
                 [(commits[i], value) for i, value in series.points[-ROWS:]][::-1], last, told)


def render(root: Path, count: int = COMMITS) -> Path:
    """Write reports/history.html, or leave it where it shows this commit and these metrics already; same commits, same bytes.

    With the report's frame and style, which lie beside it; where there is no report the page has its own.
    """
    path = root / PAGE
    key = fingerprint(root, count)
    if path.is_file() and key in path.read_text(encoding="utf-8", errors="replace")[-300:]:
        return path
    import jinja2
    from markupsafe import Markup

    from stages.report.inputs import read_names
    from stages.report.pages import TEMPLATES as REPORTS
    from stages.report.pages import environment, run_address

    names = read_names(root / summary.NAMES)
    nav = [{"address": address, "title": title} for address, title in
           (("index.html", "Overview"), (PAGE.name, "History"), ("provenance.html", "Provenance"))]
    templates = environment(names, nav)
    templates.loader = jinja2.FileSystemLoader([TEMPLATES, REPORTS])
    found = history(root, count)
    groups = []
    for run, several in found.series.items():
        page = run_address(run)
        groups.append({
            "run": run, "headline": found.headlines.get(run), "page": page if (path.parent / page).is_file() else None,
            "charts": [drawn(series, found.commits) for series in several if series.moved],
            "constant": [(series, series.points[-1][1], found.commits[series.points[0][0]]) for series in several if not series.moved],
        })
    metrics = sorted({series.metric for several in found.series.values() for series in several})
    if (root / REPORT).is_file():
        frame = {"base": "base.html"}
    else:
        frame = {"base": "alone.html", **{name: Markup((REPORTS / file).read_text(encoding="utf-8"))
                                          for name, file in (("style", "style.css"), ("script", "charts.js"))}}
    text = templates.get_template("history.html").render(root="", here=PAGE.name, groups=groups, found=found, metrics=metrics, key=key,
                                                         short=SHORT, count=count, **frame)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def fingerprint(root: Path, count: int) -> str:
    """A hash of all that the page shows: commit, metrics as they lie there, names, templates, and whether there is a report."""
    report = (root / REPORT).is_file()
    digest = hashlib.sha256(f"{git(root, 'rev-parse', 'HEAD')} {count} {report}".encode())
    for file in [*sorted((root / METRICS).glob("*.json")), root / summary.NAMES, *sorted(TEMPLATES.glob("*.html")), Path(__file__)]:
        digest.update(file.read_bytes() if file.is_file() else b"")
    pages = sorted(path.name for path in (root / "reports" / "pages").glob("run-*.html"))
    digest.update(" ".join(pages).encode())
    return digest.hexdigest()


def main() -> None:
    parser = Parser(prog="python -m pipelines.history", description="Write reports/history.html.",
                    epilog="example: python -m pipelines.history --commits 300")
    parser.add_argument("--commits", type=at_least(1), default=COMMITS, help="the last commits that changed a metrics file (%(default)s)")
    print(render(Path.cwd(), parser.parse_args().commits))


if __name__ == "__main__":
    command(main)
