"""Rows of every length that there is, and what a link's row knows of its file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.folder.layers import alternate, file, folder, plain, read, sparse, symlink, write
from wclayer.errors import FormatError
from wclayer.formats.folder import IndexWriter, LayerFolderWriter
from wclayer.formats.folder.index_rows import _CRC32, _EA, _SIZE, _TARGET
from wclayer.formats.folder.schema import ROW_COLUMNS
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute

ATTRIBUTE = (ExtendedAttribute(b"A", b"1", 0),)


def rows(layer: Path) -> list[tuple[Any, ...]]:
    """Name, size and checksum of each entry, and those of the file that a link leads to."""
    database = sqlite3.connect(f"file:{layer}/layer.db?immutable=1", uri=True)
    try:
        return database.execute(
            "SELECT entry.name, entry.size, entry.crc32, file.size, file.crc32"
            " FROM entry LEFT JOIN entry AS file ON file.id = entry.target_entry ORDER BY entry.id"
        ).fetchall()
    finally:
        database.close()


def test_the_places_of_columns_are_those_of_the_rows() -> None:
    columns = ROW_COLUMNS.split(", ")
    assert [columns[place] for place in (_SIZE, _CRC32, _EA, _TARGET)] == ["size", "crc32", "ea", "target"]
    assert columns[_TARGET + 1] == "target_entry"


# What draws numbers, in any order: files whose rows have different lengths, streams, which are no entries, and links.
KINDS = st.sampled_from(
    ["empty", "dense", "no stream", "attributes", "only attributes", "sparse", "reparse", "streams", "folder", "link"]
)


def items_of(kinds: list[str]) -> list[LayerItem]:
    """An item, or a few, of each kind; a link leads to one of the files before it, if there is one."""
    items: list[LayerItem] = [folder("d")]
    files: list[str] = []
    for number, kind in enumerate(kinds):
        path = f"d/{number}"
        if kind == "link" and files:
            items.append(HardLink(path, files[number % len(files)]))
            continue
        if kind in ("folder", "link"):
            items += [folder(path), Tombstone(f"d/gone {number}")]
            continue
        content = b"" if kind == "empty" else path.encode() * (number + 1)
        if kind == "sparse":
            items.append(sparse(path, 200_000, (65_536, content)))
        elif kind == "reparse":
            items.append(symlink(path))
        elif kind in ("attributes", "only attributes"):
            items.append(file(path, content if kind == "attributes" else None, extended_attributes=ATTRIBUTE))
        else:
            items.append(file(path, None if kind == "no stream" else content))
        if kind == "streams":
            items += [alternate(path, f":{name}:$DATA", content) for name in "abc"]
        if kind != "reparse":
            files.append(path)
    return items


@settings(max_examples=60, deadline=None)
@given(st.lists(KINDS, max_size=40), st.booleans())
def test_a_link_has_size_and_checksum_of_its_file(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[str],
    apart: bool,
) -> None:
    items = items_of(kinds)
    layer = write(tmp_path_factory.mktemp("layer") / "layer", *items, second_process=apart)
    assert read(layer) == plain(items_of(kinds))
    for name, size, checksum, size_of_file, checksum_of_file in rows(layer):
        if size_of_file is not None:
            assert (size, checksum) == (size_of_file, checksum_of_file), name


@pytest.mark.parametrize("apart", [False, True])
def test_links_are_told_apart_from_what_is_flushed_before_them(tmp_path: Path, apart: bool) -> None:
    items = [folder("d"), *(file(f"d/{number}", b"1" * number) for number in range(1500))]
    items += [HardLink(f"d/link {number}", f"d/{number}") for number in range(0, 1500, 7)]
    with LayerFolderWriter(tmp_path / "layer", second_process=apart) as writer:
        writer.write_all(items)
    found = {name: (size, size_of_file) for name, size, _, size_of_file, _ in rows(tmp_path / "layer")}
    for number in range(0, 1500, 7):
        assert found[f"link {number}"] == found[f"link {number}"][:1] * 2 == (number, number)


@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1])
def test_a_size_that_no_file_has_is_an_error_of_the_format(size: int) -> None:
    writer = IndexWriter()
    writer.write(Entry("a", Metadata(), data=Stream(size, lambda _stored: iter(()))))
    writer.write(HardLink("l", "a"))
    writer.commit()
    with pytest.raises(FormatError, match="damaged"):
        writer.index.children()
