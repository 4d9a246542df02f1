"""Tars written byte by byte, so that a test can put anything into them. Nothing here comes from the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BLOCK = 512
END = bytes(2 * BLOCK)

FILE, LINK, SYMLINK, CHARACTER, DEVICE, FOLDER, PIPE = (b"%d" % number for number in range(7))
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"

Records = Mapping[Any, str | bytes] | Iterable[tuple[str | bytes, str | bytes]]


def as_bytes(text: str | bytes) -> bytes:
    """Text as a tar of Windows has it."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def octal(value: int, length: int) -> bytes:
    """A number as a header field."""
    return b"%0*o\0" % (length - 1, value)


def base256(value: int, length: int) -> bytes:
    """A number in the binary form of GNU tar and star; may be negative."""
    return bytes([0x80 | (0x7F if value < 0 else 0)]) + value.to_bytes(length - 1, "big", signed=True)


def checksummed(block: bytes) -> bytes:
    """A header block with the right checksum."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def header(
    name: bytes,
    kind: bytes = FILE,
    *,
    size: int | bytes = 0,
    linkname: bytes = b"",
    mode: int | bytes = 0o644,
    mtime: int | bytes = 0,
    magic: bytes = USTAR,
    tail: bytes = b"",
) -> bytes:
    """One header block; ``tail`` is what stands from byte 345 on."""
    fields = (
        name[:100].ljust(100, b"\0"),
        octal(mode, 8) if isinstance(mode, int) else mode,
        octal(0, 8),
        octal(0, 8),
        octal(size, 12) if isinstance(size, int) else size,
        octal(mtime, 12) if isinstance(mtime, int) else mtime,
        b" " * 8,
        kind,
        linkname[:100].ljust(100, b"\0"),
        magic,
        bytes(64),
        octal(0, 8),
        octal(0, 8),
        tail.ljust(167, b"\0"),
    )
    return checksummed(b"".join(fields))


def padded(data: bytes) -> bytes:
    """Data up to a whole number of blocks."""
    return data + bytes(-len(data) % BLOCK)


def record(key: str | bytes, value: str | bytes) -> bytes:
    """One PAX record."""
    rest = b" %b=%b\n" % (as_bytes(key), as_bytes(value))
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


def extended(records: Records | bytes, kind: bytes = b"x") -> bytes:
    """An extended header: from records, or from the bytes of its body."""
    if not isinstance(records, bytes):
        pairs = records.items() if isinstance(records, Mapping) else records
        records = b"".join(record(key, value) for key, value in pairs)
    return header(b"PaxHeaders/x", kind, size=len(records)) + padded(records)


def member(
    name: str | bytes,
    kind: bytes = FILE,
    data: bytes = b"",
    *,
    linkname: str | bytes = b"",
    records: Mapping[str, str | bytes] | None = None,
    size: int | bytes | None = None,
    **fields: int | bytes,
) -> bytes:
    """A member with everything it needs. Names that do not fit the header go into records."""
    name, linkname = as_bytes(name), as_bytes(linkname)
    pax: dict[Any, str | bytes] = dict(records or {})
    if len(name) > 100 or b"\0" in name or not name.isascii():
        pax.setdefault("path", name)
        name = b"long"
    if len(linkname) > 100 or b"\0" in linkname:
        pax.setdefault("linkpath", linkname)
        linkname = b"long"
    stated = len(data) if size is None else size
    return (
        (extended(pax) if pax else b"")
        + header(name, kind, size=stated, linkname=linkname, **fields)  # type: ignore[arg-type]
        + padded(data)
    )


def file(name: str | bytes, data: bytes = b"data", **records: str | bytes) -> bytes:
    """A file."""
    return member(name, FILE, data, records=_dotted(records))


def folder(name: str | bytes, **records: str | bytes) -> bytes:
    """A folder."""
    return member(name, FOLDER, records=_dotted(records))


def link(name: str | bytes, target: str | bytes) -> bytes:
    """A hard link."""
    return member(name, LINK, linkname=target)


def symlink(name: str | bytes, target: str | bytes = "C:\\elsewhere") -> bytes:
    """A symbolic link to a file."""
    return member(name, SYMLINK, linkname=target, records={"MSWINDOWS.fileattr": "1056"})


def folder_symlink(name: str | bytes, target: str | bytes = "C:\\elsewhere") -> bytes:
    """A symbolic link to a folder."""
    return member(name, SYMLINK, linkname=target, records={"MSWINDOWS.fileattr": "1040"})


def junction(name: str | bytes, target: str | bytes = "\\??\\C:\\elsewhere") -> bytes:
    """A junction."""
    return member(name, SYMLINK, linkname=target, records={"MSWINDOWS.fileattr": "1040", "MSWINDOWS.mountpoint": "1"})


def whiteout(folder_name: str, name: str) -> bytes:
    """The deletion of ``name`` in a folder."""
    return file(f"{folder_name}/.wh.{name}" if folder_name else f".wh.{name}", b"")


def archive(*members: bytes) -> bytes:
    """A whole archive."""
    return b"".join(members) + END


def layer(*members: bytes) -> bytes:
    """A layer in which something good comes first, so that there is something to clean up."""
    return archive(folder("Files"), file("Files/good.txt", b"good"), *members)


def _dotted(records: Mapping[str, str | bytes]) -> dict[str, str | bytes]:
    """``MSWINDOWS_rawsd="…"`` stands for the record ``MSWINDOWS.rawsd``."""
    return {key.replace("_", ".", 1) if key.isupper() or "_" in key else key: value for key, value in records.items()}
