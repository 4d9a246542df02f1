"""NTFS metadata as extended attributes, under the names and in the forms that ntfs-3g gave them.

========================================  ============================================================================
``system.ntfs_attrib``                    the FILE_ATTRIBUTE_* word, 4 bytes in this machine's order
``system.ntfs_times``                     creation, last write, last access, change: four FILETIMEs of 8 bytes
``system.ntfs_attrib_be``, ``…times_be``  the same, big-endian
``system.ntfs_acl``                       the security descriptor, self-relative
``system.ntfs_ea``                        extended attributes in the form that NTFS stores
``system.ntfs_reparse_data``              the whole reparse buffer
``user.NAME``                             the alternate stream NAME
========================================  ============================================================================

As with ntfs-3g only the streams are listed: what copies all attributes of a file must not try to set these elsewhere.
A stored list of extended attributes is a FILE_FULL_EA_INFORMATION whose last entry tells its length, too.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Callable
from dataclasses import replace

from wclayer.errors import IntegrityError
from wclayer.model import Metadata
from wclayer.ntfs import security
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas, encode_eas
from wclayer.ntfs.names import checked_stream_name
from wclayer.ntfs.reparse import parse_reparse

__all__ = ["METADATA_NAMES", "STREAM_PREFIX", "encode", "is_metadata", "stream_of", "with_value", "without"]

STREAM_PREFIX = "user."
_DATA = ":$DATA"
_DERIVED = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT
_MASK = (1 << 64) - 1
_TIMES = ("creation_time", "last_write_time", "last_access_time", "change_time")
_MAX_REPARSE = 16 << 10  # MAXIMUM_REPARSE_DATA_BUFFER_SIZE
_ORDER = "<" if sys.byteorder == "little" else ">"


def _attributes(metadata: Metadata, order: str) -> bytes:
    return struct.pack(f"{order}I", metadata.attributes)


def _times(metadata: Metadata, order: str) -> bytes:
    return struct.pack(f"{order}4Q", *((getattr(metadata, name) or 0) & _MASK for name in _TIMES))


def _stored_eas(attributes: tuple[ExtendedAttribute, ...]) -> bytes:
    """The list as NTFS stores it: the offset of the last entry is its length instead of 0."""
    *before, last = attributes
    entry = encode_eas([last])
    with_last = encode_eas(attributes)
    start = len(with_last) - len(entry)
    return (
        with_last[:start] + len(entry).to_bytes(4, "little") + with_last[start + 4 :]
        if before
        else (len(entry).to_bytes(4, "little") + entry[4:])
    )


_ENCODED: dict[str, Callable[[Metadata], bytes | None]] = {
    "system.ntfs_attrib": lambda metadata: _attributes(metadata, _ORDER),
    "system.ntfs_attrib_be": lambda metadata: _attributes(metadata, ">"),
    "system.ntfs_times": lambda metadata: _times(metadata, _ORDER),
    "system.ntfs_times_be": lambda metadata: _times(metadata, ">"),
    "system.ntfs_acl": lambda metadata: metadata.security_descriptor,
    "system.ntfs_ea": lambda metadata: (
        _stored_eas(metadata.extended_attributes) if metadata.extended_attributes else None
    ),
    "system.ntfs_reparse_data": lambda metadata: metadata.reparse,
}

METADATA_NAMES = tuple(_ENCODED)
"""The names that are metadata."""


def is_metadata(name: str) -> bool:
    """Whether ``name`` is one of :data:`METADATA_NAMES`."""
    return name in _ENCODED


def encode(metadata: Metadata, name: str) -> bytes:
    """The value of ``name``. Raises OSError, ENODATA, where there is none."""
    encoded = _ENCODED.get(name)
    value = encoded(metadata) if encoded is not None else None
    if value is None:
        raise OSError(errno.ENODATA, f"there is no {name}")
    return value


def with_value(metadata: Metadata, name: str, value: bytes) -> Metadata:
    """``metadata`` with ``name`` set. Raises OSError, EINVAL, for a value in no such form.

    Of the attributes the bits directory and reparse point stay what the file is. Times may be fewer than four, but
    whole; a time of 0 is one that is not known.
    """
    order = ">" if name.endswith("_be") else _ORDER
    try:
        if name.startswith("system.ntfs_attrib"):
            (given,) = struct.unpack(f"{order}I", value)
            return replace(metadata, attributes=given & ~_DERIVED | metadata.attributes & _DERIVED)
        if name.startswith("system.ntfs_times"):
            count, rest = divmod(len(value), 8)
            if rest or not 1 <= count <= 4:
                raise _invalid(name)
            times = struct.unpack(f"{order}{count}Q", value)
            changed = replace(metadata)
            for key, ticks in zip(_TIMES, times, strict=False):
                setattr(changed, key, ticks or None)
            return changed
        if name == "system.ntfs_acl":
            security.parse(value)
            return replace(metadata, security_descriptor=value)
        if name == "system.ntfs_ea":
            return replace(metadata, extended_attributes=decode_eas(value))
        if name == "system.ntfs_reparse_data":
            if len(value) > _MAX_REPARSE:
                raise _invalid(name)
            parse_reparse(value)
            attributes = metadata.attributes | FILE_ATTRIBUTE_REPARSE_POINT
            return replace(metadata, attributes=attributes, reparse=value)
    except (IntegrityError, struct.error) as error:
        raise _invalid(name) from error
    raise OSError(errno.EOPNOTSUPP, f"there is no attribute {name} here")


def without(metadata: Metadata, name: str) -> Metadata:
    """``metadata`` without ``name``. Raises OSError for what is not there, and for what no file is without."""
    encode(metadata, name)
    if name == "system.ntfs_acl":
        return replace(metadata, security_descriptor=None)
    if name == "system.ntfs_ea":
        return replace(metadata, extended_attributes=())
    if name == "system.ntfs_reparse_data":
        return replace(metadata, attributes=metadata.attributes & ~FILE_ATTRIBUTE_REPARSE_POINT, reparse=None)
    raise OSError(errno.EPERM, f"every file has {name}")


def stream_of(name: str) -> str:
    """The full name of the stream that the attribute ``name`` is. Raises OSError for any other attribute."""
    if not name.startswith(STREAM_PREFIX):
        raise OSError(errno.EOPNOTSUPP, f"there is no attribute {name} here")
    stream = f":{name.removeprefix(STREAM_PREFIX)}"
    try:
        if ":" in stream[1:]:
            raise _invalid(name)
        return checked_stream_name(stream) + _DATA
    except IntegrityError as error:
        raise _invalid(name) from error


def _invalid(name: str) -> OSError:
    return OSError(errno.EINVAL, f"no value, or no name, for {name}")
