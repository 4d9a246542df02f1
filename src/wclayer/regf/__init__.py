"""Registry hives: the regf format and its layered keys, as pure functions of bytes."""

from __future__ import annotations

from wclayer.regf.diff import diff
from wclayer.regf.history import KeyEvent, ValueEvent, key_history, value_history
from wclayer.regf.layered import LayeredKey, LayeredValue, combine, merge, resolve
from wclayer.regf.minimal import HIVE_SIZE, minimal_hive
from wclayer.regf.reader import Hive, Key
from wclayer.regf.tree import (
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_LOCAL,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    REG_BINARY,
    REG_DWORD,
    REG_DWORD_BIG_ENDIAN,
    REG_EXPAND_SZ,
    REG_LINK,
    REG_MULTI_SZ,
    REG_NONE,
    REG_QWORD,
    REG_SZ,
    HiveKey,
    HiveValue,
    first_difference,
)
from wclayer.regf.writer import save_hive, write_hive

__all__ = [
    "HIVE_SIZE",
    "LAYER_INHERIT_CLASS",
    "LAYER_SUPERSEDE_LOCAL",
    "LAYER_SUPERSEDE_TREE",
    "LAYER_TOMBSTONE",
    "REG_BINARY",
    "REG_DWORD",
    "REG_DWORD_BIG_ENDIAN",
    "REG_EXPAND_SZ",
    "REG_LINK",
    "REG_MULTI_SZ",
    "REG_NONE",
    "REG_QWORD",
    "REG_SZ",
    "Hive",
    "HiveKey",
    "HiveValue",
    "Key",
    "KeyEvent",
    "LayeredKey",
    "LayeredValue",
    "ValueEvent",
    "combine",
    "diff",
    "first_difference",
    "key_history",
    "merge",
    "minimal_hive",
    "resolve",
    "save_hive",
    "value_history",
    "write_hive",
]
