"""Corners of reading a transport folder: what stands before the data, times of hives, and where seeking ends."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.formats.transport.layers import (
    ARCHIVE,
    DESCRIPTOR,
    add_folder,
    heads,
    info,
    put,
    record,
    stream,
    transport,
)
from wclayer.errors import FormatError, UsageError
from wclayer.formats.transport import LegacyLayerReader
from wclayer.ntfs.ea import ExtendedAttribute, encode_eas

EAS = encode_eas((ExtendedAttribute(b"ONE", b"1"),))


@pytest.mark.parametrize(
    "before",
    [
        record(3, len(DESCRIPTOR), DESCRIPTOR),
        record(2, len(EAS), EAS),
        record(4, 2, b"ab", name=":s:$DATA".encode("utf-16-le")),
        record(3, len(DESCRIPTOR), DESCRIPTOR) + record(2, len(EAS), EAS) + record(7, 64, bytes(64)),
    ],
    ids=["security", "attributes", "stream", "all"],
)
def test_16_the_size_is_that_of_the_data_whatever_stands_before(tmp_path: Path, before: bytes) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\0\0\0" + before + record(1, 5, b"first") + record(1, 9, b"and again"))
    assert heads(source)[1][:2] == ("Files\\f", 5)


@pytest.mark.parametrize(
    "block",
    [
        record(9, 1 << 63, struct.pack("<Q", 0), 8),
        record(9, 8, struct.pack("<q", -1), 8),
        record(9, 10, struct.pack("<Q", (1 << 63) - 1) + b"ab", 8),
    ],
    ids=["size", "offset", "both"],
)
def test_17_a_sparse_block_that_lies_nowhere_is_refused(tmp_path: Path, block: bytes) -> None:
    source = transport(tmp_path / "t")
    put(source, "Files\\f", b"\x20\x02\0\0" + record(1, 0, b"", 8) + block)
    with pytest.raises(FormatError):
        heads(source)


def test_18_every_hive_has_its_own_time_of_writing_three_times(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    own = info(ARCHIVE, 129_000_000_000_000_000)
    put(source, "Hives\\Sam_Delta", b"regf", own)
    basic = {head.path: head.basic for head in heads(source)}["Hives\\Sam_Delta"]
    assert basic is not None
    assert basic == own._replace(creation_time=own.last_write_time, last_access_time=own.last_write_time)
    assert basic.change_time == own.change_time != own.last_write_time


def test_18_folders_below_files_have_the_times_of_their_sidecar(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    source.mkdir("Files\\d")
    put(source, "Files\\d.$wcidirs$", b"\x16\0\0\0", info(ARCHIVE, 128_000_000_000_000_000))
    basic = {head.path: head.basic for head in heads(source)}["Files\\d"]
    assert basic == info(0x16, 128_000_000_000_000_000)


def test_19_what_is_below_hives_cannot_be_sought_in_and_a_folder_below_files_can(tmp_path: Path) -> None:
    source = transport(tmp_path / "t")
    add_folder(source, "Files\\d", b"\x10\0\0\0" + stream(security=DESCRIPTOR))
    refused = []
    with LegacyLayerReader(source) as reader:
        while (head := reader.next()) is not None:
            if head.path == "Files\\d":
                assert reader.seek(0, os.SEEK_CUR) == 4
                assert reader.seek(0) == 0
                assert reader.read(4) == b"\x10\0\0\0"
                continue
            with pytest.raises(UsageError, match="seek not supported on this stream"):
                reader.seek(4)
            refused.append(head.path)
        with pytest.raises(UsageError, match="no current file"):
            reader.seek(4)
    assert refused == ["Files", "Hives", "Hives\\System_Delta"]


def test_20_after_the_end_nothing_is_read_and_after_closing_nothing_is_asked(tmp_path: Path) -> None:
    source = transport(tmp_path / "t", tombstones=b"\xef\xbb\xbfVersion 1.0\n\\gone\n")
    reader = LegacyLayerReader(source)
    with pytest.raises(UsageError, match="no current file"):
        reader.link_info()
    while (head := reader.next()) is not None:
        if head.basic is None:
            assert reader.read(100) == b""
    assert reader.read(100) == b""
    reader.close()
    assert reader.read(100) == b""
    with pytest.raises(UsageError):
        reader.link_info()
