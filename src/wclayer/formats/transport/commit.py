"""What happens between the last entry and a finished layer, in the one order that is right.

Import first, then deletions, then hard links, then the times of folders, children first, then the utility VM: a layer
may delete a name and link it anew, and both change the times of the folder around (hcsshim's ``legacyLayerWriterWrapper
.Close``). Any step that fails ends the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wclayer.formats.transport.names import UTILITY_VM
from wclayer.formats.transport.utility_vm import copy_node
from wclayer.formats.transport.writer import LegacyLayerWriter, PendingLink
from wclayer.formats.volume import Volume, VolumeError
from wclayer.formats.volume.errors import ERROR_DIRECTORY
from wclayer.formats.volume.paths import clean

__all__ = ["ImportLayer", "ProcessUtilityImage", "commit_layer"]

ImportLayer = Callable[[Volume, Volume, Sequence[Volume]], None]
"""ImportLayer: the layer's folder, the transport folder, the parents nearest first."""

ProcessUtilityImage = Callable[[Volume], None]
"""ProcessUtilityImage for the utility VM in the layer's folder."""


def commit_layer(
    writer: LegacyLayerWriter, import_layer: ImportLayer, process_utility_image: ProcessUtilityImage
) -> None:
    """Finish the layer of ``writer``. Raises what a step raises; nothing after that step is done then.

    Called again it does nothing, or raises the first error again: half a layer is never gone on with.
    """
    if writer.committed is None:
        try:
            _commit(writer, import_layer, process_utility_image)
        except BaseException as error:
            writer.committed = error
            raise
        writer.committed = True
    elif isinstance(writer.committed, BaseException):
        raise writer.committed


def _commit(writer: LegacyLayerWriter, import_layer: ImportLayer, process_utility_image: ProcessUtilityImage) -> None:
    writer.close()
    layer = writer.layer
    import_layer(layer, writer.transport, writer.parents)
    for path in writer.tombstones:
        _remove(layer, path)
    for link in writer.pending_links:
        _replay(layer, link)
    for folder in reversed(writer.changed_folders):
        path = clean(folder.path)
        status = layer.lstat(path, "open")
        if not status.is_directory:
            raise VolumeError("open", path, ERROR_DIRECTORY, where=layer.label)
        layer.set_basic(status, folder.basic)
    if layer.manifest is not None:
        layer.manifest.set_tombstones(writer.tombstones)
    if writer.has_utility_vm:
        layer.ensure_not_reparse_point(UTILITY_VM)
        process_utility_image(layer)


def _remove(layer: Volume, path: str) -> None:
    try:
        layer.remove(path)
    except VolumeError as error:
        if not error.is_missing:
            raise


def _replay(layer: Volume, link: PendingLink) -> None:
    _remove(layer, link.path)
    try:
        status = link.root.lstat(link.target, "link")
    except VolumeError as error:
        if not error.is_missing:
            raise
        raise VolumeError(
            "link",
            link.path,
            error.winerror,
            where=layer.label,
            reason=f"{link.target} is not in {link.root.label}; the layer may delete what it links to",
        ) from error
    if not layer.link(link.root, link.target, clean(link.path)):
        layer.notices.add("link-copied", link.path, f"the file system cannot link it to {link.target}; it was copied")
        copy_node(link.root, status, layer, clean(link.path))
