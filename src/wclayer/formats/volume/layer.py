"""The folder of a layer as a volume, its manifest in it: ``layer.ntfs``, a name no entry of the layer can take."""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.formats.folder import LayerFolder
from wclayer.formats.folder.content import INDEX
from wclayer.formats.folder.door import store_error
from wclayer.formats.volume.layer_folder import LayerFolderManifest
from wclayer.formats.volume.manifest import Manifest
from wclayer.formats.volume.volume import RestoreObserver, Volume
from wclayer.model import Notices

__all__ = ["LAYER_MANIFEST", "open_layer_volume", "synchronise"]

LAYER_MANIFEST = "layer.ntfs"
"""The manifest of a layer's folder, in that folder."""


def open_layer_volume(
    path: Path,
    *,
    label: str = "",
    writable: bool = False,
    notices: Notices | None = None,
    observer: RestoreObserver | None = None,
) -> Volume:
    """The folder of a layer as a volume, with its manifest if it has one. With ``writable`` it gets one.

    A layer folder of this package, with ``layer.db``, can be read too. Raises StoreError, and IntegrityError for a
    manifest that is none.
    """
    place = path / LAYER_MANIFEST
    hidden, is_whole = LAYER_MANIFEST, True
    manifest: Manifest | None = None
    if not writable and (path / os.fsdecode(INDEX)).exists():
        folder = LayerFolder(path)
        manifest, hidden, is_whole = LayerFolderManifest(folder), "layer", not folder.parent_paths
    elif writable or place.exists():
        manifest = Manifest(place, read_only=not writable)
    try:
        volume = Volume(path, manifest, label=label, notices=notices, observer=observer, hidden=(hidden,))
    except BaseException:
        if manifest is not None:
            manifest.close(commit=False)
        raise
    volume.is_whole = is_whole
    return volume


def synchronise(path: Path, *, everything: bool = False) -> None:
    """Make the closed manifest of the layer in ``path`` durable; with ``everything`` its data too."""
    place = path / LAYER_MANIFEST
    try:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise store_error(error, "cannot synchronise", os.fsencode(place), "") from error
    if everything:
        os.sync()
