"""Links, deletions, names, and the layers of other programs, as layer items."""

from __future__ import annotations

import base64

import pytest

from tests.formats.tar.building import END, EPOCH, block, content, extension, member, noted, one, read, refused
from wclayer.errors import FormatError, LimitError, UnsafeEntryError
from wclayer.model import Entry, HardLink, Notices, Tombstone
from wclayer.ntfs.reparse import build_link

FILEATTR = (b"MSWINDOWS.fileattr", b"32")
FOLDER = (b"MSWINDOWS.fileattr", b"16")
USERS = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="


class TestLinks:
    def test_a_symbolic_link(self) -> None:
        entry = one(block(b"l", b"2", link=b"../target/x"))
        assert entry.metadata.reparse == build_link("..\\target\\x", mount_point=False)
        assert (entry.is_directory, entry.data) == (False, None)

    @pytest.mark.parametrize("value", [b"1", b"0", b""])
    def test_a_mount_point_whatever_the_record_says(self, value: bytes) -> None:
        entry = one(extension((b"MSWINDOWS.mountpoint", value)) + block(b"l", b"2", link=b"C:\\x"))
        assert entry.metadata.reparse == build_link("C:\\x", mount_point=True)
        assert entry.is_directory

    def test_lone_surrogates_in_targets(self) -> None:
        target = "x\ud800".encode("utf-8", "surrogatepass")
        archive = block(b"l", b"2", link=target)
        assert one(archive).metadata.reparse == build_link("x\ud800", mount_point=False)
        assert one(archive, policy="reference").metadata.reparse == build_link("x\ufffd\ufffd\ufffd", mount_point=False)

    def test_a_target_that_does_not_fit(self) -> None:
        refused(extension((b"linkpath", b"n" * 40_000)) + block(b"l", b"2"))

    def test_hard_links_pass_the_gate_twice(self) -> None:
        link = one(block(b"./Files//b", b"1", link=b"./Files/a"))
        assert isinstance(link, HardLink)
        assert (link.path, link.target) == ("Files/b", "Files/a")
        for name, target in ((b"b", b"../a"), (b"../b", b"a"), (b"b", b"/a"), (b"b", b"a:s"), (b"b", b"")):
            refused(block(name, b"1", link=target), UnsafeEntryError)

    def test_a_hard_link_with_data_breaks_the_archive(self) -> None:
        refused(member(b"b", b"x", b"1", link=b"a"))


class TestDeletions:
    @pytest.mark.parametrize(
        ("name", "path"),
        [
            (b"Files/.wh.x", "Files/x"),
            (b"Files/a/.wh..x", "Files/a/.x"),
            (b"./Files//a/.wh.x/", "Files/a/x"),
            (b"Files/.wh..wh.x", "Files/.wh.x"),
            (b"UtilityVM/Files/.wh.x", "UtilityVM/Files/x"),
            (b"Files/.wh.\xed\xa0\x80", "Files/\ud800"),
            (b"Files\\a/.wh.x", "Files/a/x"),
        ],
    )
    def test_names(self, name: bytes, path: str) -> None:
        assert one(member(name)) == Tombstone(path, 0)

    @pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5", b"3", b"g", b"\0", b"z"])
    def test_type_and_metadata_do_not_matter(self, kind: bytes) -> None:
        bad = extension((b"MSWINDOWS.fileattr", b"x"), (b"MSWINDOWS.rawsd", b"!")) if kind != b"g" else b""
        assert one(bad + block(b"Files/.wh.x", kind)) == Tombstone("Files/x", 0)

    def test_a_body_is_passed_over_up_to_a_megabyte(self) -> None:
        assert read(member(b"Files/.wh.x", b"body" * 300) + member(b"b", b"x") + END)[1].path == "b"
        refused(member(b"Files/.wh.x", bytes((1 << 20) + 1)), LimitError)

    @pytest.mark.parametrize("name", [b".wh..", b"Files/.wh..", b"Files/.wh...", b"Files/.wh.../"])
    def test_what_would_delete_a_folder_above(self, name: bytes) -> None:
        refused(member(name), UnsafeEntryError)

    @pytest.mark.parametrize("name", [b".wh.", b"Files/.wh.", b"Files/.wh./"])
    def test_one_without_a_name_deletes_nothing(self, name: bytes) -> None:
        assert noted(member(name)) == ["whiteout-without-name"]
        assert read(member(name) + END) == []

    @pytest.mark.parametrize("name", [b"../.wh.x", b"/.wh.x", b"C:/.wh.x", b"Files/.wh.a:b", b"Files/.wh.a\\..\\..\\x"])
    def test_the_gate_holds_for_them_too(self, name: bytes) -> None:
        refused(member(name), UnsafeEntryError)

    def test_other_spellings_are_files(self) -> None:
        for name in (b"Files/.WH.x", b"Files/x.wh.y", b"Files/.wh"):
            assert isinstance(one(member(name)), Entry)

    def test_a_backslash_hides_the_mark_as_it_does_from_hcsshim(self) -> None:
        assert one(member(b"Files\\.wh.x")).path == "Files/.wh.x"
        assert noted(member(b"Files\\.wh.x")) == ["name-like-whiteout"]

    def test_what_is_odd_about_them_is_noticed(self) -> None:
        assert noted(member(b"Hives/.wh.x")) == ["tombstone-outside"]
        assert one(member(b"Files/d/.wh..wh..opq")) == Tombstone("Files/d/.wh..opq", 0)
        assert noted(member(b"Files/d/.wh..wh..opq")) == ["opaque-whiteout"]


