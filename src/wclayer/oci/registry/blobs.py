"""Blobs out of a registry: into a partial file, over as many connections as wanted, until the digest is right.

What is wrong with the line is tried again where it stopped; what is wrong with the content is tried again from the
start, once, in one piece. The parts of a blob are fetched in the order of their place, in pieces of a few mebibytes, so
that the front of the file grows steadily for whoever reads it meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from wclayer.errors import DigestMismatchError, UsageError, WclayerError
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry.ranges import split
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.retrying import Patience
from wclayer.oci.registry.streams import ANSWERS, BlobStream, NoRanges, Opener, Progress
from wclayer.threads import Helper

__all__ = ["PIECE", "SETTLE", "Transfer", "download", "open_blob"]

PIECE = 8 << 20
"""A blob that is fetched in several parts at the same time is fetched in pieces of so many bytes."""

SETTLE = 0.2
"""How long, in seconds, is looked how fast a blob comes before it gets another connection."""

_FAST = 200_000_000
"""Bytes a second that more connections would not make more: the processor has enough to do with them."""

_READ = 1 << 20


def open_blob(
    repository: Repository, descriptor: Descriptor, *, offset: int = 0, length: int | None = None
) -> BlobStream:
    """The blob, or the ``length`` bytes of it from ``offset`` on, as a source that survives broken connections.

    The size is checked against the descriptor and the digest is not: that is for whoever reads it all. Reading raises
    NotFoundError, AuthenticationError, NetworkError and DigestMismatchError; UsageError for a range that there is not.
    """
    end = descriptor.size if length is None else offset + length
    if not 0 <= offset <= end <= descriptor.size:
        raise UsageError(f"bytes {offset} to {end} of a blob of {descriptor.size}")
    return BlobStream(
        _opener(repository, descriptor),
        descriptor,
        offset,
        end,
        patience=repository.patience,
        stall_timeout=repository.settings.read_timeout,
    )


def download(
    repository: Repository,
    descriptor: Descriptor,
    partial: PartialBlob,
    *,
    parts: int = 1,
    advance: Callable[[int], None] = lambda _: None,
    piece: int = PIECE,
    settle: float = SETTLE,
) -> None:
    """Fetch what ``partial`` has not yet, and verify and finish it.

    Up to ``parts`` connections are used at the same time when the blob is large enough, each for ``piece`` bytes at a
    time; another one is opened every ``settle`` seconds, as long as those that there are do not bring much.
    ``advance`` is told of new bytes, and of a negative number when bytes have to be fetched again; what it raises goes
    to the caller. What has arrived stays in ``partial`` whatever happens, unless it was found to be wrong.

    Raises NotFoundError, AuthenticationError, NetworkError, DigestMismatchError and StoreError.
    """
    transfer = Transfer(
        _opener(repository, descriptor),
        descriptor,
        partial,
        patience=repository.patience,
        stall_timeout=repository.settings.read_timeout,
        advance=advance,
    )
    try:
        transfer.run(parts, piece, settle)
    except WclayerError as error:
        error.locate(image=str(repository.name))
        raise


def _opener(repository: Repository, descriptor: Descriptor) -> Opener:
    path = f"blobs/{descriptor.digest}"
    return lambda headers: repository.request("GET", path, headers=headers, expect=ANSWERS)


class Transfer:
    """One blob from one place into ``partial``; :func:`download` says what the arguments mean."""

    def __init__(
        self,
        open_answer: Opener,
        descriptor: Descriptor,
        partial: PartialBlob,
        *,
        patience: Patience,
        stall_timeout: float,
        advance: Callable[[int], None],
    ) -> None:
        self._open_answer = open_answer
        self._descriptor = descriptor
        self._partial = partial
        self._patience = patience
        self._stall_timeout = stall_timeout
        self._advance = advance
        self._lock = threading.Lock()
        self._progress = Progress(descriptor.size)
        self._restarted = False

    def run(self, parts: int, piece: int = PIECE, settle: float = SETTLE) -> None:
        """Fetch, verify, finish; raises as :func:`download`."""
        try:
            self._fetch(parts, piece, settle)
        except DigestMismatchError:
            self._restart()
            self._restarted = True
            try:
                self._fetch(1, piece, settle)
            except DigestMismatchError as error:
                self._restart()
                error.hint = error.hint or "fetched twice: the registry, or something before it, has the wrong content"
                raise

    def _restart(self) -> None:
        lost = self._partial.present
        self._partial.reset()
        if lost:
            self._advance(-lost)

    def _fetch(self, parts: int, piece: int, settle: float) -> None:
        partial = self._partial
        try:
            missing = sum(end - start for start, end in partial.missing())
            if parts > 1 and missing > piece:
                most = min(parts, -(-missing // piece))
                _Parts(self, most, split(partial.missing(), piece), self._progress, settle).run()
            else:
                for start, end in partial.missing():
                    self.receive(self._stream(start, end, strict=True))
        except NoRanges:
            for start, _ in partial.missing()[:1]:
                self.receive(self._stream(start, partial.size, whole=True))
        lost = partial.present
        try:
            partial.finish()
        except DigestMismatchError:
            self._advance(partial.present - lost)
            raise

    def _stream(self, start: int, end: int, *, strict: bool = False, whole: bool = False) -> BlobStream:
        return BlobStream(
            self._open_answer,
            self._descriptor,
            start,
            end,
            patience=self._patience,
            stall_timeout=self._stall_timeout,
            progress=self._progress,
            strict=strict,
            whole=whole,
            etags=not self._restarted,
        )

    def receive(self, stream: BlobStream, stopped: Callable[[], bool] = lambda: False) -> None:
        """Everything of ``stream`` into the file, unless it is ``stopped``; closes the stream."""
        partial = self._partial
        with stream:
            position = stream.position
            while (data := stream.read_some(_READ)) and not stopped():
                new = partial.write(position, data)
                position += len(data)
                with self._lock:
                    self._advance(new)

    def part(self, start: int, end: int, stopped: Callable[[], bool]) -> None:
        """One piece of several that are fetched at the same time."""
        self.receive(self._stream(start, end, strict=True), stopped)


class _Parts:
    """Threads that take piece after piece, one at first and more while that is slow; the first error stops them all."""

    def __init__(
        self, transfer: Transfer, most: int, pieces: Iterator[tuple[int, int]], progress: Progress, settle: float
    ) -> None:
        self._transfer = transfer
        self._most = most
        self._pieces = pieces
        self._progress = progress
        self._settle = settle
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._threads = 0
        self._working = 0
        self._are_taken = False

    def run(self) -> None:
        """Returns when all pieces are there; raises the first error when no thread works any more."""
        try:
            self._begin()
            while self._wait():
                self._begin()
        except BaseException as error:  # the caller is interrupted: the others end at their next byte
            self._stop(error)
            raise
        if self._error is not None:
            raise self._error

    def _wait(self) -> bool:
        """Wait for the end, or until another thread is worth its while; whether it is."""
        while True:
            before, began = self._progress.total, time.monotonic()
            with self._changed:
                may_grow = self._threads < self._most and not self._are_taken and self._error is None
                if not self._working:
                    return False
                if not may_grow or self._settle > 0:
                    self._changed.wait(self._settle if may_grow else None)
            seconds = time.monotonic() - began
            is_fast = self._progress.total - before > _FAST * seconds
            if may_grow and self._working and seconds >= self._settle and not is_fast:
                return True

    def _begin(self) -> None:
        with self._changed:
            self._threads += 1
            self._working += 1
        Helper(self._work, "wclayer-part").start()

    def _work(self) -> None:
        try:
            while (piece := self._next()) is not None:
                self._transfer.part(*piece, self._stopped)
        except BaseException as error:  # raised again by run()
            self._stop(error)
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _next(self) -> tuple[int, int] | None:
        with self._changed:
            piece = None if self._error is not None else next(self._pieces, None)
            self._are_taken = piece is None
            return piece

    def _stopped(self) -> bool:
        return self._error is not None

    def _stop(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
