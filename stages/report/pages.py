"""The pages: what each shows (a context for its template), rendered to text. Pure: inputs in, {address: HTML} out."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2

from stages import verdicts
from stages.params import NO_FEATURES, leaves
from stages.report import charts, numbers
from stages.report.compare import dataset_entry, run_lines
from stages.report.factorial import squares
from stages.report.goals import PARTS, Reached, reached
from stages.report.inputs import Claim, ClaimFigure, Inputs, Metrics, Name, Run, Table, Value
from stages.report.mathml import mathml
from stages.report.numbers import name_of
from stages.report.studies import PROFILES, Beyond, Study, answers

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = ("style.css", "charts.js", "icon.svg")

CLAIMS = 33  # in the list, C01 to C33
COLLAPSED = 0.1  # nats: a KL below it is that of a code without use

# order and words of the domains
DOMAINS = {
    "receipts": ("Receipts", "Baskets of items: which things are bought together, and what comes next."),
    "corpora": ("Corpora", "Text as words, sentences, documents and pairs of them."),
    "graphs": ("Graphs", "Nodes and edges, with labels or with relations between entities."),
    "images": ("Images", "Pictures, and points in the plane that stand for them."),
}


def render(inputs: Inputs, beyond: Beyond | None = None) -> dict[str, str]:
    """Every page of the report by its address under reports/."""
    beyond = beyond or Beyond()
    used = [d for d in DOMAINS if any(dataset.settings.domain == d for dataset in inputs.datasets.values())]
    unary, goals = squares(inputs, beyond.studies), reached(beyond.goals, inputs, beyond.studies)
    nav = [
        {"address": "index.html", "title": "Overview"},
        *({"address": domain_address(d), "title": DOMAINS[d][0]} for d in used),
        *([{"address": "pages/questions.html", "title": "Questions"}] if beyond.questions else []),
        *([{"address": "pages/studies.html", "title": "Studies"}] if any(beyond.studies.values()) else []),
        *([{"address": "pages/goals.html", "title": "Goals"}] if goals or beyond.benches else []),
        *([{"address": "pages/bigbigan.html", "title": "2 × 2"}] if unary else []),
        *([{"address": "pages/claims.html", "title": "Claims"}] if inputs.claims else []),
        {"address": "pages/validation.html", "title": "Validation"},
        {"address": "pages/glossary.html", "title": "Glossary"},
    ]
    templates = environment(inputs.names, nav)

    def page(address: str, template: str, **context) -> None:
        root = "../" * address.count("/")
        pages[address] = templates.get_template(template).render(root=root, here=address, **context)

    pages: dict[str, str] = {}
    page("index.html", "overview.html", **overview(inputs, used))
    for domain in used:
        page(
            domain_address(domain),
            "domain.html",
            title=DOMAINS[domain][0],
            about=DOMAINS[domain][1],
            entries=[dataset_entry(inputs, name) for name, dataset in inputs.datasets.items() if dataset.settings.domain == domain],
        )
    for run in inputs.runs.values():
        page(run_address(run.name), "run.html", **run_context(inputs, run, beyond, [goal for goal in goals if goal.run == run.name]))
    if beyond.questions:
        page("pages/questions.html", "questions.html", questions=[(key, q, answers(q, inputs, beyond.studies))
                                                                   for key, q in beyond.questions.items()], profiles=PROFILES)
    if any(beyond.studies.values()):
        page("pages/studies.html", "studies.html", profiles=[(key, *PROFILES[key], study_groups(inputs, runs, beyond))
                                                             for key, runs in beyond.studies.items() if runs])
    if goals or beyond.benches:
        groups = [(key, title, [goal for goal in goals if goal.part == key]) for key, title in PARTS.items()]
        page("pages/goals.html", "goals.html", groups=[group for group in groups if group[2]], benches=beyond.benches)
    if unary:
        page("pages/bigbigan.html", "factorial.html", squares=unary, profiles=PROFILES)
    if inputs.claims:
        page("pages/claims.html", "claims.html", **claims_context(inputs.claims, inputs.names))
    page("pages/validation.html", "validation.html", datasets=list(inputs.datasets.values()))
    page("pages/glossary.html", "glossary.html", entries=glossary(inputs))
    return pages


def environment(names: dict[str, Name], nav: list[dict]) -> jinja2.Environment:
    """Templates with everything escaped, and the few functions that they call."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {
        "number": numbers.number,
        "figure": numbers.figure,
        "spread": numbers.spread,
        "median": numbers.median,
        "words": numbers.words,
        "tick": charts.tick,
        "plain": plain,
        "url": quote,
        "sampled": sampled,
        "figure_columns": figure_columns,
    }
    env.globals |= {
        "nav": nav,
        "run_address": run_address,
        "domain_address": domain_address,
        "name_of": lambda key: name_of(names, key),
        "in_words": lambda text: numbers.in_words(names, text),
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "left": charts.LEFT,
        "right": charts.RIGHT,
        "bottom": charts.BOTTOM,
    }
    return env


