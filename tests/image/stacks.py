"""Short ways to say layers, and to make images of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wclayer.formats.tar import TarLayerWriter
from wclayer.image.view import Found, View
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.reparse import build_link
from wclayer.oci import LayoutWriter, Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, Compression

TIME = 132_223_104_000_000_000
"""2020-01-01T00:00:00Z."""

PLATFORM = Platform("windows", "amd64", os_version="10.0.20348.1")


def file(path: str, data: bytes | None = b"", *, at: int = TIME, **metadata: Any) -> Entry:
    """A file last written ``at``; ``data`` None means that it has no stream."""
    metadata = {"attributes": 0x20, "last_write_time": at, **metadata}
    return Entry(path, Metadata(**metadata), data=None if data is None else Stream.from_bytes(data))


def folder(path: str, *, at: int = TIME, **metadata: Any) -> Entry:
    """A folder."""
    return Entry(path, Metadata(**{"attributes": 0x10, "last_write_time": at, **metadata}), is_directory=True)


def folders(*paths: str) -> list[LayerItem]:
    """Some folders."""
    return [folder(path) for path in paths]


def link(path: str, target: str) -> HardLink:
    """A hard link."""
    return HardLink(path, target, Metadata(attributes=0x20, last_write_time=TIME + 1))


def symlink(path: str, target: str, *, directory: bool = False, junction: bool = False) -> Entry:
    """A symbolic link or a junction."""
    directory = directory or junction
    attributes = 0x400 | (0x10 if directory else 0)
    return Entry(path, Metadata(attributes, reparse=build_link(target, mount_point=junction)), is_directory=directory)


def junction(path: str, target: str) -> Entry:
    """A junction."""
    return symlink(path, target, junction=True)


def stream(path: str, name: str, data: bytes) -> AlternateStream:
    """An alternate stream, ``name`` without colons."""
    return AlternateStream(path, f":{name}:$DATA", Stream.from_bytes(data))


def gone(path: str) -> Tombstone:
    """A deletion."""
    return Tombstone(path)


def tar(items: Iterable[LayerItem]) -> bytes:
    """A layer tar of ``items``."""
    data = bytearray()
    with TarLayerWriter(data.extend, policy="faithful") as writer:
        for item in items:
            writer.write(item)
    return bytes(data)


def make_image(
    layout: Path, *layers: bytes | Sequence[LayerItem], tag: str = "test", compression: Compression = "gzip"
) -> str:
    """Put an image of ``layers``, base first, into the OCI layout ``layout``; returns its reference."""
    writer = LayoutWriter(layout)
    descriptors, diff_ids = [], []
    for layer in layers:
        with writer.new_layer(compression) as sink:
            sink.write(layer if isinstance(layer, bytes) else tar(layer))
        descriptors.append(sink.descriptor)
        diff_ids.append(sink.diff_id)
    config = writer.put_bytes(encode_config(PLATFORM, diff_ids), OCI_CONFIG)
    writer.put_manifest(encode_manifest(config, descriptors), name=tag, platform=PLATFORM)
    return f"oci:{layout}:{tag}"


def paths(view: View, start: str = "") -> list[str]:
    """Everything below ``start``."""
    return [found.path for found in view.walk(view.find(start))]


def data_of(view: View, path: str | Found) -> bytes:
    """The data of a file, by way of links."""
    found = view.find(path) if isinstance(path, str) else path
    read: list[bytes] = []
    view.read([(found, lambda data: read.append(b"".join(bytes(piece) for piece in data.pieces())))])
    (data,) = read
    return data
