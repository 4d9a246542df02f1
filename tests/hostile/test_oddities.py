"""What is odd and not hostile: kept and reported, refused with --strict; and names that only look dangerous."""

from __future__ import annotations

import json
import os

import pytest

from tests.hostile.command import INTEGRITY
from tests.hostile.images import Layout
from tests.hostile.tars import END, file, folder, layer, link, member, whiteout
from tests.hostile.world import World

COLLISIONS = {
    "files": [file("Files/Name.txt", b"1"), file("Files/name.TXT", b"2")],
    "three-files": [file("Files/a", b"1"), file("Files/A", b"2"), file("Files/b"), file("Files/B")],
    "folders": [folder("Files/Dir"), folder("Files/DIR"), file("Files/Dir/a"), file("Files/DIR/b")],
    "folders-with-one-name": [
        folder("Files/Dir"),
        folder("Files/DIR"),
        file("Files/Dir/a", b"1"),
        file("Files/DIR/A", b"2"),
    ],
    "file-and-empty-folder": [file("Files/thing"), folder("Files/THING")],
    "beyond-ascii": [file("Files/\u00c4rger"), file("Files/\u00e4rger")],
    "file-and-link": [file("Files/thing"), link("Files/THING", "Files/good.txt")],
    "streams": [file("Files/good.txt:Stream", b"1"), file("Files/good.txt:STREAM", b"2")],
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_names_that_differ_only_in_case_are_kept_and_reported(name: str, world: World) -> None:
    data = layer(*COLLISIONS[name])
    source = world.root / "layer.tar"
    source.write_bytes(data)
    imported = world.command("import", source, world.destination, "--format", "json")
    assert imported.code == 0
    assert "case-collision" in imported.err
    assert json.loads(imported.out)["notices"]["case-collision"] >= 1
    assert world.command("verify", world.destination).code == 0

    unpacked = world.root / "unpacked"
    outcome = world.command("unpack", Layout([data]).write(world.root / "image"), unpacked, "--format", "json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["notices"]["case-collision"] >= 1
    # Read back, both are there: the tar is the same, byte for byte.
    again = world.root / "again.tar"
    assert world.command("export", world.destination, "-o", again).code == 0
    assert again.read_bytes() == data


@pytest.mark.parametrize("name", COLLISIONS)
def test_strict_refuses_names_that_differ_only_in_case(name: str, world: World) -> None:
    world.import_refused(layer(*COLLISIONS[name]), "--strict", options=["--strict"])
    world.unpack_refused(layer(*COLLISIONS[name]), "--strict", options=["--strict"])


ODD = {
    "tombstone-outside": [whiteout("Hives", "Sam")],
    "duplicate-tombstone": [whiteout("Files", "a"), whiteout("Files", "A")],
    "tombstone-of-own-entry": [file("Files/a"), whiteout("Files", "a")],
    "opaque-whiteout": [file("Files/.wh..wh..opq", b"")],
    "whiteout-without-name": [file("Files/.wh.", b"")],
    "name-not-win32": [file("Files/ends with a dot.")],
    "name-not-unicode": [file(b"Files/\xff\xfe")],
    "orphan-stream": [file("Files/elsewhere.txt:s")],
    "stream-apart": [file("Files/x"), file("Files/y"), file("Files/x:s")],
    "attributes-and-type": [member("Files/x", records={"MSWINDOWS.fileattr": "16"})],
}


@pytest.mark.parametrize("code", ODD)
def test_what_is_odd_is_kept_and_reported_or_refused_with_strict(code: str, world: World) -> None:
    data = layer(*ODD[code])
    world.import_refused(data, "--strict", options=["--strict"])
    world.unpack_refused(data, "--strict", options=["--strict"])
    outcome = world.command("import", world.root / "layer.tar", world.destination, "--format", "json")
    assert outcome.code == 0
    assert code in json.loads(outcome.out)["notices"]
    assert world.command("verify", world.destination).code == 0


OWN_NAMES = [
    "layer.db",
    "LAYER.DB",
    "layer.db-journal",
    "layer.db-wal",
    "layerchain.json",
    "layer.headers",
    "layer.streams/00000001",
    "layerId",
    ".wcl-probe",
    ".wcl-0123456789abcdef0123456789abcdef",
    ".out.wclayer-0123456789abcdef/x",
    "Files/layer.db",
    "Files/.wcl-probe",
    "tombstones.txt",
]


def test_entries_cannot_take_the_place_of_the_layers_own_files(world: World) -> None:
    big = b"s" * 100_000  # an alternate stream of its own file
    data = layer(*(file(name, b"evil") for name in OWN_NAMES), file("Files/s"), file("Files/s:big", big))
    source = world.root / "layer.tar"
    source.write_bytes(data)
    assert world.command("import", source, world.destination).code == 0
    assert world.command("verify", world.destination).code == 0
    again = world.root / "again.tar"
    assert world.command("export", world.destination, "-o", again).code == 0
    assert again.read_bytes() == data
    assert json.loads((world.destination / "layerchain.json").read_bytes()) is None
    for name in OWN_NAMES:
        outcome = world.command("cat", world.destination, name if "/" in name else f"./{name}")
        assert outcome.code in (0, 3)


@pytest.mark.parametrize("where", ["name", "target", "attributes"])
def test_names_cannot_paint_the_terminal(where: str, world: World) -> None:
    paint = "\x1b[2J\x1b]0;evil\x07\u202e\r\n"
    hostile = {
        "name": file(f"Files/{paint}/../x"),
        "target": link("Files/l", f"Files/{paint}"),
        "attributes": member("Files/x", records={"MSWINDOWS.fileattr": paint}),
    }[where]
    source = world.root / "layer.tar"
    source.write_bytes(layer(hostile))
    outcome = world.refused("import", source, world.destination)
    assert not set(outcome.err[:-1]) & set("\x1b\x07\u202e\r\n")


@pytest.mark.parametrize("name", [b"\xff\xfe/../x", b"\xed\xa0\x80/../x", b"\xed\xa0\x80" * 300])
def test_names_that_are_not_unicode_are_named_all_the_same(name: bytes, world: World) -> None:
    world.import_refused(layer(file(b"Files/" + name)), "Files/")


def test_the_path_of_a_layer_may_itself_be_odd(world: World) -> None:
    source = os.fsencode(world.root) + b"/layer-\xff\x1b.tar"
    with open(source, "wb") as opened:
        opened.write(layer()[: -len(END)] + b"damage" * 100)
    outcome = world.command("import", os.fsdecode(source), world.destination)
    assert outcome.code == INTEGRITY
    assert "\x1b" not in outcome.err
