"""From tar members to layer items: the rules of Windows layer tars, read.

A Windows layer tar is a PAX archive whose vendor records carry what NTFS knows (go-winio ``backuptar``, hcsshim
``ociwclayer``). Two policies:

* ``faithful`` says what the archive says: a time without a record is absent, times beyond Go's 64-bit nanoseconds stay
  what they are, streams of folders and streams that stand apart from their file are kept. What is odd is a notice.
* ``reference`` gives the values that hcsshim would hand to Windows, its wrapped and invented times included.

Every name passes the gate of :mod:`wclayer.ntfs.names` before anything else sees it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from wclayer.errors import FormatError, UnsafeEntryError, WclayerError
from wclayer.formats.tar.legacy import legacy_records
from wclayer.formats.tar.members import HeaderRecorder, Member, Members, merge_records
from wclayer.formats.tar.pax import parse_time
from wclayer.formats.tar.slabs import SlabStream
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs import filetime
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import checked_path, decode_wtf8, is_wtf8, path_notice, split_stream
from wclayer.ntfs.reparse import build_link

__all__ = [
    "Policy",
    "TarLayerReader",
    "decode_base64",
    "exact_time",
    "extended_attributes",
    "parse_attributes",
    "security_descriptor",
    "wrapped_time",
]

Policy: TypeAlias = Literal["faithful", "reference"]

FILE_ATTRIBUTE_DIRECTORY = 0x10

FILEATTR = b"MSWINDOWS.fileattr"
RAWSD = b"MSWINDOWS.rawsd"
SDDL = b"MSWINDOWS.sd"
MOUNTPOINT = b"MSWINDOWS.mountpoint"
CREATION_TIME = b"LIBARCHIVE.creationtime"
XATTR = b"MSWINDOWS.xattr."
EA_FLAGS = b"WCLAYER.eaflags."

_FILE, _LINK, _SYMLINK, _CHARACTER, _BLOCK, _FOLDER, _FIFO, _GLOBAL = b"0123456g"
_KNOWN_RECORDS = (FILEATTR, RAWSD, CREATION_TIME, b"mtime", b"atime", b"ctime", b"path", b"linkpath", MOUNTPOINT, b"size")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
_DECIMAL = re.compile(rb"[0-9]{1,40}").fullmatch
_MODE_TYPE, _MODE_FOLDER_WITH_STREAM = 0o170000, 0o140000
_MAX_DESCRIPTORS = 1 << 14


class TarLayerReader:
    """Reads a layer tar as layer items.

    ``slabs`` yields the uncompressed archive in pieces. ``recorder`` receives what is needed to write it again byte for
    byte. Errors name the entry; ``size`` is the sum of the sizes of the files read so far, as hcsshim counts it.
    """

    def __init__(
        self,
        slabs: Iterable[bytes | bytearray | memoryview],
        *,
        policy: Policy = "faithful",
        notices: Notices | None = None,
        recorder: HeaderRecorder | None = None,
    ) -> None:
        self.members = Members(SlabStream(slabs), recorder)
        self.notices = notices if notices is not None else Notices()
        self.faithful = policy == "faithful"
        self.size = 0
        self._descriptors: dict[bytes, bytes | None] = {}
        self._owner = ""

    def __iter__(self) -> Iterator[LayerItem]:
        members = self.members
        while True:
            member = members.next()
            if member is None:
                return
            try:
                item = self._item(member)
            except WclayerError as error:
                raise error.locate(path=decode_wtf8(member.name)) from None
            if item is not None:
                yield item

    def _item(self, member: Member) -> LayerItem | None:
        text = self._text(member.name, member)
        base = text.rstrip("/").rpartition("/")[2]
        if base.startswith(".wh.") or "\\" in base:
            text = text.replace("\\", "/").rstrip("/")
            folder, _, base = text.rpartition("/")
            if base.startswith(".wh."):
                return self._tombstone(member, folder, base[4:])
        kind = member.type
        if kind == _GLOBAL:
            self.notices.add("global-header", text, "a global extended header applies to nothing in a layer; kept as is")
            return None
        stream_name = None
        if ":" in text:
            if kind != _FILE:
                checked_path(text)
            text, stream_name = split_stream(text)
        path = checked_path(text)
        if stream_name is not None:
            return self._alternate_stream(member, path, stream_name)
        if not path:
            return self._root(member)
        self._owner = path
        if reason := path_notice(path):
            self.notices.add("name-not-win32", path, reason)
        if kind == _LINK:
            return self._hard_link(member, path)
        return self._entry(member, path)

    def _text(self, name: bytes, member: Member) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError:
            text = decode_wtf8(name)
            if not is_wtf8(name):
                self.notices.add("name-not-unicode", text, f"entry {member.ordinal} has a name that is not UTF-8")
            return text

    # ------------------------------------------------------------------ the four kinds of item

    def _tombstone(self, member: Member, folder: str, name: str) -> Tombstone | None:
        if member.stored:
            self.members.keep_body_as_header(member)
        if not name:
            self.notices.add("whiteout-without-name", folder, "a whiteout that names nothing deletes nothing; kept as is")
            return None
        if name in (".", ".."):
            raise UnsafeEntryError(f"a whiteout of {name!r} would delete a folder above it")
        if name == ".wh..opq":
            self.notices.add("opaque-whiteout", folder, "opaque whiteouts mean nothing to Windows; kept as a deletion")
        path = checked_path(f"{folder}/{name}" if folder else name)
        if not path.startswith(("Files/", "UtilityVM/Files/")):
            self.notices.add("tombstone-outside", path, "Windows deletes only below Files and UtilityVM/Files")
        return Tombstone(path, member.ordinal)

    def _root(self, member: Member) -> None:
        """``./``, which archivers put first: the layer's own folder, which is nothing in Windows."""
        if member.type != _FOLDER:
            raise UnsafeEntryError("an entry in place of the layer itself")
        self.notices.add("root-entry", "./", "an entry for the layer's own folder, which Windows does not have; kept as is")

    def _alternate_stream(self, member: Member, path: str, name: str) -> AlternateStream:
        if path != self._owner:
            self.notices.add("stream-apart", f"{path}{name}", "an alternate stream that does not follow its file")
        return AlternateStream(path, f"{name}:$DATA", self._stream(member), member.ordinal)

    def _hard_link(self, member: Member, path: str) -> HardLink:
        target = checked_path(self._text(member.linkname, member))
        return HardLink(path, target, self._basic(member), member.ordinal)

    def _entry(self, member: Member, path: str) -> Entry:
        kind = member.type
        metadata = self._basic(member)
        pax = member.pax
        is_directory = kind == _FOLDER
        data: Stream | None = None
        if pax:
            self._security_and_attributes(member, metadata)
        if kind == _SYMLINK:
            target = self._text(member.linkname, member).replace("/", "\\")
            metadata.reparse = build_link(target, mount_point=MOUNTPOINT in pax)
            is_directory = bool(metadata.attributes & FILE_ATTRIBUTE_DIRECTORY) or MOUNTPOINT in pax
        elif is_directory:
            if member.header.mode & _MODE_TYPE == _MODE_FOLDER_WITH_STREAM:
                data = Stream(0, self.members.body)
        elif kind in (_CHARACTER, _BLOCK, _FIFO):
            raise FormatError("a device or pipe, which no Windows layer can hold", kind="device")
        else:
            self.size += member.size
            if member.size or member.header.mode or FILEATTR not in pax or not self.faithful:
                data = self._stream(member)
        if is_directory != bool(metadata.attributes & FILE_ATTRIBUTE_DIRECTORY) and FILEATTR in pax:
            self.notices.add("attributes-and-type", path, "its attributes and its type disagree about being a folder")
        return Entry(path, metadata, is_directory=is_directory, data=data, ordinal=member.ordinal)

    def _stream(self, member: Member) -> Stream:
        return Stream(member.size, self.members.body, member.ranges)

    # ------------------------------------------------------------------ metadata

    def _basic(self, member: Member) -> Metadata:
        """Attributes and times, which links have too."""
        pax = member.pax
        if pax and CREATION_TIME not in pax and self.faithful:
            pax = legacy_records(pax)
            if pax is not member.pax:
                member.pax = pax
                merge_records(member, pax)
        text = pax.get(FILEATTR)
        if text is None:
            attributes = FILE_ATTRIBUTE_DIRECTORY if member.type == _FOLDER else 0
        else:
            attributes = parse_attributes(text)
        created = pax.get(CREATION_TIME)
        creation = parse_time(created) if created is not None else None
        if self.faithful:
            return Metadata(
                attributes,
                exact_time(creation),
                exact_time(member.atime),
                exact_time(member.mtime),
                exact_time(member.ctime),
            )
        return Metadata(
            attributes,
            wrapped_time(creation if creation is not None else member.mtime),
            wrapped_time(member.atime),
            wrapped_time(member.mtime),
            wrapped_time(member.ctime),
        )

    def _security_and_attributes(self, member: Member, metadata: Metadata) -> None:
        pax = member.pax
        known = 0
        for key in _KNOWN_RECORDS:
            if key in pax:
                known += 1
        raw = pax.get(RAWSD)
        if raw is not None:
            metadata.security_descriptor = self._descriptor(raw)
        elif SDDL in pax:
            metadata.security_descriptor = security_descriptor(pax)
        if len(pax) != known:
            metadata.extended_attributes = extended_attributes(pax)

    def _descriptor(self, raw: bytes) -> bytes | None:
        """The decoded descriptor; layers repeat a few dozen of them thousands of times."""
        known = self._descriptors
        try:
            return known[raw]
        except KeyError:
            pass
        if len(known) >= _MAX_DESCRIPTORS:
            known.clear()
        descriptor = known[raw] = decode_base64(raw, "security descriptor")
        return descriptor


