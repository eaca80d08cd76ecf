"""The clusters a flow can run on, told apart by their addresses, and what each of them does for the coordinator."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stages.settings import InputError

SCHEMES = {"dask": ("distributed", "dask://HOST:PORT"),
           "ray": ("ray", "ray://HOST:PORT, ray://auto (the cluster this machine belongs to) or ray://local (this machine alone)")}
INSTALL = "pip install -r requirements-cluster.lock"
ALLOWED = "; ".join(form for _, form in SCHEMES.values())


class WorkerLost(Exception):
    """The worker went away in the middle of a stage: it can run elsewhere."""


@dataclass(frozen=True)
class Worker:
    """`address` tells it apart, `label` is shown; `cpu` stages at a time, `gpus` devices, `memory` GB."""

    address: str
    label: str
    cpu: int
    gpus: int
    memory: float


class Runner(Protocol):
    """A connection to a cluster; its methods may be called from any thread."""

    gives_devices: bool  # whether it sets CUDA_VISIBLE_DEVICES for a stage that takes a device

    def workers(self) -> list[Worker]:
        """Those alive at this moment."""

    def facts(self, worker: Worker, libraries: list[str]) -> dict:
        """`bootstrap.facts` as the worker answers it. Raises WorkerLost."""

    def run(self, worker: Worker, job: dict, cpu: int, gpus: int, tell: Callable[[str], None], wanted: Callable[[], bool]) -> dict:
        """`bootstrap.run` there. Raises WorkerLost. Where `wanted` turns False the stage is ended and {"state": "interrupted"} returned."""

    def close(self) -> None:
        """Let go of the cluster."""


def check(address: str) -> tuple[str, str]:
    """(scheme, rest) of an address whose library is installed. Raises InputError, before anything is connected."""
    scheme, separator, rest = address.partition("://")
    if scheme not in SCHEMES or not separator:
        raise InputError(f"--runner {address}: unknown kind of cluster; allowed: {ALLOWED}")
    module, form = SCHEMES[scheme]
    named = scheme == "ray" and rest in ("auto", "local")
    if not named and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}", rest):
        raise InputError(f"--runner {address}: not an address; expected {form}")
    if importlib.util.find_spec(module) is None:
        raise InputError(f"--runner {address}: needs the package {module}; install it here and on every worker: {INSTALL}")
    return scheme, rest


def connect(address: str, root: Path) -> Runner:
    """The cluster at `address`. Raises InputError where nobody answers."""
    scheme, rest = check(address)
    return importlib.import_module(f"pipelines.cluster.{scheme}").connect(rest, root)
