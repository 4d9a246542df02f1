"""Types that no layer should have, and names in every spelling that tar knows or that leads elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK, records
from tests.formats.tar.building import END, block, content, extension, member, noted, one, padded, read, refused
from wclayer.errors import FormatError, UnsafeEntryError
from wclayer.formats.tar import Members, SlabStream
from wclayer.formats.tar.backuptar import import_operations
from wclayer.model import Notices


def imported(archive: bytes) -> list[tuple[bytes, int, bytes]]:
    """Name, attributes and backup stream of every entry as hcsshim takes it."""
    found: list[tuple[bytes, int, bytes]] = []
    for operation in import_operations(Members(SlabStream([archive + END]))):
        data = bytearray()
        operation.copy_to(data.extend)  # type: ignore[union-attr]
        found.append((operation.name, operation.attributes, bytes(data)))  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_50_devices_and_pipes_are_refused_where_hcsshim_makes_empty_files(kind: bytes) -> None:
    archive = block(b"Files/dev", kind)
    error = refused(archive)
    assert (error.kind, error.path) == ("device", "Files/dev")
    assert imported(archive) == [(b"Files\\dev", 0, b"")]


@pytest.mark.parametrize("kind", [b"7", b"D", b"V", b"z"])
def test_50_other_types_are_files_and_told(kind: bytes) -> None:
    archive = member(b"Files/f", b"data", kind)
    assert content(one(archive).data) == b"data"
    assert noted(archive) == ["entry-type"]
    assert imported(archive) == [(b"Files\\f", 0, b"")]
    with pytest.raises(FormatError) as error:
        read(archive + END, notices=Notices(strict=True))
    assert error.value.kind == "entry-type"


def test_50_a_sparse_file_of_gnu_is_expanded() -> None:
    fields = {386: b"%011o\0%011o\0" % (1000, 4), 483: b"%011o\0" % 2000}
    archive = block(b"Files/s", b"S", size=4, magic=b"ustar  \0", fields=fields) + padded(b"data")
    entry = one(archive)
    assert content(entry.data) == bytes(1000) + b"data" + bytes(996)
    assert entry.path == "Files/s"


@pytest.mark.parametrize(("name", "is_directory"), [(b"Files/f", False), (b"Files/d/", True)])
def test_50_a_nul_for_a_type_is_a_file_or_with_a_slash_a_folder(name: bytes, is_directory: bool) -> None:
    entry = one(block(name, b"\0"))
    assert (entry.path, entry.is_directory) == (name.decode().rstrip("/"), is_directory)
    assert noted(block(name, b"\0")) == []


NAMES: dict[str, tuple[bytes, str]] = {
    "record": (extension((b"path", "Files/日本/ä".encode())) + block(b"Files//"), "Files/日本/ä"),
    "bytes in the header": (block("Files/ä".encode()), "Files/ä"),
    "long name of GNU": (
        member(b"././@LongLink", b"Files/" + b"n" * 200 + b"\0", b"L") + block(b"n"),
        "Files/" + "n" * 200,
    ),
    "prefix of ustar": (block(b"f", fields={345: b"Files/" + b"d" * 100}), "Files/" + "d" * 100 + "/f"),
    "dot first": (block(b"./Files/f"), "Files/f"),
    "backslashes": (block(b"Files\\d\\f"), "Files/d/f"),
    "empty components": (block(b"Files//d///f"), "Files/d/f"),
}


@pytest.mark.parametrize("case", NAMES)
def test_50_a_name_is_the_same_in_every_spelling(case: str) -> None:
    archive, path = NAMES[case]
    assert one(archive).path == path


def test_50_of_two_records_of_one_key_the_last_counts() -> None:
    body = records((b"path", b"Files/first"), (b"MSWINDOWS.fileattr", b"1"), (b"path", b"Files/last"))
    body += records((b"MSWINDOWS.fileattr", b"33"))
    archive = block(b"x", b"x", size=len(body)) + padded(body) + block(b"Files/header")
    entry: Any = one(archive)
    assert (entry.path, entry.metadata.attributes) == ("Files/last", 33)
    assert [name[:2] for name in imported(archive)] == [(b"Files\\last", 33)]


ELSEWHERE = (
    b"/Files/f",
    b"//host/share/f",
    b"\\Files\\f",
    b"C:/Files/f",
    b"C:\\Files\\f",
    b"C:f",
    b"\\\\?\\C:\\f",
    b"Files/../../f",
)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_50_a_name_that_leads_elsewhere_is_refused(name: bytes) -> None:
    for archive in (block(name), extension((b"path", name)) + block(b"x"), block(b"Files/l", b"1", link=name)):
        assert refused(archive, UnsafeEntryError).exit_code == 6


def test_50_a_name_with_a_nul_ends_the_archive() -> None:
    assert refused(extension((b"path", b"Files/a\0b")) + block(b"x")).kind == "tar-header"
    assert one(block(b"Files/a\0b")).path == "Files/a"
    assert len(block(b"Files/a\0b")) == BLOCK
