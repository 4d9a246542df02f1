"""A tree to work in: what programs do to plain files becomes the layer that does the same."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.image.stacks import TIME, file, folder, junction, link, stream, symlink
from tests.store.tars import tree
from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, UnsupportedError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, verify_folder
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Tombstone, copy_layer
from wclayer.ntfs.filetime import from_unix
from wclayer.store.chain_view import ChainView
from wclayer.store.readwrite import ReadWriteBody, WorkTree

LONG = "ñ" * 200  # 400 bytes, more than a file system here holds
BASE: list[LayerItem] = [
    folder("Files"),
    folder("Files/a", security_descriptor=None),
    file("Files/a/x", b"xx"),
    file("Files/a/y", b"yy"),
    file("Files/s", b"main", attributes=0x23),
    stream("Files/s", "note", b"noted"),
    link("Files/z", "Files/a/x"),
    symlink("Files/link", "a\\x"),
    junction("Files/junction", "C:\\a"),
    folder("Files/b"),
    file("Files/b/1", b"1"),
    file("Files/none", None),
    file("Files/" + LONG, b"long"),
    folder("Hives"),
    file("Hives/System_Delta", b"hive"),
]


class Bench:
    """A base layer and read-write content on it."""

    def __init__(self, place: Path, items: Sequence[LayerItem]) -> None:
        with LayerFolderWriter(place / "base") as writer:
            copy_layer(items, writer)
        self.base = LayerFolder(place / "base")
        (place / "rw").mkdir()
        self.body = ReadWriteBody.make(place / "rw")
        self.work: WorkTree = self.body.attach([self.base])
        self.files = self.work.root / "Files"

    def items(self) -> list[LayerItem]:
        """The layer of what was changed, streams read."""
        with self.body.changes([self.base]) as items:
            return [read(item) for item in items]

    def told(self) -> list[str]:
        """The same in short, without folders that lie above a change."""
        return [f"{type(item).__name__} {item.path}" for item in self.items() if not is_folder(item)]


def is_folder(item: LayerItem) -> bool:
    return isinstance(item, Entry) and item.is_directory


def read(item: LayerItem) -> LayerItem:
    if isinstance(item, Entry | AlternateStream) and item.data is not None:
        b"".join(bytes(piece) for piece in item.data.pieces())
    return item


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, BASE)
    yield made
    made.base.close()


def test_an_untouched_tree_is_no_change(bench: Bench) -> None:
    assert bench.items() == []
    bench.body.detach([bench.base])
    assert bench.items() == []
    assert bench.body.tree is None


def test_looking_and_permissions_are_no_change(bench: Bench) -> None:
    (bench.files / "a" / "x").read_bytes()
    (bench.files / "a" / "x").chmod(0o600)
    (bench.files / "a").chmod(0o700)
    assert bench.items() == []


def test_a_change_is_seen_whatever_the_clock_says(bench: Bench) -> None:
    place = bench.files / "a" / "y"
    before = place.stat()
    place.write_bytes(b"YY")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bench.told() == ["Entry Files/a/y"]


def test_what_is_written_again_as_it_was_with_its_time_is_no_change(bench: Bench) -> None:
    place = bench.files / "a" / "y"
    before = place.stat()
    place.unlink()
    place.write_bytes(b"yy")
    assert bench.told() == ["Entry Files/a/y"]  # another time
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bench.told() == []


def test_a_changed_file_keeps_what_ntfs_knows_and_gets_new_times(bench: Bench) -> None:
    (bench.files / "s").write_bytes(b"changed")
    os.utime(bench.files / "s", ns=(0, 1_600_000_000_123_456_700))
    entry, note = bench.items()[-2:]
    assert isinstance(entry, Entry)
    assert entry.metadata.attributes == 0x23
    assert entry.metadata.last_write_time == entry.metadata.change_time == from_unix(1_600_000_000, 123_456_700)
    assert isinstance(note, AlternateStream)
    assert (note.path, note.name, note.data.read(100)) == ("Files/s", ":note:$DATA", b"noted")


def test_both_names_of_a_file_change(bench: Bench) -> None:
    (bench.files / "z").write_bytes(b"through the link")
    entry, linked = (item for item in bench.items() if not is_folder(item))
    assert isinstance(entry, Entry)
    assert isinstance(linked, HardLink)
    assert (entry.path, linked.path, linked.target) == ("Files/a/x", "Files/z", "Files/a/x")


def test_new_names_of_one_file_are_links(bench: Bench) -> None:
    (bench.files / "new").write_bytes(b"new")
    os.link(bench.files / "new", bench.files / "other")
    assert bench.told() == ["Entry Files/new", "HardLink Files/other"]
    os.link(bench.files / "a" / "y", bench.files / "b" / "y")
    further = bench.items()[-3]
    assert isinstance(further, HardLink)
    assert (further.path, further.target) == ("Files/b/y", "Files/a/y")
    (bench.files / "a" / "y").unlink()
    assert bench.told() == ["Tombstone Files/a/y", "Entry Files/b/y", "Entry Files/new", "HardLink Files/other"]


def test_what_moves_keeps_what_ntfs_knows(bench: Bench) -> None:
    (bench.files / "s").rename(bench.files / "b" / "moved")
    (bench.files / "a").rename(bench.files / "c")
    found = {item.path: item for item in bench.items()}
    moved = found["Files/b/moved"]
    assert isinstance(moved, Entry | AlternateStream)
    assert bench.told() == [
        "Tombstone Files/a",
        "Entry Files/b/moved",
        "AlternateStream Files/b/moved",
        "Entry Files/c/x",
        "Entry Files/c/y",
        "Tombstone Files/s",
    ]
    y = found["Files/c/y"]
    assert isinstance(y, Entry)
    assert y.metadata.last_write_time == TIME


def test_a_new_spelling_is_a_change_of_the_name_alone(bench: Bench) -> None:
    (bench.files / "b").rename(bench.files / "B")
    (bench.files / "a" / "y").rename(bench.files / "a" / "Y")
    assert [f"{type(item).__name__} {item.path}" for item in bench.items()] == [
        "Entry Files",
        "Entry Files/a",
        "Entry Files/a/Y",
        "Entry Files/B",
    ]


def test_kinds_replace_each_other_without_a_deletion(bench: Bench) -> None:
    shutil.rmtree(bench.files / "b")
    (bench.files / "b").write_bytes(b"a file now")
    (bench.files / "none").unlink()
    (bench.files / "none").mkdir()
    (bench.files / "none" / "in").write_bytes(b"")
    assert bench.told() == ["Entry Files/b", "Entry Files/none/in"]
    bench.body.detach([bench.base])
    work = bench.body.attach([bench.base])
    assert (work.root / "Files" / "b").read_bytes() == b"a file now"
    assert (work.root / "Files" / "none" / "in").is_file()


def test_reparse_points_are_empty_and_stay_what_they_are(bench: Bench) -> None:
    assert (bench.files / "link").read_bytes() == b""
    assert list((bench.files / "junction").iterdir()) == []
    (bench.files / "link").rename(bench.files / "other")
    found = {item.path: item for item in bench.items()}
    other = found["Files/other"]
    assert isinstance(other, Entry)
    assert other.metadata.reparse is not None
    assert other.data is None
    assert isinstance(found["Files/link"], Tombstone)
    (bench.files / "other").write_bytes(b"a file now")
    (other,) = (item for item in bench.items() if item.path == "Files/other")
    assert isinstance(other, Entry)
    assert other.metadata.reparse is None
    (bench.files / "junction" / "in").write_bytes(b"")
    with pytest.raises(UnsafeEntryError, match="link to another folder"):
        bench.items()


@pytest.mark.parametrize("name", ["a:b", "a\\b", "con", "x\udcff", "nul", "c:"])
def test_names_that_windows_cannot_have_are_refused(bench: Bench, name: str) -> None:
    (bench.files / name).write_bytes(b"")
    with pytest.raises(UnsafeEntryError):
        bench.items()


def test_links_and_pipes_of_this_machine_are_refused(bench: Bench) -> None:
    (bench.files / "link").unlink()
    (bench.files / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeEntryError, match="no place in a layer"):
        bench.items()
    (bench.files / "link").unlink()
    os.mkfifo(bench.files / "pipe")
    with pytest.raises(UnsafeEntryError):
        bench.items()


def test_hives_and_top_folders_are_not_deleted(bench: Bench) -> None:
    (bench.work.root / "Hives" / "System_Delta").unlink()
    with pytest.raises(UnsupportedError, match="deletes below Files"):
        bench.items()
    shutil.rmtree(bench.work.root / "Hives")
    with pytest.raises(UnsupportedError):
        bench.items()


def test_what_ntfs_shall_keep_can_be_said(bench: Bench) -> None:
    wanted = Metadata(0x26, TIME + 1, None, TIME - (1 << 62), None, b"\x01", (), None)
    bench.work.set_metadata(b"Files/a/y", wanted)
    (item,) = (item for item in bench.items() if not is_folder(item))
    assert isinstance(item, Entry)
    assert (item.path, item.metadata) == ("Files/a/y", wanted)
    with pytest.raises(NotFoundError):
        bench.work.set_metadata(b"Files/gone", wanted)


def test_the_state_is_checked_before_it_is_believed(bench: Bench) -> None:
    place = bench.body.folder / "state.json"
    for text in ("", "[]", '{"upper": "../../etc", "tree": null, "size": 0}', '{"upper": null, "tree": 1, "size": 0}',
                 '{"upper": null, "tree": null, "size": -1}'):  # fmt: skip
        place.write_text(text)
        with pytest.raises(FormatError):
            bench.body.state  # noqa: B018 - read for what it raises


def test_changes_upon_changes_are_one_layer(bench: Bench) -> None:
    (bench.files / "a" / "x").write_bytes(b"first")
    (bench.files / "b" / "1").unlink()
    bench.body.detach([bench.base])
    files = bench.body.attach([bench.base]).root / "Files"
    assert (files / "a" / "x").read_bytes() == (files / "z").read_bytes() == b"first"
    (files / "b" / "1").write_bytes(b"again")
    (files / "a" / "y").unlink()
    bench.body.detach([bench.base])
    assert bench.told() == [
        "Entry Files/a/x",
        "Tombstone Files/a/y",
        "Entry Files/b/1",
        "HardLink Files/z",
    ]
    assert sorted(path.name[:5] for path in bench.body.folder.iterdir()) == ["state", "upper"]


def test_random_work_comes_out_as_it_was_left(tmp_path: Path) -> None:
    chance = random.Random(8)
    bench = Bench(tmp_path, BASE)
    try:
        for _round in range(4):
            files = bench.body.attach([bench.base]).root / "Files"
            for _ in range(150):
                work_at_random(files, chance)
            expected = tree(files)
            with bench.body.changes([bench.base]) as items:
                made = tmp_path / f"layer-{_round}"
                with LayerFolderWriter(made, parents=[bench.base]) as writer:
                    copy_layer(items, writer)
            with LayerFolder(made) as layer:
                assert verify_folder(layer) == []
                again = tmp_path / f"tree-{_round}"
                again.mkdir()
                WorkTree.write(again, ChainView([layer, bench.base]))
                assert tree(again / "root" / "Files") == expected
            bench.body.detach([bench.base])
    finally:
        bench.base.close()


def work_at_random(root: Path, chance: random.Random) -> None:
    """One thing programs do: write, append, delete, move, make and remove folders, link."""
    paths = [path for path in sorted(root.rglob("*")) if "junction" not in path.parts and path.name != "link"]
    files, folders = [path for path in paths if path.is_file()], [root, *(path for path in paths if path.is_dir())]
    where = chance.choice(folders) / f"n{chance.randrange(12)}"
    action = chance.randrange(7)
    if action == 0 and not where.is_dir():
        where.write_bytes(chance.randbytes(chance.randrange(50)))
    elif action == 1 and files:
        with chance.choice(files).open("ab") as opened:
            opened.write(b"+")
    elif action == 2 and files:
        chance.choice(files).unlink()
    elif action == 3 and files and not where.exists():
        chance.choice(files).rename(where)
    elif action == 4 and not where.exists():
        where.mkdir()
    elif action == 5 and len(folders) > 5:
        shutil.rmtree(chance.choice(folders[1:]))
    elif action == 6 and files and not where.exists():
        os.link(chance.choice(files), where)
