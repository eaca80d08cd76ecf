"""One line of progress: step, rate, time left, the last terms. Rewritten in a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    def __init__(self, title: str, total: int, unit: str = "steps", stream=None, quiet: bool = False):
        self.title, self.total, self.unit, self.quiet = title, total, unit, quiet
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def say(self, what: str) -> None:
        """A line of its own, e.g. that training goes on from a checkpoint."""
        if not self.quiet:
            self.stream.write(f"{self.title}  {what}\n")
            self.stream.flush()

    def show(self, done: int, terms: dict[str, float], final: bool = False) -> None:
        now = time.monotonic()
        self.first = done if self.first is None else self.first
        if self.quiet or (not final and now - self.last < (0.2 if self.live else 10.0)):
            return
        self.last = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 and not final else f", {now - self.start:.1f} s"
        shown = "  ".join(f"{k} {v:.4g}" for k, v in terms.items())
        line = f"{self.title}  {done}/{self.total} {self.unit} ({100 * done / self.total:.0f} %), {rate:.3g}/s{left}  {shown}"
        self.stream.write(f"\r\x1b[K{line}" + ("\n" if final else "") if self.live else line + "\n")
        self.stream.flush()
