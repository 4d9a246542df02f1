"""The pages of a bolt database: every number in them is checked before it is followed.

A file is a row of pages of one size. The first two are meta pages, written in turn, each with a checksum: whoever opens
the file takes the valid one of the higher transaction, so that a write that was cut short leaves the state before it.
All other pages that matter are branches and leaves of B+ trees. All integers are little-endian.

Source: the page format of bbolt (go.etcd.io/bbolt, ``internal/common``: page.go, meta.go, inode.go, bucket.go).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from wclayer.errors import FormatError, LimitError, StoreError

__all__ = ["BranchElement", "LeafElement", "Meta", "Page", "PageFile", "page_in"]

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQ")  # up to the checksum, which covers all of it
_CHECKSUM = struct.Struct("<Q")
_BRANCH = struct.Struct("<IIQ")  # position of the key, its size, page
_LEAF = struct.Struct("<IIII")  # flags, position of the key, size of the key, size of the value
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF, _IS_META = 0x01, 0x02, 0x04
_IS_BUCKET = 0x01
_SMALLEST, _LARGEST = 1 << 10, 1 << 24  # bytes of a page, as bbolt tries them
_FIRST_DATA_PAGE = 2
_MAX_READ = 1 << 28  # bytes of one page with its overflow


@dataclass(frozen=True, slots=True)
class Meta:
    """A meta page: the size of a page in bytes, the root bucket, and which transaction wrote it."""

    page_size: int
    root: int
    sequence: int
    pages: int
    """How many pages the file has in use; every page number is below it."""
    transaction: int


class BranchElement(NamedTuple):
    """The lowest key below a page of a tree, and the number of that page."""

    key: bytes
    page: int


class LeafElement(NamedTuple):
    """A key with its value; the value of a bucket is its header, and its page where that is inline."""

    key: bytes
    value: bytes
    is_bucket: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a tree: it has branches or leaves, in the order of their keys."""

    branches: tuple[BranchElement, ...] = ()
    leaves: tuple[LeafElement, ...] = ()


