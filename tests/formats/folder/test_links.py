"""Where a hard link may lead, and what it becomes on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.formats.folder.layers import file, folder, plain, read, sparse, symlink, tree, write
from wclayer.errors import IntegrityError, UnsafeEntryError
from wclayer.formats.folder import IndexWriter, LayerFolder, verify_folder
from wclayer.formats.folder.door import Door
from wclayer.model import HardLink, LayerItem, Metadata, Notices, Tombstone

pytestmark = pytest.mark.usefixtures("processes")

RESOLVED: dict[str, tuple[list[LayerItem], str]] = {
    "target before": ([file("a", b"1"), HardLink("l", "a")], "a"),
    "target after": ([HardLink("l", "a"), file("a", b"1")], "a"),
    "target in other case": ([file("D/Ä", b"1"), HardLink("l", "d/ä")], "D/Ä"),
    "exact spelling wins": ([file("A", b"0"), file("a", b"1"), HardLink("l", "a")], "a"),
    "link to a link": ([file("a", b"1"), HardLink("m", "a"), HardLink("l", "m")], "a"),
    "link to a later link": ([HardLink("l", "m"), HardLink("m", "a"), file("a", b"1")], "a"),
    "through the layer": (
        [folder("UtilityVM"), file("UtilityVM/a", b"1"), HardLink("l", "UtilityVM/a")],
        "UtilityVM/a",
    ),
    "named like its target": ([file("A", b"1"), HardLink("d/l", "A"), HardLink("l", "a")], "A"),
    "beside a tombstone of its target": ([file("a", b"1"), Tombstone("a"), HardLink("l", "a")], "a"),
    "target in a folder far away": (
        [file("d/e/a", b"1"), *(file(f"{n}/x") for n in range(9)), HardLink("l", "d/e/a")],
        "d/e/a",
    ),
    "target in a folder that comes later": ([file("d/a", b"1"), folder("d"), HardLink("l", "d/a")], "d/a"),
    "link in a folder that comes later": (
        [file("a", b"1"), HardLink("d/l", "a"), folder("d"), HardLink("l", "a")],
        "a",
    ),
    "below a folder that comes later": ([HardLink("l", "d/a"), file("d/a", b"1"), folder("d")], "d/a"),
}


@pytest.mark.parametrize("case", RESOLVED)
def test_a_link_leads_to_the_file(tmp_path: Path, case: str) -> None:
    items, target = RESOLVED[case]
    path = write(tmp_path / "layer", *items)
    assert (path / "l").stat().st_ino == (path / target).stat().st_ino
    assert (path / "l").read_bytes() == b"1"
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        node = opened.lookup("l")
        assert node is not None
        found = node.target_node()
        assert found is not None
        assert found.path == target
        assert node.size == 1
        assert verify_folder(opened) == []


def test_names_that_this_machine_cannot_hold_are_linked_too(tmp_path: Path) -> None:
    long, other = "é" * 200, "ü" * 200
    items = [file(f"d/{long}", b"1"), file("b", b"2"), HardLink("l", f"d/{long}"), HardLink(f"d/{other}", "b")]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    assert [(path / name).stat().st_nlink for name in ("l", "b")] == [2, 2]
    assert verify_folder(LayerFolder(path)) == []


REFUSED: dict[str, tuple[list[LayerItem], str]] = {
    "nowhere": ([HardLink("l", "a")], "neither in this layer nor in its parents"),
    "itself": ([HardLink("l", "l")], "neither in this layer nor in its parents"),
    "a tombstone": ([Tombstone("a"), HardLink("l", "a")], "neither in this layer nor in its parents"),
    "a circle": ([HardLink("a", "b"), HardLink("b", "a")], "in a circle"),
    "a long circle": ([HardLink(str(n), str((n + 1) % 9)) for n in range(9)], "in a circle"),
    "into a circle": ([HardLink("x", "a"), HardLink("a", "b"), HardLink("b", "a")], "in a circle"),
    "a folder": ([folder("a"), HardLink("l", "a")], "which is a folder"),
    "a synthesised folder": ([file("a/b"), HardLink("l", "a")], "which is a folder"),
    "a reparse point": ([symlink("a"), HardLink("l", "a")], "which is a reparse point"),
    "a junction": ([symlink("a", is_directory=True), HardLink("l", "a")], "which is a"),
    "through a reparse point": (
        [symlink("a", is_directory=True), HardLink("l", "a/b")],
        "through a, which is a reparse",
    ),
    "through one of other case": ([symlink("D/A", is_directory=True), HardLink("l", "d/a/b")], "through D/A"),
    "a folder through a link": ([folder("a"), HardLink("m", "a"), HardLink("l", "m")], "which is a folder"),
    "the parent folder": ([file("a"), HardLink("l", "../a")], "unsafe hard link"),
    "an absolute path": ([file("a"), HardLink("l", "/a")], "unsafe hard link"),
    "a drive": ([file("a"), HardLink("l", "C:\\a")], "unsafe hard link"),
    "a stream": ([file("a"), HardLink("l", "a:s")], "unsafe hard link"),
    "nothing": ([file("a"), HardLink("l", "")], "unsafe hard link"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_link_that_leads_anywhere_else_is_refused(tmp_path: Path, case: str) -> None:
    items, reason = REFUSED[case]
    with pytest.raises(UnsafeEntryError, match=reason):
        write(tmp_path / "layer", *items)
    assert tree(tmp_path) == set()


def test_a_target_is_looked_for_in_the_parents_nearest_first(tmp_path: Path) -> None:
    base = write(tmp_path / "base", file("Files/only base", b"1"), file("Files/both", b"2"), file("Files/here", b"3"))
    middle = write(tmp_path / "middle", file("Files/Both", b"4"), parents=[base])
    items = [
        HardLink("Files/a", "files/ONLY BASE"),
        HardLink("Files/b", "Files/both"),
        HardLink("Files/c", "Files/here"),
        HardLink("Files/both", "Files/both"),
        file("Files/here", b"5"),
    ]
    path = write(tmp_path / "top", *items, parents=[middle, base])
    assert {name: (path / "Files" / name).read_bytes() for name in "abc"} == {"a": b"1", "b": b"4", "c": b"5"}
    assert (path / "Files/a").stat().st_ino == (base / "Files/only base").stat().st_ino
    assert (path / "Files/both").read_bytes() == b"4"
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        layers = {node.name: (node.target_layer, node.target_node() is None) for node in opened.links()}
        assert layers == {"a": (1, True), "b": (0, True), "c": (None, False), "both": (0, True)}
        assert verify_folder(opened) == []


def test_what_a_nearer_layer_deleted_is_still_a_target(tmp_path: Path) -> None:
    base = write(tmp_path / "base", file("Files/a", b"1"))
    middle = write(tmp_path / "middle", Tombstone("Files/a"), parents=[base])
    path = write(tmp_path / "top", HardLink("Files/l", "Files/a"), parents=[middle, base])
    assert (path / "Files/l").read_bytes() == b"1"


def test_a_link_to_a_link_of_a_parent_leads_to_its_file(tmp_path: Path) -> None:
    base = write(tmp_path / "base", file("a", b"1"))
    middle = write(tmp_path / "middle", HardLink("b", "a"), parents=[base])
    path = write(tmp_path / "top", HardLink("c", "b"), parents=[middle, base])
    assert (path / "c").stat().st_ino == (base / "a").stat().st_ino


@pytest.mark.parametrize(
    ("parent", "target"),
    [
        ([folder("a")], "a"),
        ([symlink("a")], "a"),
        ([symlink("a", is_directory=True)], "A/b"),
        ([file("a/b")], "a"),
    ],
)
def test_a_parent_offers_only_files(tmp_path: Path, parent: list[LayerItem], target: str) -> None:
    base = write(tmp_path / "base", *parent)
    with pytest.raises(UnsafeEntryError, match="hard link"):
        write(tmp_path / "top", HardLink("l", target), parents=[base])
    assert not (tmp_path / "top").exists()


def test_the_error_names_link_target_and_layers(tmp_path: Path) -> None:
    base = write(tmp_path / "base")
    with pytest.raises(UnsafeEntryError) as caught:
        write(tmp_path / "top", HardLink("Files/link", "Files/target"), parents=[base])
    assert all(part in str(caught.value) for part in ("Files/link", "Files/target", str(base)))


def test_a_link_keeps_its_own_times_and_attributes(tmp_path: Path) -> None:
    metadata = Metadata(0x21, creation_time=1, last_access_time=2, last_write_time=3, change_time=4)
    path = write(tmp_path / "layer", file("a", b"1", attributes=0x20), HardLink("l", "a", metadata))
    with LayerFolder(path) as opened:
        link, target = opened.lookup("l"), opened.lookup("a")
        assert link is not None
        assert target is not None
        assert link.metadata() == metadata
        assert target.metadata().attributes == 0x20


def test_streams_of_the_target_are_those_of_the_link(tmp_path: Path) -> None:
    from tests.formats.folder.layers import alternate

    path = write(tmp_path / "layer", file("a"), alternate("a", ":s:$DATA", b"1"), HardLink("l", "a"))
    with LayerFolder(path) as opened:
        node = opened.lookup("l")
        assert node is not None
        assert [stream.name for stream in opened.streams(node)] == [":s:$DATA"]


@pytest.mark.replaces_methods
def test_where_the_system_cannot_link_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write(tmp_path / "base", sparse("p", 1 << 20, (4096, b"parent")), file("none", None))
    monkeypatch.setattr(Door, "link", lambda *_arguments, **_options: False)
    monkeypatch.setattr("wclayer.formats.folder.writer.can_start_workers", lambda: False)  # it would not be patched
    items = [file("a", b"1"), HardLink("l", "a"), HardLink("m", "p"), HardLink("n", "none")]
    path = write(tmp_path / "layer", *items, parents=[base])
    assert (path / "l").read_bytes() == b"1"
    assert (path / "l").stat().st_ino != (path / "a").stat().st_ino
    assert (path / "m").read_bytes() == (base / "p").read_bytes()
    assert (path / "m").stat().st_blocks * 512 < 1 << 19
    assert (path / "n").read_bytes() == b""
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_file_of_a_parent_on_another_device_is_copied(tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs a second file system")
        base = write(Path(other) / "base", file("a", b"1"))
        path = write(tmp_path / "layer", HardLink("l", "a"), parents=[base])
        assert (path / "l").read_bytes() == b"1"
        (base / "a").parent.chmod(0o755)


def test_a_parent_file_that_changed_its_size_is_not_linked(tmp_path: Path) -> None:
    base = write(tmp_path / "base", file("a", b"1"))
    (base / "a").chmod(0o644)
    (base / "a").write_bytes(b"12")
    with pytest.raises(IntegrityError, match="2 bytes instead of 1"):
        write(tmp_path / "layer", HardLink("l", "a"), parents=[base])


def test_a_parent_file_that_became_a_symlink_is_not_linked(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"1")
    base = write(tmp_path / "base", file("a", b"1"))
    base.chmod(0o755)
    (base / "a").unlink()
    (base / "a").symlink_to(secret)
    with pytest.raises(IntegrityError, match="no ordinary file"):
        write(tmp_path / "layer", HardLink("l", "a"), parents=[base])


def test_long_chains_of_links_take_no_longer_than_short_ones(tmp_path: Path) -> None:
    count = 3000
    items: list[LayerItem] = [HardLink(f"{n}", f"{n + 1}") for n in range(count)]
    path = write(tmp_path / "forward", *items, file(str(count), b"1"))
    assert (path / "0").read_bytes() == b"1"
    path = write(tmp_path / "backward", *reversed(items), file(str(count), b"1"))
    assert (path / "0").read_bytes() == b"1"


def test_an_index_without_parents_reports_links_that_lead_there() -> None:
    notices = Notices()
    with IndexWriter(notices=notices) as writer:
        writer.write(HardLink("l", "elsewhere"))
        writer.write(HardLink("m", "l"))
        writer.write(HardLink("n", "m"))
    assert notices.counts == {"unresolved-link": 3}
    with writer.index as index:
        assert [link.target_node() for link in index.links()] == [None] * 3
