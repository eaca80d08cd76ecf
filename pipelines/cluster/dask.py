"""A Dask cluster, by `distributed` itself.

prefect-dask would run Prefect's tasks on the workers: each would need Prefect, a way to this flow's private server and the flow's own
objects, unpickled. Here the task stays in the flow and only a stage's job, plain data, goes to a worker.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import dask
import distributed

from pipelines.cluster import bootstrap
from pipelines.cluster.workers import Worker, WorkerLost
from stages.settings import InputError

PATIENCE = 10.0  # seconds for the scheduler to answer, and for the first worker to come
SILENCE = 60.0  # seconds without an answer of the scheduler after which its workers are taken for lost
LOOK = 0.5  # seconds between two looks at whether the worker is there still
LINES = 5.0  # seconds to wait for lines that were sent and did not arrive


def connect(address: str, root: Path) -> Dask:
    cloudpickle.register_pickle_by_value(bootstrap)
    scheme = "tls" if dask.config.get("distributed.comm.require-encryption", None) else "tcp"
    for name in ("distributed.client", "distributed.comm", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said in one line
    try:
        return Dask(distributed.Client(f"{scheme}://{address}", timeout=PATIENCE, set_as_default=False, name="baznama"))
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"--runner dask://{address}: no Dask scheduler answers there ({said}); start one with: "
                         "dask scheduler --host 127.0.0.1") from None


class Dask:
    """See `workers.Runner`."""

    gives_devices = False

    def __init__(self, client: distributed.Client):
        self._client, run = client, bootstrap.on_dask
        # a closure: Dask would send a function of a module by its name alone, and no worker has the module
        self._work = lambda job, topic: run(job, topic)
        self._topic = f"baznama-{uuid.uuid4().hex}"
        self._tell: dict[str, Callable[[str], None]] = {}
        self._arrived: dict[str, int] = {}
        self._guard = threading.Condition()
        self._known: list[Worker] = []
        self._heard = time.monotonic()
        client.subscribe_topic(self._topic, self._line)
        until = time.monotonic() + PATIENCE
        while not self.workers():
            if time.monotonic() > until:
                self.close()
                raise InputError(f"--runner: the Dask scheduler at {client.scheduler.addr} has no workers; start one with: "
                                 f"dask worker {client.scheduler.addr}")
            time.sleep(0.2)

    def workers(self) -> list[Worker]:
        try:
            known, self._heard = self._client.scheduler_info(n_workers=-1)["workers"], time.monotonic()
        except (OSError, RuntimeError):  # busy for a moment, which costs no stage its worker, or gone
            return self._known if time.monotonic() - self._heard < SILENCE else []
        found = [Worker(address, str(entry["name"]) if str(entry["name"]) != address else address, int(entry["nthreads"]),
                        int((entry.get("resources") or {}).get("gpu", 0)), entry["memory_limit"] / 1e9 or float("inf"))
                 for address, entry in known.items()]
        self._known = sorted(found, key=lambda worker: worker.address)
        return self._known

    def facts(self, worker: Worker, libraries: list[str]) -> dict:
        try:
            return self._client.run(bootstrap.facts, libraries, workers=[worker.address])[worker.address]
        except (OSError, KeyError, ValueError) as error:
            raise WorkerLost(str(error)) from None

    def run(self, worker: Worker, job: dict, cpu: int, gpus: int, tell: Callable[[str], None], wanted: Callable[[], bool]) -> dict:
        key = f"{job['hand']['stage']}-{uuid.uuid4().hex}"
        self._tell[key], self._arrived[key] = tell, 0
        future = self._client.submit(self._work, job, self._topic, key=key, workers=[worker.address], allow_other_workers=False,
                                     pure=False, retries=0)
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        try:
            while not ended.wait(LOOK):
                if not wanted():
                    return {"state": "interrupted"}
                if not future.done() and worker.address not in {other.address for other in self.workers()}:
                    raise WorkerLost(f"worker {worker.label} went away")
            result = future.result()
            with self._guard:
                self._guard.wait_for(lambda: self._arrived[key] >= result.get("lines", 0), LINES)
            return result
        except (distributed.KilledWorker, distributed.CancelledError, OSError) as error:
            raise WorkerLost(f"worker {worker.label} went away ({type(error).__name__})") from None
        finally:
            future.cancel()  # a stage that nobody waits for is ended by its worker
            del self._tell[key]

    def _line(self, event: tuple[float, dict]) -> None:
        message = event[1]
        tell = self._tell.get(message["key"])
        if tell:
            tell(message["line"])
        with self._guard:
            self._arrived[message["key"]] = self._arrived.get(message["key"], 0) + 1
            self._guard.notify_all()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a scheduler that is gone is as good as let go of
            self._client.close(timeout=2)
