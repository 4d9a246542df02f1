"""Members: what header blocks, extended headers and sparse maps say together, and where the archive ends."""

from __future__ import annotations

import time

import pytest

from tests.formats.tar.archives import BLOCK, records
from tests.formats.tar.building import END, block, extension, member, padded
from wclayer.errors import FormatError, LimitError
from wclayer.formats.tar import Member, Members, SlabStream
from wclayer.formats.tar.sparse import MAX_RANGES
from wclayer.model import Stream


def names(archive: bytes) -> list[bytes]:
    return [found.name for found in Members(SlabStream([archive]))]


def contents(archive: bytes, slab: int = 700) -> dict[bytes, bytes]:
    slabs = [archive[start : start + slab] for start in range(0, len(archive), slab)]
    members = Members(SlabStream(slabs))
    found = {}
    for one in members:
        stream = Stream(one.size if one.ranges is not None else one.stored, members.body, one.ranges)
        found[one.name] = b"".join(bytes(piece) for piece in stream.pieces())
    return found


def only(archive: bytes) -> Member:
    (found,) = Members(SlabStream([archive]))
    return found


def kind_of_error(archive: bytes) -> str:
    with pytest.raises(FormatError) as error:
        contents(archive)
    return error.value.kind


class TestTheEnd:
    FILE = member(b"a", b"hello")

    @pytest.mark.parametrize("end", [b"", bytes(BLOCK), END, END + b"anything", END + FILE, bytes(10240)])
    def test_ways_to_end(self, end: bytes) -> None:
        assert contents(self.FILE + end) == {b"a": b"hello"}

    def test_padding_behind_the_last_body_may_be_missing(self) -> None:
        assert contents(self.FILE[: BLOCK + 5]) == {b"a": b"hello"}
        assert contents(self.FILE[: BLOCK + 100]) == {b"a": b"hello"}

    def test_an_extended_header_may_come_last(self) -> None:
        for last in (
            extension((b"path", b"b")),
            extension((b"path", b"b"))[: BLOCK + 10],
            member(b"", b"name\0", b"L"),
        ):
            assert names(self.FILE + last) == [b"a"]

    @pytest.mark.parametrize(
        "rest",
        [b"x", block(b"b")[:-1], bytes(BLOCK - 1), bytes(BLOCK) + b"\0", bytes(BLOCK) + END[:511]],
        ids=["byte", "header", "zeros", "second-byte", "second-zeros"],
    )
    def test_a_header_cut_short(self, rest: bytes) -> None:
        assert kind_of_error(self.FILE + rest) == "unexpected-eof"

    def test_a_header_behind_one_zero_block(self) -> None:
        assert kind_of_error(self.FILE + bytes(BLOCK) + self.FILE) == "tar-header"

    @pytest.mark.parametrize("cut", [BLOCK, BLOCK + 1, BLOCK + 4])
    def test_a_body_cut_short(self, cut: int) -> None:
        assert kind_of_error(self.FILE[:cut]) == "unexpected-eof"
        with pytest.raises(FormatError):
            names(self.FILE[:cut])

    def test_nothing_is_an_archive(self) -> None:
        assert names(b"") == []


