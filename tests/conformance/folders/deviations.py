"""Where the reference and ours part on purpose in an import: told by what the case holds, never by its name."""

from __future__ import annotations

from typing import Any, Protocol

from wclayer.errors import FormatError, UsageError, WclayerError
from wclayer.formats.base import BaseLayerWriter
from wclayer.formats.transport import LegacyLayerWriter
from wclayer.formats.transport.names import FILES, UTILITY_VM
from wclayer.formats.volume import UnsafePathError
from wclayer.formats.volume.paths import base_of, clean
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_REPARSE_POINT

__all__ = ["Imported", "hides_utility_vm", "read_otherwise"]

_SHORT_BUFFER = (24, 87)  # ERROR_BAD_LENGTH, ERROR_INVALID_PARAMETER


class Imported(Protocol):
    """An import that was run: what it ended with, and the names of its tar as Windows paths."""

    kind: str
    error: WclayerError | None
    writer: LegacyLayerWriter | BaseLayerWriter
    link_names: list[str]
    last_name: str


def read_otherwise(run: Imported, expected: dict[str, Any]) -> str | None:
    """The rule by which one of the two refuses what the other takes, if there is one."""
    wanted, ours = expected["error"], run.error
    if wanted and wanted.get("stage") == "panic":
        return None
    if ours is None and wanted:
        text = wanted["text"]
        about_links = text.startswith(("link ", "failed to find link target", "invalid hard link in layer"))
        if about_links and any(clean(name) != name for name in run.link_names):
            return "link-name-normalised"
        if wanted["errno"] in _SHORT_BUFFER and any(len(base_of(clean(name))) == 1 for name in run.link_names):
            return "short-link-name"
    if ours is None:
        return None
    kind = ours.kind if isinstance(ours, FormatError) else ""
    if kind == "link" and (not wanted or wanted["errno"] is not None) and clean(ours.path or "") != ours.path:
        return "link-name-normalised"
    if kind == "sidecar" and run.kind == "import-full":
        return "sidecar-refused"
    if (
        isinstance(ours, UsageError)
        and ours.message.startswith("closed")
        and not wanted
        and run.last_name.partition(":")[0] == ours.path
    ):
        return "last-entry-noticed"
    files = next((entry for entry in expected.get("layer", ()) if entry["path"] == FILES), None)
    if (
        isinstance(ours, UnsafePathError)
        and not wanted
        and files
        and files["attributes"] & FILE_ATTRIBUTE_REPARSE_POINT
    ):
        return "files-reparse-refused"
    return None


def hides_utility_vm(run: Imported, expected: dict[str, Any]) -> bool:
    """Whether the reference passed over a utility VM for the slash or dot in its name, and ours did not."""
    if run.kind == "import-base":
        return run.error is None
    if run.error is None:
        folder: dict[str, Any] = next((entry for entry in expected.get("layer", ()) if entry["path"] == UTILITY_VM), {})
        ordinary = UTILITY_VM in expected.get("added_files", ()) or folder.get("creation") is not None
        return ordinary or bool(expected["error"]) or run.writer.has_utility_vm != _expects_utility_vm(expected)
    return not expected["error"] and "utility VM image failed" in str(run.error)


def _expects_utility_vm(expected: dict[str, Any]) -> bool:
    if "has_utility_vm" in expected:
        return bool(expected["has_utility_vm"])
    return any(call["fn"] == "ProcessUtilityImage" for call in expected["vmcompute"])
