"""Public names of a package that are loaded when they are first used: importing a part of it costs only that."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``, whose names live in the modules that ``homes`` says (PEP 562)."""
    home = {name: module for module, names in homes.items() for name in names}
    found = vars(sys.modules[package])

    def get(name: str) -> object:
        module = home.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(module), name)
        found[name] = value  # the next access finds it without coming here
        return value

    def listed() -> list[str]:
        return sorted({*found, *home})

    return get, listed
