"""What a layer tar says, as layer items: the two policies, what is odd, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK
from tests.formats.tar.building import END, EPOCH, block, content, extension, member, noted, one, read, refused
from wclayer.errors import FormatError, UnsafeEntryError
from wclayer.formats.tar import TarLayerReader
from wclayer.model import AlternateStream, Entry
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE

FILEATTR = (b"MSWINDOWS.fileattr", b"32")
FOLDER = (b"MSWINDOWS.fileattr", b"16")
USERS = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="


class TestTimes:
    def test_a_time_without_a_record_is_absent(self) -> None:
        metadata = one(member(b"Files/a", mtime=5)).metadata
        assert metadata.last_write_time == EPOCH + 50_000_000
        assert (metadata.creation_time, metadata.last_access_time, metadata.change_time) == (None, None, None)

    def test_the_reference_invents_it(self) -> None:
        metadata = one(member(b"Files/a", mtime=5), policy="reference").metadata
        assert metadata.creation_time == metadata.last_write_time == EPOCH + 50_000_000
        assert metadata.last_access_time == metadata.change_time == ABSENT_IN_REFERENCE

    @pytest.mark.parametrize("filetime", [0, 1, 24211015631452241, 208678456368547759, 2**63, 2**64 - 1])
    def test_times_out_of_range_are_exact(self, filetime: int) -> None:
        ticks = filetime - EPOCH
        text = b"%s%d.%07d" % (b"-" if ticks < 0 else b"", *divmod(abs(ticks), 10**7))
        pairs = [(key, text) for key in (b"LIBARCHIVE.creationtime", b"atime", b"ctime", b"mtime")]
        metadata = one(member(b"Files/a", b"", b"0", *pairs)).metadata
        assert (metadata.creation_time, metadata.last_access_time) == (filetime, filetime)
        assert (metadata.last_write_time, metadata.change_time) == (filetime, filetime)
        if filetime not in (0, 1):
            return
        wrapped = one(member(b"Files/a", b"", b"0", *pairs), policy="reference").metadata
        # Before 1677 nanoseconds do not fit 64 bits.
        assert wrapped.last_write_time != filetime

    def test_what_is_finer_than_a_tick_is_cut_toward_1970(self) -> None:
        metadata = one(member(b"Files/a", b"", b"0", (b"atime", b"-0.00000019"), (b"ctime", b"0.00000019"))).metadata
        assert (metadata.last_access_time, metadata.change_time) == (EPOCH - 1, EPOCH + 1)

    def test_the_year_one_is_no_time(self) -> None:
        zero = b"-62135596800"
        metadata = one(member(b"Files/a", b"", b"0", (b"mtime", zero), (b"LIBARCHIVE.creationtime", zero))).metadata
        assert (metadata.last_write_time, metadata.creation_time) == (None, None)

    @pytest.mark.parametrize("text", [b"", b"x", b".5"])
    def test_a_creation_time_that_is_none(self, text: bytes) -> None:
        error = refused(member(b"Files/a", b"", b"0", (b"LIBARCHIVE.creationtime", text)))
        assert (error.kind, error.path) == ("tar-header", "Files/a")


class TestAttributes:
    def test_without_a_record_only_folders_have_one(self) -> None:
        assert one(member(b"Files/a")).metadata.attributes == 0
        assert one(member(b"Files", kind=b"5")).metadata.attributes == 0x10

    @pytest.mark.parametrize(("text", "value"), [(b"0", 0), (b"4294967295", 2**32 - 1), (b"0" * 90 + b"16", 16)])
    def test_spellings(self, text: bytes, value: int) -> None:
        assert one(member(b"Files/a", b"", b"0", (b"MSWINDOWS.fileattr", text))).metadata.attributes == value

    @pytest.mark.parametrize(
        "text", [b"", b"4294967296", b"-1", b"+1", b" 1", b"0x10", b"1_0", b"9" * 5000, "١".encode()]
    )
    def test_what_is_no_number(self, text: bytes) -> None:
        assert refused(member(b"Files/a", b"", b"0", (b"MSWINDOWS.fileattr", text))).kind == "attributes-number"

    def test_a_type_that_disagrees_is_noticed(self) -> None:
        archive = member(b"Files/a", b"", b"0", FOLDER) + member(b"Files/b", b"", b"5", FILEATTR)
        assert [item.is_directory for item in read(archive + END)] == [False, True]
        assert noted(archive) == ["attributes-and-type"] * 2


class TestStreams:
    def test_an_empty_file_with_and_without_a_stream(self) -> None:
        with_stream, without = read(member(b"a", b"", b"0", FILEATTR) + member(b"b", b"", b"0", FILEATTR, mode=0) + END)
        assert content(with_stream.data) == b""
        assert without.data is None

    def test_a_file_of_another_program_always_has_one(self) -> None:
        assert content(one(member(b"a", mode=0)).data) == b""
        assert content(one(member(b"a", b"", b"0", FILEATTR, mode=0), policy="reference").data) == b""

    def test_a_folder_with_an_empty_stream(self) -> None:
        assert one(member(b"d", b"", b"5", FOLDER, mode=0o40000)).data is None
        assert content(one(member(b"d", b"", b"5", FOLDER, mode=0o140000)).data) == b""

    def test_streams_of_files_folders_and_of_what_has_no_data(self) -> None:
        items = read(
            member(b"Files/f", b"data", b"0", FILEATTR)
            + member(b"Files/f:s", b"one")
            + member(b"Files/f:Zone.Identifier", b"")
            + member(b"Files/d/", b"", b"5", FOLDER)
            + member(b"Files/d:s", b"two", b"0", (b"atime", b"5"))
            + member(b"Files/e", b"", b"0", FILEATTR, mode=0)
            + member(b"Files/e:s", b"three")
            + END
        )
        streams = [(i.path, i.name, content(i.data)) for i in items if isinstance(i, AlternateStream)]
        assert streams == [
            ("Files/f", ":s:$DATA", b"one"),
            ("Files/f", ":Zone.Identifier:$DATA", b""),
            ("Files/d", ":s:$DATA", b"two"),
            ("Files/e", ":s:$DATA", b"three"),
        ]

    @pytest.mark.parametrize(
        "between",
        [b"", member(b"Files/b"), block(b"Files/b", b"1", link=b"Files/a"), member(b"Files/.wh.b")],
        ids=["nothing", "file", "link", "deletion"],
    )
    def test_a_stream_apart_from_its_file_is_kept_and_noticed(self, between: bytes) -> None:
        archive = member(b"Files/a") + between + member(b"Files/a:s", b"x")
        last = read(archive + END)[-1]
        assert (last.path, last.name, content(last.data)) == ("Files/a", ":s:$DATA", b"x")
        assert noted(archive) == (["stream-apart"] if between else [])

    def test_a_stream_of_a_hard_link_is_apart(self) -> None:
        archive = member(b"Files/a") + block(b"Files/b", b"1", link=b"Files/a") + member(b"Files/b:s")
        assert noted(archive) == ["stream-apart"]

    def test_a_stream_name_that_has_its_type(self) -> None:
        archive = member(b"Files/a") + member(b"Files/a:s:$DATA", b"x")
        assert read(archive + END)[1].name == ":s:$DATA"
        assert read(archive + END, policy="reference")[1].name == ":s:$DATA:$DATA"
        assert noted(archive) == ["stream-type"]

    @pytest.mark.parametrize("name", [b"a:", b"a::$DATA", b"a:b:c:d", b"d:x/f", b":s", b"Files/:s", b"C:x", b"a:b\\c"])
    def test_colons_that_lead_nowhere(self, name: bytes) -> None:
        refused(member(b"a") + member(name, b"x"), UnsafeEntryError)

    def test_only_files_can_be_streams(self) -> None:
        for kind in (b"5", b"2", b"1"):
            refused(member(b"a") + block(b"a:s", kind, link=b"a"), UnsafeEntryError)

    def test_a_sparse_file_keeps_its_holes(self) -> None:
        pairs = [(b"GNU.sparse.size", b"2000"), (b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.map", b"1000,5")]
        entry = one(member(b"Files/s", b"hello", b"0", *pairs))
        assert (entry.data.size, entry.data.ranges) == (2000, ((1000, 5),))
        assert content(entry.data) == bytes(1000) + b"hello" + bytes(995)

    def test_sizes_are_counted_as_hcsshim_does(self) -> None:
        archive = (
            member(b"Files/a", b"12345") + member(b"Files/a:s", b"123") + member(b"b", b"1", b"7") + member(b"c", b"67")
        )
        reader = TarLayerReader([archive + END])
        assert len(list(reader)) == 4
        assert reader.size == 7


class TestSecurityAndAttributes:
    def test_a_descriptor_is_kept_byte_for_byte(self) -> None:
        entry = one(member(b"Files/a", b"", b"0", (b"MSWINDOWS.rawsd", USERS.encode())))
        assert entry.metadata.security_descriptor == base64.b64decode(USERS)

    def test_an_empty_one_is_not_none(self) -> None:
        assert one(member(b"a", b"", b"0", (b"MSWINDOWS.rawsd", b""))).metadata.security_descriptor == b""
        assert one(member(b"a")).metadata.security_descriptor is None

    def test_the_raw_one_wins_over_text_even_when_empty(self) -> None:
        pairs = [(b"MSWINDOWS.rawsd", b""), (b"MSWINDOWS.sd", b"not SDDL at all")]
        assert one(member(b"a", b"", b"0", *pairs)).metadata.security_descriptor == b""

    def test_text_of_2016_is_translated(self) -> None:
        text = b"O:BAG:SYD:(A;;FA;;;SY)(A;OICI;0x1200a9;;;BU)"
        expected = (
            "AQAEgEgAAABYAAAAAAAAABQAAAACADQAAgAAAAAAFAD/AR8AAQEAAAAAAAUSAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUg"
            "AAAAIAIAAAEBAAAAAAAFEgAAAA=="
        )
        assert one(member(b"a", b"", b"0", (b"MSWINDOWS.sd", text))).metadata.security_descriptor == base64.b64decode(
            expected
        )

    @pytest.mark.parametrize("text", [b"AQA", b"A===", b"A-A=", b"AQA=AQA=", b"AA=", b"=", b"AQA= ", b"A\0A="])
    def test_what_is_no_base64(self, text: bytes) -> None:
        assert refused(member(b"a", b"", b"0", (b"MSWINDOWS.rawsd", text))).kind == "base64"
        assert refused(member(b"a", b"", b"0", (b"MSWINDOWS.xattr.E", text))).kind == "base64"

    @pytest.mark.parametrize("text", [b"AQA=", b"AQ\r\nA=\n", b"AQB=", b"\nAQA\n="])
    def test_odd_spellings_of_base64(self, text: bytes) -> None:
        assert one(member(b"a", b"", b"0", (b"MSWINDOWS.rawsd", text))).metadata.security_descriptor == b"\1\0"

    def test_extended_attributes_come_in_order_of_their_names(self) -> None:
        pairs = [(b"MSWINDOWS.xattr." + name, b"QQ==") for name in (b"b", b"", b"\xff", b"B")]
        entry = one(member(b"a", b"", b"0", *pairs, (b"SCHILY.xattr.user.x", b"!"), (b"LIBARCHIVE.xattr.y", b"!")))
        assert [ea.name for ea in entry.metadata.extended_attributes] == [b"", b"B", b"b", b"\xff"]

    def test_their_flags_are_in_records_of_our_own(self) -> None:
        def flags(text: bytes, **more: Any) -> list[ExtendedAttribute]:
            pairs = [(b"MSWINDOWS.xattr.E", b"QQ=="), (b"WCLAYER.eaflags.E", text)]
            return list(one(member(b"a", b"", b"0", *pairs), **more).metadata.extended_attributes)

        assert flags(b"128") == [ExtendedAttribute(b"E", b"A", 0x80)]
        assert flags(b"128", policy="reference") == [ExtendedAttribute(b"E", b"A", 0)]
        for text in (b"", b"256", b"-1", b"x", b"0000000128"):
            assert flags(text) == [ExtendedAttribute(b"E", b"A", 0)]

    def test_their_limits(self) -> None:
        good = member(b"a", b"", b"0", (b"MSWINDOWS.xattr." + b"n" * 255, b"AAAA" * 21845))
        (attribute,) = one(good).metadata.extended_attributes
        assert (len(attribute.name), len(attribute.value)) == (255, 65535)
        long_name = member(b"a", b"", b"0", (b"MSWINDOWS.xattr." + b"n" * 256, b""))
        assert refused(long_name).kind == "ea-name-too-large"
        long_value = member(b"a", b"", b"0", (b"MSWINDOWS.xattr.n", b"AAAA" * 21845 + b"AA=="))
        assert refused(long_value).kind == "ea-value-too-large"


def test_errors_name_the_entry_whatever_is_wrong_with_it() -> None:
    for archive in (
        member(b"Files/ok") + member(b"Files/bad", b"", b"0", (b"MSWINDOWS.rawsd", b"!")),
        member(b"Files/ok") + block(b"Files/bad", b"3"),
        member(b"Files/ok") + block(b"Files/bad", size=700) + bytes(BLOCK),
    ):
        with pytest.raises(FormatError) as error:
            read(archive)
        assert error.value.path == "Files/bad"


def test_streams_are_read_while_the_archive_arrives() -> None:
    archive = member(b"a", b"hello") + member(b"b", b"x" * 1000) + END
    reader = iter(TarLayerReader([archive[start : start + 300] for start in range(0, len(archive), 300)]))
    first = next(reader)
    assert isinstance(first, Entry)
    assert content(first.data) == b"hello"
    second = next(reader)
    assert isinstance(second, Entry)
    assert second.data is not None
    with pytest.raises(FormatError):
        content(first.data)
    assert content(second.data) == b"x" * 1000
    assert list(reader) == []


def test_ordinals_count_members_not_items() -> None:
    archive = extension((b"a", b"b"), kind=b"g") + member(b"Files/a") + member(b"Files/a:s") + member(b"Files/.wh.x")
    assert [item.ordinal for item in read(archive + END)] == [1, 2, 3]
