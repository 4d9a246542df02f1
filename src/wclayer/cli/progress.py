"""Progress on standard error: a line that redraws itself on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

from wclayer.cli.output import is_quiet, size_text

if TYPE_CHECKING:
    from wclayer.image.progress import Progress

__all__ = ["make_progress"]

_REDRAW, _REPORT = 0.1, 30.0  # seconds
_CLEAR = "\r\x1b[K"


def make_progress(choice: str) -> Progress:
    """The progress that ``--progress`` asks for; ``auto`` is a terminal's, or none, and none with ``--quiet``."""
    from wclayer.image.progress import NO_PROGRESS

    if choice == "auto":
        choice = "tty" if sys.stderr.isatty() and not is_quiet() else "none"
    if choice == "none":
        return NO_PROGRESS
    return _Lines(redraw=choice == "tty")


class _Lines:
    """All parts in one line: how many are done, how many bytes, how fast, how long it will take."""

    def __init__(self, *, redraw: bool) -> None:
        self._redraw = redraw
        self._interval = _REDRAW if redraw else _REPORT
        self._lock = threading.Lock()
        self._active: set[str] = set()
        self._parts = self._over = self._done = 0
        self._total: int | None = 0
        self._started = self._last = time.monotonic()

    def expect(self, parts: int, total: int | None) -> None:
        with self._lock:
            self._parts += parts
            self._total = None if self._total is None or total is None else self._total + total

    def begin(self, part: str) -> None:
        with self._lock:
            self._active.add(part)

    def advance(self, part: str, count: int) -> None:  # noqa: ARG002 - the protocol's signature
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._last >= self._interval:
                self._last = now
                self._print(now)

    def end(self, part: str) -> None:
        with self._lock:
            self._active.discard(part)
            self._over += 1
            self._print(time.monotonic())
            if self._redraw and not self._active:
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()

    def _print(self, now: float) -> None:
        seconds = max(now - self._started, 0.001)
        words = [f"{self._over}/{self._parts} layers", size_text(self._done)]
        if self._total:
            words[1] += f" of {size_text(self._total)}"
        words.append(f"{size_text(int(self._done / seconds))}/s")
        if self._total and 0 < self._done < self._total:
            left = int((self._total - self._done) * seconds / self._done)
            words.append(f"{left // 60}:{left % 60:02} left")
        text = ", ".join(words)
        if self._redraw:
            text = _CLEAR + text[: max(shutil.get_terminal_size().columns - 1, 1)]
        sys.stderr.write(text if self._redraw else f"{text}\n")
        sys.stderr.flush()
