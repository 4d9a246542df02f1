"""Whether a file of a fork is still that of the image it was forked from.

Pointers count regions, those of parents first. A fork takes over what it does not change by pointing to the same place,
so two pointers into one region file say that nothing was written. Between images that share no regions the content
itself is compared.
"""

from __future__ import annotations

from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.streams import CimStream

__all__ = ["ForkRecords"]

_SHIFT = 48
_OFFSET = (1 << _SHIFT) - 1


class ForkRecords:
    """Compares files of ``image`` with files of ``parent``."""

    def __init__(self, image: CimImage, parent: CimImage) -> None:
        known = {name: number for number, name in enumerate(parent.region_names)}
        self._places = [known.get(name) for name in image.region_names]
        self._related = any(place is not None for place in self._places)

    def same(self, file: CimFile, old: CimFile) -> bool:
        """Whether ``file`` is ``old``, unchanged: name, metadata, data and streams."""
        new, was = file.record, old.record
        if file.is_directory != old.is_directory or file.name != old.name or new[:7] != was[:7]:
            return False
        if not file.is_directory and not self._same_stream(file.default_stream, old.default_stream):
            return False
        if not self._same_place(new.sd_offset, was.sd_offset) and file.security_descriptor != old.security_descriptor:
            return False
        if not self._same_place(new.ea_offset, was.ea_offset) and file.ea_bytes != old.ea_bytes:
            return False
        if not self._same_place(new.reparse_offset, was.reparse_offset) and file.reparse != old.reparse:
            return False
        return self._same_place(new.stream_table_offset, was.stream_table_offset) or self._same_streams(file, old)

    def _same_place(self, new: int, was: int) -> bool:
        """Whether two region offsets name the same place; what is nowhere is at the same place."""
        if not new or not was:
            return new == was
        place = self._places[new >> _SHIFT] if new >> _SHIFT < len(self._places) else None
        return place is not None and place == was >> _SHIFT and new & _OFFSET == was & _OFFSET

    def _same_streams(self, file: CimFile, old: CimFile) -> bool:
        ours, theirs = file.streams, old.streams
        return len(ours) == len(theirs) and all(
            mine.name == other.name and self._same_stream(mine, other) for mine, other in zip(ours, theirs, strict=True)
        )

    def _same_stream(self, mine: CimStream, other: CimStream) -> bool:
        if mine.record.length_and_kind != other.record.length_and_kind:
            return False
        if not mine.size or mine.is_sparse:
            return True
        if self._related:
            return self._same_place(mine.record.data_offset, other.record.data_offset)
        return _content_equal(mine, other)


def _content_equal(mine: CimStream, other: CimStream) -> bool:
    with mine.open() as ours, other.open() as theirs:
        while piece := ours.read(1 << 20):
            if theirs.read(1 << 20) != piece:
                return False
    return True
