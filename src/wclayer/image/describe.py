"""What there is to know about a path of an image, as plain values for people and for JSON."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass, field
from typing import Any

from wclayer.errors import IntegrityError, NotFoundError
from wclayer.image.paths import windows_path
from wclayer.image.view import Found, View
from wclayer.model import Metadata
from wclayer.ntfs import attributes as file_attributes
from wclayer.ntfs import filetime, reparse, sddl

__all__ = ["Description", "Row", "describe", "kind_of", "list_row"]

_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")


@dataclass(slots=True)
class Row:
    """One line of a listing. Times are ISO text with 100 ns digits, None where the layer does not say."""

    path: str
    windows_path: str
    kind: str
    size: int | None
    attributes: int
    attribute_letters: str
    last_write_time: str | None
    target: str | None
    layer: str


@dataclass(slots=True)
class Description:
    """Every metadata field of a path.

    ``times`` maps the names of the four times to ``{"filetime": ticks, "text": ISO}`` or None. ``layers`` names every
    layer that takes part in a folder, nearest first, or the one that holds the file.
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
    layers: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)


def kind_of(view: View, found: Found) -> str:
    """``directory``, ``file``, ``symlink``, ``junction``, ``reparse`` (another tag) or ``hardlink``."""
    node = found.node
    if node is not None and node.is_reparse_point:
        tag = reparse.tag_of(view.metadata(found).reparse or b"")
        kinds = {reparse.IO_REPARSE_TAG_SYMLINK: "symlink", reparse.IO_REPARSE_TAG_MOUNT_POINT: "junction"}
        return kinds.get(tag, "reparse")
    if found.is_folder:
        return "directory"
    return "hardlink" if node is not None and node.is_link else "file"


def list_row(view: View, found: Found) -> Row:
    """One line about ``found``."""
    metadata = view.metadata(found)
    kind = kind_of(view, found)
    target = None
    if metadata.reparse is not None and kind != "reparse":
        target = reparse.link_target(metadata.reparse)
    elif kind == "hardlink" and found.node is not None:
        target = found.node.target
    return Row(
        found.path,
        windows_path(found.path),
        kind,
        view.size(found) if target is None or kind == "hardlink" else None,
        metadata.attributes,
        file_attributes.letters(metadata.attributes),
        _text(metadata.last_write_time),
        target,
        view.layers[found.layer].label,
    )


def describe(view: View, found: Found) -> Description:
    """Everything about ``found``."""
    metadata = view.metadata(found)
    kind = kind_of(view, found)
    node = found.node
    ranges = None if node is None or found.is_folder else view.content(found)[1].ranges
    layers = [view.layers[layer].label for layer, _ in found.parts] or [view.layers[found.layer].label]
    return Description(
        found.path,
        windows_path(found.path),
        kind,
        view.size(found),
        None if ranges is None else [list(pair) for pair in ranges],
        metadata.attributes,
        file_attributes.names(metadata.attributes),
        {name: _time(getattr(metadata, name)) for name in _TIMES},
        _security(metadata),
        [
            {
                "name": ea.name.decode("utf-8", "backslashreplace"),
                "flags": ea.flags,
                "size": len(ea.value),
                "value": b64encode(ea.value).decode(),
            }
            for ea in metadata.extended_attributes
        ],
        _reparse(metadata),
        [
            {"name": stream.name, "size": stream.size, "layer": view.layers[layer].label}
            for layer, stream in view.streams(found)
        ],
        _hard_link(view, found) if kind == "hardlink" else None,
        layers,
    )


def _text(ticks: int | None) -> str | None:
    return None if ticks is None else filetime.to_text(ticks)


def _time(ticks: int | None) -> dict[str, Any] | None:
    return None if ticks is None else {"filetime": ticks, "text": filetime.to_text(ticks)}


def _security(metadata: Metadata) -> dict[str, Any] | None:
    raw = metadata.security_descriptor
    if raw is None:
        return None
    result: dict[str, Any] = {"size": len(raw), "raw": b64encode(raw).decode()}
    try:
        result["sddl"] = sddl.to_sddl(raw)
    except IntegrityError as error:
        result["damaged"] = error.message
    return result


def _reparse(metadata: Metadata) -> dict[str, Any] | None:
    buffer = metadata.reparse
    if buffer is None:
        return None
    result: dict[str, Any] = {"raw": b64encode(buffer).decode()}
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


def _hard_link(view: View, found: Found) -> dict[str, Any]:
    target = found.node.target if found.node is not None else None
    try:
        layer, node = view.content(found)
    except (IntegrityError, NotFoundError) as error:
        return {"target": target, "layer": None, "missing": error.message}
    return {"target": target, "file": node.path, "layer": view.layers[layer].label}
