"""The layer functions of ``vmcompute.dll``, one method each, as hcsshim calls them.

Every call but a few begins with a driver structure and the layer's path as its "id". In the structure the home folder
must point to an empty string: a NULL there crashes the service's library. Strings outlive the call they are passed to.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from wclayer.hcs.failures import HcsError
from wclayer.hcs.identity import layer_id
from wclayer.hcs.native import Library, WideString, co_task_mem_free, load_library, wide_at

__all__ = ["FILTER_DRIVER", "DriverInfo", "LayerDescriptor", "VmCompute"]

FILTER_DRIVER = 1
"""The flavour of driver that every layer of today has; 0 was the difference driver."""

# Windows fails, or waits without end, when two layers are prepared at a time.
_PREPARING = threading.Lock()
_MAX_UNITS = 1 << 15


class DriverInfo(ctypes.Structure):
    """``DriverInfo``: 16 bytes on 64-bit Windows."""

    _fields_ = (("flavour", ctypes.c_uint32), ("home_dir", ctypes.c_void_p))


class LayerDescriptor(ctypes.Structure):
    """``WC_LAYER_DESCRIPTOR``: 32 bytes on 64-bit Windows."""

    _fields_ = (("id", ctypes.c_ubyte * 16), ("flags", ctypes.c_uint32), ("path", ctypes.c_void_p))


class _Descriptors:
    """The parents of a layer as an array; a NULL and 0 for none. Keeps its strings alive."""

    def __init__(self, parents: Sequence[str]) -> None:
        self._paths = [WideString(path) for path in parents]
        self._array = (LayerDescriptor * len(parents))()
        for descriptor, path in zip(self._array, self._paths, strict=True):
            descriptor.id[:] = layer_id(path.text, trailing="keep").bytes_le
            descriptor.path = path.address

    @property
    def arguments(self) -> tuple[ctypes.c_void_p, ctypes.c_uint32]:
        address = ctypes.addressof(self._array) if self._paths else None
        return ctypes.c_void_p(address), ctypes.c_uint32(len(self._paths))


class VmCompute:
    """``vmcompute.dll``. ``library`` and ``free`` (CoTaskMemFree) are given by tests."""

    def __init__(self, library: Library | None = None, free: Callable[[int], object] | None = None) -> None:
        self.library = library or load_library("vmcompute.dll")
        self._free = free or co_task_mem_free
        self._empty = WideString("")
        self._info = DriverInfo(FILTER_DRIVER, self._empty.address)

    def _call(self, title: str, export: str, path: str, *arguments: Any, rest: str = "") -> None:
        name = WideString(path)
        self.library.check(
            f"hcsshim::{title}", export, ctypes.byref(self._info), name.pointer, *arguments, path=path, rest=rest
        )

    def _call_with_parents(self, title: str, export: str, path: str, *strings: str, parents: Sequence[str]) -> None:
        held = [WideString(text) for text in strings]
        descriptors = _Descriptors(parents)
        self._call(title, export, path, *(text.pointer for text in held), *descriptors.arguments)

    def activate_layer(self, path: str) -> None:
        """Attach the disk of a writable layer."""
        self._call("ActivateLayer", "ActivateLayer", path)

    def deactivate_layer(self, path: str) -> None:
        """Detach it."""
        self._call("DeactivateLayer", "DeactivateLayer", path)

    def create_layer(self, path: str, parent: str) -> None:
        """Make an empty layer folder."""
        text = WideString(parent)
        self._call("CreateLayer", "CreateLayer", path, text.pointer)

    def create_scratch_layer(self, path: str, parents: Sequence[str]) -> None:
        """Make a writable layer; its parent argument is NULL, only the descriptors count."""
        descriptors = _Descriptors(parents)
        self._call("CreateScratchLayer", "CreateSandboxLayer", path, ctypes.c_void_p(None), *descriptors.arguments)

    def expand_scratch_size(self, path: str, size: int) -> None:
        """Let the disk grow; the volume on it does not grow with it."""
        self._call("ExpandScratchSize", "ExpandSandboxSize", path, ctypes.c_uint64(size))

    def prepare_layer(self, path: str, parents: Sequence[str]) -> None:
        """Attach the filter; one layer at a time in the whole process."""
        with _PREPARING:
            self._call_with_parents("PrepareLayer", "PrepareLayer", path, parents=parents)

    def unprepare_layer(self, path: str) -> None:
        """Detach the filter."""
        self._call("UnprepareLayer", "UnprepareLayer", path)

    def get_layer_mount_path(self, path: str) -> str:
        """The volume: one call for the length in UTF-16 units, NUL included, one for the text."""
        export = "GetLayerMountPath"
        length = ctypes.c_size_t(0)
        self._call(export, export, path, ctypes.byref(length), ctypes.c_void_p(None), rest="(first call)")
        if not length.value:
            return ""
        if length.value > _MAX_UNITS:
            raise HcsError(f"hcsshim::{export}", 0xCE, "(first call)", path=path)
        buffer = (ctypes.c_uint16 * (length.value + 1))()
        address = ctypes.addressof(buffer)
        self._call(export, export, path, ctypes.byref(length), ctypes.c_void_p(address), rest="(second call)")
        return wide_at(address)

    def layer_exists(self, path: str) -> bool:
        """Whether there is a folder."""
        found = ctypes.c_uint32(0)
        self._call("LayerExists", "LayerExists", path, ctypes.byref(found))
        return bool(found.value)

    def destroy_layer(self, path: str) -> None:
        """Remove the folder. Of a base under a mounted layer this kills the calling process."""
        self._call("DestroyLayer", "DestroyLayer", path)

    def import_layer(self, path: str, folder: str, parents: Sequence[str]) -> None:
        """Make a layer of a transport folder."""
        self._call_with_parents("ImportLayer", "ImportLayer", path, folder, parents=parents)

    def export_layer(self, path: str, folder: str, parents: Sequence[str]) -> None:
        """Make a transport folder of a layer."""
        self._call_with_parents("ExportLayer", "ExportLayer", path, folder, parents=parents)

    def get_base_images(self) -> str:
        """The JSON list of the images in Windows' own store."""
        return self._returned("hcsshim::GetSharedBaseImages", "GetBaseImages")

    def name_to_guid(self, name: str) -> UUID:
        """The GUID of a name, from Windows itself."""
        text, guid = WideString(name), (ctypes.c_ubyte * 16)()
        self.library.check("hcsshim::NameToGuid", "NameToGuid", text.pointer, ctypes.byref(guid), path=name)
        return UUID(bytes_le=bytes(guid))

    def process_base_image(self, path: str) -> None:
        """Process a base layer."""
        text = WideString(path)
        self.library.check("hcsshim::ProcessBaseLayer", "ProcessBaseImage", text.pointer, path=path, form="path")

    def process_utility_image(self, path: str) -> None:
        """Process the ``UtilityVM`` folder of a layer."""
        text = WideString(path)
        title = "hcsshim::ProcessUtilityVMImage"
        self.library.check(title, "ProcessUtilityImage", text.pointer, path=path, form="path")

    def grant_vm_access(self, vm_id: str, path: str) -> None:
        """Let a virtual machine open a file."""
        machine, text = WideString(vm_id), WideString(path)
        self.library.check("hcsshim::GrantVmAccess", "GrantVmAccess", machine.pointer, text.pointer, path=path)

    def _returned(self, title: str, export: str) -> str:
        out = ctypes.c_void_p(None)
        self.library.check(title, export, ctypes.byref(out), path="")
        if not out.value:
            return ""
        try:
            return wide_at(out.value)
        finally:
            self._free(out.value)
