"""Registry values as people and programs read them: names of types, data as text and as JSON."""

from __future__ import annotations

from typing import Any, Final

from wclayer.regf import HiveValue
from wclayer.regf.tree import (
    REG_BINARY,
    REG_DWORD,
    REG_DWORD_BIG_ENDIAN,
    REG_EXPAND_SZ,
    REG_FULL_RESOURCE_DESCRIPTOR,
    REG_LINK,
    REG_MULTI_SZ,
    REG_NONE,
    REG_QWORD,
    REG_RESOURCE_LIST,
    REG_RESOURCE_REQUIREMENTS_LIST,
    REG_SZ,
)

__all__ = ["data_text", "json_data", "searched_text", "type_name"]

_TYPES: Final = {
    REG_NONE: "REG_NONE",
    REG_SZ: "REG_SZ",
    REG_EXPAND_SZ: "REG_EXPAND_SZ",
    REG_BINARY: "REG_BINARY",
    REG_DWORD: "REG_DWORD",
    REG_DWORD_BIG_ENDIAN: "REG_DWORD_BIG_ENDIAN",
    REG_LINK: "REG_LINK",
    REG_MULTI_SZ: "REG_MULTI_SZ",
    REG_RESOURCE_LIST: "REG_RESOURCE_LIST",
    REG_FULL_RESOURCE_DESCRIPTOR: "REG_FULL_RESOURCE_DESCRIPTOR",
    REG_RESOURCE_REQUIREMENTS_LIST: "REG_RESOURCE_REQUIREMENTS_LIST",
    REG_QWORD: "REG_QWORD",
}


def type_name(value: HiveValue) -> str:
    """``REG_SZ`` and so on; the number, for a type that has no name."""
    return _TYPES.get(value.type, f"0x{value.type:08X}")


def json_data(value: HiveValue) -> str | list[str] | int:
    """The data: text, a list of texts, a number; hexadecimal digits for everything else."""
    data = value.decoded()
    return data.hex() if isinstance(data, bytes) else data


def data_text(value: HiveValue) -> str:
    """The data on one line: text as it is, the texts of a list parted by ``;`` and a space, bytes in hexadecimal."""
    data: Any = json_data(value)
    if isinstance(data, list):
        return "; ".join(data)
    return str(data)


def searched_text(value: HiveValue) -> str:
    """What a search looks at: as :func:`data_text`, the texts of a list on lines of their own."""
    data: Any = json_data(value)
    return "\n".join(data) if isinstance(data, list) else str(data)
