"""What a plan will cost, by what its stages cost the last time."""

from __future__ import annotations

import json

import pytest

from pipelines import estimate
from pipelines.estimate import Cost, duration, estimated, keep, measured, show
from pipelines.processes import Outcome
from pipelines.schedule import Slots
from tests.pipelines.test_schedule import stage

STAGES = {s.name: s for s in [stage("prepare@a"), stage("prepare@b"), stage("train@a", "prepare@a"), stage("train@b", "prepare@b"),
                              stage("report", "train@a", "train@b")]}
KNOWN = {"prepare@a": Cost(1, 1, 0.1), "prepare@b": Cost(2, 2, 0.2), "train@a": Cost(10, 9, 1.0), "train@b": Cost(4, 4, 3.0),
         "report": Cost(3, 1, 0.5)}


@pytest.mark.parametrize(("cpu", "seconds", "memory"), [(1, 20.0, 3.0), (2, 14.0, 4.0)])
def test_the_schedule_is_simulated_on_the_slots(cpu, seconds, memory):
    """One slot: the sum. Two: 1 + 10 + 3 along the longest chain, the trainings side by side."""
    found = estimated(STAGES, KNOWN, Slots(cpu, []))
    assert (found.seconds, found.memory, found.cpu, found.guessed) == (seconds, memory, 17, [])


def test_a_stage_never_timed_counts_as_the_median_of_its_kind():
    known = {name: cost for name, cost in KNOWN.items() if name != "train@b"} | {"train@c": Cost(20, 1, 1), "train@d": Cost(30, 2, 2)}
    found = estimated(STAGES, known, Slots(1, []))
    assert found.guessed == ["train@b"] and found.costs["train@b"] == Cost(20, 2, 1.0)
    assert estimated({"x": stage("x")}, KNOWN, Slots(1, [])).costs["x"] == Cost(3, 2, 0.5)
    assert estimated({"x": stage("x")}, {}, Slots(1, [])).seconds == 1.0


def test_what_is_kept_is_what_really_ran(tmp_path):
    outcomes = {"a": Outcome("done", 2.0, cpu=1.5, memory=0.25), "b": Outcome("unchanged", 0.3), "c": Outcome("restored", 0.4),
                "d": Outcome("failed", 9.0)}
    assert keep(tmp_path, {"b": Cost(7, 6, 5)}, outcomes) == {"a": Cost(2.0, 1.5, 0.25), "b": Cost(7, 6, 5)} == measured(tmp_path)
    (tmp_path / estimate.MEASURED).write_text(json.dumps({"a": {"seconds": "x"}}))
    assert measured(tmp_path) == {} == measured(tmp_path / "nowhere")


def test_what_is_shown():
    lines = []
    show(estimated(STAGES, {**KNOWN, "train@b": Cost(4, 4, 3)}, Slots(2, [])), STAGES, 2, lines.append)
    assert [line.split() for line in lines[:2]] == [["stage", "seconds", "CPU", "s", "peak", "GB", "threads"],
                                                    ["prepare@a", "1.0", "1.0", "0.10", "1"]]
    assert lines[-1] == "5 stages, 2 at a time: about 14 s, 17 s of CPU, at most 4.0 GB at once"
    lines.clear()
    show(estimated(STAGES, {"report": Cost(1)}, Slots(2, [])), STAGES, 2, lines.append)
    assert "prepare@a (never timed)" in lines[1] and lines[-1] == "4 of them were never timed here and count as the median of their kind"
    lines.clear()
    show(estimated({}, KNOWN, Slots(2, [])), {}, 2, lines.append)
    assert lines == ["0 stages, 2 at a time: about 0 s, 0 s of CPU, at most 0.0 GB at once"]


def test_durations():
    assert [duration(s) for s in (0.4, 59.4, 185, 7800)] == ["0 s", "59 s", "3 min 5 s", "2 h 10 min"]
