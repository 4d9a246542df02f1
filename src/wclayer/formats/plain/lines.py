"""The lines of ``wclayer.jsonl``: one JSON object for each item of a layer, in its order.

The first line names the schema. Binary fields are base64. A security descriptor stands as SDDL (``sddl``) where that
says all of it, else as bytes (``security``). A field that is not there means "none", or "as the file itself says".
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import Any, NamedTuple, TypeAlias

from wclayer.errors import FormatError, WclayerError
from wclayer.formats.plain.names import METADATA
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import checked_path, checked_stream_name
from wclayer.ntfs.sddl import from_sddl, to_sddl
from wclayer.ntfs.security import build

__all__ = ["MAX_LINE", "DescriptorTexts", "Line", "encode_item", "parse_line"]

MAX_LINE = 64 << 20  # bytes

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")
_KINDS = ("folder", "file", "link", "tombstone", "stream")
_MAX_TIME = 1 << 64


class Line(NamedTuple):
    """One line. ``item`` has no data; where that is, ``host``, ``size``, ``ranges`` and ``content`` say.

    ``host`` is the path of the file below the plain folder, None for the item's own path; ``content`` the data itself.
    """

    item: LayerItem
    host: str | None
    size: int | None
    ranges: Ranges | None
    content: bytes | None


class DescriptorTexts:
    """Security descriptors as text. A layer has a few dozen of them, thousands of times."""

    def __init__(self) -> None:
        self._known: dict[bytes, dict[str, str]] = {}
        self._built: dict[str, bytes] = {}

    def fields(self, descriptor: bytes) -> dict[str, str]:
        """The field that holds ``descriptor``."""
        known = self._known.get(descriptor)
        if known is None:
            known = {"security": b64encode(descriptor).decode()}
            try:
                text = to_sddl(descriptor)
                if build(from_sddl(text)) == descriptor:
                    known = {"sddl": text}
            except WclayerError:
                known = {"security": b64encode(descriptor).decode()}  # bytes that no text spells
            if len(self._known) >= 1 << 14:
                self._known.clear()
            self._known[descriptor] = known
        return known

    def descriptor(self, text: str) -> bytes:
        """The descriptor that ``text`` spells."""
        known = self._built.get(text)
        if known is None:
            if len(self._built) >= 1 << 14:
                self._built.clear()
            known = self._built[text] = build(from_sddl(text))
        return known


def encode_item(
    item: LayerItem, texts: DescriptorTexts, *, host: str | None = None, content: bytes | None = None
) -> bytes:
    """The line for ``item``, with its line end."""
    fields: dict[str, Any] = {"path": item.path}
    if isinstance(item, Tombstone):
        fields["kind"] = "tombstone"
    elif isinstance(item, AlternateStream):
        fields |= {"kind": "stream", "name": item.name, "size": item.data.size}
        fields |= _ranges(item.data.ranges)
    elif isinstance(item, HardLink):
        fields |= {"kind": "link", "target": item.target, **_metadata(item.metadata, texts)}
    else:
        fields |= {"kind": "folder" if item.is_directory else "file", **_metadata(item.metadata, texts)}
        if item.data is not None:
            fields |= {"size": item.data.size, **_ranges(item.data.ranges)}
        if item.file_id is not None:
            fields["file_id"] = b64encode(item.file_id).decode()
    if host is not None:
        fields["host"] = host
    if content is not None:
        fields["data"] = b64encode(content).decode()
    return json.dumps(fields, ensure_ascii=True, separators=(", ", ": ")).encode("ascii") + b"\n"


def parse_line(line: bytes, number: int, texts: DescriptorTexts) -> Line:
    """The item that ``line`` describes. Raises FormatError, or UnsafeEntryError for a path, naming the line."""
    try:
        return _Parser(json.loads(line), texts).line()
    except (ValueError, RecursionError, _Bad) as error:
        raise FormatError(f"line {number} of {METADATA} {_reason(error)}", kind="plain-metadata") from None
    except WclayerError as error:
        error.message = f"line {number} of {METADATA}: {error.message}"
        raise


class _Bad(Exception):
    pass


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Bad) else f"is no JSON: {error}"


class _Parser:
    def __init__(self, fields: Any, texts: DescriptorTexts) -> None:
        if not isinstance(fields, dict):
            raise _Bad("is no object")
        self._fields: dict[str, Any] = fields
        self._texts = texts

    def line(self) -> Line:
        kind = self._text("kind")
        if kind not in _KINDS:
            raise _Bad(f"is of no known kind: {kind!r}")
        path = checked_path(self._text("path"))
        if not path:
            raise _Bad("has no path")
        host = self._text("host") if "host" in self._fields else None
        size, ranges = self._number("size", 1 << 63), self._read_ranges()
        item: LayerItem
        if kind == "tombstone":
            item = Tombstone(path)
        elif kind == "stream":
            item = AlternateStream(path, checked_stream_name(self._text("name"), path=path), Stream.from_bytes(b""))
        elif kind == "link":
            item = HardLink(path, checked_path(self._text("target")), self._metadata())
        else:
            file_id = self._bytes("file_id")
            item = Entry(path, self._metadata(), is_directory=kind == "folder", file_id=file_id)
        return Line(item, host, size, ranges, self._bytes("data"))

    def _metadata(self) -> Metadata:
        descriptor = self._bytes("security")
        if descriptor is None and "sddl" in self._fields:
            descriptor = self._texts.descriptor(self._text("sddl"))
        creation, access, write, change = (self._number(name, _MAX_TIME, signed=True) for name in _TIMES)
        return Metadata(
            self._number("attributes", 1 << 32) or 0,
            creation,
            access,
            write,
            change,
            descriptor,
            self._attributes(),
            self._bytes("reparse"),
        )

    def _attributes(self) -> tuple[ExtendedAttribute, ...]:
        listed = self._fields.get("ea", [])
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise _Bad("has no list of extended attributes in 'ea'")
        found = []
        for one in listed:
            inner = _Parser(one, self._texts)
            name, value = inner._bytes("name"), inner._bytes("value")
            if name is None or value is None:
                raise _Bad("has an extended attribute without name or value")
            found.append(ExtendedAttribute(name, value, inner._number("flags", 256) or 0))
        return tuple(found)

    def _read_ranges(self) -> Ranges | None:
        value = self._fields.get("ranges")
        if value is None:
            return None
        if not isinstance(value, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in value
        ):
            raise _Bad("has no list of pairs in 'ranges'")
        return tuple((pair[0], pair[1]) for pair in value)

    def _text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise _Bad(f"has no text in {name!r}")
        return value

    def _number(self, name: str, limit: int, *, signed: bool = False) -> int | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if type(value) is not int or not (-limit if signed else 0) <= value < limit:
            raise _Bad(f"has no number in {name!r}")
        return value

    def _bytes(self, name: str) -> bytes | None:
        if name not in self._fields:
            return None
        try:
            return b64decode(self._text(name).encode(), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise _Bad(f"has no base64 in {name!r}") from None


def _metadata(metadata: Metadata, texts: DescriptorTexts) -> dict[str, Any]:
    fields: dict[str, Any] = {"attributes": metadata.attributes}
    fields |= {name: time for name in _TIMES if (time := getattr(metadata, name)) is not None}
    if metadata.security_descriptor is not None:
        fields |= texts.fields(metadata.security_descriptor)
    if metadata.extended_attributes:
        fields["ea"] = [
            {"name": b64encode(one.name).decode(), "value": b64encode(one.value).decode(), "flags": one.flags}
            for one in metadata.extended_attributes
        ]
    if metadata.reparse is not None:
        fields["reparse"] = b64encode(metadata.reparse).decode()
    return fields


def _ranges(ranges: Ranges | None) -> dict[str, Any]:
    return {} if ranges is None else {"ranges": [list(pair) for pair in ranges]}
