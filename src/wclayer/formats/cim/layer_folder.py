"""A layer that is kept as a CIM has two places; what is done to the layer is done to both.

The image goes first when a layer is destroyed: without its image a layer is none any more. Layers above one that was
destroyed cannot be read. What another layer needs is therefore refused unless it is asked for in so many words.

Source: hcsshim ``internal/wclayer/cim`` (``DestroyCimLayer``), ``pkg/cimfs`` (``GetCimUsage``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.cim.files import cim_usage, destroy_cim, forks_of
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.folder.staging import remove_layer_folder

__all__ = ["cim_layer_usage", "destroy_cim_layer"]


def destroy_cim_layer(layer: CimLayer, *, force: bool = False) -> None:
    """Remove the image of ``layer`` with its regions, and its folder.

    A layer that has no image is left alone, folder and all, as hcsshim does: callers name folders that are no layers.
    Raises StoreError when other images were forked from it, unless ``force``; NotFoundError when there is neither.
    """
    if not os.path.lexists(layer.cim):
        if not layer.folder.exists():
            raise NotFoundError(f"there is no layer {layer.folder}: neither its image {layer.cim} nor its folder")
        return
    forks = [] if force else forks_of(layer.cim)
    if forks:
        raise StoreError(
            f"{layer.cim} has forks that cannot be read without it: {', '.join(fork.name for fork in forks)}",
            hint="destroy those first",
        )
    destroy_cim(layer.cim)
    if layer.folder.exists():
        remove_layer_folder(layer.folder)


def cim_layer_usage(layer: CimLayer) -> int:
    """The bytes that ``layer`` takes: the own regions and object ids of its image, and the files of its folder.

    A file with several names counts once. Raises NotFoundError, FormatError, StoreError.
    """
    seen: set[tuple[int, int]] = set()
    total = cim_usage(layer.cim)
    for path in _files(layer.folder):
        try:
            status = path.lstat()
        except OSError as error:
            raise StoreError(f"cannot look at {path}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_size
    return total


def _files(folder: Path) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StoreError(f"cannot list {error.filename}: {error.strerror}") from error

    for here, _, names in os.walk(folder, onerror=refused):
        for name in names:
            yield Path(here, name)
