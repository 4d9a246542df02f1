"""What Windows' Host Compute Service does to layers: one interface, and its answers off Windows and on it."""

from __future__ import annotations

import sys

from wclayer.hcs.failures import HcsError, NotOffWindowsError
from wclayer.hcs.identity import layer_id, name_to_guid
from wclayer.hcs.interface import FUNCTIONS, Function, HostComputeService
from wclayer.hcs.portable import PortableService
from wclayer.hcs.windows import WindowsService

__all__ = [
    "FUNCTIONS",
    "Function",
    "HcsError",
    "HostComputeService",
    "NotOffWindowsError",
    "PortableService",
    "WindowsService",
    "host_compute_service",
    "layer_id",
    "name_to_guid",
]


def host_compute_service() -> HostComputeService:
    """The service of this machine: Windows' own on Windows, else the portable one."""
    return WindowsService() if sys.platform == "win32" else PortableService()
