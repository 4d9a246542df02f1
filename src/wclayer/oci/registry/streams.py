"""A range of a blob as one stream of bytes, however often the connection breaks on the way.

An answer is believed only as far as its ``Content-Range`` and its length fit what was asked for. What broke off is
asked for again from the next byte on, and no more often than the registry has earned: whoever keeps sending gets
another chance each time, whoever sends nothing soon gets none. The digest is not looked at here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from wclayer.errors import DigestMismatchError, NetworkError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.broken import ConnectionBroken
from wclayer.oci.registry.ranges import parse_content_range, parse_unsatisfied, range_header
from wclayer.oci.registry.retrying import Patience

__all__ = ["ANSWERS", "BlobStream", "NoRanges", "Opener", "Progress"]

Opener = Callable[[Mapping[str, str]], Answer]
"""Asks for a blob, with these headers, and follows redirects; an answer with one of the statuses :data:`ANSWERS`."""

ANSWERS = (200, 206, 416)
_EARNED_BYTES = 1 << 20
_SLOWEST = 1024
"""A server that sends fewer bytes a second, for as long as the read timeout, is taken for one that hangs."""


class NoRanges(NetworkError):
    """A part of a blob was asked for, and the server has only the whole."""


class Progress:
    """What all streams of one blob have received together, in bytes. From any thread."""

    def __init__(self, size: int) -> None:
        self.total = 0
        self.earned = max(1, min(_EARNED_BYTES, size // 100))
        """So many new bytes are worth a fresh set of attempts."""
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self.total += count


class BlobStream:
    """The bytes of the blob ``descriptor`` from ``start`` to ``end``, as a source; a context manager.

    ``open_answer`` asks for it; what that raises is final. ``stall_timeout`` is in seconds. With ``strict`` a server
    that cannot send a range raises NoRanges; otherwise the blob is read from its start, and what is not wanted is
    dropped. With ``whole`` no range is asked for to begin with. With ``etags`` an entity tag that has changed is taken
    for another blob; replicas of one server may number the same content differently, so it is not for the last attempt.

    Reading raises NetworkError when the attempts are used up, and DigestMismatchError when what is sent cannot be the
    blob.
    """

    def __init__(
        self,
        open_answer: Opener,
        descriptor: Descriptor,
        start: int,
        end: int,
        *,
        patience: Patience,
        stall_timeout: float,
        progress: Progress | None = None,
        strict: bool = False,
        whole: bool = False,
        etags: bool = False,
    ) -> None:
        self.position = start
        """Where the next byte is, from the start of the blob."""
        self._open_answer = open_answer
        self._descriptor = descriptor
        self._end = end
        self._patience = patience
        self._stall_timeout = stall_timeout
        self._progress = progress or Progress(descriptor.size)
        self._strict = strict
        self._whole = whole
        self._etags = etags
        self._attempt = 0
        self._mark = self._progress.total
        self._answer: Answer | None = None
        self._answer_end = end
        self._skip = 0
        self._etag: tuple[str, str] | None = None  # with the address it is from
        self._slow_seconds = 0.0
        self._slow_bytes = 0

    def read_some(self, size: int) -> bytes:
        """The next bytes as soon as some are there, at most ``size``; empty at the end."""
        while self.position < self._end:
            if self._answer is None:
                self._open()
                continue  # an answer that is of no use is followed by another question
            try:
                data = self._receive(size)
            except ConnectionBroken as error:
                self._dropped(error)
                continue
            if data:
                self.position += len(data)
                self._progress.add(len(data))
                if self.position == self._end:
                    self._ended()
                return data
        return b""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill a part of ``buffer`` and return its length, 0 at the end."""
        view = memoryview(buffer)
        data = self.read_some(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the connection; harmless when called twice."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, size: int) -> bytes:
        """The next bytes of the answer that are wanted; nothing when it is used up and another one is needed."""
        answer = self._answer
        if answer is None:
            raise ValueError("no answer is open")
        if self._skip == 0 and self.position == self._answer_end:  # the server sent a part of the range
            self.close()
            return b""
        wanted = self._skip or min(self._answer_end, self._end) - self.position
        began = time.monotonic()
        data = answer.read_some(min(size, wanted))
        self._watch(time.monotonic() - began, len(data), answer)
        if not data:
            raise ConnectionBroken(f"{answer.place}: the blob ends at byte {self.position}", transient=True)
        if self._skip:
            self._skip -= len(data)
            return self._receive(size) if self._skip == 0 else b""
        return data

    def _watch(self, seconds: float, count: int, answer: Answer) -> None:
        self._slow_seconds += seconds
        self._slow_bytes += count
        if self._slow_seconds >= self._stall_timeout:
            slow = self._slow_bytes < _SLOWEST * self._slow_seconds
            self._slow_seconds, self._slow_bytes = 0.0, 0
            if slow:
                text = f"{answer.place}: fewer than {_SLOWEST} bytes a second for {self._stall_timeout:.0f} s"
                raise ConnectionBroken(text, transient=True)

    def _dropped(self, error: ConnectionBroken) -> None:
        """Wait before the next attempt; raises ``error`` when there is none left."""
        self.close()
        self._slow_seconds, self._slow_bytes = 0.0, 0
        if self._progress.total - self._mark >= self._progress.earned:
            self._attempt = 0
        self._mark = self._progress.total
        if self._attempt >= self._patience.retries:
            error.message += f"; tried {self._attempt + 1} times"
            error.hint = error.hint or "what has arrived is kept: try again later"
            raise error
        self._patience.wait(self._patience.delay(self._attempt))
        self._attempt += 1

    def _ended(self) -> None:
        """All bytes are here: see that the answer has no more, so that its connection can be used again."""
        answer = self._answer
        if answer is not None and self._answer_end == self._end:
            try:
                more = answer.read_some(1)
            except NetworkError:  # it broke off after the last byte, which is all the same now
                more = b""
            if more and self._end == self._descriptor.size:
                self.close()
                raise self._mismatch(answer, f"longer than the {self._descriptor.size} bytes promised")
        self.close()

    # ------------------------------------------------------------------------------------------------------ answers

    def _open(self) -> None:
        ranged = not self._whole and (self.position > 0 or self._end < self._descriptor.size)
        headers = {}
        if ranged:
            end = None if self._end == self._descriptor.size else self._end
            headers["Range"] = range_header(self.position, end)
            if self._etag is not None:
                headers["If-Range"] = self._etag[0]
        answer = self._open_answer(headers)
        try:
            usable = self._check(answer, headers)
        except BaseException:
            answer.close()
            raise
        if usable:
            self._answer = answer
        else:
            answer.close()

    def _check(self, answer: Answer, headers: Mapping[str, str]) -> bool:
        """Whether ``answer`` holds what was asked for; when not, the next request asks otherwise."""
        size = self._descriptor.size
        if answer.status == 206 and "Range" in headers:
            return self._check_part(answer)
        if answer.status == 416 and "Range" in headers:
            has = parse_unsatisfied(answer.headers.get("content-range", ""))
            if has is not None and has != size:
                raise self._mismatch(answer, f"{has} bytes long where {size} were promised")
            return self._without_ranges(answer, "refuses a range that there is")
        if answer.status != 200:
            raise NetworkError(f"{answer.place}: status {answer.status} where a whole blob was asked for")
        etag = _strong_etag(answer)
        if "If-Range" in headers:
            known, self._etag = self._etag, None
            if known is not None and etag is not None and known[1] == etag[1] and known[0] != etag[0]:
                raise self._mismatch(answer, "replaced by another one while it was being fetched")
            return False  # another server of the same content may number it otherwise: ask without
        if answer.content_length is not None and answer.content_length != size:
            raise self._mismatch(answer, f"{answer.content_length} bytes long where {size} were promised")
        if "Range" in headers:
            self._without_ranges(answer, "ignores ranges")
        self._etag = etag if self._etags else None
        self._skip = self.position
        self._answer_end = size
        return True

    def _check_part(self, answer: Answer) -> bool:
        size = self._descriptor.size
        try:
            start, end, total = parse_content_range(answer.headers.get("content-range", ""))
        except NetworkError as error:
            return self._without_ranges(answer, error.message)
        if total is not None and total != size:
            raise self._mismatch(answer, f"{total} bytes long where {size} were promised")
        if start != self.position or end > self._end:
            return self._without_ranges(answer, f"sends bytes {start} to {end} where others were asked for")
        if answer.content_length is not None and answer.content_length != end - start:
            return self._without_ranges(answer, f"announces {answer.content_length} bytes for {end - start}")
        if end < self._end and end - start < self._progress.earned:
            return self._without_ranges(answer, f"sends {end - start} bytes of a range of {self._end - start}")
        self._etag = self._etag or (_strong_etag(answer) if self._etags else None)
        self._skip = 0
        self._answer_end = end
        return True

    def _without_ranges(self, answer: Answer, why: str) -> bool:
        """No more ranges from this server; False, for ``answer`` is of no use."""
        if self._strict:
            raise NoRanges(f"{answer.place}: {why}")
        self._whole = True
        return False

    def _mismatch(self, answer: Answer, what: str) -> DigestMismatchError:
        return DigestMismatchError(f"{answer.place}: the blob {self._descriptor.digest} is {what}")


def _strong_etag(answer: Answer) -> tuple[str, str] | None:
    """The strong entity tag of ``answer`` (RFC 9110: only such a one vouches for a range), and what it is a tag of."""
    etag = answer.headers.get("etag", "")
    if len(etag) < 3 or len(etag) > 200 or not etag.startswith('"') or not etag.endswith('"'):
        return None
    address = urlsplit(answer.url)
    return etag, f"{address.scheme}://{address.netloc}{address.path}"
