"""What goes into an image comes out of it, and the bytes are those that the format asks for."""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests.formats.cim.layout import Layout
from wclayer.errors import (
    FormatError,
    LimitError,
    NotFoundError,
    UnsafeEntryError,
    UnsupportedError,
    UsageError,
)
from wclayer.formats.cim.lock import LOCK_NAME
from wclayer.formats.cim.profiles import COMPACT_LIMIT, DEFAULT_SECURITY_DESCRIPTOR, LTSC2022, LTSC2025
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.cim.writer import CimWriter, CimWritten
from wclayer.model import Metadata, Notices, Stream
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.reparse import build_link

GUID = uuid.UUID("00112233-5544-4677-8899-aabbccddeeff")
PLAIN = Metadata()
EMPTY_DACL = bytes.fromhex("01000480" + "00000000" * 3 + "14000000" + "0200080000000000")


def sample(writer: CimWriter) -> None:
    writer.add_directory("Files", Metadata(0x10, 1, 2, 3, 4))
    writer.add_file("Files/a.txt", Metadata(0x21, 10, 20, 30, 40), 5).write(b"hello")
    writer.add_stream("Files/a.txt", ":Zone.Identifier:$DATA", 3).write(b"abc")
    writer.add_link("Files/B.txt", "Files/a.txt")
    writer.add_file("Files/empty", PLAIN, 0)
    writer.add_directory("Files/none", PLAIN)
    writer.add_file("large", PLAIN, 10_000).write(bytes(range(250)) * 40)


def read(path: Path, name: str) -> bytes:
    with CimImage.open(path) as image:
        found = image.lookup(name)
        assert found is not None
        return b"".join(found.pieces())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim", guid=GUID, check="all") as writer:
        sample(writer)
        written = writer.commit()
    assert written == CimWritten(
        tmp_path / "a.cim",
        GUID,
        {
            "files": 3,
            "folders": 3,
            "names": 6,
            "streams": 1,
            "regions": 2,
            "bytes": 10_005,
            "stored": 10_008,
            "shared": 0,
        },
    )
    with CimImage.open(tmp_path / "a.cim") as image:
        found = {file.path: file for file in image.walk()}
        assert list(found) == ["", "Files", "Files/a.txt", "Files/B.txt", "Files/empty", "Files/none", "large"]
        one = found["Files/a.txt"]
        assert one.file_id == found["Files/B.txt"].file_id
        assert one.parent_id == found["Files"].file_id
        assert (one.creation_time, one.last_access_time, one.last_write_time, one.change_time) == (10, 20, 30, 40)
        assert one.attributes == 0x21
        assert b"".join(one.pieces()) == b"hello"
        assert [(stream.name, b"".join(stream.pieces())) for stream in one.streams] == [("Zone.Identifier", b"abc")]
        assert one.security_descriptor == DEFAULT_SECURITY_DESCRIPTOR
        assert b"".join(found["large"].pieces()) == bytes(range(250)) * 40
        assert image.version == (2, 0)
        assert verify_cim(image) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.cim",
        *(f"{kind}_{GUID}_{number}" for kind in ("objectid", "region") for number in (0, 1)),
    ]
    Layout(tmp_path / "a.cim").check()


