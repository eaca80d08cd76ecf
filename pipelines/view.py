"""What a flow shows while it runs: a live table in a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TextIO

from pipelines.processes import Outcome

MARKS = {"done": "done", "unchanged": "unchanged", "restored": "from cache", "failed": "FAILED", "interrupted": "ended"}


class View:
    """Context manager. `started`, `line` and `finished` may be called from any thread."""

    def __init__(self, total: int, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self._total, self._ended = total, 0
        self._running: dict[str, tuple[float, str, str]] = {}  # stage: since when, on what, last line
        self._guard = threading.Lock()
        self._live = None

    def __enter__(self) -> View:
        if self._stream.isatty() and not os.environ.get("CI"):
            from rich.console import Console
            from rich.live import Live

            self._console = Console(file=self._stream, highlight=False)
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error) -> None:
        if self._live:
            self._live.__exit__(*error)

    def started(self, name: str, slot: tuple[str, int]) -> None:
        with self._guard:
            self._running[name] = time.monotonic(), f"{slot[0]} {slot[1]}" if slot[0] == "gpu" else slot[0], ""
        if not self._live:
            self._print(f"{time.strftime('%H:%M:%S')} start      {name}")

    def line(self, name: str, text: str) -> None:
        with self._guard:
            if name in self._running:
                since, slot, _ = self._running[name]
                self._running[name] = since, slot, text

    def finished(self, name: str, outcome: Outcome) -> None:
        with self._guard:
            self._running.pop(name, None)
            self._ended += 1
        failed = outcome.state == "failed"
        text = f"{time.strftime('%H:%M:%S')} {MARKS[outcome.state]:10} {name}  {outcome.seconds:.1f} s  [{self._ended}/{self._total}]"
        self._print(f"{text}  {outcome.error}" if failed else text, "red" if failed else "")

    def _print(self, text: str, style: str = "") -> None:
        if self._live:
            self._console.print(text, style=style or None, markup=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _table(self):
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        for title, ratio in (("stage", 3), ("on", None), ("seconds", None), ("last line", 7)):
            table.add_column(title, ratio=ratio, no_wrap=True, overflow="ellipsis", justify="right" if title == "seconds" else "left")
        with self._guard:
            running = list(self._running.items())
        for name, (since, slot, last) in running:
            table.add_row(Text(name), slot, f"{time.monotonic() - since:.0f}", Text.from_ansi(last))
        table.caption = f"{self._ended} of {self._total} stages ended, {len(running)} running"
        return table
