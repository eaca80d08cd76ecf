"""Settings: every wrong key, type, value or reference is one line that says where, what, what is allowed and the nearest match."""

from dataclasses import dataclass
from typing import Literal

import pytest

from stages.check import check
from stages.params import leaves, load
from stages.settings import InputError, configure, field


@dataclass(frozen=True)
class Example:
    needed: str
    count: int = field(1, low=1, high=9)
    rate: float = field(0.1, above=0.0)
    mode: Literal["fast", "slow"] = field("fast")
    sizes: tuple[int, ...] = field((1,), low=1)
    limit: float | None = field(None)
    scale: dict[str, float] = field({}, above=0.0)


def test_defaults_conversion_and_layers():
    made = configure(Example, {"needed": "x", "rate": "1e-3", "sizes": [2, 3], "limit": 2, "scale": {"a": 1}}, "w")
    assert made == Example("x", 1, 0.001, "fast", (2, 3), 2.0, {"a": 1.0})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"needed": "x", "cuont": 3},
            "w.cuont: unknown setting; allowed: needed, count, rate, mode, sizes, limit, scale (did you mean 'count'?)",
        ),
        ({}, "w.needed: missing; expected text"),
        ({"needed": "x", "count": "three"}, "w.count: expected a whole number, found 'three'"),
        ({"needed": "x", "count": True}, "w.count: expected a whole number, found True"),
        ({"needed": "x", "count": 1.5}, "w.count: expected a whole number, found 1.5"),
        ({"needed": "x", "count": 0}, "w.count: 0 is out of range; allowed: at least 1 and at most 9"),
        ({"needed": "x", "rate": 0.0}, "w.rate: 0.0 is out of range; allowed: more than 0.0"),
        ({"needed": "x", "rate": float("nan")}, "w.rate: nan is not a finite number"),
        ({"needed": "x", "mode": "fats"}, "w.mode: unknown value 'fats'; allowed: fast, slow (did you mean 'fast'?)"),
        ({"needed": "x", "sizes": [1, 0]}, "w.sizes: 0 is out of range; allowed: at least 1"),
        ({"needed": "x", "sizes": "12"}, "w.sizes: expected a list of a whole number, found '12'"),
        ({"needed": "x", "limit": "none"}, "w.limit: expected a number or nothing (null), found 'none'"),
        ([], "w: expected a mapping of settings, found []; write {} for none"),
    ],
)
def test_each_mistake_is_one_line(given, line):
    with pytest.raises(InputError) as caught:
        configure(Example, given, "w")
    assert str(caught.value) == line


PARAMS = """
split: {salt: s}
validate: {}
train: {}
datasets:
  a: {domain: images, source: builtin, name: digits, options: {}, validate: {}, prepare: {}}
runs:
  r: {family: vae, dataset: a, features: none}
"""


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dataset: a", "dataset: b", "runs.r.dataset: unknown dataset 'b'; allowed: a"),
        ("features: none", "features: clasifier", "runs.r.features: unknown run 'clasifier'; allowed: r, none"),
        (
            "domain: images",
            "domain: image",
            "datasets.a.domain: unknown value 'image'; allowed: receipts, corpora, graphs, images (did you mean 'images'?)",
        ),
        ("split: {salt: s}", "split: {salt: s, test: 0.5, valid: 0.5}", "leaves too little to train on"),
        ("  r: {", "  r.1: {", "runs.r.1: not a usable name"),
        ("  r: {", "  none: {", "runs.none: the name 'none' means 'no feature net' under features:; choose another"),
        ("validate: {}\ntrain", "validate: {pictures: {}}\ntrain", "unknown domain 'pictures'"),
        ("features: none}", "features: none, seeds: [1, 1]}", "runs.r.seeds: expected at least one seed, each once, found [1, 1]"),
        ("train: {}", "train: {}\ntrain: {}", "line 5: the key 'train' stands twice; keep one"),
        ("train: {}", "train: {", "not YAML"),
    ],
)
def test_params_mistakes(tmp_path, old, new, expected):
    path = write(tmp_path, PARAMS.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load(path)
    assert expected in str(caught.value) and "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("features: none", "features: none, model: {latnet: 3}", "runs.r.model.latnet: unknown setting; allowed: latent"),
        ("features: none", "features: none, train: {lr: -1}", "runs.r.train.lr: -1.0 is out of range"),
        ("train: {}", "train: {thraeds: 2}", "params.yaml.train.thraeds: unknown setting"),
        ("family: vae", "family: vea", "runs.r.family: unknown family 'vea'"),
        ("features: none", "features: none, evaluate: {iw: [7]}", "runs.r.evaluate.iw[0]: unknown value 7; allowed: 1, 5, 50, 500, 5000"),
        ("name: digits", "name: digit", "datasets.a.name: unknown builtin source 'digit'"),
        ("name: digits, options: {}", "name: digits, options: {sise: 3}", "datasets.a.options.sise: unknown setting"),
        ("validate: {}, prepare", "validate: {min_rwos: 3}, prepare", "datasets.a.validate.min_rwos: unknown setting"),
        ("prepare: {}", "prepare: {tset: 0.2}",
         "datasets.a.prepare.tset: unknown setting; allowed: valid, test, task, scale, changes, apart (did you mean 'test'?)"),
        (
            "family: vae",
            "family: translation",
            "runs.r.dataset: family translation reads triples, but a is of domain images (images, points, series, two_domains)",
        ),
        (
            "features: none",
            "features: r",
            "runs.r.features: run r (family vae) has no features(x); allowed: a run of family classifier, rotation, or none",
        ),
        (
            "features: none",
            "features: none, train: {epochs: 3}",
            "runs.r.train.epochs: family vae does not read it; it reads steps in its place",
        ),
        (
            "validate: {}\ntrain",
            "validate: {images: {min_rows: many}}\ntrain",
            "validate.images.min_rows: expected a whole number, found 'many'",
        ),
    ],
)
def test_every_setting_is_checked_where_it_stands_before_any_work(tmp_path, old, new, expected):
    path = write(tmp_path, PARAMS.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        check(load(path), path)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_layers_narrowest_wins(tmp_path):
    from stages.models.vae import Model

    path = write(
        tmp_path, PARAMS.replace("train: {}", "train: {steps: 7, lr: 0.5}").replace("features: none}", "features: none, train: {lr: 0.25}}")
    )
    settings = check(load(path), path)["r"]["train"]
    assert (settings["steps"], settings["lr"], settings["batch_size"]) == (7, 0.25, Model.train_defaults["batch_size"])


def test_leaves():
    assert dict(leaves({"a": {"b": 1, "c": {}}, "d": [1]})) == {"a.b": 1, "a.c": {}, "d": [1]}
