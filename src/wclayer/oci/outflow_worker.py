"""The process that hashes what leaves, and writes it to a file, while another one makes more.

An order is the offset and the length of bytes in memory that both see; a length of 0 ends it. Each is answered, in
order, by a number and what that is: :data:`DONE` with the offset, :data:`FAILED` with an ``errno``, after which there
is nothing more, and in the end :data:`DIGEST` with the length of the digest, which follows in hexadecimal.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import mmap
import os
import socket
from struct import Struct

from wclayer.writing import write_whole

__all__ = ["ANSWER", "DIGEST", "DONE", "FAILED", "ORDER", "main"]

ORDER = Struct("<II")
ANSWER = Struct("<II")
DONE, FAILED, DIGEST = range(3)


def main(connection: int, memory: int, target: int, algorithm: str) -> None:
    """The whole life of the process. The numbers are descriptors: of the socket, the memory and the file to write."""
    gc.disable()  # nothing here is part of a cycle
    data = memoryview(mmap.mmap(memory, 0))
    os.close(memory)
    with socket.socket(fileno=connection) as other:
        try:
            _serve(other, data, target, algorithm)
        except ConnectionError:
            return  # nobody waits for what is not done yet


def _serve(other: socket.socket, data: memoryview, target: int, algorithm: str) -> None:
    digest = hashlib.new(algorithm)
    with other.makefile("rb") as orders, open(target, "wb", buffering=0) as file:
        while len(order := orders.read(ORDER.size)) == ORDER.size:
            offset, length = ORDER.unpack(order)
            if not length:
                text = digest.hexdigest().encode()
                other.sendall(ANSWER.pack(len(text), DIGEST) + text)
                return
            slab = data[offset : offset + length]
            digest.update(slab)
            try:
                write_whole(file.write, slab)
            except OSError as error:
                other.sendall(ANSWER.pack(error.errno or errno.EIO, FAILED))
                return
            other.sendall(ANSWER.pack(offset, DONE))
