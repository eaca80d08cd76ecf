"""Speed and memory on the page of goals: every record that bench left, held against what was asked in its order."""

from pathlib import Path

import pytest
import yaml

from stages.files import write_json
from stages.params import load
from stages.report.benches import GOALS, Bench, read_benches
from stages.report.inputs import read_inputs
from stages.report.pages import render
from stages.report.studies import Beyond
from stages.settings import InputError

MAIN = {"name": "a, b", "unit": "steps/s", "peer": 2.0, "ours": 3.0, "ratio": 1.5, "limit": 1.9, "quality_peer": 4.0, "quality_ours": 5.0,
        "processor": "x"}


@pytest.fixture
def benches(tmp_path):
    """What is read of one file with two and one that compares nothing, under these goals."""
    folder = tmp_path / "results"
    folder.mkdir()
    write_json(folder / "two.json", {**MAIN, "also": [{**MAIN, "name": "a, c", "ratio": 0.5}]})
    write_json(folder / "soak.json", {"name": "no comparison", "rounds": 3})

    def read(goals):
        (tmp_path / "goals.yaml").write_text(goals)
        return read_benches(folder, tmp_path / "goals.yaml")
    return read


def test_goals_are_in_the_order_of_a_files_entries(benches):
    first, second = benches("speed: {two: [{at_least: 1.7, tried: much}, {at_least: 0.5}]}")
    assert first == Bench("a, b", "steps/s", 2.0, 3.0, 1.5, 4.0, 5.0, 1.9, 1.7, "much") and first.missed == pytest.approx(0.2)
    assert second.name == "a, c" and second.missed == 0
    for none in ("default: {}", "speed: {two: [{}]}"):
        assert [bench.asked for bench in benches(none)] == [None, None]


@pytest.mark.parametrize(("goals", "message"), [
    ("speed: {two: [{}, {}, {}]}", "speed.two: 3 goals, but .*two.json holds 2"),
    ("speed: {two: [{at_most: 1}]}", r"speed.two\[0\].at_most: unknown setting"),
    ("speed: [1]", "goals.yaml: speed: expected a mapping"), ("", "goals.yaml: expected a mapping")])
def test_goals_that_fit_nothing_are_one_line(benches, goals, message):
    with pytest.raises(InputError, match=message):
        benches(goals)


def test_a_record_that_is_not_whole_is_named(benches, tmp_path):
    for broken in ({k: v for k, v in MAIN.items() if k != "name"}, {**MAIN, "ratio": "fast"}):
        write_json(tmp_path / "results" / "two.json", broken)
        with pytest.raises(InputError, match="two.json"):
            benches("speed: {}")


def test_the_page_shows_every_record(make):
    folder = make()
    inputs = read_inputs(folder / "reports", load(folder / "params.yaml"), folder / "names.json")
    found = read_benches(Path("bench/results"))
    assert {*yaml.safe_load(GOALS.read_text())["speed"]} <= {p.stem for p in Path("bench/results").glob("*.json")}, "a goal of no benchmark"
    slow = Bench("<b>a peer</b>, ours", "steps/s", 2.0, 3.0, 1.5, 4.0, 5.0, 1.9, 1.7, "much")
    page = render(inputs, Beyond(benches=[*found, slow]))["pages/goals.html"]
    assert page.count("<th scope=\"row\">") == len(found) + 1
    assert "missed by 0.20" in page and "much" in page and "at most 1.90" in page and "&lt;b&gt;a peer&lt;/b&gt;" in page
    assert "pages/goals.html" not in render(inputs, Beyond())
