"""Other people's hive readers, brought to one form: what each of them sees in a hive, and what it ought to see.

Each reader is a :class:`Reader`: ``read`` gives, for every path, the values by name; ``name`` and ``value`` say how
that reader shows a name and a value, so that its answer can be held against the tree that was written. What a reader
gets wrong on any hive is written down there and nowhere else.
"""

from __future__ import annotations

import base64
import importlib.util
import shutil
import struct
import subprocess
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wclayer.regf import (
    REG_BINARY,
    REG_DWORD,
    REG_DWORD_BIG_ENDIAN,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_NONE,
    REG_QWORD,
    REG_SZ,
    HiveKey,
    HiveValue,
)

__all__ = ["READERS", "Reader", "Seen", "expected"]


@dataclass(frozen=True)
class Seen:
    """A key as somebody sees it. None stands for what that reader has no notion of."""

    values: dict[str, Any]
    timestamp: int | None = None
    class_name: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class Reader:
    """``knows`` names what the reader has a notion of besides names and values.

    ``read`` is told whether to look at the descriptors, which takes some of them longer than all the rest.
    """

    label: str
    available: bool
    read: Callable[[Path, bool], dict[str, Seen]]
    name: Callable[[str], str]
    value: Callable[[HiveValue], Any]
    knows: frozenset[str]


def expected(reader: Reader, tree: HiveKey, owner: Callable[[bytes], str] | None) -> dict[str, Seen]:
    """What ``reader`` ought to see in a hive made of ``tree``, whose keys all have times.

    With ``owner`` they all have descriptors as well, and the reader looks at them.
    """
    found: dict[str, Seen] = {}
    waiting = [("", tree)]
    while waiting:
        path, key = waiting.pop()
        found[path] = Seen(
            {reader.name(value.name): reader.value(value) for value in key.values},
            key.timestamp if "timestamp" in reader.knows else None,
            key.class_name if "class_name" in reader.knows else None,
            owner(key.security) if owner and key.security and "owner" in reader.knows else None,
        )
        waiting += [(f"{path}\\{reader.name(below.name)}", below) for below in key.subkeys]
    return found


def _same(name: str) -> str:
    return name


def _raw(value: HiveValue) -> Any:
    return value.type, value.data


# ------------------------------------------------------------------------------------------------------- dissect.regf


def _dissect(path: Path, _security: bool) -> dict[str, Seen]:
    dissect = importlib.import_module("dissect.regf")

    def of(key: Any) -> Seen:
        values = {"" if value.name == "(Default)" else value.name: (value.type, value.data) for value in key.values()}
        return Seen(values, key.cell.LastWriteTime, key.class_name)

    with path.open("rb") as file:
        found: dict[str, Seen] = {}
        waiting = [("", dissect.RegistryHive(file).root())]
        while waiting:
            at, key = waiting.pop()
            found[at] = of(key)
            waiting += [(f"{at}\\{below.name}", below) for below in key.subkeys()]
        return found


# -------------------------------------------------------------------------------------------------- python-registry


def _python_registry(path: Path, _security: bool) -> dict[str, Seen]:
    registry = importlib.import_module("Registry.Registry")
    found: dict[str, Seen] = {}
    waiting = [("", registry.Registry(str(path)).root())]
    while waiting:
        at, key = waiting.pop()
        node = key._nkrecord
        values = {
            "" if value.name() == "(default)" else value.name(): (value.value_type(), value.raw_data())
            for value in key.values()
        }
        found[at] = Seen(values, node.unpack_qword(4), node.classname() if node.has_classname() else None)
        waiting += [(f"{at}\\{below.name()}", below) for below in key.subkeys()]
    return found


def _python_registry_value(value: HiveValue) -> Any:
    # It shortens the type to twelve bits, takes the length of a big-endian DWORD for its data, and gives the whole
    # field where a text is so short that it stands there.
    data = value.data
    if value.type == REG_DWORD_BIG_ENDIAN:
        data = struct.pack("<I", 5)
    elif value.type in (REG_SZ, REG_EXPAND_SZ) and len(data) <= 4:
        data = data.ljust(4, b"\0")
    return value.type & 0xFFF, data


