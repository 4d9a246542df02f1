"""File records by their ids: a directory of tables, each of up to 1024 records of one size.

A file id counts from 1 through all tables, each of which but the last is taken to be full. Tables are kept once they
have been read, up to 32 MiB of them; ids that follow each other, as writers give them, find theirs there.

Source: hcsshim ``format.go`` (Filesystem, FileTableDirectoryEntry).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError
from wclayer.formats.cim.profiles import FIRST_FILE_ID, MAX_ENTRY_SIZE, MIN_ENTRY_SIZE, TABLE_RECORDS
from wclayer.formats.cim.structures import FILE_TABLE, Filesystem, FileTable

if TYPE_CHECKING:
    from wclayer.formats.cim.regions import RegionFiles

__all__ = ["FileTables"]

_CACHED: Final = 32 << 20
_DIRECTORY: Final = "the file table directory"


class FileTables:
    """The file tables that ``filesystem`` points to. Raises FormatError when their directory leaves its region."""

    def __init__(self, regions: RegionFiles, filesystem: Filesystem) -> None:
        self._regions = regions
        self._tables: dict[int, tuple[bytes, FileTable]] = {}
        self._size = 0
        self._region, self._position = regions.locate(filesystem.tables, _DIRECTORY)
        #: How many tables there are.
        self.count = filesystem.table_count
        if not self.count or self._position + self.count * FILE_TABLE.size > self._region.size:
            raise FormatError(
                f"{self.count} file tables at 0x{self._position:x} of {self._region.name}, which has "
                f"{self._region.size} bytes",
                kind="cim-file-table",
                image=regions.image,
            )

    def entry_bytes(self, number: int) -> bytes:
        """Entry ``number`` of the directory, from 0 and below :attr:`count`, as it lies in the image."""
        return self._region.read(self._position + number * FILE_TABLE.size, FILE_TABLE.size, _DIRECTORY)

    def entry(self, number: int) -> FileTable:
        """The same taken apart. Raises FormatError for one without records or with records of no possible size."""
        table = FileTable.unpack(self.entry_bytes(number))
        if not 1 <= table.records <= TABLE_RECORDS or not MIN_ENTRY_SIZE <= table.entry_size <= MAX_ENTRY_SIZE:
            raise FormatError(
                f"file table {number} claims {table.records} records of {table.entry_size} bytes",
                kind="cim-file-table",
                image=self._regions.image,
            )
        return table

    def place(self, file_id: int, path: str | None = None) -> tuple[bytes, int, int]:
        """The table of file ``file_id``, where in it the record begins, and its length.

        ``path`` names the file in errors. Raises FormatError when there is no such file.
        """
        number, slot = divmod(file_id - FIRST_FILE_ID, TABLE_RECORDS)
        data, table = self._tables.get(number) or self._load(number, file_id, path)
        if slot >= table.records:
            raise self._no_file(file_id, path)
        return data, slot * table.entry_size, table.entry_size

    def _load(self, number: int, file_id: int, path: str | None) -> tuple[bytes, FileTable]:
        if not 0 <= number < self.count:
            raise self._no_file(file_id, path)
        table = self.entry(number)
        data = self._regions.read(table.offset, table.records * table.entry_size, f"file table {number}", path)
        if self._size > _CACHED:
            self._tables.clear()
            self._size = 0
        self._tables[number] = data, table
        self._size += len(data)
        return data, table

    def _no_file(self, file_id: int, path: str | None) -> FormatError:
        return FormatError(f"there is no file {file_id}", kind="cim-file-id", image=self._regions.image, path=path)
