"""What a layer folder holds after a commit, and what never gets into one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.formats.folder.layers import (
    LINK_BUFFER,
    TIME,
    alternate,
    file,
    folder,
    plain,
    read,
    sparse,
    symlink,
    tree,
    write,
)
from tests.open_files import open_files
from wclayer.errors import FormatError, LimitError, StoreError, UnsafeEntryError, UsageError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, remove_layer_folder, verify_folder
from wclayer.formats.folder.index_builder import MAX_DEPTH
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute

pytestmark = pytest.mark.usefixtures("processes")


def test_a_layer_comes_back_as_it_was_written(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        folder("Files", security_descriptor=b"folder"),
        file("Files/a.txt", b"hello", security_descriptor=b"", creation_time=0, change_time=TIME + 1),
        alternate("Files/a.txt", ":small:$DATA", b"x"),
        alternate("Files/a.txt", ":large:$DATA", bytes(70_000)),
        file("Files/no stream", None),
        file("Files/empty", b""),
        sparse("Files/sparse", 1 << 20, (65536, b"a" * 4096), (1 << 19, b"b" * 10)),
        symlink("Files/link"),
        symlink("Files/junction", is_directory=True),
        file("Files/ea", b"1", extended_attributes=(ExtendedAttribute(b"NAME", b"value", 0x80),)),
        HardLink("Files/second name", "Files/a.txt", Metadata(0x20, last_write_time=5)),
        Tombstone("Files/gone"),
        Entry("Files/with id", Metadata(0x20), data=Stream.from_bytes(b"2"), file_id=b"\1" * 16),
    ]
    for ordinal, item in enumerate(items):
        item.ordinal = ordinal
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []


def test_the_tree_is_plain_files_that_any_tool_can_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "layer",
        folder("Files"),
        file("Files/a", b"content"),
        symlink("Files/link"),
        symlink("Files/junction", is_directory=True),
    )
    assert tree(path) == {"Files", "Files/a", "Files/link", "Files/junction", "layer.db", "layerchain.json"}
    assert (path / "Files/a").read_bytes() == b"content"
    assert (path / "Files/link").read_bytes() == b""
    assert not any((path / name).is_symlink() for name in tree(path))


def test_holes_of_a_sparse_file_take_no_space(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", sparse("Files/a", 1 << 30, (1 << 29, b"middle")))
    status = (path / "Files/a").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 < 1 << 20


@pytest.fixture(params=["as it is", "no superuser", "inherited group"])
def parent(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a layer is written. The superuser can make folders read-only at once, others only at the end."""
    if request.param == "no superuser":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    elif request.param == "inherited group":
        tmp_path.chmod(0o2755)
    return tmp_path


