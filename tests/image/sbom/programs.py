"""Small programs: headers, a version resource, a signature, and nothing that could run."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from wclayer.ntfs.names import to_utf16le

AMD64, ARM64 = 0x8664, 0xAA64


def program(
    strings: Mapping[str, str] | None = None,
    version: tuple[int, int, int, int] | None = None,
    *,
    machine: int = AMD64,
    signed: bool = False,
    language: str = "040904b0",
) -> bytes:
    """A PE32+ file. Without ``strings`` and ``version`` it has no resources; ``signed`` adds a certificate table."""
    resources = _resources(_version_info(strings or {}, version, language)) if strings or version else b""
    raw = _padded(resources, 0x200)
    place = 0x400
    certificates = struct.pack("<IHH", 24, 0x200, 2) + b"\x30" * 16 if signed else b""
    directories = [(0, 0)] * 16
    if resources:
        directories[2] = (0x1000, len(resources))
    if certificates:
        directories[4] = (place + len(raw), len(certificates))
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(raw), 0, 0, 0)
    optional += struct.pack("<QII", 0x140000000, 0x1000, 0x200)
    optional += struct.pack("<HHHHHHIIIIHH", 6, 0, 0, 0, 6, 0, 0, 0x1000 + max(len(raw), 0x1000), place, 0, 3, 0)
    optional += struct.pack("<QQQQII", 1 << 20, 4096, 1 << 20, 4096, 0, 16)
    optional += b"".join(struct.pack("<II", *one) for one in directories)
    sections = 1 if resources else 0
    coff = struct.pack("<HHIIIHH", machine, sections, 0, 0, 0, len(optional), 0x2022)
    table = struct.pack("<8sIIIIIIHHI", b".rsrc", len(resources), 0x1000, len(raw), place, 0, 0, 0, 0, 0x40000040)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 0x80)
    head = dos.ljust(0x80, b"\0") + b"PE\0\0" + coff + optional + (table if sections else b"")
    return _padded(head, place) + raw + certificates


def _resources(version: bytes) -> bytes:
    def directory(number: int, target: int) -> bytes:
        return struct.pack("<IIHHHH", 0, 0, 0, 0, 0, 1) + struct.pack("<II", number, target)

    tree = directory(16, 0x80000018) + directory(1, 0x80000030) + directory(0x409, 72)
    return tree + struct.pack("<IIII", 0x1000 + 88, len(version), 0, 0) + version


def _version_info(strings: Mapping[str, str], version: tuple[int, int, int, int] | None, language: str) -> bytes:
    fixed = b""
    if version is not None:
        one, two, three, four = version
        numbers = (one << 16 | two, three << 16 | four)
        fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, *numbers, *numbers, 0x3F, 0, 0x40004, 1, 0, 0, 0)
    texts = [_block(name, to_utf16le(f"{text}\0"), len(text) + 1, 1) for name, text in strings.items()]
    table = _block("StringFileInfo", b"", 0, 1, [_block(language, b"", 0, 1, texts)]) if texts else b""
    return _block("VS_VERSION_INFO", fixed, len(fixed), 0, [table] if table else [])


def _block(key: str, value: bytes, length: int, kind: int, children: list[bytes] | None = None) -> bytes:
    body = _padded(b"\0" * 6 + to_utf16le(f"{key}\0"), 4) + value
    for child in children or []:
        body = _padded(body, 4) + child
    return struct.pack("<HHH", len(body), length, kind) + body[6:]


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)