def claims_context(claims: list[Claim], names: dict[str, Name]) -> dict:
    """Every claim with its formula and charts, how many came out which way, and which of the list have neither entry nor record."""
    shown = [(claim, mathml(claim.formula) if claim.formula else "", [claim_chart(figure, names) for figure in claim.figures])
             for claim in claims]
    counts = [(verdict, sum(claim.verdict == verdict for claim in claims)) for verdict in (verdicts.HOLDS, verdicts.FAILS, verdicts.OPEN)]
    known = {claim.name for claim in claims}
    return {"claims": shown, "counts": counts, "absent": [f"C{i:02}" for i in range(1, CLAIMS + 1) if f"c{i:02}" not in known]}


def claim_chart(figure: ClaimFigure, names: dict[str, Name]) -> charts.Chart:
    styled = [(label, f"s{i % charts.COLOURS}" + (" held" if i >= charts.COLOURS else ""), points)
              for i, (label, points) in enumerate(figure.lines)]
    return charts.line_chart(numbers.in_words(names, figure.title), styled, figure.x, figure.log_x, figure.path)


def run_address(name: str) -> str:
    return f"pages/run-{name}.html"


def domain_address(domain: str) -> str:
    return f"pages/domain-{domain}.html"


def plain(value) -> str:
    """A setting or a cell as text: a list with commas, a mapping as JSON."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=list)


@dataclass(frozen=True)
class Card:
    """A run in short: its headline beside every baseline."""

    run: Run
    headline: str | None
    value: Value | None
    outcome: numbers.Outcome
    bars: list[charts.Bar]


def card(inputs: Inputs, run: Run) -> Card:
    metrics = run.metrics
    if metrics is None:
        return Card(run, None, None, numbers.Outcome("missing"), [])
    key = metrics.headline
    value = metrics.values[key]
    entries = [(run.name, "run", value)]
    entries += [
        (numbers.words(name), "reference" if name in numbers.REFERENCES else "baseline", values[key])
        for name, values in metrics.baselines.items()
        if key in values
    ]
    entries.sort(key=lambda entry: entry[1] == "reference")  # references last, all else as the file has it
    drawn = charts.bars([(label, kind, v.mean, numbers.figure(v.mean, name_of(inputs.names, key).unit)) for label, kind, v in entries])
    return Card(run, key, value, numbers.outcome(metrics, key, name_of(inputs.names, key)), drawn)


def overview(inputs: Inputs, used: list[str]) -> dict:
    groups = []
    for domain in used:
        cards = [card(inputs, run) for run in inputs.runs.values() if run.dataset.settings.domain == domain]
        if cards:
            groups.append(
                {
                    "domain": domain,
                    "title": DOMAINS[domain][0],
                    "about": DOMAINS[domain][1],
                    "cards": cards,
                    "datasets": [d for d in inputs.datasets.values() if d.settings.domain == domain],
                }
            )
    kinds = [c.outcome.kind for group in groups for c in group["cards"]]
    counts = {
        "runs": len(kinds),
        "measured": len(kinds) - kinds.count("missing"),
        "ahead": kinds.count("ahead"),
        "behind": kinds.count("behind") + kinds.count("level"),
        "alone": kinds.count("alone"),
        "missing": kinds.count("missing"),
        "datasets": len(inputs.datasets),
        "valid": sum(bool(d.validation and d.validation.success) for d in inputs.datasets.values()),
    }
    return {"groups": groups, "counts": counts, "strays": inputs.strays, "failed": inputs.failed}


def study_groups(inputs: Inputs, runs: dict[str, Study], beyond: Beyond) -> list[tuple[str, list[dict]]]:
    """(title of the domain, its published runs with outcome and the literature's figures) in the order of the domains."""
    groups: dict[str, list[dict]] = {title: [] for title, _ in DOMAINS.values()}
    for study in runs.values():
        title = DOMAINS.get(study.domain, ("Others", ""))[0]
        groups.setdefault(title, []).append(published_run(inputs, study, beyond))
    return [(title, entries) for title, entries in groups.items() if entries]


def published_run(inputs: Inputs, study: Study, beyond: Beyond) -> dict:
    key = study.metrics.headline
    figures = [(figure, study.metrics.values.get(figure.metric)) for figure in beyond.figures.get(study.name, [])]
    return {"study": study, "headline": key, "value": study.metrics.values[key], "figures": figures,
            "outcome": numbers.outcome(study.metrics, key, name_of(inputs.names, key)), "run": inputs.runs.get(study.name)}


def run_context(inputs: Inputs, run: Run, beyond: Beyond, goals: list[Reached]) -> dict:
    metrics, lines = run.metrics, run_lines(inputs.names, run)
    curves = charts.curve_charts(run.curves) if run.curves else []
    parts = [
        ("result", "Result", True),
        ("goals", "Goals", goals),
        ("published", "At larger scale", any(run.name in runs for runs in beyond.studies.values())),
        ("metrics", "Metrics", lines),
        ("curves", "Curves", curves),
        ("pictures", "Pictures", run.pictures),
        ("tables", "A closer look", run.tables),
        ("settings", "Settings", True),
    ]
    files = [("metrics (JSON)", f"metrics/{run.name}.json", metrics), ("curves (CSV)", f"curves/{run.name}.csv", run.curves)]
    return {
        "run": run,
        "metrics": metrics,
        "lines": lines,
        "curves": curves,
        "card": card(inputs, run),
        "collapsed": collapsed(metrics) if metrics else "",
        "settings": run_settings(inputs, run),
        "contents": [(key, label) for key, label, shown in parts if shown],
        "files": [(label, address) for label, address, there in files if there],
        "feature_run": inputs.runs.get(run.settings.features) if run.settings.features != NO_FEATURES else None,
        "domain_title": DOMAINS[run.dataset.settings.domain][0],
        "published": [(PROFILES[profile][0], published_run(inputs, runs[run.name], beyond))
                      for profile, runs in beyond.studies.items() if run.name in runs],
        "goals": goals,
        "places": PARTS,
        "others": [other for other in inputs.runs.values() if other.dataset is run.dataset and other is not run],
    }


def collapsed(metrics: Metrics) -> str:
    """What to say of a code that says nothing of its input, by active units and KL (nats); empty where it does, or has neither metric."""
    found = {key: metrics.values[key].mean for key in ("active_units", "kl") if key in metrics.values}
    found = {key: mean for key, mean in found.items() if mean is not None}
    if found.get("active_units") != 0 and found.get("kl", math.inf) >= COLLAPSED:
        return ""
    said = {"active_units": "{} active units", "kl": "a KL of {} nats"}
    probed = "; what a probe still reads there is a nearly constant code, standardised" if "probe_accuracy" in metrics.values else ""
    return ("The code has collapsed: with " + " and ".join(said[key].format(numbers.figure(mean, "units")) for key, mean in found.items())
            + f" it tells next to nothing of its input{probed}.")


def run_settings(inputs: Inputs, run: Run) -> list[tuple[str, object]]:
    """(dotted key, value) of what params.yaml gives for the run; its own `train:` wins over the common one."""
    own = run.settings
    rows: list[tuple[str, object]] = [
        ("family", own.family),
        ("dataset", own.dataset),
        ("features", own.features),
        ("seeds", list(own.seeds)),
    ]
    for part, given in (("model", own.model), ("train", {**inputs.common, **own.train}), ("evaluate", own.evaluate)):
        rows += [(f"{part}.{key}", value) for key, value in leaves(given) if key]
    return rows


def glossary(inputs: Inputs) -> list[dict]:
    """Every metric that names.json explains or a run reports, by title."""
    keys = dict.fromkeys([*inputs.names, *(key for run in inputs.runs.values() if run.metrics for key in run.metrics.values)])
    entries = [
        {"key": key, "name": name_of(inputs.names, key), "runs": [r for r in inputs.runs.values() if r.metrics and key in r.metrics.values]}
        for key in keys
    ]
    return sorted(entries, key=lambda entry: (entry["name"].title.casefold(), entry["key"]))


def sampled(chart: charts.Chart, rows: int = 10) -> list[tuple[float, list[float | None]]]:
    """About ten (step, value of each line there) of a chart; a line not logged at a step shows its last value before it. Of a path: the
    place (x, y) of each line there."""
    if chart.path:
        last = max(len(line.data) for line in chart.lines) - 1
        return [(i, [line.data[min(i, len(line.data) - 1)] for line in chart.lines]) for i in charts.thinned(list(range(last + 1)), rows)]
    steps = sorted({step for line in chart.lines for step, _ in line.data})
    found = []
    for step in charts.thinned(steps, rows):
        before = [bisect_right(line.data, step, key=lambda point: point[0]) for line in chart.lines]
        found.append((step, [line.data[i - 1][1] if i else None for line, i in zip(chart.lines, before, strict=True)]))
    return found


def figure_columns(table: Table) -> list[int]:
    """Columns of a table that hold numbers alone."""
    return [
        i
        for i in range(len(table.columns))
        if table.rows and all(isinstance(row[i], (int, float, type(None))) and not isinstance(row[i], bool) for row in table.rows)
    ]
