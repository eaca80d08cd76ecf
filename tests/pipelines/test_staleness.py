"""Each leaf of params.yaml makes exactly its readers stale, and what hangs on them: found by changing it and asking DVC."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from pathlib import Path

import pytest

from pipelines.staleness import HEAD, TABLE, Effect, covers, effects, other, table
from tests.pipelines.conftest import ROOT


def test_small_project(project):
    found = {effect.leaf: effect for effect in effects(project)}
    after = ("evaluate@emb", "report")
    assert set(found["train.lr"].stale) == {"train@emb", "train@vae", "train@gan"}
    assert set(found["train.lr"].downstream) == {"evaluate@emb", "evaluate@vae", "evaluate@gan", "report"}
    assert found["runs.emb.model.d"].stale == ("train@emb",)
    assert found["runs.emb.model.d"].downstream == after
    assert found["runs.gan.evaluate.k"].stale == ("evaluate@gan",)
    assert found["datasets.shop.options.n"].stale == ("prepare@shop",)
    assert found["datasets.shop.options.n"].downstream == ("train@emb", *after)
    assert found["datasets.shop.domain"] == Effect("datasets.shop.domain", (), (), ())  # nobody reads it; the real file has no such leaf
    # the dataset of a run is in the command and the path, not among the declared parameters
    assert found["runs.vae.dataset"].stale == found["runs.vae.dataset"].readers == ("train@vae",)


def test_a_table_without_entries_has_no_leaf(project):
    """What dvc.yaml makes stages of cannot be changed into anything as long as it is empty."""
    with (project / "params.yaml").open("a") as params, (project / "dvc.yaml").open("a") as stages:
        params.write("comparisons: {}\n")
        stages.write("  compare:\n    foreach: ${comparisons}\n    do:\n      cmd: python work.py compare ${item.run} --out ${key}\n")
    found = [effect.leaf for effect in effects(project)]
    assert "comparisons" not in found and "train.lr" in found


def test_a_use_that_is_not_foreseen_is_found_leaf_by_leaf(project):
    """Brackets are DVC's other way to write item.dataset; the experiment, which looks for the first, must still see what they do."""
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("${item.dataset}", "${item[dataset]}"))
    found = {effect.leaf: effect for effect in effects(project)}
    assert found["runs.vae.dataset"].stale == ("train@vae",) and found["runs.vae.dataset"].readers == ()
    assert found["runs.emb.dataset"].stale == ("train@emb",) and found["datasets.shop.domain"].stale == ()
    assert found["runs.vae.dataset"].downstream == ("evaluate@vae", "report")


def test_leaves_changed_together_are_told_apart(project):
    """All that dvc.yaml puts in is changed at once for all runs."""
    before = effects(project)
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("gan: {dataset: digits", "gan: {dataset: shop"))
    after = {effect.leaf: effect for effect in effects(project)}
    assert {e.leaf: e.stale for e in before} == {leaf: e.stale for leaf, e in after.items()}
    assert "train@gan" in after["datasets.shop.options.n"].downstream


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> list[Effect]:
    """Found once, by whichever worker comes first."""
    found = tmp_path_factory.getbasetemp().parent / f"staleness-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}.json"
    with found.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.is_file():
            found.write_text(json.dumps([dataclasses.astuple(effect) for effect in effects(ROOT)]))
    return [Effect(leaf, *map(tuple, rest)) for leaf, *rest in json.loads(found.read_text())]


def test_every_leaf_of_params_yaml_reruns_exactly_its_readers(real):
    wrong = [f"{e.leaf}: DVC says {e.stale}, declared by {e.readers}" for e in real if set(e.stale) != set(e.readers)]
    assert len(real) > 50
    assert not wrong, "\n".join(wrong)


def test_every_leaf_is_read_by_some_stage_but_those_of_comparing_by_none(real):
    assert [e.leaf for e in real if bool(e.stale) == e.leaf.startswith(("compare.", "nightly."))] == []


def test_an_edit_of_evaluation_or_another_run_never_retrains(real):
    for effect in real:
        way = effect.leaf.split(".")
        touched = {name for name in (*effect.stale, *effect.downstream) if name.startswith("train@")}
        if way[0] == "runs" and way[2] in ("evaluate", "features"):
            assert not touched, effect.leaf
        elif way[0] == "runs":
            assert touched == {f"train@{way[1]}"}, effect.leaf


def test_the_written_table_is_the_one_found(real):
    assert Path(ROOT / TABLE).read_text(encoding="utf-8") == table(real), "out of date: run python -m pipelines.graph --table"


def test_covers_is_by_whole_keys():
    assert covers("train", "train.lr") and covers("train.lr", "train.lr") and covers("", "a.b")
    assert not covers("train", "trainer.lr") and not covers("train.lr", "train")


def test_other_keeps_the_type_and_points_somewhere():
    params = {"runs": {"a": {"dataset": "x"}, "b": {"dataset": "y"}}}
    assert other("x", "runs.a.dataset", params) == "y"
    assert other("only", "split.salt", params) == "only-changed"
    assert (other(True, "", {}), other(2, "", {}), other(0.5, "", {}), other([0], "", {}), other({}, "", {})) == (
        False, 3, 1.5, [0, 1], {"changed": 1})


def test_table_joins_leaves_that_do_the_same():
    a, b, c = (Effect(f"train.{x}", ("train@v", "train@w"), ("report",), ()) for x in "abc")
    text = table([a, b, Effect("split", ("prepare@d",), (), ()), c])
    assert text == HEAD + ("| `train.a`<br>`train.b` | train@{v, w} | report |\n| `split` | prepare@d | nothing |\n"
                           "| `train.c` | train@{v, w} | report |\n")
