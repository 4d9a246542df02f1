"""Layer items as a tar: the bytes that hcsshim writes, what it loses, and what no tar can hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK, header_offsets, records
from tests.formats.tar.building import END, EPOCH, block, flat, held, padded, read
from wclayer.errors import FormatError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.tar import Policy, TarLayerWriter
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.reparse import SymbolicLink, build, build_link

WRITTEN, ACCESSED, CHANGED = 132223104123456789, 132223104000000001, 132223104000000000
DEVICES = {329: b"0000000\x000000000\0"}


def metadata(attributes: int = 32, **more: Any) -> Metadata:
    return Metadata(attributes, WRITTEN, ACCESSED, WRITTEN, CHANGED, **more)


def file(path: str, data: bytes | None = b"", **more: Any) -> Entry:
    return Entry(path, metadata(**more), data=None if data is None else held(data, len(data)))


def stream(path: str, name: str, data: bytes = b"x") -> AlternateStream:
    return AlternateStream(path, name, held(data, len(data)))


def written(*items: LayerItem, policy: Policy = "reference", notices: Notices | None = None) -> bytes:
    out = bytearray()
    with TarLayerWriter(out.extend, policy=policy, notices=notices) as writer:
        for item in items:
            writer.write(item)
    return bytes(out)


def noticed(*items: LayerItem, policy: Policy = "reference") -> list[str]:
    notices = Notices()
    written(*items, policy=policy, notices=notices)
    return [notice.code for notice in notices.listed]


def records_of(archive: bytes) -> bytes:
    """The records of the first extended header."""
    size = int(archive[124:135], 8)
    return archive[BLOCK : BLOCK + size]


JUNCTION = Entry("l", metadata(0x410, reparse=build_link("C:\\x", mount_point=True)), is_directory=True)
TIMES = [(b"atime", b"1577836800.0000001"), (b"ctime", b"1577836800"), (b"mtime", b"1577836812.3456789")]


def test_one_file_to_the_byte() -> None:
    """A file with extended attributes and a stream: every block that go-winio and Go write for it."""
    eas = (ExtendedAttribute(b"B", b"\0"), ExtendedAttribute(b"A", b""))
    archive = written(
        file("Files/a.txt", b"hello", extended_attributes=eas), stream("Files/a.txt", ":s:$DATA", b"stream")
    )
    vendor = records(
        (b"LIBARCHIVE.creationtime", b"1577836812.3456789"),
        (b"MSWINDOWS.fileattr", b"32"),
        (b"MSWINDOWS.xattr.A", b""),
        (b"MSWINDOWS.xattr.B", b"AA=="),
        *TIMES,
    )
    of_stream = records(*TIMES)
    assert vendor.startswith(b"46 LIBARCHIVE.creationtime=1577836812.3456789\n25 MSWINDOWS.fileattr=32\n22 MSWINDOWS")
    mtime = 0o13602760414
    expected = (
        block(b"Files/PaxHeaders.0/a.txt", b"x", size=len(vendor), mode=0)
        + padded(vendor)
        + block(b"Files/a.txt", size=5, mtime=mtime, fields=DEVICES)
        + padded(b"hello")
        + block(b"Files/PaxHeaders.0/a.txt:s", b"x", size=len(of_stream), mode=0)
        + padded(of_stream)
        + block(b"Files/a.txt:s", size=6, mtime=mtime, fields=DEVICES)
        + padded(b"stream")
        + END
    )
    assert archive == expected
    assert written(*read(archive), policy="faithful") == archive


def test_an_empty_layer() -> None:
    assert written() == END


class TestModes:
    @pytest.mark.parametrize(
        ("item", "kind", "mode"),
        [
            (file("f", b""), b"0", 0o100000),
            (file("f", None), b"0", 0),
            (Entry("d", metadata(16), is_directory=True), b"5", 0o40000),
            (Entry("d", metadata(16), is_directory=True, data=held(b"", 0)), b"5", 0o140000),
            (Entry("l", metadata(0x420, reparse=build_link("x", mount_point=False))), b"2", 0o120000),
            (
                Entry("l", metadata(0x410, reparse=build_link("C:\\x", mount_point=True)), is_directory=True),
                b"2",
                0o160000,
            ),
            (HardLink("h", "f", metadata()), b"1", 0o644),
        ],
        ids=["file", "no-stream", "folder", "folder-with-stream", "link", "junction", "hard-link"],
    )
    def test_types_and_modes(self, item: LayerItem, kind: bytes, mode: int) -> None:
        archive = written(item)
        main = archive[header_offsets(archive)[1] :]
        assert (main[156:157], int(main[100:107], 8)) == (kind, mode)

    def test_a_mount_point_has_a_record(self) -> None:
        assert b"MSWINDOWS.mountpoint=1\n" in records_of(written(JUNCTION))

    def test_a_stream_has_the_mode_of_its_owner(self) -> None:
        owner = Entry("Files/d", metadata(16), is_directory=True, data=held(b"", 0))
        archive = written(owner, stream("Files/d", ":s:$DATA"))
        assert [archive[at + 100 : at + 107] for at in header_offsets(archive)][3] == b"0140000"


class TestNames:
    @pytest.mark.parametrize(
        ("path", "extended", "main", "has_path"),
        [
            ("Files", b"PaxHeaders.0/Files", b"Files", False),
            ("Files/a/b.txt", b"Files/a/PaxHeaders.0/b.txt", b"Files/a/b.txt", False),
            ("Files/ä/ö", b"Files//PaxHeaders.0", b"Files//", True),
            ("Files/日本", b"Files/PaxHeaders.0", b"Files/", True),
            ("日本", b"PaxHeaders.0", b"", True),
            ("n" * 100, (b"PaxHeaders.0/" + b"n" * 87), b"n" * 100, False),
            ("n" * 101, (b"PaxHeaders.0/" + b"n" * 87), b"n" * 100, True),
            ("n" * 99 + "/x", b"n" * 99, b"n" * 99, True),
        ],
    )
    def test_fields_and_records(self, path: str, extended: bytes, main: bytes, has_path: bool) -> None:
        archive = written(file(path, b""))
        first, second = header_offsets(archive)
        assert archive[first : first + 100].rstrip(b"\0") == extended
        assert archive[second : second + 100].rstrip(b"\0") == main
        record = records((b"path", path.encode()))
        assert (record in records_of(archive)) == has_path

    def test_the_extended_header_has_the_clean_name(self) -> None:
        assert written(file("Files/a/../b", b"")).startswith(b"Files/PaxHeaders.0/b\0")
        assert written(file("../b", b"")).startswith(b"../PaxHeaders.0/b\0")

    def test_long_and_foreign_targets(self) -> None:
        for target, has_record in (("t" * 100, False), ("t" * 101, True), ("ä", True)):
            link = Entry("l", metadata(0x420, reparse=build_link(target, mount_point=False)))
            assert (records((b"linkpath", target.encode())) in records_of(written(link))) == has_record

    def test_lone_surrogates(self) -> None:
        archive = written(file("Files/\ud800", b""))
        assert records((b"path", b"Files/\xed\xa0\x80")) in records_of(archive)
        link = Entry("l", metadata(0x420, reparse=build_link("\ud800", mount_point=False)))
        assert records((b"linkpath", b"\xef\xbf\xbd")) in records_of(written(link))
        assert records((b"linkpath", b"\xed\xa0\x80")) in records_of(written(link, policy="faithful"))


class TestDeletions:
    def test_a_short_name_is_plain_ustar(self) -> None:
        assert written(Tombstone("Files/a/x")) == block(b"Files/a/.wh.x", mode=0, fields=DEVICES) + END
        assert written(Tombstone("x")) == block(b".wh.x", mode=0, fields=DEVICES) + END

    @pytest.mark.parametrize(
        ("folder", "base", "split"),
        [("f" * 90, "b" * 6, True), ("f" * 155, "b" * 96, True), ("f" * 156, "b", False), ("f" * 90, "b" * 97, False)],
    )
    def test_a_long_name_is_split_or_a_record(self, folder: str, base: str, split: bool) -> None:
        archive = written(Tombstone(f"{folder}/{base}"))
        name = f"{folder}/.wh.{base}".encode()
        if split:
            head, _, tail = name.rpartition(b"/")
            assert archive == block(tail, mode=0, fields={**DEVICES, 345: head}) + END
        else:
            assert archive[BLOCK:].startswith(records((b"path", name)))

    def test_a_foreign_name_is_a_record(self) -> None:
        assert records((b"path", "Files/.wh.ä".encode())) in written(Tombstone("Files/ä"))

    @pytest.mark.parametrize("path", ["", "..", "Files/..", "Files/", "Files/."])
    def test_what_is_no_file(self, path: str) -> None:
        with pytest.raises(FormatError):
            written(Tombstone(path), policy="faithful")


class TestTimes:
    def test_the_reference_wraps_what_faithful_keeps(self) -> None:
        item = Entry("f", Metadata(32, 0, 0, 0, 0), data=held(b"", 0))
        assert (b"atime", b"6802270473.709551616") in _pairs(written(item))
        assert (b"atime", b"-11644473600") in _pairs(written(item, policy="faithful"))

    def test_absent_times(self) -> None:
        item = Entry("f", Metadata(32), data=held(b"", 0))
        assert [key for key, _ in _pairs(written(item))] == [
            b"LIBARCHIVE.creationtime", b"MSWINDOWS.fileattr", b"atime", b"ctime", b"mtime",
        ]  # fmt: skip
        assert _pairs(written(item, policy="faithful")) == [
            (b"MSWINDOWS.fileattr", b"32"),
            (b"mtime", b"-62135596800"),
        ]

    @pytest.mark.parametrize(
        ("ticks", "in_header", "in_records"),
        [
            (0, b"00000000000", None),
            (7 * 10**7, b"00000000007", None),
            (1, b"00000000000", b"0.0000001"),
            (-1, b"00000000000", b"-0.0000001"),
            (-(10**7), b"00000000000", b"-1"),
            ((2**33 - 1) * 10**7, b"77777777777", None),
            (2**33 * 10**7, b"00000000000", b"8589934592"),
        ],
    )
    def test_the_write_time_is_in_the_header_where_it_fits(
        self, ticks: int, in_header: bytes, in_records: bytes | None
    ) -> None:
        archive = written(Entry("f", Metadata(32, EPOCH, EPOCH, EPOCH + ticks, EPOCH), data=held(b"", 0)))
        main = header_offsets(archive)[1]
        assert archive[main + 136 : main + 147] == in_header
        assert dict(_pairs(archive)).get(b"mtime") == in_records


def _pairs(archive: bytes) -> list[tuple[bytes, bytes]]:
    lines = records_of(archive).splitlines()
    return [(key, value) for key, _, value in (line.partition(b" ")[2].partition(b"=") for line in lines)]


class TestWhatIsLost:
    def test_flags_of_extended_attributes(self) -> None:
        item = file("f", b"", extended_attributes=(ExtendedAttribute(b"E", b"v", 0x80),))
        assert b"WCLAYER" not in written(item)
        assert noticed(item) == ["ea-flags-lost"]
        assert (b"WCLAYER.eaflags.E", b"128") in _pairs(written(item, policy="faithful"))
        assert noticed(item, policy="faithful") == []

    @pytest.mark.parametrize("owner", [file("Files/o", None), Entry("Files/o", metadata(16), is_directory=True)])
    def test_streams_of_what_has_no_data(self, owner: Entry) -> None:
        items = (owner, stream("Files/o", ":s:$DATA"), file("Files/p"))
        assert [flat(item)[0] for item in read(written(*items))] == ["entry", "entry"]
        assert noticed(*items) == ["stream-lost"]
        assert [flat(item)[0] for item in read(written(*items, policy="faithful"))] == ["entry", "stream", "entry"]

    def test_links_that_are_rebuilt(self) -> None:
        reparse = build(SymbolicLink("\\??\\C:\\real", "C:\\shown", 0))
        assert noticed(Entry("l", metadata(0x420, reparse=reparse))) == ["reparse-rebuilt"]
        assert noticed(Entry("l", metadata(0x420, reparse=build_link("C:\\x", mount_point=False)))) == []

    def test_the_last_of_several_attributes_of_one_name_wins(self) -> None:
        eas = (ExtendedAttribute(b"E", b"1"), ExtendedAttribute(b"E", b"2"))
        assert (b"MSWINDOWS.xattr.E", b"Mg==") in _pairs(written(file("f", b"", extended_attributes=eas)))


class TestHardLinks:
    def test_files_with_one_identity_become_links(self) -> None:
        def name(path: str) -> Entry:
            return Entry(path, metadata(), data=held(b"data", 4), file_id=b"1")

        items: list[LayerItem] = [
            name("Files/a"),
            stream("Files/a", ":s:$DATA"),
            name("Files/b"),
            stream("Files/b", ":s:$DATA"),
            file("c"),
        ]
        assert [flat(item)[:3] for item in read(written(*items))] == [
            ("entry", "Files/a", False),
            ("stream", "Files/a", ":s:$DATA"),
            ("link", "Files/b", "Files/a"),
            ("entry", "c", False),
        ]


class TestWhatCannotBeWritten:
    @pytest.mark.parametrize(
        ("item", "kind"),
        [
            (file("f", b"", extended_attributes=(ExtendedAttribute(b"a=b", b""),)), "pax-record"),
            (file("f", b"", extended_attributes=(ExtendedAttribute(b"a\0", b""),)), "pax-record"),
            (file("f", b"", security_descriptor=bytes(800_000)), "header-too-long"),
            (file("a\0b", b""), "pax-record"),
            (Entry("l", metadata(0x420, reparse=b"\x1d\0\0\xa0\0\0\0\0")), "reparse-unsupported"),
            (Entry("l", metadata(0x420, reparse=b"\x0c\0\0\xa0")), "malformed"),
            (Entry("l", metadata(0x420, reparse=build_link("a\0", mount_point=False))), "pax-record"),
            (Entry("d", metadata(16), is_directory=True, data=held(b"x", 1)), "data-too-long"),
            (Entry("l", metadata(reparse=build_link("x", mount_point=False)), data=held(b"x", 1)), "data-too-long"),
            (Entry("f", metadata(), data=held(b"xy", 1)), "data-too-long"),
            (Entry("f", metadata(), data=held(b"x", 2)), "data-too-short"),
            (Entry("f", metadata(), reported_size=2), "data-too-short"),
            (file("f/", b""), "entry-name"),
        ],
    )
    def test_is_an_error_that_names_the_entry(self, item: Entry, kind: str) -> None:
        policies: tuple[Policy, ...] = ("reference", "faithful")
        for policy in policies:
            with pytest.raises(FormatError) as error:
                written(item, policy=policy)
            assert (error.value.kind, error.value.path) == (kind, item.path)

    @pytest.mark.parametrize("path", ["Files/a:b", "Files\\a", "Files/.wh.a", ".wh."])
    def test_names_that_would_be_read_as_something_else(self, path: str) -> None:
        for item in (file(path), HardLink(path, "Files/a", metadata())):
            with pytest.raises(FormatError) as error:
                written(item, policy="faithful")
            assert error.value.kind == "entry-name"
        written(file(path))

    def test_the_reference_writes_files_that_look_like_deletions(self) -> None:
        assert noticed(file("Files/.wh.a")) == ["name-like-whiteout"]

    @pytest.mark.parametrize("name", ["s", ":", "::$DATA", ":a/b:$DATA", ":a:b:c"])
    def test_stream_names_that_are_none(self, name: str) -> None:
        with pytest.raises(UnsafeEntryError):
            written(file("Files/a"), stream("Files/a", name), policy="faithful")

    def test_streams_that_the_reference_cannot_write(self) -> None:
        apart = (file("Files/a"), file("Files/b"), stream("Files/a", ":s:$DATA"))
        with pytest.raises(FormatError):
            written(*apart)
        assert len(read(written(*apart, policy="faithful"))) == 3
        sparse = AlternateStream("Files/a", ":s:$DATA", Stream(5, lambda _stored: iter(()), ()))
        with pytest.raises(UnsupportedError):
            written(file("Files/a"), sparse)
        assert flat(read(written(file("Files/a"), sparse, policy="faithful"))[1])[3] == bytes(5)

    def test_sizes_from_eight_gibibytes_have_a_record(self) -> None:
        out = bytearray()
        writer = TarLayerWriter(out.extend)
        for size in (8**11 - 1, 8**11):
            out.clear()
            with pytest.raises(FormatError) as error:
                writer.write(Entry("f", metadata(), data=held(b"", size)))
            assert error.value.kind == "data-too-short"
            assert (b"size", b"%d" % size) in _pairs(bytes(out)) or size < 8**11

    def test_a_failed_write_leaves_no_end_mark(self) -> None:
        out = bytearray()
        with pytest.raises(WclayerError), TarLayerWriter(out.extend) as writer:
            writer.write(file("f", b"", extended_attributes=(ExtendedAttribute(b"=", b""),)))
        assert bytes(out) == b""
