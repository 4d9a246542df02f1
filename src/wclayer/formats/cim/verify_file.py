"""One file record and all that it points to, checked; what several files share is checked for the first of them.

Sources: hcsshim ``format.go`` (File, Stream, PeImage), MS-FSCC for extended attributes and reparse data, MS-DTYP for
security descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError, LimitError, UnsupportedError, WclayerError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.profiles import KNOWN_FLAGS, PE_VALID_IMAGE, RECORD_TAIL_FROM
from wclayer.formats.cim.streams import CimStream, read_pe_image
from wclayer.formats.cim.structures import (
    LINK_TABLE,
    PE_IMAGE,
    PE_MAPPING,
    STREAM_DATA,
    STREAM_PE_IMAGE,
    PeImage,
    StreamRecord,
)
from wclayer.ntfs.ea import decode_eas
from wclayer.ntfs.reparse import parse_reparse, tag_of
from wclayer.ntfs.security import parse

if TYPE_CHECKING:
    from wclayer.formats.cim.findings import Report
    from wclayer.formats.cim.reader import CimImage
    from wclayer.formats.cim.verify_names import NameChecks
    from wclayer.formats.cim.verify_regions import Extents

__all__ = ["FileChecks"]

_MAX_TIME: Final = (1 << 63) - 1
_MAX_REPARSE: Final = 16384
_REPARSE_HEAD: Final = 8
_GUID: Final = 16
_MICROSOFT_TAG: Final = 0x80000000
_PLACED: Final = (FormatError, LimitError, UnsupportedError)


class FileChecks:
    """Checks the files of ``image``, one record after the other."""

    def __init__(self, image: CimImage, report: Report, extents: Extents, names: NameChecks) -> None:
        self._image = image
        self._report = report
        self._extents = extents
        self._names = names
        self._checked: set[tuple[str, int, int]] = set()
        self._room = image.regions.size  # for the mappings of PE images, of which many could share one list

    def check(self, file: CimFile) -> None:
        """Report what is wrong with the record of ``file`` and with what it points to, but for its link table."""
        record, path, add = file.record, file.path, self._report.add
        if record.flags & ~KNOWN_FLAGS:
            add("flags", path, f"flags 0x{record.flags:04x}")
        if record.reserved:
            add("reserved", path, f"the reserved field of the record is 0x{record.reserved:x}")
        if max(record[3:7]) > _MAX_TIME:
            add("time", path, "a time beyond the last FILETIME")
        if len(file.raw_record) > RECORD_TAIL_FROM and any(file.tail):
            add("tail", path, f"behind the record: {file.tail.hex()}")
        self._check_security(file)
        if record.ea_length or record.ea_offset:
            self._check_eas(file)
        if record.reparse_tag or record.reparse_offset:
            self._check_reparse(file)
        if file.is_directory:
            if record.stream.sparse or record.stream.unused_bits:
                add("sparse", path, f"a folder's stream has the bits 0x{record.length_and_kind >> 48:x}")
        else:
            self._check_stream(file.default_stream)
        if record.stream_table_offset:
            self._check_streams(file)

    def _check_security(self, file: CimFile) -> None:
        offset = file.record.sd_offset
        if not offset:
            self._report.add("sd-missing", file.path, "no security descriptor")
            return
        if self._known("sd", offset):
            return
        data = self._counted(file, offset, "security descriptor")
        if data is None:
            return
        try:
            parse(data)
        except WclayerError as error:
            self._report.error(error, file.path, "sd")

    def _check_eas(self, file: CimFile) -> None:
        record, path = file.record, file.path
        if not record.ea_length:
            self._report.add("ea-stray", path, "extended attributes of length 0 that lie somewhere")
            return
        if self._known("ea", record.ea_offset, record.ea_length):
            return
        try:
            data = file.ea_bytes
        except FormatError as error:
            self._report.error(error, path)
            return
        self._extents.metadata(record.ea_offset, record.ea_length, path, "extended attributes")
        try:
            decode_eas(data)
        except WclayerError as error:
            self._report.error(error, path, "ea")

    def _check_reparse(self, file: CimFile) -> None:
        record, path, add = file.record, file.path, self._report.add
        if not record.reparse_offset:
            add("reparse-tag", path, f"reparse tag 0x{record.reparse_tag:08x} without data")
            return
        if self._known("reparse", record.reparse_offset, record.reparse_tag):
            return
        data = self._counted(file, record.reparse_offset, "reparse data")
        if data is None:
            return
        try:
            tag = tag_of(data)
            parse_reparse(data)
        except WclayerError as error:
            self._report.error(error, path, "reparse")
            return
        if tag != record.reparse_tag:
            add("reparse-tag", path, f"reparse tag 0x{record.reparse_tag:08x} in the record, 0x{tag:08x} in the data")
        told = int.from_bytes(data[4:6], "little") + _REPARSE_HEAD + (0 if tag & _MICROSOFT_TAG else _GUID)
        if told != len(data) or len(data) > _MAX_REPARSE:
            add("reparse-length", path, f"{len(data)} bytes of reparse data, which says {told}")

    def _check_streams(self, file: CimFile) -> None:
        offset, path = file.record.stream_table_offset, file.path
        if self._known("streams", offset):
            return
        try:
            records, names, counted = self._image.stream_table(offset, path)
        except _PLACED as error:
            self._report.error(error, path)
            return
        if counted:
            self._report.add("table-counted", path, "the table of alternate streams lies behind four bytes")
        region, position = self._image.regions.locate(offset, "alternate streams")
        start = position + 4 if counted else position
        length, _ = LINK_TABLE.unpack(region.read(start, LINK_TABLE.size, "alternate streams"))
        whole = length + start - position
        self._extents.metadata(offset, whole, path, "table of alternate streams", code="alignment")
        self._names.check(names, path, "alternate stream")
        for record, name in zip(records, names, strict=True):
            self._check_stream(self._image.stream(record, f"{path}:{name}", name))

    def _check_stream(self, stream: CimStream) -> None:
        record, path = stream.record, stream.path
        try:
            if stream.kind == STREAM_PE_IMAGE:
                self._take_mappings(record.data_offset, path)
            stream.data()
        except _PLACED as error:
            self._report.error(error, path)
            return
        if not stream.size or stream.is_sparse:
            if record.data_offset:
                self._report.add("empty-offset", path, f"{stream.size} bytes that are not stored have a place")
            if stream.kind != STREAM_DATA:
                self._report.add("sparse", path, f"a stream of type {stream.kind} without data")
        elif stream.kind == STREAM_PE_IMAGE:
            image = read_pe_image(self._image.regions, record.data_offset, path)
            self._check_pe_image(image, record, path)
        else:
            self._extents.data(record.data_offset, stream.size, path)

    def _take_mappings(self, offset: int, path: str) -> None:
        """Refuse to go through more mappings than an image of this size can hold."""
        head = self._image.regions.read(offset, PE_IMAGE.size, "PE image", path)
        self._room -= PE_IMAGE.unpack(head)[3] * PE_MAPPING.size
        if self._room < 0:
            raise LimitError("the mappings of PE images take more bytes than the regions have")

    def _check_pe_image(self, image: PeImage, record: StreamRecord, path: str) -> None:
        length = PE_IMAGE.size + len(image.mappings) * PE_MAPPING.size
        self._extents.metadata(record.data_offset, length, path, "PE image")
        deltas = [delta for _, delta in image.mappings]
        if deltas != sorted(deltas):
            self._report.add("pe-image-odd", path, "the mappings of a PE image go back")
        if image.data_length != record.length:
            self._report.add("pe-image-odd", path, f"a PE image of {image.data_length} bytes for {record.length}")
        if image.flags != PE_VALID_IMAGE:
            self._report.add("pe-image-flags", path, f"a PE image with flags 0x{image.flags:x}")
        last = max((delta for start, delta in image.mappings if start < record.length), default=0)
        self._extents.data(image.data_offset, record.length + last, path)

    def _known(self, what: str, offset: int, more: int = 0) -> bool:
        """Whether this has been checked for another file."""
        key = (what, offset, more)
        if key in self._checked:
            return True
        self._checked.add(key)
        return False

    def _counted(self, file: CimFile, offset: int, what: str) -> bytes | None:
        """The bytes at ``offset``, behind their number; None when they are not there, which is reported."""
        try:
            data = self._image.counted_bytes(offset, what, file.path)
        except FormatError as error:
            self._report.error(error, file.path)
            return None
        self._extents.metadata(offset, len(data) + 2, file.path, what)
        return data
