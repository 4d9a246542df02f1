"""A writer that did something wrong, or a disk that did, is found out before anybody sees the image."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from wclayer.errors import IntegrityError
from wclayer.formats.cim.self_check import Check
from wclayer.formats.cim.staged import StagedImage
from wclayer.formats.cim.structures import FilesystemHeader
from wclayer.formats.cim.writer import CimWriter
from wclayer.model import Metadata

GUID = uuid.UUID("00112233-5544-4677-8899-aabbccddeeff")
PLAIN = Metadata()

Damage = Callable[[bytearray, bytearray], None]


def write(directory: Path, check: Check) -> None:
    with CimWriter(directory, "a.cim", guid=GUID, check=check) as writer:
        for number in range(100):
            writer.add_file(f"{number:02}", PLAIN, 3000).write(b"%03d" % number * 1000)
        writer.add_directory("z", PLAIN)
        writer.add_file("z/in", PLAIN, 1).write(b"1")


def damage_while_publishing(monkeypatch: pytest.MonkeyPatch, damage: Damage) -> None:
    """``damage`` gets the regions of metadata and of data when they are complete, and may change them."""
    before = StagedImage.write

    def write_and_damage(self: StagedImage, header: FilesystemHeader) -> None:
        before(self, header)
        if header.own.size:
            paths = [self.path.with_name(f"region_{GUID}_{number}") for number in range(2)]
            regions = [bytearray(path.read_bytes()) for path in paths]
            damage(*regions)
            for path, region in zip(paths, regions, strict=True):
                path.write_bytes(region)

    monkeypatch.setattr(StagedImage, "write", write_and_damage)


def first_record(metadata: bytearray) -> int:
    """Where the record of the root lies: behind the table of names, of which the first in the folder z is short."""
    return metadata.index(struct.pack("<Q", 1 << 48 | 4096)) - 40 - 96


def swap_names(metadata: bytearray, data: bytearray) -> None:
    first, second = metadata.index("00".encode("utf-16-le")), metadata.index("57".encode("utf-16-le"))
    metadata[first : first + 4], metadata[second : second + 4] = (
        metadata[second : second + 4],
        metadata[first : first + 4],
    )


def move_data(metadata: bytearray, data: bytearray) -> None:
    metadata[first_record(metadata) + 96 + 40] ^= 8


def lose_a_file(metadata: bytearray, data: bytearray) -> None:
    """Two names for one record, none for the other."""
    ids = metadata.index(struct.pack("<3I", 2, 3, 4))
    metadata[ids : ids + 4] = struct.pack("<I", 3)


def grow_a_file(metadata: bytearray, data: bytearray) -> None:
    struct.pack_into("<Q", metadata, first_record(metadata) + 96 + 48, 3001)


def set_an_unknown_flag(metadata: bytearray, data: bytearray) -> None:
    metadata[first_record(metadata) + 96 + 1] = 1


def cut_the_data(metadata: bytearray, data: bytearray) -> None:
    del data[-4096:]


def break_the_upcase_table(metadata: bytearray, data: bytearray) -> None:
    table = metadata.index(struct.pack("<100H", *range(97), *range(65, 68)))
    struct.pack_into("<H", metadata, table + 2 * ord("5"), ord("0"))


@pytest.mark.parametrize(
    "damage",
    [swap_names, move_data, lose_a_file, grow_a_file, set_an_unknown_flag, cut_the_data, break_the_upcase_table],
)
def test_damaged_metadata_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage) -> None:
    damage_while_publishing(monkeypatch, damage)
    with pytest.raises(IntegrityError, match="does not read back") as caught:
        write(tmp_path, "sample")
    assert caught.value.image == str(tmp_path / "a.cim")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("check", "block", "found"), [("sample", 0, True), ("sample", 9, False), ("all", 9, True)])
def test_damaged_data_is_found_as_far_as_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Check, block: int, found: bool
) -> None:
    def flip(metadata: bytearray, data: bytearray) -> None:
        data[4096 * (block + 1) + 2999] ^= 1

    damage_while_publishing(monkeypatch, flip)
    if found:
        with pytest.raises(IntegrityError, match="data read back"):
            write(tmp_path, check)
        assert list(tmp_path.iterdir()) == []
    else:
        write(tmp_path, check)
        assert (tmp_path / "a.cim").exists()


def test_no_check_publishes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage_while_publishing(monkeypatch, swap_names)
    write(tmp_path, "none")
    assert (tmp_path / "a.cim").exists()


def test_without_damage_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    damage_while_publishing(monkeypatch, lambda *regions: seen.extend(map(len, regions)))
    write(tmp_path, "all")
    assert len(seen) == 2
    assert (tmp_path / "a.cim").exists()