@pytest.mark.parametrize("mask", [0o022, 0o027, 0])
def test_everything_is_read_only_when_it_is_done(parent: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        path = write(
            parent / "layer", folder("Files"), file("Files/a"), alternate("Files/a", ":s:$DATA", bytes(70_000))
        )
    finally:
        os.umask(before)
    for name in tree(path) | {"."}:
        mode = stat.S_IMODE((path / name).lstat().st_mode)
        assert mode == (0o555 if (path / name).is_dir() else 0o444) & ~mask, name


@pytest.mark.parametrize("target", ["Files/inner/a", "Files/inner/later"])
def test_times_of_files_and_folders_are_those_of_the_last_write(parent: Path, target: str) -> None:
    path = write(
        parent / "layer",
        folder("Files"),
        folder("Files/inner"),
        file("Files/inner/a"),
        HardLink("Files/link", target),
        HardLink("Files/inner/link", target),
        file("Files/inner/later"),
        file("Files/a"),
        file("Files/b", last_write_time=None),
    )
    nanoseconds = (TIME - 116_444_736_000_000_000) * 100
    assert (path / "Files").stat().st_mtime_ns == nanoseconds
    assert (path / "Files/inner").stat().st_mtime_ns == nanoseconds
    assert (path / "Files/inner/link").stat().st_nlink == 3
    assert (path / "Files/a").stat().st_mtime_ns == nanoseconds
    assert (path / "Files/b").stat().st_mtime_ns == 0


@pytest.mark.parametrize("value", [0, -1, -(1 << 70), 1 << 63, (1 << 64) - 1, 1 << 64, (1 << 63) - 1, -(1 << 63)])
def test_times_that_no_file_system_holds_are_kept_in_the_index(tmp_path: Path, value: int) -> None:
    item = file("a", creation_time=value, last_access_time=value, last_write_time=value, change_time=value)
    assert read(write(tmp_path / "layer", item)) == plain([item])


@pytest.mark.parametrize(
    "name",
    [
        "字" * 255,
        "\U0001f600" * 127,
        "lone \ud800 surrogate",
        "\udc00",
        "halves \ud83d\ude00 apart",
        ".wcl-0123",
        ".WCL-x",
        "e\u0301",
        "ends in a dot.",
        "trailing space ",
        'a"<>|*?',
        "new\nline",
        "-rf",
    ],
)
def test_odd_names_come_back(tmp_path: Path, name: str) -> None:
    items = [folder(name), file(f"{name}/{name}", b"x"), alternate(f"{name}/{name}", ":s:$DATA", b"y")]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        node = opened.lookup(f"{name}/{name}")
        assert node is not None
        assert node.path == f"{name}/{name}"
        assert [child.name for child in opened.children()] == [name]
        assert verify_folder(opened) == []


@pytest.mark.parametrize(
    "name", ["layer.db", "Layer.DB", "layerchain.json", "layer.headers", "LAYER.STREAMS", "layerId"]
)
def test_entries_may_bear_the_names_of_the_layers_own_files(tmp_path: Path, name: str) -> None:
    items = [folder(name), file(f"{name}/a", b"x"), file("layer.db-journal", b"y"), alternate(name, ":s:$DATA", b"z")]
    path = write(tmp_path / "layer", *items)
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []
    assert {item[1] for item in read(path)} == {name, f"{name}/a", "layer.db-journal"}


def test_an_escaped_name_does_not_meet_one_that_looks_like_it(tmp_path: Path) -> None:
    long = "字" * 255
    path = write(tmp_path / "first", file(long, b"1"))
    (escaped,) = {name for name in tree(path) if name.startswith(".wcl-")}
    items = [file(long, b"1"), file(escaped, b"2")]
    assert read(write(tmp_path / "second", *items)) == plain(items)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "..", "a/../b", "a/.", "C:/a", "a\\b", "a:b", "a\0b", "x/NUL/y"]
)
@pytest.mark.parametrize("kind", ["file", "folder", "link", "tombstone", "stream"])
def test_a_path_that_is_not_in_normal_form_is_refused(tmp_path: Path, kind: str, path: str) -> None:
    item: LayerItem = {
        "file": file(path),
        "folder": folder(path),
        "link": HardLink(path, "a"),
        "tombstone": Tombstone(path),
        "stream": alternate(path, ":s:$DATA", b""),
    }[kind]
    with pytest.raises(UnsafeEntryError):
        write(tmp_path / "layer", item)
    assert tree(tmp_path) == set()


