"""An entry as the rules look at it: what the source says, before anything is corrected, refused or resolved.

A layer tar is looked at member by member, so that a name which no reader would let pass is a finding and not the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

from wclayer.errors import FormatError, WclayerError
from wclayer.formats.tar import Member, Members
from wclayer.formats.tar.pax import parse_time
from wclayer.formats.tar.reader import (
    CREATION_TIME,
    FILEATTR,
    MOUNTPOINT,
    extended_attributes,
    parse_attributes,
    security_descriptor,
)
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Tombstone
from wclayer.ntfs import security
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import decode_wtf8
from wclayer.ntfs.reparse import (
    IO_REPARSE_TAG_MOUNT_POINT,
    IO_REPARSE_TAG_SYMLINK,
    link_target,
    tag_name,
    tag_of,
)

__all__ = ["HEAD", "Examined", "examine_item", "examine_member"]

Kind: TypeAlias = Literal[
    "folder", "file", "symlink", "junction", "reparse", "link", "whiteout", "stream", "global", "device", "dataless"
]

HEAD = 512
"""How much of a file is looked at, in bytes."""

_KINDS: dict[int, Kind] = {
    ord("0"): "file",
    ord("1"): "link",
    ord("2"): "symlink",
    ord("3"): "device",
    ord("4"): "device",
    ord("5"): "folder",
    ord("6"): "device",
    ord("g"): "global",
}
_FRACTION = re.compile(rb"-?[0-9]+\.([0-9]{1,8})").fullmatch


@dataclass(slots=True)
class Examined:
    """One entry. ``name`` and ``target`` are as spelt; of a whiteout the name is the whole one, ``.wh.`` and all.

    ``times`` are nanoseconds since 1970 by their names, None where the source says none. ``head`` gives the first
    bytes of the data. ``problems`` are findings made on the way: rule and evidence.
    """

    name: str
    kind: Kind
    is_folder: bool = False
    target: str = ""
    attributes: int | None = None
    has_descriptor: bool = False
    times: dict[str, int | None] = field(default_factory=dict)
    size: int = 0
    head: Callable[[], bytes] = bytes
    problems: list[tuple[str, str]] = field(default_factory=list)


def examine_member(member: Member, members: Members) -> Examined:
    """A member of a layer tar. Raises nothing but what reading the archive raises."""
    problems: list[tuple[str, str]] = []
    name = _text(member.name, problems)
    kind = _KINDS.get(member.type, "dataless")
    base = name.rstrip("/").rpartition("/")[2]
    if kind != "global":
        if base.startswith(".wh."):
            kind = "whiteout"
        elif kind == "file" and ":" in base and not re.match(r"[A-Za-z]:", name):
            kind = "stream"
        elif kind == "symlink" and MOUNTPOINT in member.pax:
            kind = "junction"
    found = Examined(name, kind, problems=problems, size=member.size, head=lambda: _head_of(member, members))
    if kind not in ("global", "whiteout", "stream"):
        found.target = _text(member.linkname, problems)
        _read_records(found, member)
    return found


def examine_item(item: LayerItem) -> Examined:
    """An item of any other format, whose reader has looked at it already."""
    if isinstance(item, Tombstone):
        folder, _, base = item.path.rpartition("/")
        return Examined(f"{folder}/.wh.{base}" if folder else f".wh.{base}", "whiteout")
    if isinstance(item, AlternateStream):
        return Examined(f"{item.path}{item.name}", "stream")
    if isinstance(item, HardLink):
        return Examined(item.path, "link", target=item.target, times=_ticks(item.metadata))
    metadata = item.metadata
    found = Examined(
        item.path,
        "folder" if item.is_directory else "file",
        item.is_directory,
        attributes=metadata.attributes,
        has_descriptor=bool(metadata.security_descriptor),
        times=_ticks(metadata),
        size=item.data.size if item.data else 0,
        head=lambda: _head_of_entry(item),
    )
    if metadata.security_descriptor:
        _validate(metadata.security_descriptor, found.problems)
    if metadata.reparse is not None:
        _look_at_reparse(metadata.reparse, found)
    return found


def _text(name: bytes, problems: list[tuple[str, str]]) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        problems.append(("name-not-unicode", repr(name[:80])))
        return decode_wtf8(name)


def _read_records(found: Examined, member: Member) -> None:
    pax, problems = member.pax, found.problems
    found.times = {"mtime": member.mtime, "atime": member.atime, "ctime": member.ctime}
    found.is_folder = found.kind == "folder"
    try:
        if FILEATTR in pax:
            found.attributes = parse_attributes(pax[FILEATTR])
            is_folder = bool(found.attributes & FILE_ATTRIBUTE_DIRECTORY)
            if found.kind in ("file", "folder") and is_folder != found.is_folder:
                problems.append(("attributes-and-type", f"a {found.kind} with the attributes {found.attributes}"))
            found.is_folder = is_folder
    except FormatError as error:
        found.attributes = 0
        problems.append(("attributes-malformed", error.message))
    try:
        descriptor = security_descriptor(pax)
    except FormatError as error:
        problems.append(("descriptor-malformed", error.message))
    else:
        # go-winio takes an empty one for none.
        found.has_descriptor = bool(descriptor)
        if descriptor:
            _validate(descriptor, problems)
    try:
        extended_attributes(pax)
    except FormatError as error:
        rule = "attribute-too-large" if error.kind.endswith("too-large") else "record-malformed"
        problems.append((rule, error.message))
    _read_creation_time(found, member)


def _read_creation_time(found: Examined, member: Member) -> None:
    text = member.pax.get(CREATION_TIME)
    if text is None:
        return
    try:
        found.times["creation"] = parse_time(text)
    except FormatError as error:
        found.problems.append(("record-malformed", f"LIBARCHIVE.creationtime: {error.message}"))
        return
    fraction = _FRACTION(text)
    if fraction is None:
        return
    digits = fraction[1]
    # Whoever pads writes nine digits, or cuts zeros off their end; whoever does not writes the number as it is.
    same_as_mtime = member.mtime is not None and digits == b"%d" % (abs(member.mtime) % 1_000_000_000)
    if digits.endswith(b"0") or same_as_mtime:
        found.problems.append(("creation-time-unpadded", text.decode("ascii")))


def _validate(descriptor: bytes, problems: list[tuple[str, str]]) -> None:
    fault = _fault_of(descriptor)
    if fault:
        problems.append(("descriptor-malformed", fault))


@lru_cache(maxsize=4096)
def _fault_of(descriptor: bytes) -> str:
    """What is wrong with a descriptor, "" for nothing; layers repeat a few dozen of them thousands of times."""
    try:
        security.validate(descriptor)
    except WclayerError as error:
        return error.message
    return ""


def _look_at_reparse(buffer: bytes, found: Examined) -> None:
    try:
        tag = tag_of(buffer)
        if tag == IO_REPARSE_TAG_MOUNT_POINT:
            found.kind = "junction"
        elif tag == IO_REPARSE_TAG_SYMLINK:
            found.kind = "symlink"
        else:
            found.kind = "reparse"
            found.target = f"{tag_name(tag)} (0x{tag:08X})"
            return
        found.target = link_target(buffer)
    except WclayerError as error:
        found.kind = "reparse"
        found.target = error.message


def _ticks(metadata: Metadata) -> dict[str, int | None]:
    times = {
        "mtime": metadata.last_write_time,
        "atime": metadata.last_access_time,
        "ctime": metadata.change_time,
        "creation": metadata.creation_time,
    }
    return {name: None if ticks is None else (ticks - UNIX_EPOCH_TICKS) * 100 for name, ticks in times.items()}


def _head_of(member: Member, members: Members) -> bytes:
    head = b""
    if member.stored and member.ranges is None:
        for piece in members.body(member.stored):
            head += bytes(piece[: HEAD - len(head)])
            if len(head) >= HEAD:
                break
    return head


def _head_of_entry(entry: Entry) -> bytes:
    head = b""
    if entry.data is not None:
        for piece in entry.data.pieces():
            head += bytes(piece[: HEAD - len(head)])
            if len(head) >= HEAD:
                break
    return head
