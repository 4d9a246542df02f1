"""What a Windows program says of itself: its version resource, its machine, and whether a signature is in it.

Only what is needed is read: the headers, the directories of the resource section on the way to the version, and the
version. A file may be hostile: every offset and size is checked against the file before it is used, every count has a
bound, and the directories are three levels deep whatever they say.

Sources: Microsoft's "PE Format" (headers, the .rsrc section, the attribute certificate table) and "VS_VERSIONINFO
structure".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

from wclayer.errors import FormatError

__all__ = ["MACHINES", "PeFacts", "read_pe"]

MACHINES: Final = {
    0x014C: "386",
    0x01C0: "arm",
    0x01C4: "arm",
    0x0200: "ia64",
    0x8664: "amd64",
    0xAA64: "arm64",
}
"""The values of the field Machine, as OCI calls architectures."""

_COFF: Final = struct.Struct("<HHIIIHH")
_SECTION: Final = struct.Struct("<8sIIIIIIHHI")
_DIRECTORY: Final = struct.Struct("<IIHHHH")
_PAIR: Final = struct.Struct("<II")
_FIXED: Final = struct.Struct("<13I")
_FIXED_SIGNATURE: Final = 0xFEEF04BD
_CERTIFICATE: Final = struct.Struct("<IHH")

_PE32, _PE32_PLUS = 0x10B, 0x20B
_RESOURCES, _CERTIFICATES = 2, 4
_RT_VERSION, _ENGLISH, _NEUTRAL = 16, 0x409, 0
_PKCS_SIGNED_DATA = 2
_SUBDIRECTORY = 0x80000000

_MAX_SECTIONS = 2048
_MAX_ENTRIES = 4096
_MAX_VERSION = 1 << 16  # bytes, the largest a version resource can say it is
_MAX_BLOCKS = 4096
_MAX_TEXT = 4096


class Readable(Protocol):
    """A file that can be read at any place."""

    def seek(self, offset: int, /) -> object:
        """Go to ``offset``."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes, fewer at the end."""


@dataclass(frozen=True, slots=True)
class PeFacts:
    """What was found. Texts are empty where the file does not say it.

    ``file_version`` and ``product_version`` are four numbers with dots, from the fixed part; ``strings`` are the names
    and texts of the best language. ``has_signature`` says that an Authenticode signature is embedded; it was not
    verified, and most files of Windows have theirs in a catalogue elsewhere.
    """

    machine: str
    file_version: str
    product_version: str
    strings: dict[str, str]
    has_signature: bool

    @property
    def has_version(self) -> bool:
        """Whether there is a version resource."""
        return bool(self.file_version or self.strings)

    def text(self, name: str) -> str:
        """One of the strings, "" when it is not there."""
        return self.strings.get(name, "")


def read_pe(file: Readable, size: int) -> PeFacts | None:
    """The facts of the program in ``file``, which has ``size`` bytes; None when it is no PE file at all.

    Raises FormatError for one whose headers or resources lead outside of it.
    """
    return _Image(file, size).facts()


