"""The 2 x 2: cells found by their settings, effects paired within a seed, sentences whose sign the interval decides."""

import math
from dataclasses import replace
from statistics import stdev

import pytest

from stages.report.factorial import CELLS, effects, sentence, squares
from stages.report.inputs import Metrics, Name, Value, read_inputs
from stages.report.pages import render
from stages.report.studies import Beyond, Study
from tests.stages.report.conftest import build

NAMES = {"fid": Name("FID", "lower"), "probe_accuracy": Name("Linear probe", "higher", "share")}
FID = {(True, True): [10, 12, 14], (True, False): [11, 13, 15], (False, True): [13, 15, 17.3], (False, False): [14, 16, 18]}


def value(values):
    return Value(sum(values) / len(values), stdev(values) if len(values) > 1 else None, len(values), values=tuple(values))


def study(name, place, numbers, **model):
    metrics = Metrics("fid", {"fid": value(numbers), "probe_accuracy": value([0.9] * len(numbers))}, {}, 1, True, None)
    given = {"unary_x": place[0], "unary_z": place[1], **model}
    return Study(name, "study", metrics, "images", {"family": "bigbigan", "dataset": "digits", "model": given, "train": {}}, None, {}, None)


def published(**model):
    found = {}
    for i, place in enumerate(CELLS):
        found[f"b{i}"] = study(f"b{i}", place, FID[place], **model)
        found[f"c{i}"] = study(f"c{i}", place, [x - 2 for x in FID[place]], **model, categories=10, weight=2.0)
    return found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("project"))
    from stages import params
    return read_inputs(folder / "reports", params.load(folder / "params.yaml"), folder / "names.json")




def test_squares_are_found_by_settings_and_only_whole(inputs):
    runs = published()
    found = squares(inputs, {"study": runs})
    assert [(s.profile, s.dataset, s.coded) for s in found] == [("study", "digits", False), ("study", "digits", True)]
    assert [cell.name for cell in found[0].cells.values()] == ["b0", "b1", "b2", "b3"]
    assert not squares(inputs, {"study": {k: v for k, v in runs.items() if k not in ("b2", "c1")}})
    wider = {**runs["b3"].params, "model": {"unary_x": False, "unary_z": False, "latent": 32}}
    assert [s.coded for s in squares(inputs, {"study": {**runs, "b3": replace(runs["b3"], params=wider)}})] == [True]
    assert not squares(inputs, {"study": published(objective="logistic")})


def test_effects_are_paired_differences_by_value(inputs):
    (plain, coded) = squares(inputs, {"study": published()})
    x, z, both = (s for s in plain.sentences if s.startswith("FID"))
    gaps = [((10 + 11) - (13 + 14)) / 2, ((12 + 13) - (15 + 16)) / 2, ((14 + 15) - (17.3 + 18)) / 2]
    margin = 4.302653 * stdev(gaps) / math.sqrt(3)
    assert x == f"FID: s_x on changes it by −{abs(sum(gaps) / 3):.3g} ± {margin:.2g} (3 paired seeds): lowers it."
    assert z.startswith("FID: s_z on changes it by −0.950 ±") and z.endswith("lowers it.")
    assert both.startswith("FID: both on, beyond the sum of the two, changes it by −0.100 ±") and both.endswith("not decided.")
    assert coded.sentences[-2:] == ["FID: the code and its head changes it by −2.00 ± 0 (3 paired seeds): lowers it.",
                                    "Linear probe: the code and its head changes it by 0 ± 0 (3 paired seeds): not decided."]


def test_one_seed_has_no_interval_and_seeds_that_were_not_kept_no_sentence():
    assert sentence(NAMES, "fid", "s_x on", [1.5]) == "FID: s_x on changes it by 1.50 (one seed: no interval)."
    runs = published()
    from stages.report.factorial import Cell
    cells = {place: Cell(f"b{i}", runs[f"b{i}"].metrics, None) for i, place in enumerate(CELLS)}
    assert len(effects(NAMES, "fid", cells)) == 3
    lost = replace(runs["b1"].metrics, values={"fid": Value(12.0, 2.0, 3)})
    assert effects(NAMES, "fid", {**cells, CELLS[1]: Cell("b1", lost, None)}) == []


def test_the_page_shows_cells_and_sentences(inputs):
    pages = render(inputs, Beyond(studies={"study": published()}))
    page = pages["pages/bigbigan.html"]
    assert page.count("s<sub>x</sub> on") == 4 and "With a code and its head" in page and "s_x on changes it by" in page
    assert "pages/bigbigan.html" in pages["index.html"] and "pages/bigbigan.html" not in render(inputs)
