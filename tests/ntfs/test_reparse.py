"""Reparse points: links are rebuilt byte for byte, other kinds are kept, broken ones are refused."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wclayer.errors import FormatError
from wclayer.ntfs.names import strict_text, to_utf16le, utf16_length
from wclayer.ntfs.reparse import (
    IO_REPARSE_TAG_MOUNT_POINT,
    IO_REPARSE_TAG_SYMLINK,
    MountPoint,
    OpaqueReparse,
    Reparse,
    SymbolicLink,
    build,
    build_link,
    link_target,
    parse_reparse,
    reference_target,
    tag_name,
    tag_of,
)

NAMES = st.text(
    st.one_of(st.characters(codec="utf-8"), st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)), max_size=40
)
# Two lone halves side by side are a pair once they are UTF-16, so they cannot come back as they were.
UNITS = NAMES.map(lambda text: to_utf16le(text).decode("utf-16-le", "surrogatepass"))
U32 = st.integers(min_value=0, max_value=2**32 - 1)


def symlink(path_buffer: bytes, substitute: tuple[int, int], print_name: tuple[int, int], flags: int = 0) -> bytes:
    head = pack("<IHH", IO_REPARSE_TAG_SYMLINK, 12 + len(path_buffer), 0)
    return head + pack("<HHHHI", *substitute, *print_name, flags) + path_buffer


def refusal(call: Callable[[], object]) -> str | None:
    """The kind of FormatError that ``call`` raises, None when it returns; any other error passes."""
    try:
        call()
    except FormatError as error:
        return error.kind
    return None


@pytest.mark.parametrize(
    ("target", "substitute", "relative"),
    [
        ("\\\\?\\C:\\x", "\\??\\C:\\x", False),
        ("\\\\?\\Volume{1}\\", "\\??\\Volume{1}\\", False),
        ("\\\\server\\share\\x", "\\??\\UNC\\server\\share\\x", False),
        ("\\\\", "\\??\\UNC\\", False),
        ("C:\\x", "\\??\\C:\\x", False),
        ("c:rel", "\\??\\c:rel", False),
        ("C:/a/b", "\\??\\C:\\a\\b", False),
        ("//server/share", "\\??\\UNC\\server\\share", False),
        ("..\\a", "..\\a", True),
        ("\\rooted", "\\rooted", True),
        ("\\??\\C:\\x", "\\??\\C:\\x", True),
        ("1:\\x", "1:\\x", True),
        ("ä:\\x", "ä:\\x", True),
        (":", ":", True),
        ("", "", True),
    ],
)
def test_the_kind_of_a_target_decides_the_name_that_windows_follows(
    target: str, substitute: str, relative: bool
) -> None:
    shown = target.replace("/", "\\")
    assert parse_reparse(build_link(target, mount_point=False)) == SymbolicLink(substitute, shown, int(relative))
    assert parse_reparse(build_link(target, mount_point=True)) == MountPoint(substitute, shown)


def test_a_relative_symbolic_link_byte_for_byte() -> None:
    name = "..\\a".encode("utf-16-le") + b"\0\0"
    head = bytes.fromhex("0c0000a0 2000 0000 0000 0800 0a00 0800 01000000".replace(" ", ""))
    assert build_link("..\\a", mount_point=False) == head + name + name


def test_an_absolute_junction_byte_for_byte() -> None:
    head = pack("<IHHHHHH", 0xA0000003, 8 + 16 + 8, 0, 0, 14, 16, 6)
    expected = head + "\\??\\C:\\\0C:\\\0".encode("utf-16-le")
    assert build_link("C:\\", mount_point=True) == expected


def test_sizes_follow_from_the_names() -> None:
    assert len(build_link("x" * 10, mount_point=False)) == 20 + 2 * 11 + 2 * 11
    assert len(build_link("C:\\x", mount_point=True)) == 16 + 2 * (8 + 1) + 2 * (4 + 1)


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_target_that_would_wrap_the_16_bit_lengths_is_refused(mount_point: bool) -> None:
    most = (65535 - 12 - 4) // 4 if not mount_point else (65535 - 8 - 4) // 4
    buffer = build_link("x" * most, mount_point=mount_point)
    assert link_target(buffer) == "x" * most
    with pytest.raises(FormatError) as caught:
        build_link("x" * (most + 1), mount_point=mount_point)
    assert caught.value.kind == "malformed"


# Real layouts: print name first, gaps, single terminators, a junction of another tool.
@pytest.mark.parametrize(
    ("encoded", "target"),
    [
        ("DAAAoCQAAAAIABAAAAAIAAAAAABDADoAXABhAFwAPwA/AFwAQwA6AFwAYQA=", "C:\\a"),
        ("DAAAoBIAAAAAAAIABAACAAEAAAB4AO7ueAA=", "x"),
        ("DAAAoBQAAAAAAAIABAACAAEAAAB5AAAAeQAAAA==", "y"),
        ("DAAAoCwAAAAAABYAFgAKAAAAAABcAD8APwBcAEMAOgBcAHIAZQBhAGwAcwBoAG8AdwBuAA==", "shown"),
    ],
)
def test_the_print_name_is_the_target_wherever_it_lies(encoded: str, target: str) -> None:
    buffer = b64decode(encoded)
    assert link_target(buffer) == reference_target(buffer) == target


@pytest.mark.parametrize("length", [0, 1, 0xFFFF])
def test_the_data_length_of_a_link_is_not_consulted(length: int) -> None:
    buffer = bytearray(build_link("C:\\x", mount_point=True))
    buffer[4:6] = length.to_bytes(2, "little")
    assert link_target(bytes(buffer)) == reference_target(bytes(buffer)) == "C:\\x"


def test_an_odd_length_gives_whole_units() -> None:
    buffer = symlink(b"a\0b\0", (0, 0), (0, 3))
    assert link_target(buffer) == reference_target(buffer) == "a"


@pytest.mark.parametrize(
    ("substitute", "target"),
    [
        ("\\??\\C:\\real", "C:\\real"),
        ("\\??\\UNC\\server\\share", "\\\\server\\share"),
        ("\\??\\Volume{0a}\\", "\\\\?\\Volume{0a}\\"),
        ("relative", "relative"),
        ("", ""),
    ],
)
def test_a_junction_without_print_name_leads_where_its_substitute_name_does(substitute: str, target: str) -> None:
    buffer = build(MountPoint(substitute, ""))
    assert link_target(buffer) == target
    assert link_target(buffer, fall_back=False) == reference_target(buffer) == ""
    rebuilt = parse_reparse(build_link(target, mount_point=True))
    assert isinstance(rebuilt, MountPoint)
    assert rebuilt.substitute_name == substitute


def test_the_substitute_name_matters_only_when_it_is_needed() -> None:
    buffer = symlink(b"a\0", (400, 20), (0, 2))
    assert link_target(buffer) == "a"
    with pytest.raises(FormatError):
        parse_reparse(buffer)
    with pytest.raises(FormatError) as caught:
        link_target(symlink(b"a\0", (400, 20), (0, 0)))
    assert caught.value.kind == "malformed"


def test_lone_surrogates_are_kept_except_where_the_reference_loses_them() -> None:
    buffer = build_link("a\ud800b", mount_point=False)
    assert link_target(buffer) == "a\ud800b"
    assert reference_target(buffer) == "a\ufffdb"


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x80000018, "WCI"),
        (0x90001018, "WCI_1"),
        (0xA000001F, "WCI_TOMBSTONE"),
        (0xA0000027, "WCI_LINK"),
        (0xA000001D, "LX_SYMLINK"),
        (0x8000001B, "APPEXECLINK"),
        (0x80000023, "AF_UNIX"),
        (0x80000024, "LX_FIFO"),
        (0x80000013, "DEDUP"),
        (0x80000017, "WOF"),
        (0x9000001A, "CLOUD"),
        (0x9000301A, "CLOUD_3"),
        (0x9000F01A, "CLOUD_F"),
    ],
)
def test_other_kinds_are_named_kept_and_no_links(tag: int, name: str) -> None:
    buffer = pack("<IHH", tag, 3, 0) + b"abc"
    assert tag_of(buffer) == tag
    assert tag_name(tag) == name
    assert parse_reparse(buffer) == OpaqueReparse(tag, None, b"abc")
    for target_of in (link_target, reference_target):
        with pytest.raises(FormatError, match=f"unsupported reparse point 0x{tag:x}") as caught:
            target_of(buffer)
        assert caught.value.kind == "reparse-unsupported"


def test_a_tag_that_is_not_microsofts_carries_a_guid() -> None:
    guid = bytes(range(16))
    buffer = pack("<IHH", 0x00001234, 2, 0) + guid + b"xy"
    assert parse_reparse(buffer) == OpaqueReparse(0x1234, guid, b"xy")
    assert build(OpaqueReparse(0x1234, guid, b"xy")) == buffer
    assert tag_name(0x1234) == "0x00001234"
    with pytest.raises(FormatError):
        parse_reparse(buffer[:20])


@pytest.mark.parametrize(
    "parsed",
    [
        OpaqueReparse(0x1234, None, b""),
        OpaqueReparse(0x1234, b"short", b""),
        OpaqueReparse(0x80000018, bytes(16), b""),
        OpaqueReparse(0x80000018, None, bytes(65536)),
    ],
)
def test_what_the_format_cannot_hold_is_not_built(parsed: OpaqueReparse) -> None:
    with pytest.raises(FormatError):
        build(parsed)


@pytest.mark.parametrize(
    "buffer",
    [
        b"",
        b"\x0c\0\0\xa0",
        pack("<IHH", IO_REPARSE_TAG_SYMLINK, 0, 0),
        pack("<IHHHHH", IO_REPARSE_TAG_MOUNT_POINT, 6, 0, 0, 0, 0),
        symlink(b"", (0, 0), (0, 2)),
        symlink(b"a\0", (0, 0), (2, 1)),
        symlink(b"a\0", (0, 0), (0xFFFF, 0xFFFF)),
        symlink(b"a\0", (0, 0), (0xFFF4, 2)),
        symlink(b"", (0, 0), (0, 0))[:18],
    ],
)
def test_broken_links_are_refused(buffer: bytes) -> None:
    for read in (link_target, reference_target, parse_reparse):
        with pytest.raises(FormatError) as caught:
            read(buffer)
        assert caught.value.kind == "malformed"


def test_an_opaque_buffer_shorter_than_its_data_is_refused() -> None:
    with pytest.raises(FormatError):
        parse_reparse(pack("<IHH", 0x80000018, 4, 0) + b"abc")


@given(
    st.one_of(
        st.builds(SymbolicLink, UNITS, UNITS, U32),
        st.builds(MountPoint, UNITS, UNITS),
        st.builds(OpaqueReparse, U32.map(lambda tag: tag & 0xFFF | 0x80010000), st.none(), st.binary(max_size=50)),
        st.builds(
            OpaqueReparse, st.integers(0, 2**31 - 1), st.binary(min_size=16, max_size=16), st.binary(max_size=50)
        ),
    )
)
def test_what_is_built_parses_to_itself(parsed: Reparse) -> None:
    assert parse_reparse(build(parsed)) == parsed


@given(UNITS, st.booleans())
def test_a_link_leads_where_it_was_built_to(target: str, mount_point: bool) -> None:
    buffer = build_link(target, mount_point=mount_point)
    assert link_target(buffer, fall_back=False) == target.replace("/", "\\")
    names = parse_reparse(buffer)
    assert not isinstance(names, OpaqueReparse)
    assert len(buffer) == (16 if mount_point else 20) + 4 + 2 * sum(map(utf16_length, names[:2]))


@given(st.binary(max_size=80), st.sampled_from([None, IO_REPARSE_TAG_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT, 0x80000018]))
def test_garbage_is_read_or_refused_but_nothing_else(data: bytes, tag: int | None) -> None:
    buffer = data if tag is None else tag.to_bytes(4, "little") + data
    for read in (parse_reparse, link_target, reference_target, tag_of):
        assert refusal(lambda read=read: read(buffer)) in (None, "malformed", "reparse-unsupported")  # type: ignore[misc]


@given(UNITS, st.integers(8, 19), st.integers(0, 255))
def test_a_damaged_link_is_read_or_refused_but_nothing_else(target: str, place: int, byte: int) -> None:
    buffer = bytearray(build_link(target, mount_point=False))
    buffer[place] = byte
    assume(len(buffer) > place)
    with suppress(FormatError):
        assert reference_target(bytes(buffer)).encode().decode() == strict_text(
            link_target(bytes(buffer), fall_back=False)
        )