class TestModifiers:
    def test_records_override_the_header(self) -> None:
        found = only(
            extension((b"path", b"new"), (b"linkpath", b"to"), (b"size", b"3"), (b"mtime", b"1.5"), (b"uid", b"1"))
            + block(b"old", size=9, mtime=7)
            + padded(b"abc")
        )
        assert (found.name, found.linkname, found.size, found.stored, found.mtime) == (b"new", b"to", 3, 3, 1500000000)

    def test_empty_values_override_nothing_and_are_kept(self) -> None:
        found = only(extension((b"path", b""), (b"size", b""), (b"mtime", b"")) + block(b"old", size=0, mtime=7))
        assert (found.name, found.mtime) == (b"old", 7_000_000_000)
        assert found.pax == {b"path": b"", b"size": b"", b"mtime": b""}

    def test_a_second_extended_header_replaces_the_first(self) -> None:
        found = only(extension((b"path", b"first"), (b"a", b"1")) + extension((b"b", b"2")) + block(b"old"))
        assert (found.name, found.pax) == (b"old", {b"b": b"2"})

    def test_long_names_win_over_records_unless_empty(self) -> None:
        long = member(b"././@LongLink", b"long\0junk", b"L") + member(b"././@LongLink", b"link\0", b"K")
        found = only(long + extension((b"path", b"pax"), (b"linkpath", b"pax")) + block(b"old", b"2"))
        assert (found.name, found.linkname) == (b"long", b"link")
        empty = member(b"././@LongLink", b"\0", b"L")
        assert only(long + empty + extension((b"path", b"pax")) + block(b"old")).name == b"pax"

    def test_a_global_header_is_a_member_without_effect(self) -> None:
        archive = (
            extension((b"path", b"lost"))
            + extension((b"path", b"g"), (b"mtime", b"5"), (b"size", b"99"), kind=b"g")
            + member(b"a", b"hello")
        )
        first, second = Members(SlabStream([archive]))
        assert (first.name, first.type, first.size, first.mtime) == (b"g", ord("g"), 0, None)
        assert first.pax[b"size"] == b"99"
        assert (second.name, second.pax) == (b"a", {})

    def test_a_global_header_that_makes_no_sense_has_no_records(self) -> None:
        found = only(extension((b"mtime", b"never"), kind=b"g"))
        assert (found.name, found.pax) == (b"PaxHeaders.0/x", {})
        assert kind_of_error(block(b"g", b"g", size=3) + padded(b"abc")) == "tar-header"

    @pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
    def test_a_megabyte_is_the_most(self, kind: bytes) -> None:
        body = b"%d k=" % (1 << 20)
        body += b"v" * ((1 << 20) - len(body) - 1) + b"\n"
        names(block(b"x", kind, size=len(body)) + body + block(b"a"))
        assert kind_of_error(block(b"x", kind, size=len(body) + 1) + padded(body + b"\n")) == "header-too-long"
        assert kind_of_error(block(b"x", kind, size=8**11 - 1)) == "header-too-long"

    @pytest.mark.parametrize(
        "pair", [(b"size", b"-1"), (b"size", b"x"), (b"uid", b"1.0"), (b"gid", b"x"), (b"atime", b".5")]
    )
    def test_values_that_make_no_sense(self, pair: tuple[bytes, bytes]) -> None:
        assert kind_of_error(extension(pair) + block(b"a")) == "tar-header"

    def test_a_nul_type_becomes_a_file_or_a_folder(self) -> None:
        assert only(block(b"a", b"\0")).type == ord("0")
        assert only(block(b"a/", b"\0")).type == ord("5")
        assert only(extension((b"path", b"b/")) + block(b"a", b"\0")).type == ord("5")
        assert only(block(b"a/", b"0")).type == ord("0")

    @pytest.mark.parametrize("kind", [bytes([kind]) for kind in b"123456"])
    def test_links_and_folders_have_no_body(self, kind: bytes) -> None:
        assert names(block(b"a", kind, size=700) + block(b"b")) == [b"a", b"b"]
        negative = block(b"a", kind, fields={124: b"\xff" * 12}) + block(b"b")
        assert names(negative) == [b"a", b"b"]

    @pytest.mark.parametrize("kind", [bytes([kind]) for kind in b"\x0007DMNVz\xff"])
    def test_all_other_types_have_one(self, kind: bytes) -> None:
        assert contents(member(b"a", b"x" * 700, kind) + block(b"b")) == {b"a": b"x" * 700, b"b": b""}
        assert kind_of_error(block(b"a", kind, fields={124: b"\xff" * 12})) == "tar-header"


DATA = b"helloend"
SPARSE = b"hello" + bytes(995) + b"end" + bytes(997)


def sparse_0_0(*pairs: tuple[bytes, bytes], data: bytes = DATA) -> bytes:
    return extension((b"GNU.sparse.size", b"2000"), *pairs) + member(b"s", data)


def sparse_0_1(text: bytes, count: bytes, data: bytes = DATA, size: bytes = b"2000") -> bytes:
    pairs = ((b"GNU.sparse.size", size), (b"GNU.sparse.numblocks", count), (b"GNU.sparse.map", text))
    return extension(*pairs) + member(b"s", data)


def sparse_1_0(text: bytes, data: bytes = DATA, size: bytes = b"2000") -> bytes:
    pairs = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", size))
    return extension((b"GNU.sparse.name", b"s"), *pairs) + member(b"GNUSparseFile.1/s", padded(text) + data)


