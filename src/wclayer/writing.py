"""All of a buffer goes to a file, in writes of a size that is fast everywhere.

For a longer write the kernel looks for larger pieces of memory than the eight pages of which it keeps some at hand for
every processor. In a virtual machine those are often the ones that its host took back, and must be had from there
again, a page at a time: writing may then take three times as long.

A write that ends inside of a page makes the kernel clear the rest of it, and look for it again for the next one: with
all of them a few bytes off, the writing of many files took 1.3 to 1.4 times as long. So each ends where one would that
began with the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["BITE", "write_whole", "write_whole_at"]

BITE = 1 << 15
"""The most bytes that are written at a time."""

_Buffer: TypeAlias = bytes | bytearray | memoryview


def write_whole(write: Callable[[memoryview], int | None], data: _Buffer, at: int = 0) -> None:
    """Write all of ``data`` with ``write``, which says how much it took. Raises what it raises, OSError usually.

    ``at`` is the offset in the file, in bytes, where that is known.
    """
    view = memoryview(data)
    done, size = 0, len(view)
    while done < size:
        done += write(view[done : done + BITE - (at + done) % BITE]) or 0


def write_whole_at(write: Callable[[memoryview, int], int], data: _Buffer, offset: int) -> None:
    """The same for what ``write`` puts at an offset in bytes, like :func:`os.pwrite`."""
    view = memoryview(data)
    done, size = 0, len(view)
    while done < size:
        done += write(view[done : done + BITE - (offset + done) % BITE], offset + done)