def exact_time(nanoseconds: int | None) -> int | None:
    """Nanoseconds since 1970 as a FILETIME, cut toward 1970 to whole ticks; absent stays absent."""
    if nanoseconds is None:
        return None
    ticks = nanoseconds // 100 if nanoseconds >= 0 else -(-nanoseconds // 100)
    return ticks + filetime.UNIX_EPOCH_TICKS


def wrapped_time(nanoseconds: int | None) -> int:
    """The FILETIME that 64-bit nanoseconds lead to; an absent time becomes a day in 1754."""
    if nanoseconds is None:
        return filetime.ABSENT_IN_REFERENCE
    return filetime.wrapped_from_unix(*divmod(nanoseconds, 1_000_000_000))


def parse_attributes(text: bytes) -> int:
    """``MSWINDOWS.fileattr``: a plain decimal below 2**32. Raises FormatError (``attributes-number``)."""
    if not _DECIMAL(text) or int(text) > 0xFFFFFFFF:
        raise FormatError(f"file attributes {text[:40]!r} are not a 32-bit decimal", kind="attributes-number")
    return int(text)


def decode_base64(text: bytes, what: str) -> bytes:
    """Standard padded base64 as Go decodes it: line ends anywhere, nothing else. FormatError (``base64``)."""
    text = text.replace(b"\r", b"").replace(b"\n", b"")
    if not _BASE64(text):
        raise FormatError(f"the {what} is not base64", kind="base64")
    return binascii.a2b_base64(text)


