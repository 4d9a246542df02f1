"""Images in one file or on a device: what is around them is read, everything else refused with what does it instead."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.formats.cim.test_layer_reader import BASE, file, folder, image
from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.formats.cim.block import (
    FOOTER_SIZE,
    BlockAction,
    BlockImage,
    VhdFooter,
    merge_block_images,
    refuse_block,
)
from wclayer.formats.cim.block_import import BlockLayerImport
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.cim.std_files import StdFiles
from wclayer.model import HardLink, LayerItem, Metadata, Notices, Stream, Tombstone

ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
CONTENT = bytes(range(256)) * 16
HASH = "ab" * 32


def container(tmp_path: Path, *, footer: bytes = b"", name: str = "blob.bcim") -> Path:
    path = tmp_path / name
    path.write_bytes(CONTENT + footer)
    return path


def test_a_container_without_anything_around_it(tmp_path: Path) -> None:
    path = container(tmp_path)
    assert BlockImage.inspect(path) == BlockImage(path, len(CONTENT), None, None)


def test_the_footer_of_a_virtual_disk(tmp_path: Path) -> None:
    footer = VhdFooter(len(CONTENT), ID).pack()
    assert len(footer) == FOOTER_SIZE
    # Field by field, at the places that the format of virtual hard disks gives them.
    assert footer[:16] == b"conectix" + bytes.fromhex("00000002 00010000")
    assert struct.unpack_from(">q", footer, 16) == (-1,)
    assert struct.unpack_from(">qq", footer, 40) == (len(CONTENT), len(CONTENT))
    assert struct.unpack_from(">II", footer, 56) == (0, 2)
    assert struct.unpack_from(">I", footer, 64)[0] == ~(sum(footer) - sum(footer[64:68])) & 0xFFFFFFFF
    assert footer[68:84] == ID.bytes
    path = container(tmp_path, footer=footer)
    assert BlockImage.inspect(path) == BlockImage(path, len(CONTENT), VhdFooter(len(CONTENT), ID), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda footer: footer[:63] + b"\3" + footer[64:], "checksum"),
        (lambda footer: footer[:64] + bytes(4) + footer[68:], "checksum"),
        (lambda _footer: VhdFooter(5, ID).pack(), "a disk of 5 bytes, and there are 4096"),
        (
            lambda footer: (
                footer[:63] + b"\3" + struct.pack(">I", struct.unpack_from(">I", footer, 64)[0] - 1) + footer[68:]
            ),
            "type 3",
        ),
    ],
)
def test_a_damaged_footer(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = container(tmp_path, footer=change(VhdFooter(len(CONTENT), ID).pack()))
    with pytest.raises(FormatError, match=message) as caught:
        BlockImage.inspect(path)
    assert caught.value.image == str(path)


@pytest.mark.parametrize("name", ["integrity_checksum", "merged_integrity_checksum"])
def test_the_root_hash_of_a_verified_image(tmp_path: Path, name: str) -> None:
    path = container(tmp_path)
    (tmp_path / name).write_text(HASH)
    assert BlockImage.inspect(path).root_hash == bytes.fromhex(HASH)


@pytest.mark.parametrize("text", ["", HASH[1:], HASH + "\n", HASH.upper(), "g" * 64])
def test_what_is_no_root_hash(tmp_path: Path, text: str) -> None:
    path = container(tmp_path)
    (tmp_path / "integrity_checksum").write_text(text)
    with pytest.raises(FormatError, match="instead of a root hash"):
        BlockImage.inspect(path)


def test_an_image_of_files_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an image of files"):
        BlockImage.inspect(image(tmp_path / "a.cim", BASE))
    with pytest.raises(NotFoundError):
        BlockImage.inspect(tmp_path / "none")


@pytest.mark.parametrize("action", get_args(BlockAction))
def test_a_refusal_names_what_does_it_on_windows(action: BlockAction) -> None:
    error = refuse_block(action, Path("blob.bcim"))
    assert isinstance(error, UnsupportedError)
    assert error.exit_code == 7
    assert "on Windows" in str(error)
    assert "blob.bcim" in str(error)


def test_merging_is_refused_after_what_hcsshim_checks(tmp_path: Path) -> None:
    target = tmp_path / "merged.bcim"
    with pytest.raises(UsageError, match="need at least 2 source CIMs, got 1"):
        merge_block_images([tmp_path / "1"], target)
    with pytest.raises(UnsupportedError, match="not been published"):
        merge_block_images([tmp_path / "1", tmp_path / "2"], target)
    target.touch()
    with pytest.raises(UsageError, match="exists"):
        merge_block_images([tmp_path / "1", tmp_path / "2"], target)


class Recorder:
    """An image that only notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def add_directory(self, path: str, _metadata: Metadata) -> None:
        self.asked.append(f"{path}/")

    def add_file(self, path: str, _metadata: Metadata, _size: int, *, sparse: bool = False) -> Recorder:
        assert not sparse
        self.asked.append(path)
        return self

    def add_stream(self, path: str, stream_name: str, _size: int, *, sparse: bool = False) -> Recorder:
        assert not sparse
        self.asked.append(path + stream_name)
        return self

    def add_link(self, path: str, target: str) -> None:
        self.asked.append(f"{path} -> {target}")

    def add_merge_link(self, path: str, target: str) -> None:
        self.asked.append(f"{path} => {target}")

    def add_tombstone(self, path: str) -> None:
        self.asked.append(f"- {path}")

    def remove(self, path: str) -> None:
        raise AssertionError(path)

    def contains(self, _path: str) -> bool:
        return True

    def copy(self, stream: Stream) -> None:
        for _ in stream.pieces():
            pass

    def close(self) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


def asked(tmp_path: Path, *items: LayerItem, **options: Any) -> list[str]:
    target, files = Recorder(), StdFiles(tmp_path / "layer")
    parents = [CimLayer(tmp_path / "none.cim", tmp_path / "none")]
    layer = BlockLayerImport(target, files, parents, lambda *_arguments: None, Notices())
    try:
        for item in items:
            layer.write(item)
        layer.finish(process=False, **options)
    finally:
        files.discard()
    return target.asked


def test_links_wait_and_go_to_the_layer_below_when_their_target_is_not_in_this_one(tmp_path: Path) -> None:
    assert asked(
        tmp_path,
        HardLink("l1", "later"),
        HardLink("l2", "below"),
        HardLink("l3", "l1"),
        HardLink("l4", "l2"),
        HardLink("l5", "LATER"),
        folder("d"),
        file("later"),
    ) == ["d/", "later", "l1 -> later", "l2 => below", "l3 -> l1", "l4 => l2", "l5 => LATER"]


def test_deletions_are_tombstones_and_come_where_they_stand(tmp_path: Path) -> None:
    assert asked(tmp_path, file("a"), Tombstone("gone"), file("b")) == ["a", "- gone", "b"]


def test_a_standard_file_may_be_a_link_in_a_block_image(tmp_path: Path) -> None:
    config = "Files/Windows/System32/config"
    assert asked(
        tmp_path, HardLink(f"{config}/SAM", "x"), file(f"{config}/SYSTEM"), HardLink("y", f"{config}/SYSTEM")
    ) == [
        f"{config}/SAM => x",
        f"{config}/SYSTEM",
        f"y -> {config}/SYSTEM",
    ]
