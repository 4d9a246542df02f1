"""Rules about what an entry carries: metadata, times, and the registry hives."""

from __future__ import annotations

import struct

from wclayer.image.lint.examined import HEAD, Examined
from wclayer.image.lint.findings import Findings
from wclayer.ntfs.names import fold

__all__ = ["BASE_HIVES", "ContentChecks"]

BASE_HIVES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")
"""The hives in ``Files/Windows/System32/config`` that a base layer needs."""

_CONFIG = "FILES/WINDOWS/SYSTEM32/CONFIG/"
_DELTAS = frozenset(f"{name}_DELTA" for name in ("DEFAULTUSER", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"))
_PROGRAMS = (".EXE", ".DLL", ".COM", ".SYS", ".CMD", ".BAT")
_MIN_HIVE, _CHECKSUM_AT = 8192, 508
_NANOSECONDS = range(-(1 << 63), 1 << 63)
_YEAR = 31_556_952 * 10**9


class ContentChecks:
    """Looks at what the entries of one layer carry. ``base_hives`` are the hives of a base that were met."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.base_hives: set[str] = set()
        self._without_attributes = 0
        self._without_times = 0

    def look_at(self, entry: Examined, path: str) -> None:
        """One entry that is no whiteout and no stream."""
        add = self._findings.add
        key = fold(path)
        for name, time in entry.times.items():
            if time is not None and time not in _NANOSECONDS:
                add("time-range", path, f"{name} in the year {1970 + time // _YEAR}")
        if entry.times and entry.kind in ("file", "folder"):
            self._without_times += entry.times["atime"] is None or entry.times["ctime"] is None
            self._without_attributes += entry.attributes is None
        if entry.kind == "file" and not entry.has_descriptor and key.endswith(_PROGRAMS) and key.startswith("FILES/"):
            add("executable-without-descriptor", path, "no MSWINDOWS.rawsd")
        name = key.removeprefix(_CONFIG)
        if key.startswith(_CONFIG) and name in BASE_HIVES:
            self.base_hives.add(name)
            if entry.kind == "file":
                self._look_at_hive(entry, path)
        elif key.startswith("HIVES/"):
            self._look_at_delta(entry, path, key.removeprefix("HIVES/"))

    def finish(self, *, is_base: bool) -> None:
        """What is known when all entries are."""
        add = self._findings.add
        if self._without_attributes:
            add("attributes-missing", "", f"{self._without_attributes} entries")
        if self._without_times:
            add("times-missing", "", f"{self._without_times} entries")
        if is_base:
            for name in BASE_HIVES:
                if name not in self.base_hives:
                    add("base-hive-missing", f"Files/Windows/System32/config/{name}", "there is no such entry")

    def _look_at_delta(self, entry: Examined, path: str, name: str) -> None:
        if entry.is_folder:
            self._findings.add("hives-folder", path, "a folder")
            return
        if name not in _DELTAS:
            self._findings.add("hive-name", path, f"the name {path.rpartition('/')[2]!r}")
        if entry.kind == "file":
            self._look_at_hive(entry, path)

    def _look_at_hive(self, entry: Examined, path: str) -> None:
        if not entry.size:
            self._findings.add("hive-empty", path, "0 bytes")
            return
        head = entry.head()
        reason = ""
        if head[:4] != b"regf":
            reason = f"it begins with {head[:4]!r}"
        elif entry.size < _MIN_HIVE:
            reason = f"{entry.size} bytes, of at least {_MIN_HIVE}"
        elif len(head) == HEAD and _checksum(head) != struct.unpack_from("<I", head, _CHECKSUM_AT)[0]:
            reason = "the checksum of its first block is wrong"
        if reason:
            self._findings.add("hive-malformed", path, reason)


def _checksum(head: bytes) -> int:
    checksum = 0
    for (word,) in struct.iter_unpack("<I", head[:_CHECKSUM_AT]):
        checksum ^= word
    return {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(checksum, checksum)
