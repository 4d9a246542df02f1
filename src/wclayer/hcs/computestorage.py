"""The functions of ``computestorage.dll``, the newer storage interface of the Host Compute Service (RS5 and later).

Paths and JSON documents are wide strings; every function returns an HRESULT. The first words of each error are
hcsshim's. The library enables no privileges: the caller needs SeBackup, SeRestore and, for disks, SeManageVolume.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from wclayer.errors import UnsupportedError
from wclayer.hcs.failures import HcsError
from wclayer.hcs.layer_data import LayerData, OsLayerOptions, export_options
from wclayer.hcs.native import Library, WideString, co_task_mem_free, load_library, wide_at

__all__ = ["ComputeStorage"]


class ComputeStorage:
    """``computestorage.dll``. ``library`` and ``free`` (CoTaskMemFree) are given by tests."""

    def __init__(self, library: Library | None = None, free: Callable[[int], object] | None = None) -> None:
        self.library = library or load_library("computestorage.dll")
        self._free = free or co_task_mem_free

    def _call(self, title: str, export: str, *arguments: str | int, path: str) -> None:
        """Call ``export`` with strings and handles."""
        held = [WideString(argument) if isinstance(argument, str) else argument for argument in arguments]
        code = self.library.call(
            export, *(one.pointer if isinstance(one, WideString) else ctypes.c_void_p(one) for one in held)
        )
        if code:
            raise HcsError(title, code, path=path, form="wrapped")

    def import_layer(self, path: str, folder: str, data: LayerData) -> None:
        """Make the layer ``path`` of a transport folder. Unlike vmcompute it wants all five delta hives."""
        self._call("failed to import layer", "HcsImportLayer", path, folder, data.to_json(), path=path)

    def export_layer(self, path: str, folder: str, data: LayerData, *, writable: bool = False) -> None:
        """Make a transport folder of the layer ``path``."""
        options = export_options(writable=writable)
        self._call("failed to export layer", "HcsExportLayer", path, folder, data.to_json(), options, path=path)

    def export_legacy_writable_layer(self, mount_path: str, path: str, folder: str, data: LayerData) -> None:
        """Make a transport folder of a mounted writable layer."""
        self._call(
            "failed to export legacy writable layer",
            "HcsExportLegacyWritableLayer",
            mount_path,
            path,
            folder,
            data.to_json(),
            path=path,
        )

    def destroy_layer(self, path: str) -> None:
        """Remove a layer."""
        self._call("failed to destroy layer", "HcsDestroyLayer", path, path=path)

    def setup_base_os_layer(self, path: str, handle: int, options: OsLayerOptions) -> None:
        """Set up a base layer: ``handle`` is 0 for a container, an open disk for a utility VM."""
        self._call("failed to setup base OS layer", "HcsSetupBaseOSLayer", path, handle, options.to_json(), path=path)

    def setup_base_os_volume(self, path: str, volume: str, options: OsLayerOptions) -> None:
        """The same with a mounted volume. UnsupportedError before build 19645."""
        if not self.library.has("HcsSetupBaseOSVolume"):
            raise UnsupportedError("SetupBaseOSVolume is not present on builds older than 19645", layer=path)
        self._call("failed to setup base OS layer", "HcsSetupBaseOSVolume", path, volume, options.to_json(), path=path)

    def initialize_writable_layer(self, path: str, data: LayerData) -> None:
        """Prepare an empty folder as a writable layer."""
        title = "failed to intitialize container layer"  # as hcsshim spells it, for those who look for it
        self._call(title, "HcsInitializeWritableLayer", path, data.to_json(), "", path=path)

    def initialize_legacy_writable_layer(self, mount_path: str, path: str, data: LayerData) -> None:
        """Prepare a mounted volume as a writable layer."""
        self._call(
            "failed to initialize legacy writable layer",
            "HcsInitializeLegacyWritableLayer",
            mount_path,
            path,
            data.to_json(),
            "",
            path=path,
        )

    def attach_layer_storage_filter(self, path: str, data: LayerData) -> None:
        """Let a mounted writable layer show its parents."""
        title = "failed to attach layer storage filter"
        self._call(title, "HcsAttachLayerStorageFilter", path, data.to_json(), path=path)

    def detach_layer_storage_filter(self, path: str) -> None:
        """The reverse."""
        title = "failed to detach layer storage filter"
        self._call(title, "HcsDetachLayerStorageFilter", path, path=path)

    def attach_overlay_filter(self, volume: str, data: LayerData) -> None:
        """Overlay a volume with layers; ``data.filter_type`` is ``UnionFS`` or ``WCIFS``."""
        self._call("failed to attach overlay filter", "HcsAttachOverlayFilter", volume, data.to_json(), path=volume)

    def detach_overlay_filter(self, volume: str, filter_type: str = "UnionFS") -> None:
        """The reverse: only the type of the filter is passed."""
        text = LayerData(filter_type=filter_type).to_json()
        self._call("failed to detach overlay filter", "HcsDetachOverlayFilter", volume, text, path=volume)

    def format_writable_layer_vhd(self, handle: int) -> None:
        """Format an open, attached disk."""
        title = "failed to format writable layer vhd"
        self._call(title, "HcsFormatWritableLayerVhd", handle, path="")

    def get_layer_vhd_mount_path(self, handle: int) -> str:
        """The volume on an open, attached disk."""
        out = ctypes.c_void_p(None)
        code = self.library.call("HcsGetLayerVhdMountPath", ctypes.c_void_p(handle), ctypes.byref(out))
        if code:
            raise HcsError("failed to get vhd mount path", code, form="wrapped")
        if not out.value:
            return ""
        try:
            return wide_at(out.value)
        finally:
            self._free(out.value)
