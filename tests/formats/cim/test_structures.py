"""The structures of a CIM image against bytes written down by hand."""

from __future__ import annotations

import hashlib
import struct
import uuid
from pathlib import Path

import pytest

from tests.formats.cim.images import GUID, NULL_DACL, upcase_table
from wclayer.formats.cim.profiles import (
    DATA_REGION,
    DEFAULT_SECURITY_DESCRIPTOR,
    LTSC2022,
    LTSC2025,
    METADATA_REGION,
    PROFILES,
    SMALL_DATA_REGION,
    profile_for_build,
)
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import (
    COMMON_HEADER,
    FILE_RECORD,
    FILE_TABLE,
    FILESYSTEM,
    FILESYSTEM_HEADER,
    LINK_TABLE,
    OBJECT_ID,
    OBJECT_ID_HEADER,
    PE_IMAGE,
    PE_MAPPING,
    REGION_HEADER,
    REGION_SET,
    STREAM,
    STREAM_LINK_TABLE,
    STREAM_PE_IMAGE,
    FileRecord,
    Filesystem,
    FilesystemHeader,
    FileTable,
    ObjectIdHeader,
    PeImage,
    RegionHeader,
    RegionSet,
    StreamRecord,
    object_id_name,
    region_index,
    region_name,
    region_offset,
    region_position,
)
from wclayer.formats.cim.verify import verify_cim

TIMES = (132000000000000001, 132000000000000002, 132000000000000003, 132000000000000004)

# One file a.txt with "hello": version 3, records of 96 bytes.
CIM = bytes.fromhex(
    "63696d66696c6530 48000000 00000000 03000000 00000000 0000000000000000"
    "33221100 5544 7746 8899aabbccddeeff 0300 0000 00000000"
    "3001020000000000 00000000 0000 0000"
)
REGION_HEADERS = [
    bytes.fromhex(f"63696d66696c6530 28000000 01000000 03000000 00000000 0000000000000000 {rest}")
    for rest in ("0000 00 00 00000000", "0100 02 00 00000000", "0200 01 00 00000000")
]
OBJECT_IDS = bytes.fromhex(
    "63696d66696c6530 30000000 02000000 03000000 00000000 0000000000000000 0000 00 00 00000000 30000000 00000000"
)
SD = bytes.fromhex("1400 01000480") + bytes(16)
TABLE = bytes.fromhex("1c000000 01000000 02000000 10000000 0500 61002e00740078007400")
ROOT = (
    struct.pack("<HHI4Q", 0, 0, 0, *TIMES)
    + bytes.fromhex("4000000000000000 1c00000000000100 2800000000000000")
    + bytes(24 + 8)
)
A_TXT = (
    struct.pack("<HHI4Q", 8, 0, 0, *TIMES)
    + bytes.fromhex("2800000000000100 0500000000000000 2800000000000000")
    + bytes(24)
    + bytes.fromhex("01000000 0000 0000")
)
FILE_TABLES = bytes.fromhex("6000000000000000 0200 6000 00000000")
FILE_SYSTEM = bytes.fromhex("2001000000000000 2001020000000000 01000000 01000000")


def vector(directory: Path) -> Path:
    """The whole image."""
    metadata = bytearray(REGION_HEADERS[0])
    for position, part in (
        (0x28, SD),
        (0x40, TABLE),
        (0x60, ROOT),
        (0xC0, A_TXT),
        (0x120, upcase_table()),
        (0x20120, FILE_TABLES),
        (0x20130, FILE_SYSTEM),
    ):
        metadata += bytes(position - len(metadata))
        metadata += part
    regions = (bytes(metadata), REGION_HEADERS[1] + b"hello", REGION_HEADERS[2])
    for number, data in enumerate(regions):
        (directory / f"region_00112233-4455-4677-8899-aabbccddeeff_{number}").write_bytes(
            data + bytes(-len(data) % 4096)
        )
        kind = (0, 2, 1)[number]
        (directory / f"objectid_00112233-4455-4677-8899-aabbccddeeff_{number}").write_bytes(
            OBJECT_IDS[:32] + bytes((number, 0, kind)) + OBJECT_IDS[35:]
        )
    (directory / "v.cim").write_bytes(CIM)
    return directory / "v.cim"


def test_every_structure_has_the_size_that_the_format_gives_it() -> None:
    sizes = [
        (COMMON_HEADER, 32),
        (REGION_HEADER, 40 - 32),
        (OBJECT_ID_HEADER, 48 - 32),
        (OBJECT_ID, 40),
        (REGION_SET, 24),
        (FILESYSTEM_HEADER, 72 - 32 - 24),
        (FILESYSTEM, 24),
        (FILE_TABLE, 16),
        (FILE_RECORD, 96),
        (STREAM, 16),
        (LINK_TABLE, 8),
        (PE_IMAGE, 24),
        (PE_MAPPING, 8),
    ]
    assert [structure.size for structure, _ in sizes] == [size for _, size in sizes]


def test_the_vector_is_read_whole_and_without_a_finding(tmp_path: Path) -> None:
    path = vector(tmp_path)
    with CimImage.open(path) as image:
        assert image.version == (3, 0)
        assert image.guid == GUID
        assert image.region_names == tuple(f"region_{GUID}_{number}" for number in range(3))
        assert image.upcase.sha256() == "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"
        root, file = image.walk()
        assert (root.path, root.file_id, root.is_directory, root.attributes) == ("", 1, True, 0x10)
        assert (file.path, file.file_id, file.parent_id, file.attributes, file.size) == ("a.txt", 2, 1, 0x20, 5)
        times = (file.creation_time, file.last_write_time, file.change_time, file.last_access_time)
        assert times == TIMES
        assert file.security_descriptor == root.security_descriptor == NULL_DACL
        assert file.open().read() == b"hello"
        assert (file.raw_record, file.tail) == (A_TXT, b"")
    assert verify_cim(path) == []


