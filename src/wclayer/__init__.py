"""Windows container image layers without Windows: every NTFS detail kept, every digest reproducible.

The names below are loaded when they are first used, so ``import wclayer`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from wclayer._version import __version__

if TYPE_CHECKING:
    from wclayer.errors import (
        DigestMismatchError,
        FormatError,
        IntegrityError,
        LimitError,
        NotFoundError,
        StoreError,
        UnsafeEntryError,
        UnsupportedError,
        UsageError,
        WclayerError,
    )
    from wclayer.model import (
        AlternateStream,
        Entry,
        HardLink,
        LayerChain,
        LayerItem,
        LayerReader,
        LayerWriter,
        Metadata,
        Notice,
        Notices,
        Stream,
        Tombstone,
        copy_layer,
    )

__all__ = [
    "AlternateStream",
    "DigestMismatchError",
    "Entry",
    "FormatError",
    "HardLink",
    "IntegrityError",
    "LayerChain",
    "LayerItem",
    "LayerReader",
    "LayerWriter",
    "LimitError",
    "Metadata",
    "NotFoundError",
    "Notice",
    "Notices",
    "StoreError",
    "Stream",
    "Tombstone",
    "UnsafeEntryError",
    "UnsupportedError",
    "UsageError",
    "WclayerError",
    "__version__",
    "copy_layer",
]

# Where each public name lives. A name stands here, in __all__ and in the imports for type checkers above.
_HOMES = {
    "wclayer.errors": (
        "DigestMismatchError",
        "FormatError",
        "IntegrityError",
        "LimitError",
        "NotFoundError",
        "StoreError",
        "UnsafeEntryError",
        "UnsupportedError",
        "UsageError",
        "WclayerError",
    ),
    "wclayer.model": (
        "AlternateStream",
        "Entry",
        "HardLink",
        "LayerChain",
        "LayerItem",
        "LayerReader",
        "LayerWriter",
        "Metadata",
        "Notice",
        "Notices",
        "Stream",
        "Tombstone",
        "copy_layer",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from its home; the next access finds it without coming here."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
