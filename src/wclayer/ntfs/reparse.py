r"""Reparse points: the REPARSE_DATA_BUFFER, of which symbolic links and mount points can be taken apart and built.

A link holds two names. Windows follows the substitute name (``\??\C:\x``); tars carry the print name (``C:\x``), so
that is the target here, and a link is rebuilt from it as go-winio does. Every other kind is kept as opaque bytes.
Format: MS-FSCC 2.1.2.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple, TypeAlias

from wclayer.errors import FormatError
from wclayer.ntfs.names import from_utf16le, strict_text, to_utf16le

__all__ = [
    "IO_REPARSE_TAG_MOUNT_POINT",
    "IO_REPARSE_TAG_SYMLINK",
    "SYMLINK_FLAG_RELATIVE",
    "MountPoint",
    "OpaqueReparse",
    "Reparse",
    "SymbolicLink",
    "build",
    "build_link",
    "link_target",
    "parse_reparse",
    "reference_target",
    "tag_name",
    "tag_of",
]

IO_REPARSE_TAG_MOUNT_POINT = 0xA0000003
IO_REPARSE_TAG_SYMLINK = 0xA000000C
SYMLINK_FLAG_RELATIVE = 1

_HEAD = Struct("<IHH")  # tag, data length, reserved
_NAMES = Struct("<HHHH")  # substitute name offset and length, print name offset and length, in bytes
_FLAGS = Struct("<I")
_MICROSOFT = 0x80000000
_GUID_SIZE = 16
_MAX_DATA = 0xFFFF
_NT_PREFIX = "\\??\\"

_TAG_NAMES = {
    0xA0000003: "MOUNT_POINT",
    0xC0000004: "HSM",
    0x80000005: "DRIVE_EXTENDER",
    0x80000006: "HSM2",
    0x80000007: "SIS",
    0x80000008: "WIM",
    0x80000009: "CSV",
    0x8000000A: "DFS",
    0x8000000B: "FILTER_MANAGER",
    0xA000000C: "SYMLINK",
    0xA0000010: "IIS_CACHE",
    0x80000012: "DFSR",
    0x80000013: "DEDUP",
    0xC0000014: "APPXSTRM",
    0x80000014: "NFS",
    0x80000015: "FILE_PLACEHOLDER",
    0x80000016: "DFM",
    0x80000017: "WOF",
    0x80000018: "WCI",
    0x90001018: "WCI_1",
    0xA0000019: "GLOBAL_REPARSE",
    0x9000001A: "CLOUD",
    **{0x9000001A | digit << 12: f"CLOUD_{digit:X}" for digit in range(1, 16)},
    0x8000001B: "APPEXECLINK",
    0x9000001C: "PROJFS",
    0xA000001D: "LX_SYMLINK",
    0x8000001E: "STORAGE_SYNC",
    0xA000001F: "WCI_TOMBSTONE",
    0x80000020: "UNHANDLED",
    0x80000021: "ONEDRIVE",
    0xA0000022: "PROJFS_TOMBSTONE",
    0x80000023: "AF_UNIX",
    0x80000024: "LX_FIFO",
    0x80000025: "LX_CHR",
    0x80000026: "LX_BLK",
    0x90000027: "STORAGE_SYNC_FOLDER",
    0xA0000027: "WCI_LINK",
    0xA0001027: "WCI_LINK_1",
    0xA0000028: "DATALESS_CIM",
}


class SymbolicLink(NamedTuple):
    """A symbolic link (MS-FSCC 2.1.2.4). ``flags`` is 1 when the substitute name is relative, else 0."""

    substitute_name: str
    print_name: str
    flags: int


class MountPoint(NamedTuple):
    """A junction or the mount point of a volume (MS-FSCC 2.1.2.5)."""

    substitute_name: str
    print_name: str


class OpaqueReparse(NamedTuple):
    """Any other reparse point. ``guid`` is the owner of a tag that is not Microsoft's, 16 bytes, else None."""

    tag: int
    guid: bytes | None
    data: bytes


