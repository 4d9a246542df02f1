"""A layer folder checked against its database: every file, every byte."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from wclayer.errors import FormatError, StoreError, WclayerError
from wclayer.formats.folder.content import HEADER_RECORD, INDEX, LAYER_CHAIN, PRISTINE, STREAM_FOLDER, crc32
from wclayer.formats.folder.door import readable, store_error
from wclayer.formats.folder.folder import LayerFolder
from wclayer.formats.folder.headers import HeaderRecordReader
from wclayer.formats.folder.node import Node
from wclayer.formats.folder.schema import SYNTHESISED
from wclayer.model import Stream

__all__ = ["Finding", "verify_folder"]

_OWN_FILES = {INDEX, LAYER_CHAIN, HEADER_RECORD, *PRISTINE}


class Finding(NamedTuple):
    """A difference between a layer folder and its database.

    ``code`` is one of ``missing``, ``extra``, ``wrong-kind``, ``wrong-size``, ``wrong-content``, ``unreadable``,
    ``database``, ``header-record``, ``layer-chain``. ``path`` is that on this machine, relative to the folder.
    """

    code: str
    path: str
    detail: str


def verify_folder(folder: LayerFolder, *, contents: bool = True) -> list[Finding]:
    """Compare the files of ``folder`` with its database; no finding means that they agree.

    Without ``contents`` data is not read: names, kinds and sizes only. Nothing is followed: a symbolic link in the tree
    is a finding. Raises StoreError when the folder itself cannot be listed.
    """
    return list(_Verification(folder, contents=contents).run())


class _Verification:
    def __init__(self, folder: LayerFolder, *, contents: bool) -> None:
        self._folder = folder
        self._contents = contents
        self._known: dict[tuple[int, int], int] = {}  # checksums of files that have several names

    def run(self) -> Iterator[Finding]:
        """All findings."""
        try:
            yield from self._database()
            yield from self._tree()
            yield from self._streams()
        except FormatError as error:
            yield Finding("database", readable(INDEX), str(error))
        yield from self._own_files()

    def _database(self) -> Iterator[Finding]:
        for (result,) in self._folder.rows("PRAGMA integrity_check(20)"):
            if result != "ok":
                yield Finding("database", readable(INDEX), str(result))
        facts = self._folder.facts
        ((entries,),) = self._folder.rows("SELECT count(*) FROM entry WHERE kind != ?", (SYNTHESISED,))
        ((streams,),) = self._folder.rows("SELECT count(*) FROM stream")
        for name, count in (("entries", entries), ("streams", streams)):
            if facts.get(name) != count:
                yield Finding("database", readable(INDEX), f"{count} {name} where {facts.get(name)} were recorded")
        for node in self._folder.nodes():
            node.metadata()
            if node.is_link:
                node.target_node()
                if not node.target:
                    yield Finding("database", readable(INDEX), f"{node.path} is a hard link without target")
        for (number,) in self._folder.rows(
            "SELECT id FROM stream WHERE entry IS NOT NULL AND entry NOT IN (SELECT id FROM entry) LIMIT 20"
        ):
            yield Finding("database", readable(INDEX), f"stream {number} belongs to no entry")
        if facts.get("header_record") and self._folder.header_record is None:
            yield Finding("missing", readable(HEADER_RECORD), "the header record is missing")

    def _tree(self) -> Iterator[Finding]:
        pending: list[Node | None] = [None]
        while pending:
            node = pending.pop()
            path = b"" if node is None else self._folder.host_path(node)
            expected = set() if node else _OWN_FILES | {STREAM_FOLDER}
            for child in self._folder.children(node):
                if child.is_tombstone:
                    continue
                leaf = child.host_leaf
                expected.add(leaf)
                findings = list(self._entry(child, path, leaf))
                yield from findings
                if child.is_folder and not findings:
                    pending.append(child)
            yield from self._extra(path, expected)

    def _entry(self, node: Node, parent: bytes, leaf: bytes) -> Iterator[Finding]:
        path = readable(self._folder.host_path(node))
        status = self._status(parent, leaf)
        if status is None:
            yield Finding("missing", path, "it is not there")
        elif node.is_folder:
            if not stat.S_ISDIR(status.st_mode):
                yield Finding("wrong-kind", path, f"{_kind(status.st_mode)} instead of a folder")
        elif not stat.S_ISREG(status.st_mode):
            yield Finding("wrong-kind", path, f"{_kind(status.st_mode)} instead of a file")
        elif status.st_size != (node.size or 0):
            yield Finding("wrong-size", path, f"{status.st_size} bytes instead of {node.size or 0}")
        elif self._contents and node.crc32 is not None:
            yield from self._content(self._folder.open_data(node), node.crc32, path, status)

    def _streams(self) -> Iterator[Finding]:
        expected = set()
        for stream in self._folder.all_streams():
            status = None
            path = f"{readable(INDEX)}: stream {stream.id}"
            if stream.host is not None:
                expected.add(stream.host)
                path = readable(STREAM_FOLDER + b"/" + stream.host)
                status = self._status(STREAM_FOLDER, stream.host)
                if status is None:
                    yield Finding("missing", path, f"the data of stream {stream.name} is not there")
                    continue
                if not stat.S_ISREG(status.st_mode):
                    yield Finding("wrong-kind", path, f"{_kind(status.st_mode)} instead of a file")
                    continue
                if status.st_size != stream.size:
                    yield Finding("wrong-size", path, f"{status.st_size} bytes instead of {stream.size}")
                    continue
            if self._contents and stream.crc32 is not None:
                yield from self._content(self._folder.open_stream(stream), stream.crc32, path, status)
        if self._status(b"", STREAM_FOLDER) is not None:
            yield from self._extra(STREAM_FOLDER, expected)

    def _own_files(self) -> Iterator[Finding]:
        try:
            self._folder.parent_paths  # noqa: B018 - read for what it raises
        except WclayerError as error:
            yield Finding("layer-chain", readable(LAYER_CHAIN), str(error))
        record = self._folder.header_record
        if record is not None and self._contents:
            try:
                for _part in HeaderRecordReader(record):
                    pass
            except WclayerError as error:
                yield Finding("header-record", readable(HEADER_RECORD), str(error))

    def _content(
        self, data: Stream | None, expected: int, path: str, status: os.stat_result | None
    ) -> Iterator[Finding]:
        identity = (status.st_dev, status.st_ino) if status is not None and status.st_nlink > 1 else None
        checksum = self._known.get(identity) if identity else None
        if checksum is None:
            checksum = 0
            try:
                for piece in data.stored_pieces() if data else ():
                    checksum = crc32(piece, checksum)
            except WclayerError as error:
                yield Finding("unreadable", path, str(error))
                return
            if identity:
                self._known[identity] = checksum
        if checksum != expected:
            yield Finding("wrong-content", path, f"CRC-32 {checksum:08x} instead of {expected:08x}")

    def _extra(self, parent: bytes, expected: set[bytes]) -> Iterator[Finding]:
        try:
            found = os.listdir(self._folder.door.directory(parent))
        except OSError as error:
            raise store_error(error, "cannot list the folder", parent, self._folder.where) from error
        except StoreError as error:
            yield Finding("unreadable", readable(parent), str(error))
            return
        for leaf in sorted({os.fsencode(name) for name in found} - expected):
            status = self._status(parent, leaf)
            if status is not None:
                path = readable(parent + b"/" + leaf if parent else leaf)
                yield Finding("extra", path, f"{_kind(status.st_mode)} that the database does not know")

    def _status(self, parent: bytes, leaf: bytes) -> os.stat_result | None:
        try:
            return os.stat(leaf, dir_fd=self._folder.door.directory(parent), follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, "cannot look at", leaf, self._folder.where) from error


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a device"