def test_the_bytes_are_those_of_the_known_example(tmp_path: Path) -> None:
    """One file, version 3 with records of 96 bytes, small data: what a throwaway writer made of the description."""
    profile = replace(LTSC2022, name="example", major=3, small_limit=COMPACT_LIMIT)
    with CimWriter(tmp_path, "v.cim", profile=profile, guid=GUID) as writer:
        writer.add_file("a.txt", Metadata(0x20, 1, 2, 3, 4), 5).write(b"hello")
    header = bytes.fromhex("63696d66696c6530480000000000000003000000000000000000000000000000")
    header += bytes.fromhex("33221100445577468899aabbccddeeff0200000000000000")
    header += struct.pack("<QIHH", 0x20130, 0, 0, 0)
    assert (tmp_path / "v.cim").read_bytes() == header
    metadata = (tmp_path / f"region_{GUID}_0").read_bytes()
    assert metadata[:0x28].hex() == "63696d66696c6530280000000100000003000000000000000000000000000000" + "0" * 16
    assert metadata[0x28:0x40].hex() == "140001000480" + "00" * 18
    assert metadata[0x40:0x60].hex() == "1c0000000100000002000000100000000500" + "61002e00740078007400" + "00000000"
    root = struct.unpack_from("<HHI4Q2Q4QIHH", metadata, 0x60)
    assert root == (0, 0, 0, 0, 0, 0, 0, 0x40, 0x1_0000_0000_001C, 0x28, 0, 0, 0, 0, 0, 0)
    one = struct.unpack_from("<HHI4Q2Q4QIHH", metadata, 0xC0)
    assert one == (8, 0, 0, 1, 3, 4, 2, 0x1_0000_0000_0028, 5, 0x28, 0, 0, 0, 1, 0, 0)
    assert hashlib.sha256(metadata[0x120:0x20120]).hexdigest().startswith("41c26bc7a12bdaeb")
    assert metadata[0x20120:0x20130] == struct.pack("<QHHI", 0x60, 2, 96, 0)
    assert metadata[0x20130:0x20148] == struct.pack("<QQII", 0x120, 0x20120, 1, 1)
    data = (tmp_path / f"region_{GUID}_1").read_bytes()
    assert data[0x20:0x2D] == bytes([1, 0, 2, 0, 0, 0, 0, 0]) + b"hello"


@pytest.mark.parametrize("profile", [LTSC2022, LTSC2025])
def test_a_profile_decides_version_and_records(tmp_path: Path, profile: object) -> None:
    assert profile in (LTSC2022, LTSC2025)
    chosen = LTSC2022 if profile is LTSC2022 else LTSC2025
    with CimWriter(tmp_path, "a.cim", profile=chosen) as writer:
        sample(writer)
    layout = Layout(tmp_path / "a.cim")
    assert layout.major == chosen.major
    assert layout.tables == [(6, chosen.entry_size)]
    layout.check()


@pytest.mark.parametrize("limit", [0, 100, 1024, 1 << 20])
def test_small_data_has_its_own_region(tmp_path: Path, limit: int) -> None:
    with CimWriter(tmp_path, "a.cim", small_limit=limit) as writer:
        for size in (1, 99, 100, 1023, 1024, 5000):
            writer.add_file(str(size), PLAIN, size).write(bytes([size % 251]) * size)
    layout = Layout(tmp_path / "a.cim")
    layout.check()
    for name, file_id in layout.names(1):
        offset, length = layout.records[file_id][7:9]
        assert layout.kinds[offset >> 48] == (2 if length < limit else 1)
        assert read(tmp_path / "a.cim", name) == bytes([int(name) % 251]) * int(name)


