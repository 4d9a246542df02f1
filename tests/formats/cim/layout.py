"""What lies where in the own regions of an image, found from the description of the format alone.

Used to see that objects do not overlap, are aligned, and that there is nothing between them but zeros.
"""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import NamedTuple

MASK = (1 << 48) - 1
HEADERS = {"image": 72, "region": 40, "objectid": 48}


class Object(NamedTuple):
    region: int
    start: int
    end: int
    what: str


class Layout:
    """The objects of the image ``path`` in its own regions; ``extents`` has each once, sorted."""

    def __init__(self, path: Path) -> None:
        self.header = path.read_bytes()
        magic, length, kind = struct.unpack_from("<8sIB", self.header)
        assert (magic, length, kind) == (b"cimfile0", 72, 0)
        self.major = struct.unpack_from("<I", self.header, 16)[0]
        parents = struct.unpack_from("<H", self.header, 70)[0]
        assert len(self.header) == 72 + 24 * parents
        self.sets = [self._set(72 + 24 * number) for number in range(parents)]
        self.own = self._set(32)
        self.regions: list[bytes] = []
        self.first_own = 0
        for guid, count in self.sets:
            self.regions += [(path.parent / f"region_{guid}_{n}").read_bytes() for n in range(count)]
        self.first_own = len(self.regions)
        self.kinds: list[int] = []
        for number in range(self.own[1]):
            data = (path.parent / f"region_{self.own[0]}_{number}").read_bytes()
            ids = (path.parent / f"objectid_{self.own[0]}_{number}").read_bytes()
            self._check_headers(data, ids, number)
            self.regions.append(data)
            self.kinds.append(data[34])
        self._found: set[Object] = set()
        self._walk()
        self.extents = sorted(self._found)

    def _set(self, at: int) -> tuple[uuid.UUID, int]:
        guid, count = struct.unpack_from("<16sH", self.header, at)
        return uuid.UUID(bytes_le=guid), count

    def _check_headers(self, data: bytes, ids: bytes, number: int) -> None:
        common = struct.pack("<8sIBBHIIQ", b"cimfile0", 40, 1, 0, 0, self.major, 0, 0)
        assert data[:40] == common + struct.pack("<HBBI", number, data[34], 0, 0)
        assert len(data) % 4096 == 0
        common = struct.pack("<8sIBBHIIQ", b"cimfile0", 48, 2, 0, 0, self.major, 0, 0)
        assert ids == common + struct.pack("<HBBIII", number, data[34], 0, 0, 48, 0)

    def _see(self, offset: int, size: int, what: str) -> bytes:
        region, start = offset >> 48, offset & MASK
        assert start, what
        data = self.regions[region][start : start + size]
        assert len(data) == size, what
        if region >= self.first_own:
            self._found.add(Object(region - self.first_own, start, start + size, what))
        return data

    def _walk(self) -> None:
        filesystem = struct.unpack_from("<Q", self.header, 56)[0]
        upcase, directory, count, self.root = struct.unpack("<QQII", self._see(filesystem, 24, "filesystem"))
        self.upcase = struct.unpack("<65536H", self._see(upcase, 131072, "upcase"))
        self.records: dict[int, tuple[int, ...]] = {}
        self.tables = []
        data = self._see(directory, 16 * count, "directory")
        for number in range(count):
            offset, records, size, zero = struct.unpack_from("<QHHI", data, 16 * number)
            assert zero == 0
            assert records == 1024 or number == count - 1
            self.tables.append((records, size))
            table = self._see(offset, records * size, "file table")
            for slot in range(records):
                raw = table[slot * size : (slot + 1) * size]
                assert not any(raw[94:])
                self.records[1024 * number + slot + 1] = struct.unpack("<HHI4Q2Q4QIHH", raw[:96])
        for record in self.records.values():
            self._record(record)

    def _record(self, record: tuple[int, ...]) -> None:
        data, length, sd, ea, reparse, streams = record[7:13]
        self._counted(sd, "security descriptor")
        if record[1]:
            self._see(ea, record[1], "ea")
        if reparse:
            self._counted(reparse, "reparse")
        if length >> 48 & 0xFF == 1:
            assert length >> 56 == 0
            if length & MASK:
                self._see(data, length & MASK, "link table")
        else:
            self._stream(data, length)
        if streams:
            size = struct.unpack("<I", self._see(streams, 4, "size of streams"))[0]
            self._found.discard(
                Object((streams >> 48) - self.first_own, streams & MASK, (streams & MASK) + 4, "size of streams")
            )
            table = self._see(streams, size, "streams")
            for number in range(struct.unpack_from("<I", table, 4)[0]):
                self._stream(*struct.unpack_from("<QQ", table, 8 + 16 * number))

    def _counted(self, offset: int, what: str) -> None:
        region, start = offset >> 48, offset & MASK
        size = struct.unpack_from("<H", self.regions[region], start)[0]
        self._see(offset, size + 2, what)

    def _stream(self, offset: int, length: int) -> None:
        assert length >> 48 in (0, 0x100)
        if length >> 56 or not length:
            assert offset == 0
            return
        region = (offset >> 48) - self.first_own
        if region >= 0:
            assert self.kinds[region] in (1, 2)
        self._see(offset, length & MASK, "data")

    def names(self, file_id: int) -> list[tuple[str, int]]:
        """Names and ids in the folder ``file_id``, in their order."""
        record = self.records[file_id]
        size = record[8] & MASK
        if not size:
            return []
        region, start = record[7] >> 48, record[7] & MASK
        table = self.regions[region][start : start + size]
        length, count = struct.unpack_from("<II", table)
        assert length == size
        ids = struct.unpack_from(f"<{count}I", table, 8)
        found = []
        for number, offset in enumerate(struct.unpack_from(f"<{count}I", table, 8 + 4 * count)):
            units = struct.unpack_from("<H", table, offset)[0]
            name = table[offset + 2 : offset + 2 + 2 * units].decode("utf-16-le", "surrogatepass")
            found.append((name, ids[number]))
        return found

    def key(self, name: str) -> tuple[int, ...]:
        data = name.encode("utf-16-le", "surrogatepass")
        return tuple(self.upcase[unit] for unit in struct.unpack(f"<{len(data) // 2}H", data))

    def check(self, *, all_referenced: bool = True) -> None:
        """Nothing overlaps, all is aligned, and what is nobody's is padding, which is as short as can be, and zero.

        Without ``all_referenced`` there may be objects that nothing leads to.
        """
        alignments = {0: 8, 1: 4096, 2: 8}
        for number, kind in enumerate(self.kinds):
            position = 40
            data = self.regions[self.first_own + number]
            for one in (found for found in self.extents if found.region == number):
                assert one.start % alignments[kind] == 0, one
                assert one.start >= position, one
                position = max(position, one.start) if not all_referenced else position
                assert not any(data[position : one.start]), one
                assert one.start - position < alignments[kind] or one.start == 4096, one
                position = one.end
            if not all_referenced:
                continue
            assert not any(data[position:])
            assert len(data) - position < 4096 or position == 40
