from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.formats.transport.layers import (
    DESCRIPTOR,
    add_folder,
    all_of,
    heads,
    info,
    put,
    record,
    stream,
    transport,
    volume,
)
from tests.open_files import open_files
from wclayer.errors import FormatError, UsageError, WclayerError
from wclayer.formats.tar.backuptar import backup_items
from wclayer.formats.transport import LegacyLayerReader
from wclayer.formats.transport.pour import source_of
from wclayer.formats.volume import Manifest, Volume, VolumeError
from wclayer.model import Entry, Notices
from wclayer.ntfs.ea import ExtendedAttribute, encode_eas


def test_13_folders_come_before_their_contents_names_in_byte_order(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    for path in (
        "Files\\Zed",
        "Files\\_x",
        "Files\\foo-1",
        "Files\\foo.txt",
        "Files\\\u00e4",
        "Files\\\uff5e",
        "Files\\\U0001f600",
    ):
        put(source, path, b"\x20\0\0\0")
    add_folder(source, "Files\\foo")
    put(source, "Files\\foo\\bar", b"\x20\0\0\0")
    assert [head.path for head in heads(source)] == [
        "Files",
        "Files\\Zed",
        "Files\\_x",
        "Files\\foo",
        "Files\\foo\\bar",
        "Files\\foo-1",
        "Files\\foo.txt",
        "Files\\\u00e4",
        "Files\\\uff5e",
        "Files\\\U0001f600",
        "Hives",
        "Hives\\System_Delta",
    ]


def test_14_sidecars_are_no_entries_and_an_orphan_is_noticed(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    add_folder(source, "Files\\d")
    put(source, "Files\\gone.$wcidirs$", b"\x10\0\0\0")
    put(source, "Files\\x.$WCIDIRS$", b"\x20\0\0\0")
    assert [head.path for head in heads(source)][:3] == ["Files", "Files\\d", "Files\\x.$WCIDIRS$"]
    assert source.notices.counts == {"sidecar-orphan": 1}


def test_14_a_folder_without_its_sidecar_is_not_found(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    source.mkdir("Files\\d")
    with pytest.raises(VolumeError) as error:
        heads(source)
    assert error.value.winerror == 2


def test_14_a_folder_named_like_a_sidecar_is_refused(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    source.mkdir("Files\\x.$wcidirs$")
    with pytest.raises(FormatError, match="wcidirs"):
        heads(source)


def test_15_the_recycle_bin_is_left_out_whatever_its_case_but_only_that_folder(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    add_folder(source, "Files\\$RECYCLE.BIN")
    put(source, "Files\\$RECYCLE.BIN\\x", b"\x20\0\0\0")
    add_folder(source, "Files\\d")
    add_folder(source, "Files\\d\\$Recycle.Bin")
    assert [head.path for head in heads(source)][:3] == ["Files", "Files\\d", "Files\\d\\$Recycle.Bin"]
    other = transport(tmp_path / "u")
    put(other, "Files\\$Recycle.Bin", b"\x20\0\0\0")
    assert "Files\\$Recycle.Bin" in [head.path for head in heads(other)]


def test_16_attributes_come_from_the_blob_and_times_from_its_file(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", struct.pack("<I", 0x2021) + stream(b"data"), info(0x27, 132_000_000_000_000_000))
    head = next(head for head in heads(source) if head.path == "Files\\f")
    assert (head.size, head.basic) == (4, info(0x2021, 132_000_000_000_000_000))


@pytest.mark.parametrize("size", [0, 3])
def test_16_a_blob_shorter_than_its_attributes_is_truncated(tmp_path: Path, size: int) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", bytes(size))
    with pytest.raises(FormatError) as error:
        heads(source)
    assert error.value.kind == "unexpected-eof"


def test_16_a_blob_of_attributes_only_has_size_0_and_one_byte_more_is_truncated(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\a", b"\x20\0\0\0")
    assert heads(source)[1].size == 0
    put(source, "Files\\b", b"\x20\0\0\0x")
    with pytest.raises(FormatError, match="findBackupStreamSize") as error:
        heads(source)
    assert error.value.kind == "unexpected-eof"


def test_16_the_first_data_stream_has_the_size_wherever_it_is(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    before = record(3, len(DESCRIPTOR), DESCRIPTOR) + record(4, 2, b"ab", name=":s:$DATA".encode("utf-16-le"))
    put(source, "Files\\f", b"\x20\0\0\0" + before + record(1, 3, b"abc") + record(1, 5, b"defgh"))
    put(source, "Files\\g", b"\x20\0\0\0" + before)
    add_folder(source, "Files\\h", b"\x10\0\0\0" + stream(b"data of a folder"))
    assert [head.size for head in heads(source)][1:4] == [3, 0, 0]


def sparse(offset: int, content: bytes = b"") -> bytes:
    return record(9, 8 + len(content), struct.pack("<Q", offset) + content, 8)


@pytest.mark.parametrize(
    ("blob", "size", "expanded"),
    [
        (b"", 0, None),
        (record(1, 0, b"", 8), 0, b""),
        (record(1, 0, b"", 8) + sparse(10), 10, bytes(10)),
        (record(1, 4, b"abcd", 8), 4, b"abcd"),
        (record(1, 0, b"", 8) + sparse(2, b"ab") + sparse(6, b"cd") + sparse(10), 10, b"\0\0ab\0\0cd\0\0"),
    ],
)
def test_17_every_shape_of_a_sparse_file_has_its_size_and_content(
    tmp_path: Path, blob: bytes, size: int, expanded: bytes | None
) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\x02\0\0" + blob)
    with LegacyLayerReader(source) as reader:
        reader.next()
        head = reader.next()
        assert head is not None
        assert head.size == size
        assert head.basic is not None
        item = next(iter(backup_items(source_of(reader, head, head.basic, "Files/f", None))))
        assert isinstance(item, Entry)
        found = None if item.data is None else b"".join(bytes(piece) for piece in item.data.pieces())
    assert found == expanded


def test_17_without_its_closing_block_a_sparse_file_is_truncated(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\x02\0\0" + record(1, 0, b"", 8) + sparse(2, b"ab"))
    with pytest.raises(FormatError) as error:
        heads(source)
    assert error.value.kind == "unexpected-eof"


@pytest.mark.parametrize("bad", [record(9, 7, bytes(7), 8), record(1, 1 << 63), record(1, 0, b"", name=b"abc")])
def test_17_a_size_that_makes_no_sense_is_refused(tmp_path: Path, bad: bytes) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\0\0\0" + bad)
    with pytest.raises(FormatError):
        heads(source)


def test_18_files_and_hives_borrow_the_times_of_the_system_hive(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    hive = source.lstat("Hives\\System_Delta").basic
    found = {head.path: head.basic for head in heads(source)}
    for path, attributes in (("Files", 0x10), ("Hives", 0x10), ("Hives\\System_Delta", 0x20)):
        basic = found[path]
        assert basic is not None
        assert basic.attributes == attributes
        assert basic.creation_time == basic.last_access_time == basic.last_write_time == hive.last_write_time
        assert basic.change_time == hive.change_time


def test_18_without_a_system_hive_there_are_no_times(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    source.remove("Hives\\System_Delta")
    with pytest.raises(VolumeError) as error:
        heads(source)
    assert error.value.winerror == 2


def test_19_seek_works_in_blobs_and_counts_from_their_start(tmp_path: Path) -> None:
    source = transport(tmp_path / "t", tombstones=b"\xef\xbb\xbfVersion 1.0\n\\gone\n")
    put(source, "Files\\z", b"\x20\0\0\0" + stream(b"data"))
    with LegacyLayerReader(source) as reader:
        with pytest.raises(UsageError, match="no current file"):
            reader.seek(4)
        reader.next()
        with pytest.raises(UsageError, match="seek not supported on this stream"):
            reader.seek(4)
        assert reader.next() == ("Files\\gone", 0, None)
        with pytest.raises(UsageError, match="no current file"):
            reader.seek(4)
        reader.next()
        assert reader.seek(0, os.SEEK_CUR) == 4
        whole = all_of(reader)
        assert reader.seek(4) == 4
        assert all_of(reader) == whole == stream(b"data")


def test_20_the_end_comes_again_and_a_closed_reader_says_so(tmp_path: Path) -> None:
    reader = LegacyLayerReader(transport(tmp_path / "t"))
    assert reader.read(10) == b""
    while reader.next() is not None:
        pass
    assert reader.next() is None
    reader.close()
    reader.close()
    with pytest.raises(UsageError, match="LegacyLayerReader closed"):
        reader.next()


def test_20_an_error_comes_again(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"")
    reader = LegacyLayerReader(source)
    reader.next()
    seen = []
    for _ in range(2):
        with pytest.raises(FormatError) as error:
            reader.next()
        seen.append(error.value)
    assert seen[0] is seen[1]


def test_20_a_deletion_has_no_link_information(tmp_path: Path) -> None:
    source = transport(tmp_path / "t", tombstones=b"\xef\xbb\xbfVersion 1.0\n\\gone\n")
    put(source, "Files\\x", b"\x20\0\0\0")
    assert source.link(source, "Files\\x", "Files\\y")
    with LegacyLayerReader(source) as reader:
        reader.next()
        reader.next()
        with pytest.raises(UsageError):
            reader.link_info()
        reader.next()
        first = reader.link_info()
        reader.next()
        assert reader.link_info() == first
        assert first.links == 2
        assert len(first.file_id) == 16


def test_20_closing_in_the_middle_leaves_no_descriptor_open(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\0\0\0" + stream(b"x" * 100_000))
    before = len(open_files())
    reader = LegacyLayerReader(source)
    reader.next()
    reader.next()
    reader.read(10)
    reader.close()
    source.tree.door.close()
    assert len(open_files()) <= before


def test_21_attributes_behind_the_data_survive_in_blobs_and_not_in_hives(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    eas = (ExtendedAttribute(b"ONE", b"1"),)
    behind = stream(b"data") + record(2, len(encode_eas(eas)), encode_eas(eas))
    put(source, "Files\\f", b"\x20\0\0\0" + behind)
    hive = source.described(source.lstat("Hives\\System_Delta"))
    hive.extended_attributes = encode_eas(eas)
    source.changed(hive)
    found = {}
    with LegacyLayerReader(source) as reader:
        while (head := reader.next()) is not None:
            assert head.basic is not None
            for item in backup_items(source_of(reader, head, head.basic, head.path, None)):
                assert isinstance(item, Entry)
                found[head.path] = item.metadata.extended_attributes
    assert found["Files\\f"] == eas
    assert found["Hives\\System_Delta"] == ()


def test_without_a_manifest_the_time_of_change_serves_and_is_counted(tmp_path: Path) -> None:
    made = transport(tmp_path / "t")
    put(made, "Files\\f", b"\x20\0\0\0", info())
    made.close()
    notices = Notices()
    with Volume(tmp_path / "t", None, notices=notices) as source:
        head = next(head for head in heads(source) if head.path == "Files\\f")
    assert head.basic is not None
    assert head.basic[1:] == (info().last_write_time,) * 4
    assert notices.counts == {"times-from-mtime": 1}


def test_a_link_of_this_machine_is_never_followed(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "t" / "Files" / "f").symlink_to(tmp_path / "secret")
    with pytest.raises(WclayerError):
        heads(source)


def test_a_damaged_manifest_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(WclayerError):
        Manifest(tmp_path / "m", read_only=True)
    volume(tmp_path / "v").close()
