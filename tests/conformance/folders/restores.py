"""Restores compared: which files, in which order, and exactly which bytes went to BackupWrite."""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.conformance.folders.rules import Rules
from wclayer.formats.transport.names import MUTATED_BACKUPS, is_mutated
from wclayer.formats.volume import Volume

__all__ = ["compare_restores", "same_but_for_order", "without_copies"]

_LAYER = "\\\\?\\{layer}\\"
_HEAD = struct.Struct("<IIQI")
_EA = struct.Struct("<IBBH")
_EA_DATA = 2


def compare_restores(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], rules: Rules, interrupted: set[str]
) -> Iterator[str]:
    """The differences; of the files ``interrupted`` by an error ours may have written less."""
    ours = [_named(write) for write in ours]
    theirs = [_named(write) for write in theirs]
    if interrupted and len(ours) < len(theirs):
        theirs = [write for write in theirs if _path(write) not in interrupted]
    for index, (mine, wanted) in enumerate(zip(ours, theirs, strict=False)):
        for key in ("path", "security", "stream"):
            if mine[key] == wanted[key] or _path(mine) in interrupted:
                continue
            if key == "stream" and same_but_for_order(_bytes(mine), _bytes(wanted)):
                rules.use("ea-order")
                continue
            yield f"write {index}, {key}: ours {mine[key]!s:.200}, expected {wanted[key]!s:.200}"
    if len(ours) != len(theirs):
        extra = {write["path"] for write in ours} ^ {write["path"] for write in theirs}
        yield f"{len(ours)} writes, expected {len(theirs)}: {sorted(extra)}"


def same_but_for_order(ours: bytes, theirs: bytes) -> bool:
    """Whether two backup streams differ in nothing but the order of extended attributes."""
    return len(ours) == len(theirs) and _sorted_eas(ours) == _sorted_eas(theirs)


def without_copies(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], parents: Sequence[Volume]
) -> list[dict[str, Any]]:
    """``ours`` without the boot files that were copied from the parent's utility VM, which the reference links."""
    count = Counter(write["path"] for write in theirs)
    extra = Counter(write["path"] for write in ours)
    kept = []
    for write in ours:
        path = write["path"]
        relative = path.removeprefix(_LAYER)
        if extra[path] > count[path] and is_mutated(relative) and parents and parents[0].exists(relative):
            extra[path] = 0  # the clone comes first; what the layer itself writes stays
            continue
        kept.append(write)
    return kept


def _named(write: dict[str, Any]) -> dict[str, Any]:
    """``write``; the copies of boot files are made by another way, with or without the long prefix."""
    short = write["path"].removeprefix("\\\\?\\")
    return {**write, "path": short} if short.partition("}\\")[2] in MUTATED_BACKUPS else write


def _path(write: dict[str, Any]) -> str:
    path = write["path"]
    assert isinstance(path, str)
    return path.partition("}\\")[2]


def _bytes(write: dict[str, Any]) -> bytes:
    return base64.b64decode(write["stream"])


def _sorted_eas(stream: bytes) -> list[bytes]:
    """The records of a backup stream, those of extended attributes as their sorted attributes."""
    records: list[bytes] = []
    position = 0
    while position + _HEAD.size <= len(stream):
        number, _attributes, size, name_size = _HEAD.unpack_from(stream, position)
        end = position + _HEAD.size + name_size + size
        if number == _EA_DATA:
            records.append(stream[position : position + _HEAD.size])
            records += sorted(_attributes_of(stream[position + _HEAD.size : end]))
        else:
            records.append(stream[position:end])
        position = end
    return [*records, stream[position:]]


def _attributes_of(buffer: bytes) -> Iterator[bytes]:
    while len(buffer) >= _EA.size:
        following, _flags, name_size, value_size = _EA.unpack_from(buffer)
        yield buffer[4 : _EA.size + name_size + 1 + value_size]
        if not following:
            return
        buffer = buffer[following:]
