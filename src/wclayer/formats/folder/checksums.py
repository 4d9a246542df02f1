"""CRC-32 as zlib computes it: by ISA-L, which is faster, where it is there."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

__all__ = ["crc32"]

if TYPE_CHECKING:
    crc32: Callable[..., int] = zlib.crc32
else:
    try:
        from isal.isal_zlib import crc32
    except ImportError:  # no wheel for this machine
        crc32 = zlib.crc32
