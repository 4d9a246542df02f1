"""Records of the first exporters (previews of 2016), translated to those of today.

Before 23 February 2016 every vendor record stood below ``SCHILY.xattr.``; before 30 March the times were FILETIMEs in
decimal. hcsshim ignores them now; the layers still exist.
"""

from __future__ import annotations

from wclayer.errors import FormatError
from wclayer.formats.tar.pax import format_time
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS

__all__ = ["legacy_records"]

_SCHILY = b"SCHILY.xattr.MSWINDOWS."
_TIMES = (
    (b"MSWINDOWS.createtime", b"LIBARCHIVE.creationtime"),
    (b"MSWINDOWS.accesstime", b"atime"),
    (b"MSWINDOWS.changetime", b"ctime"),
    (b"MSWINDOWS.writetime", b"mtime"),
)


def legacy_records(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """``records`` with old spellings added under today's keys where those are missing; the same dict if none occur."""
    if not any(key.startswith((_SCHILY, b"MSWINDOWS.")) for key in records):
        return records
    result = dict(records)
    for key, value in records.items():
        if key.startswith(_SCHILY):
            result.setdefault(b"MSWINDOWS." + key[len(_SCHILY) :], value)
    for old, new in _TIMES:
        text = result.get(old)
        if text is not None and new not in result:
            if not text.isdigit() or len(text) > 20:
                raise FormatError(f"{text[:40]!r} is not a FILETIME", kind="tar-header")
            result[new] = format_time((int(text) - UNIX_EPOCH_TICKS) * 100)
    return result
