"""Free places on the workers of a cluster: `pipelines.schedule.Slots`, one for each worker that is there at the moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from pipelines.cluster.workers import Runner, Worker
from pipelines.graph import Stage
from pipelines.schedule import Slots
from stages.settings import InputError

LOOK = 1.0  # seconds between two looks at who is there
PATIENCE = 120.0  # seconds without any worker before the flow gives up


class ClusterSlots:
    """As `schedule.Slots`, for many machines that come and go. A stage goes where most of what it needs was made: it is in the cache there.

    `accepted` says whether a new worker may be used. A stage marked `gpu` waits for a worker with a device where there is one.
    """

    def __init__(self, runner: Runner, accepted: Callable[[Worker], bool]):
        self._runner, self._accepted = runner, accepted
        self._guard = threading.RLock()
        self._refused: set[str] = set()
        self._workers: dict[str, tuple[Worker, Slots]] = {}
        self._place: dict[str, tuple[str, Slots | None, tuple[str, int]]] = {}  # stage: worker, its slots, which of them
        self._made: dict[str, str] = {}  # stage: the worker that ran it
        self._looked, self._alone = 0.0, time.monotonic()
        self.look()

    @property
    def workers(self) -> list[Worker]:
        return [worker for worker, _ in self._workers.values()]

    @property
    def cpu(self) -> int:
        return sum(worker.cpu for worker in self.workers)

    @property
    def total(self) -> int:
        """Stages that can run at once, workers that are still to come included."""
        return max(64, 4 * sum(worker.cpu + worker.gpus for worker in self.workers))

    def look(self) -> None:
        """Note who came and who went."""
        there = {worker.address: worker for worker in self._runner.workers()}
        for address in [address for address in self._workers if address not in there]:
            del self._workers[address]
        for address, worker in there.items():
            if address not in self._workers and address not in self._refused:
                if self._accepted(worker):
                    self._workers[address] = worker, Slots(worker.cpu, list(range(worker.gpus)), worker.memory)
                else:
                    self._refused.add(address)
        self._looked = time.monotonic()
        if self._workers:
            self._alone = self._looked
        elif self._looked - self._alone > PATIENCE:
            raise InputError(f"no worker has been there for {PATIENCE:.0f} s; start some and run again, what is done is kept")

    def take(self, stage: Stage) -> tuple[str, int] | None:
        """(label of the worker, number) of a place, now taken, or None."""
        with self._guard:
            if time.monotonic() - self._looked > LOOK:
                self.look()
            if not self._workers:
                time.sleep(0.05)
            near = Counter(self._made.get(name) for name in stage.needs)
            devices = stage.resource == "gpu" and any(worker.gpus for worker in self.workers)
            able = [entry for entry in self._workers.values() if entry[0].gpus or not devices]
            for worker, slots in sorted(able, key=lambda entry: (-near[entry[0].address], self._load(entry[0]))):
                slot = slots.take(stage)
                if slot:
                    self._place[stage.name] = worker.address, slots, slot
                    return worker.label, slot[1]
        return None

    def _load(self, worker: Worker) -> float:
        return sum(address == worker.address for address, *_ in self._place.values()) / worker.cpu

    def of(self, name: str) -> tuple[Worker | None, tuple[str, int]]:
        """The worker on which the stage has its place, None where that went away, and the place there: ("cpu" or "gpu", number)."""
        with self._guard:
            address, _, slot = self._place[name]
            return self._workers.get(address, (None,))[0], slot

    def move(self, stage: Stage, stop: Callable[[], bool]) -> bool:
        """Give the stage a place on another worker than the one it lost, waiting for one; False once `stop` says so."""
        with self._guard:
            lost = self._place[stage.name][0]
            self._workers.pop(lost, None)
            self.give_back(stage.name)
            self._place[stage.name] = lost, None, ("cpu", 0)  # nothing, to give back however this ends
        while not stop():
            with self._guard:
                if self.take(stage):
                    return True
            time.sleep(0.2)
        return False

    def made(self, name: str) -> None:
        with self._guard:
            self._made[name] = self._place[name][0]

    def give_back(self, name: str) -> None:
        with self._guard:
            _, slots, _ = self._place.pop(name)
            if slots:
                slots.give_back(name)
