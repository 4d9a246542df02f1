"""What the Host Compute Service does to layers, in Python, on any system: as much of it as is no secret of Windows.

A layer is a layer folder here (``layer.db`` and plain files), or a folder in the form in which hcsshim leaves layers
(``layer.ntfs`` and plain files). A transport folder is the same as on Windows. The disks beside layers are made where
``mkntfs`` is installed, and otherwise their lack is a notice. What needs a driver or a mounted volume raises
NotOffWindowsError, naming the function of Windows that does it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsafeEntryError, UsageError
from wclayer.formats.base import BaseFolderReader
from wclayer.formats.disk.mkntfs import has_mkntfs
from wclayer.formats.disk.scratch import (
    DEFAULT_SIZE,
    UTILITY_VM_SIZE,
    create_blank,
    create_blank_base,
    create_sandbox,
    expand_sandbox,
)
from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter, remove_layer_folder
from wclayer.formats.shaping import for_transport, with_hard_links
from wclayer.formats.transport import TransportFolderReader, TransportFolderWriter
from wclayer.formats.transport.publish import manifest_beside
from wclayer.hcs.base_layer import process_base_layer
from wclayer.hcs.failures import NotOffWindowsError
from wclayer.hcs.interface import HostComputeService
from wclayer.hcs.layer_files import find_children
from wclayer.hcs.volume_layers import export_volume_layer, import_volume_layer, is_volume_layer

__all__ = ["PortableService"]

BASE_DISK, BASE_TEMPLATE, SCRATCH_DISK = "blank-base.vhdx", "blank.vhdx", "sandbox.vhdx"
UTILITY_VM_DISK, UTILITY_VM_TEMPLATE = "SystemTemplateBase.vhdx", "SystemTemplate.vhdx"
_DLL = "vmcompute.dll"
_INDEX = "layer.db"


class PortableService(HostComputeService):
    """The answer in Python. ``notices`` counts, by code, what was odd and what could not be kept.

    ``form`` is that of the layers it imports: ``layer`` for layer folders, ``volume`` for that of hcsshim. Layers above
    others have the form of those. With ``disks`` the disks beside base layers and utility VMs are made, too;
    ``scratch_size`` and ``utility_vm_size`` are how large these are, in bytes.
    """

    def __init__(
        self,
        form: Literal["layer", "volume"] = "layer",
        *,
        disks: bool = True,
        scratch_size: int = DEFAULT_SIZE,
        utility_vm_size: int = UTILITY_VM_SIZE,
    ) -> None:
        self.form = form
        self.disks = disks
        self.scratch_size = scratch_size
        self.utility_vm_size = utility_vm_size
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
        """Link the hives to ``Hives/*_BASE``, write the ``layout`` marker, make ``blank-base.vhdx`` and ``blank.vhdx``.

        Disks that are there stay. Without ``mkntfs`` none are made, and ``disks-not-made`` is counted. They hold an
        empty volume; what Windows puts there so that files of the base show through is not made off Windows.
        """
        process_base_layer(path)
        self._make_disks(path / BASE_DISK, path / BASE_TEMPLATE, self.scratch_size)

    def process_utility_vm_image(self, path: Path) -> None:
        """Make ``SystemTemplateBase.vhdx`` and ``SystemTemplate.vhdx`` in ``path``, the folder ``UtilityVM``.

        The volume on them is empty and the boot configuration stays as it is: what boots is written by Windows alone,
        and ``boot-volume-empty`` is counted. Without ``mkntfs`` it is ``disks-not-made``. NotFoundError when there is
        no utility VM.
        """
        if not (path / "Files").is_dir():
            raise NotFoundError(f"there is no utility VM in {path}: it has no folder Files")
        if self._make_disks(path / UTILITY_VM_DISK, path / UTILITY_VM_TEMPLATE, self.utility_vm_size):
            self._count({"boot-volume-empty": 1})

    def create_layer(self, path: Path, parent: Path | None = None) -> None:
        """Make an empty folder, which is all that Windows does, too; ``parent`` makes no difference."""
        del parent
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"cannot make the layer {path}: {error.strerror}") from error

    def create_scratch_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """Copy the base's ``blank.vhdx`` to ``sandbox.vhdx`` in a new folder, as containerd does.

        The copy finds its parent in the base layer by a relative path, too, so both can be moved together. Where the
        parent of ``blank.vhdx`` is not in that layer the copy is a plain one, and ``scratch-parent`` is counted. Raises
        UsageError without parents, NotFoundError when the base has no such disk.
        """
        if not parents:
            raise UsageError("at least one read-only layer must be specified", hint="name the layers it stands on")
        template = parents[-1] / BASE_TEMPLATE
        if not template.is_file():
            raise NotFoundError(
                f"the base layer {parents[-1]} has no {BASE_TEMPLATE}", hint="it is made when the layer is processed"
            )
        self.create_layer(path)
        try:
            self._copy_template(template, path / SCRATCH_DISK)
        except OSError as error:
            remove_layer_folder(path)
            raise StoreError(f"cannot copy {template}: {error.strerror}") from error
        except StoreError:
            remove_layer_folder(path)
            raise

    def _copy_template(self, template: Path, path: Path) -> None:
        try:
            create_sandbox(path, template)
        except (FormatError, NotFoundError, UnsafeEntryError):
            shutil.copyfile(template, path, follow_symlinks=False)
            self._count({"scratch-parent": 1})

    def expand_scratch_size(self, path: Path, size: int) -> None:
        """Let ``sandbox.vhdx`` with its partition and volume grow to ``size`` bytes; its parents are beside ``path``.

        Without ``ntfsresize``, or where that refuses the volume, the volume stays as it is, Windows lets it grow when
        the layer is prepared, and ``volume-not-grown`` is counted. Raises NotFoundError without such a disk, UsageError
        for a smaller size.
        """
        if not expand_sandbox(path / SCRATCH_DISK, size, within=[path.parent]):
            self._count({"volume-not-grown": 1})

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

    def _make_disks(self, base: Path, template: Path, size: int) -> bool:
        """Make the disks that are not there yet; whether they are there then."""
        if not self.disks:
            return False
        for disk in (base, template):
            if disk.is_symlink():
                raise StoreError(f"{disk} is a link of this machine, and no disk")
        if not base.exists():
            if not has_mkntfs():
                self._count({"disks-not-made": 1})
                return False
            create_blank_base(base, size)
        if not template.exists():
            create_blank(template, base)
        return True

    def _count(self, counts: Mapping[str, int]) -> None:
        for code, count in counts.items():
            self.notices[code] = self.notices.get(code, 0) + count


_MERGED = "off Windows the merged view shows the same: wclayer ls, wclayer unpack --view merged"


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise NotFoundError(f"there is no layer {path}")
    return path
