"""The options of the driver and of a layer: ``key=value``, of which Docker interprets ``size`` and ignores the others.

A size is written as Docker's go-units reads it (``RAMInBytes``): a decimal number, perhaps a space, perhaps one of
``kmgtp``, perhaps ``i``, perhaps ``b``, in either case; every unit is a power of 1024.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from wclayer.errors import UsageError

__all__ = ["DEFAULT_SIZE", "DriverOptions", "StorageOptions", "parse_options", "parse_size", "parse_storage_options"]

DEFAULT_SIZE = 127 << 30
"""Bytes of the disk of a read-write layer when nobody says otherwise, as in Docker since 2023."""

_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{0,30})?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """``default_size`` in bytes is that of the disks of read-write layers; ``ignored`` are the options not known."""

    default_size: int = DEFAULT_SIZE
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """``size`` in bytes, 0 to leave it as it is."""

    size: int = 0


def parse_size(text: str) -> int:
    """A size in bytes. Raises UsageError for what go-units would refuse: no number, a negative one, another unit."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no size", hint="write 20GB, 127g, 1.5TiB or a number of bytes")
    size = int(Decimal(match[1]) * (1024 ** (" kmgtp".index(match[2].lower()) if match[2] else 0)))
    if size >= _LIMIT:
        raise UsageError(f"{text!r} is larger than any disk")
    return size


def parse_options(options: Iterable[str]) -> DriverOptions:
    """The options the driver is started with. Raises UsageError for one that is no ``key=value``, or a bad size."""
    size, ignored = DEFAULT_SIZE, []
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"{option!r} is no option of the form key=value")
        if key.strip().lower() == "size":
            size = parse_size(value.strip())
        else:
            ignored.append(option)
    return DriverOptions(size, tuple(ignored))


def parse_storage_options(options: Mapping[str, str] | None) -> StorageOptions:
    """The options of one layer. Raises UsageError for a bad size."""
    size = 0
    for key, value in (options or {}).items():
        if key.lower() == "size":
            try:
                size = parse_size(value)
            except UsageError as error:
                raise UsageError(f"cannot parse the storage options: {error.message}", hint=error.hint) from None
    return StorageOptions(size)
