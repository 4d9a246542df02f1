"""Flows of items brought into shape for transport folders and base folders, and what comes back out of those."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.formats.folder.layers import alternate, file, folder, plain, write
from wclayer.errors import NotFoundError
from wclayer.formats.base import BaseFolderReader, BaseFolderWriter
from wclayer.formats.folder import LayerFolder
from wclayer.formats.shaping import for_base, for_transport, with_hard_links
from wclayer.formats.transport import TransportFolderReader, TransportFolderWriter
from wclayer.image.sample_content import base_items, middle_items, top_items
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone, copy_layer
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE

TIMES: dict[str, Any] = {
    "creation_time": 1,
    "last_access_time": 2,
    "last_write_time": 3,
    "change_time": 4,
}
TIMED = Metadata(0x20, **TIMES)


def timed(path: str, data: bytes, **metadata: Any) -> LayerItem:
    """A file with all four times."""
    return file(path, data, **TIMES, **metadata)


def identified(path: str, identity: bytes, data: bytes = b"x") -> Entry:
    return Entry(path, Metadata(0x20, last_write_time=1), data=Stream.from_bytes(data), file_id=identity)


def keyed(items: Iterable[LayerItem]) -> dict[str, tuple[Any, ...]]:
    return {str(item[1]) + str(item[2] if item[0] == "stream" else ""): item for item in plain(items)}


def test_the_names_of_one_file_become_links_to_the_first() -> None:
    items: list[LayerItem] = [
        identified("Files/a", b"1"),
        alternate("Files/a", ":s:$DATA", b"s"),
        identified("Files/b", b"2"),
        identified("Files/c", b"1"),
        alternate("Files/c", ":s:$DATA", b"s"),
        file("Files/d", b""),
    ]
    shaped = list(with_hard_links(items))
    assert [(type(item).__name__, item.path) for item in shaped] == [
        ("Entry", "Files/a"),
        ("AlternateStream", "Files/a"),
        ("Entry", "Files/b"),
        ("HardLink", "Files/c"),
        ("Entry", "Files/d"),
    ]
    assert isinstance(shaped[3], HardLink)
    assert shaped[3].target == "Files/a"


def test_items_without_identities_pass_as_they_are() -> None:
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/a", b""),
        Tombstone("Files/b"),
        HardLink("Files/c", "Files/a"),
    ]
    assert list(with_hard_links(items)) == items


def test_a_utility_vm_is_left_out_of_a_transport_folder_and_told() -> None:
    notices = Notices()
    items = [folder("Files"), folder("UtilityVM"), folder("UtilityVM/Files"), file("utilityvm/Files/x", b"")]
    assert list(for_transport(items, (), notices)) == items[:1]
    assert notices.counts == {"utility-vm-left-out": 3, "times-filled": 1}


def test_a_link_into_a_parent_becomes_its_file(tmp_path: Path) -> None:
    parent = write(
        tmp_path / "parent",
        folder("Files"),
        timed("Files/a", b"data", security_descriptor=b"sd"),
        alternate("Files/a", ":s:$DATA", b"stream"),
        HardLink("Files/b", "Files/a"),
    )
    notices = Notices()
    with LayerFolder(parent) as opened:
        items = [HardLink("Files/x", "Files/B", TIMED), HardLink("Files/y", "Files/x", TIMED)]
        shaped = plain(for_transport(items, [opened], notices))
    assert [item[:2] for item in shaped] == [("file", "Files/x"), ("stream", "Files/x"), ("link", "Files/y")]
    assert shaped[0][3] == (4, None, b"data")
    assert notices.counts == {"link-copied": 1}


def test_a_file_that_a_parent_only_links_to_comes_whole_from_below_it(tmp_path: Path) -> None:
    base = write(
        tmp_path / "base",
        timed("Files/a", b"data", security_descriptor=b"sd"),
        alternate("Files/a", ":s:$DATA", b"stream"),
    )
    middle = write(tmp_path / "middle", HardLink("Files/b", "Files/a", TIMED), parents=[base])
    notices = Notices()
    with LayerFolder(middle) as nearest, LayerFolder(base) as below:
        shaped = plain(for_transport([HardLink("Files/x", "Files/b", TIMED)], [nearest, below], notices))
    assert [item[:2] for item in shaped] == [("file", "Files/x"), ("stream", "Files/x")]
    assert shaped[0][2].security_descriptor == b"sd"
    assert shaped[0][3] == (4, None, b"data")
    assert shaped[1][3] == (6, None, b"stream")
    assert notices.counts == {"link-copied": 1}


def test_a_link_finds_the_file_of_its_own_layer_in_any_case() -> None:
    notices = Notices()
    items = [timed("Files/A", b""), HardLink("Files/b", "FILES/a", TIMED)]
    shaped = list(for_transport(items, (), notices))
    assert shaped == items  # not one into a parent; the writer finds the spelling
    assert notices.counts == {}


@pytest.mark.parametrize("shape", [lambda items, notices: for_transport(items, (), notices), for_base])
def test_times_that_are_not_said_are_told(shape: Callable[[list[LayerItem], Notices], Iterable[LayerItem]]) -> None:
    notices = Notices()
    items = [
        timed("Files/all", b""),
        Entry("Files/one", Metadata(0x20, 1, 1, 1, None)),
        Entry("Files/no write", Metadata(0x20, 1, 1, None, 1)),
        Entry("Files/zero", Metadata(0x20, 1, 0, 1, 1)),
    ]
    assert list(shape(items, notices)) == items
    told = {notice.path: notice.detail for notice in notices.listed if notice.code == "times-filled"}
    assert told.keys() == {"Files/one", "Files/no write", "Files/zero"}
    assert "1754" in told["Files/no write"]
    assert "this moment" in told["Files/zero"]


def test_an_unknown_time_is_the_same_on_every_day(tmp_path: Path) -> None:
    items = [folder("Files"), Entry("Files/a", Metadata(0x20), data=Stream.from_bytes(b""))]
    for form, reader, writer in (
        ("t", TransportFolderReader, TransportFolderWriter),
        ("b", BaseFolderReader, BaseFolderWriter),
    ):
        with writer(tmp_path / form) as opened:
            copy_layer(items, opened)
        found = {item.path: item for item in reader(tmp_path / form) if isinstance(item, Entry)}
        assert found["Files/a"].metadata.last_write_time == ABSENT_IN_REFERENCE
        assert found["Files/a"].metadata.creation_time == ABSENT_IN_REFERENCE


def test_the_order_of_a_base_folder_is_told_to_be_lost_once() -> None:
    notices = Notices()
    items = [timed(path, b"") for path in ("Files/b", "Files/a", "Files/c", "Files/a2")]
    assert list(for_base(items, notices)) == items
    assert notices.counts == {"order-lost": 1, "empty-stream": 4}


def test_links_with_metadata_of_their_own_are_told_of(tmp_path: Path) -> None:
    items = [
        folder("Files", **TIMES),
        timed("Files/a", b"x"),
        HardLink("Files/b", "Files/a", TIMED),
        HardLink("Files/c", "Files/a", replace(TIMED, attributes=0x21)),
        HardLink("Files/d", "Files/a", replace(TIMED, change_time=5)),
    ]
    for writer in (TransportFolderWriter, BaseFolderWriter):
        notices = Notices()
        with writer(tmp_path / writer.__name__, notices=notices) as opened:
            copy_layer(items, opened)
        told = {(notice.code, notice.path.replace("\\", "/")) for notice in notices.listed}
        assert told == {("link-attributes", "Files/c"), ("link-times", "Files/d")}


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="name the parents"):
        list(for_transport([HardLink("Files/x", "Files/nowhere")], (), Notices()))


def test_a_link_within_the_layer_stays_one() -> None:
    items: list[LayerItem] = [file("Files/a", b""), HardLink("Files/b", "Files/a"), HardLink("Files/c", "Files/b")]
    assert list(for_transport(items, (), Notices())) == items


def test_the_sample_in_a_base_folder_comes_back_but_for_what_is_told(tmp_path: Path) -> None:
    notices = Notices()
    with BaseFolderWriter(tmp_path / "base", notices=notices) as writer:
        copy_layer(for_base(base_items(), notices), writer)
    found = keyed(with_hard_links(BaseFolderReader(tmp_path / "base")))
    given = keyed(base_items())
    # The path of a notice about a stream is that of its file.
    told = {notice.path for notice in notices.listed}
    links = {path for path, item in given.items() if item[0] == "link"}
    different = {path for path, item in given.items() if _core(found.get(path)) != _core(item)}
    assert different - links == told - links
    assert {notice.path for notice in notices.listed if notice.code == "link-times"} == links
    assert set(notices.counts) == {"beside-base", "attributes-lost", "attribute-lost", "empty-stream", "link-times"}
    assert all(found[path][:2] == given[path][:2] for path in links)


@pytest.mark.parametrize("layer", ["base", "middle", "top"])
def test_the_sample_in_transport_folders_comes_back_but_for_what_is_told(tmp_path: Path, layer: str) -> None:
    makers = {"base": base_items, "middle": middle_items, "top": top_items}
    parents: list[Path] = []
    for name in list(makers)[: list(makers).index(layer)]:
        parents.insert(0, write(tmp_path / name, *makers[name](), parents=parents))
    opened = [LayerFolder(parent) for parent in parents]
    notices = Notices()
    with TransportFolderWriter(tmp_path / "t", notices=notices) as writer:
        copy_layer(for_transport(with_hard_links(makers[layer]()), opened, notices), writer)
    for one in opened:
        one.close()
    found = keyed(with_hard_links(TransportFolderReader(tmp_path / "t", lenient=True)))
    given = keyed(makers[layer]())
    told = {notice.path.replace("\\", "/") for notice in notices.listed}
    different = {path for path, item in given.items() if _core(found.get(path)) != _core(item)}
    assert different <= told
    assert found.keys() <= given.keys()


def _core(item: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """``item`` without identity and number, which belong to the source."""
    if item is None or item[0] in ("tombstone", "link", "stream"):
        return item[:-1] if item else None
    return item[:4]
