"""The process of a lane: it writes layers as it is told, and ends when whoever started it is gone.

Every layer is written by a :class:`~wclayer.image.lane.LocalLane`, so it becomes what it would have become in the
process that asks. A thread listens all the time: the end of the connection, which is what even ``kill -9`` of the other
process brings about, ends this one at once. What it was writing is then a staging folder that nobody holds.
"""

from __future__ import annotations

import os
import socket
import sys
from queue import SimpleQueue

from wclayer._version import __version__
from wclayer.image.lane import LaneOptions, LocalLane
from wclayer.image.lane_wire import (
    Advanced,
    CommitRequest,
    Dropped,
    DropRequest,
    Poured,
    PourRequest,
    Ready,
    portable_error,
    receive,
    send,
)
from wclayer.image.schedule import Stopped
from wclayer.oci import LayerBlob, StoredBlob
from wclayer.oci.sources import FilePart, PartSource
from wclayer.threads import Helper

if sys.platform != "win32":
    import resource

__all__ = ["serve"]

_DESCRIPTORS = 8192


def serve(descriptor: int) -> None:
    """Do what the socket ``descriptor`` says; never returns."""
    sys.setswitchinterval(0.00005)  # see wclayer.cli.main
    _allow_descriptors()
    connection = socket.socket(fileno=descriptor)
    try:
        send(connection, Ready(__version__))
        options, _ = receive(connection)
        if isinstance(options, LaneOptions):
            _Worker(connection, LocalLane(options)).run()
    except (EOFError, OSError):
        pass  # whoever started this is gone
    os._exit(1)


class _Worker:
    """Also the progress of the layer that is being written: it is passed on."""

    def __init__(self, connection: socket.socket, lane: LocalLane) -> None:
        self._connection = connection
        self._lane = lane
        self._requests: SimpleQueue[tuple[object, int | None]] = SimpleQueue()
        self._unwanted: int | None = None
        self._current = -1
        Helper(self._listen, "wclayer-lane").start()

    def run(self) -> None:
        """Serve requests until the process ends; raises OSError when nobody is there any more."""
        while True:
            request, descriptor = self._requests.get()
            answer: object
            try:
                if isinstance(request, PourRequest) and descriptor is not None:
                    answer = self._pour(request, descriptor)
                elif isinstance(request, CommitRequest):
                    answer = self._lane.commit(request.index, request.parents, request.chain_id, request.facts)
                elif isinstance(request, DropRequest):
                    self._lane.drop(request.index)
                    answer = Dropped()
                else:
                    answer = TypeError(f"a lane does not know what to do with {request!r}")
            except Stopped:
                continue  # the request to drop it comes next
            except Exception as error:
                answer = portable_error(error)
            send(self._connection, answer)

    def _pour(self, request: PourRequest, descriptor: int) -> Poured:
        part = FilePart(descriptor, request.offset, request.part_size)
        stored = StoredBlob(lambda: PartSource(part), request.size, request.original)
        blob = LayerBlob(request.index, request.count, request.descriptor, request.diff_id, lambda: stored)
        self._current = request.index
        return Poured(self._lane.pour(blob, request.destination, self))

    def _listen(self) -> None:
        try:
            while True:
                request, descriptor = receive(self._connection)
                if isinstance(request, DropRequest):
                    self._unwanted = request.index
                self._requests.put((request, descriptor))
        finally:
            os._exit(1)

    def expect(self, parts: int, total: int | None) -> None:
        """Known to the other process."""

    def begin(self, part: str) -> None:
        """Known to the other process."""

    def advance(self, part: str, count: int) -> None:  # noqa: ARG002 - the protocol's signature
        """Pass it on; raises Stopped when nobody wants the layer any more."""
        if self._unwanted == self._current:
            raise Stopped
        send(self._connection, Advanced(count))

    def end(self, part: str) -> None:
        """Known to the other process."""


def _allow_descriptors() -> None:
    """A layer that waits for its parents keeps folders open."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return  # macOS has a lower limit that it does not tell; what there is must do
