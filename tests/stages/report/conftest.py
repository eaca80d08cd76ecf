"""A small project whose stages have run: params.yaml, names.json and every file that the report reads."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

NAMES = {
    "heldout_loss": ("Held-out loss", "lower", "nats a pair", "Mean loss of a pair of words from documents that were not trained on."),
    "ndcg_10": ("NDCG@10", "higher", "share", "How high the item that was bought next stands among the first ten."),
    "hit_rate_10": ("Hit rate@10", "higher", "share", "How often the item that was bought next is among the first ten."),
    "mrr": ("MRR", "higher", "", "Mean of one over the rank; ties get their mean rank."),
    "macro_f1_50": ("Macro-F1, half the labels", "higher", "", "F1 averaged over classes."),
    "accuracy": ("Accuracy", "higher", "share", "Share of test images whose class is right."),
    "fid": ("FID", "lower", "", "Distance between Gaussians fitted to features of samples and of test images."),
    "probe_accuracy": ("Linear probe", "higher", "share", "Accuracy of logistic regression on the codes."),
    "kl": ("KL", "none", "nats", "Rate of the code; neither way is better."),
}
METRICS = {
    "skipgram": ("pydoc", "word2vec", "heldout_loss", {"heldout_loss": 2.553}, {"unigram": {"heldout_loss": 3.48}}),
    "prod2vec": (
        "shop",
        "word2vec",
        "ndcg_10",
        {"ndcg_10": 0.198, "hit_rate_10": 0.342, "mrr": 0.171},
        {
            "popularity": {"ndcg_10": 0.045, "hit_rate_10": 0.09, "mrr": 0.05},
            "co_counts": {"ndcg_10": 0.225, "hit_rate_10": 0.36, "mrr": 0.19},
        },
    ),
    "deepwalk": (
        "calls",
        "random_walk",
        "macro_f1_50",
        {"macro_f1_50": 0.833},
        {"spectral": {"macro_f1_50": 0.812}, "label_propagation": {"macro_f1_50": 0.85}},
    ),
    "transe": ("kg", "translation", "mrr", {"mrr": 0.262}, {"by_relation_frequency": {"mrr": 0.115}}),
    "classifier": ("digits", "classifier", "accuracy", {"accuracy": 0.975}, {"raw_pixels": {"accuracy": 0.967}}),
    "vae": (
        "digits",
        "vae",
        "fid",
        {"fid": 43.8, "probe_accuracy": 0.951, "kl": 11.27},
        {"gaussian": {"fid": 110.2}, "pca": {"probe_accuracy": 0.967}, "floor": {"fid": 3.12}},
    ),
    "gan": ("digits", "gan", "fid", {"fid": 10.4}, {"gaussian": {"fid": 110.2}, "floor": {"fid": 3.12}}),
}
DOMAINS = {"pydoc": "corpora", "shop": "receipts", "calls": "graphs", "kg": "graphs", "digits": "images"}


def build(folder: Path, mark: str = "", without: tuple[str, ...] = ()) -> Path:
    """Write the project into `folder`; `mark` is put into every text that comes from data, runs in `without` have no files."""
    seeds = {"gan": 3, "vae": 3}
    params = {
        "split": {"salt": "x"},
        "validate": {},
        "datasets": {
            name: {
                "domain": domain,
                "source": "builtin",
                "name": name + mark,
                "options": {"seed": 0, "note": "n" + mark},
                "validate": {},
                "prepare": {},
            }
            for name, domain in DOMAINS.items()
        },
        "train": {"device": "auto", "threads": 1},
        "runs": {
            run: {
                "family": family + mark,
                "dataset": dataset,
                "features": "classifier" if run in ("vae", "gan") else "none",
                "seeds": [0],
                "model": {"dimension": 32, "note": "m" + mark},
                "train": {"threads": 2},
                "evaluate": {},
            }
            for run, (dataset, family, *_) in METRICS.items()
        },
        "claims": {"c10": {"theme": "games"}, "c11": {"theme": "games"}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    write(
        folder / "names.json",
        {
            key: {"title": title + mark, "better": better, "unit": unit + mark, "meaning": meaning + mark}
            for key, (title, better, unit, meaning) in NAMES.items()
        },
    )
    reports = folder / "reports"
    for i, (run, (dataset, _, headline, values, baselines)) in enumerate(METRICS.items()):
        if run in without:
            continue
        n = seeds.get(run, 1)
        write(
            reports / "metrics" / f"{run}.json",
            {
                "headline": headline,
                **{k: {"mean": v, "sd": 0.04 * v if n > 1 else 0.0, "n": n} for k, v in values.items()},
                "extra_metric" + mark: {"mean": 1234.5, "sd": None, "n": 1},
                "baselines": {b + mark: {k: {"mean": v, "sd": 0.0, "n": 1} for k, v in found.items()} for b, found in baselines.items()},
                "parameters": 12345,
                "reproducible": True,
                "features": "3f9a0c" + mark if dataset == "digits" else None,
            },
        )
        curve(
            reports / "curves" / f"{run}.csv",
            n,
            ["loss", "valid_loss", "kl" + mark] if run == "vae" else ["loss"],
            np.random.default_rng(i),
        )
        samples(reports / "samples" / run, mark, np.random.default_rng(i))
        for profile, seeds_there in (("study", 3), ("paper", 1)):
            write(
                reports / profile / f"{run}.json",
                {
                    "headline": headline,
                    **{k: {"mean": 1.01 * v, "sd": 0.04 * v if seeds_there > 1 else None, "n": seeds_there} for k, v in values.items()},
                    "baselines": {b + mark: {k: {"mean": v} for k, v in found.items()} for b, found in baselines.items()},
                    "profile": profile, "commit": "c0ffee" + mark, "hours": 0.25 if seeds_there > 1 else None,
                    "params": {"family": "f" + mark, "dataset": dataset + mark, "model": {"dimension": 8 + i, "note": "m" + mark}},
                    "dataset": {"domain": DOMAINS[dataset]}, "machine": {"processor": "p" + mark},
                    "picture": {"title": "Published" + mark, "alt": "squares" + mark} if profile == "study" else None,
                },
            )
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 64), dtype=np.uint8)).save(reports / "study" / f"{run}.png")
    words = {key: f"the {key}{mark}" for key in ("statement", "source", "done", "turn", "changes", "rule")}
    check = {"what": "growth" + mark, "measured": 1.005, "expected": 1.0, "tolerance": 1e-3, "passes": False, "relation": "equal to",
             "interval": [1.004, 1.006]}
    both = {**check, "measured": "infinite", "expected": "infinite", "relation": "at least", "passes": True, "interval": None}
    lines = [{"label": "radius" + mark, "points": [[0, 1.0], [1, 1.2], [2, None], [3, 1.7]]}]
    figures = [{"title": "Distance" + mark, "x": "time" + mark, "log_x": False, "path": False, "lines": lines},
               {"title": "Path" + mark, "x": "x", "log_x": False, "path": True,
                "lines": [{"label": "p", "points": [[0, 1], [1, 0], [0, -1]]}]}]
    formula = r"r_{t + 1} = \text{" + mark.replace("}", "") + r"} \sqrt{2}"
    write(reports / "claims" / "c10.json", {**words, "claim": "c10", "kind": "E", "formula": formula, "verdict": "does not hold",
                                            "seeds": [0, 1], "checks": [check, both], "tests": [], "figures": figures})
    test = {"what": "gap" + mark, "mean": 0.5, "interval": [0.4, 0.6], "effect": 3.0, "p": 1e-4, "differences": [0.5, 0.4, 0.6, 0.5, 0.5]}
    write(reports / "claims" / "c12.json", {**words, "claim": "c12", "kind": "D", "formula": "k < l", "p": 1e-4, "seeds": [0, 1, 2, 3, 4],
                                            "checks": [], "tests": [test], "figures": []})
    for name, domain in DOMAINS.items():
        validation(reports / "validation" / name, name, domain, mark, success=name != "kg")
    return folder


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def curve(path: Path, seeds: int, terms: list[str], rng) -> None:
    lines = [",".join(["seed", "step", *terms])]
    for seed in range(seeds):
        for step in range(0, 2000, 20):
            values = [(3 if k == 2 else 120) * math.exp(-step / 300) + 4 + k + 0.3 * rng.random() for k in range(len(terms))]
            lines.append(",".join([str(seed), str(step), *(f"{v:.5g}" if k != 1 or step % 200 == 0 else "" for k, v in enumerate(values))]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def samples(folder: Path, mark: str, rng) -> None:
    folder.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 255, (160, 320), dtype=np.uint8)).save(folder / "grid.png")
    write(
        folder / "details.json",
        {
            "pictures": [{"file": "grid.png", "title": "Samples" + mark, "alt": "A grid of random grey squares" + mark}],
            "tables": [
                {
                    "title": "Nearest neighbours" + mark,
                    "columns": ["word", "neighbours", "similarity"],
                    "note": "By cosine." + mark,
                    "rows": [
                        ["tuple" + mark, "list, dict, set, frozenset", 0.8123],
                        ["کتاب", "کتابخانه، دفتر، نامه", 0.71],
                        ["list", ["a", "b" + mark], None],
                    ],
                }
            ],
        },
    )


def validation(folder: Path, name: str, domain: str, mark: str, success: bool) -> None:
    write(
        folder / "summary.json",
        {
            "dataset": name,
            "domain": domain,
            "success": success,
            "rows": 12345,
            "quarantined": 0 if success else 17,
            "expectations": [
                {
                    "table": "edges" + mark,
                    "expectation": "ends_are_nodes" + mark,
                    "column": "target" + mark,
                    "level": "row",
                    "success": success,
                    "unexpected": 0 if success else 17,
                    "examples": [] if success else ["json.foo" + mark, {"source": "a" + mark}],
                    "allowed": "ids of nodes.parquet" + mark,
                    "note": "Every edge ends at a node." + mark,
                }
            ],
        },
    )
    (folder / "index.html").write_text("<!doctype html><html lang=en><title>Data Docs</title><p>Data Docs", encoding="utf-8")


@pytest.fixture
def make(tmp_path):
    """`make(**options)` builds the project in tmp_path and returns its folder."""
    return lambda **options: build(tmp_path, **options)