Reparse: TypeAlias = SymbolicLink | MountPoint | OpaqueReparse


def tag_of(buffer: bytes) -> int:
    """The reparse tag of a REPARSE_DATA_BUFFER. Raises FormatError when its head is not whole."""
    if len(buffer) < _HEAD.size:
        raise FormatError(f"a reparse buffer of {len(buffer)} bytes, its head alone takes {_HEAD.size}")
    tag: int = _HEAD.unpack_from(buffer)[0]
    return tag


def tag_name(tag: int) -> str:
    """The name of a reparse tag without ``IO_REPARSE_TAG_`` (MS-FSCC 2.1.2.1), or ``0x…`` for one not known."""
    return _TAG_NAMES.get(tag) or f"0x{tag:08X}"


def parse_reparse(buffer: bytes) -> Reparse:
    """What a REPARSE_DATA_BUFFER holds.

    In a link the two names may lie anywhere in the path buffer, in any order, terminated or not; the data length is not
    consulted, as go-winio does not. Raises FormatError (``malformed``) when a part lies outside the buffer.
    """
    tag = tag_of(buffer)
    if tag == IO_REPARSE_TAG_SYMLINK:
        substitute, print_name = _names(buffer, tag)
        if len(buffer) < 20:
            raise FormatError(f"a symbolic link of {len(buffer)} bytes, too short for its flags")
        flags: int = _FLAGS.unpack_from(buffer, 16)[0]
        return SymbolicLink(_name(buffer, 20, *substitute), _name(buffer, 20, *print_name), flags)
    if tag == IO_REPARSE_TAG_MOUNT_POINT:
        substitute, print_name = _names(buffer, tag)
        return MountPoint(_name(buffer, 16, *substitute), _name(buffer, 16, *print_name))
    length: int = _HEAD.unpack_from(buffer)[1]
    start = _HEAD.size if tag & _MICROSOFT else _HEAD.size + _GUID_SIZE
    if start + length > len(buffer):
        raise FormatError(
            f"a reparse buffer of {len(buffer)} bytes with tag {tag_name(tag)} claims {length} bytes of data"
        )
    guid = None if tag & _MICROSOFT else bytes(buffer[_HEAD.size : start])
    return OpaqueReparse(tag, guid, bytes(buffer[start : start + length]))


def build(parsed: Reparse) -> bytes:
    """The REPARSE_DATA_BUFFER of ``parsed``; in a link the substitute name comes first and both are terminated.

    Raises FormatError (``malformed``) when it would not fit into the 16-bit lengths of the format.
    """
    if isinstance(parsed, OpaqueReparse):
        if len(parsed.data) > _MAX_DATA:
            raise _too_long(len(parsed.data))
        if (parsed.guid is None) != bool(parsed.tag & _MICROSOFT) or (parsed.guid and len(parsed.guid) != _GUID_SIZE):
            raise FormatError(f"the reparse tag {tag_name(parsed.tag)} and its GUID do not go together")
        return _HEAD.pack(parsed.tag, len(parsed.data), 0) + (parsed.guid or b"") + parsed.data
    substitute = to_utf16le(parsed.substitute_name)
    print_name = to_utf16le(parsed.print_name)
    if isinstance(parsed, SymbolicLink):
        tag, flags = IO_REPARSE_TAG_SYMLINK, _FLAGS.pack(parsed.flags)
    else:
        tag, flags = IO_REPARSE_TAG_MOUNT_POINT, b""
    length = _NAMES.size + len(flags) + len(substitute) + len(print_name) + 4
    if length > _MAX_DATA:
        raise _too_long(length)
    return b"".join(
        (
            _HEAD.pack(tag, length, 0),
            _NAMES.pack(0, len(substitute), len(substitute) + 2, len(print_name)),
            flags,
            substitute,
            b"\0\0",
            print_name,
            b"\0\0",
        )
    )