def sparse_gnu(ranges: list[tuple[int, int]], data: bytes = DATA, size: int = 2000) -> bytes:
    pairs = [b"%011o\0%011o\0" % pair for pair in ranges]
    fields = {386: b"".join(pairs[:4]), 482: b"\1" if len(pairs) > 4 else b"", 483: b"%011o\0" % size}
    out = block(b"s", b"S", size=len(data), magic=b"ustar  \0", fields=fields)
    for start in range(4, len(pairs), 21):
        more = b"\1" if start + 21 < len(pairs) else b"\0"
        out += padded(b"".join(pairs[start : start + 21]).ljust(504, b"\0") + more)
    return out + padded(data)


class TestSparse:
    @pytest.mark.parametrize(
        "archive",
        [
            sparse_0_0(
                (b"GNU.sparse.numblocks", b"2"),
                (b"GNU.sparse.offset", b"0"),
                (b"GNU.sparse.numbytes", b"5"),
                (b"GNU.sparse.offset", b"1000"),
                (b"GNU.sparse.numbytes", b"3"),
            ),
            sparse_0_1(b"0,5,1000,3", b"2"),
            sparse_0_1(b"0,5,1000,3,2000,0", b"3"),
            sparse_1_0(b"2\n0\n5\n1000\n3\n"),
            sparse_1_0(b"+2\n000\n5\n1000\n3\n"),
            sparse_gnu([(0, 5), (1000, 3)]),
            sparse_gnu([(0, 5), (1000, 3), *[(2000, 0)] * 30]),
        ],
        ids=["0.0", "0.1", "0.1-closing", "1.0", "1.0-odd", "gnu", "gnu-long"],
    )
    def test_the_maps_of_gnu_tar(self, archive: bytes) -> None:
        for slab in (100, 512, 1 << 20):
            assert contents(archive + member(b"next", b"x"), slab) == {b"s": SPARSE, b"next": b"x"}

    def test_a_map_over_several_blocks(self) -> None:
        count = 300
        text = b"%d\n" % count + b"".join(b"%d\n1\n" % (7 * n) for n in range(count))
        found = contents(sparse_1_0(text, b"d" * count, b"3000"))
        assert found[b"s"] == (b"d" + bytes(6)) * count + bytes(900)

    def test_unknown_versions_are_ordinary_files(self) -> None:
        for major, minor in ((b"1", b"1"), (b"2", b"0"), (b"0", b"2"), (b"", b"1"), (b"1", b"")):
            archive = extension((b"GNU.sparse.major", major), (b"GNU.sparse.minor", minor)) + member(b"s", DATA)
            assert contents(archive) == {b"s": DATA}

    def test_a_file_of_holes(self) -> None:
        assert contents(sparse_0_1(b"", b"0", b"")) == {b"s": b""}
        assert contents(sparse_1_0(b"0\n", b"")) == {b"s": bytes(2000)}
        assert contents(sparse_gnu([], b"")) == {b"s": bytes(2000)}

    @pytest.mark.parametrize(
        "archive",
        [
            sparse_0_1(b"0,5,4,3", b"2"),
            sparse_0_1(b"5,3,0,5", b"2"),
            sparse_0_1(b"0,5,1998,3", b"2"),
            sparse_0_1(b"0,5,-1,3", b"2"),
            sparse_0_1(b"0,-5", b"1"),
            sparse_0_1(b"0,5,1000", b"2"),
            sparse_0_1(b"0,5,1000,3", b"3"),
            sparse_0_1(b"0,5,1000,3", b""),
            sparse_0_1(b"0,5,,3", b"2"),
            sparse_0_1(b"0,5,1000,9223372036854775807", b"2"),
            sparse_0_1(b"0,5", b"1", size=b"-1"),
            sparse_0_1(b"0,5", b"1", size=b"x"),
            sparse_0_1(b"0,5", b"1"),
            sparse_0_1(b"0,9", b"1"),
            sparse_1_0(b"0\n"),
            sparse_1_0(b"-1\n"),
            sparse_1_0(b"x\n"),
            sparse_1_0(b"\n"),
            sparse_1_0(b"1\n0\n"),
            sparse_1_0(b"1\n0 \n5\n"),
            sparse_gnu([(0, 5), (4, 3)]),
            sparse_gnu([(0, 5)]),
            sparse_gnu([(0, 5), (1000, 3)], size=1001),
            sparse_gnu([(0, 5), (1000, 3), (1100, 0), (1100, 0), (1100, 0)])[: 2 * BLOCK - 1],
            extension((b"GNU.sparse.numbytes", b"5")) + block(b"s"),
            extension((b"GNU.sparse.offset", b"5"), (b"GNU.sparse.offset", b"5")) + block(b"s"),
            extension((b"GNU.sparse.offset", b"0,5")) + block(b"s"),
            extension((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.numblocks", b"1")) + block(b"s", b"5"),
            block(b"s", b"S", size=0),
            block(b"s", b"S", size=0, magic=b"ustar  \0", fields={483: b"\xff" * 12}),
            block(b"s", b"S", size=0, magic=b"ustar  \0", fields={386: b"9"}),
        ],
    )
    def test_maps_that_make_no_sense(self, archive: bytes) -> None:
        assert kind_of_error(archive + END) in ("tar-header", "unexpected-eof")

    @pytest.mark.parametrize(
        "archive",
        [
            sparse_0_1(b"0,5,1099511627776,3", b"2", size=b"1099511627780"),
            sparse_gnu([(0, 8)], size=1 << 32),
            sparse_1_0(b"60000\n" + b"0" * (1 << 20) + b"\n"),
            sparse_0_1(b"0", b"%d" % (MAX_RANGES + 1)),
            sparse_gnu([(0, 0)] * (MAX_RANGES + 30)),
        ],
        ids=["size", "size-gnu", "text", "count-0.1", "blocks"],
    )
    def test_bombs(self, archive: bytes) -> None:
        with pytest.raises(LimitError):
            names(archive + END)

    def test_a_large_map_is_read_in_linear_time(self) -> None:
        count = 60_000
        text = b"%d\n" % count + b"".join(b"%d\n1\n" % (2 * n) for n in range(count))
        started = time.process_time()
        assert len(contents(sparse_1_0(text, b"d" * count, b"200000"), 1 << 20)[b"s"]) == 200_000
        assert time.process_time() - started < 5


class TestBodies:
    ARCHIVE = member(b"a", b"first" * 200) + member(b"b", b"second")

    def test_bodies_that_nobody_reads_are_passed_over(self) -> None:
        assert names(self.ARCHIVE) == [b"a", b"b"]

    def test_a_body_that_is_read_in_part_is_passed_over(self) -> None:
        members = Members(SlabStream([self.ARCHIVE[start : start + 100] for start in range(0, len(self.ARCHIVE), 100)]))
        first = members.next()
        assert first is not None
        pieces = members.body(first.stored)
        assert bytes(next(pieces)).startswith(b"first")
        second = members.next()
        assert second is not None
        assert b"".join(bytes(piece) for piece in members.body(second.stored)) == b"second"

    def test_only_the_current_body_can_be_asked_for(self) -> None:
        members = Members(SlabStream([self.ARCHIVE]))
        with pytest.raises(FormatError):
            members.body(1000)
        members.next()
        for wrong in (0, 999, 1001):
            with pytest.raises(FormatError):
                members.body(wrong)


def test_slabs_of_any_size_give_the_same() -> None:
    archive = extension((b"path", b"p" * 300)) + member(b"a", b"x" * 1500) + sparse_1_0(b"1\n9\n8\n") + END
    expected = contents(archive, len(archive))
    for slab in (1, 7, 511, 512, 513, 1024, 2000):
        assert contents(archive, slab) == expected


def test_empty_slabs_mean_nothing() -> None:
    archive = member(b"a", b"hello")
    slabs = [b"", archive[:100], b"", b"", archive[100:], b""]
    assert [found.name for found in Members(SlabStream(slabs))] == [b"a"]


def test_times_of_the_year_one_are_no_times() -> None:
    found = only(extension((b"mtime", b"-62135596800"), (b"atime", b"-62135596800.0")) + block(b"a", mtime=5))
    assert (found.mtime, found.atime, found.ctime) == (None, None, None)


def test_repeated_records_of_other_keys_are_not_pairs() -> None:
    body = records((b"a", b"1"), (b"a", b"2"))
    assert only(block(b"x", b"x", size=len(body)) + padded(body) + block(b"n")).pax == {b"a": b"2"}
