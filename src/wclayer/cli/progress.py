"""Progress on standard error: lines that redraw themselves on a terminal, a line now and then elsewhere, or nothing.

Two things are watched: blobs that move over the network, each by itself, and layers that are read or written, which are
counted. A thread of its own draws, so that a transfer that stands still is seen to stand still.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol, TypeAlias

from wclayer.cli.output import is_quiet, size_text
from wclayer.threads import Helper

__all__ = ["Watcher", "make_progress"]

_REDRAW, _REPORT, _EVENT = 0.1, 30.0, 1.0  # seconds
_CLEAR_LINE, _CLEAR_DOWN = "\x1b[K", "\x1b[J"
_WINDOW = 5.0  # seconds that a rate is the mean of


class Watcher(Protocol):
    """Watches layers and blobs, see :mod:`wclayer.image.progress` and :mod:`wclayer.oci.network`.

    ``moved`` is how many bytes came or went over the network.
    """

    moved: int

    def expect(self, parts: int, total: int | None) -> None:
        """So many more layers will come, of ``total`` bytes together where that is known."""

    def begin(self, part: str) -> None:
        """A layer begins."""

    def advance(self, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def end(self, part: str) -> None:
        """It is over."""

    def start_blob(self, name: str, size: int, done: int) -> None:
        """A blob begins to move."""

    def advance_blob(self, name: str, count: int) -> None:
        """``count`` more bytes of it moved."""

    def end_blob(self, name: str) -> None:
        """It is over."""


def make_progress(choice: str) -> Watcher:
    """The progress that ``--progress`` asks for.

    ``auto`` is a terminal's on a terminal; elsewhere a line every half a minute, and with ``--quiet`` nothing.
    """
    if choice == "auto":
        choice = "none" if is_quiet() else "tty" if sys.stderr.isatty() else "seldom"
    if choice == "tty":
        return _Counts(_Terminal())
    if choice == "json":
        return _Counts(_Events())
    return _Counts(None if choice == "none" else _Lines(each=choice == "plain"))


@dataclass(slots=True)
class _Blob:
    """A blob on its way: sizes in bytes; ``done`` counts what an earlier run had, ``since`` are moments with it."""

    size: int
    done: int
    since: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, now: float) -> float:
        """Bytes a second, lately."""
        while len(self.since) > 2 and now - self.since[1][0] > _WINDOW:
            self.since.pop(0)
        if not self.since or now - self.since[-1][0] >= _REDRAW:
            self.since.append((now, self.done))
        start, before = self.since[0]
        return max(self.done - before, 0) / max(now - start, 0.001)


class _State:
    """What there is to show."""

    def __init__(self) -> None:
        self.parts = self.over = self.done = 0
        self.total: int | None = 0
        self.active: set[str] = set()
        self.blobs: dict[str, _Blob] = {}
        self.moved = self.blobs_over = self.blobs_size = self.blobs_done = 0
        self.started = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether anything goes on."""
        return bool(self.active or self.blobs)

    def layers_text(self, now: float) -> str:
        """How many layers are done, how many bytes, how fast, how long it will take."""
        size = size_text(self.done) + (f" of {size_text(self.total)}" if self.total else "")
        rate = self.done / max(now - self.started, 0.001)
        left = (self.total or 0) - self.done
        return _text(f"{self.over}/{self.parts} layers", size, rate, left if self.done else 0)

    def blob_text(self, name: str, now: float) -> str:
        """How far a blob is."""
        blob = self.blobs[name]
        return _text(name, f"{size_text(blob.done)} of {size_text(blob.size)}", blob.rate(now), blob.size - blob.done)

    def blobs_text(self, now: float) -> str:
        """How far all blobs are."""
        count = len(self.blobs) + self.blobs_over
        rate = self.moved / max(now - self.started, 0.001)
        size = f"{size_text(self.blobs_done)} of {size_text(self.blobs_size)}"
        return _text(f"{self.blobs_over}/{count} blobs", size, rate, self.blobs_size - self.blobs_done)


def _text(name: str, size: str, rate: float, left: int) -> str:
    words = [name, size, f"{size_text(int(rate))}/s"]
    if left > 0 and rate >= 1:
        seconds = int(left / rate)
        words.append(f"{seconds // 60}:{seconds % 60:02} left")
    return ", ".join(words)


_Kind: TypeAlias = Literal["begin", "end"]
_What: TypeAlias = Literal["layer", "blob"]


class _View(Protocol):
    """Shows a state; called by one thread at a time."""

    interval: float

    def show(self, state: _State, now: float) -> None: ...

    def changed(self, state: _State, kind: _Kind, what: _What, name: str) -> None: ...

    def finish(self) -> None: ...


