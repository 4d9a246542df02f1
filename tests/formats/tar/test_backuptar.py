"""Backup streams to a tar and back, in the order that Windows has them; the suites in tests/data have the rest."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK
from tests.formats.tar.building import END, EPOCH, block, extension, member
from wclayer.errors import FormatError
from wclayer.formats.tar import Members, SlabStream, TarLayerWriter
from wclayer.formats.tar.backuptar import (
    AddOperation,
    BackupSource,
    LinkOperation,
    RemoveOperation,
    backup_items,
    import_operations,
)
from wclayer.model import AlternateStream, Entry, HardLink, Metadata
from wclayer.ntfs.reparse import build_link

DATA, EA, SECURITY, ALTERNATE, OBJECT_ID, REPARSE, BLOCKS = 1, 2, 3, 4, 7, 8, 9
SPARSE = 8


def stream(kind: int, content: bytes = b"", *, attributes: int = 0, name: str = "") -> bytes:
    encoded = name.encode("utf-16-le")
    return struct.pack("<IIQI", kind, attributes, len(content), len(encoded)) + encoded + content


def at(offset: int, content: bytes = b"") -> bytes:
    return stream(BLOCKS, struct.pack("<Q", offset) + content, attributes=SPARSE)


def source(backup: bytes, *, size: int = 0, attributes: int = 32, **more: Any) -> BackupSource:
    return BackupSource(
        "Files/f", Metadata(attributes, EPOCH, EPOCH, EPOCH, EPOCH), size, lambda: BytesIO(backup).read, **more
    )


def exported(given: BackupSource) -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = []
    for item in backup_items(given):
        if isinstance(item, HardLink):
            found.append((item.path, None))
            continue
        data = None if item.data is None else b"".join(bytes(piece) for piece in item.data.pieces())
        found.append((item.name if isinstance(item, AlternateStream) else item.path, data))
    return found


def write_all(given: BackupSource) -> None:
    writer = TarLayerWriter(lambda _data: None)
    for item in backup_items(given):
        writer.write(item)


def refused(given: BackupSource) -> str:
    with pytest.raises(FormatError) as error:
        write_all(given)
    assert error.value.path == "Files/f"
    return error.value.kind


class TestExport:
    def test_data_and_streams(self) -> None:
        streams = stream(DATA, b"x") + stream(ALTERNATE, b"y", name=":s:$DATA") + stream(OBJECT_ID, bytes(64))
        assert exported(source(streams, size=1)) == [("Files/f", b"x"), (":s:$DATA", b"y")]

    def test_streams_before_or_without_data_are_lost(self) -> None:
        before = stream(ALTERNATE, b"y", name=":s:$DATA")
        assert exported(source(before)) == [("Files/f", None)]
        assert exported(source(before + stream(DATA, b"x"), size=1)) == [("Files/f", b"x")]

    @pytest.mark.parametrize("seekable", [False, True])
    def test_attributes_behind_the_data_are_seen_by_who_can_read_twice(self, seekable: bool) -> None:
        eas = struct.pack("<IBBH", 0, 0, 1, 1) + b"E\0v"
        (entry,) = backup_items(source(stream(DATA) + stream(EA, eas), seekable=seekable))
        assert isinstance(entry, Entry)
        assert [ea.name for ea in entry.metadata.extended_attributes] == ([b"E"] if seekable else [])

    def test_the_source_keeps_its_metadata(self) -> None:
        given = source(stream(SECURITY, b"sd") + stream(DATA))
        (entry,) = backup_items(given)
        assert isinstance(entry, Entry)
        assert (entry.metadata.security_descriptor, given.metadata.security_descriptor) == (b"sd", None)

    @pytest.mark.parametrize("seekable", [False, True])
    def test_sparse_files(self, seekable: bool) -> None:
        head = stream(DATA, attributes=SPARSE)
        pieces = head + at(5, b"ab") + at(100, b"c") + at(200)
        expected = bytes(5) + b"ab" + bytes(93) + b"c" + bytes(99)
        assert exported(source(pieces, size=200, seekable=seekable)) == [("Files/f", expected)]
        assert exported(source(head + at(200), size=200, seekable=seekable)) == [("Files/f", bytes(200))]
        assert exported(source(head, seekable=seekable)) == [("Files/f", b"")]
        assert exported(source(stream(DATA, b"xy", attributes=SPARSE), size=2)) == [("Files/f", b"xy")]

    def test_a_source_that_reports_no_size_is_measured(self) -> None:
        pieces = stream(DATA, attributes=SPARSE) + at(5, b"ab") + at(200)
        assert exported(source(pieces, seekable=True)) == [("Files/f", bytes(5) + b"ab" + bytes(193))]

    @pytest.mark.parametrize(
        ("backup", "size", "kind"),
        [
            (stream(DATA, b"x"), 2, "size-mismatch"),
            (stream(DATA), 1, "size-mismatch"),
            (stream(DATA) + stream(DATA), 0, "stream-unknown"),
            (stream(DATA) + stream(SECURITY), 0, "stream-unknown"),
            (stream(DATA) + stream(REPARSE), 0, "stream-unknown"),
            (stream(DATA) + at(0), 0, "stream-unknown"),
            (stream(DATA, b"x", attributes=SPARSE) + at(1), 1, "stream-unknown"),
            (stream(11), 0, "stream-unknown"),
            (at(0), 0, "stream-unknown"),
            (stream(EA, b"short"), 0, "ea-buffer"),
            (stream(DATA, attributes=SPARSE) + at(5, b"ab") + at(6, b"c"), 200, "sparse-order"),
            (stream(DATA, attributes=SPARSE) + at(5, b"ab"), 200, "unexpected-eof"),
            (stream(DATA, attributes=SPARSE) + stream(ALTERNATE), 200, "stream-unknown"),
            (stream(DATA) + stream(ALTERNATE, attributes=SPARSE, name=":s:$DATA"), 0, "sparse-ads"),
            (stream(DATA, b"xyz")[:-1], 3, "unexpected-eof"),
            (stream(SECURITY, b"xyz")[:-1], 0, "unexpected-eof"),
            (stream(DATA) + bytes(19), 0, "unexpected-eof"),
        ],
    )
    def test_what_cannot_be_exported(self, backup: bytes, size: int, kind: str) -> None:
        assert refused(source(backup, size=size)) == kind

    def test_a_folder_with_data(self) -> None:
        folder = source(stream(DATA), size=7, attributes=16)
        assert refused(folder) == "size-mismatch"

    def test_second_names_are_links_and_nothing_of_them_is_read(self) -> None:
        def unreadable() -> Any:
            raise AssertionError("nobody should read this")

        known: dict[bytes, str] = {}
        (first,) = backup_items(source(stream(DATA), file_id=b"1"), known)
        assert isinstance(first, Entry)
        again = BackupSource("Files/g", Metadata(), 5, unreadable, file_id=b"1")
        assert list(backup_items(again, known)) == [HardLink("Files/g", "Files/f", Metadata())]

    def test_the_writer_reads_each_stream_in_its_turn(self) -> None:
        out = bytearray()
        streams = stream(DATA, b"x" * 600) + stream(ALTERNATE, b"y", name=":s:$DATA")
        with TarLayerWriter(out.extend) as writer:
            for item in backup_items(source(streams, size=600)):
                writer.write(item)
        names = [found.name for found in Members(SlabStream([bytes(out)]))]
        assert names == [b"Files/f", b"Files/f:s"]


def imported(archive: bytes) -> list[Any]:
    found: list[Any] = []
    for operation in import_operations(Members(SlabStream([archive + END]))):
        if isinstance(operation, AddOperation):
            data = bytearray()
            operation.copy_to(data.extend)
            found.append((operation.name, bytes(data)))
        else:
            found.append(operation)
    return found


class TestImport:
    def test_the_order_of_the_streams(self) -> None:
        pairs = [(b"MSWINDOWS.rawsd", b"c2Q="), (b"MSWINDOWS.xattr.E", b"dg==")]
        archive = member(b"Files/f", b"x", b"0", *pairs) + member(b"Files/f:s", b"y")
        eas = struct.pack("<IBBH", 0, 0, 1, 1) + b"E\0v" + b"\0"
        expected = (
            stream(SECURITY, b"sd") + stream(EA, eas) + stream(DATA, b"x") + stream(ALTERNATE, b"y", name=":s:$DATA")
        )
        assert imported(archive) == [(b"Files\\f", expected)]

    def test_only_regular_files_have_data(self) -> None:
        for kind in (b"7", b"5", b"g"):
            body = member(b"f", b"x", kind) if kind == b"7" else block(b"f", kind)
            assert imported(body) == [(b"f", b"")]

    def test_links(self) -> None:
        archive = block(b"a/l", b"2", link=b"C:/x") + block(b"a/h", b"1", link=b"a/f")
        link, hard = imported(archive)
        assert link == (b"a\\l", stream(REPARSE, build_link("C:\\x", mount_point=False)))
        assert hard == LinkOperation(b"a\\h", b"a\\f")

    @pytest.mark.parametrize("mount_point", [False, True])
    def test_lengths_of_a_link_wrap_at_16_bits(self, mount_point: bool) -> None:
        target = "C:\\" + "n" * 40_000
        pairs = [(b"linkpath", target.encode())] + [(b"MSWINDOWS.mountpoint", b"1")] * mount_point
        ((_, data),) = imported(extension(*pairs) + block(b"l", b"2"))
        tag, length, _, start, substitute, print_start, printed = struct.unpack_from("<IHHHHHH", data, 20)
        nt_name = ("\\??\\" + target).encode("utf-16-le")
        shown = target.encode("utf-16-le")
        assert tag == (0xA0000003 if mount_point else 0xA000000C)
        assert (start, substitute, printed) == (0, len(nt_name) & 0xFFFF, len(shown) & 0xFFFF)
        assert print_start == len(nt_name) + 2 & 0xFFFF
        names = data[20 + (16 if mount_point else 20) :]
        assert names == nt_name + b"\0\0" + shown + b"\0\0"
        assert length == len(data) - 28 & 0xFFFF

    @pytest.mark.parametrize(
        ("name", "removed"),
        [
            (b"Files/.wh.x", b"Files\\x"),
            (b"/.wh.x", b"\\x"),
            (b"//a/.wh.x", b"\\a\\x"),
            (b"a/../.wh.x", b"x"),
            (b"Files/.wh.x/", b"Files\\.wh.x\\x"),
            (b".wh.", b"."),
            (b"a/.wh..", b"a"),
            (b"a/.wh...", b"."),
        ],
    )
    def test_deletions_as_the_reference_cleans_them(self, name: bytes, removed: bytes) -> None:
        assert imported(member(name)) == [RemoveOperation(removed)]

    def test_boot_files_are_kept_twice(self) -> None:
        names = [b"UtilityVM/Files/EFI/Microsoft/Boot/" + name for name in (b"BCD", b"BCD.LOG2", b"bcd")]
        operations = list(import_operations(Members(SlabStream([b"".join(map(member, names)) + END]))))
        assert [o.copy_as for o in operations if isinstance(o, AddOperation)] == ["bcd.bak", "bcd.log2.bak", None]

    def test_streams_that_nobody_takes_are_still_checked(self) -> None:
        archive = member(b"a", b"x", b"0", (b"MSWINDOWS.rawsd", b"!")) + END
        with pytest.raises(FormatError) as error:
            list(import_operations(Members(SlabStream([archive]))))
        assert (error.value.kind, error.value.path) == ("base64", "a")

    def test_an_archive_cut_short(self) -> None:
        archive = member(b"a", b"x") + block(b"b", size=9)
        assert len(imported(archive[: 2 * BLOCK])) == 1
        with pytest.raises(FormatError):
            for _ in import_operations(Members(SlabStream([archive]))):
                pass
