"""The JSON values of a case: bytes in their five spellings, names, UTF-16."""

from __future__ import annotations

import base64
from typing import Any

from wclayer.ntfs.names import from_utf16le

__all__ = ["data_of", "name_of", "text_of", "utf16_of"]


def data_of(value: dict[str, Any]) -> bytes:
    """Bytes given as ``b64``, ``hex``, ``utf8``, ``fill``, ``concat`` or ``lcg``."""
    ((kind, content),) = value.items()
    if kind == "b64":
        return base64.b64decode(content)
    if kind == "hex":
        return bytes.fromhex(content)
    if kind == "utf8":
        return str(content).encode()
    if kind == "fill":
        return bytes([content["byte"]]) * int(content["length"])
    if kind == "concat":
        return b"".join(data_of(part) for part in content)
    if kind == "lcg":
        return _lcg(content["seed"], content["length"])
    raise ValueError(f"unknown spelling of bytes: {kind}")


def _lcg(seed: int, length: int) -> bytes:
    out = bytearray(length)
    state = seed
    for index in range(length):
        state = (state * 1103515245 + 12345) % (1 << 31)
        out[index] = state >> 16 & 0xFF
    return bytes(out)


def name_of(entry: dict[str, Any], key: str) -> str:
    """A name, which is given as text or, where it has lone surrogates, as hex of UTF-16LE."""
    if f"{key}_utf16le_hex" in entry:
        return from_utf16le(bytes.fromhex(entry[f"{key}_utf16le_hex"]))
    return str(entry[key])


def utf16_of(entry: dict[str, Any], key: str = "name") -> bytes:
    """The UTF-16LE bytes of a stream name, empty when there is none."""
    if f"{key}_utf16le_hex" in entry:
        return bytes.fromhex(entry[f"{key}_utf16le_hex"])
    return str(entry.get(key, "")).encode("utf-16-le", "surrogatepass")


def text_of(data: bytes) -> str | dict[str, str]:
    """Text as results spell it: a string, or hex where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}
