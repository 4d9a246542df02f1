"""An independent reading of a backup stream's sparse main data, with nothing of the package."""

from __future__ import annotations

import struct

__all__ = ["expanded"]


def expanded(stream: bytes) -> bytes | None:
    """The main data of ``stream`` if that has sparse blocks, holes filled; else None."""
    position, content, in_main = 0, None, False
    while position + 20 <= len(stream):
        number, attributes, size, name_size = struct.unpack_from("<IIQI", stream, position)
        position += 20 + name_size
        if number in (1, 4):
            in_main = number == 1
            if in_main and attributes & 8 and not size:
                content = bytearray()
        elif number == 9 and in_main and content is not None:
            offset = struct.unpack_from("<Q", stream, position)[0]
            content += bytes(offset - len(content)) + stream[position + 8 : position + size]
        position += size
    return None if content is None else bytes(content)
