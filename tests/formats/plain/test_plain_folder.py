"""The plain folder: it gives back exactly what it was given, and what was edited in it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.folder.layers import alternate, file, folder, plain, sparse, symlink, tree
from wclayer.errors import FormatError, NotFoundError, StoreError, UnsafeEntryError, UsageError, WclayerError
from wclayer.formats.plain import METADATA, PlainFolderReader, PlainFolderWriter
from wclayer.image.sample_content import base_items, middle_items, top_items
from wclayer.model import HardLink, LayerItem, Notices, Tombstone, copy_layer


def pour(path: Path, *items: LayerItem) -> Path:
    with PlainFolderWriter(path) as writer:
        copy_layer(items, writer)
    return path


def read(path: Path, notices: Notices | None = None) -> list[tuple[object, ...]]:
    return plain(PlainFolderReader(path, notices=notices))


@pytest.mark.parametrize("make", [base_items, middle_items, top_items])
def test_the_sample_comes_back_exactly(tmp_path: Path, make: object) -> None:
    assert callable(make)
    pour(tmp_path / "p", *make())
    notices = Notices(strict=True)
    assert read(tmp_path / "p", notices) == plain(make())


def test_files_are_ordinary_files(tmp_path: Path) -> None:
    pour(tmp_path / "p", folder("Files"), file("Files/a.txt", b"hello"), Tombstone("Files/b"))
    assert tree(tmp_path / "p") == {"Files", "Files/a.txt", METADATA}
    assert (tmp_path / "p/Files/a.txt").read_bytes() == b"hello"
    assert os.access(tmp_path / "p/Files/a.txt", os.W_OK)


def test_the_text_can_be_read_by_people(tmp_path: Path) -> None:
    pour(tmp_path / "p", file("Files/a", b"hello", last_write_time=7, attributes=0x21))
    lines = (tmp_path / "p" / METADATA).read_text("ascii").splitlines()
    assert json.loads(lines[0]) == {"schema": "wclayer.plain/1"}
    assert json.loads(lines[1]) == {
        "path": "Files/a",
        "kind": "file",
        "attributes": 0x21,
        "last_write_time": 7,
        "size": 5,
    }


def test_names_that_this_machine_cannot_hold_come_back(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/" + "第" * 200, b"long"),
        file("Files/\ud800", b"lone"),
        folder("wclayer.jsonl"),
        file("WCLAYER.x", b"mine"),
    ]
    pour(tmp_path / "p", *items)
    assert read(tmp_path / "p") == plain(items)


def test_large_streams_are_files_and_small_ones_text(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        file("Files/a", b""),
        alternate("Files/a", ":small:$DATA", b"s" * 10),
        alternate("Files/a", ":large:$DATA", b"l" * (1 << 17)),
    ]
    pour(tmp_path / "p", *items)
    assert "wclayer.streams/000000" in tree(tmp_path / "p")
    assert read(tmp_path / "p") == plain(items)


def test_a_sparse_file_stays_sparse(tmp_path: Path) -> None:
    item = sparse("Files/s", 1 << 30, (1 << 20, b"x"))
    pour(tmp_path / "p", item)
    assert (tmp_path / "p/Files/s").stat().st_blocks < 1 << 12
    assert read(tmp_path / "p") == plain([item])


def test_a_hard_link_within_the_layer_is_one_here(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        file("Files/a", b"x"),
        HardLink("Files/b", "Files/a"),
        HardLink("Files/c", "Files/elsewhere"),
    ]
    pour(tmp_path / "p", *items)
    assert (tmp_path / "p/Files/b").samefile(tmp_path / "p/Files/a")
    assert not (tmp_path / "p/Files/c").exists()
    assert read(tmp_path / "p") == plain(items)


def test_an_edited_file_is_taken_as_it_is_now(tmp_path: Path) -> None:
    pour(tmp_path / "p", file("Files/a", b"before", attributes=0x22), sparse("Files/s", 100, (10, b"x")))
    (tmp_path / "p/Files/a").write_bytes(b"and after")
    os.truncate(tmp_path / "p/Files/s", 50)
    notices = Notices()
    found = read(tmp_path / "p", notices)
    assert found[0][3] == (9, None, b"and after")
    assert found[1][3] == (50, None, bytes(10) + b"x" + bytes(39))
    assert notices.counts == {"plain-changed": 2}


def test_a_new_file_comes_with_the_attributes_of_a_new_file(tmp_path: Path) -> None:
    pour(tmp_path / "p", folder("Files"))
    (tmp_path / "p/Files/dir").mkdir()
    (tmp_path / "p/Files/dir/new.txt").write_bytes(b"new")
    os.utime(tmp_path / "p/Files/dir/new.txt", ns=(0, 1_600_000_000_000_000_100))
    notices = Notices()
    found = read(tmp_path / "p", notices)
    assert [item[:2] for item in found] == [("folder", "Files"), ("folder", "Files/dir"), ("file", "Files/dir/new.txt")]
    assert found[2][2].attributes == 0x20  # type: ignore[attr-defined]
    assert found[2][2].last_write_time == 132_444_736_000_000_001  # type: ignore[attr-defined]
    assert notices.counts == {"plain-unlisted": 2}


def test_without_a_text_all_files_are_new(tmp_path: Path) -> None:
    (tmp_path / "Files").mkdir()
    (tmp_path / "Files/a").write_bytes(b"x")
    assert [item[1] for item in read(tmp_path)] == ["Files", "Files/a"]


def test_a_listed_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    pour(tmp_path / "p", file("Files/a", b"x"))
    (tmp_path / "p/Files/a").unlink()
    with pytest.raises(FormatError, match="remove its line") as caught:
        read(tmp_path / "p")
    assert caught.value.kind == "plain-missing"


@pytest.mark.parametrize("target", ["/etc", "a"])
def test_links_of_this_machine_are_refused(tmp_path: Path, target: str) -> None:
    pour(tmp_path / "p", folder("Files"), file("Files/a", b"x"))
    (tmp_path / "p/Files/link").symlink_to(target)
    with pytest.raises(UnsafeEntryError, match="neither a file nor a folder"):
        read(tmp_path / "p")


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    pour(tmp_path / "p", folder("Files"), folder("Files/d"), file("Files/d/a", b"x"))
    (tmp_path / "p/Files/d").rename(tmp_path / "outside")
    (tmp_path / "p/Files/d").symlink_to(tmp_path / "outside")
    with pytest.raises(WclayerError):
        read(tmp_path / "p")


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"kind": "file"}',
        '{"kind": "other", "path": "Files/a"}',
        '{"kind": "file", "path": "../a"}',
        '{"kind": "file", "path": "Files/a", "host": "../../etc/passwd", "size": 1}',
        '{"kind": "file", "path": "Files/a", "attributes": -1}',
        '{"kind": "file", "path": "Files/a", "attributes": "x"}',
        '{"kind": "file", "path": "Files/a", "security": "!"}',
        '{"kind": "file", "path": "Files/a", "sddl": "nonsense"}',
        '{"kind": "file", "path": "Files/a", "ea": [1]}',
        '{"kind": "file", "path": "Files/a", "ranges": [[1]]}',
        '{"kind": "stream", "path": "Files/a", "name": ":s:$DATA"}',
        '{"kind": "stream", "path": "Files/a", "name": "s", "data": ""}',
        '{"kind": "stream", "path": "Files/a", "name": ":s:$DATA", "data": "", "size": 9, "ranges": [[0, 5]]}',
        '{"kind": "link", "path": "Files/a"}',
        '{"kind": "link", "path": "Files/a", "target": "/x"}',
        '{"kind": "file", "path": "Files/a", "size": 1.5}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    (tmp_path / METADATA).write_text('{"schema": "wclayer.plain/1"}\n' + line + "\n")
    with pytest.raises(WclayerError):
        read(tmp_path)


@pytest.mark.parametrize("first", ["", "{}", '{"schema": "wclayer.plain/2"}', "x"])
def test_another_schema_is_refused(tmp_path: Path, first: str) -> None:
    (tmp_path / METADATA).write_text(first + "\n" + "x\n")
    with pytest.raises(FormatError):
        read(tmp_path)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_an_item_or_an_error_of_this_package(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    top = tmp_path_factory.mktemp("p")
    (top / METADATA).write_text('{"schema": "wclayer.plain/1"}\n' + json.dumps(value) + "\n")
    with suppress(WclayerError):
        read(top)


def test_a_path_that_comes_twice_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for second in (file("Files/a", b""), folder("Files/a"), HardLink("Files/a", "Files/b")):
        with pytest.raises(UnsafeEntryError, match=r"comes twice|no folder"):
            pour(tmp_path / "p", file("Files/a", b""), second)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnsafeEntryError, match="comes twice"):
        pour(tmp_path / "p", folder("Files"), folder("Files"))
    with pytest.raises(UnsafeEntryError, match="no folder"):
        pour(tmp_path / "p", file("Files", b""), file("Files/a", b""))


def test_names_that_differ_in_case_are_both_kept(tmp_path: Path) -> None:
    items: list[LayerItem] = [file("Files/a", b"1"), file("Files/A", b"2")]
    pour(tmp_path / "p", *items)
    assert read(tmp_path / "p") == plain(items)


def test_a_symbolic_link_of_windows_is_no_link_here(tmp_path: Path) -> None:
    pour(tmp_path / "p", symlink("Files/link"))
    assert (tmp_path / "p/Files/link").is_file()
    assert not (tmp_path / "p/Files/link").is_symlink()
    assert read(tmp_path / "p") == plain([symlink("Files/link")])


def test_a_taken_place_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/mine").touch()
    with pytest.raises(StoreError):
        PlainFolderWriter(tmp_path / "p")
    assert tree(tmp_path) == {"p", "p/mine"}


def test_a_writer_is_done_when_it_is_done(tmp_path: Path) -> None:
    writer = PlainFolderWriter(tmp_path / "p")
    writer.commit()
    writer.abort()
    with pytest.raises(UsageError, match="committed"):
        writer.write(folder("Files"))
    assert (tmp_path / "p" / METADATA).exists()


def test_there_has_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read(tmp_path / "nowhere")