class _Image:
    """A PE file: places in it are offsets, places in memory are found through its sections."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file = file
        self._size = size
        self._sections: list[tuple[int, int, int, int]] = []

    def facts(self) -> PeFacts | None:
        if self._size < 64 or self._at(0, 2, "header") != b"MZ":
            return None
        start = int.from_bytes(self._at(60, 4, "header"), "little")
        if start + 24 > self._size or self._at(start, 4, "header") != b"PE\0\0":
            return None  # a program for DOS or for 16-bit Windows
        machine, sections, _, _, _, optional_size, _ = _COFF.unpack(self._at(start + 4, _COFF.size, "header"))
        optional = self._at(start + 24, optional_size, "optional header")
        directories = _directories(optional)
        if sections > _MAX_SECTIONS:
            raise _broken(f"{sections} sections")
        table = self._at(start + 24 + optional_size, sections * _SECTION.size, "section table")
        for _, memory, address, raw, place, *_rest in _SECTION.iter_unpack(table):
            self._sections.append((address, memory, place, raw))
        fixed, strings = self._version(directories.get(_RESOURCES, (0, 0))[0])
        return PeFacts(
            MACHINES.get(machine, f"{machine:#06x}"),
            _dotted(fixed[2], fixed[3]) if fixed else "",
            _dotted(fixed[4], fixed[5]) if fixed else "",
            strings,
            self._is_signed(*directories.get(_CERTIFICATES, (0, 0))),
        )

    def _at(self, offset: int, size: int, what: str) -> bytes:
        if offset < 0 or size < 0 or offset + size > self._size:
            raise _broken(f"its {what} of {size} bytes at {offset} is outside of its {self._size} bytes")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise _broken(f"it ends in its {what}")
        return data

    def _place(self, address: int, what: str) -> int:
        """The offset of what is at ``address`` in memory."""
        for start, memory, place, raw in self._sections:
            if start <= address < start + max(memory, raw) and address - start < raw:
                return place + address - start
        raise _broken(f"its {what} at address {address:#x} is in no section")

    def _is_signed(self, offset: int, size: int) -> bool:
        if not offset or size < _CERTIFICATE.size or offset + size > self._size:
            return False
        length: int
        kind: int
        length, _, kind = _CERTIFICATE.unpack(self._at(offset, _CERTIFICATE.size, "certificate"))
        return _CERTIFICATE.size < length <= size and kind == _PKCS_SIGNED_DATA

    # ------------------------------------------------------------------ resources

    def _version(self, resources: int) -> tuple[tuple[int, ...], dict[str, str]]:
        if not resources:
            return (), {}
        root = self._place(resources, "resource section")
        kind = [target for name, target in self._entries(root) if name == _RT_VERSION]
        if not kind:
            return (), {}
        names = self._below(root, kind[0])
        languages = dict(self._below(root, names[0][1])) if names else {}
        if not languages:
            return (), {}
        best = next((one for one in (_ENGLISH, _NEUTRAL) if one in languages), min(languages))
        if languages[best] & _SUBDIRECTORY:
            raise _broken("its resource directories are more than three levels deep")
        address, size = _PAIR.unpack(self._at(root + languages[best], _PAIR.size, "resource"))
        if size > _MAX_VERSION:
            raise _broken(f"a version resource of {size} bytes")
        return _version_info(self._at(self._place(address, "version resource"), size, "version resource"))

    def _below(self, root: int, target: int) -> list[tuple[int, int]]:
        if not target & _SUBDIRECTORY:
            raise _broken("its resource directories are less than three levels deep")
        return self._entries(root + (target & ~_SUBDIRECTORY))

    def _entries(self, offset: int) -> list[tuple[int, int]]:
        *_, named, numbered = _DIRECTORY.unpack(self._at(offset, _DIRECTORY.size, "resource directory"))
        if named + numbered > _MAX_ENTRIES:
            raise _broken(f"a resource directory of {named + numbered} entries")
        table = self._at(offset + _DIRECTORY.size, (named + numbered) * _PAIR.size, "resource directory")
        return list(_PAIR.iter_unpack(table))


def _directories(optional: bytes) -> dict[int, tuple[int, int]]:
    """The data directories of an optional header that are there, by number."""
    magic = int.from_bytes(optional[:2], "little")
    start = {_PE32: 96, _PE32_PLUS: 112}.get(magic)
    if start is None or len(optional) < start:
        raise _broken(f"its optional header has the magic {magic:#x} and {len(optional)} bytes")
    count = int.from_bytes(optional[start - 4 : start], "little")
    there = min(count, 16, (len(optional) - start) // _PAIR.size)
    return {number: _PAIR.unpack_from(optional, start + number * _PAIR.size) for number in range(there)}


# ---------------------------------------------------------------------- VS_VERSIONINFO


def _version_info(data: bytes) -> tuple[tuple[int, ...], dict[str, str]]:
    """The fixed part, and the strings of the best language."""
    _, key, value, children = _block(data, 0, len(data))
    if key != "VS_VERSION_INFO":
        raise _broken("its version resource is none")
    fixed: tuple[int, ...] = ()
    if value[1] - value[0] >= _FIXED.size:
        fixed = _FIXED.unpack_from(data, value[0])
        if fixed[0] != _FIXED_SIGNATURE:
            fixed = ()
    tables: dict[str, dict[str, str]] = {}
    budget = _Budget()
    for info, (start, end) in _blocks(data, *children, budget):
        if info != "StringFileInfo":
            continue
        for language, (first, last) in _blocks(data, start, end, budget):
            tables.setdefault(language.lower(), _strings(data, first, last, budget))
    best = sorted(tables, key=lambda language: (not language.startswith("0409"), language[:4] != "0000", language))
    return fixed, tables[best[0]] if best else {}


class _Budget:
    """How many blocks may still be looked at."""

    def __init__(self) -> None:
        self.left = _MAX_BLOCKS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _broken(f"its version resource has more than {_MAX_BLOCKS} parts")


def _block(data: bytes, start: int, end: int) -> tuple[int, str, tuple[int, int], tuple[int, int]]:
    """A block at ``start``: where it ends, its key, where its value lies and where its children do."""
    if start + 6 > end:
        raise _broken("its version resource is cut off")
    length, value_length, kind = struct.unpack_from("<HHH", data, start)
    last = start + length
    if length < 6 or last > end:
        raise _broken("a part of its version resource is longer than what it is in")
    key, place = _text(data, start + 6, last)
    place = min((place + 3) & ~3, last)
    size = value_length * 2 if kind == 1 else value_length
    after = min(place + size, last)
    return last, key, (place, after), (min((after + 3) & ~3, last), last)


def _blocks(data: bytes, start: int, end: int, budget: _Budget) -> list[tuple[str, tuple[int, int]]]:
    """The keys of the blocks between two places, each with where its children lie."""
    found = []
    while start + 6 <= end:
        if data[start : start + 2] == b"\0\0":
            break  # padding
        budget.spend()
        last, key, _, children = _block(data, start, end)
        found.append((key, children))
        start = (last + 3) & ~3
    return found


def _strings(data: bytes, start: int, end: int, budget: _Budget) -> dict[str, str]:
    strings: dict[str, str] = {}
    while start + 6 <= end:
        if data[start : start + 2] == b"\0\0":
            break
        budget.spend()
        last, key, (place, _), _ = _block(data, start, end)
        # Compilers disagree whether the length of a value counts characters or bytes: it ends where its text does.
        value, _ = _text(data, place, last)
        strings.setdefault(key, value.strip()[:_MAX_TEXT])
        start = (last + 3) & ~3
    return strings


def _text(data: bytes, start: int, end: int) -> tuple[str, int]:
    """UTF-16 text up to its terminator, and the place behind that."""
    place = start
    while place + 2 <= end and data[place : place + 2] != b"\0\0":
        place += 2
    return data[start:place].decode("utf-16-le", "replace"), min(place + 2, end)


def _dotted(high: int, low: int) -> str:
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def _broken(what: str) -> FormatError:
    return FormatError(f"a damaged PE file: {what}", kind="pe")