class TestTypes:
    @pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
    def test_devices_are_refused(self, kind: bytes) -> None:
        error = refused(block(b"Files/dev", kind))
        assert (error.kind, error.path) == ("device", "Files/dev")

    @pytest.mark.parametrize("kind", [b"7", b"D", b"z", b"\xff"])
    def test_unknown_types_are_files(self, kind: bytes) -> None:
        archive = member(b"Files/a", b"data", kind)
        assert content(one(archive).data) == b"data"
        assert one(archive, policy="reference").data is None
        assert noted(archive) == ["entry-type"]

    def test_a_global_header_is_noticed_and_nothing_else(self) -> None:
        archive = extension((b"path", b"../x"), (b"MSWINDOWS.fileattr", b"x"), kind=b"g") + member(b"Files/a")
        assert [item.path for item in read(archive + END)] == ["Files/a"]
        assert noted(archive) == ["global-header"]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "path"),
        [
            (b"./Files/a", "Files/a"),
            (b"Files//a", "Files/a"),
            (b"Files/./a/", "Files/a"),
            (b"Files\\a", "Files/a"),
            (b"Files/\xed\xa0\x80", "Files/\ud800"),
            (b"Files/\xed\xa0\xbd\xed\xb8\x80", "Files/\ud83d\ude00"),
            (b"Files/\xff", "Files/\ufffd"),
        ],
    )
    def test_spellings(self, name: bytes, path: str) -> None:
        # Twice: the second one is in a folder that is known.
        assert [item.path for item in read(member(name) + member(name) + END)] == [path, path]

    @pytest.mark.parametrize(
        "name",
        [b"", b"/", b"..", b"../a", b"Files/../a", b"/a", b"//a/b", b"\\a", b"C:\\a", b"C:a", b"a/C:/b", b"./", b".",
         b"Files/CON", b"Files/nul", b"n" * 256, b"Files/..\\a"],
    )  # fmt: skip
    def test_names_that_lead_elsewhere(self, name: bytes) -> None:
        before = member(b"a") + member(b"Files/a")
        error = refused(before + extension((b"path", name)) + block(name[:100]), UnsafeEntryError)
        assert error.path is not None

    def test_the_root_of_the_layer_is_a_folder_and_no_item(self) -> None:
        assert noted(block(b"./", b"5")) == ["root-entry"]
        assert [item.path for item in read(block(b"./", b"5") + member(b"a", b"x") + END)] == ["a"]
        refused(block(b"./", b"2", link=b"x"), UnsafeEntryError)
        refused(block(b"a", b"1", link=b"./"), UnsafeEntryError)
        refused(block(b"./", b"1", link=b"a"), UnsafeEntryError)

    def test_what_windows_programs_could_not_open_is_noticed(self) -> None:
        for name in (b"Files/a.", b"Files/a ", b"Files/a?", b"Files/con.txt", b"Files/d./x"):
            assert noted(member(name)) == ["name-not-win32"]
            assert noted(member(b"Files/x") + member(name) + member(name)) == ["name-not-win32"] * 2

    def test_bytes_that_are_no_name_are_noticed(self) -> None:
        assert noted(member(b"Files/\xff")) == ["name-not-unicode"]
        assert noted(member(b"Files/\xef\xbf\xbd")) == []
        assert noted(member(b"Files/\xed\xa0\x80")) == []

    def test_a_very_long_path(self) -> None:
        path = "/".join(["d" * 200] * 160)
        assert one(extension((b"path", path.encode())) + block(b"d")).path == path
        refused(extension((b"path", f"{path}/{path}".encode())) + block(b"d"), UnsafeEntryError)


class TestStrict:
    def test_a_notice_becomes_an_error_that_names_the_entry(self) -> None:
        with pytest.raises(FormatError) as error:
            read(member(b"Files/a.") + END, notices=Notices(strict=True))
        assert (error.value.kind, error.value.path) == ("name-not-win32", "Files/a.")

    def test_a_layer_without_oddities_passes(self) -> None:
        archive = (
            member(b"Files", b"", b"5", FOLDER) + member(b"Files/a", b"x", b"0", FILEATTR) + member(b"Files/.wh.b")
        )
        assert len(read(archive + END, notices=Notices(strict=True))) == 3

    def test_an_archive_without_end_mark_is_noticed(self) -> None:
        notices = Notices()
        read(member(b"Files/a"), notices=notices)
        assert list(notices.counts) == ["no-end-mark"]


