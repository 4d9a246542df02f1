"""Win32 backup streams to layer items, and tar members to backup streams, quirks included.

This is where Windows meets the tar: BackupRead delivers a file as a sequence of streams, BackupWrite takes one. What
go-winio's ``backuptar`` makes of their order decides what is in a layer, so both directions follow it to the letter.
:func:`backup_items` exports one file; :func:`import_operations` yields what hcsshim asks of its layer writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from struct import Struct
from typing import TypeAlias

from wclayer.errors import FormatError, WclayerError
from wclayer.formats.tar.lexical import clean, join
from wclayer.formats.tar.members import Member, Members
from wclayer.formats.tar.pax import parse_time
from wclayer.formats.tar.reader import (
    CREATION_TIME,
    FILEATTR,
    MOUNTPOINT,
    RAWSD,
    XATTR,
    extended_attributes,
    parse_attributes,
    security_descriptor,
    wrapped_time,
)
from wclayer.model import AlternateStream, Buffer, Entry, HardLink, Metadata, Stream
from wclayer.ntfs import backup
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas, encode_eas
from wclayer.ntfs.names import cut_at_nul, decode_strict_utf8, decode_wtf8
from wclayer.ntfs.reparse import build_link

__all__ = ["AddOperation", "BackupSource", "LinkOperation", "RemoveOperation", "backup_items", "import_operations"]

_SPARSE = backup.STREAM_SPARSE_ATTRIBUTE
_MAX_METADATA = 1 << 20
_USUAL = 1 << 12
_ZEROS = bytes(1 << 16)
_LINK_HEAD = Struct("<IHHHHHH")
_SHORT_TARGET = 1024
_FILE, _LINK, _SYMLINK, _FOLDER = b"0125"

_SKIPPED_BEFORE_DATA = (
    backup.BACKUP_ALTERNATE_DATA,
    backup.BACKUP_LINK,
    backup.BACKUP_PROPERTY_DATA,
    backup.BACKUP_OBJECT_ID,
    backup.BACKUP_TXFS_DATA,
)
_SKIPPED_AFTER_DATA = (
    backup.BACKUP_EA_DATA,
    backup.BACKUP_LINK,
    backup.BACKUP_PROPERTY_DATA,
    backup.BACKUP_OBJECT_ID,
    backup.BACKUP_TXFS_DATA,
)


# ---------------------------------------------------------------------- export


@dataclass(slots=True)
class BackupSource:
    """A file to export.

    ``metadata`` holds attributes and times; the rest comes from the stream. ``size`` is what the source reports, in
    bytes. ``open`` gives a ``read`` function over the file's backup stream from its start; it is called once, or twice
    for a source that is ``seekable``: that one is scanned to its end before its data is read.
    """

    path: str
    metadata: Metadata
    size: int
    open: Callable[[], Callable[[int], bytes]]
    seekable: bool = False
    file_id: bytes | None = None


def backup_items(
    source: BackupSource, names_by_id: dict[bytes, str] | None = None
) -> Iterator[Entry | AlternateStream | HardLink]:
    """The entry of a file and its alternate streams, each to be read before the next is asked for.

    ``names_by_id`` remembers the first name of every ``file_id`` of a layer; a file that is in it becomes a hard link,
    and nothing of its stream is looked at. Raises FormatError: ``stream-unknown``, ``size-mismatch``, ``sparse-ads``,
    ``sparse-order``, ``unexpected-eof``, ``ea-buffer``.
    """
    if names_by_id is not None and source.file_id is not None:
        first = names_by_id.get(source.file_id)
        if first is not None:
            yield HardLink(source.path, first, source.metadata)
            return
        names_by_id[source.file_id] = source.path
    try:
        yield from _Export(source).items()
    except WclayerError as error:
        raise error.locate(path=source.path) from None


class _Export:
    def __init__(self, source: BackupSource) -> None:
        self.source = source
        self.reader = backup.BackupStreamReader(source.open())
        self.metadata = replace(source.metadata)
        self.data: backup.StreamHeader | None = None
        self.furthest = 0

    def items(self) -> Iterator[Entry | AlternateStream]:
        source = self.source
        self.scan()
        size = source.size or self.furthest
        is_directory = bool(self.metadata.attributes & FILE_ATTRIBUTE_DIRECTORY)
        stream = self.main_stream(size)
        yield Entry(
            source.path,
            self.metadata,
            is_directory=is_directory,
            data=stream,
            file_id=source.file_id,
            reported_size=0 if is_directory else size,
        )
        if stream is not None:
            yield from self.alternate_streams(blocks_tolerated=self.is_sparse() and not size)

    def scan(self) -> None:
        """Collect the metadata: up to the data, or of the whole stream and then back to the data."""
        reader = self.reader
        eas: list[ExtendedAttribute] = []
        while (header := reader.next()) is not None:
            if header.id == backup.BACKUP_DATA:
                self.data = header
                if not self.source.seekable:
                    break
            elif header.id == backup.BACKUP_EA_DATA:
                eas += decode_eas(self.content(header))
            elif header.id == backup.BACKUP_SECURITY_DATA:
                self.metadata.security_descriptor = self.content(header)
            elif header.id == backup.BACKUP_REPARSE_DATA:
                self.metadata.reparse = self.content(header)
            elif header.id == backup.BACKUP_SPARSE_BLOCK and self.is_sparse():
                self.furthest = max(self.furthest, header.offset + header.size)
            elif header.id not in _SKIPPED_BEFORE_DATA:
                raise FormatError(f"unknown stream ID {header.id}", kind="stream-unknown")
        self.metadata.extended_attributes = tuple(eas)
        if self.source.seekable and self.data is not None:
            self.rewind()

    def rewind(self) -> None:
        self.reader = backup.BackupStreamReader(self.source.open())
        while (header := self.reader.next()) is not None:
            if header.id == backup.BACKUP_DATA:
                self.data = header
                return
        raise FormatError("the data stream is gone on the second reading", kind="unexpected-eof")

    def content(self, header: backup.StreamHeader) -> bytes:
        if header.size > _MAX_METADATA:
            raise FormatError(f"{header.size} bytes of metadata, {_MAX_METADATA} at most")
        return b"".join(bytes(piece) for piece in self.reader.pieces())

    def main_stream(self, size: int) -> Stream | None:
        header = self.data
        if header is None:
            return None
        if not self.is_sparse():
            if header.size != size:
                raise FormatError(
                    f"mismatch between file size {header.size} and header size {size}", kind="size-mismatch"
                )
            return Stream(size, lambda _stored: self.reader.pieces())
        if size:
            return Stream(size, lambda _stored: self.sparse_blocks())
        return Stream(0, lambda _stored: iter(()))

    def is_sparse(self) -> bool:
        """Whether the data is in sparse blocks. One that is marked sparse and has all its data in one piece is not."""
        return self.data is not None and not self.data.size and bool(self.data.attributes & _SPARSE)

    def sparse_blocks(self) -> Iterator[bytes]:
        """The content of a sparse file, holes filled, up to its closing block."""
        position = 0
        while True:
            header = self.reader.next()
            if header is None:
                raise FormatError("the closing block of a sparse file is missing", kind="unexpected-eof")
            if header.id != backup.BACKUP_SPARSE_BLOCK:
                raise FormatError(f"unexpected stream {header.id} among sparse blocks", kind="stream-unknown")
            if header.offset < position:
                raise FormatError("cannot seek back from one sparse block to the next", kind="sparse-order")
            while position < header.offset:
                hole = _ZEROS[: header.offset - position]
                yield hole
                position += len(hole)
            if not header.size:
                return
            for piece in self.reader.pieces():
                yield bytes(piece)
            position += header.size

    def alternate_streams(self, *, blocks_tolerated: bool) -> Iterator[AlternateStream]:
        while (header := self.reader.next()) is not None:
            if header.id == backup.BACKUP_ALTERNATE_DATA:
                if header.attributes & _SPARSE:
                    raise FormatError("sparse alternate data streams are unsupported", kind="sparse-ads")
                stream = Stream(header.size, lambda _stored: self.reader.pieces())
                yield AlternateStream(self.source.path, cut_at_nul(header.name), stream)
            elif header.id not in _SKIPPED_AFTER_DATA and not (
                blocks_tolerated and header.id == backup.BACKUP_SPARSE_BLOCK
            ):
                raise FormatError(f"unknown stream ID {header.id} after data", kind="stream-unknown")


# ---------------------------------------------------------------------- import

_SAVED_NAMES = {
    b"UtilityVM/Files/EFI/Microsoft/Boot/BCD": "bcd.bak",
    b"UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG": "bcd.log.bak",
    b"UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG1": "bcd.log1.bak",
    b"UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG2": "bcd.log2.bak",
}


@dataclass(slots=True)
class RemoveOperation:
    """Delete ``name``, a path with backslashes, in WTF-8 or whatever bytes the archive has."""

    name: bytes


@dataclass(slots=True)
class LinkOperation:
    """Make ``name`` another name of ``target``; both with backslashes, neither cleaned."""

    name: bytes
    target: bytes


@dataclass(slots=True)
class AddOperation:
    """Create ``name`` with these attributes and FILETIMEs, and hand it the backup stream that :meth:`copy_to` writes.

    ``copy_as`` names a file of the layer folder that gets the same stream, for the boot files that Windows changes.
    """

    name: bytes
    attributes: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    size: int
    copy_as: str | None
    _copy: Callable[[Callable[[Buffer], object]], None] = field(repr=False)

    def copy_to(self, write: Callable[[Buffer], object]) -> None:
        """Write the whole backup stream; call it once, before the next operation is asked for."""
        self._copy(write)


Operation: TypeAlias = AddOperation | LinkOperation | RemoveOperation


def import_operations(members: Members) -> Iterator[Operation]:
    """What hcsshim does with each member, in order. A stream that is not taken is passed over, but still checked."""
    member = members.next()
    while member is not None:
        base = member.name.rstrip(b"/").rpartition(b"/")[2]
        try:
            if base.startswith(b".wh."):
                folder = clean(member.name[: member.name.rfind(b"/") + 1])
                yield RemoveOperation(_backslashes(join(folder, base[4:])))
                member = members.next()
            elif member.type == _LINK:
                yield LinkOperation(_backslashes(member.name), _backslashes(member.linkname))
                member = members.next()
            else:
                pending = _Import(members, member)
                yield pending.operation()
                member = pending.finish()
        except WclayerError as error:
            raise error.locate(path=decode_wtf8(member.name) if member else None) from None


def _backslashes(name: bytes) -> bytes:
    return name.replace(b"/", b"\\")


def _link(target: str, *, mount_point: bool) -> bytes:
    """The reparse buffer of a link. For a target whose lengths do not fit 16 bits go-winio lets them wrap."""
    try:
        return build_link(target, mount_point=mount_point)
    except FormatError:
        short = build_link(target[:_SHORT_TARGET], mount_point=mount_point)
    tag, _, reserved, offset, substitute, _, _ = _LINK_HEAD.unpack_from(short)
    names = 16 if mount_point else 20
    text, prefix = short[names : names + substitute], target[:_SHORT_TARGET].encode("utf-16-le", "surrogatepass")
    rest = target[_SHORT_TARGET:].encode("utf-16-le", "surrogatepass")
    nt_name = text + rest + b"\0\0"
    print_name = prefix + rest + b"\0\0"
    length = names - 8 + len(nt_name) + len(print_name)
    head = _LINK_HEAD.pack(
        tag,
        length & 0xFFFF,
        reserved,
        offset,
        len(nt_name) - 2 & 0xFFFF,
        len(nt_name) & 0xFFFF,
        len(print_name) - 2 & 0xFFFF,
    )
    return head + short[_LINK_HEAD.size : names] + nt_name + print_name


@lru_cache(maxsize=1024)
def _usual_descriptor(raw: bytes) -> bytes | None:
    """The descriptor of a ``MSWINDOWS.rawsd``: a layer has few different ones."""
    return security_descriptor({RAWSD: raw})


@lru_cache(maxsize=256)
def _usual_attributes(records: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The buffer of the extended attributes in these records: the files of a package have the same ones."""
    return encode_eas(extended_attributes(dict(records)), keep_flags=False)


