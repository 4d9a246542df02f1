"""Deletions in a tar, name by name: what they mean here, what hcsshim makes of them, and the block that says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.formats.tar.archives import BLOCK
from tests.formats.tar.building import END, block, extension, member, noted, one, read, refused
from wclayer.errors import FormatError, UnsafeEntryError
from wclayer.formats.tar import Members, SlabStream, TarLayerWriter
from wclayer.formats.tar.backuptar import RemoveOperation, import_operations
from wclayer.model import Notices, Tombstone

# The name in the tar; what is deleted here ("" nothing, None refused); what hcsshim hands to its writer.
NAMES: dict[str, tuple[bytes, str | None, bytes]] = {
    "normal": (b"Files/a/.wh.x", "Files/a/x", b"Files\\a\\x"),
    "of a name with a dot": (b"Files/a/.wh..x", "Files/a/.x", b"Files\\a\\.x"),
    "in the utility VM": (b"UtilityVM/Files/.wh.x", "UtilityVM/Files/x", b"UtilityVM\\Files\\x"),
    "without a name": (b"Files/a/.wh.", "", b"Files\\a"),
    "of the folder": (b"Files/a/.wh..", None, b"Files\\a"),
    "of the folder above": (b"Files/a/.wh...", None, b"Files"),
    "opaque": (b"Files/a/.wh..wh..opq", "Files/a/.wh..opq", b"Files\\a\\.wh..opq"),
    "with a slash": (b"Files/a/.wh.b/", "Files/a/b", b"Files\\a\\.wh.b\\b"),
    "in the root": (b".wh.x", "x", b"x"),
    "in the root, without a name": (b".wh.", "", b"."),
}


def operations(archive: bytes) -> list[Any]:
    return list(import_operations(Members(SlabStream([archive + END]))))


@pytest.mark.parametrize("case", NAMES)
def test_43_every_form_of_a_name_has_its_meaning(case: str) -> None:
    name, here, there = NAMES[case]
    archive = member(name)
    if here is None:
        refused(archive, UnsafeEntryError)
    else:
        assert read(archive + END) == ([Tombstone(here, 0)] if here else [])
    assert operations(archive) == [RemoveOperation(there)]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"Files/.wh.", "whiteout-without-name"),
        (b"Files/a/.wh..wh..opq", "opaque-whiteout"),
        (b"Hives/.wh.x", "tombstone-outside"),
        (b"UtilityVM/.wh.x", "tombstone-outside"),
        (b".wh.Files", "tombstone-outside"),
    ],
)
def test_43_what_is_odd_is_told_and_strictly_refused(name: bytes, code: str) -> None:
    assert noted(member(name)) == [code]
    with pytest.raises(FormatError) as error:
        read(member(name) + END, notices=Notices(strict=True))
    assert error.value.kind == code


@pytest.mark.parametrize("kind", [b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"g", b"z"])
def test_43_the_type_does_not_matter(kind: bytes) -> None:
    fields = {386: b"%011o\0%011o\0" % (0, 0), 483: b"%011o\0" % 0}
    sparse = block(b"Files/.wh.x", kind, magic=b"ustar  \0", fields=fields) if kind == b"S" else b""
    archive = sparse or block(b"Files/.wh.x", kind, link=b"Files/y")
    assert one(archive) == Tombstone("Files/x", 0)
    assert operations(archive) == [RemoveOperation(b"Files\\x")]


def test_43_a_body_and_records_are_passed_over() -> None:
    archive = (
        extension((b"MSWINDOWS.fileattr", b"no number"), (b"MSWINDOWS.rawsd", b"no base64"))
        + member(b"Files/.wh.x", b"body" * 300)
        + member(b"Files/y", b"data")
    )
    assert [item.path for item in read(archive + END)] == ["Files/x", "Files/y"]
    assert [type(operation).__name__ for operation in operations(archive)] == ["RemoveOperation", "AddOperation"]


def test_43_a_deletion_is_written_as_one_bare_block() -> None:
    out = bytearray()
    with TarLayerWriter(out.extend) as writer:
        writer.write(Tombstone("Files/a/gone.txt"))
    header = (
        b"Files/a/.wh.gone.txt".ljust(100, b"\0")
        + b"0000000\0" * 3  # mode, owner, group
        + b"00000000000\0" * 2  # size, time
        + b"012346\0 "  # checksum
        + b"0"
        + bytes(100)
        + b"ustar\x0000"
        + bytes(64)
        + b"0000000\0" * 2  # device
        + bytes(155 + 12)
    )
    assert len(header) == BLOCK
    assert bytes(out[:148] + out[156:]) == header[:148] + header[156:] + bytes(2 * BLOCK)
    assert int(out[148:154], 8) == sum(header[:148]) + 8 * 32 + sum(header[156:])
    assert read(bytes(out)) == [Tombstone("Files/a/gone.txt", 0)]
