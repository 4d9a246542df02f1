"""From a tar to what a case's ``decode.json`` says: operations with their backup streams, and the members seen."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from tests.conformance.values import text_of
from wclayer.errors import FormatError, WclayerError
from wclayer.formats.tar import Member, Members, SlabStream
from wclayer.formats.tar.backuptar import AddOperation, LinkOperation, import_operations
from wclayer.formats.tar.header import V7, parse_number
from wclayer.formats.tar.pax import parse_integer
from wclayer.model import Stream

__all__ = ["members_of", "operations_of"]

_INLINE = 49152


def operations_of(tar: bytes) -> tuple[list[dict[str, Any]], str | None, int | None]:
    """``ops``, the error class that ended them, ``total_size``."""
    ops: list[dict[str, Any]] = []
    total = 0
    try:
        for operation in import_operations(Members(SlabStream(_slabs(tar)))):
            if isinstance(operation, AddOperation):
                op, stream = _add(operation), bytearray()
                ops.append(op)
                total += operation.size
                try:
                    operation.copy_to(stream.extend)
                except WclayerError:
                    op["incomplete"] = True
                    raise
                op["stream"] = _summary(bytes(stream))
                op["streams"] = _taken_apart(bytes(stream))
            elif isinstance(operation, LinkOperation):
                ops.append({"op": "link", "name": text_of(operation.name), "target": text_of(operation.target)})
            else:
                ops.append({"op": "remove", "name": text_of(operation.name)})
    except WclayerError as error:
        return ops, _kind(error), None
    return ops, None, total


def _slabs(tar: bytes) -> list[bytes]:
    """The archive in uneven pieces, so that headers and bodies cross their borders."""
    return [tar[start : start + 1000] for start in range(0, len(tar), 1000)]


def _add(operation: AddOperation) -> dict[str, Any]:
    op: dict[str, Any] = {
        "op": "add",
        "name": text_of(operation.name),
        "attributes": operation.attributes,
        "creation_time": operation.creation_time,
        "last_access_time": operation.last_access_time,
        "last_write_time": operation.last_write_time,
        "change_time": operation.change_time,
    }
    if operation.copy_as:
        op["copy_as"] = operation.copy_as
    return op


def _summary(data: bytes) -> dict[str, Any]:
    summary: dict[str, Any] = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if len(data) <= _INLINE:
        summary["hex"] = data.hex()
    return summary


def _taken_apart(data: bytes) -> list[dict[str, Any]]:
    """The streams of a backup stream, read without the code under test."""
    streams = []
    position = 0
    while position < len(data):
        kind, attributes, size, name_size = struct.unpack_from("<IIQI", data, position)
        position += 20
        name = data[position : position + name_size].decode("utf-16-le", "surrogatepass")
        position += name_size
        content = data[position : position + size]
        position += size
        streams.append(
            {
                "id": kind,
                "attributes": attributes,
                "size": size,
                "name": text_of(name.encode("utf-8", "surrogatepass")),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    return streams


def members_of(tar: bytes) -> tuple[list[dict[str, Any]], str | None]:
    """``tar`` and ``tar_error``: every member as a tar reader sees it."""
    seen: list[dict[str, Any]] = []
    members = Members(SlabStream(_slabs(tar)))
    try:
        for member in members:
            row = _row(member)
            seen.append(row)
            digest, length = hashlib.sha256(), 0
            try:
                for piece in _content(member, members).pieces():
                    digest.update(piece)
                    length += len(piece)
            except WclayerError as error:
                row["data_error"] = _kind(error)
                raise
            row["data_length"], row["data_sha256"] = length, digest.hexdigest()
    except WclayerError as error:
        return seen, _kind(error)
    return seen, None


def _content(member: Member, members: Members) -> Stream:
    """What a reader of the member gets: nothing for links and folders, whatever size their headers state."""
    if member.ranges is None:
        return Stream(member.stored, members.body)
    return Stream(member.size, members.body, member.ranges)


def _kind(error: WclayerError) -> str:
    return error.kind if isinstance(error, FormatError) else type(error).__name__


def _row(member: Member) -> dict[str, Any]:
    block, pax = member.header.block, member.pax
    v7 = member.header.dialect == V7
    is_global = member.type == ord("g")
    return {
        "name": text_of(member.name),
        "typeflag": chr(member.type),
        "size": member.size,
        "mode": 0 if is_global else member.header.mode,
        "uid": _number(pax, b"uid", block[108:116], is_global),
        "gid": _number(pax, b"gid", block[116:124], is_global),
        "uname": "" if is_global else text_of(pax.get(b"uname") or (b"" if v7 else _field(block, 265))),
        "gname": "" if is_global else text_of(pax.get(b"gname") or (b"" if v7 else _field(block, 297))),
        "linkname": "" if is_global else text_of(member.linkname),
        "devmajor": 0 if v7 or is_global else parse_number(block[329:337]),
        "devminor": 0 if v7 or is_global else parse_number(block[337:345]),
        "mtime": _time(member.mtime),
        "atime": _time(member.atime),
        "ctime": _time(member.ctime),
        "pax": [[text_of(key), text_of(pax[key])] for key in sorted(pax)],
    }


def _number(pax: dict[bytes, bytes], key: bytes, field: bytes, is_global: bool) -> int:
    if is_global:
        return 0
    return parse_integer(pax[key]) if pax.get(key) else parse_number(field)


def _field(block: bytes, start: int) -> bytes:
    return block[start : start + 32].partition(b"\0")[0]


def _time(nanoseconds: int | None) -> list[int] | None:
    """Seconds and nanoseconds; the seconds of the one time below 64 bits wrap as they do in Go."""
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return [(seconds + (1 << 63)) % (1 << 64) - (1 << 63), rest]
