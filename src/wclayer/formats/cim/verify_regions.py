"""The files of an image, checked one by one: headers, object id files, and that no two objects lie on each other.

Sources: hcsshim ``pkg/cimfs/format`` and the fuller ``format.go`` of its history. What a header should hold that no
reader looks at is in :mod:`wclayer.formats.cim.profiles`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.formats.cim.profiles import (
    DATA_ALIGNMENT,
    DATA_REGION,
    END_PADDING,
    FILESYSTEM_HEADER_LENGTH,
    METADATA_ALIGNMENT,
    METADATA_REGION,
    OBJECT_ID_HEADER_LENGTH,
    REGION_HEADER_LENGTH,
    SMALL_DATA_ALIGNMENT,
    SMALL_DATA_REGION,
)
from wclayer.formats.cim.regions import KIND_NAMES, Region, check_common, open_regular
from wclayer.formats.cim.structures import (
    OBJECT_ID,
    REGION_SET,
    TYPE_OBJECT_ID,
    CommonHeader,
    ObjectIdHeader,
    object_id_name,
)

if TYPE_CHECKING:
    from wclayer.formats.cim.findings import Report
    from wclayer.formats.cim.reader import CimImage

__all__ = ["Extents", "check_header", "check_regions"]

_ALIGNMENT: Final = {DATA_REGION: DATA_ALIGNMENT, SMALL_DATA_REGION: SMALL_DATA_ALIGNMENT}


def check_header(image: CimImage, report: Report) -> None:
    """The ``.cim`` file itself, beyond what opening it checks."""
    name = image.path.name
    header = image.header
    size = FILESYSTEM_HEADER_LENGTH + len(header.parents) * REGION_SET.size
    descriptor, length = open_regular(image.path, image.what)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(size)
    _check_length(header.common, (FILESYSTEM_HEADER_LENGTH, size), name, report)
    if header.pack() != data:
        report.add("header-reserved", "", f"{name}: a reserved field is not zero")
    if length > size:
        report.add("header-trailing", "", f"{name} has {length} bytes, its header takes {size}")


def check_regions(image: CimImage, report: Report) -> None:
    """All region files, and the object id files of the image's own."""
    for region in image.regions.regions:
        try:
            header = region.header
            raw = region.read(0, REGION_HEADER_LENGTH, "the header")
        except (FormatError, UnsupportedError) as error:
            report.error(error, "")
            continue
        _check_length(header.common, (REGION_HEADER_LENGTH,), region.name, report)
        if header.pack() != raw:
            report.add("header-reserved", "", f"{region.name}: a reserved field is not zero")
        if header.common.major != image.header.common.major:
            report.add("version-mixed", "", f"{region.name} has version {header.common.major}, not that of the image")
        if header.number != region.number:
            report.add("region-number", "", f"{region.name} says that it is number {header.number}")
        if header.kind not in KIND_NAMES:
            report.add("region-kind", "", f"{region.name} is of kind {header.kind}")
        if region.size % END_PADDING:
            report.add("end-padding", "", f"{region.name} has {region.size} bytes")
        if region.own:
            _check_object_ids(image, region, report)


def _check_length(header: CommonHeader, lengths: tuple[int, ...], name: str, report: Report) -> None:
    if header.length not in lengths:
        report.add("header-length", "", f"{name}: a header of {lengths[0]} bytes says {header.length}")


def _check_object_ids(image: CimImage, region: Region, report: Report) -> None:
    path = image.path.parent / object_id_name(region.guid, region.number)
    majors = range(image.header.common.major, image.header.common.major + 1)
    try:
        descriptor, size = open_regular(path, image.what)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(OBJECT_ID_HEADER_LENGTH)
            if len(data) < OBJECT_ID_HEADER_LENGTH:
                report.add("object-id", "", f"{path.name} has {size} bytes, too few")
                return
            header = ObjectIdHeader.unpack(data)
            check_common(header.common, TYPE_OBJECT_ID, majors, path.name, image.what)
            if header.table_offset + header.entries * OBJECT_ID.size > size:
                report.add("object-id", "", f"{path.name}: {header.entries} entries do not fit into {size} bytes")
                return
            file.seek(header.table_offset)
            for _ in range(header.entries):
                length, _, position = OBJECT_ID.unpack(file.read(OBJECT_ID.size))
                if position + length > region.size:
                    report.add("object-id", "", f"{path.name}: an object at 0x{position:x} outside its region")
    except WclayerError as error:
        report.error(error, "", "object-id")
        return
    _check_length(header.common, (OBJECT_ID_HEADER_LENGTH,), path.name, report)
    if header.number != region.number or header.kind != region.header.kind:
        report.add("object-id", "", f"{path.name} does not belong to its region")


class Extents:
    """Where objects lie: each is checked for its place when it comes, all for each other at the end."""

    def __init__(self, image: CimImage, report: Report) -> None:
        self._regions = image.regions.regions
        self._report = report
        self._lengths: dict[int, int] = {}
        self._clashes: dict[int, int] = {}
        self._kinds = [self._kind(region) for region in self._regions]

    def metadata(self, offset: int, length: int, path: str, what: str, *, code: str = "alignment-metadata") -> None:
        """An object of metadata that has been read; ``code`` is for one that is not at a multiple of 8 bytes."""
        self._place(offset, length)
        if offset % METADATA_ALIGNMENT:
            self._report.add(code, path, f"the {what} at {self._where(offset)}")
        if self._kinds[offset >> 48] in (DATA_REGION, SMALL_DATA_REGION):
            self._report.add("metadata-in-data", path, f"the {what} at {self._where(offset)}")

    def data(self, offset: int, length: int, path: str) -> None:
        """The data of a stream, which lies inside its region."""
        self._place(offset, length)
        kind = self._kinds[offset >> 48]
        alignment = _ALIGNMENT.get(kind, 1)
        if offset % alignment:
            self._report.add("alignment", path, f"data at {self._where(offset)} is not at a multiple of {alignment}")
        if kind == METADATA_REGION:
            self._report.add("data-in-metadata", path, f"data at {self._where(offset)}")

    def check_overlaps(self) -> None:
        """Report objects that share bytes without being the same."""
        end, last = 0, 0
        for offset in sorted(self._lengths):
            if offset < end:
                self._overlap(last, offset)
            if (ending := offset + self._lengths[offset]) > end:
                end, last = ending, offset
        for offset in self._clashes:
            self._overlap(offset, offset)

    def _place(self, offset: int, length: int) -> None:
        known = self._lengths.setdefault(offset, length)
        if known != length:
            self._clashes[offset] = length
            self._lengths[offset] = max(known, length)

    def _overlap(self, first: int, second: int) -> None:
        self._report.add("overlap", "", f"the objects at {self._where(first)} and {self._where(second)} share bytes")

    def _where(self, offset: int) -> str:
        return f"0x{offset & (1 << 48) - 1:x} of {self._regions[offset >> 48].name}"

    def _kind(self, region: Region) -> int:
        try:
            return region.header.kind
        except (FormatError, UnsupportedError):
            return -1
