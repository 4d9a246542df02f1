"""The layer in a fork is what differs from its parent: entries, links, deletions, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.cim import images
from tests.formats.cim.layers import facts_of
from wclayer.errors import NotFoundError, UnsafeEntryError, WclayerError
from wclayer.formats.cim.item_writer import CimItemWriter
from wclayer.formats.cim.layer_reader import CimLayerReader, parent_of
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.names import fold
from wclayer.ntfs.reparse import build_link


def folder(path: str, time: int = 9) -> Entry:
    return Entry(path, Metadata(0x10, time, time, time, time), is_directory=True)


def file(path: str, data: bytes = b"data", time: int = 9, **metadata: Any) -> Entry:
    return Entry(path, Metadata(0x20, time, time, time, time, **metadata), data=Stream.from_bytes(data))


def stream(path: str, name: str, data: bytes = b"stream") -> AlternateStream:
    return AlternateStream(path, f":{name}:$DATA", Stream.from_bytes(data))


def image(place: Path, items: Iterable[LayerItem], parent: Path | None = None) -> Path:
    with CimItemWriter(place, parent=parent.name if parent else None) as writer:
        for item in items:
            writer.write(item)
    return place


def shown(cim: Path, **options: Any) -> list[str]:
    """The items of a layer, each in a line."""
    lines = []
    for item in CimLayerReader(cim, **options):
        if isinstance(item, Tombstone):
            lines.append(f"- {item.path}")
        elif isinstance(item, HardLink):
            lines.append(f"{item.path} -> {item.target}")
        elif isinstance(item, AlternateStream):
            lines.append(f"{item.path}{item.name}")
        else:
            lines.append(item.path)
    return lines


BASE: list[LayerItem] = [
    folder("a"),
    file("a/one"),
    file("a/two"),
    stream("a/two", "s"),
    folder("b"),
    folder("b/c"),
    file("b/c/deep"),
    file("l1", b"linked"),
    HardLink("l2", "l1"),
    HardLink("b/l3", "l1"),
    file("z"),
]


def fork(tmp_path: Path, *items: LayerItem) -> Path:
    base = image(tmp_path / "base.cim", BASE)
    return image(tmp_path / "fork.cim", items, base)


def test_a_base_comes_in_the_order_of_its_folders_with_streams_and_links(tmp_path: Path) -> None:
    assert shown(image(tmp_path / "base.cim", BASE)) == [
        "a",
        "a/one",
        "a/two",
        "a/two:s:$DATA",
        "b",
        "b/c",
        "b/c/deep",
        "b/l3",
        "l1 -> b/l3",
        "l2 -> b/l3",
        "z",
    ]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([file("a/one", b"other")], ["a/one"]),
        ([file("a/one", time=10)], ["a/one"]),
        ([file("a/one", security_descriptor=b"\1\0\4\x80" + bytes(15) + b"\1")], ["a/one"]),
        ([file("a/three")], ["a/three"]),
        ([file("a/two"), stream("a/two", "s")], ["a/two", "a/two:s:$DATA"]),
        ([file("a/two")], ["a/two"]),
        ([stream("a/one", "new")], ["a/one", "a/one:new:$DATA"]),
        ([folder("a")], []),
        ([folder("a", time=10)], ["a"]),
        ([Tombstone("a/one")], ["- a/one"]),
        ([Tombstone("a")], ["- a"]),
        ([Tombstone("A/ONE"), Tombstone("b/c")], ["- a/one", "- b/c"]),
        ([Tombstone("b"), folder("b"), folder("b/c")], ["- b/l3", "- b/c/deep"]),
        ([Tombstone("b"), file("b")], ["b"]),
        ([folder("z"), file("z/now")], ["z", "z/now"]),
        ([Tombstone("z"), file("z", b"anew")], ["z"]),
        ([Tombstone("z"), file("Z", b"data")], ["Z"]),
    ],
)
def test_only_what_differs_is_the_layer(tmp_path: Path, items: list[LayerItem], expected: list[str]) -> None:
    assert shown(fork(tmp_path, *items)) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([HardLink("l4", "l1")], ["l4 -> b/l3"]),
        ([HardLink("new", "a/one")], ["new -> a/one"]),
        ([HardLink("new", "a/one"), Tombstone("a/one")], ["- a/one", "new"]),
        ([Tombstone("b/l3")], ["- b/l3"]),
        ([Tombstone("b/l3"), HardLink("l4", "l2")], ["- b/l3", "l4 -> l1"]),
        ([file("l1", b"apart")], ["l1"]),
        ([file("l1", b"linked")], ["l1"]),
        ([file("l1", b"x"), HardLink("l2", "l1")], ["l1", "l2 -> l1"]),
        ([file("l1", b"x"), HardLink("l2", "l1"), HardLink("b/l3", "l1")], ["b/l3", "l1 -> b/l3", "l2 -> b/l3"]),
        ([HardLink("z", "a/one")], ["z -> a/one"]),
        ([HardLink("l2", "a/one")], ["l2 -> a/one"]),
        ([HardLink("a/one", "l2")], ["a/one -> b/l3"]),
        ([file("n1"), HardLink("n2", "n1")], ["n1", "n2 -> n1"]),
    ],
)
def test_links_are_those_that_the_layer_made(tmp_path: Path, items: list[LayerItem], expected: list[str]) -> None:
    assert shown(fork(tmp_path, *items)) == expected


def test_a_rewritten_file_that_was_linked_and_is_the_same_again_is_the_layers(tmp_path: Path) -> None:
    """Its names were parted, which would be lost if equal content were no change."""
    cim = fork(tmp_path, file("l2", b"linked"))
    assert shown(cim) == ["l2"]
    assert facts_of(CimLayerReader(cim, whole=True))["l1"]["names"] == ["B/L3", "L1"]


def test_a_fork_read_whole_is_all_that_it_inherited(tmp_path: Path) -> None:
    cim = fork(tmp_path, file("a/one", b"other"), Tombstone("b"))
    assert shown(cim, whole=True) == ["a", "a/one", "a/two", "a/two:s:$DATA", "l1", "l2 -> l1", "z"]


def test_a_fork_of_a_fork_is_compared_with_the_nearest(tmp_path: Path) -> None:
    middle = fork(tmp_path, file("a/one", b"other"), Tombstone("b"))
    top = image(tmp_path / "top.cim", [file("a/one", b"more"), file("b")], middle)
    assert parent_of(top) == middle
    assert shown(top) == ["a/one", "b"]
    assert shown(top, parent=tmp_path / "base.cim") == ["a/one", "b"]
    again = image(tmp_path / "again.cim", [file("new")], top)
    assert shown(again, parent=tmp_path / "base.cim") == ["a/one", "b", "new"]


def test_a_fork_without_its_parent_cannot_be_told_from_it(tmp_path: Path) -> None:
    cim = fork(tmp_path, file("new"))
    (tmp_path / "base.cim").unlink()
    with pytest.raises(NotFoundError, match="no image beside it is its parent"):
        CimLayerReader(cim)
    assert "new" in shown(cim, whole=True)


def test_images_without_common_regions_are_compared_by_content(tmp_path: Path) -> None:
    one = image(tmp_path / "one.cim", BASE)
    link = build_link("C:\\x", mount_point=False)
    more = file("more", b"m" * 3_000_000)
    two = image(tmp_path / "two.cim", [*BASE[:1], file("a/one", b"DATA"), *BASE[2:], more])
    assert shown(two, parent=one) == ["a/one", "more"]
    changed = Entry("more", Metadata(0x420, 9, 9, 9, 9, reparse=link))
    three = image(tmp_path / "three.cim", [*BASE, changed])
    assert shown(three, parent=two) == ["a/one", "more"]
    four = image(tmp_path / "four.cim", [*BASE[:2], file("a/two"), stream("a/two", "s", b"STREAM"), *BASE[4:]])
    assert shown(four, parent=one) == ["a/two", "a/two:s:$DATA"]
    assert shown(one, parent=one) == []


def test_a_layer_can_be_read_again_and_data_until_the_next_item(tmp_path: Path) -> None:
    reader = CimLayerReader(fork(tmp_path, file("new", b"0123" * 500_000)))
    for _ in range(2):
        contents = [
            b"".join(map(bytes, item.data.pieces())) for item in reader if isinstance(item, Entry) and item.data
        ]
        assert contents == [b"0123" * 500_000]


def test_sparse_files_and_placeholders_say_what_they_are(tmp_path: Path) -> None:
    hole = Entry("hole", Metadata(0x220, 9, 9, 9, 9), data=Stream(1 << 33, lambda _stored: iter(()), ()))
    link = build_link("C:\\x", mount_point=False)
    placeholder = Entry("placeholder", Metadata(0x420, 9, 9, 9, 9, reparse=link), reported_size=77)
    found = {
        item.path: item
        for item in CimLayerReader(image(tmp_path / "a.cim", [hole, placeholder]))
        if isinstance(item, Entry)
    }
    data = found["hole"].data
    assert data is not None
    assert (data.size, data.ranges, data.stored) == (1 << 33, (), 0)
    assert (found["placeholder"].data, found["placeholder"].reported_size) == (None, 77)
    assert found["placeholder"].metadata.reparse == link


def test_a_time_before_1601_and_one_that_is_not_said(tmp_path: Path) -> None:
    entry = Entry("a", Metadata(0x20, -5, None, 7, (1 << 63) - 1), data=Stream.from_bytes(b"x"))
    (found,) = CimLayerReader(image(tmp_path / "a.cim", [entry]))
    assert isinstance(found, Entry)
    times = found.metadata
    assert (times.creation_time, times.last_access_time) == (-5, None)
    assert (times.last_write_time, times.change_time) == (7, (1 << 63) - 1)


def test_folders_that_nobody_mentioned_do_not_come_back(tmp_path: Path) -> None:
    cim = image(tmp_path / "a.cim", [file("x/y/z")])
    assert shown(cim) == ["x/y/z"]
    assert shown(cim, processed=True) == ["x", "x/y", "x/y/z"]
    empty = image(tmp_path / "b.cim", [Entry("e", Metadata(0x10), is_directory=True)])
    assert shown(empty) == ["e"]


NAMES = st.sampled_from(["a", "B", "é", "Ω", "\ue000", "\U0001f600", "x.txt"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def layers(draw: st.DrawFn) -> list[list[LayerItem]]:
    """A base and two layers on it; each item is one that the layers below allow."""
    result: list[list[LayerItem]] = []
    present: dict[str, bool] = {}
    for number in range(3):
        items: list[LayerItem] = []
        added: set[str] = set()
        for step in range(draw(st.integers(0, 12))):
            path = draw(PATHS)
            action = draw(st.sampled_from(["file", "folder", "link", "delete", "stream"]))
            above = [path[:at] for at in range(len(path)) if path[at] == "/"]
            if any(present.get(one) is not True for one in above):
                continue
            time = number * 100 + step + 1
            if action == "delete" and number and path in present and path not in added:
                gone = {one for one in present if one == path or one.startswith(f"{path}/")}
                if gone & added:
                    continue
                items.append(Tombstone(path))
                for one in gone:
                    del present[one]
            elif action == "stream" and path in added:
                items.append(stream(path, f"s{step}"))
            elif path in added or (present.get(path) and action != "folder"):
                continue
            elif action == "file":
                items.append(file(path, b"%d" % draw(st.integers(0, 3)), time))
                present[path] = False
                added.add(path)
            elif action == "folder":
                items.append(folder(path, time))
                present[path] = True
                added.add(path)
            elif action == "link":
                files = sorted(one for one, is_folder in present.items() if not is_folder and one != path)
                if files:
                    items.append(HardLink(path, draw(st.sampled_from(files))))
                    present[path] = False
                    added.add(path)
        result.append(items)
    return result


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers())
def test_what_is_read_of_a_fork_makes_the_same_fork_again(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[LayerItem]]
) -> None:
    place = tmp_path_factory.mktemp("layers")
    first: list[Path] = []
    second: list[Path] = []
    for number, items in enumerate(contents):
        first.append(image(place / f"first{number}.cim", items, first[-1] if first else None))
        assert [finding for finding in verify_cim(first[-1]) if finding.severity == "error"] == []
        read = CimLayerReader(first[-1])
        second.append(image(place / f"second{number}.cim", read, second[-1] if second else None))
        assert facts_of(CimLayerReader(second[-1], whole=True)) == facts_of(CimLayerReader(first[-1], whole=True))
        said = {fold(item.path) for item in items}
        # A stream that a link brings changes the file, whatever other names that has.
        changed = {fold(item.path) for item in items if isinstance(item, AlternateStream)}
        with CimImage.open(first[-1]) as whole:
            names: dict[int, set[str]] = {}
            for found in whole.walk():
                names.setdefault(found.file_id, set()).add(fold(found.path))
        said |= {name for group in names.values() if group & changed for name in group}
        told = {fold(item.path) for item in CimLayerReader(first[-1]) if not isinstance(item, Tombstone)}
        assert told <= said


def test_a_reader_of_no_image_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        CimLayerReader(tmp_path / "none.cim")
    (tmp_path / "bad.cim").write_bytes(b"no image")
    with pytest.raises(WclayerError):
        list(CimLayerReader(tmp_path / "bad.cim"))


@pytest.mark.parametrize(
    "content", [images.folder({"AUX": images.file()}), images.folder({"d": images.folder({"COM1": images.folder()})})]
)
def test_names_that_no_layer_may_have_are_refused(tmp_path: Path, content: images.Node) -> None:
    cim = images.build(tmp_path, content)
    with pytest.raises(UnsafeEntryError, match="the name of a device"):
        list(CimLayerReader(cim))


def test_an_image_that_another_writer_made(tmp_path: Path) -> None:
    cim = images.build(tmp_path, images.rich())
    facts = facts_of(CimLayerReader(cim, processed=True))
    with CimImage.open(cim) as opened:
        paths = [found.path for found in opened.walk() if found.path]
        assert sorted(facts) == sorted(paths)
        for found in opened.walk():
            if found.path and not found.is_directory:
                assert facts[found.path]["size"] == found.size
    with CimItemWriter(tmp_path / "again" / "copy.cim") as writer:
        for item in CimLayerReader(cim, processed=True):
            writer.write(item)
    assert facts_of(CimLayerReader(tmp_path / "again" / "copy.cim", processed=True)) == facts
