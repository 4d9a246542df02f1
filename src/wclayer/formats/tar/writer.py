"""From layer items to tar members: byte for byte what hcsshim writes.

The headers are those of Go's ``archive/tar`` for the records of go-winio ``backuptar``: always PAX for entries, ustar
for whiteouts that fit, records sorted by key, no base-256, two zero blocks at the end and nothing more. The policy
``reference`` also repeats what the reference loses (times wrapped into 64-bit nanoseconds, flags of extended
attributes, streams of what has no data stream); ``faithful`` writes those too, in a form that hcsshim imports.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.formats.tar.header import BLOCK, build_block
from wclayer.formats.tar.lexical import clean, is_clean, join
from wclayer.formats.tar.pax import GO_ZERO_TIME, format_time, join_records
from wclayer.formats.tar.reader import EA_FLAGS, Policy
from wclayer.model import (
    AlternateStream,
    Buffer,
    Entry,
    HardLink,
    LayerItem,
    Metadata,
    Notices,
    Stream,
    Tombstone,
)
from wclayer.ntfs import filetime
from wclayer.ntfs.names import checked_stream_name, encode_wtf8
from wclayer.ntfs.reparse import IO_REPARSE_TAG_MOUNT_POINT, build_link, link_target, reference_target, tag_of

__all__ = ["TarLayerWriter"]

_MODE_FOLDER, _MODE_STREAM, _MODE_REPARSE, _MODE_HARD_LINK = 0o040000, 0o100000, 0o120000, 0o644
_SECOND = 1_000_000_000
_LAST_IN_HEADER = (1 << 33) * _SECOND
_BIG = 8**11
_DATA_SUFFIX = ":$DATA"
_ZEROS = bytes(BLOCK)
_NO_TIME = b"%d" % (GO_ZERO_TIME // _SECOND)
_OUTSIDE_ASCII = bytes(range(0x80, 0x100)) + b"\0"
_MAX_DESCRIPTORS, _MAX_DESCRIPTOR = 1 << 12, 1 << 12

Records = list[tuple[bytes, bytes]]


class TarLayerWriter:
    """Writes layer items as a tar through ``write``, which takes bytes-like pieces that are valid during the call.

    Entries that share a ``file_id`` become one file and hard links to it. :meth:`commit` writes the end of the archive;
    :meth:`abort` writes nothing more: what was written by then is for the caller to discard.
    """

    def __init__(
        self, write: Callable[[Buffer], object], *, policy: Policy = "reference", notices: Notices | None = None
    ) -> None:
        self._write = write
        self._faithful = policy == "faithful"
        self._notices = notices if notices is not None else Notices()
        self._names_by_id: dict[bytes, str] = {}
        self._descriptors: dict[bytes, bytes] = {}
        self._owner: Entry | None = None
        self._owner_mode = 0
        self._streams_written_with: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()

    def commit(self) -> None:
        """End the archive: two zero blocks."""
        self._write(bytes(2 * BLOCK))

    def abort(self) -> None:
        """Stop. A tar has no undo; the caller drops the file."""

    def write(self, item: LayerItem) -> None:
        """Write one item. Raises FormatError or UnsupportedError for what a layer tar cannot hold."""
        try:
            if isinstance(item, Entry):
                self._entry(item)
            elif isinstance(item, AlternateStream):
                self._alternate_stream(item)
            elif isinstance(item, HardLink):
                self._hard_link(item.path, item.target, item.metadata)
            else:
                self._tombstone(item)
        except WclayerError as error:
            raise error.locate(path=item.path) from None

    # ------------------------------------------------------------------ the four kinds of item

    def _entry(self, entry: Entry) -> None:
        if entry.file_id is not None:
            first = self._names_by_id.get(entry.file_id)
            if first is not None:
                self._hard_link(entry.path, first, entry.metadata)
                self._streams_written_with = entry.path
                return
            self._names_by_id[entry.file_id] = entry.path
        metadata, data = entry.metadata, entry.data
        size = data.size if data is not None else entry.reported_size
        mode, kind = 0, b"0"
        if entry.is_directory:
            mode, kind, size = _MODE_FOLDER, b"5", 0
        if data is not None:
            mode |= _MODE_STREAM
        linkname = b""
        if metadata.reparse is not None:
            mode, kind = mode | _MODE_REPARSE, b"2"
            linkname = encode_wtf8(self._target(entry.path, metadata.reparse))
        self._header(self._name(entry.path), kind, mode, size, linkname, metadata, self._vendor_records(entry))
        self._owner, self._owner_mode = entry, mode
        if data is not None:
            self._body(data, size if kind == b"0" else 0)
        elif size and kind == b"0":
            raise FormatError(f"a reported size of {size} bytes and no data", kind="data-too-short")

    def _target(self, path: str, reparse: bytes) -> str:
        """The target of a link, of which a tar holds nothing else."""
        target = link_target(reparse) if self._faithful else reference_target(reparse)
        if build_link(target, mount_point=tag_of(reparse) == IO_REPARSE_TAG_MOUNT_POINT) != reparse:
            self._notices.add("reparse-rebuilt", path, "of this link only the target is kept; importing makes another")
        return target

    def _alternate_stream(self, item: AlternateStream) -> None:
        owner = self._owner
        if owner is None and item.path == self._streams_written_with:
            return
        metadata, mode = Metadata(), _MODE_STREAM
        if owner is not None and owner.path == item.path:
            metadata, mode = owner.metadata, self._owner_mode
        elif self._faithful:
            self._notices.add("stream-apart", item.path, f"stream {item.name} does not follow its file")
        else:
            raise FormatError("an alternate stream that does not follow its file", kind="stream-apart")
        name = item.name.removesuffix(_DATA_SUFFIX)
        if self._faithful:
            checked_stream_name(name)
        elif item.data.ranges is not None:
            raise UnsupportedError("a sparse alternate stream, which the reference cannot write")
        elif owner is not None and owner.data is None:
            self._notices.add("stream-lost", item.path, f"stream {item.name} of something without data is not exported")
            return
        self._header(encode_wtf8(item.path + name), b"0", mode, item.data.size, b"", metadata, [])
        self._body(item.data, item.data.size)

    def _hard_link(self, path: str, target: str, metadata: Metadata) -> None:
        basic = self._basic_records(metadata)
        self._header(self._name(path), b"1", _MODE_HARD_LINK, 0, self._name(target), metadata, basic)
        self._owner = None

    def _tombstone(self, item: Tombstone) -> None:
        at = item.path.rfind("/") + 1
        base = item.path[at:] or item.path.rstrip("/").rpartition("/")[2]
        if self._faithful and item.path[at:] in ("", ".", ".."):
            raise FormatError("a deletion that names no file", kind="tombstone")
        name = clean(encode_wtf8(f"{item.path[:at]}.wh.{base}"))
        self._owner = None
        if _is_ascii(name):
            if len(name) <= 100:
                self._write(build_block(name, b"0"))
                return
            at = _split_point(name)
            if at:
                self._write(build_block(name[at + 1 :], b"0", prefix=name[:at]))
                return
        self._write(_extended(name, [(b"path", name)]) + build_block(_ascii(name), b"0"))

    def _name(self, path: str) -> bytes:
        """The name of an entry. Raises FormatError for one that would be read as something else."""
        if self._faithful and (":" in path or "\\" in path):
            raise FormatError("a colon or a backslash in a path means something else in a layer", kind="entry-name")
        if ".wh." in path and path.rpartition("/")[2].startswith(".wh."):
            if self._faithful:
                raise FormatError("a file of this name would be read as a deletion", kind="entry-name")
            self._notices.add("name-like-whiteout", path, "a file of this name is read as a deletion")
        return encode_wtf8(path) or b"./"

    # ------------------------------------------------------------------ headers

    def _header(
        self,
        name: bytes,
        kind: bytes,
        mode: int,
        size: int,
        linkname: bytes,
        metadata: Metadata,
        records: Records,
    ) -> None:
        atime = self._nanoseconds(metadata.last_access_time)
        ctime = self._nanoseconds(metadata.change_time)
        mtime = self._nanoseconds(metadata.last_write_time)
        if atime is not None:
            records.append((b"atime", format_time(atime)))
        if ctime is not None:
            records.append((b"ctime", format_time(ctime)))
        if kind == b"0" and name.endswith(b"/"):
            raise FormatError("the name of a file ends in a slash", kind="entry-name")
        plain_name = _is_ascii(name)
        if linkname and (len(linkname) > 100 or not _is_ascii(linkname)):
            records.append((b"linkpath", linkname))
        if mtime is None:
            records.append((b"mtime", _NO_TIME))
            mtime = 0
        elif mtime % _SECOND or not 0 <= mtime < _LAST_IN_HEADER:
            records.append((b"mtime", format_time(mtime)))
        if len(name) > 100 or not plain_name:
            records.append((b"path", name))
        if size >= _BIG:
            records.append((b"size", b"%d" % size))
        block = build_block(
            name if plain_name else _ascii(name),
            kind,
            mode=mode,
            size=size,
            mtime=mtime // _SECOND,
            linkname=_ascii(linkname),
        )
        self._write(_extended(name, records) + block if records else block)

    def _basic_records(self, metadata: Metadata) -> Records:
        records: Records = []
        created = metadata.creation_time
        if created is None and not self._faithful:
            created = metadata.last_write_time
        nanoseconds = self._nanoseconds(created)
        if nanoseconds is not None:
            records.append((b"LIBARCHIVE.creationtime", format_time(nanoseconds)))
        records.append((b"MSWINDOWS.fileattr", b"%d" % metadata.attributes))
        return records

    def _vendor_records(self, entry: Entry) -> Records:
        """All records whose keys are in upper case, in order."""
        metadata = entry.metadata
        records = self._basic_records(metadata)
        if metadata.reparse is not None and tag_of(metadata.reparse) == IO_REPARSE_TAG_MOUNT_POINT:
            records.append((b"MSWINDOWS.mountpoint", b"1"))
        if metadata.security_descriptor is not None:
            records.append((b"MSWINDOWS.rawsd", self._base64(metadata.security_descriptor)))
        if metadata.extended_attributes:
            self._extended_attributes(entry, records)
        return records

    def _extended_attributes(self, entry: Entry, records: Records) -> None:
        values = {ea.name: ea.value for ea in entry.metadata.extended_attributes}
        flags = {ea.name: ea.flags for ea in entry.metadata.extended_attributes if ea.flags}
        records += [(b"MSWINDOWS.xattr." + name, b64encode(values[name])) for name in sorted(values)]
        if self._faithful:
            records += [(EA_FLAGS + name, b"%d" % flags[name]) for name in sorted(flags)]
        elif flags:
            self._notices.add("ea-flags-lost", entry.path, "flags of extended attributes have no place in this tar")

    def _base64(self, descriptor: bytes) -> bytes:
        text = self._descriptors.get(descriptor)
        if text is None:
            text = b64encode(descriptor)
            if len(descriptor) <= _MAX_DESCRIPTOR:
                if len(self._descriptors) >= _MAX_DESCRIPTORS:
                    self._descriptors.clear()
                self._descriptors[descriptor] = text
        return text

    def _nanoseconds(self, ticks: int | None) -> int | None:
        """A FILETIME in nanoseconds since 1970: exact, or wrapped as 64-bit nanoseconds are."""
        if self._faithful:
            return None if ticks is None else (ticks - filetime.UNIX_EPOCH_TICKS) * 100
        seconds, nanoseconds = filetime.wrapped_to_unix(filetime.ABSENT_IN_REFERENCE if ticks is None else ticks)
        return seconds * _SECOND + nanoseconds

    # ------------------------------------------------------------------ bodies

    def _body(self, data: Stream, announced: int) -> None:
        left = announced
        write = self._write
        for piece in data.pieces():
            left -= len(piece)
            if left < 0:
                raise FormatError("more data than its header announces", kind="data-too-long")
            write(piece)
        if left:
            raise FormatError(f"{left} bytes fewer than its header announces", kind="data-too-short")
        padding = -announced % BLOCK
        if padding:
            write(_ZEROS[:padding])


def _extended(name: bytes, records: Records) -> bytes:
    """The extended header block and its records, which arrive sorted by key."""
    data = join_records(records)
    at = name.rfind(b"/") + 1
    if is_clean(name):
        head = b"%bPaxHeaders.0/%b" % (name[:at], name[at:])
    else:
        head = join(name[:at], b"PaxHeaders.0", name[at:])
    head = _ascii(head)[:100].rstrip(b"/")
    return b"".join((build_block(head, b"x", size=len(data), devices=False), data, _ZEROS[: -len(data) % BLOCK]))


def _is_ascii(text: bytes) -> bool:
    return text.isascii() and 0 not in text


def _ascii(text: bytes) -> bytes:
    """``text`` without the bytes that a ustar field cannot hold."""
    return text if _is_ascii(text) else text.translate(None, _OUTSIDE_ASCII)


def _split_point(name: bytes) -> int:
    """Where a long name splits into the prefix and name fields of ustar; 0 when it does not."""
    head = name[:156] if len(name) > 156 else name.removesuffix(b"/")
    at = head.rfind(b"/")
    return at if 0 < at <= 155 and 1 <= len(name) - at - 1 <= 100 else 0
