"""The libraries that compress: zstd from the standard library where it has it, and ISA-L where there is one."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    from isal import isal_zlib
except ImportError:  # the marker of the dependency leaves some platforms out
    isal: Any = None
else:
    isal = isal_zlib

__all__ = ["isal", "zstd"]
