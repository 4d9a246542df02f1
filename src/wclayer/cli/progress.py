"""Progress on standard error: a line that redraws itself on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from wclayer.cli.output import size_text

if TYPE_CHECKING:
    from wclayer.image.progress import Progress

__all__ = ["make_progress"]

_REDRAW, _REPORT = 0.1, 30.0


def make_progress(choice: str) -> Progress:
    """The progress that ``--progress`` asks for; ``auto`` is a terminal's, or none."""
    from wclayer.image.progress import NO_PROGRESS

    if choice == "auto":
        choice = "tty" if sys.stderr.isatty() else "none"
    if choice == "none":
        return NO_PROGRESS
    return _Lines(redraw=choice == "tty")


class _Lines:
    """All parts in one line: how many are done, how many bytes, how fast."""

    def __init__(self, *, redraw: bool) -> None:
        self._redraw = redraw
        self._interval = _REDRAW if redraw else _REPORT
        self._lock = threading.Lock()
        self._totals: dict[str, int | None] = {}
        self._done = 0
        self._over = 0
        self._started = self._last = time.monotonic()

    def begin(self, part: str, total: int | None) -> None:
        with self._lock:
            self._totals[part] = total

    def advance(self, part: str, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._last < self._interval:
                return
            self._last = now
            self._print(now)

    def end(self, part: str) -> None:
        with self._lock:
            self._over += 1
            self._print(time.monotonic())
            if self._redraw and self._over == len(self._totals):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def _print(self, now: float) -> None:
        rate = self._done / max(now - self._started, 0.001)
        parts = f"{self._over}/{len(self._totals)} layers, {size_text(self._done)}, {size_text(int(rate))}/s"
        sys.stderr.write(f"\r\x1b[K{parts}" if self._redraw else f"{parts}\n")
        sys.stderr.flush()
