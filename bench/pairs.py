"""Peer and ours in turn, A B A B: what the machine does meanwhile falls on both. A table, and one line of JSON for the README."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    wall: float  # seconds
    cpu: float  # seconds of all threads of this process
    result: object


def timed(run: Callable[[], object]) -> Timed:
    """Run once under both clocks."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, result)


def alternate(peer: Callable[[int], Timed], ours: Callable[[int], Timed], pairs: int) -> list[tuple[Timed, Timed]]:
    """`pairs` pairs of runs in turn, each given its number as a seed."""
    return [(peer(i), ours(i)) for i in range(pairs)]


def in_convolutions(run: Callable[[], object]) -> float:
    """Seconds that `run` spends inside convolutions, forwards and backwards, by the profiler: what no loop around them can save."""
    import torch  # not above: benchmarks of memory read this file too, and would count it

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return sum(event.self_cpu_time_total for event in profile.key_averages() if "conv" in event.key) / 1e6


def closing_line(name: str, peer: list[float], ours: list[float], quality_peer: float, quality_ours: float, unit: str,
                 also: tuple[str, ...] = (), **more) -> str:
    """The last line a benchmark prints. peer, ours: rates of the pairs, higher is faster; the ratio is the median of the pairs' ratios.
    `also`: such lines of further comparisons in the same run."""
    ratio = statistics.median(b / a for a, b in zip(peer, ours, strict=True))
    numbers = {"peer": statistics.median(peer), "ours": statistics.median(ours), "ratio": ratio,
               "quality_peer": quality_peer, "quality_ours": quality_ours, **more}
    further = {"also": [json.loads(line) for line in also]} if also else {}
    return json.dumps({"name": name, **{k: float(f"{v:.4g}") for k, v in numbers.items()}, "unit": unit, **further})