class _Import:
    """One file on its way: its own member, and the stream members behind it."""

    def __init__(self, members: Members, member: Member) -> None:
        self.members = members
        self.member = member
        self.following: Member | None = None
        self.done = False

    def operation(self) -> AddOperation:
        member = self.member
        pax = member.pax
        text = pax.get(FILEATTR)
        default = FILE_ATTRIBUTE_DIRECTORY if member.type == _FOLDER else 0
        attributes = default if text is None else parse_attributes(text)
        created = pax.get(CREATION_TIME)
        return AddOperation(
            _backslashes(member.name),
            attributes,
            wrapped_time(member.mtime if created is None else parse_time(created)),
            wrapped_time(member.atime),
            wrapped_time(member.mtime),
            wrapped_time(member.ctime),
            member.size if member.type == _FILE else 0,
            _SAVED_NAMES.get(member.name),
            self.copy,
        )

    def finish(self) -> Member | None:
        """Make sure that the stream was written, and return the member after it."""
        if not self.done:
            self.copy(lambda _data: None)
        return self.following

    def copy(self, write: Callable[[Buffer], object]) -> None:
        self.done = True
        member, pax = self.member, self.member.pax
        out = backup.BackupStreamWriter(write)
        raw = pax.get(RAWSD)
        descriptor = _usual_descriptor(raw) if raw and len(raw) <= _USUAL else security_descriptor(pax)
        if descriptor:
            out.stream(backup.BACKUP_SECURITY_DATA, descriptor)
        records = tuple([(key, pax[key]) for key in pax if key.startswith(XATTR)])
        if records:
            few = sum([len(value) for _key, value in records]) <= _USUAL
            attributes = (_usual_attributes if few else _usual_attributes.__wrapped__)(records)
            if attributes:
                out.stream(backup.BACKUP_EA_DATA, attributes)
        if member.type == _SYMLINK:
            target = decode_strict_utf8(member.linkname).replace("/", "\\")
            reparse = _link(target, mount_point=MOUNTPOINT in pax)
            out.stream(backup.BACKUP_REPARSE_DATA, reparse)
        if member.type == _FILE:
            out.header(backup.BACKUP_DATA, member.size)
            self.body(member, out)
        prefix = member.name + b":"
        self.following = self.members.next()
        while (stream := self.following) is not None and stream.type == _FILE and stream.name.startswith(prefix):
            name = decode_strict_utf8(stream.name[len(member.name) :]) + ":$DATA"
            out.header(backup.BACKUP_ALTERNATE_DATA, stream.size, name=name)
            self.body(stream, out)
            self.following = self.members.next()

    def body(self, member: Member, out: backup.BackupStreamWriter) -> None:
        for piece in Stream(member.size, self.members.body, member.ranges).pieces():
            out.write(piece)
