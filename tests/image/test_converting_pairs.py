"""Every form of a layer into every other: whatever is different afterwards was told, by its path.

Two layers with everything that a layer can hold: one that deletes, and a base with a utility VM. Each is brought into
every form; then what that form holds is what the next one has to hold, or to tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from tests.oci.samples import new_docker_archive, old_docker_archive
from wclayer.errors import FormatError, UnsupportedError
from wclayer.formats.plain import PlainFolderWriter
from wclayer.formats.shaping import with_hard_links
from wclayer.image.converting import Converted, ConvertOptions, convert
from wclayer.image.layer_places import open_items, parse_place
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone, copy_layer
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.reparse import build_link

FOLDER, FILE = 0x10, 0x20
T = 132_223_104_000_000_000
SECURITY = bytes.fromhex("0100048014000000000000000000000000000000") + bytes.fromhex("010100000000000512000000")
LINK = build_link("C:\\Windows", mount_point=False)
JUNCTION = build_link("C:\\Users", mount_point=True)
ABBREVIATED = LINK[:-4] + b"?\0?\0"  # a link that shows another name than it leads to
OPAQUE = (0x80000018).to_bytes(4, "little") + (4).to_bytes(2, "little") + bytes(2) + b"wcif"

TARS = ("{}.tar", "{}.tar.gz", "{}.tar.zst")
FOLDERS = ("transport:{}", "base:{}", "plain:{}", "layer:{}")
TARGETS = (*TARS, *FOLDERS, "oci:{}:x")
SOURCES = (*TARGETS, "docker-archive:{}.old", "docker-archive:{}.new")


def metadata(number: int, attributes: int, **more: Any) -> Metadata:
    created = T + number * 1000
    known = Metadata(attributes, created, created + 1, created + 2, created + 3, SECURITY)
    return replace(known, **more)


def file(path: str, number: int, data: bytes | None = b"data", attributes: int = FILE, **more: Any) -> Entry:
    stream = None if data is None else Stream.from_bytes(data)
    return Entry(path, metadata(number, attributes, **more), data=stream)


def folder(path: str, number: int, **more: Any) -> Entry:
    return Entry(path, metadata(number, more.pop("attributes", FOLDER), **more), is_directory=True)


def stream(path: str, name: str, data: bytes) -> AlternateStream:
    return AlternateStream(path, name, Stream.from_bytes(data))


def common() -> list[LayerItem]:
    sparse = Stream(1 << 20, lambda _stored: iter([b"here", b"there"]), ((65536, 4), (131072, 5)))
    return [
        folder("Files", 1),
        file("Files/no stream", 2, None),
        file("Files/empty", 3, b""),
        file("Files/attributes", 4, attributes=0x80021),
        file("Files/none", 5, attributes=0),
        folder("Files/d", 6, extended_attributes=(ExtendedAttribute(b"D", b"folder"),)),
        stream("Files/d", ":of a folder:$DATA", b"stream"),
        file(
            "Files/d/attributes",
            7,
            extended_attributes=(
                ExtendedAttribute(b"A", b"value"),
                ExtendedAttribute(b"B", b""),
                ExtendedAttribute(b"C", b"needed", 0x80),
            ),
        ),
        file("Files/d/links", 8),
        stream("Files/d/links", ":one:$DATA", b"1"),
        stream("Files/d/links", ":two:$DATA", b"2" * 100_000),
        HardLink("Files/d/other name", "Files/d/links", metadata(8, FILE, security_descriptor=None)),
        HardLink("Files/d/with its own", "Files/d/links", metadata(9, 0x21, security_descriptor=None)),
        Entry("Files/d/sparse", metadata(10, FILE | 0x200), data=sparse),
        Entry("Files/d/untimed", Metadata(FILE, last_write_time=T), data=Stream.from_bytes(b"x")),
        file("Files/d/no descriptor", 11, security_descriptor=None),
        file("Files/d/empty descriptor", 12, security_descriptor=b""),
        file("Files/d/late", 13, security_descriptor=b"\1" * 20, attributes=FILE | 0x4),
        folder("Files/reparse", 14),
        file("Files/reparse/link", 15, None, FILE | 0x400, reparse=LINK),
        folder("Files/reparse/junction", 16, attributes=FOLDER | 0x400, reparse=JUNCTION),
        file("Files/reparse/abbreviated", 17, None, FILE | 0x400, reparse=ABBREVIATED),
        file("Files/d/out of order", 18),
    ]


def diff() -> list[LayerItem]:
    return [
        *common(),
        Tombstone("Files/d/gone"),
        Tombstone("Files/gone too"),
        folder("Hives", 30),
        file("Hives/System_Delta", 31, b"delta"),
        file("Hives/Sam_Delta", 32, b"delta", 0x22),
    ]


def base() -> list[LayerItem]:
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    folders = ("UtilityVM", "UtilityVM/Files", "UtilityVM/Files/EFI", "UtilityVM/Files/EFI/Microsoft", boot)
    return [
        *common(),
        *(folder(path, 40 + number) for number, path in enumerate(folders)),
        file(f"{boot}/BCD", 50, b"regf"),
    ]


LAYERS = {"diff": diff, "base": base}


def brought(items: Iterable[LayerItem], form: str, tmp_path: Path) -> str:
    """``items`` in that form; what it cannot hold is told, which is not looked at yet."""
    with PlainFolderWriter(tmp_path / "given") as writer:
        copy_layer(items, writer)
    given = f"plain:{tmp_path / 'given'}"
    place = form.format(tmp_path / "source")
    if form.startswith("docker-archive"):
        convert(given, str(tmp_path / "layer.tar"), ConvertOptions("faithful"))
        tar = (tmp_path / "layer.tar").read_bytes()
        archive = old_docker_archive([tar]) if form.endswith("old") else new_docker_archive([tar])
        Path(place.partition(":")[2]).write_bytes(archive)
    else:
        convert(given, place, ConvertOptions("faithful"))
    return place


def read(place: str) -> list[tuple[str, str, tuple[Any, ...]]]:
    """What is at a place, in its order: path, name of the stream, and all the rest."""
    with open_items(parse_place(place)) as items:
        return [_told(item) for item in with_hard_links(items)]


def _told(item: LayerItem) -> tuple[str, str, tuple[Any, ...]]:
    if isinstance(item, Tombstone):
        return item.path, "", ("deleted",)
    if isinstance(item, AlternateStream):
        return item.path, item.name, ("stream", item.data.ranges, item.data.read(1 << 21))
    if isinstance(item, HardLink):
        said = item.metadata
        return item.path, "", ("link", item.target, said.attributes, *astuple(said)[1:5])
    data = None if item.data is None else (item.data.ranges, item.data.read(1 << 21))
    return item.path, "", ("entry", item.is_directory, astuple(item.metadata), data)


def unlike(before: list[Any], after: list[Any]) -> set[str]:
    """The paths that are not the same before and after; of links, those whose file is another one as well."""
    first, second = ({(path, name): what for path, name, what in found} for found in (before, after))
    return {key[0] for key in first.keys() | second.keys() if first.get(key) != second.get(key)}


def _order(these: list[Any], others: list[Any]) -> list[str]:
    """The paths that both have, in the order of the first."""
    common_paths = {path for path, name, _ in others if not name}
    return [path for path, name, _ in these if not name and path in common_paths]


def is_refused(before: list[Any], form: str) -> bool:
    """Whether the form cannot hold the layer at all: a base layer has no deletions."""
    return form.startswith("base") and any(what == ("deleted",) for _, _, what in before)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_different_afterwards_was_told(layer: str, source: str, target: str, tmp_path: Path) -> None:
    items = LAYERS[layer]()
    if is_refused([_told(item) for item in items], source):
        items = [item for item in items if not isinstance(item, Tombstone)]
    given = brought(items, source, tmp_path)
    before = read(given)
    made = target.format(tmp_path / "target")
    if is_refused(before, target):
        with pytest.raises(UnsupportedError, match="tombstones"):
            convert(given, made)
        assert not (tmp_path / "target").exists()
        return
    done = convert(given, made)
    after = read(made)
    told = {notice.path.replace("\\", "/") for notice in done.listed}
    assert unlike(before, after) - told == set()
    assert len(done.listed) == sum(done.notices.values())
    if _order(before, after) != _order(after, before):
        assert "order-lost" in done.notices
    _assert_not_told_in_vain(before, after, done)


def _assert_not_told_in_vain(before: list[Any], after: list[Any], done: Converted) -> None:
    """What is told is true: the path is different, or was, or its place is."""
    different = unlike(before, after)
    for notice in done.listed:
        path = notice.path.replace("\\", "/")
        assert path in different or notice.code in ("order-lost", "folder-implied"), notice


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_reparse_point_of_a_filter_gets_somewhere_or_is_refused(source: str, target: str, tmp_path: Path) -> None:
    items: list[LayerItem] = [folder("Files", 1), file("Files/a", 2, None, FILE | 0x400, reparse=OPAQUE)]
    if not source.startswith(("transport", "base", "plain", "layer")):
        with pytest.raises(FormatError, match="unsupported reparse point"):
            brought(items, source, tmp_path)
        return
    given = brought(items, source, tmp_path)
    made = target.format(tmp_path / "target")
    if target.startswith(("transport", "base", "plain", "layer")):
        convert(given, made)
        assert read(made) == read(given)
        return
    with pytest.raises(FormatError, match="unsupported reparse point"):
        convert(given, made)
    assert not (tmp_path / "target.tar").exists()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("form", ["plain:{}", "layer:{}"])
def test_a_form_that_holds_everything_tells_nothing(layer: str, form: str, tmp_path: Path) -> None:
    given = brought(LAYERS[layer](), "plain:{}", tmp_path)
    done = convert(given, form.format(tmp_path / "target"))
    assert done.notices == {}
    assert read(given) == read(form.format(tmp_path / "target"))
    assert read(given) == [_told(item) for item in LAYERS[layer]()]
