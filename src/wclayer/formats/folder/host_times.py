"""The times that files and folders of this machine get."""

from __future__ import annotations

from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS

__all__ = ["host_times"]

# ext4 holds 1901 to 2446; what lies outside is wrapped or refused by one system or another, so it is brought inside.
_EARLIEST = UNIX_EPOCH_TICKS - (1 << 31) * 10_000_000
_LATEST = UNIX_EPOCH_TICKS + ((1 << 34) - (1 << 31) - 1) * 10_000_000


def host_times(filetime: int | None) -> tuple[int, int]:
    """Access and modification time in ns after 1970 for a file last written at ``filetime``; unknown becomes 1970."""
    if filetime is None:
        return 0, 0
    nanoseconds = (min(max(filetime, _EARLIEST), _LATEST) - UNIX_EPOCH_TICKS) * 100
    return nanoseconds, nanoseconds
