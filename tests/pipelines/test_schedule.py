"""Order and slots, without processes: time is a counter here."""

from __future__ import annotations

from pipelines.graph import Stage
from pipelines.processes import Outcome
from pipelines.schedule import Slots, devices, run, ways_to_end


def stage(name, *needs, resource="cpu", memory=0.0, threads=1):
    return Stage(name, needs, (), (), (), resource, memory, threads=threads)


class Clock:
    """A queue of ended stages in which waiting for the next one is what makes time pass."""

    def __init__(self, lengths, fail):
        self.now, self.spans, self._running, self._lengths, self._fail = 0, {}, {}, lengths, fail

    def start(self, one, slot):
        self.spans[one.name] = (self.now, self.now + self._lengths.get(one.name, 1))
        self._running[one.name] = self.spans[one.name][1]

    def get(self, timeout):
        name = min(self._running, key=self._running.get)
        self.now = self._running.pop(name)
        return name, Outcome("failed", error="x") if name in self._fail else Outcome("done")


def simulate(stages, slots, lengths, fail=(), stop_after=None):
    """({stage: outcome}, {stage: (start, end)}) when each stage takes `lengths`, 1 where it does not say."""
    clock = Clock(lengths, fail)
    stages = {s.name: s for s in stages}
    outcomes = run(stages, slots, clock.start, clock, lengths, lambda: stop_after is not None and clock.now >= stop_after)
    return outcomes, clock.spans


def test_independent_stages_overlap_and_slots_bound_them():
    stages = [stage("a"), stage("b"), stage("c"), stage("d", "a")]
    outcomes, spans = simulate(stages, Slots(2, []), {"a": 3, "b": 3, "c": 3, "d": 1})
    assert {o.state for o in outcomes.values()} == {"done"}
    starts = sorted(span[0] for span in spans.values())
    assert starts == [0, 0, 3, 3]
    assert spans["d"][0] >= spans["a"][1]


def test_the_longest_way_to_the_end_starts_first():
    stages = [stage("short"), stage("head"), stage("tail", "head")]
    assert ways_to_end({s.name: s for s in stages}, {"tail": 10.0, "short": 5.0}) == {"tail": 10.0, "head": 11.0, "short": 5.0}
    _, spans = simulate(stages, Slots(1, []), {"head": 1, "tail": 10, "short": 5})
    assert spans["head"][0] == 0


def test_what_needs_a_failed_stage_is_not_run_and_all_else_is():
    stages = [stage("a"), stage("b"), stage("a2", "a"), stage("b2", "b"), stage("report", "a2", "b2")]
    outcomes, _ = simulate(stages, Slots(1, []), {}, fail=["a"])
    assert {name: o.state for name, o in outcomes.items()} == {
        "a": "failed", "b": "done", "a2": "not run", "b2": "done", "report": "not run"}
    assert outcomes["report"].error == "needs a2"


def test_needs_outside_the_plan_are_done_already():
    outcomes, _ = simulate([stage("b", "not planned")], Slots(1, []), {})
    assert outcomes["b"].state == "done"


def test_nothing_starts_once_the_flow_is_ended():
    outcomes, spans = simulate([stage("a"), stage("b", "a")], Slots(1, []), {"a": 5}, stop_after=2)
    assert "b" not in spans and outcomes["b"].state == "not run"


def test_gpu_stages_get_a_device_each_and_a_cpu_slot_where_there_is_none():
    slots = Slots(1, [0, 1])
    assert [slots.take(stage(name, resource="gpu")) for name in "abc"] == [("gpu", 0), ("gpu", 1), None]
    assert slots.take(stage("d")) == ("cpu", 0)
    slots.give_back("a")
    assert slots.take(stage("c", resource="gpu")) == ("gpu", 0)
    assert Slots(1, []).take(stage("a", resource="gpu")) == ("cpu", 0)


def test_memory_is_shared_and_a_stage_too_big_runs_alone():
    slots = Slots(3, [], memory=10.0)
    assert slots.take(stage("a", memory=6.0)) and slots.take(stage("b", memory=5.0)) is None
    assert slots.take(stage("c"))  # says nothing of memory, asks for none
    slots.give_back("a")
    assert slots.take(stage("huge", memory=50.0))
    assert slots.take(stage("b", memory=5.0)) is None


def test_a_stage_takes_a_core_a_thread_and_all_there_are_where_it_wants_more():
    slots = Slots(3, [])
    assert slots.take(stage("a", threads=2)) == ("cpu", 0) and slots.take(stage("b", threads=2)) is None
    assert slots.take(stage("c")) == ("cpu", 2) and slots.take(stage("d")) is None
    slots.give_back("a")
    assert slots.take(stage("huge", threads=8)) is None
    slots.give_back("c")
    assert slots.take(stage("huge", threads=8)) == ("cpu", 0) and slots.take(stage("d")) is None
    slots.give_back("huge")
    assert [slots.take(stage(name)) for name in "xyz"] == [("cpu", 0), ("cpu", 1), ("cpu", 2)]
    assert Slots(1, [0]).take(stage("g", resource="gpu", threads=4)) == ("gpu", 0)


def test_two_trainings_of_two_threads_do_not_share_two_cores_and_are_not_starved():
    stages = [stage("wide", threads=2), stage("wider", threads=2), *(stage(f"s{i}") for i in range(6))]
    lengths = {"wide": 10, "wider": 9, **{f"s{i}": i + 1 for i in range(6)}}
    _, spans = simulate(stages, Slots(2, []), lengths)
    assert spans["wide"] == (0, 10) and spans["wider"] == (10, 19)
    late = [stage("first"), stage("wide", "first", threads=2), *(stage(f"s{i}") for i in range(9))]
    _, spans = simulate(late, Slots(2, []), {"first": 1, "wide": 50, **{f"s{i}": 2 for i in range(9)}})
    assert spans["wide"][0] == 2  # as soon as the one that ran meanwhile has ended


def test_devices_follow_the_variable(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert devices() == [2, 3]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []
