"""From a case's ``spec.json`` to a tar, through backup streams."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

from tests.conformance.values import data_of, name_of, utf16_of
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.tar.backuptar import BackupSource, backup_items
from wclayer.model import Metadata, Tombstone

__all__ = ["backup_stream", "encode"]

DATA, EA, SECURITY, ALTERNATE, REPARSE, SPARSE_BLOCK = 1, 2, 3, 4, 8, 9
_SPARSE = 8
_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")


def encode(spec: dict[str, Any]) -> bytes:
    """The tar of ``spec``. Raises whatever the writer raises."""
    out = BytesIO()
    names_by_id: dict[bytes, str] = {}
    with TarLayerWriter(out.write, policy="reference") as writer:
        for entry in spec["entries"]:
            path = name_of(entry, "path").replace("\\", "/")
            if entry.get("tombstone"):
                writer.write(Tombstone(path))
            else:
                for item in backup_items(_source(spec, entry, path), names_by_id):
                    writer.write(item)
    return out.getvalue()


def _source(spec: dict[str, Any], entry: dict[str, Any], path: str) -> BackupSource:
    metadata = Metadata(entry["attributes"], *(entry[key] for key in _TIMES))
    legacy = spec["reader"] == "legacy"
    seekable = legacy and path.startswith("Files/")
    size = entry.get("size")
    if size is None:
        size = _first_data_size(entry) if seekable else _data_length(entry)
    if legacy and not seekable:
        metadata = _legacy_times(spec, path, metadata)
    link = entry.get("link") or {"count": 1}
    file_id = bytes.fromhex(link["file_id"]) if link["count"] > 1 else None
    stream = backup_stream(entry)
    return BackupSource(path, metadata, size, _opener(stream), seekable, file_id)


def _opener(stream: bytes) -> Callable[[], Callable[[int], bytes]]:
    return lambda: BytesIO(stream).read


def _legacy_times(spec: dict[str, Any], path: str, metadata: Metadata) -> Metadata:
    """Outside of ``Files`` a differencing layer knows the write time only, two folders that of a hive."""
    if path in ("Files", "Hives"):
        for other in spec["entries"]:
            if name_of(other, "path") == "Hives\\System_Delta":
                metadata = replace(metadata, last_write_time=other["last_write_time"], change_time=other["change_time"])
    return replace(metadata, creation_time=metadata.last_write_time, last_access_time=metadata.last_write_time)


def _first_data_size(entry: dict[str, Any]) -> int:
    if entry["attributes"] & 0x10:
        return 0
    for stream in entry.get("streams", ()):
        if stream.get("id") == DATA:
            return int(stream.get("declared_size", len(_content(stream))))
    return len(data_of(entry["data"])) if "data" in entry else 0


def _data_length(entry: dict[str, Any]) -> int:
    if "streams" in entry:
        lengths = [len(_content(stream)) for stream in entry["streams"] if stream.get("id") == DATA]
        blocks = [
            stream["offset"] + len(_content(stream)) for stream in entry["streams"] if stream.get("id") == SPARSE_BLOCK
        ]
        return max([*lengths[:1], *blocks], default=0)
    if "sparse" in entry:
        return int(entry["sparse"]["size"])
    return len(data_of(entry["data"])) if "data" in entry else 0


def _content(stream: dict[str, Any]) -> bytes:
    if "eas" in stream:
        return _eas(stream["eas"])
    return data_of(stream["data"]) if "data" in stream else b""


def backup_stream(entry: dict[str, Any]) -> bytes:
    """The Win32 backup stream of an entry, put together without the code under test."""
    if "streams" in entry:
        return b"".join(_explicit(stream) for stream in entry["streams"])
    parts = []
    if "security" in entry:
        parts.append(_stream(SECURITY, data_of(entry["security"])))
    if "ea_buffer" in entry:
        parts.append(_stream(EA, data_of(entry["ea_buffer"])))
    elif "eas" in entry:
        parts.append(_stream(EA, _eas(entry["eas"])))
    if "reparse" in entry:
        parts.append(_stream(REPARSE, data_of(entry["reparse"])))
    if "data" in entry:
        parts.append(_stream(DATA, data_of(entry["data"]), attributes=entry.get("data_attributes", 0)))
    elif "sparse" in entry:
        parts.append(_sparse(entry["sparse"]))
    for stream in entry.get("ads", ()):
        content = data_of(stream["data"]) if "data" in stream else b""
        parts.append(_stream(ALTERNATE, content, name=utf16_of(stream), attributes=stream.get("attributes", 0)))
    return b"".join(parts)


def _sparse(sparse: dict[str, Any]) -> bytes:
    parts = [_stream(DATA, b"", attributes=_SPARSE)]
    parts += [_block(block["offset"], data_of(block["data"])) for block in sparse["blocks"]]
    if sparse["size"]:
        parts.append(_block(sparse["size"], b""))
    return b"".join(parts)


def _block(offset: int, data: bytes, attributes: int = _SPARSE, declared: int | None = None) -> bytes:
    return _stream(SPARSE_BLOCK, struct.pack("<Q", offset) + data, attributes=attributes, declared=declared)


def _stream(kind: int, content: bytes, *, name: bytes = b"", attributes: int = 0, declared: int | None = None) -> bytes:
    size = len(content) if declared is None else declared
    return struct.pack("<IIQI", kind, attributes, size, len(name)) + name + content


def _explicit(stream: dict[str, Any]) -> bytes:
    if "raw" in stream:
        return data_of(stream["raw"])
    content = _content(stream)
    attributes, declared = stream.get("attributes", 0), stream.get("declared_size")
    if stream["id"] == SPARSE_BLOCK:
        return _block(stream["offset"], content, attributes, declared)
    return _stream(stream["id"], content, name=utf16_of(stream), attributes=attributes, declared=declared)


def _eas(eas: list[dict[str, Any]]) -> bytes:
    """FILE_FULL_EA_INFORMATION, every entry padded to a multiple of 4, the last too."""
    parts = []
    for index, ea in enumerate(eas):
        name = bytes.fromhex(ea["name_hex"]) if "name_hex" in ea else ea["name"].encode()
        value = data_of(ea["value"]) if "value" in ea else b""
        size = 8 + len(name) + 1 + len(value)
        padded = size + -size % 4
        following = padded if index + 1 < len(eas) else 0
        head = struct.pack("<IBBH", following, ea.get("flags", 0), len(name), len(value))
        parts.append(head + name + b"\0" + value + bytes(padded - size))
    return b"".join(parts)
