"""Which stage starts when: as soon as everything it needs has ended well and a slot of its kind is free, the longest way to the end first.

Slots are counted here, in this process, and not by Prefect's concurrency limits: one flow at a time owns a workspace (it holds
the lock), so a count in memory is exact, costs nothing, and dies with the process. Prefect's limits live in its database, where a killed
flow leaves them taken, and a waiting task polls for them with growing pauses.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.graph import Stage
from pipelines.processes import Outcome

GOOD = ("done", "unchanged", "restored")


@dataclass
class Slots:
    """`cpu` cores, one stage a graphics device, and no more GB than `memory` between those that say what they need.

    A stage takes as many cores as it has threads; one that wants more cores, or more memory, than there are runs alone. A stage marked
    `gpu` takes cores where the machine has no device, for `device: auto` trains on the processor then.
    """

    cpu: int
    gpus: list[int]
    memory: float = float("inf")
    _used: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    _memory: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self._kinds = {"gpu": list(self.gpus), "cpu": list(range(self.cpu))}

    @property
    def total(self) -> int:
        return self.cpu + len(self.gpus)

    def take(self, stage: Stage) -> tuple[str, int] | None:
        """(kind, number) of the first of the slots it needs, now taken, or None where they are not free."""
        kind = "gpu" if stage.resource == "gpu" and self.gpus else "cpu"
        number = min(stage.threads, self.cpu) if kind == "cpu" else 1
        used = sum(self._memory.values())
        if len(self._kinds[kind]) < number or (used and used + stage.memory > self.memory):
            return None
        taken, self._kinds[kind] = self._kinds[kind][:number], self._kinds[kind][number:]
        self._used[stage.name] = kind, taken
        self._memory[stage.name] = stage.memory
        return kind, taken[0]

    def give_back(self, name: str) -> None:
        kind, numbers = self._used.pop(name)
        self._memory.pop(name)
        self._kinds[kind] = sorted([*self._kinds[kind], *numbers])


def devices() -> list[int]:
    """Numbers of the NVIDIA devices of this machine, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(number) for number in visible.split(",") if number.strip().isdigit()]
    return sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit())


def memory() -> float:
    """GB of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def ways_to_end(stages: Mapping[str, Stage], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from each stage's start to the end of the longest chain behind it; a stage never timed counts one second."""
    ways: dict[str, float] = {}
    for name in reversed(stages):  # stages come in running order
        behind = [ways[other] for other, stage in stages.items() if name in stage.needs and other in ways]
        ways[name] = seconds.get(name, 1.0) + max(behind, default=0.0)
    return ways


def run(stages: Mapping[str, Stage], slots: Slots, start: Callable[[Stage, tuple[str, int]], None],
        finished: queue.Queue[tuple[str, Outcome]], seconds: Mapping[str, float], tick: Callable[[], bool]) -> dict[str, Outcome]:
    """Start every stage of `stages` when it can run and collect how each ended.

    `start` returns at once; the stage's (name, Outcome) arrives in `finished`. `tick` is called a few times a second; once it returns
    True nothing more is started. What needs a stage that failed is not run; everything else is.
    """
    ways = ways_to_end(stages, seconds)
    waiting = sorted(stages, key=lambda name: -ways[name])  # stable: equal ways keep the running order
    outcomes: dict[str, Outcome] = {}
    running: set[str] = set()
    while waiting or running:
        stop = tick()
        for name in list(waiting):
            needs = [other for other in stages[name].needs if other in stages]
            lost = [other for other in needs if other in outcomes and outcomes[other].state not in GOOD]
            if lost or stop:
                outcomes[name] = Outcome("not run", error=f"needs {lost[0]}" if lost else "the flow was ended")
                waiting.remove(name)
            elif all(other in outcomes for other in needs):
                if slot := slots.take(stages[name]):
                    waiting.remove(name)
                    running.add(name)
                    start(stages[name], slot)
                elif stages[name].threads > 1:
                    break  # it needs several slots at once: those behind it would take each one that comes free
        if not running:
            continue  # what was not run may let others be not run
        try:
            name, outcome = finished.get(timeout=0.2)
        except queue.Empty:
            continue
        outcomes[name] = outcome
        running.discard(name)
        slots.give_back(name)
    return {name: outcomes[name] for name in stages}
