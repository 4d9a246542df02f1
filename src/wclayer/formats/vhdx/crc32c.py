"""CRC-32C (Castagnoli), the checksum of every structure of a VHDX file; zlib has another polynomial.

A header or a region table is a few entries and then kilobytes of zeros, so a run of zeros is not walked through: what
n zero bytes do to the register is a linear map, and maps that are squared eight, sixteen, … times double their run.

Source: RFC 3720 appendix B.4 (polynomial 0x1EDC6F41, reflected 0x82F63B78); MS-VHDX 2.2.
"""

from __future__ import annotations

from functools import cache

__all__ = ["crc32c"]

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The checksum of ``data``."""
    whole = bytes(data)
    body = whole.rstrip(b"\0")
    table, register = _TABLE, _ALL
    for byte in body:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return _after_zeros(register, len(whole) - len(body)) ^ _ALL


def _after_zeros(register: int, count: int) -> int:
    power = 0
    while count:
        if count & 1:
            register = _apply(_zeros(power), register)
        count >>= 1
        power += 1
    return register


@cache
def _zeros(power: int) -> tuple[int, ...]:
    """What 2**power zero bytes make of each of the 32 bits of the register."""
    if power == 0:
        return tuple(_TABLE[(1 << bit) & 0xFF] ^ ((1 << bit) >> 8) for bit in range(32))
    half = _zeros(power - 1)
    return tuple(_apply(half, column) for column in half)


def _apply(columns: tuple[int, ...], register: int) -> int:
    found = 0
    for column in columns:
        if register & 1:
            found ^= column
        register >>= 1
        if not register:
            break
    return found
