"""Buckets: the tables of a bolt database, which hold values and other buckets by key, in the order of the keys.

A bucket is a B+ tree of its own, or, when it is small, a single page inside the value of its key. Every page belongs to
one bucket and has one parent. That is held to here, so a database whose pages point at each other in a circle, or twice
at the same one, ends in an error and not in a search without end.

Source: the documentation and page format of bbolt (go.etcd.io/bbolt, ``internal/common/bucket.go``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from wclayer.errors import FormatError, LimitError
from wclayer.store.hosts.bolt.pages import LeafElement, Page, PageFile, page_in

__all__ = ["BoltDatabase", "Bucket"]

_HEADER = struct.Struct("<QQ")  # root page, sequence
_MAX_NESTING = 64  # buckets in buckets
_MAX_TREE = 32  # levels of branches


class BoltDatabase:
    """A bolt database in an open file, which must be seekable and of ``size`` bytes; ``what`` names it in errors.

    It is read as it is asked for, and never locked or written. Raises FormatError for a file that is no bolt database.
    """

    def __init__(self, stream: BinaryIO, size: int, what: str) -> None:
        self._file = PageFile(stream, size, what)
        self._owners: dict[int, tuple[tuple[bytes, ...], int]] = {}
        self.root = Bucket(self, (), self._file.meta.root, self._file.meta.sequence, None)

    @property
    def what(self) -> str:
        """How errors call the database."""
        return self._file.what

    @property
    def transaction(self) -> int:
        """The number of the last transaction that was written whole."""
        return self._file.meta.transaction

    @property
    def damage(self) -> str:
        """What is wrong with one of the two meta pages while the other one serves; empty when both are whole."""
        return self._file.damaged

    def bucket(self, *keys: bytes) -> Bucket | None:
        """The bucket at this path of keys, or None."""
        found: Bucket | None = self.root
        for key in keys:
            if found is None:
                return None
            found = found.bucket(key)
        return found

    def malformed(self, message: str) -> FormatError:
        """A FormatError about this database."""
        return self._file.error(message, kind="bolt-bucket")

    def page(self, number: int, owner: tuple[bytes, ...], parent: int) -> Page:
        """Page ``number``, which the bucket at ``owner`` reaches from page ``parent`` and nobody else may."""
        claim = (owner, parent)
        if self._owners.setdefault(number, claim) != claim:
            raise self._file.error(f"page {number} is part of the database twice", kind="bolt-loop")
        return self._file.tree_page(number)


class Bucket:
    """A bucket, with its path of keys from the root. What is asked of it is read then."""

    __slots__ = ("_database", "_inline", "_root", "path", "sequence")

    def __init__(
        self, database: BoltDatabase, path: tuple[bytes, ...], root: int, sequence: int, inline: bytes | None
    ) -> None:
        self._database = database
        self.path = path
        self._root = root
        self.sequence = sequence
        """The last number that :func:`NextSequence` gave out."""
        self._inline = inline

    def __iter__(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The keys in their order, each with its value or bucket. Raises FormatError, LimitError, StoreError."""
        for leaf in self._leaves():
            yield leaf.key, (self._open(leaf) if leaf.is_bucket else leaf.value)

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The keys that hold buckets. Raises as iterating does."""
        for leaf in self._leaves():
            if leaf.is_bucket:
                yield leaf.key, self._open(leaf)

    def values(self) -> dict[bytes, bytes]:
        """All keys that hold values, for buckets that are records. Raises as iterating does."""
        return {leaf.key: leaf.value for leaf in self._leaves() if not leaf.is_bucket}

    def bucket(self, key: bytes) -> Bucket | None:
        """The bucket that ``key`` holds, or None. Raises as iterating does."""
        return next((self._open(leaf) for leaf in self._leaves() if leaf.is_bucket and leaf.key == key), None)

    def _open(self, leaf: LeafElement) -> Bucket:
        path = (*self.path, leaf.key)
        what = f"{self._database.what}: the bucket {leaf.key!r:.100}"
        if len(path) > _MAX_NESTING:
            raise LimitError(f"{what}: more than {_MAX_NESTING} buckets in each other")
        if len(leaf.value) < _HEADER.size:
            raise self._database.malformed(f"the bucket {leaf.key!r:.100} has {len(leaf.value)} bytes")
        root, sequence = _HEADER.unpack_from(leaf.value)
        return Bucket(self._database, path, root, sequence, leaf.value[_HEADER.size :] if root == 0 else None)

    def _leaves(self) -> Iterator[LeafElement]:
        if self._inline is not None:
            page = page_in(self._inline, f"{self._database.what}: the inline bucket {self.path[-1]!r:.100}")
            if page.branches:
                raise self._database.malformed(f"the inline bucket {self.path[-1]!r:.100} has branches")
            yield from page.leaves
            return
        last: bytes | None = None
        # The parent of a root is no page, so it is told from all others by a number that none has.
        waiting = [(self._root, -1, 0)]
        while waiting:
            number, parent, level = waiting.pop()
            if level > _MAX_TREE:
                raise LimitError(f"{self._database.what}: a tree of more than {_MAX_TREE} levels")
            page = self._database.page(number, self.path, parent)
            waiting += [(branch.page, number, level + 1) for branch in reversed(page.branches)]
            for leaf in page.leaves:
                if last is not None and leaf.key <= last:
                    raise self._database.malformed(f"the keys are not in order in page {number}")
                last = leaf.key
                yield leaf