class PageFile:
    """The file as pages. ``damaged`` says what is wrong with a meta page that was not needed, else it is empty.

    Raises FormatError when neither meta page is valid, StoreError when the file cannot be read.
    """

    def __init__(self, stream: BinaryIO, size: int, what: str) -> None:
        self._stream = stream
        self.size = size
        self.what = what
        self.damaged = ""
        self.meta = self._choose_meta()

    def tree_page(self, number: int) -> Page:
        """Page ``number`` of a tree, with what overflows it. Raises FormatError, LimitError, StoreError."""
        meta = self.meta
        if not _FIRST_DATA_PAGE <= number < meta.pages:
            raise self.error(f"page {number} of {meta.pages}", kind="bolt-page")
        start = number * meta.page_size
        head = self._read(start, _PAGE.size)
        own, _, _, overflow = _PAGE.unpack(head)
        if own != number:
            raise self.error(f"page {number} says that it is page {own}", kind="bolt-page")
        if overflow >= meta.pages - number:
            raise self.error(f"page {number} overflows into {overflow} more, past the end", kind="bolt-page")
        length = (1 + overflow) * meta.page_size
        if length > _MAX_READ:
            raise LimitError(f"{self.what}: page {number} has {length} bytes, more than the {_MAX_READ} allowed")
        return page_in(self._read(start, length), f"{self.what}: page {number}")

    def error(self, message: str, *, kind: str) -> FormatError:
        """A FormatError about this file."""
        return FormatError(f"{self.what}: {message}", kind=kind)

    def _choose_meta(self) -> Meta:
        found: list[Meta] = []
        first, problem = self._meta_at(0)
        if first is not None:
            found.append(first)
            second, problem = self._meta_at(first.page_size)
            if second is not None:
                found.append(second)
        else:
            size = _SMALLEST
            while size <= _LARGEST and not found:
                second, _ = self._meta_at(size)
                if second is not None and second.page_size == size:
                    found.append(second)
                size *= 2
        if not found:
            raise self.error(f"no bolt database: {problem}", kind="bolt-meta")
        if len(found) == 1:
            self.damaged = problem
        meta = max(found, key=lambda one: one.transaction)
        if meta.pages * meta.page_size > self.size:
            raise self.error(
                f"it ends after {self.size} bytes, of {meta.pages} pages of {meta.page_size} bytes", kind="bolt-meta"
            )
        return meta

    def _meta_at(self, start: int) -> tuple[Meta | None, str]:
        """The meta page at ``start``, or None and what is wrong with it."""
        if start + _PAGE.size + _META.size + _CHECKSUM.size > self.size:
            return None, f"the meta page at {start} is past the end"
        raw = self._read(start, _PAGE.size + _META.size + _CHECKSUM.size)
        _, flags, _, _ = _PAGE.unpack_from(raw)
        body = raw[_PAGE.size : _PAGE.size + _META.size]
        magic, version, page_size, _, root, sequence, _, pages, transaction = _META.unpack(body)
        (checksum,) = _CHECKSUM.unpack_from(raw, _PAGE.size + _META.size)
        if magic != _MAGIC or not flags & _IS_META:
            return None, f"no meta page at {start}"
        if version != _VERSION:
            return None, f"the meta page at {start} is of version {version}, not {_VERSION}"
        if checksum != _fnv1a(body):
            return None, f"the checksum of the meta page at {start} is wrong"
        if not _SMALLEST <= page_size <= _LARGEST or page_size & (page_size - 1):
            return None, f"the meta page at {start} has pages of {page_size} bytes"
        return Meta(page_size, root, sequence, pages, transaction), ""

    def _read(self, start: int, length: int) -> bytes:
        try:
            self._stream.seek(start)
            data = self._stream.read(length)
        except OSError as error:
            raise StoreError(f"{self.what}: cannot be read: {error.strerror or error}") from error
        if len(data) != length:
            raise self.error(f"it ends within {length} bytes at {start}", kind="bolt-page")
        return data


def page_in(data: bytes, what: str) -> Page:
    """The page that ``data`` begins with: a page of a file, or the one inside the value of an inline bucket.

    Elements and their data stand in the order of the keys and do not overlap, as bolt writes them. So what is found in
    a page is never more than its bytes, however its numbers are made up. Raises FormatError.
    """
    if len(data) < _PAGE.size:
        raise FormatError(f"{what}: {len(data)} bytes are no page", kind="bolt-page")
    _, flags, count, _ = _PAGE.unpack_from(data)
    element = {_IS_BRANCH: _BRANCH, _IS_LEAF: _LEAF}.get(flags)
    if element is None:
        raise FormatError(f"{what}: neither a branch nor a leaf, but flags {flags:#x}", kind="bolt-page")
    end = _PAGE.size + count * element.size
    if end > len(data):
        raise FormatError(f"{what}: {count} elements do not fit into {len(data)} bytes", kind="bolt-element")
    before: bytes | None = None
    branches: list[BranchElement] = []
    leaves: list[LeafElement] = []
    for index in range(count):
        start = _PAGE.size + index * element.size
        value_size = flag = number = 0
        if flags == _IS_BRANCH:
            position, key_size, number = _BRANCH.unpack_from(data, start)
        else:
            flag, position, key_size, value_size = _LEAF.unpack_from(data, start)
        begin = start + position
        if begin < end or begin + key_size + value_size > len(data):
            raise FormatError(f"{what}: element {index} is not within the page", kind="bolt-element")
        end = begin + key_size + value_size
        key = data[begin : begin + key_size]
        if before is not None and key <= before:
            raise FormatError(f"{what}: the keys are not in order at element {index}", kind="bolt-element")
        before = key
        if flags == _IS_BRANCH:
            branches.append(BranchElement(key, number))
        else:
            leaves.append(LeafElement(key, data[begin + key_size : end], bool(flag & _IS_BUCKET)))
    return Page(tuple(branches), tuple(leaves))


def _fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash of ``data``."""
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state