def build_link(target: str, *, mount_point: bool, as_written: bool = False) -> bytes:
    r"""The REPARSE_DATA_BUFFER of a link to ``target``, byte for byte as go-winio builds it.

    A ``/`` in the target becomes ``\``, as it does on the way out of a tar, unless it is to stay ``as_written``.
    Absolute targets (``\\?\…``, ``\\server\…``, ``C:…``) get an NT name as
    substitute name; all others, also those with a leading ``\``, are relative. Raises FormatError (``malformed``) for
    a target that does not fit.
    """
    if not as_written:
        target = target.replace("/", "\\")
    relative = False
    if target.startswith("\\\\?\\"):
        substitute = _NT_PREFIX + target[4:]
    elif target.startswith("\\\\"):
        substitute = _NT_PREFIX + "UNC\\" + target[2:]
    elif _has_drive(target):
        substitute = _NT_PREFIX + target
    else:
        substitute = target
        relative = True
    if mount_point:
        return build(MountPoint(substitute, target))
    return build(SymbolicLink(substitute, target, SYMLINK_FLAG_RELATIVE if relative else 0))


def link_target(buffer: bytes, *, fall_back: bool = True) -> str:
    r"""Where a symbolic link or mount point leads: its print name, lone surrogates kept.

    When that is empty (PowerShell and ``mountvol`` write such junctions) and ``fall_back`` is set, the substitute name
    in the form of a print name: ``C:\x``, ``\\server\x``, ``\\?\Volume{…}\``; :func:`build_link` makes the same
    substitute name of it again. Raises FormatError of kind ``reparse-unsupported`` for other tags and ``malformed`` for
    broken buffers.
    """
    tag = tag_of(buffer)
    substitute, print_name = _names(buffer, tag)
    start = _path_buffer(tag)
    target = _name(buffer, start, *print_name)
    if target or not fall_back:
        return target
    target = _name(buffer, start, *substitute)
    if not target.startswith(_NT_PREFIX):
        return target
    target = target[len(_NT_PREFIX) :]
    if _has_drive(target):
        return target
    return f"\\\\{target[4:]}" if target[:4].upper() == "UNC\\" else f"\\\\?\\{target}"


def reference_target(buffer: bytes) -> str:
    """The target exactly as go-winio reads it: the print name and nothing else, lone surrogates as U+FFFD.

    Raises FormatError of kind ``reparse-unsupported`` for other tags and ``malformed`` where go-winio crashes.
    """
    return strict_text(link_target(buffer, fall_back=False))


def _names(buffer: bytes, tag: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Offset and length of the substitute name and of the print name of a link."""
    if tag not in (IO_REPARSE_TAG_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT):
        known = f" ({_TAG_NAMES[tag]})" if tag in _TAG_NAMES else ""
        raise FormatError(f"unsupported reparse point 0x{tag:x}{known}", kind="reparse-unsupported")
    if len(buffer) < 16:
        raise FormatError(f"a link of {len(buffer)} bytes, too short for its names")
    a, b, c, d = _NAMES.unpack_from(buffer, 8)
    return (a, b), (c, d)


def _path_buffer(tag: int) -> int:
    return 20 if tag == IO_REPARSE_TAG_SYMLINK else 16


def _name(buffer: bytes, start: int, offset: int, length: int) -> str:
    if start + offset + length > len(buffer):
        raise FormatError(
            f"a name of {length} bytes at {offset} lies outside the path buffer of a link of {len(buffer)} bytes"
        )
    start += offset
    return from_utf16le(bytes(buffer[start : start + length // 2 * 2]))


def _has_drive(target: str) -> bool:
    return target[1:2] == ":" and target[0].isascii() and target[0].isalpha()


def _too_long(length: int) -> FormatError:
    return FormatError(f"a reparse point of {length} bytes, {_MAX_DATA} is the most")
