"""Volumes, backup streams and layer tars to test with, made byte by byte or item by item."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from wclayer.formats.base import BaseLayerReader
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.transport import EntryHead, LegacyLayerReader, LegacyLayerWriter
from wclayer.formats.volume import BasicInfo, Manifest, Volume
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs import backup
from wclayer.ntfs.reparse import build_link

DIRECTORY, ARCHIVE, REPARSE = 0x10, 0x20, 0x400
DESCRIPTOR = bytes.fromhex(
    "0100048014000000240000000000000034000000010200000000000520000000200200000102000000000005200000002102000002001c00010000000000140001000000010100000000000100000000"
)
LINK = build_link("..\\a", mount_point=False)


def info(attributes: int = ARCHIVE, time: int = 133_000_000_000_000_000) -> BasicInfo:
    """Basic information with four times that differ."""
    return BasicInfo(attributes, time + 1, time + 2, time, time + 3)


_OPENED: list[Volume] = []


def volume(place: Path, label: str = "") -> Volume:
    """A new, empty volume with a manifest in memory; :func:`close_volumes` closes it after the test."""
    place.mkdir(parents=True, exist_ok=True)
    _OPENED.append(Volume(place, Manifest(None), label=label or place.name))
    return _OPENED[-1]


def close_volumes() -> None:
    """Close what the test made."""
    while _OPENED:
        _OPENED.pop().close(commit=False)


def stream(
    data: bytes | None = None,
    *,
    security: bytes | None = None,
    reparse: bytes | None = None,
    alternates: Iterable[tuple[str, bytes]] = (),
) -> bytes:
    """A backup stream."""
    parts: list[bytes] = []
    out = backup.BackupStreamWriter(lambda piece: parts.append(bytes(piece)))
    if security is not None:
        out.stream(backup.BACKUP_SECURITY_DATA, security)
    if reparse is not None:
        out.stream(backup.BACKUP_REPARSE_DATA, reparse)
    if data is not None:
        out.stream(backup.BACKUP_DATA, data)
    for name, content in alternates:
        out.stream(backup.BACKUP_ALTERNATE_DATA, content, name=name)
    return b"".join(parts)


def record(number: int, size: int, content: bytes = b"", attributes: int = 0, name: bytes = b"") -> bytes:
    """One stream by hand, whatever it claims."""
    return struct.pack("<IIQI", number, attributes, size, len(name)) + name + content


def put(target: Volume, path: str, content: bytes = b"", basic: BasicInfo | None = None) -> None:
    """A plain file with its folders."""
    parent = path.rpartition("\\")[0]
    if parent:
        target.mkdir_all(parent)
    node = target.create(path)
    os.write(node.descriptor, content)
    if basic is not None:
        node.set_basic(basic)
    node.close()


def content_of(source: Volume, path: str) -> bytes:
    """The raw bytes of a file."""
    with open(source.open_data(source.lstat(path)), "rb") as file:
        return file.read()


def paths_of(source: Volume) -> list[str]:
    """Everything in a volume."""
    return [status.path for status in source.walk("")]


TOMBSTONE_HEAD = b"\xef\xbb\xbfVersion 1.0\n"


def transport(place: Path, *, tombstones: bytes = TOMBSTONE_HEAD) -> Volume:
    """A transport folder with nothing in it but what every one has."""
    made = volume(place)
    made.mkdir("Files")
    put(made, "Files.$wcidirs$", b"\x10\0\0\0")
    put(made, "Hives\\System_Delta", b"regf", info(ARCHIVE, 131_000_000_000_000_000))
    if tombstones:
        put(made, "tombstones.txt", tombstones)
    return made


def add_folder(target: Volume, path: str, blob: bytes = b"\x10\0\0\0") -> None:
    """A folder of a transport folder with its sidecar."""
    target.mkdir(path)
    put(target, path + ".$wcidirs$", blob)


def heads(source: Volume, *, lenient: bool = False) -> list[EntryHead]:
    """All that a reader says."""
    found = []
    with LegacyLayerReader(source, lenient=lenient) as reader:
        while (head := reader.next()) is not None:
            found.append(head)
    return found


def all_of(reader: LegacyLayerReader) -> bytes:
    """What is left of the current entry's stream."""
    return b"".join(iter(lambda: reader.read(1 << 16), b""))


class Layer:
    """A diff layer being written: transport folder, layer folder, parents."""

    def __init__(self, place: Path, *parents: Volume) -> None:
        self.transport = volume(place / "t", "{transport}")
        self.layer = volume(place / "d", "{layer}")
        self.parents = parents
        self.writer = LegacyLayerWriter(self.transport, self.layer, parents)

    def add(self, path: str, content: bytes = b"", basic: BasicInfo | None = None) -> None:
        """An entry with its whole backup stream."""
        self.writer.add(path, basic or info())
        if content:
            self.writer.write(content)

    def folder(self, path: str, content: bytes = b"") -> None:
        """A folder."""
        self.add(path, content, info(DIRECTORY))


def file(path: str, data: bytes | None = b"", attributes: int = ARCHIVE) -> Entry:
    """A file item."""
    moment = 133_000_000_000_000_000
    return Entry(
        path,
        Metadata(attributes, moment, moment, moment, moment, DESCRIPTOR),
        data=None if data is None else Stream.from_bytes(data),
    )


def folder(path: str, *, reparse: bytes | None = None) -> Entry:
    """A folder item."""
    moment = 133_000_000_000_000_000
    attributes = DIRECTORY | (REPARSE if reparse else 0)
    return Entry(path, Metadata(attributes, moment, moment, moment, moment, DESCRIPTOR, (), reparse), is_directory=True)


def link(path: str, target: str) -> HardLink:
    """A hard link item."""
    moment = 133_000_000_000_000_000
    return HardLink(path, target, Metadata(ARCHIVE, moment, moment, moment, moment))


def ads(path: str, name: str, data: bytes) -> AlternateStream:
    """An alternate stream item."""
    return AlternateStream(path, f":{name}:$DATA", Stream.from_bytes(data))


def gone(path: str) -> Tombstone:
    """A deletion item."""
    return Tombstone(path)


def tar_of(*items: LayerItem) -> bytes:
    """A layer tar."""
    out = io.BytesIO()
    with TarLayerWriter(out.write) as writer:
        for item in items:
            writer.write(item)
    return out.getvalue()


def all_of_base(reader: BaseLayerReader) -> bytes:
    """What is left of the current entry's stream of a base layer."""
    return b"".join(iter(lambda: reader.read(1 << 16), b""))
