"""What can be found wrong with a CIM image: every code once, with how bad it is and what it means.

An *error* is what no reader may meet: it refuses, reads something else, or, in Windows, may stop the machine. A
*warning* is what a reader gets over, though no public source writes it. A *note* is worth knowing and nothing more.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from wclayer.errors import FormatError, LimitError, WclayerError

__all__ = ["CODES", "Finding", "Report", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]

#: Every code with its severity and its meaning.
CODES: Final[dict[str, tuple[Severity, str]]] = {
    "header": ("error", "a file of the image is cut off, or does not begin as its kind does"),
    "unsupported": ("error", "a version, a kind of stream or a record of a merged image that is not known"),
    "limit": ("error", "a table larger than any honest one, or names that overlap"),
    "region-missing": ("error", "a region file does not exist"),
    "offset": ("error", "a pointer names nothing, no region, or bytes outside its region"),
    "alignment": ("error", "a link table not at a multiple of 8 bytes, or data not where its kind of region has it"),
    "upcase": ("error", "the upper-case table has the wrong size"),
    "file-table": (
        "error",
        "a file table has no record, too many, too few for others to follow, or none of possible size",
    ),
    "entry-size": ("error", "file records are longer than any driver knows"),
    "file-id": ("error", "a name leads to a file id that has no record"),
    "record": ("error", "the root is no folder"),
    "link-table": ("error", "a table of names contradicts itself"),
    "name": ("error", "a name no file can have: empty, ., .., too long, with a separator, a colon or a NUL"),
    "name-order": ("error", "names are not sorted, neither by UTF-16 units nor by code points"),
    "name-twice": ("error", "two names in a folder, or of streams, differ in case only"),
    "name-lost": ("error", "a name that a binary search does not find"),
    "loop": ("error", "a folder lies in itself"),
    "folder-twice": ("error", "a folder has two names"),
    "pe-image": ("error", "the mappings of a PE image do not ascend or do not cover the file"),
    "ea": ("error", "extended attributes that cannot be taken apart"),
    "reparse": ("error", "reparse data that cannot be taken apart"),
    "header-length": ("warning", "a header tells another length than it has"),
    "header-reserved": ("warning", "a reserved field of a header is not zero"),
    "header-trailing": ("warning", "bytes behind the list of parents"),
    "version-mixed": ("warning", "a region has another version than the image"),
    "region-number": ("warning", "a region's header tells another number than its name"),
    "region-kind": ("warning", "a kind of region that is not known"),
    "object-id": ("warning", "an object id file is missing, malformed or points outside its region"),
    "alignment-metadata": ("warning", "metadata not at a multiple of 8 bytes"),
    "metadata-in-data": ("warning", "metadata in a region of data"),
    "data-in-metadata": ("warning", "data in a region of metadata"),
    "overlap": ("warning", "two objects share some of their bytes"),
    "upcase-odd": ("warning", "an upper-case table that maps nothing, or that maps its own results on"),
    "entry-size-odd": ("warning", "file records of a size that no known version writes, or of several sizes"),
    "reserved": ("warning", "a reserved field of a table or a record is not zero"),
    "unreachable": ("warning", "a file record without a name"),
    "order-units": ("warning", "names are sorted by code points, not by UTF-16 units"),
    "order-code-points": ("warning", "names are sorted by UTF-16 units, not by code points"),
    "name-win32": ("warning", "a name that Win32 programs cannot open"),
    "path-length": ("warning", "a path longer than Windows allows"),
    "table-length": ("warning", "a table of names is shorter than the stream that holds it"),
    "table-counted": ("warning", "a table of alternate streams behind its number, which not every reader expects"),
    "parent-id": ("warning", "a record names a parent that does not hold the file"),
    "flags": ("warning", "flags of no known meaning"),
    "time": ("warning", "a time that is no FILETIME"),
    "sd-missing": ("warning", "a file without security descriptor"),
    "sd": ("warning", "a security descriptor that cannot be taken apart"),
    "ea-stray": ("warning", "extended attributes of length 0"),
    "reparse-tag": ("warning", "the reparse tag of the record is not that of the data, or there is no data"),
    "reparse-length": ("warning", "reparse data of another length than it tells, or longer than Windows allows"),
    "sparse": ("warning", "a stream without data that is no file's data"),
    "pe-image-odd": ("warning", "a PE image whose parts move towards the front, or whose length is not the file's"),
    "upcase-other": ("note", "an upper-case table that is not the one of NTFS"),
    "end-padding": ("note", "a region that does not end at a whole page"),
    "tail": ("note", "bytes behind the known part of a file record"),
    "empty-offset": ("note", "a stream of no bytes, or of zeros only, that has a place all the same"),
    "pe-image-flags": ("note", "a PE image that is not marked as one, or with flags of no known meaning"),
}


class Finding(NamedTuple):
    """Something wrong with an image. ``path`` is that in the image, ``""`` for what concerns no file."""

    severity: Severity
    code: str
    path: str
    detail: str


class Report:
    """Collects findings: all are counted, the first ``keep`` of each code are listed."""

    def __init__(self, keep: int = 100) -> None:
        self._keep = keep
        self._found: list[Finding] = []
        self._counts: dict[str, int] = {}

    def add(self, code: str, path: str, detail: str) -> None:
        """Add a finding of one of :data:`CODES`."""
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count <= self._keep:
            self._found.append(Finding(CODES[code][0], code, path, detail))

    def error(self, error: WclayerError, path: str, code: str = "") -> None:
        """Add what reading stumbled over; ``code`` says what it was, where the error does not."""
        if not code:
            if isinstance(error, FormatError):
                code = error.kind.removeprefix("cim-")
            else:
                code = "limit" if isinstance(error, LimitError) else "unsupported"
        self.add(code, path, error.message)

    def findings(self) -> list[Finding]:
        """All that was found; of each code of which more was found than listed, how much, at the end."""
        more = [
            Finding(CODES[code][0], code, "", f"{count - self._keep} more of these are not listed")
            for code, count in self._counts.items()
            if count > self._keep
        ]
        return self._found + more
