"""The process that makes files of what lies in shared memory, while another one reads on.

It gets lists of orders, each list behind its length in bytes: :data:`OPEN` with the lengths of two paths that follow,
the folder and the name in it; :data:`BYTES` with the length of what follows; :data:`PIECE` with length and offset in
the memory; :data:`CLOSE` with the time of the file in nanoseconds. All are about the file that was opened last, which
may go on in the next list. Each list is answered by how many files were closed so far, and the length of what follows:
nothing, or what went wrong, after which nothing more is done.
"""

from __future__ import annotations

import gc
import marshal
import mmap
import os
import socket
from functools import partial
from struct import Struct
from typing import BinaryIO, TypeAlias

from wclayer.errors import WclayerError
from wclayer.formats.folder.door import Door, joined, store_error
from wclayer.writing import BITE, write_whole_at

__all__ = ["ANSWER", "BYTES", "CLOSE", "LENGTH", "MAX_LIST", "OPEN", "ORDER", "PIECE", "DataWorker", "Failure", "main"]

LENGTH = Struct("<I")
ORDER = Struct("<IIq")
ANSWER = Struct("<QI")
OPEN, BYTES, PIECE, CLOSE = range(4)
MAX_LIST = 1 << 24

Failure: TypeAlias = tuple[str, str | None, str | None, str | None]
"""Message, layer, path and hint of an error."""


class DataWorker:
    """Follows the orders that come from ``connection`` in the folder ``root``; ``data`` is the memory."""

    def __init__(self, connection: socket.socket, data: memoryview, root: int, where: str) -> None:
        self._connection = connection
        self._orders: BinaryIO = connection.makefile("rb")
        self._data = data
        self._door = Door(root, where=where)
        self._where = where
        self._closed = 0
        self._file = -1
        self._path = b""
        self._bytes = b""  # what is written together with what follows
        self._position = 0

    def run(self) -> None:
        """Work until the other side closes. An error is reported, and ends the work."""
        read = self._orders.read
        try:
            while len(head := read(LENGTH.size)) == LENGTH.size:
                (length,) = LENGTH.unpack(head)
                if length > MAX_LIST or len(orders := read(length)) != length:
                    return
                self._follow(orders)
                self._connection.sendall(ANSWER.pack(self._closed, 0))
        except WclayerError as error:
            failure = marshal.dumps((error.message, error.layer, error.path, error.hint))
            self._connection.sendall(ANSWER.pack(self._closed, len(failure)) + failure)
        finally:
            self._door.close()
            self._orders.close()

    def _follow(self, orders: bytes) -> None:
        place, end = 0, len(orders)
        try:
            while place < end:
                kind, length, number = ORDER.unpack_from(orders, place)
                place += ORDER.size
                if kind == PIECE:
                    self._write(self._data[number : number + length])
                elif kind == OPEN:
                    parent = orders[place : place + length]
                    place += length
                    leaf = orders[place : place + number]
                    place += number
                    self._path = joined(parent, leaf)
                    self._file = self._door.create(parent, leaf)
                    self._position = 0
                elif kind == BYTES:
                    if self._bytes:
                        self._write(memoryview(b""))
                    self._bytes = orders[place : place + length]
                    place += length
                else:
                    self._close(number)
        except OSError as error:
            raise store_error(error, "cannot write", self._path, self._where) from error

    def _write(self, piece: memoryview) -> None:
        """Write ``piece``, and first what stands before it."""
        before, self._bytes = self._bytes, b""
        if before:
            end = self._position + len(before)
            first = piece[: -end % BITE]
            written = os.pwritev(self._file, (before, first), self._position)
            self._position += written
            if written < len(before):
                self._append(memoryview(before)[written:])
                written = len(before)
            piece = piece[written - len(before) :]
        if piece:
            self._append(piece)

    def _append(self, piece: memoryview) -> None:
        write_whole_at(partial(os.pwrite, self._file), piece, self._position)
        self._position += len(piece)

    def _close(self, time: int) -> None:
        if self._bytes:
            self._write(memoryview(b""))
        os.utime(self._file, ns=(time, time))
        os.close(self._file)
        self._closed += 1


def main(connection: int, memory: int, root: int, where: str) -> None:
    """The whole life of the process. The numbers are descriptors: of the socket, the memory and the folder."""
    gc.disable()  # nothing here is part of a cycle
    data = memoryview(mmap.mmap(memory, 0))
    os.close(memory)
    with socket.socket(fileno=connection) as other:
        try:
            DataWorker(other, data, root, where).run()
        except ConnectionError:
            return  # nobody waits for what is not done yet
