"""Blobs that are taken apart at one look give what reading them stream by stream gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.formats.transport.layers import DESCRIPTOR, LINK, record
from wclayer.errors import WclayerError
from wclayer.formats.tar.reader import Policy
from wclayer.formats.transport import TransportFolderReader
from wclayer.formats.transport import reader as reader_module
from wclayer.formats.transport.plain_blobs import plain_blob
from wclayer.model import AlternateStream, Buffer, Entry
from wclayer.ntfs import backup
from wclayer.ntfs.ea import ExtendedAttribute, encode_eas

EAS = encode_eas([ExtendedAttribute(b"A", b"1"), ExtendedAttribute(b"B", b"2" * 300)])
LARGE = bytes(range(256)) * 300
SECURITY = record(backup.BACKUP_SECURITY_DATA, len(DESCRIPTOR), DESCRIPTOR)
REPARSE = record(backup.BACKUP_REPARSE_DATA, len(LINK), LINK)
ATTRIBUTES = record(backup.BACKUP_EA_DATA, len(EAS), EAS)
DATA = record(backup.BACKUP_DATA, 4, b"data")
MUCH = record(backup.BACKUP_DATA, len(LARGE), LARGE)
STREAM = record(backup.BACKUP_ALTERNATE_DATA, 3, b"ads", name=":s:$DATA".encode("utf-16-le"))
PARTS = (
    SECURITY,
    REPARSE,
    ATTRIBUTES,
    DATA,
    MUCH,
    STREAM,
    record(backup.BACKUP_DATA, 0),
    record(backup.BACKUP_DATA, 4, b"data", attributes=backup.STREAM_SPARSE_ATTRIBUTE),
    record(backup.BACKUP_DATA, 0, attributes=backup.STREAM_SPARSE_ATTRIBUTE),
    record(backup.BACKUP_SPARSE_BLOCK, 8, (4096).to_bytes(8, "little"), backup.STREAM_SPARSE_ATTRIBUTE),
    record(backup.BACKUP_EA_DATA, 3, b"bad"),
    record(backup.BACKUP_EA_DATA, 0),
    record(backup.BACKUP_SECURITY_DATA, len(LARGE), LARGE),
    record(backup.BACKUP_LINK, 1, b"l"),
    record(backup.BACKUP_DATA, 1 << 40, b"cut"),
    record(77, 1, b"?"),
    b"cut",
)


def read(folder: Path, policy: Policy) -> object:
    """What the folder holds, or the text of the error."""
    found: list[object] = []
    try:
        for item in TransportFolderReader(folder, policy=policy, lenient=True):
            if isinstance(item, Entry):
                data = None if item.data is None else (item.data.size, item.data.ranges)
                content = b"" if item.data is None else b"".join(map(bytes, item.data.pieces()))
                found.append((item.path, item.is_directory, item.metadata, data, content, item.reported_size))
            elif isinstance(item, AlternateStream):
                found.append((item.path, item.name, b"".join(map(bytes, item.data.pieces()))))
    except WclayerError as error:
        return found, type(error), str(error)
    return found


@given(st.lists(st.sampled_from(PARTS), max_size=5), st.booleans(), st.sampled_from(["faithful", "reference"]))
@example([SECURITY, DATA], False, "reference")
@example([SECURITY, ATTRIBUTES, DATA], False, "reference")
@example([SECURITY, REPARSE, MUCH, ATTRIBUTES], False, "reference")
@example([SECURITY, MUCH, ATTRIBUTES, ATTRIBUTES], False, "faithful")
@example([DATA, SECURITY], False, "reference")
@example([DATA], True, "reference")
@example([DATA, STREAM], False, "reference")
def test_at_one_look_and_stream_by_stream(parts: list[bytes], is_folder: bool, policy: Policy) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "transport"
        (folder / "Files").mkdir(parents=True)
        blob = (b"\x10" if is_folder else b"\x20") + bytes(3) + b"".join(parts)
        if is_folder:
            (folder / "Files" / "f").mkdir()
        (folder / "Files" / ("f.$wcidirs$" if is_folder else "f")).write_bytes(blob)
        found = read(folder, policy)
        with patch.object(reader_module, "plain_blob", lambda _descriptor, _end: None):
            assert found == read(folder, policy)


@pytest.mark.parametrize(
    ("parts", "is_plain"),
    [
        ([], True),
        ([SECURITY, DATA], True),
        ([SECURITY, ATTRIBUTES, DATA], True),
        ([SECURITY, MUCH, ATTRIBUTES], True),
        ([DATA, STREAM], False),
        ([DATA, SECURITY], False),
        ([DATA, b"cut"], False),
    ],
)
def test_what_is_taken_apart_at_one_look(tmp_path: Path, parts: list[bytes], is_plain: bool) -> None:
    (tmp_path / "blob").write_bytes(b"\x20\0\0\0" + b"".join(parts))
    with (tmp_path / "blob").open("rb") as file:
        assert (plain_blob(file.fileno(), os.fstat(file.fileno()).st_size) is not None) == is_plain


def test_a_blob_without_attributes_is_no_plain_one(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\x20\0")
    with (tmp_path / "blob").open("rb") as file:
        assert plain_blob(file.fileno(), os.fstat(file.fileno()).st_size) is None


@pytest.mark.parametrize("policy", ["faithful", "reference"])
def test_a_large_stream_can_be_read_on_when_the_reader_has_gone_on(tmp_path: Path, policy: Policy) -> None:
    contents = {name: name.encode() * 700_001 for name in "ab"}
    folder = tmp_path / "transport"
    (folder / "Files").mkdir(parents=True)
    for name, content in {**contents, "c": b""}.items():
        (folder / "Files" / name).write_bytes(b"\x20\0\0\0" + record(backup.BACKUP_DATA, len(content), content))
    read_on: dict[str, list[bytes]] = {}
    begun: Iterator[Buffer] = iter(())
    taken: list[bytes] = []
    for item in TransportFolderReader(folder, policy=policy, lenient=True):
        taken += map(bytes, begun)
        if isinstance(item, Entry) and item.data is not None and item.data.size:
            begun = item.data.pieces()
            taken = read_on[item.path[-1]] = [bytes(next(begun)), bytes(next(begun))]
    assert {name: b"".join(pieces) for name, pieces in read_on.items()} == contents
