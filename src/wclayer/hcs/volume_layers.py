"""Layers in the form in which hcsshim leaves them (files as they are, ``layer.ntfs`` beside), and transport folders.

This is the form that :mod:`wclayer.formats.base` and hcsshim's order of operations work on. What Windows adds to an
imported layer, the view of its parents, is not made here; what the layer changes is there, and its deletions are noted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder.staging import Staging
from wclayer.formats.transport import TOMBSTONES, export_layer, import_layer
from wclayer.formats.transport.item_reader import open_transport_folder
from wclayer.formats.transport.publish import publish_transport
from wclayer.formats.transport.tombstones import parse_tombstones
from wclayer.formats.volume import Manifest, Volume
from wclayer.formats.volume.layer import LAYER_MANIFEST, open_layer_volume, synchronise

__all__ = ["export_volume_layer", "import_volume_layer", "is_volume_layer"]


def is_volume_layer(path: Path) -> bool:
    """Whether the layer in ``path`` has this form."""
    return (path / LAYER_MANIFEST).is_file()


def import_volume_layer(path: Path, folder: Path) -> Mapping[str, int]:
    """Make the layer ``path`` of the transport folder ``folder``, whole or not at all; returns the notices, counted.

    ``path`` must not exist, or be empty. Raises FormatError, NotFoundError, StoreError.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no transport folder {folder}")
    staging = Staging(path)
    try:
        with ExitStack() as held:
            layer = held.enter_context(open_layer_volume(staging.path, label=str(path), writable=True))
            transport = held.enter_context(open_transport_folder(folder, layer.notices))
            import_layer(layer, transport)
            if layer.manifest is not None:
                layer.manifest.set_tombstones(_deletions(transport))
        synchronise(staging.path)
        staging.publish()
    finally:
        staging.discard()
    return dict(layer.notices.counts)


def export_volume_layer(path: Path, folder: Path) -> Mapping[str, int]:
    """Write the layer ``path`` as the transport folder ``folder``, whole or not at all; returns the notices counted."""
    staging = Staging(folder)
    staged = staging.path / "transport"
    try:
        staged.mkdir()
        with ExitStack() as held:
            layer = held.enter_context(open_layer_volume(path))
            manifest = Manifest(staging.path / "manifest")
            transport = held.enter_context(Volume(staged, manifest, label=str(folder), notices=layer.notices))
            export_layer(layer, transport)
        publish_transport(staged, staging.path / "manifest", Path(os.path.abspath(folder)))  # noqa: PTH100 - no links
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        staging.discard()
    return dict(layer.notices.counts)


def _deletions(transport: Volume) -> list[str]:
    """What ``tombstones.txt`` names; nothing where there is no such file, as after an import from a tar."""
    if not transport.exists(TOMBSTONES):
        return []
    descriptor = transport.open_data(transport.lstat(TOMBSTONES))
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - an open descriptor
        return [f"Files\\{path}" for path in parse_tombstones(file.read)]
