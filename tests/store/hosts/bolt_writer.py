"""Writes bolt databases for the tests: trees of any shape, also such as bolt itself would never write."""

from __future__ import annotations

import struct
from typing import TypeAlias

__all__ = ["Table", "bolt_file", "fnv1a", "meta_page"]

Table: TypeAlias = "dict[bytes, bytes | Table]"
"""A bucket: keys with values or buckets."""

MAGIC, VERSION = 0xED0CDAED, 2


def bolt_file(root: Table, *, page_size: int = 4096, inline: int = 1024, fill: int = 0, transaction: int = 7) -> bytes:
    """A database whose buckets of at most ``inline`` bytes are inline, and whose pages hold at most ``fill`` leaves.

    With ``fill`` 0 a bucket is one page, which overflows as far as it must.
    """
    writer = _Writer(page_size, inline, fill)
    number = writer.bucket(root)
    pages = b"".join(writer.pages)
    count = 4 + len(pages) // page_size
    metas = [meta_page(page_size, number, count, transaction - older, index) for index, older in ((0, 1), (1, 0))]
    free = struct.pack("<QHHI", 2, 0x10, 0, 0).ljust(page_size, b"\0")
    unused = struct.pack("<QHHI", 3, 0x02, 0, 0).ljust(page_size, b"\0")
    return b"".join([*metas, free, unused, pages])


def meta_page(page_size: int, root: int, pages: int, transaction: int, number: int) -> bytes:
    """A meta page with its checksum."""
    body = struct.pack("<IIIIQQQQQ", MAGIC, VERSION, page_size, 0, root, 0, 2, pages, transaction)
    page = struct.pack("<QHHI", number, 0x04, 0, 0) + body + struct.pack("<Q", fnv1a(body))
    return page.ljust(page_size, b"\0")


def fnv1a(data: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) % (1 << 64)
    return state


class _Writer:
    def __init__(self, page_size: int, inline: int, fill: int) -> None:
        self.page_size = page_size
        self.inline = inline
        self.fill = fill
        self.pages: list[bytes] = []
        self.next = 4

    def bucket(self, table: Table) -> int:
        """Write the tree of a bucket and return its root page."""
        return self._tree(self._leaves(table))

    def _tree(self, leaves: list[tuple[int, bytes, bytes]]) -> int:
        if not self.fill:
            return self._page(0x02, leaves)
        level = [
            (part[0][1], self._page(0x02, part))
            for part in (leaves[at : at + self.fill] for at in range(0, max(len(leaves), 1), self.fill))
            if part
        ] or [(b"", self._page(0x02, []))]
        while len(level) > 1:
            groups = [level[at : at + max(self.fill, 2)] for at in range(0, len(level), max(self.fill, 2))]
            level = [(group[0][0], self._branch(group)) for group in groups]
        return level[0][1]

    def _leaves(self, table: Table) -> list[tuple[int, bytes, bytes]]:
        leaves = []
        for key, value in sorted(table.items()):
            if isinstance(value, bytes):
                leaves.append((0, key, value))
                continue
            own = self._leaves(value)
            below = self._encoded(0x02, own, 0)
            # bolt puts no bucket inline that holds buckets itself.
            if len(below) <= self.inline and not any(flags for flags, _, _ in own):
                leaves.append((1, key, struct.pack("<QQ", 0, 1) + below))
            else:
                leaves.append((1, key, struct.pack("<QQ", self._tree(own), 1)))
        return leaves

    def _branch(self, children: list[tuple[bytes, int]]) -> int:
        head, data = b"", b""
        table = 16 * len(children)
        for index, (key, number) in enumerate(children):
            head += struct.pack("<IIQ", table - 16 * index + len(data), len(key), number)
            data += key
        return self._place(struct.pack("<HHI", 0x01, len(children), 0), head + data)

    def _page(self, flags: int, leaves: list[tuple[int, bytes, bytes]]) -> int:
        encoded = self._encoded(flags, leaves, 0)
        return self._place(encoded[8:16], encoded[16:])

    def _encoded(self, flags: int, leaves: list[tuple[int, bytes, bytes]], number: int) -> bytes:
        head, data = b"", b""
        table = 16 * len(leaves)
        for index, (flag, key, value) in enumerate(leaves):
            head += struct.pack("<IIII", flag, table - 16 * index + len(data), len(key), len(value))
            data += key + value
        return struct.pack("<QHHI", number, flags, len(leaves), 0) + head + data

    def _place(self, header: bytes, body: bytes) -> int:
        count = -(-(16 + len(body)) // self.page_size)
        number, self.next = self.next, self.next + count
        flags, elements, _ = struct.unpack("<HHI", header)
        page = struct.pack("<QHHI", number, flags, elements, count - 1) + body
        self.pages.append(page.ljust(count * self.page_size, b"\0"))
        return number