class TestLayersOfOtherPrograms:
    def test_previews_of_2016(self) -> None:
        names = (b"fileattr", b"createtime", b"accesstime", b"changetime", b"writetime", b"sd")
        values = (b"33", b"1", b"2", b"3", b"4", b"O:BU")
        for prefix in (b"MSWINDOWS.", b"SCHILY.xattr.MSWINDOWS."):
            pairs = [(prefix + name, value) for name, value in zip(names, values, strict=True)]
            metadata = one(member(b"Files/a", b"x", b"0", *pairs, mtime=99)).metadata
            times = (metadata.creation_time, metadata.last_access_time, metadata.change_time, metadata.last_write_time)
            assert times == (1, 2, 3, 4)
            assert metadata.attributes == 33
            assert metadata.security_descriptor is not None

    def test_the_reference_knows_nothing_of_them(self) -> None:
        pairs = [(b"SCHILY.xattr.MSWINDOWS.fileattr", b"33"), (b"MSWINDOWS.createtime", b"1")]
        metadata = one(member(b"Files/a", b"x", b"0", *pairs, mtime=99), policy="reference").metadata
        assert (metadata.attributes, metadata.creation_time) == (0, EPOCH + 99 * 10**7)

    def test_the_records_of_today_win(self) -> None:
        pairs = [
            (b"SCHILY.xattr.MSWINDOWS.fileattr", b"33"),
            FILEATTR,
            (b"MSWINDOWS.writetime", b"1"),
            (b"mtime", b"0.5"),
        ]
        metadata = one(member(b"Files/a", b"x", b"0", *pairs)).metadata
        assert (metadata.attributes, metadata.last_write_time) == (32, EPOCH + 5_000_000)

    def test_a_filetime_that_is_none(self) -> None:
        assert refused(member(b"Files/a", b"", b"0", (b"MSWINDOWS.createtime", b"x"))).kind == "tar-header"

    def test_exporters_before_july_2020(self) -> None:
        pairs = [
            (b"LIBARCHIVE.creationtime", b"-2.500000000"),
            FILEATTR,
            (b"mtime", b"1684318830.000000000"),
            (b"path", "Files/ä".encode()),
        ]
        whiteout = extension((b"mtime", b"-62135596800")) + block(b"Files/.wh.x", b"\0")
        entry, tombstone = read(member(b"", b"x", b"0", *pairs) + whiteout + END)
        assert entry.path == "Files/ä"
        assert entry.metadata.creation_time == EPOCH - 25_000_000
        assert tombstone == Tombstone("Files/x", 1)

    def test_buildkit(self) -> None:
        folder = [(b"LIBARCHIVE.creationtime", b"5.5000000"), FOLDER, (b"MSWINDOWS.rawsd", USERS.encode())]
        whiteout = [FILEATTR, (b"MSWINDOWS.rawsd", USERS.encode()), (b"LIBARCHIVE.creationtime", b"5.0")]
        archive = (
            member(b"Hives", b"", b"5", *folder, mode=0o40000)
            + member(b"Files", b"", b"5", *folder, mode=0o40000)
            + member(b"Files/d/", b"", b"5", *folder, mode=0o40755)
            + member(b"Files/d/e", b"", b"0", FILEATTR, mode=0o100644)
            + extension((b"LIBARCHIVE.creationtime", b"5.0")) + block(b"Files/l", b"2", link=b"Files//abs", mode=0o777)
            + member(b"Files/.wh.gone", b"", b"0", *whiteout)
        )  # fmt: skip
        hives, _, directory, empty, link, gone = read(archive + END, notices=Notices(strict=True))
        assert hives.metadata.creation_time == EPOCH + 55_000_000  # 5 ms after the second, in truth: beyond repair
        assert (directory.path, directory.is_directory) == ("Files/d", True)
        assert content(empty.data) == b""
        assert link.metadata.reparse == build_link("Files\\\\abs", mount_point=False)
        assert gone == Tombstone("Files/gone", 5)

    def test_crane_and_ko(self) -> None:
        archive = (
            member(b"Files", b"", b"5", mode=0o555)
            + member(b"Hives", b"", b"5", mode=0o555)
            + member(b"Files/app", b"x", b"0", (b"MSWINDOWS.rawsd", USERS.encode()), mode=0o555)
        )
        files, _, app = read(archive + END, notices=Notices(strict=True))
        assert files.metadata.attributes == 0x10
        assert app.metadata.attributes == 0
        assert app.metadata.security_descriptor == base64.b64decode(USERS)

    def test_imgutil(self) -> None:
        names = [b"Files", b"Hives", b"UtilityVM", b"UtilityVM/Files"]
        archive = b"".join(block(name, b"5", mode=0o40755, mtime=0) for name in names)
        archive += b"".join(member(b"Files/%d" % n, mode=0o644, magic=b"ustar  \0") for n in range(2))
        items = read(archive + END, notices=Notices(strict=True))
        assert [item.is_directory for item in items] == [True] * 4 + [False] * 2
        assert items[0].metadata.last_write_time == EPOCH

    def test_padding_to_ten_kibibytes(self) -> None:
        archive = member(b"Files/a", b"x")
        assert len(read(archive.ljust(10_240, b"\0"), notices=Notices(strict=True))) == 1
