"""The tar that a layer came from is written again byte for byte, or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.formats.folder.layers import alternate, file, sparse
from wclayer.errors import DigestMismatchError, FormatError, IntegrityError, NotFoundError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, write_original
from wclayer.model import AlternateStream, LayerItem, Stream

LARGE = os.urandom(3 << 20)


def imported(path: Path, *, digest: str | None = None) -> bytes:
    """Write a layer with a header record, as the reader of a tar would; returns the tar."""
    items: list[tuple[LayerItem, list[tuple[int, int]]]] = [
        (file("Files/a", b"content of a"), [(0, 12)]),
        (alternate("Files/a", ":small:$DATA", b"stream"), [(0, 6)]),
        (alternate("Files/a", ":large:$DATA", LARGE), [(0, len(LARGE))]),
        (file("Files/large", LARGE), [(0, 1 << 20), (1 << 20, 2 << 20)]),
        (file("Files/empty"), [(0, 0)]),
        (sparse("Files/sparse", 1 << 16, (4096, b"AB"), (8192, b"CD")), [(4096, 2), (8192, 2)]),
        (
            AlternateStream("Files/sparse", ":s:$DATA", Stream(100, lambda _n: iter((b"XYZ",)), ((50, 3),))),
            [(0, 100), (50, 3), (51, 1), (60, 5)],
        ),
        (file("layer.db", b"not ours"), [(0, 8)]),
    ]
    logical = [b"content of a", b"stream", LARGE, LARGE, b"", None, bytes(50) + b"XYZ" + bytes(47), b"not ours"]
    holed = bytearray(1 << 16)
    holed[4096:4098], holed[8192:8194] = b"AB", b"CD"
    logical[5] = bytes(holed)
    tar = bytearray(b"prelude")
    with LayerFolderWriter(path) as writer:
        record = writer.header_record()
        assert writer.header_record() is record
        record.segment(b"prelude")
        for ordinal, (item, bodies) in enumerate(items):
            item.ordinal = ordinal * 2
            writer.write(item)
            header = f"header {ordinal}".encode() * 50
            record.segment(header)
            tar += header
            for offset, length in bodies:
                record.body(ordinal * 2, offset, length)
                content = logical[ordinal]
                assert content is not None
                tar += content[offset : offset + length]
            record.segment(b"padding")
            tar += b"padding"
        record.segment(bytes(1024))
        tar += bytes(1024)
        writer.set_facts(diff_id=digest or f"sha256:{hashlib.sha256(tar).hexdigest()}")
    return bytes(tar)


def original(path: Path, *, check: bool = True) -> bytes:
    parts: list[bytes] = []
    with LayerFolder(path) as opened:
        write_original(opened, lambda piece: parts.append(bytes(piece)), check=check)
    return b"".join(parts)


def test_the_tar_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    tar = imported(tmp_path / "layer")
    assert original(tmp_path / "layer") == tar


def test_a_tar_of_another_digest_is_refused_at_the_end(tmp_path: Path) -> None:
    tar = imported(tmp_path / "layer", digest="sha256:" + "0" * 64)
    with pytest.raises(DigestMismatchError):
        original(tmp_path / "layer")
    assert original(tmp_path / "layer", check=False) == tar


def test_a_layer_that_came_from_elsewhere_has_no_original(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "layer"):
        pass
    with pytest.raises(NotFoundError):
        original(tmp_path / "layer")


NAMES = ["Files/a", "Files/large", "Files/empty", "Files/sparse", "layer.streams/00000004"]
DAMAGES = ["missing", "shorter", "longer", "symlink", "folder"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in NAMES for damage in DAMAGES if (name, damage) != ("Files/empty", "shorter")],
)
def test_a_file_that_is_not_what_it_was_is_named(tmp_path: Path, name: str, damage: str) -> None:
    imported(tmp_path / "layer")
    path = tmp_path / "layer" / name
    path.parent.chmod(0o755)
    content = path.read_bytes()
    path.unlink()
    if damage == "shorter":
        path.write_bytes(content[:-1])
    elif damage == "longer":
        path.write_bytes(content + b"x")
    elif damage == "symlink":
        (tmp_path / "same").write_bytes(content)
        path.symlink_to(tmp_path / "same")
    elif damage == "folder":
        path.mkdir()
    with pytest.raises(IntegrityError) as caught:
        original(tmp_path / "layer")
    assert caught.value.path == name


def test_content_that_changed_is_found_by_the_digest(tmp_path: Path) -> None:
    imported(tmp_path / "layer")
    path = tmp_path / "layer/Files/a"
    path.chmod(0o644)
    path.write_bytes(b"CONTENT OF A")
    with pytest.raises(DigestMismatchError):
        original(tmp_path / "layer")


@pytest.mark.parametrize(
    "body", [(1, 0, 1), (2, 0, 1), (0, 0, 2), (0, 1, 1), (0, 2**64 - 1, 2), (2**64 - 1, 0, 0)], ids=str
)
def test_a_record_that_asks_for_what_is_not_there_is_refused(tmp_path: Path, body: tuple[int, int, int]) -> None:
    entry = file("a", b"1")
    entry.ordinal = 0
    with LayerFolderWriter(tmp_path / "layer") as writer:
        writer.write(entry)
        writer.header_record().body(*body)
    with pytest.raises(IntegrityError):
        original(tmp_path / "layer")


def test_a_record_that_goes_back_is_refused(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "layer") as writer:
        for ordinal in (0, 1):
            entry = file(str(ordinal), b"1")
            entry.ordinal = ordinal
            writer.write(entry)
            writer.header_record().body(1 - ordinal, 0, 1)
    with pytest.raises(FormatError):
        original(tmp_path / "layer")
