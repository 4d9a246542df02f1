"""One merged folder: what a container sees, as a layer folder without parents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import LayerFolderWriter, sweep
from wclayer.formats.folder.staging import Staging
from wclayer.image.chain import is_layer_folder
from wclayer.image.merged import MergedReader
from wclayer.image.paths import layer_path
from wclayer.image.places import CIM_PREFIX, folder_made
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.target import open_view
from wclayer.image.unpack import UnpackOptions, UnpackResult, unpack, unpack_image
from wclayer.image.unpacked import UnpackedImage, refuse_unfinished
from wclayer.model import Entry, LayerItem, Notice, Notices, copy_layer

__all__ = ["MergeResult", "unpack_merged"]


@dataclass(slots=True)
class MergeResult:
    """What was merged: ``layers`` is how many there were, ``entries`` and ``size`` (bytes) what came out of them."""

    reference: str
    folder: Path
    layers: int
    entries: int = 0
    size: int = 0
    subtree: str = ""
    notes: tuple[str, ...] = ()
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def unpack_merged(
    reference: str,
    folder: Path,
    options: UnpackOptions = UnpackOptions(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
    *,
    subtree: str | None = None,
) -> MergeResult:
    """Unpack what a container of the image ``reference`` sees to ``folder``, or only ``subtree`` of it.

    ``reference`` may also be an unpacked image, a layer folder or ``cim:…``. Deletions are applied, names of several
    layers are brought together without regard to case, and everything NTFS knows is in ``folder/layer.db``. The folder
    appears whole or not at all; one that holds anything is an error.
    """
    path = layer_path(subtree) if subtree else ""
    source = Path(reference)
    refuse_unfinished(source)
    try:
        if UnpackedImage.is_one(source) or is_layer_folder(source):
            with _place_for(folder):
                return _merge(reference, reference, folder, path, options)
        with ExitStack() as held:
            image = None if reference.startswith(CIM_PREFIX) else held.enter_context(options.open_image(reference))
            parent = held.enter_context(_place_for(folder))
            staging = Staging(parent / f"{folder.name}.layers")
            held.callback(staging.discard)
            if image is None:
                unpacked = unpack(reference, staging.path, options, progress)
            else:
                unpacked = unpack_image(image, staging.path, options, progress)
            return _merge(reference, str(staging.path), folder, path, options, unpacked)
    except WclayerError as error:
        error.image = reference  # not the folder that the layers were unpacked to on the way
        raise


@contextmanager
def _place_for(folder: Path) -> Iterator[Path]:
    """The folder that ``folder`` is to be made in. StoreError when ``folder`` is taken, before the work, not after."""
    parent = folder.absolute().parent
    with folder_made(parent):
        try:
            taken = os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))
        except OSError as error:
            raise StoreError(f"cannot use {folder}: {error.strerror}") from error
        if taken:
            raise StoreError(f"{folder} exists and is not an empty folder", hint="remove it or choose another")
        sweep(parent)
        yield parent


def _merge(
    reference: str,
    source: str,
    folder: Path,
    subtree: str,
    options: UnpackOptions,
    unpacked: UnpackResult | None = None,
) -> MergeResult:
    notices = Notices(strict=options.strict)
    with open_view(source) as view:
        result = MergeResult(reference, folder, len(view.layers), subtree=subtree)
        with LayerFolderWriter(folder, notices=notices, sync=options.sync, link_host_files=True) as writer:
            copy_layer(_counted(MergedReader(view, subtree), result), writer)
            writer.set_facts(policy="merged", source=reference)
    result.notices = dict(notices.counts)
    result.listed = list(notices.listed)
    if unpacked is not None:
        result.notes = unpacked.notes
        for layer in unpacked.layers:
            result.listed += layer.listed
        for code, count in unpacked.notices.items():
            result.notices[code] = result.notices.get(code, 0) + count
    return result


def _counted(reader: MergedReader, result: MergeResult) -> Iterator[LayerItem]:
    for item in reader:
        result.entries += 1
        if isinstance(item, Entry) and item.data is not None:
            result.size += item.data.size
        yield item