@pytest.mark.parametrize("size", [3, 5000, (1 << 20) + 1, 5 << 20])
def test_equal_data_is_stored_once(tmp_path: Path, size: int) -> None:
    data = hashlib.sha256(b"x").digest() * (size // 32 + 1)
    stored = {}
    for name, deduplicate in (("a.cim", True), ("b.cim", False)):
        with CimWriter(tmp_path, name, deduplicate=deduplicate, check="all") as writer:
            for number in range(4):
                with writer.add_file(f"{number}", PLAIN, size) as sink:
                    for start in range(0, size, 700_001):
                        sink.write(data[start : min(start + 700_001, size)])
            writer.add_file("other", PLAIN, 4).write(b"last")
            stored[deduplicate] = writer.commit().counts
        layout = Layout(tmp_path / name)
        layout.check()
        assert len([one for one in layout.extents if one.what == "data"]) == (2 if deduplicate else 5)
        assert read(tmp_path / name, "3") == data[:size]
        assert read(tmp_path / name, "other") == b"last"
    assert (stored[True]["stored"], stored[True]["shared"]) == (size + 4, 3 * size)
    assert (stored[False]["stored"], stored[False]["shared"]) == (4 * size + 4, 0)


def test_a_sparse_file_without_data_takes_no_room(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("by attribute", Metadata(0x200), 1 << 40)
        writer.add_file("asked for", PLAIN, 12, sparse=True)
        writer.add_file("of data", Metadata(0x200), 4).write(bytes(4))
        writer.add_file("from a stream", Metadata(0x200), 99).copy(Stream(99, lambda _: iter(()), ()))
        writer.add_stream("of data", "s", 7, sparse=True)
    with CimImage.open(tmp_path / "a.cim") as image:
        found = {file.path: file for file in image.walk()}
        assert found["by attribute"].size == 1 << 40
        assert found["by attribute"].default_stream.is_sparse
        assert b"".join(found["asked for"].pieces()) == bytes(12)
        assert found["asked for"].default_stream.is_sparse
        assert not found["of data"].default_stream.is_sparse
        assert found["from a stream"].default_stream.is_sparse
        assert found["of data"].streams[0].is_sparse
        assert found["of data"].attributes & 0x200
        assert not found["asked for"].attributes & 0x200
    assert len([one for one in Layout(tmp_path / "a.cim").extents if one.what == "data"]) == 1


def test_sparse_is_never_made_up(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("zeros", PLAIN, 5000).write(bytes(5000))
        writer.add_file("hole", PLAIN, 77).copy(Stream(77, lambda _: iter(()), ()))
    with CimImage.open(tmp_path / "a.cim") as image:
        assert [file.default_stream.is_sparse for file in image.walk() if not file.is_directory] == [False, False]
    assert read(tmp_path / "a.cim", "hole") == bytes(77)


@pytest.mark.parametrize("scale", [1, 100_000])
def test_the_holes_of_a_stream_are_zeros(tmp_path: Path, scale: int) -> None:
    stored = [b"a" * scale, b"b" * 2 * scale]
    stream = Stream(30 * scale, lambda _: iter(stored), ((5 * scale, scale), (20 * scale, 2 * scale)))
    with CimWriter(tmp_path, "a.cim", check="all") as writer:
        writer.add_file("before", PLAIN, 3 * scale).write(b"x" * 3 * scale)
        writer.add_file("holes", Metadata(0x200), 30 * scale).copy(stream)
        writer.add_file("after", PLAIN, 3 * scale).write(b"y" * 3 * scale)
    expected = bytes(5 * scale) + b"a" * scale + bytes(14 * scale) + b"b" * 2 * scale + bytes(8 * scale)
    assert read(tmp_path / "a.cim", "holes") == expected
    Layout(tmp_path / "a.cim").check()


def test_a_duplicate_that_is_taken_back_leaves_zeros(tmp_path: Path) -> None:
    """The file is cut where the duplicate began, so that a later hole or padding does not show what it was."""
    data = b"d" * ((1 << 20) + 5)
    with CimWriter(tmp_path, "a.cim") as writer:
        for name in ("1", "2"):
            writer.add_file(name, PLAIN, len(data)).write(data)
        with writer.add_file("hole", PLAIN, 2 << 20) as sink:
            sink.hole((2 << 20) - 1)
            sink.write(b"e")
    assert read(tmp_path / "a.cim", "hole") == bytes((2 << 20) - 1) + b"e"
    Layout(tmp_path / "a.cim").check()


def test_offsets_beyond_four_gibibytes_are_right(tmp_path: Path) -> None:
    size = 5 << 30
    with CimWriter(tmp_path, "a.cim", deduplicate=False) as writer:
        with writer.add_file("large", Metadata(0x200), size) as sink:
            sink.write(b"first")
            sink.hole(size - 9)
            sink.write(b"last")
        writer.add_file("small", PLAIN, 5).write(b"after")
    with CimImage.open(tmp_path / "a.cim") as image:
        small, large = image.lookup("small"), image.lookup("large")
        assert small is not None
        assert large is not None
        assert small.record.data_offset & (1 << 48) - 1 == 4096 + size
        assert b"".join(small.pieces()) == b"after"
        assert large.size == size
        with large.open() as data:
            assert data.read(8) == b"first" + bytes(3)
            data.seek(-6, 2)
            assert data.read() == bytes(2) + b"last"
        assert verify_cim(image) == []


def test_metadata_is_kept(tmp_path: Path) -> None:
    attributes = (ExtendedAttribute(b"ONE", b"1", 0x80), ExtendedAttribute(b"TWO", b"22"))
    link = build_link("..\\target", mount_point=False)
    metadata = Metadata(0x427, 1 << 60, 2, (1 << 63) - 1, 4, EMPTY_DACL, attributes, link)
    with CimWriter(tmp_path, "a.cim", check="all") as writer:
        writer.add_file("f", metadata, 1).write(b"1")
        writer.add_file("g", metadata, 1).write(b"1")
        writer.add_directory("d", replace(metadata, attributes=0x437))
    with CimImage.open(tmp_path / "a.cim") as image:
        for name, expected in (("f", 0x427), ("d", 0x437)):
            found = image.lookup(name)
            assert found is not None
            assert found.metadata == replace(metadata, attributes=expected)
    objects = [one.what for one in Layout(tmp_path / "a.cim").extents]
    assert [objects.count(what) for what in ("security descriptor", "ea", "reparse")] == [2, 1, 1]


def test_times_before_1601_are_those_of_windows_and_none_is_zero(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("f", Metadata(0, -1, None, 5, -(1 << 63)), 0)
    with CimImage.open(tmp_path / "a.cim") as image:
        found = image.lookup("f")
        assert found is not None
        assert found.creation_time == (1 << 64) - 1
        assert (found.last_access_time, found.last_write_time, found.change_time) == (0, 5, 1 << 63)


def test_what_a_record_cannot_hold_is_a_notice(tmp_path: Path) -> None:
    notices = Notices()
    with CimWriter(tmp_path, "a.cim", notices=notices) as writer:
        writer.add_file("normal", Metadata(0x80), 0)
        writer.add_file("lost", Metadata(0x2820), 0)
        writer.add_directory("folder", Metadata(0x10))
        writer.add_file("no link", Metadata(0x400), 0)
    assert notices.counts == {"attributes-lost": 2}
    assert [notice.path for notice in notices.listed] == ["lost", "no link"]
    assert "COMPRESSED, NOT_CONTENT_INDEXED" in notices.listed[0].detail
    with (
        pytest.raises(FormatError, match="strict"),
        CimWriter(tmp_path, "b.cim", notices=Notices(strict=True)) as strict,
    ):
        strict.add_file("lost", Metadata(0x2000), 0)
    assert not (tmp_path / "b.cim").exists()


def test_a_name_is_replaced_removed_and_linked(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim", check="all") as writer:
        sample(writer)
        writer.add_file("Files/a.txt", PLAIN, 3).write(b"new")
        writer.add_directory("Files", Metadata(0x12))
        assert writer.contains("files/A.TXT")
        assert writer.is_directory("FILES")
        assert not writer.is_directory("files/a.txt")
        writer.remove("files/NONE")
        assert not writer.contains("Files/none")
        writer.add_directory("Files/none", PLAIN)
        writer.add_file("Files/none/x", PLAIN, 1).write(b"x")
        writer.add_link("linked", "Files/none/x")
        writer.remove("Files/none")
        with pytest.raises(NotFoundError):
            writer.add_file("Files/none/y", PLAIN, 0)
        writer.add_file("was a folder", PLAIN, 0)
        writer.add_directory("was a folder", PLAIN)
        writer.add_file("was a folder/z", PLAIN, 0)
        writer.add_file("was a folder", PLAIN, 1).write(b"f")
    with CimImage.open(tmp_path / "a.cim") as image:
        assert [file.path for file in image.walk()] == [
            "", "Files", "Files/a.txt", "Files/B.txt", "Files/empty", "large", "linked", "was a folder",
        ]  # fmt: skip
        found = image.lookup("Files")
        assert found is not None
        assert found.attributes == 0x12
    assert read(tmp_path / "a.cim", "Files/a.txt") == b"new"
    assert read(tmp_path / "a.cim", "Files/B.txt") == b"hello"
    assert read(tmp_path / "a.cim", "linked") == b"x"


def test_streams_are_replaced_on_folders_and_removed(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_directory("d", PLAIN)
        for name, data in (("b", b"1"), ("A", b"22"), ("_", b""), ("b", b"4444")):
            writer.add_stream("d", name, len(data)).write(data)
        writer.add_stream("", "of the root", 1).write(b"r")
        writer.add_stream("d", "gone", 1).write(b"r")
        writer.remove_stream("d", ":GONE:$DATA")
        with pytest.raises(NotFoundError):
            writer.remove_stream("d", "gone")
        with pytest.raises(NotFoundError):
            writer.add_stream("nothing", "s", 1)
        with pytest.raises(UnsupportedError):
            writer.add_stream("d", ":$I30:$INDEX_ALLOCATION", 1)
        with pytest.raises(UnsafeEntryError):
            writer.add_stream("d", "a\\b", 1)
    with CimImage.open(tmp_path / "a.cim") as image:
        found = image.lookup("d")
        assert found is not None
        assert [(one.name, b"".join(one.pieces())) for one in found.streams] == [
            ("A", b"22"),
            ("b", b"4444"),
            ("_", b""),
        ]
        assert [one.name for one in image.root.streams] == ["of the root"]


def test_two_spellings_of_one_name_are_refused_with_both(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("Straße", PLAIN, 0)
        writer.add_stream("Straße", "Éa", 0)
        for add in (
            lambda: writer.add_file("STRAße", PLAIN, 0),
            lambda: writer.add_directory("STRAße", PLAIN),
            lambda: writer.add_link("STRAße", "straße"),
        ):
            with pytest.raises(FormatError, match="Straße and STRAße differ only in case") as caught:
                add()
            assert caught.value.kind == "case-collision"
        with pytest.raises(FormatError, match="Éa and ÉA differ"):
            writer.add_stream("Straße", "ÉA", 0)
        writer.remove("straße")
        writer.add_file("STRAße", PLAIN, 0)
    with CimImage.open(tmp_path / "a.cim") as image:
        assert [file.path for file in image.walk()] == ["", "STRAße"]


@pytest.mark.parametrize(
    "path", ["", "..", "a/../b", "/a", "C:/a", "a:s", "a\0", "con", "x" * 256, "/".join(["x" * 200] * 200)]
)
def test_a_path_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("t", PLAIN, 0)
        with pytest.raises(UnsafeEntryError):
            writer.add_file(path, PLAIN, 0)
        with pytest.raises(UnsafeEntryError):
            writer.add_link(path, "t")
        with pytest.raises(UnsafeEntryError):
            writer.remove(path)


def test_order_matters_where_windows_says_so(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        with pytest.raises(NotFoundError, match="no folder a"):
            writer.add_file("a/b", PLAIN, 0)
        writer.add_file("a", PLAIN, 0)
        with pytest.raises(UnsafeEntryError, match="no folder"):
            writer.add_file("a/b", PLAIN, 0)
        with pytest.raises(NotFoundError):
            writer.add_link("b", "c")
        with pytest.raises(NotFoundError):
            writer.remove("c")
        writer.add_directory("d", PLAIN)
        with pytest.raises(UnsafeEntryError, match="is a folder"):
            writer.add_link("b", "d")
        writer.add_file("d\\back/", PLAIN, 0)
    with CimImage.open(tmp_path / "a.cim") as image:
        assert [file.path for file in image.walk()] == ["", "a", "d", "d/back"]


@pytest.mark.parametrize("size", [5, 2 << 20])
@pytest.mark.parametrize("given", [-1, 1])
def test_data_of_another_length_than_announced_ends_the_image(tmp_path: Path, size: int, given: int) -> None:
    writer = CimWriter(tmp_path, "a.cim")
    sink = writer.add_file("f", PLAIN, size)
    with pytest.raises(FormatError) as caught, sink:
        sink.write(bytes(size + given))
    assert caught.value.kind == "size"
    assert caught.value.path == "f"
    with pytest.raises(UsageError, match="broken"):
        writer.add_file("g", PLAIN, 0)
    with pytest.raises(UsageError, match="broken"):
        writer.commit()
    assert list(tmp_path.iterdir()) == []


def test_the_next_call_ends_a_stream_that_lacks_data(tmp_path: Path) -> None:
    writer = CimWriter(tmp_path, "a.cim")
    sink = writer.add_file("f", PLAIN, 5)
    sink.write(b"1234")
    with pytest.raises(FormatError, match="4 bytes of data where 5 were announced"):
        writer.add_file("g", PLAIN, 0)
    with pytest.raises(UsageError, match="closed"):
        sink.write(b"5")
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        for metadata in (
            Metadata(security_descriptor=bytes(65536)),
            Metadata(extended_attributes=(ExtendedAttribute(b"n" * 255, b""),)),
            Metadata(extended_attributes=tuple(ExtendedAttribute(b"%d" % n, bytes(9000)) for n in range(8))),
        ):
            with pytest.raises(LimitError) as caught:
                writer.add_file("f", metadata, 0)
            assert caught.value.path == "f"
        with pytest.raises(LimitError):
            writer.add_file("f", PLAIN, 1 << 48)
        with pytest.raises(FormatError):
            writer.add_file("f", Metadata(reparse=b"\x0c\0\0\xa0\xff\xff\0\0"), 0)
        with pytest.raises(FormatError, match="64 bits"):
            writer.add_file("f", Metadata(creation_time=1 << 64), 0)
        writer.add_file("f", Metadata(extended_attributes=(ExtendedAttribute(b"n" * 254, bytes(60000)),)), 0)
    with CimImage.open(tmp_path / "a.cim") as image:
        assert [file.path for file in image.walk()] == ["", "f"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "a\0", "\udc80", "ü" * 128, f"region_{GUID}_0", f"objectid_{GUID}_12", LOCK_NAME],
)
def test_the_name_of_an_image_is_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        CimWriter(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_many_files_fill_several_tables(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        for number in range(2100):
            writer.add_file(f"{number}", PLAIN, 0)
    layout = Layout(tmp_path / "a.cim")
    assert layout.tables == [(1024, 96), (1024, 96), (53, 96)]
    layout.check()
    with CimImage.open(tmp_path / "a.cim") as image:
        assert {file.path for file in image.walk()} == {"", *(f"{number}" for number in range(2100))}


def test_an_aborted_or_forgotten_image_leaves_nothing(tmp_path: Path) -> None:
    writer = CimWriter(tmp_path, "a.cim")
    sample(writer)
    assert len(list(tmp_path.iterdir())) == 4
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="aborted"):
        writer.commit()
    writer = CimWriter(tmp_path, "a.cim")
    writer.commit()
    writer.abort()
    assert (tmp_path / "a.cim").exists()
    with pytest.raises(UsageError, match="committed"):
        writer.add_directory("x", PLAIN)
