from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.transport.layers import (
    TOMBSTONE_HEAD,
    Layer,
    add_folder,
    heads,
    paths_of,
    put,
    stream,
    transport,
    volume,
)
from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.formats.transport.tombstones import HEADER, parse_tombstones, tombstone_lines
from wclayer.formats.volume import VolumeError
from wclayer.model import Notices


def parsed(data: bytes, *, lenient: bool = False) -> list[str]:
    return list(parse_tombstones(io.BytesIO(data).read, lenient=lenient))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\n\\a\\b.txt\n\\c\n", ["a\\b.txt", "c"]),
        (b"\r\n\\a\r\n\\c\r\n", ["a", "c"]),
        (b"\n\\a\r\n\\c", ["a", "c"]),
        (b"\n", []),
        (b"", []),
        (b"\n\\a\n\n\n", ["a"]),
    ],
)
def test_08_lines_end_with_lf_or_crlf_or_the_file(text: bytes, expected: list[str]) -> None:
    assert parsed(HEADER + text) == expected


@pytest.mark.parametrize("data", [b"", b"Version 1.0\n", HEADER + b" \n", b"\xef\xbb\xbfVersion 1.1\n\\a\n", b"\n"])
def test_09_the_first_line_must_be_exact(data: bytes) -> None:
    with pytest.raises(FormatError, match="invalid tombstones file") as error:
        parsed(data)
    assert error.value.kind == "tombstones"


def test_09_a_missing_file_is_the_error_of_the_first_and_of_every_further_call(tmp_path: Path) -> None:
    from wclayer.formats.transport import LegacyLayerReader

    reader = LegacyLayerReader(transport(tmp_path / "t", tombstones=b""))
    for _ in range(2):
        with pytest.raises(VolumeError) as error:
            reader.next()
        assert error.value.winerror == 2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b"/a",
        b"\\",
        b"\\a\\",
        b"\\\\a",
        b"\\a\\..\\b",
        b"\\..\\b",
        b"\\.",
        b"\\a/b",
        b"\\a:b",
        b"\\a\0b",
        b"\\\xff",
    ],
)
def test_10_a_line_that_is_no_plain_path_is_refused_and_leniently_passed_over(line: bytes) -> None:
    data = HEADER + b"\n" + line + b"\n\\good\n"
    with pytest.raises(FormatError) as error:
        parsed(data)
    assert error.value.kind == "tombstones"
    assert parsed(data, lenient=True) == ["good"]


def test_10_duplicates_are_kept_and_a_line_of_64_kib_is_refused() -> None:
    assert parsed(HEADER + b"\n\\a\n\\a\n") == ["a", "a"]
    for tail in (b"", b"\n"):
        with pytest.raises(LimitError):
            parsed(HEADER + b"\n\\" + b"a" * 65536 + tail)


def test_11_deletions_follow_their_folder_before_its_contents_in_file_order(tmp_path: Path) -> None:
    source = transport(
        tmp_path / "t", tombstones=TOMBSTONE_HEAD + b"\\z\n\\D\\y\n\\D\\b\n\\none\\x\n\\$recycle.bin\\q\n\\a\n"
    )
    add_folder(source, "Files\\d")
    put(source, "Files\\d\\a", b"\x20\0\0\0")
    add_folder(source, "Files\\$Recycle.Bin")
    source.notices = Notices()
    found = [head.path for head in heads(source)]
    assert found[:7] == ["Files", "Files\\z", "Files\\a", "Files\\d", "Files\\D\\y", "Files\\D\\b", "Files\\d\\a"]
    assert found[7:] == ["Hives", "Hives\\System_Delta"]
    assert source.notices.counts["tombstone-unplaced"] == 1


def test_12_the_writer_ends_lines_with_lf_and_begins_them_with_a_backslash() -> None:
    assert b"".join(tombstone_lines(["a\\b.txt", "Größe"])) == HEADER + b"\n\\a\\b.txt\n\\Gr\xc3\xb6\xc3\x9fe\n"
    with pytest.raises(WclayerError):
        list(tombstone_lines(["..\\a"]))


@pytest.mark.parametrize("name", ["tombstones.txt", "Tombstones.TXT"])
def test_12_a_list_that_the_tar_brings_is_dropped(tmp_path: Path, name: str) -> None:
    made = Layer(tmp_path, volume(tmp_path / "p"))
    made.add(name, stream(HEADER + b"\n\\Windows\n"))
    made.writer.close()
    assert paths_of(made.transport) == []


_CONTROLS: tuple[Literal["Cc"]] = ("Cc",)
_NAME = st.text(
    st.characters(exclude_characters='\\/:*?"<>|', exclude_categories=_CONTROLS), min_size=1, max_size=8
).filter(lambda name: name.strip(".") != "")


@given(st.lists(st.lists(_NAME, min_size=1, max_size=4).map("\\".join), max_size=20))
def test_what_is_written_is_read(paths: list[str]) -> None:
    assert parsed(b"".join(tombstone_lines(paths))) == paths


@given(st.binary(max_size=200), st.booleans())
def test_whatever_the_bytes_only_our_errors_come_out(data: bytes, lenient: bool) -> None:
    for text in (data, HEADER + b"\n" + data):
        with suppress(WclayerError):
            parsed(text, lenient=lenient)
