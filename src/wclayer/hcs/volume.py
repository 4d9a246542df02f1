"""Growing the volume on the disk of a writable layer, which growing the disk alone does not do.

The disk is attached by itself, without the filter that shows the parents, and the volume is extended to the length of
its partition; closing the disk detaches it. Sizes are bytes, clusters 4096 bytes, sectors 512.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wclayer.hcs.failures import HcsError
from wclayer.hcs.native import Library, WideString, load_library

__all__ = ["VolumeCalls", "expand_volume", "extension_sectors"]

_CLUSTER, _SECTORS_OF_CLUSTER = 4096, 8
_IOCTL_DISK_GET_LENGTH_INFO, _FSCTL_EXTEND_VOLUME = 0x7405C, 0x900F0
_ATTACH_BYPASS_ENCRYPTION_POLICY = 0x20
_READ_WRITE, _SHARE_ALL, _OPEN_EXISTING = 0xC0000000, 0x7, 3
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_TITLE = "hcsshim::ExpandScratchSize"


class _StorageType(ctypes.Structure):
    _fields_ = (("device", ctypes.c_uint32), ("vendor", ctypes.c_ubyte * 16))


class _OpenParameters(ctypes.Structure):
    """``OPEN_VIRTUAL_DISK_PARAMETERS``, version 2."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("get_info_only", ctypes.c_uint32),
        ("read_only", ctypes.c_uint32),
        ("resiliency", ctypes.c_ubyte * 16),
    )


def extension_sectors(length: int, total: int) -> int | None:
    """To how many sectors a volume of ``total`` bytes on a partition of ``length`` bytes is to be extended.

    None when it fills the partition already, but for a cluster.
    """
    target, have = length // _CLUSTER, total // _CLUSTER
    return target * _SECTORS_OF_CLUSTER if have + 1 < target else None


@dataclass(frozen=True, slots=True)
class VolumeCalls:
    """The libraries that are called, and how the code of the last failure is found."""

    virtdisk: Library
    kernel32: Library
    last_error: Callable[[], int]

    @classmethod
    def of_windows(cls) -> VolumeCalls:
        """Those of this Windows; NotOffWindowsError elsewhere."""
        kernel32 = load_library("kernel32.dll")
        kernel32.function("CreateFileW").restype = ctypes.c_void_p
        return cls(load_library("virtdisk.dll"), kernel32, getattr(ctypes, "get_last_error"))  # noqa: B009 - only there on Windows


def expand_volume(disk: str, mount_path: Callable[[], str], calls: VolumeCalls) -> bool:
    r"""Extend the volume on the disk file ``disk`` to all of its partition; whether there was anything to do.

    ``mount_path`` is asked for the volume (``\\?\Volume{…}``) once the disk is attached. Raises HcsError.
    """
    with _attached(disk, calls):
        volume = mount_path().removesuffix("\\")
        if not volume:
            raise HcsError(_TITLE, 0x2, "the attached disk has no volume", path=disk)
        total = _total_bytes(volume, disk, calls)
        with _opened(volume, disk, calls) as handle:
            sectors = extension_sectors(_partition_length(handle, disk, calls), total)
            if sectors is None:
                return False
            wanted, returned = ctypes.c_uint64(sectors), ctypes.c_uint32(0)
            done = calls.kernel32.call_win32(
                "DeviceIoControl",
                ctypes.c_void_p(handle),
                ctypes.c_uint32(_FSCTL_EXTEND_VOLUME),
                ctypes.byref(wanted),
                ctypes.c_uint32(ctypes.sizeof(wanted)),
                ctypes.c_void_p(None),
                ctypes.c_uint32(0),
                ctypes.byref(returned),
                ctypes.c_void_p(None),
            )
            if not done:
                raise HcsError(_TITLE, calls.last_error(), "extending the volume", path=disk)
            return True


@contextmanager
def _attached(disk: str, calls: VolumeCalls) -> Iterator[None]:
    path, handle = WideString(disk), ctypes.c_void_p(None)
    kind, parameters = _StorageType(), _OpenParameters(version=2)
    code = calls.virtdisk.call_win32(
        "OpenVirtualDisk",
        ctypes.byref(kind),
        path.pointer,
        ctypes.c_uint32(0),
        ctypes.c_uint32(0),
        ctypes.byref(parameters),
        ctypes.byref(handle),
    )
    if code:
        raise HcsError(_TITLE, code, "opening the disk", path=disk)
    try:
        code = calls.virtdisk.call_win32(
            "AttachVirtualDisk",
            handle,
            ctypes.c_void_p(None),
            ctypes.c_uint32(_ATTACH_BYPASS_ENCRYPTION_POLICY),
            ctypes.c_uint32(0),
            ctypes.c_void_p(None),
            ctypes.c_void_p(None),
        )
        if code:
            raise HcsError(_TITLE, code, "attaching the disk", path=disk)
        yield
    finally:
        calls.kernel32.function("CloseHandle")(handle)


@contextmanager
def _opened(volume: str, disk: str, calls: VolumeCalls) -> Iterator[int]:
    path = WideString(volume)
    handle = calls.kernel32.function("CreateFileW")(
        path.pointer,
        ctypes.c_uint32(_READ_WRITE),
        ctypes.c_uint32(_SHARE_ALL),
        ctypes.c_void_p(None),
        ctypes.c_uint32(_OPEN_EXISTING),
        ctypes.c_uint32(0),
        ctypes.c_void_p(None),
    )
    if handle is None or handle in (-1, _INVALID_HANDLE):
        raise HcsError(_TITLE, calls.last_error(), f"opening the volume {volume}", path=disk)
    try:
        yield handle
    finally:
        calls.kernel32.function("CloseHandle")(ctypes.c_void_p(handle))


def _partition_length(handle: int, disk: str, calls: VolumeCalls) -> int:
    length, returned = ctypes.c_uint64(0), ctypes.c_uint32(0)
    done = calls.kernel32.call_win32(
        "DeviceIoControl",
        ctypes.c_void_p(handle),
        ctypes.c_uint32(_IOCTL_DISK_GET_LENGTH_INFO),
        ctypes.c_void_p(None),
        ctypes.c_uint32(0),
        ctypes.byref(length),
        ctypes.c_uint32(ctypes.sizeof(length)),
        ctypes.byref(returned),
        ctypes.c_void_p(None),
    )
    if not done:
        raise HcsError(_TITLE, calls.last_error(), "asking for the length of the partition", path=disk)
    return length.value


def _total_bytes(volume: str, disk: str, calls: VolumeCalls) -> int:
    path, total = WideString(volume + "\\"), ctypes.c_uint64(0)
    done = calls.kernel32.call_win32(
        "GetDiskFreeSpaceExW", path.pointer, ctypes.c_void_p(None), ctypes.byref(total), ctypes.c_void_p(None)
    )
    if not done:
        raise HcsError(_TITLE, calls.last_error(), "asking for the size of the volume", path=disk)
    return total.value
