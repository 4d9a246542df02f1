"""Header blocks in every dialect."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.tar.archives import BLOCK, NUMBERS, with_checksum
from tests.formats.tar.building import block
from wclayer.errors import FormatError
from wclayer.formats.tar.header import GNU, PAX, STAR, V7, build_block, extension_size, parse_block, parse_number

SECOND = 1_000_000_000


def test_an_ordinary_block() -> None:
    header = parse_block(block(b"Files/a", b"2", size=8, mode=0o120000, mtime=7, link=b"target"))
    assert header[:7] == (b"Files/a", 0o120000, 8, 7 * SECOND, ord("2"), b"target", PAX)
    assert (header.atime, header.ctime) == (None, None)


def test_a_name_that_fills_its_field_has_no_terminator() -> None:
    header = parse_block(block(b"n" * 100, link=b"l" * 100, fields={345: b"p" * 155}))
    assert header.name == b"p" * 155 + b"/" + b"n" * 100
    assert header.linkname == b"l" * 100


def read(data: bytes) -> list[object]:
    """What the block says, or why it cannot be read."""
    found: list[object] = [extension_size(data)]
    try:
        return [*found, parse_block(data)]
    except FormatError as error:
        return [*found, str(error)]


@settings(max_examples=1000)
@given(
    kind=st.sampled_from([b"0", b"5", b"x"]),
    size=st.integers(0, 8**11 - 1),
    time=st.integers(0, 8**11 - 1),
    name=st.binary(max_size=100),
    offset=st.one_of(st.integers(0, BLOCK - 1), st.sampled_from([100, 124, 135, 136, 147, 148, 154, 155, 156])),
    damage=st.one_of(st.binary(max_size=12), st.sampled_from([b"8", b" ", b"_", b"+1", b"-", b"7777777", b"ustar"])),
    repaired=st.sampled_from(["", "right", "one less", "one more"]),
)
def test_what_was_read_before_makes_no_difference(
    kind: bytes, size: int, time: int, name: bytes, offset: int, damage: bytes, repaired: str
) -> None:
    usual, other = (block(b"Files/a", kind, size=1, mode=mode) for mode in (0o644, 0o444))
    bare = block(name, kind, size=size, mode=0o644, mtime=time)
    damaged = (bare[:offset] + damage + bare[offset + len(damage) :])[:BLOCK]
    data = with_checksum(damaged) if repaired else damaged
    if repaired.startswith("one"):
        wrong = int(data[148:154], 8) + (1 if repaired == "one more" else -1)
        data = data[:148] + b"%06o" % wrong + data[154:]
    for one in (data, bare):
        read(usual)
        after_its_like = read(one)
        read(other)
        assert read(one) == after_its_like
        assert read(one) == after_its_like


@pytest.mark.parametrize(
    ("magic", "fields", "dialect", "name"),
    [
        (b"ustar\x0000", {345: b"prefix"}, PAX, b"prefix/n"),
        (b"ustar\0xy", {345: b"prefix"}, PAX, b"prefix/n"),
        (b"ustar\x0000", {345: b"prefix", 508: b"tar\0"}, STAR, b"prefix/n"),
        (b"ustar\x0000", {345: b"p" * 131, 476: b"00000000001 00000000002 ", 508: b"tar\0"}, STAR, b"p" * 131 + b"/n"),
        (b"ustar  \0", {}, GNU, b"n"),
        (b"ustar  \0", {345: b"prefix"}, GNU, b"prefix/n"),
        (b"ustar  \0", {345: "präfix".encode()}, GNU, b"n"),
        (b"ustar   ", {345: b"prefix"}, V7, b"n"),
        (bytes(8), {345: b"prefix", 329: b"not a number"}, V7, b"n"),
    ],
)
def test_dialects(magic: bytes, fields: dict[int, bytes], dialect: str, name: bytes) -> None:
    header = parse_block(block(b"n", magic=magic, fields=fields))
    assert (header.dialect, header.name) == (dialect, name)


def test_times_of_star_and_gnu() -> None:
    star = parse_block(block(b"n", fields={476: b"00000000001 00000000002 ", 508: b"tar\0"}))
    assert (star.atime, star.ctime) == (SECOND, 2 * SECOND)
    empty = parse_block(block(b"n", fields={508: b"tar\0"}))
    assert (empty.atime, empty.ctime) == (0, 0)
    gnu = parse_block(block(b"n", magic=b"ustar  \0", fields={345: b"00000000001\x0000000000002\0"}))
    assert (gnu.name, gnu.atime, gnu.ctime) == (b"n", SECOND, 2 * SECOND)
    half = parse_block(block(b"n", magic=b"ustar  \0", fields={345: b"00000000001\0wrong"}))
    assert (half.name, half.atime, half.ctime) == (b"00000000001/n", None, None)


def test_the_zero_time_is_no_time() -> None:
    zero = (-62135596800).to_bytes(12, "big", signed=True)
    assert parse_block(block(b"n", magic=b"ustar  \0", fields={136: zero, 345: zero, 357: zero}))[3] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (bytes(8), 0),
        (b"        ", 0),
        (b"0000017\0", 15),
        (b"0000017 ", 15),
        (b"   17 \0\0", 15),
        (b"\0\x0017\0 \0\0", 15),
        (b"17\0junk ", 15),
        (b"77777777", 8**8 - 1),
        (b"\x80" + bytes(6) + b"\x09", 9),
        (b"\xff" * 8, -1),
        (b"\xc0" + bytes(7), -(2**62)),
        (b"\xbf" + b"\xff" * 7, 2**62 - 1),
        (b"\x80\0\0\0\x7f" + b"\xff" * 7, 2**63 - 1),
        (b"\xff\xff\xff\xff\x80" + bytes(7), -(2**63)),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert parse_number(field) == value


@pytest.mark.parametrize(
    "field",
    [
        b"8", b"-1", b"+1", b"0x1", b"1_0", b"1 2", b"17 \0\x001 ", b"0o7", b"\x7f",
        b"\x80\0\0\0\x80" + bytes(7), b"\xff\xff\xff\xff\x7f" + b"\xff" * 7, b"\x80\x01" + bytes(10),
    ],
)  # fmt: skip
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(FormatError) as error:
        parse_number(field)
    assert error.value.kind == "tar-header"


@pytest.mark.parametrize(("start", "length"), [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)])
def test_every_number_is_checked(start: int, length: int) -> None:
    for bad in (b"9", b"0000008\0", b"\x80" + b"\xff" * 11):
        field = {start: bad[:length].ljust(length, b"\0")}
        if bad[0] == 0x80 and length == 8:
            parse_block(block(b"n", fields=field))
            continue
        with pytest.raises(FormatError):
            parse_block(block(b"n", fields=field))
    if start >= 257:
        assert parse_block(block(b"n", magic=bytes(8), fields={start: b"9"})).dialect == V7


def test_checksums() -> None:
    good = block(b"n\xc3\xa4" + b"\xff" * 90)
    unsigned = sum(good[:148]) + sum(good[156:]) + 256
    signed = unsigned - 256 * 92
    for field in (b"%06o\0 " % unsigned, b"%7o\0" % unsigned, b"\0\0%o" % unsigned, b"%06o\0 " % signed):
        assert parse_block(good[:148] + field[:8].ljust(8, b" ") + good[156:]).name == good[:93]
    for field in (b"%06o\0 " % (unsigned + 1), b"%06o\0 " % (unsigned - 256), b"%06o9 " % unsigned, bytes(8)):
        with pytest.raises(FormatError):
            parse_block(good[:148] + field[:8] + good[156:])
    base_256 = b"\x80" + unsigned.to_bytes(7, "big")
    with pytest.raises(FormatError):
        parse_block(good[:148] + base_256 + good[156:])


@given(st.binary(min_size=BLOCK, max_size=BLOCK))
def test_the_sum_is_right_for_any_bytes(data: bytes) -> None:
    plain = data[:257] + bytes(255)
    for at, length in ((100, 8), (108, 8), (116, 8), (124, 12), (136, 12)):
        plain = plain[:at] + bytes(length) + plain[at + length :]
    assert parse_block(with_checksum(plain)).dialect == V7


@given(st.binary(max_size=100), st.integers(0, 511), st.integers(0, 255))
def test_a_changed_byte_is_noticed(name: bytes, at: int, value: int) -> None:
    good = block(name)
    changed = good[:at] + bytes([value]) + good[at + 1 :]
    try:
        header = parse_block(changed)
    except FormatError:
        assert changed != good
    else:
        # Only the spelling of the checksum may differ.
        assert changed == good or 148 <= at < 156
        assert header.name == name.partition(b"\0")[0]


def test_the_size_of_an_extended_header_at_a_glance() -> None:
    good = block(b"x", b"x", size=1234)
    assert extension_size(good) == 1234 == parse_block(good).size
    assert extension_size(good[:-1] + b"\1") == -1
    assert extension_size(block(b"x", b"x", size=7, magic=bytes(8))) == -1


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1])
def test_what_is_built_is_read(size: int) -> None:
    built = build_block(b"Files/a", b"0", mode=0o100000, size=size, mtime=size, linkname=b"l", prefix=b"p")
    assert built == block(
        b"Files/a", size=size, mtime=size, link=b"l", fields={329: b"0000000\x000000000\0", 345: b"p"}
    )
    assert parse_block(built)[:6] == (b"p/Files/a", 0o100000, size, size * SECOND, ord("0"), b"l")


@pytest.mark.parametrize("value", [-1, 8**11, 2**63])
def test_numbers_that_do_not_fit_are_written_as_zeros(value: int) -> None:
    built = build_block(b"n", b"0", size=value, mtime=value)
    assert built[124:148] == b"00000000000\0" * 2


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (b"n" * 100, b"n" * 100),
        (b"n" * 101, b"n" * 100),
        (b"n" * 99 + b"/", b"n" * 99 + b"/"),
        (b"n" * 99 + b"/x", b"n" * 99 + b"\0"),
        (b"n" * 98 + b"//x", b"n" * 98 + b"\0/"),
        (b"/" * 101, b"\0" + b"/" * 99),
    ],
)
def test_text_cut_behind_a_slash_loses_it(name: bytes, field: bytes) -> None:
    assert build_block(name, b"0")[:100] == field


@given(st.sampled_from(NUMBERS), st.integers(0, 11))
def test_numbers_of_every_shape_are_numbers_or_errors(number: bytes, padding: int) -> None:
    field = (number + bytes(padding))[:12].ljust(12, b" ")
    try:
        value = parse_number(field)
    except FormatError:
        return
    assert -(2**63) <= value < 2**63
