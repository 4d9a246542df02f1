"""What there is to know about a path of an image, as plain values for people and for JSON."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from wclayer.errors import IntegrityError, UnsafeEntryError
from wclayer.formats.folder import Node
from wclayer.image.paths import windows_path
from wclayer.image.view import Found, View
from wclayer.model import Metadata
from wclayer.ntfs import attributes as file_attributes
from wclayer.ntfs import filetime, reparse

__all__ = ["KINDS", "Description", "Row", "describe", "kind_of", "list_row", "metadata_document"]

KINDS = ("directory", "file", "hardlink", "symlink", "junction", "reparse", "deleted")
"""The kinds of a path. ``reparse`` is a reparse point of another tag, ``deleted`` a tombstone."""

_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")


class Row(NamedTuple):
    """One line of a listing.

    ``size`` is that of the main stream in bytes, None where there is none. ``last_write_time`` is ISO text with 100 ns
    digits, None where the layer does not say. ``target`` is what a link leads to, as the layer spells it. ``layer`` is
    the number of the layer it comes from, 0 being the base.
    """

    path: str
    windows_path: str
    kind: str
    size: int | None
    attributes: int
    attribute_letters: str
    last_write_time: str | None
    target: str | None
    layer: int

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return self._asdict()


@dataclass(slots=True)
class Description:
    """Every metadata field of a path.

    ``times`` maps the names of the four times to ``{"filetime": ticks, "text": ISO}`` or None. ``layers`` are the
    numbers and names of the layers that take part in a folder, nearest first, or of the one that holds the file.
    """

    path: str
    windows_path: str
    kind: str
    size: int | None
    allocated: list[list[int]] | None
    attributes: int
    attribute_names: list[str]
    times: dict[str, dict[str, Any] | None]
    security: dict[str, Any] | None
    extended_attributes: list[dict[str, Any]]
    reparse: dict[str, Any] | None
    streams: list[dict[str, Any]]
    hard_link: dict[str, Any] | None
    layers: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)


def kind_of(view: View, found: Found) -> str:
    """One of :data:`KINDS`."""
    node = found.node
    if node is not None and node.is_tombstone:
        return "deleted"
    if node is not None and node.is_reparse_point:
        tag = reparse.tag_of(view.metadata(found).reparse or b"")
        kinds = {reparse.IO_REPARSE_TAG_SYMLINK: "symlink", reparse.IO_REPARSE_TAG_MOUNT_POINT: "junction"}
        return kinds.get(tag, "reparse")
    if found.is_folder:
        return "directory"
    return "hardlink" if node is not None and node.is_link else "file"


def list_row(view: View, found: Found) -> Row:
    """One line about ``found``. A hard link whose file is missing has what the layer says of the link itself."""
    node, target = found.node, None
    if node is not None and not (node.is_link or node.is_reparse_point or node.is_tombstone):  # nothing to follow
        source: Node | None = node
        kind, size = ("directory", None) if found.parts else ("file", node.size)
    else:
        kind = kind_of(view, found)
        holder, _ = _holder(view, found)
        source = holder[1] if holder else node
        size = holder[1].size if holder and kind in ("file", "hardlink", "reparse") else None
        if kind == "hardlink" and node is not None:
            target = node.target
        elif kind in ("symlink", "junction") and source is not None and source.reparse is not None:
            target = reparse.link_target(source.reparse)
    attributes, written = (source.attributes, source.last_write_time) if source is not None else (0, None)
    return Row(
        found.path,
        windows_path(found.path),
        kind,
        size,
        attributes,
        file_attributes.letters(attributes),
        None if written is None else filetime.to_text(written),
        target,
        view.number(found.layer),
    )


def describe(view: View, found: Found) -> Description:
    """Everything about ``found``."""
    kind = kind_of(view, found)
    holder, missing = _holder(view, found)
    metadata = holder[1].metadata() if holder else _own(found)
    data = None if found.is_folder or holder is None else holder[1]
    ranges = data.ranges if data else None
    streams = view.streams(found) if holder else ()
    layers = dict.fromkeys([layer for layer, _ in found.parts] or [found.layer])
    return Description(
        path=found.path,
        windows_path=windows_path(found.path),
        kind=kind,
        size=data.size if data else None,
        allocated=None if ranges is None else [list(pair) for pair in ranges],
        **metadata_document(metadata),
        streams=[{"name": one.name, "size": one.size, "layer": view.number(layer)} for layer, one in streams],
        hard_link=_hard_link(view, found, holder, missing) if kind == "hardlink" else None,
        layers=[{"number": view.number(layer), "name": view.layers[layer].label} for layer in layers],
    )


def metadata_document(metadata: Metadata) -> dict[str, Any]:
    """What is known of a file besides its data: the keys of :class:`Description` from ``attributes`` to ``reparse``."""
    return {
        "attributes": metadata.attributes,
        "attribute_names": file_attributes.names(metadata.attributes),
        "times": {name: _time(getattr(metadata, name)) for name in _TIMES},
        "security": _security(metadata),
        "extended_attributes": [
            {
                "name": ea.name.decode("utf-8", "backslashreplace"),
                "flags": ea.flags,
                "size": len(ea.value),
                "value": b64encode(ea.value).decode(),
            }
            for ea in metadata.extended_attributes
        ],
        "reparse": _reparse(metadata),
    }


def _holder(view: View, found: Found) -> tuple[tuple[int, Node] | None, str]:
    """The layer and the entry that describe ``found``; or why there is none."""
    if found.node is None or found.is_tombstone:
        return None, ""
    try:
        return view.content(found), ""
    except UnsafeEntryError as error:
        return None, error.message


def _own(found: Found) -> Metadata:
    return Metadata() if found.node is None else found.node.metadata()


def _time(ticks: int | None) -> dict[str, Any] | None:
    return None if ticks is None else {"filetime": ticks, "text": filetime.to_text(ticks)}


def _security(metadata: Metadata) -> dict[str, Any] | None:
    raw = metadata.security_descriptor
    if raw is None:
        return None
    from wclayer.ntfs import sddl  # a listing has no need of it

    result: dict[str, Any] = {"size": len(raw), "raw": b64encode(raw).decode(), "sddl": None, "damaged": None}
    try:
        result["sddl"] = sddl.to_sddl(raw)
    except IntegrityError as error:
        result["damaged"] = error.message
    return result


def _reparse(metadata: Metadata) -> dict[str, Any] | None:
    buffer = metadata.reparse
    if buffer is None:
        return None
    keys = ("tag", "tag_name", "substitute_name", "print_name", "relative", "damaged")
    result: dict[str, Any] = {"raw": b64encode(buffer).decode(), **dict.fromkeys(keys)}
    try:
        tag = reparse.tag_of(buffer)
        result |= {"tag": f"0x{tag:08X}", "tag_name": reparse.tag_name(tag)}
        parsed = reparse.parse_reparse(buffer)
    except IntegrityError as error:
        return result | {"damaged": error.message}
    if isinstance(parsed, reparse.SymbolicLink | reparse.MountPoint):
        result |= {"substitute_name": parsed.substitute_name, "print_name": parsed.print_name}
    if isinstance(parsed, reparse.SymbolicLink):
        result["relative"] = bool(parsed.flags & reparse.SYMLINK_FLAG_RELATIVE)
    return result


def _hard_link(view: View, found: Found, holder: tuple[int, Node] | None, missing: str) -> dict[str, Any]:
    return {
        "target": found.node.target if found.node is not None else None,
        "file": holder[1].path if holder else None,
        "layer": view.number(holder[0]) if holder else None,
        "missing": missing or None,
    }