REFUSED: dict[str, tuple[list[LayerItem], str]] = {
    "a file twice": ([file("d/a"), file("d/a")], "duplicate entry"),
    "a folder twice": ([folder("d"), folder("d")], "duplicate entry"),
    "a link where a file is": ([file("a"), file("b"), HardLink("a", "b")], "duplicate entry"),
    "a link twice": ([file("a"), HardLink("b", "a"), HardLink("b", "a")], "duplicate entry"),
    "a file where a folder was": ([folder("a"), file("a")], "a file where a folder was"),
    "a file where a folder is needed": ([file("a/b"), file("a")], "a file where a folder was"),
    "a folder where a file was": ([file("a"), folder("a")], "a folder where a file was"),
    "below a file": ([file("a"), file("a/b")], "which is not a folder"),
    "a folder below a file": ([file("a"), folder("a/b/c")], "which is not a folder"),
    "below a file of other case": ([file("A"), file("a/b")], "which is not a folder"),
    "below a link": ([file("x"), HardLink("a", "x"), file("a/b")], "which is not a folder"),
    "a link where a folder is needed": ([file("x"), file("a/b"), HardLink("a", "x")], "a file where a folder was"),
    "a later link where a folder is needed": (
        [file("a/b"), HardLink("a", "x"), file("x")],
        "which is not a folder",
    ),
    "a file where a link is": ([file("x"), HardLink("a", "x"), file("a")], "duplicate entry"),
    "a folder where a link is": ([file("x"), HardLink("a", "x"), folder("a")], "a folder where a file was"),
    "below a file far up in other case": ([folder("D"), file("D/x"), file("d/X/y")], "which is not a folder"),
    "below a reparse point": ([symlink("a", is_directory=True), file("a/b")], "which is a reparse point"),
    "far below a reparse point": ([symlink("a", is_directory=True), folder("a/b/c/d")], "which is a reparse point"),
    "a tombstone below a reparse point": ([symlink("a", is_directory=True), Tombstone("a/b")], "reparse point"),
    "below a reparse point that is a file": ([symlink("a"), file("a/b")], "which is"),
    "below a reparse point of other case": ([symlink("A", is_directory=True), file("a/b")], "reparse point"),
    "a later reparse point of other case": ([file("a/b"), symlink("A", is_directory=True)], "reparse point"),
    "below a reparse point far up in other case": (
        [folder("D"), symlink("D/x", is_directory=True), file("d/X/y")],
        "which is a reparse point",
    ),
    "a reparse point where a folder is needed": ([file("a/b"), symlink("a", is_directory=True)], "reparse point"),
    "a folder with data": ([Entry("a", Metadata(16), is_directory=True, data=Stream.from_bytes(b"x"))], "main stream"),
    "a stream twice": ([file("a"), alternate("a", ":s:$DATA", b""), alternate("a", ":s:$DATA", b"")], "duplicate"),
    "an unnamed stream": ([file("a"), alternate("a", "::$DATA", b"")], "stream name"),
    "a stream with a path for a name": ([file("a"), alternate("a", ":../b:$DATA", b"")], "stream name"),
    "a link with a reparse buffer": ([file("a"), HardLink("b", "a", Metadata(reparse=LINK_BUFFER))], "reparse buffer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_entries_in_each_others_way_are_refused_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    items, reason = REFUSED[case]
    with pytest.raises(UnsafeEntryError, match=reason):
        write(tmp_path / "layer", *items)
    assert tree(tmp_path) == set()


def test_folders_may_come_after_what_lies_in_them(tmp_path: Path) -> None:
    items = [
        file("a/b/c", b"1"),
        folder("a/b", attributes=0x12),
        alternate("a/b", ":s:$DATA", b"2"),
        Tombstone("a/x"),
        file("a/b/d"),
        folder("a", attributes=0x11),
        HardLink("a/l", "a/b/c"),
    ]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        top = opened.lookup("a")
        assert top is not None
        assert top.attributes == 0x11
        assert [node.name for node in opened.children(top)] == ["b", "l", "x"]
        assert verify_folder(opened) == []


def test_a_folder_that_never_comes_is_synthesised_and_is_no_item(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("Files/sub/a"))
    assert [item[:2] for item in read(path)] == [("file", "Files/sub/a")]
    with LayerFolder(path) as opened:
        node = opened.lookup("files/SUB")
        assert node is not None
        assert node.is_synthesised


def test_names_that_differ_in_case_are_both_kept_and_reported(tmp_path: Path) -> None:
    notices = Notices()
    items = [
        folder("Files"),
        file("Files/A", b"1"),
        file("Files/a", b"2"),
        folder("files"),
        file("files/ä"),
        file("files/Ä"),
    ]
    path = write(tmp_path / "layer", *items, notices=notices)
    assert read(path) == plain(items)
    assert notices.counts == {"case-collision": 3}
    with LayerFolder(path) as opened:
        assert opened.notices()[0] == {"case-collision": 3}
        for spelling in ("Files/A", "Files/a"):
            node = opened.lookup(spelling)
            assert node is not None
            assert node.path == spelling
        assert {node.path for node in opened.spellings("FILES/A")} == {"Files/A", "Files/a"}


def test_strict_notices_stop_the_commit(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        write(tmp_path / "layer", file("A"), file("a"), notices=Notices(strict=True))
    assert caught.value.kind == "case-collision"
    assert tree(tmp_path) == set()


def test_a_file_and_an_empty_folder_of_other_case_stand_side_by_side(tmp_path: Path) -> None:
    notices = Notices()
    write(tmp_path / "layer", file("A"), folder("a"), symlink("B"), folder("b"), notices=notices)
    assert notices.counts == {"case-collision": 2}


def test_a_tombstone_of_an_own_entry_is_kept_and_reported(tmp_path: Path) -> None:
    notices = Notices()
    items = [Tombstone("Files/A"), file("Files/a"), Tombstone("Files/a"), Tombstone("Files/x"), Tombstone("Files/x")]
    path = write(tmp_path / "layer", *items, notices=notices)
    assert read(path) == plain(items)
    assert notices.counts == {"tombstone-of-own-entry": 1, "duplicate-tombstone": 2}


def test_tombstones_may_come_with_entries_below_them(tmp_path: Path) -> None:
    items = [Tombstone("Files/a"), folder("Files/a"), file("Files/a/b")]
    assert read(write(tmp_path / "layer", *items)) == plain(items)


def test_a_late_stream_finds_its_owner(tmp_path: Path) -> None:
    notices = Notices()
    items = [file("a"), file("b"), file("c"), alternate("A", ":late:$DATA", b"1"), alternate("b", ":late:$DATA", b"2")]
    path = write(tmp_path / "layer", *items, notices=notices)
    assert [item[:3] for item in read(path) if item[0] == "stream"] == [
        ("stream", "a", ":late:$DATA"),
        ("stream", "b", ":late:$DATA"),
    ]
    assert notices.counts == {}, "whoever read the source has told it"


def test_a_stream_before_its_owner_finds_it(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("d/x"), alternate("d", ":s:$DATA", b"1"), folder("d"))
    assert [item[:2] for item in read(path)] == [("file", "d/x"), ("folder", "d"), ("stream", "d")]


def test_an_orphan_stream_is_kept_and_reported(tmp_path: Path) -> None:
    notices = Notices()
    items = [
        file("a"),
        alternate("gone/\ud800", ":s:$DATA", b"1"),
        file("b"),
        alternate("c/d", ":t:$DATA", bytes(99_999)),
    ]
    path = write(tmp_path / "layer", *items, notices=notices)
    assert read(path) == plain(items)
    assert notices.counts == {"orphan-stream": 2}
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []


def test_streams_that_differ_in_case_are_kept_and_reported(tmp_path: Path) -> None:
    notices = Notices()
    items = [file("a"), alternate("a", ":s:$DATA", b"1"), alternate("a", ":S:$DATA", b"2")]
    assert read(write(tmp_path / "layer", *items, notices=notices)) == plain(items)
    assert notices.counts == {"case-collision": 1}


def test_a_sparse_stream_keeps_its_ranges_inline_and_in_a_file(tmp_path: Path) -> None:
    items: list[LayerItem] = [file("a")]
    small, large = b"x" * 10, b"y" * 100_000
    items += [
        AlternateStream("a", ":small:$DATA", Stream(1 << 21, lambda _n: iter((small,)), ((4096, len(small)),))),
        AlternateStream("a", ":large:$DATA", Stream(1 << 21, lambda _n: iter((large,)), ((4096, len(large)),))),
    ]
    assert read(write(tmp_path / "layer", *items)) == plain(items)


@pytest.mark.parametrize(
    "data",
    [
        Stream(5, lambda _n: iter((b"1234",))),
        Stream(5, lambda _n: iter((b"123", b"456"))),
        Stream(99_999, lambda _n: iter(())),
        Stream(10, lambda _n: iter((b"12",)), ((0, 3),)),
        Stream(10, lambda _n: iter((b"1234",)), ((0, 3),)),
        Stream(10, lambda _n: iter((b"1234",)), ((0, 2), (1, 2))),
        Stream(10, lambda _n: iter((b"1234",)), ((8, 4),)),
    ],
)
@pytest.mark.parametrize("alternate_stream", [False, True])
def test_data_that_is_not_what_it_says_is_refused(tmp_path: Path, data: Stream, alternate_stream: bool) -> None:
    item = AlternateStream("a", ":s:$DATA", data) if alternate_stream else Entry("b", Metadata(), data=data)
    with pytest.raises(FormatError):
        write(tmp_path / "layer", file("a"), item)
    assert tree(tmp_path) == set()


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A place for trees deeper than what pytest can remove."""
    place = tmp_path / "deep"
    place.mkdir()
    yield place
    remove_layer_folder(place)


def test_a_path_deeper_than_any_system_has_is_refused(deep: Path) -> None:
    deepest = "/".join(["d"] * (MAX_DEPTH - 1))
    path = write(deep / "layer", file(deepest + "/x", b"deep"))
    with LayerFolder(path) as opened:
        node = opened.lookup(deepest.upper() + "/X")
        assert node is not None
        data = opened.open_data(node)
        assert data is not None
        assert data.read(10) == b"deep"
        assert verify_folder(opened) == []
    with pytest.raises(LimitError):
        write(deep / "other", file(f"{deepest}/x/y"))


def test_paths_longer_than_the_system_takes_at_once_work(deep: Path) -> None:
    path = "/".join([str(number) + "x" * 200 for number in range(100)])
    items = [file(path, b"1"), HardLink(path + "2", path), alternate(path, ":s:$DATA", b"2")]
    layer = write(deep / "layer", *items)
    with LayerFolder(layer) as opened:
        assert verify_folder(opened) == []


def test_security_descriptors_are_stored_once(tmp_path: Path) -> None:
    items = [file(str(number), security_descriptor=bytes([number % 3]) * 100) for number in range(50)]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        assert list(opened.rows("SELECT count(*) FROM security")) == [(3,)]


def test_very_many_security_descriptors_are_not_all_held(tmp_path: Path) -> None:
    items = [file(str(number), security_descriptor=bytes([number % 200]) * 100_000) for number in range(400)]
    assert read(write(tmp_path / "layer", *items)) == plain(items)


def test_layerchain_json_is_what_docker_writes(tmp_path: Path) -> None:
    base = write(tmp_path / "base", file("a"), facts={"diff_id": "sha256:1"})
    middle = write(
        tmp_path / "middle", file("b"), parents=[base], facts={"diff_id": "sha256:2", "chain_id": "sha256:3"}
    )
    top = write(tmp_path / "top", file("c"), parents=[middle, base])
    assert (base / "layerchain.json").read_bytes() == b"null"
    assert json.loads((top / "layerchain.json").read_text()) == [str(middle), str(base)]
    with LayerFolder(top) as opened:
        assert opened.parent_paths == (middle, base)
        assert opened.facts["parents"] == [
            {"path": str(middle), "id": "sha256:3"},
            {"path": str(base), "id": "sha256:1"},
        ]


def test_facts_may_come_with_the_end_of_the_stream(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "layer", facts={"media_type": "x", "tar_size": 1}) as writer:
        writer.write(file("a"))
        writer.write(alternate("a", ":s:$DATA", b""))
        writer.set_facts(diff_id="sha256:0", tar_size=2)
    with LayerFolder(tmp_path / "layer") as opened:
        facts = opened.facts
    assert facts["tool"].startswith("wclayer ")
    del facts["tool"]
    assert facts == {
        "media_type": "x",
        "tar_size": 2,
        "diff_id": "sha256:0",
        "parents": [],
        "entries": 1,
        "streams": 1,
        "header_record": 0,
    }


def test_only_the_notices_of_this_layer_are_recorded_in_it(tmp_path: Path) -> None:
    notices = Notices()
    notices.add("case-collision", "elsewhere", "another layer")
    path = write(tmp_path / "layer", file("A"), file("a"), notices=notices)
    with LayerFolder(path) as opened:
        counts, listed = opened.notices()
    assert counts == {"case-collision": 1}
    assert [notice.path for notice in listed] == ["a"]


def test_a_writer_that_failed_cannot_be_committed(tmp_path: Path) -> None:
    writer = LayerFolderWriter(tmp_path / "layer")
    writer.write(file("a"))
    with pytest.raises(UnsafeEntryError):  # noqa: PT012 - a second process may tell a little later
        writer.write(file("a"))
        writer.settle()
    with pytest.raises(UsageError):
        writer.write(file("b"))
    with pytest.raises(UsageError):
        writer.commit()
    assert tree(tmp_path) == set()


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    writer = LayerFolderWriter(tmp_path / "layer")
    writer.commit()
    for use in (lambda: writer.write(file("a")), writer.commit, writer.header_record, writer.set_facts):
        with pytest.raises(UsageError):
            use()
    writer.abort()
    writer.abort()
    assert (tmp_path / "layer" / "layer.db").exists()


def test_an_error_inside_with_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with LayerFolderWriter(tmp_path / "layer") as writer:
            writer.write(folder("Files"))
            writer.write(file("Files/a", bytes(100)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert tree(tmp_path) == set()


def test_an_error_in_the_source_leaves_nothing(tmp_path: Path) -> None:
    def source(_stored: int) -> Iterator[bytes]:
        yield b"1234"
        raise FormatError("the tar ends here")

    with pytest.raises(FormatError, match="the tar ends here"):
        write(tmp_path / "layer", Entry("a", Metadata(), data=Stream(8, source)))
    assert tree(tmp_path) == set()


def test_all_items_of_a_source_are_taken_at_once(tmp_path: Path) -> None:
    items = [folder("Files"), file("Files/a", b"1"), alternate("Files/a", ":s:$DATA", b"2"), HardLink("b", "Files/a")]
    with LayerFolderWriter(tmp_path / "layer") as writer:
        writer.write_all(items)
    assert read(tmp_path / "layer") == plain(items)


def test_a_writer_whose_source_failed_cannot_be_committed(tmp_path: Path) -> None:
    def items() -> Iterator[LayerItem]:
        yield file("a")
        raise FormatError("the tar ends here")

    writer = LayerFolderWriter(tmp_path / "layer")
    with pytest.raises(FormatError, match="the tar ends here"):
        writer.write_all(items())
    with pytest.raises(UsageError):
        writer.commit()
    assert tree(tmp_path) == set()


def test_an_entry_that_was_refused_comes_before_an_error_of_the_source(tmp_path: Path) -> None:
    def items() -> Iterator[LayerItem]:
        yield from (file("a"), file("a"))
        raise FormatError("the tar ends here")

    writer = LayerFolderWriter(tmp_path / "layer")
    with pytest.raises(UnsafeEntryError, match="duplicate entry"):
        writer.write_all(items())
    writer.abort()
    assert tree(tmp_path) == set()


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    assert read(write(tmp_path / "layer", file("a"))) == plain([file("a")])


@pytest.mark.parametrize("what", ["folder", "file", "symlink", "dangling"])
def test_what_is_there_stays(tmp_path: Path, what: str) -> None:
    destination = tmp_path / "layer"
    if what == "folder":
        destination.mkdir()
        (destination / "precious").write_text("x")
    elif what == "file":
        destination.write_text("x")
    else:
        (tmp_path / "real").mkdir()
        destination.symlink_to("real" if what == "symlink" else "nowhere")
    before = tree(tmp_path)
    with pytest.raises(StoreError, match="exists and is not an empty folder"):
        LayerFolderWriter(destination)
    assert tree(tmp_path) == before


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    writer = LayerFolderWriter(tmp_path / "layer")
    writer.write(file("a"))
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "precious").write_text("x")
    with pytest.raises(StoreError, match="exists and is not an empty folder"):
        writer.commit()
    assert tree(tmp_path) == {"layer", "layer/precious"}


def test_a_missing_parent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        LayerFolderWriter(tmp_path / "no" / "layer")


def test_a_synchronised_layer_is_like_any_other(tmp_path: Path) -> None:
    assert read(write(tmp_path / "layer", file("a", b"1"), sync=True)) == plain([file("a", b"1")])


def test_host_files_are_linked_when_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"shared")

    def entry() -> Entry:
        data = Stream(6, lambda _n: iter((source.read_bytes(),)), host_path=os.fsencode(source))
        return Entry("a", Metadata(), data=data)

    copied = write(tmp_path / "copied", entry())
    linked = write(tmp_path / "linked", entry(), link_host_files=True)
    assert (copied / "a").stat().st_ino != source.stat().st_ino
    assert (linked / "a").stat().st_ino == source.stat().st_ino
    assert read(copied) == read(linked)
    source.write_bytes(b"SHARED")
    with LayerFolder(linked) as opened:
        assert [finding.code for finding in verify_folder(opened)] == ["wrong-content"]


def test_a_host_file_that_is_a_symlink_or_of_another_size_is_not_linked(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("real")
    items = [
        Entry(name, Metadata(), data=Stream(4, lambda _n: iter((b"data",)), host_path=os.fsencode(tmp_path / name)))
        for name in ("real", "link", "missing")
    ]
    path = write(tmp_path / "layer", *items, link_host_files=True)
    assert all((path / name).read_bytes() == b"data" and not (path / name).is_symlink() for name in ("real", "link"))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    parent = write(tmp_path / "parent", file("Files/p", b"1"))
    before = open_files()
    items = [file(f"Files/{number}/{number}") for number in range(300)]
    path = write(tmp_path / "layer", *items, HardLink("Files/l", "Files/p"), parents=[parent])
    read(path)
    for bad in ([file("a"), file("a")], [file("a"), HardLink("b", "nowhere")]):
        with pytest.raises(UnsafeEntryError):
            write(tmp_path / "bad", *bad)
    with pytest.raises(StoreError):
        LayerFolderWriter(path)
    assert open_files() == before
