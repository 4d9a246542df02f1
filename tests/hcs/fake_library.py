"""Libraries that write down how they are called, with every pointer followed at the time of the call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from wclayer.hcs.native import Library, wide_at
from wclayer.hcs.vmcompute import DriverInfo, LayerDescriptor

Handler = Callable[..., int]


def text(argument: ctypes.c_void_p) -> str | None:
    """The string an argument points to, None for NULL."""
    return None if argument.value is None else wide_at(argument.value)


def driver_info(argument: Any) -> tuple[int, str | None]:
    """Flavour and home folder of the driver structure."""
    info = argument._obj
    assert isinstance(info, DriverInfo)
    return info.flavour, text(ctypes.c_void_p(info.home_dir))


def parents(pointer: ctypes.c_void_p, count: ctypes.c_uint32) -> list[tuple[bytes, int, str | None]] | None:
    """GUID bytes, flags and path of each descriptor; None for NULL."""
    if pointer.value is None:
        assert count.value == 0
        return None
    array = (LayerDescriptor * count.value).from_address(pointer.value)
    return [(bytes(one.id), one.flags, text(ctypes.c_void_p(one.path))) for one in array]


class Functions:
    """Named functions; any other name is missing, as in an older Windows."""

    def __init__(self, **functions: Handler) -> None:
        self.__dict__.update(functions)


def library(**functions: Handler) -> Library:
    """A library of just these functions."""
    return Library("fake.dll", Functions(**functions))