class _Counts:
    """Counts what happens, and lets a view show it."""

    def __init__(self, view: _View | None) -> None:
        self._view = view
        self._state = _State()
        self._lock = threading.Lock()
        self._drawing: tuple[Helper, threading.Event] | None = None  # the event ends it

    @property
    def moved(self) -> int:
        return self._state.moved

    @moved.setter
    def moved(self, value: int) -> None:
        self._state.moved = value

    def expect(self, parts: int, total: int | None) -> None:
        with self._lock:
            state = self._state
            state.parts += parts
            state.total = None if state.total is None or total is None else state.total + total

    def begin(self, part: str) -> None:
        with self._lock:
            self._state.active.add(part)
            self._changed("begin", "layer", part)

    def advance(self, part: str, count: int) -> None:  # noqa: ARG002 - the protocol's signature
        with self._lock:
            self._state.done += count

    def end(self, part: str) -> None:
        with self._lock:
            self._state.active.discard(part)
            self._state.over += 1
            self._changed("end", "layer", part)
        self._rest()

    def start_blob(self, name: str, size: int, done: int) -> None:
        with self._lock:
            self._state.blobs[name] = _Blob(size, done)
            self._state.blobs_size += size
            self._state.blobs_done += done
            self._changed("begin", "blob", name)

    def advance_blob(self, name: str, count: int) -> None:
        with self._lock:
            state = self._state
            state.moved += max(count, 0)
            state.blobs_done += count
            if name in state.blobs:
                state.blobs[name].done += count

    def end_blob(self, name: str) -> None:
        with self._lock:
            state = self._state
            if name in state.blobs:
                self._changed("end", "blob", name)
                del state.blobs[name]
                state.blobs_over += 1
            if self._view is not None and not state.is_busy:
                self._view.finish()
        self._rest()

    def _changed(self, kind: _Kind, what: _What, name: str) -> None:
        view = self._view
        if view is None:
            return
        view.changed(self._state, kind, what, name)
        if not self._state.is_busy:
            view.finish()
        elif self._drawing is None:
            over = threading.Event()
            thread = Helper(partial(self._draw, view, over), "wclayer-progress")
            self._drawing = thread, over
            thread.start()

    def _draw(self, view: _View, over: threading.Event) -> None:
        while not over.wait(view.interval):
            with self._lock:
                if self._state.is_busy:
                    view.show(self._state, time.monotonic())

    def _rest(self) -> None:
        """End the thread that draws when there is nothing to draw, and wait for it."""
        with self._lock:
            if self._drawing is None or self._state.is_busy:
                return
            thread, over = self._drawing
            self._drawing = None
        over.set()
        thread.join()


class _Terminal:
    """A line for each blob and one for the layers, drawn anew ten times a second."""

    interval = _REDRAW

    def __init__(self) -> None:
        self._drawn = 0

    def show(self, state: _State, now: float) -> None:
        from shutil import get_terminal_size  # it loads much, and pipes need none of it

        size = get_terminal_size()
        lines = [state.blob_text(name, now) for name in list(state.blobs)[: max(size.lines - 3, 1)]]
        if len(state.blobs) + state.blobs_over > 1:
            lines.append(state.blobs_text(now))
        if state.parts:
            lines.append(state.layers_text(now))
        text = "\n".join(_CLEAR_LINE + line[: max(size.columns - 1, 1)] for line in lines)
        fewer = _CLEAR_DOWN if len(lines) < self._drawn else ""
        _write(self._back() + text + fewer)
        self._drawn = len(lines)

    def changed(self, state: _State, kind: _Kind, what: _What, name: str) -> None:  # noqa: ARG002
        if kind == "end":  # what is over before the next drawing is to be seen too
            self.show(state, time.monotonic())

    def finish(self) -> None:
        if self._drawn:
            _write(self._back() + (_CLEAR_DOWN if self._drawn > 1 else "") + f"\r{_CLEAR_LINE}")
            self._drawn = 0

    def _back(self) -> str:
        """To the start of the first line that was drawn."""
        return "\r" + (f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else "")


class _Lines:
    """A line every half a minute, and with ``each`` also one for each layer and blob that is done."""

    interval = _REPORT

    def __init__(self, *, each: bool) -> None:
        self._each = each

    def show(self, state: _State, now: float) -> None:
        if state.blobs:
            _write(state.blobs_text(now) + "\n")
        if state.active:
            _write(state.layers_text(now) + "\n")

    def changed(self, state: _State, kind: _Kind, what: _What, name: str) -> None:
        if self._each and kind == "end":
            now = time.monotonic()
            _write((state.layers_text(now) if what == "layer" else state.blob_text(name, now)) + "\n")

    def finish(self) -> None:
        """Nothing is drawn that would have to go."""


class _Events:
    """A JSON document on each line, for programs."""

    interval = _EVENT

    def show(self, state: _State, now: float) -> None:
        for name, blob in state.blobs.items():
            self._blob("advance", name, blob, rate=int(blob.rate(now)))
        if state.active:
            self._layers("advance", state)

    def changed(self, state: _State, kind: _Kind, what: _What, name: str) -> None:
        if what == "blob":
            self._blob(kind, name, state.blobs[name])
        else:
            self._layers(kind, state, name=name)

    def finish(self) -> None:
        """Every event is a line of its own."""

    def _blob(self, event: str, name: str, blob: _Blob, **more: object) -> None:
        self._emit(event, "blob", {"name": name, "done": blob.done, "size": blob.size, **more})

    def _layers(self, event: str, state: _State, **more: object) -> None:
        counts = {"layers": state.parts, "layers_done": state.over, "done": state.done, "size": state.total}
        self._emit(event, "layer", {**more, **counts})

    def _emit(self, event: str, what: str, values: dict[str, object]) -> None:
        _write(json.dumps({"schema": "wclayer.progress/1", "event": event, "what": what, **values}) + "\n")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
