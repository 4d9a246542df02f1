"""Everything that can be checked of a CIM image without Windows: that a reader gets what the writer meant.

A malformed image can stop a Windows host, so an image is checked before it is given away, and before it is mounted.
Nothing is changed, and no data of files is read: only that it lies where it may. What is found has a severity, see
:mod:`wclayer.formats.cim.findings`; an image that cannot even be opened is one finding, not an exception.

Sources: hcsshim ``format.go`` and the callers of the CimFS API in hcsshim.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError, LimitError, UnsupportedError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.findings import Finding, Report
from wclayer.formats.cim.links import file_links
from wclayer.formats.cim.profiles import MAX_MAJOR, STANDARD_UPCASE_SHA256, TABLE_RECORDS, VERSION_1
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import FILE_TABLE, FILESYSTEM, LINK_TABLE, UPCASE_SIZE, FileTable
from wclayer.formats.cim.upcase import UpcaseTable
from wclayer.formats.cim.verify_file import FileChecks
from wclayer.formats.cim.verify_names import NameChecks
from wclayer.formats.cim.verify_regions import Extents, check_header, check_regions
from wclayer.ntfs.names import MAX_PATH, utf16_length

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["verify_cim"]

_REFUSED: Final = (FormatError, LimitError, UnsupportedError)
#: The sizes of records that each version is known with.
_ENTRY_SIZES: Final = {VERSION_1: (88,), 2: (96,), MAX_MAJOR: (96, 104)}
#: The longest record of any known driver; a longer one may stop the machine.
_LONGEST_RECORD: Final = 104
_BROKEN_TABLES: Final = 100
_PATHS: Final = 1000


def verify_cim(image: str | os.PathLike[str] | CimImage, *, version_1: bool = False) -> list[Finding]:
    """All that is wrong with ``image``, a path or an open image; nothing when the list is empty.

    Raises NotFoundError and StoreError when a file is not there or cannot be read, which says nothing about the image.
    A missing region is a finding.
    """
    if isinstance(image, CimImage):
        return _Verification(image).run()
    report = Report()
    try:
        with CimImage.open(image, version_1=version_1) as opened:
            return _Verification(opened).run()
    except _REFUSED as error:
        report.error(error, "")
        return report.findings()


class _Verification:
    def __init__(self, image: CimImage) -> None:
        self._image = image
        self._report = Report()
        self._extents = Extents(image, self._report)
        self._seen: set[int] = set()  # file ids that have a name
        self._at_parent: set[int] = set()  # those of them that lie in the folder which their record names
        self._elsewhere: dict[int, str] = {}  # those that have not yet been met there, and a path
        self._left = image.regions.size

    def run(self) -> list[Finding]:
        """All findings."""
        image, report = self._image, self._report
        check_header(image, report)
        check_regions(image, report)
        self._extents.metadata(image.header.filesystem, FILESYSTEM.size, "", "file system")
        self._names = NameChecks(self._check_upcase(), report)
        self._files = FileChecks(image, report, self._extents, self._names)
        records = self._check_tables()
        try:
            root = image.root
        except _REFUSED as error:
            report.error(error, "")
            return report.findings()
        self._check_tree(root)
        for path in self._elsewhere.values():
            report.add("parent-id", path, "the parent in the record does not hold the file")
        self._check_unreachable(records)
        self._extents.check_overlaps()
        return report.findings()

    def _check_upcase(self) -> UpcaseTable | None:
        image, add = self._image, self._report.add
        try:
            upcase = image.upcase
        except _REFUSED as error:
            self._report.error(error, "")
            return None
        self._extents.metadata(image.filesystem.upcase, UPCASE_SIZE, "", "upper-case table")
        if upcase.sha256() == STANDARD_UPCASE_SHA256:
            return upcase
        if not upcase.changed():
            add("upcase-odd", "", "the upper-case table maps nothing")
        elif unstable := upcase.unstable():
            add("upcase-odd", "", f"the upper-case table maps {unstable} of its own results on")
        else:
            add("upcase-other", "", f"the upper-case table has the SHA-256 {upcase.sha256()}")
        return upcase

    def _check_tables(self) -> list[tuple[int, int]]:
        """The first file id of each table that can be read and the one behind its last."""
        image, report = self._image, self._report
        count = image.tables.count
        self._extents.metadata(image.filesystem.tables, count * FILE_TABLE.size, "", "file table directory")
        found: list[tuple[int, int]] = []
        sizes: set[int] = set()
        broken, room = 0, image.regions.size
        for number in range(count):
            try:
                table = image.file_table(number)
                length = table.records * table.entry_size
                region, position = image.regions.locate(table.offset, f"file table {number}")
                if position + length > region.size:
                    raise FormatError(f"file table {number} reaches beyond {region.name}", kind="cim-offset")
            except _REFUSED as error:
                report.error(error, "")
                broken += 1
                if broken == _BROKEN_TABLES:
                    break
                continue
            room -= length
            if room < 0:
                report.add("limit", "", "the file tables take more bytes than the regions have")
                break
            sizes.add(table.entry_size)
            self._check_table(number, table, last=number == count - 1)
            first = number * TABLE_RECORDS + 1
            found.append((first, first + table.records))
        self._check_entry_sizes(sizes)
        return found

    def _check_table(self, number: int, table: FileTable, *, last: bool) -> None:
        report = self._report
        if not last and table.records != TABLE_RECORDS:
            report.add("file-table", "", f"file table {number} has {table.records} records and is not the last")
        if self._image.tables.entry_bytes(number) != table.pack():
            report.add("reserved", "", f"a reserved field of file table {number} is not zero")
        self._extents.metadata(table.offset, table.records * table.entry_size, "", f"file table {number}")

    def _check_entry_sizes(self, sizes: set[int]) -> None:
        major = self._image.header.common.major
        shown = ", ".join(map(str, sorted(sizes)))
        if max(sizes, default=0) > _LONGEST_RECORD:
            self._report.add(
                "entry-size", "", f"file records of {shown} bytes; no known driver has longer ones than 104"
            )
        elif len(sizes) > 1 or not sizes <= set(_ENTRY_SIZES[major]):
            self._report.add("entry-size-odd", "", f"file records of {shown} bytes in version {major}")

    def _check_tree(self, root: CimFile) -> None:
        """Every folder once, every name; as :meth:`CimImage.walk` does it, but going on behind whatever is wrong."""
        self._seen.add(root.file_id)
        self._files.check(root)
        waiting = [(self._entries(root), 0, root.file_id)]
        ways = {root.file_id}  # the folders that lead to where we are
        prefix = ""
        while waiting:
            entries, shorter, folder = waiting[-1]
            for file_id, name in entries:
                below = self._check_entry(file_id, prefix + name, folder, ways)
                if below is not None:
                    waiting.append((self._entries(below), len(prefix), file_id))
                    ways.add(file_id)
                    prefix = f"{below.path}/"
                    break
            else:
                waiting.pop()
                ways.discard(folder)
                prefix = prefix[:shorter]

    def _check_entry(self, file_id: int, path: str, folder: int, ways: set[int]) -> CimFile | None:
        """One name; returns the file if it is a folder to go into."""
        image, report = self._image, self._report
        try:
            record = image.record(file_id, path)
        except _REFUSED as error:
            report.error(error, path)
            return None
        if record.parent_id == folder:
            self._at_parent.add(file_id)
            self._elsewhere.pop(file_id, None)
        elif file_id not in self._at_parent and image.header.common.major != VERSION_1:
            self._elsewhere.setdefault(file_id, path if len(self._elsewhere) < _PATHS else "")
        file = CimFile(image, path, file_id, record)
        if file_id in self._seen:
            if file.is_directory:
                code = "loop" if file_id in ways else "folder-twice"
                report.add(code, path, f"folder {file_id} has this name, too")
            return None
        self._seen.add(file_id)
        self._files.check(file)
        if utf16_length(path) > MAX_PATH:
            report.add("path-length", path, f"a path of more than {MAX_PATH} UTF-16 units")
            return None
        return file if file.is_directory else None

    def _entries(self, folder: CimFile) -> Iterator[tuple[int, str]]:
        image, report, path = self._image, self._report, folder.path
        stream = folder.record.stream
        self._left -= stream.length
        try:
            if self._left < 0:
                raise LimitError("the link tables take more bytes than the regions have")
            table = image.table_bytes(folder.record, path)
            if not table:
                return iter(())
            ids, names = file_links(table)
        except _REFUSED as error:
            report.error(error, path)
            return iter(())
        self._extents.metadata(stream.data_offset, stream.length, path, "link table", code="alignment")
        if LINK_TABLE.unpack_from(table)[0] != stream.length:
            report.add("table-length", path, f"a table of {LINK_TABLE.unpack_from(table)[0]} bytes in {stream.length}")
        self._names.check(names, path, "name")
        return zip(ids, names, strict=True)

    def _check_unreachable(self, records: list[tuple[int, int]]) -> None:
        for first, end in records:
            for file_id in range(first, end):
                if file_id not in self._seen:
                    self._report.add("unreachable", "", f"file {file_id} has no name")