# ------------------------------------------------------------------------------------------------------------- libregf


def _libregf(path: Path, _security: bool) -> dict[str, Seen]:
    hive = importlib.import_module("pyregf").file()
    hive.open(str(path))
    found: dict[str, Seen] = {}
    waiting = [("", hive.get_root_key())]
    while waiting:
        at, key = waiting.pop()
        values = {value.name or "": (value.type, value.data or b"") for value in key.values}
        found[at] = Seen(values, key.get_last_written_time_as_integer(), key.class_name)
        waiting += [(f"{at}\\{below.name}", below) for below in key.sub_keys]
    hive.close()
    return found


def _libregf_value(value: HiveValue) -> Any:
    # Of a field of four bytes it takes the end where Windows writes data of fewer bytes to the beginning.
    size = len(value.data)
    return value.type, value.data.ljust(4, b"\0")[-size:] if 0 < size < 4 else value.data


# -------------------------------------------------------------------------------------------------------------- regipy


def _regipy(path: Path, security: bool) -> dict[str, Seen]:
    regipy = importlib.import_module("regipy.registry")
    found: dict[str, Seen] = {}
    waiting = [("", regipy.RegistryHive(str(path)).root)]
    while waiting:
        at, key = waiting.pop()
        values = {
            "" if value.name == "(default)" else value.name: (value.value_type, value.value)
            for value in key.get_values(trim_values=False)
        }
        named = key.get_class_name() if key.header.class_name_size else None
        owner = key.get_security_key_info()["owner"] if security else None
        found[at] = Seen(values, key.header.last_modified, named, owner)
        waiting += [(f"{at}\\{below.name}", below) for below in key.iter_subkeys()]
    return found


def _regipy_name(name: str) -> str:
    # It takes a Latin-1 name for UTF-8, or, if it is the name of a value, for ASCII.
    try:
        return name.encode("latin-1").decode("ascii", "replace")
    except UnicodeEncodeError:
        return name


_REGIPY_TYPES = {
    REG_NONE: "REG_NONE",
    REG_SZ: "REG_SZ",
    REG_EXPAND_SZ: "REG_EXPAND_SZ",
    REG_BINARY: "REG_BINARY",
    REG_DWORD: "REG_DWORD",
    REG_MULTI_SZ: "REG_MULTI_SZ",
    REG_QWORD: "REG_QWORD",
}


def _regipy_value(value: HiveValue) -> Any:
    if value.type in (REG_SZ, REG_EXPAND_SZ):
        return _REGIPY_TYPES[value.type], value.data.decode("utf-16-le").rstrip("\0")
    if value.type in (REG_DWORD, REG_QWORD):
        return _REGIPY_TYPES[value.type], value.number()
    if value.type == REG_MULTI_SZ:
        return _REGIPY_TYPES[value.type], value.texts()
    return _REGIPY_TYPES[value.type], value.data


# --------------------------------------------------------------------------------------------------------------- hivex


def _hivex(path: Path, _security: bool) -> dict[str, Seen]:
    answer = subprocess.run(["hivexml", str(path)], capture_output=True, check=True)
    found: dict[str, Seen] = {}
    waiting = [("", ElementTree.fromstring(answer.stdout)[1])]  # noqa: S314 (made here)
    while waiting:
        at, key = waiting.pop()
        found[at] = Seen({value.get("key", ""): _hivex_seen(value) for value in key.iterfind("value")})
        waiting += [(f"{at}\\{below.get('name')}", below) for below in key.iterfind("node")]
    return found


def _hivex_seen(value: ElementTree.Element) -> Any:
    kind, shown = value.get("type"), value.get("value", "")
    if value.get("encoding") == "base64":
        return kind, base64.b64decode(shown)
    if kind == "string-list":
        return kind, [item.text for item in value.iterfind("string") if item.text]
    return kind, shown


_HIVEX_KINDS = {REG_NONE: "none", REG_SZ: "string", REG_EXPAND_SZ: "expand", REG_BINARY: "binary"}


