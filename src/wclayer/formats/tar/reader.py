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
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeAlias

from wclayer.errors import FormatError, UnsafeEntryError, WclayerError
from wclayer.formats.tar.legacy import legacy_records
from wclayer.formats.tar.members import HeaderRecorder, Member, Members, merge_records
from wclayer.formats.tar.pax import parse_time
from wclayer.formats.tar.slabs import SlabStream
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs import filetime
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import checked_path, decode_strict_utf8, decode_wtf8, is_wtf8, path_notice, split_stream, vouch
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

FILEATTR = b"MSWINDOWS.fileattr"
RAWSD = b"MSWINDOWS.rawsd"
SDDL = b"MSWINDOWS.sd"
MOUNTPOINT = b"MSWINDOWS.mountpoint"
CREATION_TIME = b"LIBARCHIVE.creationtime"
XATTR = b"MSWINDOWS.xattr."
EA_FLAGS = b"WCLAYER.eaflags."

_FILE, _LINK, _SYMLINK, _CHARACTER, _BLOCK, _FOLDER, _FIFO, _GLOBAL = b"0123456g"
_KNOWN_RECORDS = frozenset(
    (FILEATTR, RAWSD, CREATION_TIME, b"mtime", b"atime", b"ctime", b"path", b"linkpath", MOUNTPOINT, b"size")
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*+={0,2}").fullmatch
_MODE_TYPE, _MODE_FOLDER_WITH_STREAM = 0o170000, 0o140000
_EPOCH = filetime.UNIX_EPOCH_TICKS
_MAX_DESCRIPTORS, _MAX_DESCRIPTOR = 1 << 12, 1 << 12
_MAX_EA_NAME, _MAX_EA_VALUE = 0xFF, 0xFFFF
_SHORT_PATH = 16000
_MOST_FOLDERS, _SHORT_FOLDER = 1 << 12, 1 << 9  # a few megabytes at most

# A component that passes the gate as it is and deserves no notice, as nearly all do.
_IS_ORDINARY = re.compile(
    r"""(?!(?:[Cc][Oo][NnMm]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Ll][Pp][Tt]|\.wh\.))"""
    r"""[^<>:"|?*/\\\0-\x1f]{1,127}+(?<![ .])"""
).fullmatch


class TarLayerReader:
    """Reads a layer tar as layer items.

    ``slabs`` yields the uncompressed archive in pieces. ``recorder`` receives what is needed to write it again byte for
    byte. Errors name the entry; ``size`` is the sum of the sizes of the files read so far, as hcsshim counts it.
    ``place`` tells where the piece that came last lies in memory shared with another process, if it does.
    """

    def __init__(
        self,
        slabs: Iterable[bytes | bytearray | memoryview],
        *,
        policy: Policy = "faithful",
        notices: Notices | None = None,
        recorder: HeaderRecorder | None = None,
        place: Callable[[], int] | None = None,
    ) -> None:
        self.members = Members(SlabStream(slabs, place), recorder)
        self._shared = self.members if place is not None else None
        self.notices = notices if notices is not None else Notices()
        self.faithful = policy == "faithful"
        self.size = 0
        self._descriptors: dict[bytes, bytes] = {}
        self._folders: set[str] = set()  # that passed the gate; never "", for "/a" is in that folder too
        self._owner = ""

    def __iter__(self) -> Iterator[LayerItem]:
        following = self.members.next
        while (member := following()) is not None:
            try:
                item = self._item(member)
            except WclayerError as error:
                raise error.locate(path=decode_wtf8(member.name)) from None
            if item is not None:
                yield item
        if not self.members.end_marked:
            self.notices.add("no-end-mark", "", "the archive ends without an end mark: it may be cut short")
        if self.members.dangling:
            self.notices.add("header-without-entry", "", "the archive ends behind an extended header of no entry")

    def _item(self, member: Member) -> LayerItem | None:
        try:
            text = member.name.decode()
        except UnicodeDecodeError:
            text = self._text(member.name, member)
        kind = member.type
        if text[-1:] == "/":
            text = text.rstrip("/")
        folder, _, base = text.rpartition("/")
        if folder in self._folders and kind != _GLOBAL and _IS_ORDINARY(base) and len(text) < _SHORT_PATH:
            # A folder that passed the gate needs no second look: entries come folder by folder.
            path = text
            if kind == _FOLDER:
                self._remember(path)
        else:
            if base.startswith(".wh."):
                return self._tombstone(member, folder, text[: -len(base)], base[4:])
            if kind == _GLOBAL:
                self.notices.add("global-header", text, "a global extended header applies to nothing; kept as is")
                return None
            if ":" in text:
                if kind != _FILE:
                    checked_path(text)
                owner, name = split_stream(text)
                return self._alternate_stream(member, checked_path(owner), name or "")
            path = checked_path(text)
            if not path:
                self._root(member)
                return None
            self._look_at_name(path, kind)
        vouch(path)
        if kind == _LINK:
            return self._hard_link(member, path)
        self._owner = path
        return self._entry(member, path)

    def _look_at_name(self, path: str, kind: int) -> None:
        folder, _, base = path.rpartition("/")
        reason = path_notice(path)
        if reason:
            self.notices.add("name-not-win32", path, reason)
        if base.startswith(".wh."):
            self.notices.add("name-like-whiteout", path, "a file whose name says whiteout; no tar spells it otherwise")
        if reason is None and kind == _FOLDER:
            self._remember(path)
        if folder and (reason is None or path_notice(folder) is None):
            self._remember(folder)

    def _remember(self, folder: str) -> None:
        """Note that nothing is wrong or odd with the name of ``folder``."""
        if len(folder) < _SHORT_FOLDER:
            if len(self._folders) >= _MOST_FOLDERS:
                self._folders.clear()
            self._folders.add(folder)

    def _text(self, name: bytes, member: Member) -> str:
        text = decode_wtf8(name)
        if "\ufffd" in text and not is_wtf8(name):
            self.notices.add("name-not-unicode", text, f"entry {member.ordinal} has a name that is not UTF-8")
        return text

    # ------------------------------------------------------------------ the four kinds of item

    def _root(self, member: Member) -> None:
        """``./``, which archivers put first: the layer's own folder, which is nothing to Windows."""
        if member.type != _FOLDER:
            raise UnsafeEntryError("an entry in place of the layer's root")
        self.notices.add("root-entry", "./", "an entry for the layer's own folder means nothing to Windows")

    def _tombstone(self, member: Member, folder: str, before: str, name: str) -> Tombstone | None:
        if member.stored:
            self.members.keep_body_as_header(member)
        if not name:
            self.notices.add("whiteout-without-name", folder, "a whiteout that names nothing deletes nothing")
            return None
        if name in (".", ".."):
            raise UnsafeEntryError(f"a whiteout of {name!r} would delete the folder it is in, or one above it")
        if name == ".wh..opq":
            self.notices.add("opaque-whiteout", folder, "opaque whiteouts mean nothing to Windows; kept as a deletion")
        path = checked_path(before + name)
        if not path.startswith(("Files/", "UtilityVM/Files/")):
            self.notices.add("tombstone-outside", path, "Windows deletes only below Files and UtilityVM/Files")
        self._owner = ""
        return Tombstone(path, member.ordinal)

    def _alternate_stream(self, member: Member, path: str, name: str) -> AlternateStream:
        if path != self._owner:
            self.notices.add("stream-apart", f"{path}{name}", "an alternate stream that does not follow its file")
        if name.find(":", 1) < 0 or not self.faithful:
            name += ":$DATA"
        else:
            self.notices.add("stream-type", f"{path}{name}", "a stream name with a type, to which hcsshim adds another")
        return AlternateStream(path, name, self._stream(member), member.ordinal)

    def _hard_link(self, member: Member, path: str) -> HardLink:
        target = self._text(member.linkname, member)
        try:
            target = checked_path(target)
        except UnsafeEntryError as error:
            raise UnsafeEntryError(f"a hard link to {target}: {error.message}", path=path) from error
        if not path or not target:
            raise UnsafeEntryError("a hard link of the root of the layer, or to it")
        self._owner = ""
        return HardLink(path, target, self._basic(member), member.ordinal)

    def _entry(self, member: Member, path: str) -> Entry:
        kind = member.type
        metadata = self._basic(member)
        pax = member.pax
        is_directory = kind == _FOLDER
        data: Stream | None = None
        if pax:
            raw = pax.get(RAWSD)
            if raw is not None:
                metadata.security_descriptor = self._descriptors.get(raw) or self._descriptor(raw)
            elif SDDL in pax:
                metadata.security_descriptor = security_descriptor(pax)
            if not pax.keys() <= _KNOWN_RECORDS:
                metadata.extended_attributes = extended_attributes(pax, keep_flags=self.faithful)
        if kind == _FILE:
            self.size += member.size
            if member.size or member.header.mode or not self.faithful or FILEATTR not in pax:
                data = Stream(member.size, self.members.body, member.ranges, None, self._shared)
        elif is_directory:
            if member.header.mode & _MODE_TYPE == _MODE_FOLDER_WITH_STREAM and self.faithful:
                data = Stream(0, self.members.body)
        elif kind == _SYMLINK:
            target = self._text(member.linkname, member) if self.faithful else decode_strict_utf8(member.linkname)
            metadata.reparse = build_link(target, mount_point=MOUNTPOINT in pax)
            is_directory = bool(metadata.attributes & FILE_ATTRIBUTE_DIRECTORY) or MOUNTPOINT in pax
        elif kind in (_CHARACTER, _BLOCK, _FIFO):
            raise FormatError("a device or pipe, which no Windows layer can hold", kind="device")
        else:
            self.notices.add("entry-type", path, f"hcsshim imports entries of type {chr(kind)!a} without their data")
            if self.faithful:
                data = self._stream(member)
        if is_directory != bool(metadata.attributes & FILE_ATTRIBUTE_DIRECTORY) and FILEATTR in pax:
            self.notices.add("attributes-and-type", path, "its attributes and its type disagree about being a folder")
        if not path and kind != _FOLDER:
            raise UnsafeEntryError("the root of the layer can only be a folder")
        return Entry(path, metadata, is_directory=is_directory, data=data, ordinal=member.ordinal)

    def _stream(self, member: Member) -> Stream:
        return Stream(member.size, self.members.body, member.ranges, None, self._shared)

    # ------------------------------------------------------------------ metadata

    def _basic(self, member: Member) -> Metadata:
        """Attributes and times, which links have too."""
        pax = member.pax
        created = text = None
        if pax:
            created = pax.get(CREATION_TIME)
            if created is None and self.faithful:
                pax = self._with_legacy_records(member)
                created = pax.get(CREATION_TIME)
            text = pax.get(FILEATTR)
        if text is not None:
            attributes = parse_attributes(text)
        else:
            attributes = FILE_ATTRIBUTE_DIRECTORY if member.type == _FOLDER else 0
        creation = parse_time(created) if created is not None else None
        if self.faithful:
            access, write, change = member.atime, member.mtime, member.ctime
            return Metadata(
                attributes,
                creation // 100 + _EPOCH if creation and creation > 0 else exact_time(creation),
                access // 100 + _EPOCH if access and access > 0 else exact_time(access),
                write // 100 + _EPOCH if write and write > 0 else exact_time(write),
                change // 100 + _EPOCH if change and change > 0 else exact_time(change),
            )
        return Metadata(
            attributes,
            wrapped_time(creation if created is not None else member.mtime),
            wrapped_time(member.atime),
            wrapped_time(member.mtime),
            wrapped_time(member.ctime),
        )

    def _with_legacy_records(self, member: Member) -> dict[bytes, bytes]:
        pax = legacy_records(member.pax)
        if pax is not member.pax:
            member.pax = pax
            merge_records(member, {key: pax[key] for key in (b"mtime", b"atime", b"ctime") if key in pax})
        return pax

    def _descriptor(self, raw: bytes) -> bytes:
        """The decoded descriptor, remembered: layers repeat a few dozen of them thousands of times."""
        descriptor = decode_base64(raw, "security descriptor")
        if len(raw) <= _MAX_DESCRIPTOR:
            if len(self._descriptors) >= _MAX_DESCRIPTORS:
                self._descriptors.clear()
            self._descriptors[raw] = descriptor
        return descriptor


def exact_time(nanoseconds: int | None) -> int | None:
    """Nanoseconds since 1970 as a FILETIME, cut toward 1970 to whole ticks; absent stays absent."""
    if nanoseconds is None:
        return None
    return nanoseconds // 100 + _EPOCH if nanoseconds >= 0 else _EPOCH - -nanoseconds // 100


def wrapped_time(nanoseconds: int | None) -> int:
    """The FILETIME that 64-bit nanoseconds lead to; an absent time becomes a day in 1754."""
    if nanoseconds is None:
        return filetime.ABSENT_IN_REFERENCE
    return filetime.wrapped_from_unix(*divmod(nanoseconds, 1_000_000_000))


def parse_attributes(text: bytes) -> int:
    """``MSWINDOWS.fileattr``: a plain decimal below 2**32. Raises FormatError (``attributes-number``)."""
    if text.isdigit():
        digits = text if len(text) < 11 else text.lstrip(b"0") or b"0"
        if len(digits) < 11 and (attributes := int(digits)) <= 0xFFFFFFFF:
            return attributes
    raise FormatError(f"file attributes {text[:40]!r} are not a 32-bit decimal", kind="attributes-number")


def decode_base64(text: bytes, what: str) -> bytes:
    """Standard padded base64 as Go decodes it: line ends anywhere, nothing else. FormatError (``base64``)."""
    text = text.replace(b"\r", b"").replace(b"\n", b"")
    if len(text) % 4 or not _BASE64(text):
        raise FormatError(f"the {what} is not base64", kind="base64")
    return binascii.a2b_base64(text)


def extended_attributes(pax: dict[bytes, bytes], *, keep_flags: bool = True) -> tuple[ExtendedAttribute, ...]:
    """The attributes of the ``MSWINDOWS.xattr.`` records, in byte order of their names.

    Raises FormatError: ``base64``, ``ea-name-too-large``, ``ea-value-too-large``.
    """
    found = []
    for key in sorted(key for key in pax if key.startswith(XATTR)):
        name, value = key[len(XATTR) :], decode_base64(pax[key], "extended attribute")
        if len(name) > _MAX_EA_NAME:
            raise FormatError(f"an extended attribute with a name of {len(name)} bytes", kind="ea-name-too-large")
        if len(value) > _MAX_EA_VALUE:
            raise FormatError(f"an extended attribute with {len(value)} bytes of value", kind="ea-value-too-large")
        flags = pax.get(EA_FLAGS + name, b"") if keep_flags else b""
        number = int(flags) if flags.isdigit() and len(flags) < 4 else 0
        found.append(ExtendedAttribute(name, value, number if number < 256 else 0))
    return tuple(found)


def security_descriptor(pax: dict[bytes, bytes]) -> bytes | None:
    """The binary descriptor of ``MSWINDOWS.rawsd``, else of the SDDL in ``MSWINDOWS.sd`` (previews of 2016)."""
    raw = pax.get(RAWSD)
    if raw is not None:
        return decode_base64(raw, "security descriptor")
    text = pax.get(SDDL)
    if text is None:
        return None
    from wclayer.ntfs import sddl, security  # rare, and not small

    descriptor = sddl.from_sddl(text.decode("utf-8", "replace"))
    return security.build(descriptor, order="acl-first")  # the order in which Windows builds it
