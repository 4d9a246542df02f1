"""Tar archives put together byte by byte, without the code under test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK, records, with_checksum
from wclayer.errors import FormatError
from wclayer.formats.tar import Policy, TarLayerReader
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone

__all__ = [
    "END",
    "EPOCH",
    "block",
    "content",
    "extension",
    "flat",
    "member",
    "noted",
    "one",
    "padded",
    "read",
    "refused",
]

END = bytes(2 * BLOCK)
EPOCH = 116_444_736_000_000_000


def padded(data: bytes) -> bytes:
    """``data`` and zeros up to a whole block."""
    return data + bytes(-len(data) % BLOCK)


def block(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    mode: int = 0o100000,
    mtime: int = 0,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    fields: dict[int, bytes] | None = None,
) -> bytes:
    """One header block; ``fields`` is put over it before the checksum is made."""
    out = bytearray(BLOCK)
    out[: len(name)] = name
    out[100:124] = b"%07o\0" % mode + b"0000000\x000000000\0"
    out[124:148] = b"%011o\0%011o\0" % (size, mtime)
    out[156:157] = kind
    out[157 : 157 + len(link)] = link
    out[257:265] = magic
    for start, data in (fields or {}).items():
        out[start : start + len(data)] = data
    return with_checksum(bytes(out))


def extension(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    body = records(*pairs)
    return block(b"PaxHeaders.0/x", kind, size=len(body), mode=0) + padded(body)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", *pairs: tuple[bytes, bytes], **more: Any) -> bytes:
    """A member, with an extended header when there are records."""
    return (extension(*pairs) if pairs else b"") + block(name, kind, size=len(data), **more) + padded(data)


def content(stream: Stream | None) -> bytes | None:
    """The whole content of a stream, None when there is no stream."""
    return None if stream is None else stream.read(1 << 24)


def held(data: bytes, size: int, ranges: tuple[tuple[int, int], ...] | None = None) -> Stream:
    """A stream of ``size`` bytes whose stored ones are ``data``."""
    return Stream(size, lambda _stored: iter((data,) if data else ()), ranges)


def read(archive: bytes | Iterable[bytes], policy: Policy = "faithful", notices: Notices | None = None) -> list[Any]:
    """The items of an archive, their streams held in memory."""
    slabs = [archive] if isinstance(archive, bytes) else archive
    items: list[LayerItem] = []
    for item in TarLayerReader(slabs, policy=policy, notices=notices):
        if isinstance(item, (Entry, AlternateStream)) and item.data is not None:
            data = b"".join(bytes(piece) for piece in item.data.stored_pieces())
            item.data = held(data, item.data.size, item.data.ranges)
        items.append(item)
    return items


def one(archive: bytes, **more: Any) -> Any:
    (item,) = read(archive + END, **more)
    return item


def noted(archive: bytes, **more: Any) -> list[str]:
    """The codes of the notices about an archive."""
    notices = Notices()
    read(archive + END, notices=notices, **more)
    return [notice.code for notice in notices.listed]


def refused(archive: bytes, error: type[Exception] = FormatError) -> Any:
    with pytest.raises(error) as raised:
        read(archive + END)
    return raised.value


def flat(item: LayerItem) -> tuple[object, ...]:
    """An item as values that can be compared. Where it stood in its archive does not count."""
    if isinstance(item, Entry):
        return ("entry", item.path, item.is_directory, _flat(item.metadata), content(item.data))
    if isinstance(item, AlternateStream):
        return ("stream", item.path, item.name, content(item.data))
    if isinstance(item, HardLink):
        return ("link", item.path, item.target, _flat(item.metadata))
    assert isinstance(item, Tombstone)
    return ("tombstone", item.path)


def _flat(metadata: Metadata) -> tuple[object, ...]:
    return tuple(getattr(metadata, name) for name in (field.name for field in fields(Metadata)))