def _hivex_value(value: HiveValue) -> Any:
    if value.type in (REG_SZ, REG_EXPAND_SZ):
        return _HIVEX_KINDS[value.type], value.text()
    if value.type == REG_MULTI_SZ:
        return "string-list", value.texts()
    if value.type in (REG_DWORD, REG_DWORD_BIG_ENDIAN, REG_QWORD):
        order: Literal["big", "little"] = "big" if value.type == REG_DWORD_BIG_ENDIAN else "little"
        number = int.from_bytes(value.data, order, signed=True)
        return "int64" if value.type == REG_QWORD else "int32", str(number)
    return _HIVEX_KINDS.get(value.type, "unknown"), value.data


# ----------------------------------------------------------------------------------------------------------- reglookup


def _reglookup(path: Path, security: bool) -> dict[str, Seen]:
    options = ["-s"] if security else []
    answer = subprocess.run(["reglookup", *options, str(path)], capture_output=True, check=True)
    found: dict[str, Seen] = {}
    for line in answer.stdout.decode("ascii").splitlines()[1:]:
        where, kind, shown, _, *facts = line.split(",")
        if kind == "KEY":
            owner, named = (facts[0], _unquoted(facts[4]) or None) if security else (None, None)
            found[_unquoted(where.rstrip("/").replace("/", "\\"))] = Seen({}, None, named, owner)
        else:
            key, _, name = where.rpartition("/")
            values = found[_unquoted(key.rstrip("/").replace("/", "\\"))].values
            values[_unquoted(name)] = kind, urllib.parse.unquote_to_bytes(shown)
    return found


def _unquoted(text: str) -> str:
    return urllib.parse.unquote_to_bytes(text).decode("latin-1")


def _reglookup_name(name: str) -> str:
    # Where the locale is not that of the name it gives the bytes of the hive.
    try:
        return name.encode("latin-1").decode("latin-1")
    except UnicodeEncodeError:
        return name.encode("utf-16-le").decode("latin-1")


_REGLOOKUP_TYPES = {
    REG_NONE: "NONE",
    REG_SZ: "SZ",
    REG_EXPAND_SZ: "EXPAND_SZ",
    REG_BINARY: "BINARY",
    REG_DWORD: "DWORD",
    REG_DWORD_BIG_ENDIAN: "DWORD_BE",
    REG_MULTI_SZ: "MULTI_SZ",
    REG_QWORD: "QWORD",
}


def _reglookup_value(value: HiveValue) -> Any:
    kind, data = _REGLOOKUP_TYPES.get(value.type, f"0x{value.type:08X}"), value.data
    if value.type in (REG_SZ, REG_EXPAND_SZ):
        text = value.text()
        return kind, text.encode() if text.isascii() else data
    if value.type == REG_MULTI_SZ:
        return kind, "|".join(value.texts()).encode()
    if value.type in (REG_DWORD, REG_DWORD_BIG_ENDIAN, REG_QWORD):
        return kind, f"0x{value.number():0{2 * len(data)}X}".encode()
    return kind, data or b"(null)"


def _module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _facts(*facts: str) -> frozenset[str]:
    return frozenset(facts)


#: hivexml shows no class, reglookup times of whole seconds, and only regipy and reglookup show the descriptor.
READERS = (
    Reader("dissect.regf", _module("dissect.regf"), _dissect, _same, _raw, _facts("timestamp", "class_name")),
    Reader(
        "python-registry",
        _module("Registry"),
        _python_registry,
        _same,
        _python_registry_value,
        _facts("timestamp", "class_name"),
    ),
    Reader("libregf", _module("pyregf"), _libregf, _same, _libregf_value, _facts("timestamp", "class_name")),
    Reader(
        "regipy", _module("regipy"), _regipy, _regipy_name, _regipy_value, _facts("timestamp", "class_name", "owner")
    ),
    Reader("hivexml", shutil.which("hivexml") is not None, _hivex, _same, _hivex_value, _facts()),
    Reader(
        "reglookup",
        shutil.which("reglookup") is not None,
        _reglookup,
        _reglookup_name,
        _reglookup_value,
        _facts("class_name", "owner"),
    ),
)
