"""What the Host Compute Service does to layers, in Python, on any system: as much of it as is no secret of Windows.

A layer is a layer folder here (``layer.db`` and plain files), or a folder in the form in which hcsshim leaves layers
(``layer.ntfs`` and plain files). A transport folder is the same as on Windows. What needs a driver, a mounted volume or
a disk in NTFS raises NotOffWindowsError, naming the function of Windows that does it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.base import BaseFolderReader
from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter, remove_layer_folder
from wclayer.formats.shaping import for_transport, with_hard_links
from wclayer.formats.transport import TransportFolderReader, TransportFolderWriter
from wclayer.formats.transport.items import manifest_beside
from wclayer.hcs.base_layer import process_base_layer
from wclayer.hcs.failures import NotOffWindowsError
from wclayer.hcs.interface import HostComputeService
from wclayer.hcs.layer_files import find_children
from wclayer.hcs.volume_layers import export_volume_layer, import_volume_layer, is_volume_layer

__all__ = ["PortableService"]

BASE_DISK, SCRATCH_DISK = "blank.vhdx", "sandbox.vhdx"
_DLL = "vmcompute.dll"
_INDEX = "layer.db"


class PortableService(HostComputeService):
    """The answer in Python. ``notices`` counts, by code, what was odd and what could not be kept.

    ``form`` is that of the layers it imports: ``layer`` for layer folders, ``volume`` for that of hcsshim. Layers above
    others have the form of those.
    """

    def __init__(self, form: Literal["layer", "volume"] = "layer") -> None:
        self.form = form
        self.notices: dict[str, int] = {}

    def import_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """Make the layer ``path`` of the transport folder ``folder``, whole or not at all.

        ``path`` must not exist, or be empty. Windows makes more of it: a view of the parents' files, which is the
        merged view here. Raises FormatError for what is no transport folder, StoreError, UnsafeEntryError.
        """
        form = self.form
        if parents:
            form = "volume" if is_volume_layer(parents[0]) else "layer"
        if form == "volume":
            self._count(import_volume_layer(path, folder))
            return
        if not folder.is_dir():
            raise NotFoundError(f"there is no transport folder {folder}")
        reader = TransportFolderReader(folder)
        with LayerFolderWriter(path, parents=parents) as writer:
            for item in with_hard_links(reader):
                writer.write(item)
        self._count(reader.notices.counts)
        self._count(writer.notices.counts)

    def export_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """Write the layer ``path`` as the transport folder ``folder``, whole or not at all.

        ``folder`` must not exist, or be empty. Files that the layer only links to come out of ``parents``.
        """
        if is_volume_layer(path):
            self._count(export_volume_layer(path, folder))
            return
        with ExitStack() as held:
            opened = [held.enter_context(LayerFolder(parent)) for parent in parents]
            source = (
                LayerFolderReader(held.enter_context(LayerFolder(path)))
                if (path / _INDEX).exists()
                else BaseFolderReader(_existing(path))
            )
            with TransportFolderWriter(folder) as writer:
                for item in for_transport(with_hard_links(source), opened, writer.notices):
                    writer.write(item)
        self._count(writer.notices.counts)

    def process_base_layer(self, path: Path) -> None:
        """Link the hives to ``Hives/*_BASE`` and write the ``layout`` marker; no disks are made."""
        process_base_layer(path)

    def process_utility_vm_image(self, path: Path) -> None:
        """Not off Windows: it changes the boot configuration and makes disks."""
        raise NotOffWindowsError(f"processing the utility VM {path}", "ProcessUtilityImage", _DLL)

    def create_layer(self, path: Path, parent: Path | None = None) -> None:
        """Make an empty folder, which is all that Windows does, too; ``parent`` makes no difference."""
        del parent
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"cannot make the layer {path}: {error.strerror}") from error

    def create_scratch_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """Copy the base's ``blank.vhdx`` to ``sandbox.vhdx`` in a new folder, as containerd does.

        The disk names its own parent by an absolute path, so the base must stay where Windows made it. Raises
        UsageError without parents, NotFoundError when the base has no such disk, for which Windows has to process it.
        """
        if not parents:
            raise UsageError("at least one read-only layer must be specified", hint="name the layers it stands on")
        template = parents[-1] / BASE_DISK
        if not template.is_file():
            raise NotFoundError(
                f"the base layer {parents[-1]} has no {BASE_DISK}", hint="Windows makes it when it processes the layer"
            )
        self.create_layer(path)
        try:
            shutil.copyfile(template, path / SCRATCH_DISK, follow_symlinks=False)
        except OSError as error:
            remove_layer_folder(path)
            raise StoreError(f"cannot copy {template}: {error.strerror}") from error

    def expand_scratch_size(self, path: Path, size: int) -> None:
        """Not off Windows: the disk could be enlarged, the NTFS volume on it could not."""
        raise NotOffWindowsError(f"enlarging the disk of {path} to {size} bytes", "ExpandSandboxSize", _DLL)

    def activate_layer(self, path: Path) -> None:
        """Not off Windows."""
        raise NotOffWindowsError(f"activating the layer {path}", "ActivateLayer", _DLL)

    def prepare_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """Not off Windows."""
        raise NotOffWindowsError(
            f"preparing the layer {path} over {len(parents)} parents", "PrepareLayer", _DLL, instead=_MERGED
        )

    def get_layer_mount_path(self, path: Path) -> str:
        """Not off Windows."""
        raise NotOffWindowsError(f"finding the volume of {path}", "GetLayerMountPath", _DLL, instead=_MERGED)

    def unprepare_layer(self, path: Path) -> None:
        """Not off Windows."""
        raise NotOffWindowsError(f"unpreparing the layer {path}", "UnprepareLayer", _DLL)

    def deactivate_layer(self, path: Path) -> None:
        """Not off Windows."""
        raise NotOffWindowsError(f"deactivating the layer {path}", "DeactivateLayer", _DLL)

    def destroy_layer(self, path: Path) -> None:
        """Remove the layer: it is renamed first, so it is never half there under its own name.

        Raises NotFoundError, and StoreError while another layer beside it names it as a parent.
        """
        children = find_children(path)
        if children:
            raise StoreError(
                f"the layer {path} is a parent of {children[0]}", hint="destroy the layers that stand on it first"
            )
        remove_layer_folder(path)
        manifest_beside(path).unlink(missing_ok=True)

    def layer_exists(self, path: Path) -> bool:
        """Whether there is a folder."""
        return os.path.isdir(path)  # noqa: PTH112 - never raises, whatever the name

    def grant_vm_access(self, vm_id: str, path: Path) -> None:
        """Not off Windows: it adds an entry to the access list of the file."""
        raise NotOffWindowsError(f"granting the virtual machine {vm_id} access to {path}", "GrantVmAccess", _DLL)

    def get_shared_base_images(self) -> str:
        """No other system keeps such images, so the list is empty, as on a Windows without any."""
        return '{"Images":[]}'

    def _count(self, counts: Mapping[str, int]) -> None:
        for code, count in counts.items():
            self.notices[code] = self.notices.get(code, 0) + count


_MERGED = "off Windows the merged view shows the same: wclayer ls, wclayer unpack --view merged"


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise NotFoundError(f"there is no layer {path}")
    return path
