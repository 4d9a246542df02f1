"""What a lane and its process say to each other, over a pair of sockets that nobody else has.

A message is a length of four bytes and a pickle. A descriptor may travel with it (SCM_RIGHTS), so that the process
reads the very file that was opened, whatever has its name by then. ::

    to the process   PourRequest, with a file      from it   Ready, once
                     CommitRequest                           Advanced, many times, then Poured or an error
                     DropRequest                             ImportedLayer or an error
                                                             Dropped
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import StoreError, WclayerError
from wclayer.oci import Descriptor, Digest

__all__ = [
    "Advanced",
    "CommitRequest",
    "DropRequest",
    "Dropped",
    "PourRequest",
    "Poured",
    "Ready",
    "portable_error",
    "receive",
    "send",
]

_LENGTH = 4  # bytes


@dataclass(frozen=True, slots=True)
class PourRequest:
    """Write the layer ``index`` of ``count`` to ``destination``.

    It is the ``part_size`` bytes from ``offset`` of the file that travels with this (None: up to its end); ``size`` is
    that of the blob where it is known. ``original``: it is what ``descriptor`` names.
    """

    index: int
    count: int
    descriptor: Descriptor | None
    diff_id: Digest | None
    offset: int
    part_size: int | None
    size: int | None
    original: bool
    destination: Path


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """Make the poured layer ``index`` exist, on ``parents``, nearest first."""

    index: int
    parents: tuple[Path, ...]
    chain_id: str
    facts: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Leave nothing of the layer ``index``, which is being poured or was."""

    index: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process can work, with this version of the package."""

    version: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """``count`` more bytes of the blob are done."""

    count: int


@dataclass(frozen=True, slots=True)
class Poured:
    """The layer is on disk, verified."""

    diff_id: Digest


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nothing is left of it."""


def send(connection: socket.socket, message: object, descriptor: int | None = None) -> None:
    """Send a message, and ``descriptor`` with it; raises OSError when nobody is there."""
    body = pickle.dumps(message)
    data = memoryview(len(body).to_bytes(_LENGTH) + body)
    if descriptor is not None:
        data = data[socket.send_fds(connection, [data], [descriptor]) :]
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[object, int | None]:
    """The next message and the descriptor that came with it; raises EOFError, OSError when nobody is there."""
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH, 1)
    try:
        if len(head) < _LENGTH:
            head += _exactly(connection, _LENGTH - len(head))
        body = _exactly(connection, int.from_bytes(head))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    # Both ends are this program, and nobody else can write to the sockets.
    return pickle.loads(body), descriptors[0] if descriptors else None  # noqa: S301


def _exactly(connection: socket.socket, count: int) -> bytes:
    pieces = []
    while count:
        piece = connection.recv(min(count, 1 << 16))
        if not piece:
            raise EOFError
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def portable_error(error: BaseException) -> BaseException:
    """``error`` as it can travel. One that nobody expected carries along where it came from."""
    if not isinstance(error, WclayerError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just pickled
    except Exception:  # an error of a library, of a form of its own
        return StoreError(f"{type(error).__name__}: {error}")
    return copy if isinstance(copy, BaseException) else StoreError(repr(error))