def test_the_structures_write_the_vector_byte_for_byte() -> None:
    own = RegionSet(GUID, 3)
    assert FilesystemHeader.of(3, own, region_offset(0, 0x20130)).pack() == CIM
    kinds = (METADATA_REGION, SMALL_DATA_REGION, DATA_REGION)
    assert [RegionHeader.of(3, number, kind).pack() for number, kind in enumerate(kinds)] == REGION_HEADERS
    assert ObjectIdHeader.of(3, 0, METADATA_REGION).pack() == OBJECT_IDS
    table = StreamRecord.of(0x40, 0x1C, STREAM_LINK_TABLE)
    assert FileRecord(0, 0, 0, *TIMES, *table, 0x28, 0, 0, 0, 0).pack() == ROOT
    data = StreamRecord.of(region_offset(1, 0x28), 5)
    assert FileRecord(8, 0, 0, *TIMES, *data, 0x28, 0, 0, 0, 1).pack() == A_TXT
    assert FileTable(0x60, 2, 96).pack() == FILE_TABLES
    assert Filesystem(0x120, 0x20120, 1, 1).pack() == FILE_SYSTEM
    assert len(DEFAULT_SECURITY_DESCRIPTOR).to_bytes(2, "little") + DEFAULT_SECURITY_DESCRIPTOR == SD


def test_what_is_packed_is_unpacked_again() -> None:
    other = uuid.UUID(int=0x1234)
    header = FilesystemHeader.of(2, RegionSet(GUID, 2), 7 << 48 | 5, (RegionSet(other, 300), RegionSet(GUID, 1)))
    assert len(header.pack()) == 72 + 2 * 24
    assert FilesystemHeader.parent_count(header.pack()) == 2
    assert FilesystemHeader.unpack(header.pack()) == header
    for kind in (METADATA_REGION, DATA_REGION, SMALL_DATA_REGION):
        assert RegionHeader.unpack(RegionHeader.of(3, 513, kind).pack()) == RegionHeader.of(3, 513, kind)
        assert ObjectIdHeader.unpack(ObjectIdHeader.of(2, 513, kind).pack()) == ObjectIdHeader.of(2, 513, kind)
    record = FileRecord(*range(1, 17))
    assert FileRecord.unpack(record.pack()) == record
    assert Filesystem.unpack(Filesystem(1, 2, 3, 4).pack()) == Filesystem(1, 2, 3, 4)
    assert FileTable.unpack(b"xx" + FileTable(1, 2, 3).pack(), 2) == FileTable(1, 2, 3)


def test_a_record_takes_the_size_of_its_profile() -> None:
    record = FileRecord(*range(1, 17))
    assert len(record.pack(LTSC2022.entry_size)) == 96
    assert record.pack(LTSC2025.entry_size) == record.pack() + bytes(8)
    assert record.pack(104, b"tail") == record.pack() + b"tail\0\0\0\0"
    assert record.pack(88) == record.pack()[:88]


def test_a_stream_record_holds_length_kind_and_sparse_bit() -> None:
    record = StreamRecord.of(1, (1 << 48) - 1, STREAM_PE_IMAGE, sparse=True)
    assert record.length_and_kind == 0x0102_FFFF_FFFF_FFFF
    assert (record.length, record.kind, record.sparse, record.unused_bits) == ((1 << 48) - 1, 2, True, 0)
    assert StreamRecord(0, 0xFE00 << 48).unused_bits == 0xFE00 << 48
    assert StreamRecord(0, 0x0101 << 48).version_1_kind == 0x101


def test_a_pointer_is_a_region_and_a_position_in_it() -> None:
    offset = region_offset(0xFFFF, 0xFFFF_FFFF_FFFF)
    assert offset == (1 << 64) - 1
    assert (region_index(offset), region_position(offset)) == (0xFFFF, 0xFFFF_FFFF_FFFF)


def test_a_pe_image_is_written_with_its_mappings() -> None:
    packed = PeImage(1 << 48 | 4096, 1536, 8192, 1, ((0, 0), (512, 3584))).pack()
    assert packed.hex() == ("001000000000010000060000000000000020000002000100000000000000000000020000000e0000")


def test_file_names_are_lower_case_with_plain_numbers() -> None:
    guid = uuid.UUID("B5742E0B-1B98-40B3-94A6-9CB96F497E56")
    assert region_name(guid, 0) == "region_b5742e0b-1b98-40b3-94a6-9cb96f497e56_0"
    assert object_id_name(guid, 12) == "objectid_b5742e0b-1b98-40b3-94a6-9cb96f497e56_12"


@pytest.mark.parametrize(
    ("build", "name"), [(17763, "ltsc2022"), (20348, "ltsc2022"), (25398, "ltsc2022"), (26100, "ltsc2025")]
)
def test_the_profile_follows_the_build(build: int, name: str) -> None:
    assert profile_for_build(build) is PROFILES[name]


def test_the_profiles_are_those_of_the_two_servers() -> None:
    assert [(profile.major, profile.entry_size, profile.small_limit) for profile in PROFILES.values()] == [
        (2, 96, 0),
        (3, 104, 0),
    ]


def test_the_vectors_upper_case_table_is_the_one_of_ntfs() -> None:
    digest = hashlib.sha256(upcase_table()).hexdigest()
    assert digest == "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"