def extended_attributes(pax: dict[bytes, bytes]) -> tuple[ExtendedAttribute, ...]:
    """The attributes of the ``MSWINDOWS.xattr.`` records, in byte order of their names."""
    found = []
    for key in sorted(key for key in pax if key.startswith(XATTR)):
        name = key[len(XATTR) :]
        flags = pax.get(EA_FLAGS + name, b"0")
        found.append(
            ExtendedAttribute(
                name,
                decode_base64(pax[key], "extended attribute"),
                int(flags) if flags.isdigit() and len(flags) < 4 and int(flags) < 256 else 0,
            )
        )
    return tuple(found)


def security_descriptor(pax: dict[bytes, bytes]) -> bytes | None:
    """The binary descriptor of ``MSWINDOWS.rawsd``, else of the SDDL in ``MSWINDOWS.sd`` (previews of 2016)."""
    raw = pax.get(RAWSD)
    if raw is not None:
        return decode_base64(raw, "security descriptor")
    text = pax.get(SDDL)
    if text is None:
        return None
    from wclayer.ntfs import security, sddl  # noqa: PLC0415 - rare, and not small

    descriptor = sddl.from_sddl(text.decode("utf-8", "replace"))
    return security.build(descriptor, order="acl-first")  # the order in which Windows builds it
