"""A Ray cluster, by `ray` itself; why not through Prefect's own runner is said in `dask.py`."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# where there is a token `ray start` asks everybody for it, and what connects shows it only in this mode
if os.environ.get("RAY_AUTH_TOKEN") or Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token").is_file():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster import bootstrap
from pipelines.cluster.workers import Worker, WorkerLost
from stages.settings import InputError

LOOK = 0.5  # seconds between two looks at whether the stage is wanted still
ANSWER = 60  # seconds in which a worker says what it has
LOST = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError, ray.exceptions.RayActorError,
        ray.exceptions.TaskUnschedulableError, ray.exceptions.OutOfMemoryError, ray.exceptions.RaySystemError)


def connect(address: str, root: Path) -> Ray:
    """`auto`, `local`, or HOST:PORT of a head node's Ray Client server."""
    ray.cloudpickle.register_pickle_by_value(bootstrap)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    alone = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    where = {"auto": {"address": "auto", **quiet}, "local": {"address": "local", **quiet, **alone}}
    try:
        if address not in where:  # Ray's own tries take minutes where nobody listens
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(**where.get(address, {"address": f"ray://{address}"}), namespace="baznama")
    except Exception as error:  # each way of connecting has its own kinds
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"--runner ray://{address}: no Ray cluster answers there ({said[:200]}); start one with: ray start --head "
                         "--disable-usage-stats") from None
    return Ray()


class Ray:
    """See `workers.Runner`."""

    gives_devices = True  # Ray sets CUDA_VISIBLE_DEVICES itself

    def workers(self) -> list[Worker]:
        try:
            nodes = ray.nodes()
        except Exception:  # the head is gone
            return []
        found = []
        for node in nodes:
            has = node["Resources"]
            if node["Alive"] and has.get("CPU"):
                found.append(Worker(node["NodeID"], f"{node['NodeManagerAddress']}-{node['NodeID'][:6]}", int(has["CPU"]),
                                    int(has.get("GPU", 0)), has.get("memory", float("inf")) / 1e9))
        return sorted(found, key=lambda worker: worker.address)

    def facts(self, worker: Worker, libraries: list[str]) -> dict:
        try:  # a generator, as stages are: where only the flow or only the cluster has a token, what a generator yields never comes
            said = self._there(bootstrap.facts_on_ray, worker, 0, 0, num_returns="streaming").remote(libraries)
            if not ray.wait([said], timeout=ANSWER)[0]:
                raise InputError(f"--runner: worker {worker.label} was asked and does not answer within {ANSWER} s; where the cluster was "
                                 "started without a token, or with another, set RAY_AUTH_MODE=disabled or the cluster's token here too")
            return ray.get(next(said))
        except LOST as error:
            raise WorkerLost(str(error)) from None

    def _there(self, function, worker: Worker, cpu: int, gpus: int, **options):
        place = NodeAffinitySchedulingStrategy(worker.address, soft=False)
        return ray.remote(function).options(num_cpus=cpu, num_gpus=gpus, max_retries=0, scheduling_strategy=place, **options)

    def run(self, worker: Worker, job: dict, cpu: int, gpus: int, tell: Callable[[str], None], wanted: Callable[[], bool]) -> dict:
        said = self._there(bootstrap.on_ray, worker, cpu, gpus, num_returns="streaming").remote(job)
        arrived: queue.Queue = queue.Queue()

        def receive() -> None:  # a thread of its own, for nothing in Ray waits for a line and looks up in between
            try:
                for item in said:
                    arrived.put(ray.get(item))
                arrived.put(WorkerLost(f"worker {worker.label} ended without a word"))
            except Exception as error:
                arrived.put(error)

        threading.Thread(target=receive, daemon=True).start()
        while True:
            try:
                item = arrived.get(timeout=LOOK)
            except queue.Empty:
                if wanted():
                    continue
                with contextlib.suppress(Exception):
                    ray.cancel(said, force=True)
                return {"state": "interrupted"}
            if isinstance(item, str):
                tell(item)
            elif isinstance(item, dict):
                return item
            elif isinstance(item, (WorkerLost, *LOST)):
                raise WorkerLost(f"worker {worker.label} went away ({type(item).__name__})") from None
            else:
                raise item

    def close(self) -> None:
        with contextlib.suppress(Exception):
            ray.shutdown()
