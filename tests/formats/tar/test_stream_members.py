"""Alternate streams in a tar: whose they are, here and in hcsshim, and which of them cannot be written."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest

from tests.formats.tar.building import END, EPOCH, content, held, member, noted, read, refused
from wclayer.errors import FormatError, UnsafeEntryError, UnsupportedError
from wclayer.formats.tar import Members, SlabStream, TarLayerWriter
from wclayer.formats.tar.backuptar import BackupSource, backup_items, import_operations
from wclayer.model import AlternateStream, Entry, Metadata, Stream

FOLDER = (b"MSWINDOWS.fileattr", b"16")


def streams(archive: bytes) -> list[tuple[str, str, bytes | None]]:
    """The streams that the archive has, with the paths of their owners."""
    return [(i.path, i.name, content(i.data)) for i in read(archive + END) if isinstance(i, AlternateStream)]


def operations(archive: bytes) -> list[tuple[bytes, bytes]]:
    """What hcsshim would restore to which name."""
    found = []
    for operation in import_operations(Members(SlabStream([archive + END]))):
        data = bytearray()
        operation.copy_to(data.extend)  # type: ignore[union-attr]
        found.append((operation.name, bytes(data)))
    return found


def record(kind: int, data: bytes, name: str = "", attributes: int = 0) -> bytes:
    encoded = name.encode("utf-16-le")
    return struct.pack("<IIQI", kind, attributes, len(data), len(encoded)) + encoded + data


def test_48_behind_a_file_they_are_its_streams_to_both() -> None:
    archive = member(b"Files/f", b"data") + member(b"Files/f:one", b"1") + member(b"Files/f:two", b"22")
    assert streams(archive) == [("Files/f", ":one:$DATA", b"1"), ("Files/f", ":two:$DATA", b"22")]
    assert operations(archive) == [
        (b"Files\\f", record(1, b"data") + record(4, b"1", ":one:$DATA") + record(4, b"22", ":two:$DATA"))
    ]


@pytest.mark.parametrize("name", [b"Files/d", b"Files/d/"])
def test_48_behind_a_folder_they_are_its_streams_however_it_is_spelt(name: bytes) -> None:
    archive = member(name, b"", b"5", FOLDER) + member(b"Files/d:s", b"x")
    assert streams(archive) == [("Files/d", ":s:$DATA", b"x")]
    assert noted(archive) == []


def test_48_to_hcsshim_a_slash_makes_them_entries_that_its_writer_refuses() -> None:
    without = member(b"Files/d", b"", b"5", FOLDER) + member(b"Files/d:s", b"x")
    assert operations(without) == [(b"Files\\d", record(4, b"x", ":s:$DATA"))]
    behind = member(b"Files/d/", b"", b"5", FOLDER) + member(b"Files/d:s", b"x")
    assert [name for name, _ in operations(behind)] == [b"Files\\d\\", b"Files\\d:s"]


@pytest.mark.parametrize(
    "archive",
    [
        member(b"Files/f:s", b"x"),
        member(b"Files/f") + member(b"Files/g") + member(b"Files/f:s", b"x"),
        member(b"Files/f") + member(b"Files/.wh.g") + member(b"Files/f:s", b"x"),
    ],
    ids=["alone", "behind another file", "behind a deletion"],
)
def test_48_apart_from_their_file_they_are_kept_and_told(archive: bytes) -> None:
    assert streams(archive) == [("Files/f", ":s:$DATA", b"x")]
    assert noted(archive) == ["stream-apart"]


def test_48_a_name_with_its_type_is_that_stream_and_is_told() -> None:
    archive = member(b"Files/f") + member(b"Files/f:s:$DATA", b"x")
    assert streams(archive) == [("Files/f", ":s:$DATA", b"x")]
    assert noted(archive) == ["stream-type"]
    assert operations(archive)[0][1].endswith(record(4, b"x", ":s:$DATA:$DATA"))


@pytest.mark.parametrize(
    "name", [b"Files/f:", b"Files/f::$DATA", b"Files/:s", b"Files/d:s/f", b"Files/f:a:b:c", b"C:s"]
)
def test_48_a_colon_that_names_no_stream_is_refused(name: bytes) -> None:
    refused(member(b"Files/f") + member(name, b"x"), UnsafeEntryError)


def source(backup: bytes, size: int) -> BackupSource:
    metadata = Metadata(32, EPOCH, EPOCH, EPOCH, EPOCH)
    return BackupSource("Files/f", metadata, size, lambda: BytesIO(backup).read)


def test_48_they_are_written_behind_their_file_without_their_type() -> None:
    out = bytearray()
    with TarLayerWriter(out.extend) as writer:
        for item in backup_items(source(record(1, b"data") + record(4, b"x", ":s:$DATA"), 4)):
            writer.write(item)
    owner, stream = Members(SlabStream([bytes(out)]))
    assert (owner.name, stream.name, stream.type, stream.size) == (b"Files/f", b"Files/f:s", ord("0"), 1)
    assert stream.header.mode == owner.header.mode == 0o100000
    assert set(stream.pax) <= {b"atime", b"ctime", b"mtime"}


def test_48_a_sparse_one_is_an_error_from_a_backup_stream_and_from_an_item() -> None:
    with pytest.raises(FormatError) as error:
        list(backup_items(source(record(1, b"") + record(4, b"", ":s:$DATA", 8), 0)))
    assert (error.value.kind, error.value.path) == ("sparse-ads", "Files/f")
    writer = TarLayerWriter(lambda _data: None)
    writer.write(Entry("Files/f", Metadata(32), data=held(b"", 0)))
    with pytest.raises(UnsupportedError, match="sparse alternate stream"):
        writer.write(AlternateStream("Files/f", ":s:$DATA", Stream(9, lambda _stored: iter(()), ())))
