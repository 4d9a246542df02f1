"""A plain folder as a layer, also after it was edited with whatever edits files.

What the text file lists comes in its order; the data is what the files hold now. Files and folders that it does not
list come after that, with times from the file system and the attributes of a new file.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, WclayerError
from wclayer.formats.folder.content import file_stream, inline_stream
from wclayer.formats.folder.door import DIRECTORY_FLAGS, Door, store_error
from wclayer.formats.folder.schema import encode_ranges
from wclayer.formats.plain.lines import MAX_LINE, DescriptorTexts, Line, parse_line
from wclayer.formats.plain.names import METADATA, SCHEMA, STREAMS
from wclayer.model import AlternateStream, Entry, LayerItem, Metadata, Notices, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.filetime import from_unix
from wclayer.ntfs.names import checked_path, decode_wtf8, encode_wtf8, is_wtf8

__all__ = ["PlainFolderReader"]

_OWN = (METADATA.encode(), STREAMS.encode())


class PlainFolderReader:
    """Yields the items of the plain folder ``path``; each iteration reads it anew.

    ``notices`` gets ``plain-changed`` for a file whose size is not the one in the text, ``plain-unlisted`` for one that
    is not in it. Raises NotFoundError when there is no folder, FormatError for a text that is none and for a listed
    file that is gone, UnsafeEntryError for links of this machine.
    """

    def __init__(self, path: Path | str, *, notices: Notices | None = None) -> None:
        self.path = Path(path)
        self.notices = notices if notices is not None else Notices()

    def __iter__(self) -> Iterator[LayerItem]:
        try:
            root = os.open(self.path, DIRECTORY_FLAGS)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no folder {self.path}") from error
        except OSError as error:
            raise store_error(error, "cannot open the folder", os.fsencode(self.path), "") from error
        door = Door(root, where=str(self.path))
        try:
            listed = set(_OWN)
            if METADATA in os.listdir(root):
                yield from self._listed(door, listed)
            yield from self._unlisted(door, listed)
        finally:
            door.close()
            os.close(root)

    # ------------------------------------------------------------------ what the text lists

    def _listed(self, door: Door, listed: set[bytes]) -> Iterator[LayerItem]:
        texts = DescriptorTexts()
        with os.fdopen(door.open(b"", METADATA.encode()), "rb") as file:
            for number, line in _lines(file):
                if number == 1:
                    _check_schema(line)
                    continue
                parsed = parse_line(line, number, texts)
                try:
                    yield self._with_data(door, parsed, listed)
                except WclayerError as error:
                    raise error.locate(path=parsed.item.path) from None

    def _with_data(self, door: Door, line: Line, listed: set[bytes]) -> LayerItem:
        item = line.item
        host = encode_wtf8(item.path if line.host is None else line.host)
        if isinstance(item, AlternateStream):
            item.data = self._stream_data(door, line, host)
            return item
        _list(host, listed)
        if not isinstance(item, Entry):
            return item
        if item.is_directory:
            item.data = None if line.size is None else Stream.from_bytes(b"")
        elif line.size is not None or self._has_data(door, host):
            item.data = self._file(door, host, line)
        return item

    def _stream_data(self, door: Door, line: Line, host: bytes) -> Stream:
        if line.content is None:
            if line.host is None:
                raise FormatError("a stream without data", kind="plain-metadata")
            return self._file(door, host, line)
        size = len(line.content) if line.size is None or line.ranges is None else line.size
        if line.ranges is not None:
            encode_ranges(line.ranges, size)
            if sum(length for _, length in line.ranges) != len(line.content):
                raise FormatError("the ranges of a stream do not fit its data", kind="plain-metadata")
        return inline_stream(line.content, size, line.ranges)

    def _has_data(self, door: Door, host: bytes) -> bool:
        """Whether a file that had no stream at all has one now."""
        descriptor = _opened(door, host)
        try:
            return os.fstat(descriptor).st_size > 0
        finally:
            os.close(descriptor)

    def _file(self, door: Door, host: bytes, line: Line) -> Stream:
        descriptor = _opened(door, host)
        try:
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        ranges = line.ranges
        if line.size is not None and size != line.size:
            path = line.item.path
            self.notices.add("plain-changed", path, f"the file has {size} bytes now and had {line.size}")
            ranges = None
        encode_ranges(ranges, size)
        return self._opened_stream(door, host, size, ranges)

    def _opened_stream(self, door: Door, host: bytes, size: int, ranges: tuple[tuple[int, int], ...] | None) -> Stream:
        parent, _, leaf = host.rpartition(b"/")
        place = os.fsencode(self.path.absolute()) + b"/" + host
        return file_stream(lambda: door.open(parent, leaf), size, ranges, host, place, door.where)

    # ------------------------------------------------------------------ what it does not list

    def _unlisted(self, door: Door, listed: set[bytes]) -> Iterator[LayerItem]:
        pending = [b""]
        while pending:
            folder = pending.pop()
            below = []
            for leaf in sorted(os.listdir(door.directory(folder))):
                name = os.fsencode(leaf)
                host = folder + b"/" + name if folder else name
                if host in _OWN:
                    continue
                status = os.stat(name, dir_fd=door.directory(folder), follow_symlinks=False)
                is_folder = stat.S_ISDIR(status.st_mode)
                if is_folder:
                    below.append(host)
                if host not in listed:
                    yield self._new(door, host, status, is_folder=is_folder)
            pending += reversed(below)

    def _new(self, door: Door, host: bytes, status: os.stat_result, *, is_folder: bool) -> Entry:
        shown = decode_wtf8(host)
        if not is_folder and not stat.S_ISREG(status.st_mode):
            raise UnsafeEntryError("neither a file nor a folder", path=shown, layer=str(self.path))
        if not is_wtf8(host):
            raise UnsafeEntryError("its name is no UTF-8", path=shown, layer=str(self.path))
        path = checked_path(shown)
        self.notices.add("plain-unlisted", path, f"{METADATA} does not list it")
        time = from_unix(*divmod(status.st_mtime_ns, 1_000_000_000))
        if is_folder:
            return Entry(path, Metadata(FILE_ATTRIBUTE_DIRECTORY, time, time, time, time), is_directory=True)
        data = self._opened_stream(door, host, status.st_size, None)
        return Entry(path, Metadata(FILE_ATTRIBUTE_ARCHIVE, time, time, time, time), data=data)


def _list(host: bytes, listed: set[bytes]) -> None:
    """Note ``host`` as listed, and the folders it is in: one that no line names is no new one."""
    while host and host not in listed:
        listed.add(host)
        host = host.rpartition(b"/")[0]


def _lines(file: BufferedReader) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise FormatError(f"line {number} of {METADATA} is too long", kind="plain-metadata")
        if line.strip():
            yield number, line


def _check_schema(line: bytes) -> None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise FormatError(f"the first line of {METADATA} does not name the schema {SCHEMA}", kind="plain-metadata")


def _opened(door: Door, host: bytes) -> int:
    parent, _, leaf = host.rpartition(b"/")
    try:
        return door.open(parent, leaf)
    except WclayerError as error:
        raise FormatError(
            f"the file is listed in {METADATA}, but {error.message}",
            kind="plain-missing",
            hint="remove its line to leave it out of the layer",
        ) from error
