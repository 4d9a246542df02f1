"""Records that make no sense, contradict each other, or are missing: what becomes of each, here and in hcsshim."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.formats.tar.building import END, EPOCH, block, extension, member, noted, one, read, refused
from wclayer.errors import FormatError
from wclayer.formats.tar import Members, SlabStream, TarLayerReader, TarLayerWriter
from wclayer.formats.tar.backuptar import AddOperation, import_operations
from wclayer.model import Entry, Metadata, Stream
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE
from wclayer.ntfs.reparse import IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK, tag_of

CREATED, RAWSD, XATTR = b"LIBARCHIVE.creationtime", b"MSWINDOWS.rawsd", b"MSWINDOWS.xattr."
FILEATTR = b"MSWINDOWS.fileattr"


def added(archive: bytes) -> Any:
    (operation,) = import_operations(Members(SlabStream([archive + END])))
    assert isinstance(operation, AddOperation)
    return operation


def refused_by_both(archive: bytes) -> str:
    kind = refused(archive).kind
    with pytest.raises(FormatError) as error:
        added(archive)
    assert error.value.kind == kind
    return str(kind)


@pytest.mark.parametrize(("kind", "attributes"), [(b"0", 0), (b"5", 0x10), (b"2", 0)])
def test_47_without_attributes_only_the_type_tells(kind: bytes, attributes: int) -> None:
    archive = block(b"Files/x", kind, link=b"y")
    assert one(archive).metadata.attributes == added(archive).attributes == attributes


@pytest.mark.parametrize("text", [b"", b"x", b"-1", b"0x20", b"32 ", b"4294967296", b"1" * 4000])
def test_47_attributes_that_are_no_32_bit_decimal_are_refused(text: bytes) -> None:
    assert refused_by_both(member(b"Files/x", b"", b"0", (FILEATTR, text))) == "attributes-number"


@pytest.mark.parametrize(("kind", "attributes"), [(b"0", 0x10), (b"5", 0x20)])
def test_47_attributes_and_type_that_disagree_are_both_kept_and_told(kind: bytes, attributes: int) -> None:
    archive = member(b"Files/x", b"", kind, (FILEATTR, b"%d" % attributes))
    entry = one(archive)
    assert (entry.metadata.attributes, entry.is_directory) == (attributes, kind == b"5")
    assert noted(archive) == ["attributes-and-type"]
    assert added(archive).attributes == attributes  # to hcsshim they alone say whether it is a folder


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        (b"1.5", 15_000_000),
        (b"-1.5", -15_000_000),
        (b"1.123456789012", 11_234_567),
        (b"1", 10_000_000),
        (b"1.", 10_000_000),
        (b"-11644473600", -EPOCH),
    ],
)
def test_47_times_of_creation(text: bytes, ticks: int) -> None:
    archive = member(b"Files/x", b"", b"0", (CREATED, text), mtime=9)
    assert one(archive).metadata.creation_time == EPOCH + ticks
    if ticks != -EPOCH:
        assert added(archive).creation_time == EPOCH + ticks


@pytest.mark.parametrize("text", [b"x", b"", b"1,5", b".5", b"1.x", b"99999999999999999999"])
def test_47_a_time_of_creation_that_is_none_is_refused(text: bytes) -> None:
    assert refused_by_both(member(b"Files/x", b"", b"0", (CREATED, text))) == "tar-header"


@pytest.mark.parametrize("text", [b"AQA", b"AQA!", b"A-A=", b"====", b"AQA=x"])
def test_47_a_descriptor_that_is_no_base64_is_refused(text: bytes) -> None:
    assert refused_by_both(member(b"Files/x", b"", b"0", (RAWSD, text))) == "base64"


def test_47_extended_attributes_have_the_limits_of_ntfs() -> None:
    def archive(name: bytes, size: int) -> bytes:
        return member(b"Files/x", b"", b"0", (XATTR + name, base64.b64encode(bytes(size))))

    (attribute,) = one(archive(b"n" * 255, 65535)).metadata.extended_attributes
    assert (len(attribute.name), len(attribute.value)) == (255, 65535)
    assert refused_by_both(archive(b"n" * 256, 1)) == "ea-name-too-large"
    assert refused_by_both(archive(b"n", 65536)) == "ea-value-too-large"


def test_47_a_link_with_the_record_is_a_mount_point_and_a_folder() -> None:
    archive = extension((b"MSWINDOWS.mountpoint", b"1"), (FILEATTR, b"1040")) + block(b"Files/l", b"2", link=b"C:/d")
    entry = one(archive)
    assert (tag_of(entry.metadata.reparse), entry.is_directory) == (IO_REPARSE_TAG_MOUNT_POINT, True)
    plain = extension((FILEATTR, b"1056")) + block(b"Files/l", b"2", link=b"C:/d")
    assert (tag_of(one(plain).metadata.reparse), one(plain).is_directory) == (IO_REPARSE_TAG_SYMLINK, False)


def test_47_a_global_header_makes_no_entry_and_changes_none() -> None:
    archive = extension((b"path", b"Files/g"), (FILEATTR, b"2"), kind=b"g") + member(b"Files/x", b"data")
    (entry,) = read(archive + END)
    assert (entry.path, entry.metadata.attributes) == ("Files/x", 0)
    assert noted(archive) == ["global-header"]


BIG = (1 << 33) + 5


@pytest.mark.parametrize("how", ["record", "number"])
def test_47_a_file_of_more_than_8_gib_is_read_to_its_end(how: str) -> None:
    if how == "record":
        head = extension((b"size", b"%d" % BIG)) + block(b"Files/big")
    else:
        head = block(b"Files/big", fields={124: b"\x80" + BIG.to_bytes(11, "big")}, magic=b"ustar  \0")
    slab = memoryview(bytes(1 << 26))

    def slabs() -> Iterator[bytes | memoryview]:
        yield head
        for _ in range(BIG >> 26):
            yield slab
        yield b"12345" + bytes(507)
        yield member(b"Files/next", b"x") + END

    reader = TarLayerReader(slabs())
    found = [(item.path, item.data.size) for item in reader if isinstance(item, Entry) and item.data is not None]
    assert found == [("Files/big", BIG), ("Files/next", 1)]
    assert reader.size == BIG + 1


def test_47_a_file_of_more_than_8_gib_is_written_with_a_record() -> None:
    head = bytearray()
    total = 0

    def write(data: Any) -> None:
        nonlocal total
        total += len(data)
        if len(head) < 4096:
            head.extend(data[:4096])

    piece = memoryview(bytes(1 << 26))
    whole = Stream(BIG, lambda _stored: iter([*[piece] * (BIG >> 26), piece[:5]]))
    with TarLayerWriter(write) as writer:
        writer.write(Entry("Files/big", Metadata(32, EPOCH, EPOCH, EPOCH, EPOCH), data=whole))
    assert b" size=%d\n" % BIG in head
    assert total == 512 + 512 + 512 + BIG + 507 + 1024


def test_47_times_that_are_missing_are_none_here_and_a_day_in_1754_there() -> None:
    archive = member(b"Files/x", mtime=5)
    written = EPOCH + 50_000_000
    here, there = one(archive).metadata, one(archive, policy="reference").metadata
    assert (here.last_write_time, here.last_access_time, here.change_time) == (written, None, None)
    for values in (
        (there.creation_time, there.last_access_time, there.change_time),
        (added(archive).creation_time, added(archive).last_access_time, added(archive).change_time),
    ):
        assert values == (written, ABSENT_IN_REFERENCE, ABSENT_IN_REFERENCE)
    assert ABSENT_IN_REFERENCE == 48491090211286549


def test_47_the_year_1601_is_kept_here_and_becomes_2185_there() -> None:
    pairs = [(key, b"-11644473600") for key in (CREATED, b"atime", b"ctime", b"mtime")]
    metadata = one(member(b"Files/x", b"", b"0", *pairs)).metadata
    times = (metadata.creation_time, metadata.last_access_time, metadata.last_write_time, metadata.change_time)
    assert times == (0, 0, 0, 0)
    entry = Entry("Files/x", Metadata(32, 0, 0, 0, 0), data=Stream(0, lambda _stored: iter(())))
    for policy, text in (("faithful", b" atime=-11644473600\n"), ("reference", b" atime=6802270473.709551616\n")):
        out = bytearray()
        with TarLayerWriter(out.extend, policy=policy) as writer:  # type: ignore[arg-type]
            writer.write(entry)
        assert text in out
