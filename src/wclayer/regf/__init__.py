"""Registry hives: the regf format and its layered keys, as pure functions of bytes."""

from __future__ import annotations

from wclayer.regf.minimal import (
    HIVE_SIZE,
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_LOCAL,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    REG_BINARY,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_QWORD,
    REG_SZ,
    HiveKey,
    HiveValue,
    minimal_hive,
)

__all__ = [
    "HIVE_SIZE",
    "LAYER_INHERIT_CLASS",
    "LAYER_SUPERSEDE_LOCAL",
    "LAYER_SUPERSEDE_TREE",
    "LAYER_TOMBSTONE",
    "REG_BINARY",
    "REG_DWORD",
    "REG_EXPAND_SZ",
    "REG_MULTI_SZ",
    "REG_QWORD",
    "REG_SZ",
    "HiveKey",
    "HiveValue",
    "minimal_hive",
]
