"""Layers that end too early: refused wherever that can be known, and never silent where it cannot.

A raw tar that is cut between two members looks like a tar whose writer left out the end mark, which some writers do.
That is kept and reported; whoever knows the DiffID, or says ``--strict``, is safe from it.
"""

from __future__ import annotations

import json

import pytest

from tests.hostile.images import Layout, packed, sha256
from tests.hostile.tars import BLOCK, END, archive, file, folder, record
from tests.hostile.world import World
from wclayer.oci.engines import zstd

MEMBERS = [
    folder("Files"),
    file("Files/a.txt", b"a" * 700),
    file("Files/b.txt", b"b" * 1024, MSWINDOWS_fileattr="32"),
    file("Files/empty.txt", b""),
]
LAYER = archive(*MEMBERS)
CONTENT = len(LAYER) - len(END)

# The end of each member, where nothing tells that another one was meant to follow; the last one also without padding.
BETWEEN = {len(b"".join(MEMBERS[:count])) for count in range(1, len(MEMBERS) + 1)}
# Data is complete and its padding is not: the next header is missing all the same.
IN_PADDING = set(range(2 * BLOCK + 700, 2 * BLOCK + 1024))
# An extended header, its records complete, and then nothing.
AFTER_RECORDS = set(range(3 * BLOCK + 1024 + len(record("MSWINDOWS.fileattr", "32")), 4 * BLOCK + 1024 + 1))
WITHOUT_END_MARK = BETWEEN | IN_PADDING | AFTER_RECORDS
# One zero block is an end mark as well, and what comes later says nothing.
WITH_END_MARK = {CONTENT + BLOCK, len(LAYER)}

BOUNDARIES = set(range(BLOCK, len(LAYER) + 1, BLOCK))
ODD = {
    1,
    2,
    100,
    511,
    513,
    700,
    1023,
    1025,
    1700,
    1723,
    1724,
    2047,
    2049,
    2100,
    3071,
    3073,
    4095,
    CONTENT + 1,
    CONTENT + 600,
}
CUTS = sorted(BOUNDARIES | ODD)


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_tar_is_refused_or_reported(cut: int, world: World) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(LAYER[:cut])
    if cut in WITH_END_MARK:
        outcome = world.command("import", source, world.destination)
        assert (outcome.code, outcome.err) == (0, "")
    elif cut in WITHOUT_END_MARK:
        world.refused("import", "--strict", source, world.destination, mentions=["end mark"])
        outcome = world.command("import", source, world.destination, "--format", "json")
        assert outcome.code == 0
        assert "no-end-mark" in outcome.err
        assert json.loads(outcome.out)["notices"]["no-end-mark"] == 1
    else:
        world.refused("import", source, world.destination)


@pytest.mark.parametrize("cut", CUTS[:-1])
def test_a_cut_tar_is_refused_by_its_diff_id(cut: int, world: World) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(LAYER[:cut])
    world.refused("import", source, world.destination, "--diff-id", sha256(LAYER))


@pytest.mark.parametrize("cut", CUTS[:-1])
def test_an_image_with_a_cut_tar_is_refused(cut: int, world: World) -> None:
    image = Layout([LAYER], blobs=[packed(LAYER[:cut])])
    world.refused("unpack", image.write(world.root / "image"), world.destination)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_layer_that_is_cut_anywhere_is_refused(compression: str, world: World) -> None:
    blob = (
        packed(LAYER)
        if compression == "gzip"
        else zstd.compress(LAYER, options={zstd.CompressionParameter.checksum_flag: 1})
    )
    source = world.root / "layer.tar"
    for cut in [*range(5, 40, 3), *range(40, len(blob) - 12, 23), *range(len(blob) - 12, len(blob))]:
        source.write_bytes(blob[:cut])
        world.refused("import", source, world.destination)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_blob_that_is_shorter_than_its_descriptor_says_is_refused(compression: str, world: World) -> None:
    blob = packed(LAYER) if compression == "gzip" else zstd.compress(LAYER)
    for missing in (1, 8, 9, len(blob) // 2, len(blob)):
        image = Layout([LAYER], blobs=[blob])
        path = next(name for name, data in image.files.items() if data == blob)
        image.files[path] = blob[: len(blob) - missing]
        world.refused("unpack", image.write(world.root / "image"), world.destination)


def test_a_layer_on_standard_input_that_is_cut_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(packed(LAYER)[:-9])
    with source.open() as text:
        monkeypatch.setattr("sys.stdin", text)
        world.refused("import", "-", world.destination)


def test_a_header_that_belongs_to_nothing_is_reported(world: World) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(LAYER[: 2 * BLOCK + 1024 + 2 * BLOCK] + END)
    world.refused("import", "--strict", source, world.destination, mentions=["header"])
    outcome = world.command("import", source, world.destination)
    assert outcome.code == 0
    assert "header-without-entry" in outcome.err
