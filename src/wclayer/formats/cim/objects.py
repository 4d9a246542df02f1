"""The own regions of an image that is being written: data and metadata go in, region offsets come out, nothing twice.

Regions are made when something first belongs in them, and metadata is always the first. Security descriptors, extended
attributes and reparse buffers repeat all the time, so each distinct one is stored once; so is the data of files, where
the writer's caller wants it.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

from wclayer.errors import LimitError
from wclayer.formats.cim.profiles import DATA_REGION, MAX_REGIONS, METADATA_REGION, SMALL_DATA_REGION
from wclayer.formats.cim.region_writer import RegionWriter
from wclayer.formats.cim.structures import object_id_name, region_name, region_offset
from wclayer.model import Buffer

__all__ = ["ObjectStore"]

_COUNTED_LIMIT: Final = 0xFFFF


class ObjectStore:
    """The regions of the set ``guid`` in ``directory``, for an image of version ``major``.

    ``inherited`` is the number of regions of the parents, which count first. Data of fewer than ``small_limit`` bytes
    goes into the region of small data. Every method raises OSError when the file system refuses.
    """

    def __init__(self, directory: Path, guid: uuid.UUID, *, major: int, inherited: int, small_limit: int) -> None:
        self._directory = directory
        self._guid = guid
        self._major = major
        self._inherited = inherited
        self.small_limit = small_limit
        self._regions: list[RegionWriter] = []
        self._by_kind: dict[int, RegionWriter] = {}
        self._blobs: dict[bytes, int] = {b"": 0}
        self._counted: dict[bytes, int] = {}
        self._data: dict[bytes, int] = {}
        #: Bytes of file data that are stored, and that were not stored again.
        self.stored = 0
        self.shared = 0
        self.region(METADATA_REGION)

    def region(self, kind: int) -> RegionWriter:
        """The region of ``kind``, made if need be. Raises LimitError when no region can be added."""
        region = self._by_kind.get(kind)
        if region is None:
            number = len(self._regions)
            if self._inherited + number >= MAX_REGIONS:
                raise LimitError(f"the image and its parents would have more than {MAX_REGIONS} regions")
            region = RegionWriter(self._directory / region_name(self._guid, number), number, kind, self._major)
            self._regions.append(region)
            self._by_kind[kind] = region
        return region

    def pointer(self, region: RegionWriter, position: int) -> int:
        """The region offset of ``position`` in ``region``."""
        return region_offset(self._inherited + region.number, position)

    def metadata(self, data: bytes) -> int:
        """Store a metadata object; returns its region offset."""
        region = self._by_kind[METADATA_REGION]
        return self.pointer(region, region.append(data))

    def blob(self, data: bytes) -> int:
        """The region offset of the metadata object ``data``, stored once; 0 for an empty one."""
        offset = self._blobs.get(data)
        if offset is None:
            offset = self._blobs[data] = self.metadata(data)
        return offset

    def counted(self, data: bytes, what: str) -> int:
        """The same for one that is stored behind its length. Raises LimitError, naming ``what``, above 65535 bytes."""
        offset = self._counted.get(data)
        if offset is None:
            if len(data) > _COUNTED_LIMIT:
                raise LimitError(f"{what} of {len(data)} bytes, {_COUNTED_LIMIT} is the most")
            offset = self._counted[data] = self.metadata(len(data).to_bytes(2, "little") + data)
        return offset

    def data(self, data: Buffer, digest: bytes | None) -> int:
        """The region offset of the whole file data ``data``, which is not empty.

        With a ``digest`` (of all its bytes, by a cryptographic hash) it is stored once.
        """
        if digest is not None and (known := self._data.get(digest)) is not None:
            self.shared += len(data)
            return known
        region = self.region(SMALL_DATA_REGION if len(data) < self.small_limit else DATA_REGION)
        offset = self.pointer(region, region.append(data))
        self.stored += len(data)
        if digest is not None:
            self._data[digest] = offset
        return offset

    def share(self, region: RegionWriter, position: int, before: int, digest: bytes | None) -> int:
        """The region offset of the object that was written in pieces at ``position``: that, or of its like before it.

        ``before`` is where the region ended when the object was begun, ``digest`` as in :meth:`data`.
        """
        size = region.end - position
        if digest is not None and (known := self._data.get(digest)) is not None:
            region.undo(before)
            self.shared += size
            return known
        self.stored += size
        offset = self.pointer(region, position)
        if digest is not None:
            self._data[digest] = offset
        return offset

    def finish(self) -> int:
        """Complete all files, durably; returns the number of regions. Nothing more can be stored."""
        self._data.clear()
        for region in self._regions:
            region.finish()
            region.write_object_ids(self._directory / object_id_name(self._guid, region.number))
        return len(self._regions)

    def close(self) -> None:
        """Close all files as they are. Harmless when called twice."""
        for region in self._regions:
            region.close()
