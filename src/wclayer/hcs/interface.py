"""What the Host Compute Service does to layers, as one interface.

It has two answers: :class:`wclayer.hcs.portable.PortableService`, in Python on any system, for what can be done
anywhere; and :class:`wclayer.hcs.windows.WindowsService`, which asks Windows. The methods are those of hcsshim's
``internal/wclayer``; :data:`FUNCTIONS` sets the names beside each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wclayer.hcs.identity import layer_id, name_to_guid

__all__ = ["FUNCTIONS", "Function", "HostComputeService"]


class HostComputeService(ABC):
    """Operations on layers, which are named by their folders. ``parents`` are nearest first, the base last.

    A method raises :class:`wclayer.hcs.failures.NotOffWindowsError` where only Windows can do the job, and
    :class:`wclayer.hcs.failures.HcsError` where Windows refused it.
    """

    @abstractmethod
    def import_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """``ImportLayer``: make the layer ``path`` of the transport folder ``folder``."""

    @abstractmethod
    def export_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """``ExportLayer``: write the layer ``path`` as the transport folder ``folder``."""

    @abstractmethod
    def process_base_layer(self, path: Path) -> None:
        """``ProcessBaseLayer``: make what was unpacked to ``path`` a base layer that others can stand on."""

    @abstractmethod
    def process_utility_vm_image(self, path: Path) -> None:
        """``ProcessUtilityVMImage``: make ``path``, the ``UtilityVM`` folder of a layer, an image that boots."""

    @abstractmethod
    def create_layer(self, path: Path, parent: Path | None = None) -> None:
        """``CreateLayer``: make an empty layer folder, which is all that Windows does here too."""

    @abstractmethod
    def create_scratch_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """``CreateScratchLayer``: make a writable layer. UsageError without parents: it would have no disk."""

    @abstractmethod
    def expand_scratch_size(self, path: Path, size: int) -> None:
        """``ExpandScratchSize``: let the disk of a writable layer grow to ``size`` bytes, and its volume with it."""

    @abstractmethod
    def activate_layer(self, path: Path) -> None:
        """``ActivateLayer``: attach the disk of a writable layer."""

    @abstractmethod
    def prepare_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """``PrepareLayer``: let the volume of an activated layer show the parents through it."""

    @abstractmethod
    def get_layer_mount_path(self, path: Path) -> str:
        """``GetLayerMountPath``: the volume of an activated layer, "" when there is none."""

    @abstractmethod
    def unprepare_layer(self, path: Path) -> None:
        """``UnprepareLayer``: the reverse of :meth:`prepare_layer`."""

    @abstractmethod
    def deactivate_layer(self, path: Path) -> None:
        """``DeactivateLayer``: the reverse of :meth:`activate_layer`."""

    @abstractmethod
    def destroy_layer(self, path: Path) -> None:
        """``DestroyLayer``: remove the layer folder with all that is in it."""

    @abstractmethod
    def layer_exists(self, path: Path) -> bool:
        """``LayerExists``: whether there is a folder."""

    @abstractmethod
    def grant_vm_access(self, vm_id: str, path: Path) -> None:
        """``GrantVmAccess``: let the virtual machine ``vm_id`` open the file ``path``."""

    @abstractmethod
    def get_shared_base_images(self) -> str:
        """``GetSharedBaseImages``: the JSON list of the images that Windows itself keeps."""

    def name_to_guid(self, name: str) -> UUID:
        """``NameToGuid``: the GUID of a name."""
        return name_to_guid(name)

    def layer_id(self, path: Path) -> UUID:
        """``LayerID``: the GUID of the layer in ``path``."""
        return layer_id(path)


@dataclass(frozen=True, slots=True)
class Function:
    """One function under its three names. ``portable`` says what happens off Windows."""

    hcsshim: str
    method: str
    export: str
    portable: str


_NOT = "NotOffWindowsError"

FUNCTIONS = (
    Function("ImportLayer", "import_layer", "ImportLayer", "transport folder to layer folder"),
    Function("ExportLayer", "export_layer", "ExportLayer", "layer folder to transport folder"),
    Function("ProcessBaseLayer", "process_base_layer", "ProcessBaseImage", "`*_BASE` hives, `layout`, `blank*.vhdx`"),
    Function(
        "ProcessUtilityVMImage",
        "process_utility_vm_image",
        "ProcessUtilityImage",
        "`SystemTemplate*.vhdx`, with an empty volume",
    ),
    Function("CreateLayer", "create_layer", "CreateLayer", "an empty folder"),
    Function("CreateScratchLayer", "create_scratch_layer", "CreateSandboxLayer", "a copy of the base's `blank.vhdx`"),
    Function("ExpandScratchSize", "expand_scratch_size", "ExpandSandboxSize", "the disk, its partition and volume"),
    Function("ActivateLayer", "activate_layer", "ActivateLayer", _NOT),
    Function("PrepareLayer", "prepare_layer", "PrepareLayer", _NOT),
    Function("GetLayerMountPath", "get_layer_mount_path", "GetLayerMountPath", _NOT),
    Function("UnprepareLayer", "unprepare_layer", "UnprepareLayer", _NOT),
    Function("DeactivateLayer", "deactivate_layer", "DeactivateLayer", _NOT),
    Function("DestroyLayer", "destroy_layer", "DestroyLayer", "renamed, then removed"),
    Function("LayerExists", "layer_exists", "LayerExists", "whether there is a folder"),
    Function("NameToGuid", "name_to_guid", "NameToGuid", "computed"),
    Function("LayerID", "layer_id", "NameToGuid", "computed"),
    Function("GrantVmAccess", "grant_vm_access", "GrantVmAccess", _NOT),
    Function("GetSharedBaseImages", "get_shared_base_images", "GetBaseImages", "an empty list"),
)
"""Every function of hcsshim's ``internal/wclayer`` that is here, with its export of ``vmcompute.dll``."""
