"""What a disk must hold, said by writes; and the readers that are asked what it holds."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.peers import missing
from wclayer.formats.vhdx import VhdxDisk, VhdxWriter

Read = Callable[[int, int], bytes]

PIECE = 1 << 20
_ZEROS = bytes(PIECE)


class Model:
    """A disk in memory, of which only the written pieces are kept."""

    def __init__(self, size: int, below: Model | None = None) -> None:
        self.size = size
        self.pieces: dict[int, bytearray] = (
            {number: bytearray(piece) for number, piece in below.pieces.items()} if below else {}
        )

    def write(self, offset: int, data: bytes) -> None:
        while data:
            number, within = divmod(offset, PIECE)
            piece = self.pieces.setdefault(number, bytearray(PIECE))
            count = min(len(data), PIECE - within)
            piece[within : within + count] = data[:count]
            offset, data = offset + count, data[count:]

    def check(self, read: Read) -> None:
        """Every byte of the disk."""
        for offset in range(0, self.size, PIECE):
            length = min(PIECE, self.size - offset)
            expected = self.pieces.get(offset // PIECE, _ZEROS)
            assert read(offset, length) == (expected if length == PIECE else expected[:length]), f"at {offset}"


def scatter(writer: VhdxWriter, model: Model, chance: random.Random, count: int, align: int = 1) -> None:
    """Write extents of many lengths at random places."""
    for _ in range(count):
        length = chance.choice([512, 4096, 100_352, 1 << 20, 3_000_320])
        offset = chance.randrange(0, model.size - length) // align * align
        data = chance.randbytes(length)
        writer.write(offset, data)
        model.write(offset, data)


@contextmanager
def ours(chain: Sequence[Path]) -> Iterator[Read]:
    with VhdxDisk.open(chain[0]) as disk:
        yield disk.read


@contextmanager
def libvhdi(chain: Sequence[Path]) -> Iterator[Read]:
    library = _module("pyvhdi")
    with ExitStack() as held:
        files = []
        for path in chain:
            file = library.file()
            file.open(str(path))
            held.callback(file.close)
            files.append(file)
        for child, parent in pairwise(files):
            child.set_parent(parent)
        yield lambda offset, length: files[0].read_buffer_at_offset(length, offset)


@contextmanager
def dissect(chain: Sequence[Path]) -> Iterator[Read]:
    disk = _module("dissect.hypervisor.disk.vhdx").VHDX(chain[0])

    def read(offset: int, length: int) -> bytes:
        disk.seek(offset)
        data: bytes = disk.read(length)
        return data

    yield read
    while disk is not None:
        disk.fh.close()
        disk = disk.parent


READERS = {"wclayer": ours, "libvhdi": libvhdi, "dissect": dissect}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(name)
