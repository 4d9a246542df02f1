"""ImportLayer, ExportLayer and ProcessUtilityImage as far as they can be done off Windows.

ImportLayer takes a transport folder apart into the layer's folder: blobs become files, sidecars become what is known of
their folders. ExportLayer is the way back, deletions included. What Windows adds to that, the view of the parents'
files, is its own secret and is not made here; what a layer changes is all there. ProcessUtilityImage makes disks that
only Windows needs, and changes nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from wclayer.errors import FormatError
from wclayer.formats.folder.door import store_error
from wclayer.formats.transport.files import BlobFile, EntryFile, RestoredFile
from wclayer.formats.transport.names import (
    ATTRIBUTES_SIZE,
    FILES,
    HIVES,
    SIDECAR,
    TOMBSTONES,
    UTILITY_VM,
    is_blob,
    is_sidecar,
)
from wclayer.formats.transport.tombstones import tombstone_lines
from wclayer.formats.volume import BackupRestore, OpenNode, Status, Volume, VolumeError, copy_backup
from wclayer.formats.volume.paths import is_below

__all__ = ["export_layer", "import_layer", "process_nothing"]

_PIECE = 1 << 20


def import_layer(layer: Volume, transport: Volume, parents: Sequence[Volume] = ()) -> None:
    """Take the ``transport`` folder apart into the folder ``layer``; ``parents`` are not needed for that.

    Raises FormatError for what is no transport folder, VolumeError, StoreError.
    """
    del parents
    observer, layer.observer = layer.observer, None
    try:
        for status in transport.walk("", _is_no_entry):
            _import_one(layer, transport, status)
    finally:
        layer.observer = observer


def export_layer(layer: Volume, transport: Volume, *, below_files: bool = True) -> None:
    """Write what the folder ``layer`` changes of its parents into the empty folder ``transport``.

    The utility VM is not part of a transport folder; that it is left out is a notice. Names of one file stay such.
    Without ``below_files`` only the folder ``Files`` itself is written and nothing that is in it.
    """
    for top in (FILES, HIVES):
        for status in layer.walk(top) if below_files or top != FILES else (layer.lstat(top),):
            _export_one(layer, transport, status)
    if layer.exists(UTILITY_VM):
        layer.notices.add("utility-vm-left-out", UTILITY_VM, "a transport folder holds no utility VM")
    deleted = layer.manifest.tombstones() if layer.manifest is not None else []
    node = transport.create(TOMBSTONES)
    try:
        with open(node.descriptor, "wb", closefd=False) as file:
            file.writelines(tombstone_lines(path[len(FILES) + 1 :] for path in deleted))
        node.close()
    except OSError as error:
        raise store_error(error, "cannot write", node.host, transport.label) from error
    finally:
        node.abandon()


def _export_one(layer: Volume, transport: Volume, status: Status) -> None:
    path = name = status.path
    if status.is_directory:
        transport.mkdir(path)
        name = path + SIDECAR
    elif status.links > 1 and is_blob(path):
        first = layer.first_name(status)
        if first != path:
            if transport.link(transport, first, path):
                return
            layer.notices.add("link-copied", path, f"the file system cannot link it to {first}; it was copied")
    node = transport.create(name)
    basic = status.basic
    node.set_times(basic)
    file: EntryFile
    if is_below(path, HIVES):
        file, security = RestoredFile(node, security=False), False
    else:
        file, security = BlobFile(node, basic.attributes), True
    try:
        copy_backup(layer, status, file.write, security=security)
        file.close()
    except BaseException:
        file.abandon()
        raise


def process_nothing(_layer: Volume) -> None:
    """ProcessBaseImage and ProcessUtilityImage off Windows: the layer is prepared and not processed."""


def _is_no_entry(status: Status) -> bool:
    if not status.is_directory:
        return status.path == TOMBSTONES or is_sidecar(status.path)
    if is_sidecar(status.path):
        raise FormatError(f"a folder whose name ends in {SIDECAR}", kind="sidecar", path=status.path)
    return False


def _import_one(layer: Volume, transport: Volume, status: Status) -> None:
    path = status.path
    if not status.is_directory:
        node = layer.create(path)
        described: Status | None = status
        is_plain = not is_blob(path)
    else:
        if not layer.exists(path):
            layer.mkdir(path)
        node = layer.open_folder(path)
        described = _sidecar(transport, path)
        is_plain = is_below(path, HIVES)
    try:
        if described is not None and is_plain:
            node.set_basic(
                described.basic._replace(attributes=0 if status.is_directory else described.basic.attributes)
            )
            restore = BackupRestore(node, security=False)
            if not status.is_directory:
                copy_backup(transport, described, restore.write, security=False)
            restore.close()
        elif described is not None:
            _restore_blob(transport, described, node)
        node.close()
    except BaseException:
        node.abandon()
        raise


def _sidecar(transport: Volume, path: str) -> Status | None:
    try:
        return transport.lstat(path + SIDECAR)
    except VolumeError as error:
        if not error.is_missing:
            raise
        if is_below(path, FILES):
            raise FormatError("a folder without the file that describes it", kind="sidecar", path=path) from error
        return None


def _restore_blob(transport: Volume, blob: Status, node: OpenNode) -> None:
    descriptor = transport.open_data(blob)
    try:
        prefix = os.read(descriptor, ATTRIBUTES_SIZE)
        if len(prefix) < ATTRIBUTES_SIZE:
            raise FormatError("truncated blob: it has no attributes", kind="unexpected-eof", path=blob.path)
        node.set_basic(blob.basic._replace(attributes=int.from_bytes(prefix, "little")))
        restore = BackupRestore(node, security=True)
        while piece := os.read(descriptor, _PIECE):
            restore.write(piece)
        restore.close()
    except OSError as error:
        raise store_error(error, "cannot read", blob.host, transport.label) from error
    finally:
        os.close(descriptor)
