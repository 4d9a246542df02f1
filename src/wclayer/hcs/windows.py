"""The Host Compute Service itself, asked through ``vmcompute.dll``. Importable anywhere, of use on Windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from wclayer.errors import StoreError, UsageError
from wclayer.hcs.interface import HostComputeService
from wclayer.hcs.privileges import (
    EXPORT_PRIVILEGES,
    IMPORT_PRIVILEGES,
    VOLUME_PRIVILEGES,
    TokenCalls,
    privileges,
)
from wclayer.hcs.vmcompute import VmCompute
from wclayer.hcs.volume import VolumeCalls, expand_volume

__all__ = ["WindowsService"]

SCRATCH_DISK = "sandbox.vhdx"


class WindowsService(HostComputeService):
    """What Windows does. NotOffWindowsError on any other system.

    The process has to be elevated; the privileges that importing, exporting and destroying need are enabled for the
    time of the call. ``library``, ``calls`` and ``tokens`` are given by tests.
    """

    def __init__(
        self,
        library: VmCompute | None = None,
        calls: VolumeCalls | None = None,
        tokens: TokenCalls | None = None,
    ) -> None:
        self._library = library or VmCompute()
        self._calls = calls
        self._tokens = tokens or TokenCalls.of_windows()

    def import_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """``ImportLayer``."""
        with privileges(IMPORT_PRIVILEGES, self._tokens):
            self._library.import_layer(_absolute(path), _absolute(folder), _all_absolute(parents))

    def export_layer(self, path: Path, folder: Path, parents: Sequence[Path]) -> None:
        """``ExportLayer``; ``folder`` has to exist and to be empty."""
        if not folder.is_dir() or any(folder.iterdir()):
            raise StoreError(f"{folder} is no empty folder, and Windows exports to nothing else")
        with privileges(EXPORT_PRIVILEGES, self._tokens):
            self._library.export_layer(_absolute(path), _absolute(folder), _all_absolute(parents))

    def process_base_layer(self, path: Path) -> None:
        """``ProcessBaseImage``."""
        with privileges(IMPORT_PRIVILEGES, self._tokens):
            self._library.process_base_image(_absolute(path))

    def process_utility_vm_image(self, path: Path) -> None:
        """``ProcessUtilityImage``."""
        with privileges(IMPORT_PRIVILEGES, self._tokens):
            self._library.process_utility_image(_absolute(path))

    def create_layer(self, path: Path, parent: Path | None = None) -> None:
        """``CreateLayer``."""
        self._library.create_layer(_absolute(path), _absolute(parent) if parent else "")

    def create_scratch_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """``CreateSandboxLayer``."""
        if not parents:
            raise UsageError("at least one read-only layer must be specified", hint="name the layers it stands on")
        with privileges(VOLUME_PRIVILEGES, self._tokens):
            self._library.create_scratch_layer(_absolute(path), _all_absolute(parents))

    def expand_scratch_size(self, path: Path, size: int) -> None:
        """``ExpandSandboxSize``, and the volume on the disk to its new size."""
        where = _absolute(path)
        self._library.expand_scratch_size(where, size)
        calls = self._calls or VolumeCalls.of_windows()
        expand_volume(f"{where}\\{SCRATCH_DISK}", lambda: self._library.get_layer_mount_path(where), calls)

    def activate_layer(self, path: Path) -> None:
        """``ActivateLayer``."""
        with privileges(VOLUME_PRIVILEGES, self._tokens):
            self._library.activate_layer(_absolute(path))

    def prepare_layer(self, path: Path, parents: Sequence[Path]) -> None:
        """``PrepareLayer``."""
        self._library.prepare_layer(_absolute(path), _all_absolute(parents))

    def get_layer_mount_path(self, path: Path) -> str:
        """``GetLayerMountPath``."""
        return self._library.get_layer_mount_path(_absolute(path))

    def unprepare_layer(self, path: Path) -> None:
        """``UnprepareLayer``."""
        self._library.unprepare_layer(_absolute(path))

    def deactivate_layer(self, path: Path) -> None:
        """``DeactivateLayer``."""
        self._library.deactivate_layer(_absolute(path))

    def destroy_layer(self, path: Path) -> None:
        """``DestroyLayer``, which may report success and leave files: StoreError then."""
        with privileges(IMPORT_PRIVILEGES, self._tokens):
            self._library.destroy_layer(_absolute(path))
        if path.exists():
            raise StoreError(f"Windows reported success and left {path}", hint="something holds its files open")

    def layer_exists(self, path: Path) -> bool:
        """``LayerExists``."""
        return self._library.layer_exists(_absolute(path))

    def grant_vm_access(self, vm_id: str, path: Path) -> None:
        """``GrantVmAccess``."""
        self._library.grant_vm_access(vm_id, _absolute(path))

    def get_shared_base_images(self) -> str:
        """``GetBaseImages``."""
        return self._library.get_base_images()

    def name_to_guid(self, name: str) -> UUID:
        """``NameToGuid``, from Windows itself."""
        return self._library.name_to_guid(name)


def _absolute(path: Path) -> str:
    # A relative or short path makes imports that look well and are incomplete, so Windows gets whole ones.
    return str(path.absolute())


def _all_absolute(paths: Sequence[Path]) -> list[str]:
    return [_absolute(path) for path in paths]
