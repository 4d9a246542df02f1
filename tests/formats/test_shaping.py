"""Flows of items brought into shape for transport folders and base folders, and what comes back out of those."""

from __future__ import annotations

from collections.abc import Iterable
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
    items = [folder("Files"), folder("UtilityVM"), folder("UtilityVM/Files"), file("UtilityVM/Files/x", b"")]
    assert list(for_transport(items, (), notices)) == items[:1]
    assert notices.counts == {"utility-vm-left-out": 3}


def test_a_link_into_a_parent_becomes_its_file(tmp_path: Path) -> None:
    parent = write(
        tmp_path / "parent",
        folder("Files"),
        file("Files/a", b"data", security_descriptor=b"sd"),
        alternate("Files/a", ":s:$DATA", b"stream"),
        HardLink("Files/b", "Files/a"),
    )
    notices = Notices()
    with LayerFolder(parent) as opened:
        items = [HardLink("Files/x", "Files/B"), HardLink("Files/y", "Files/x")]
        shaped = plain(for_transport(items, [opened], notices))
    assert [item[:2] for item in shaped] == [("file", "Files/x"), ("stream", "Files/x"), ("link", "Files/y")]
    assert shaped[0][3] == (4, None, b"data")
    assert notices.counts == {"link-copied": 1}


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
    different = {path for path, item in given.items() if _core(found.get(path)) != _core(item)} - links
    assert different == told
    assert set(notices.counts) == {"beside-base", "attributes-lost", "attribute-lost", "empty-stream"}
    assert all(found[path][:3] == given[path][:3] for path in links)


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
