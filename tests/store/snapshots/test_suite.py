"""containerd's suite for snapshotters (``core/snapshots/testsuite``), restated for trees of plain files.

What the suite checks with owners and modes is checked with security descriptors and attributes here.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.stacks import TIME, file, folder
from tests.store.tars import tar, tree
from wclayer.errors import NotFoundError, StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.formats.tar import TarLayerReader
from wclayer.model import Metadata
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.store.snapshots import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    Kind,
    SnapshotInfo,
    Snapshotter,
)
from wclayer.store.snapshots.mounts import block_cim_mount, cim_mount
from wclayer.store.snapshots.snapshotter import OLD_SIZE_LABEL, SIZE_LABEL


@pytest.fixture
def snapshots(tmp_path: Path) -> Iterator[Snapshotter]:
    with Snapshotter(tmp_path / "root", patience=5) as opened:
        yield opened


def files(snapshots: Snapshotter, key: str) -> Path:
    """The files of drive C."""
    return snapshots.tree(key) / "Files"


def shown(snapshots: Snapshotter, name: str) -> dict[str, bytes | None]:
    """What a committed snapshot shows."""
    key = f"look-{time.monotonic_ns()}"
    snapshots.view(key, name)
    try:
        return tree(snapshots.tree(key) / "Files")
    finally:
        snapshots.remove(key)


def layer(snapshots: Snapshotter, name: str, parent: str = "") -> None:
    """A committed snapshot that says its name."""
    snapshots.prepare(f"{name}-active", parent)
    (files(snapshots, f"{name}-active") / name).write_text(name)
    snapshots.commit(name, f"{name}-active")


# ---------------------------------------------------------------------- the suite


def test_basic(snapshots: Snapshotter) -> None:
    snapshots.prepare("preparing")
    root = files(snapshots, "preparing")
    (root / "foo").write_text("foo\n")
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "b" / "d").write_text("d")
    before = tree(root)
    snapshots.commit("committed", "preparing")
    with pytest.raises(NotFoundError):
        snapshots.stat("preparing")
    first = snapshots.stat("committed")
    assert (first.parent, first.kind) == ("", Kind.COMMITTED)

    snapshots.prepare("next", "committed")
    root = files(snapshots, "next")
    assert tree(root) == before
    (root / "foo").write_text("changed")
    (root / "bar").write_text("new")
    shutil.rmtree(root / "a" / "b")
    after = tree(root)
    snapshots.commit("next-committed", "next")
    second = snapshots.stat("next-committed")
    assert (second.parent, second.kind) == ("committed", Kind.COMMITTED)
    assert list(snapshots.walk()) == [first, second]
    assert shown(snapshots, "next-committed") == after
    assert shown(snapshots, "committed") == before
    with pytest.raises(FailedPreconditionError, match="remove"):
        snapshots.remove("committed")
    snapshots.remove("next-committed")
    snapshots.remove("committed")
    assert list(snapshots.walk()) == []
    assert [path.name for path in snapshots.folder.iterdir()] == [".wclayer"]


def test_stat_active_and_committed(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("active", "base")
    snapshots.view("view", "base")
    assert (snapshots.stat("active").kind, snapshots.stat("active").parent) == (Kind.ACTIVE, "base")
    assert (snapshots.stat("view").kind, snapshots.stat("view").parent) == (Kind.VIEW, "base")
    assert snapshots.stat("base").kind is Kind.COMMITTED
    assert [kind.value for kind in (Kind.VIEW, Kind.ACTIVE, Kind.COMMITTED)] == [1, 2, 3]


def test_transitivity(snapshots: Snapshotter) -> None:
    layer(snapshots, "a")
    layer(snapshots, "b", "a")
    assert snapshots.stat("b").parent == "a"
    assert snapshots.stat(snapshots.stat("b").parent).parent == ""


@pytest.mark.parametrize("first", ["prepare", "view"])
@pytest.mark.parametrize("second", ["prepare", "view"])
def test_prepare_view_failing_b3_a_key_is_used_once(snapshots: Snapshotter, first: str, second: str) -> None:
    layer(snapshots, "base")
    getattr(snapshots, first)("key", "base")
    with pytest.raises(AlreadyExistsError):
        getattr(snapshots, second)("key", "base")
    with pytest.raises(AlreadyExistsError):
        getattr(snapshots, second)("base")


def test_update(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("active", "base", labels={"a": "1", "b.c": "2"})
    snapshots.view("view", "base")
    for key in ("active", "view", "base"):
        before = snapshots.stat(key)
        after = snapshots.update(SnapshotInfo(key, labels={"x": "y"}))
        assert after.labels == {"x": "y"}
        assert after.updated > before.updated
        assert (after.name, after.parent, after.kind, after.created) == (
            before.name,
            before.parent,
            before.kind,
            before.created,
        )
        assert snapshots.update(SnapshotInfo(key, labels={"z.w": "1"}), "labels.z.w").labels == {"x": "y", "z.w": "1"}
        assert snapshots.update(SnapshotInfo(key), "labels.x").labels == {"z.w": "1"}
        assert snapshots.update(SnapshotInfo(key, labels={"n": ""}), "labels").labels == {"n": ""}
        for field in ("name", "parent", "kind", "labels.", "created"):
            with pytest.raises(InvalidArgumentError, match=f"cannot update {field} field"):
                snapshots.update(SnapshotInfo(key, parent="other"), field)
    with pytest.raises(NotFoundError):
        snapshots.update(SnapshotInfo("gone"))


def test_remove(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("child", "base")
    with pytest.raises(FailedPreconditionError):
        snapshots.remove("base")
    snapshots.remove("child")
    snapshots.prepare("child", "base")
    snapshots.remove("child")
    snapshots.remove("base")
    layer(snapshots, "base")
    with pytest.raises(NotFoundError):
        snapshots.remove("gone")


def test_walk(snapshots: Snapshotter) -> None:
    layer(snapshots, "c1")
    layer(snapshots, "c2", "c1")
    for number, key in enumerate(("a1", "a2")):
        snapshots.prepare(key, f"c{number + 1}", labels={"which": key, "io.x/y": "1"})
    for key in ("v1", "v2"):
        snapshots.view(key, "c1")

    def names(*filters: str) -> list[str]:
        return sorted(info.name for info in snapshots.walk(*filters))

    assert names() == ["a1", "a2", "c1", "c2", "v1", "v2"]
    assert names("kind==active") == ["a1", "a2"]
    assert names("kind==view") == ["v1", "v2"]
    assert names("kind==committed") == ["c1", "c2"]
    assert names("parent==c1") == ["a1", "c2", "v1", "v2"]
    assert names("parent==c1,kind==view") == ["v1", "v2"]
    assert names("name~=^.2$") == ["a2", "c2", "v2"]
    assert names("labels.which==a1") == ["a1"]
    assert names('labels."io.x/y"==1') == ["a1", "a2"]
    assert names("labels.which") == ["a1", "a2"]
    assert names("kind==active,name!=a1") == ["a2"]
    assert names("name==c1", 'name=="v1"') == ["c1", "v1"]
    for wrong in ("", "name=c1", "name~=(", "kind==view,", "=="):
        with pytest.raises(InvalidArgumentError):
            names(wrong)


def test_layer_fileupdate_21555_a_change_within_the_same_second_is_seen(snapshots: Snapshotter) -> None:
    for number in range(5):
        base, top = f"base-{number}", f"top-{number}"
        snapshots.prepare("one")
        root = files(snapshots, "one")
        for name in ("1", "2"):
            (root / name).write_text("old")
            os.utime(root / name, ns=(10**18, 10**18))
        snapshots.commit(base, "one")
        snapshots.prepare("two", base)
        root = files(snapshots, "two")
        for name in ("1", "2"):
            (root / name).write_text("new")  # as long as before
            os.utime(root / name, ns=(10**18, 10**18))  # and with the same time
        snapshots.commit(top, "two")
        assert shown(snapshots, top) == {"1": b"new", "2": b"new"}


def test_remove_directory_in_lower_layer_25244_h19(snapshots: Snapshotter) -> None:
    snapshots.prepare("1")
    root = files(snapshots, "1")
    (root / "lib").mkdir()
    (root / "lib" / "hidden").write_text("lower")
    snapshots.commit("first", "1")
    snapshots.prepare("2", "first")
    root = files(snapshots, "2")
    shutil.rmtree(root / "lib")
    (root / "lib").mkdir()
    (root / "lib" / "not-hidden").write_text("upper")
    snapshots.commit("second", "2")
    snapshots.prepare("3", "second")
    (files(snapshots, "3") / "lib" / "newfile").write_text("third")
    snapshots.commit("third", "3")
    assert shown(snapshots, "third") == {"lib": None, "lib/newfile": b"third", "lib/not-hidden": b"upper"}


def test_chown_directory_permission_on_commit_root_permission_as_security_descriptors(snapshots: Snapshotter) -> None:
    old, new = build(from_sddl("O:BAG:SYD:(A;;FA;;;SY)")), build(from_sddl("O:SYG:BAD:(A;;FA;;;BA)"))
    snapshots.prepare("extract-1", extract=True)
    snapshots.apply(
        "extract-1",
        tar(
            [
                folder("Files", security_descriptor=old),
                folder("Files/d", security_descriptor=old),
                file("Files/f", b"f", security_descriptor=old),
            ]
        ),
    )
    snapshots.commit("base", "extract-1")
    snapshots.prepare("active", "base")
    work = snapshots.work_tree("active")
    for path, attributes in ((b"Files", 0x10), (b"Files/d", 0x12), (b"Files/f", 0x21)):
        work.set_metadata(path, Metadata(attributes, TIME, TIME, TIME, TIME, new))
    snapshots.commit("changed", "active")
    with LayerFolder(next(snapshots.folder.glob("2.layer"))) as committed:
        found = {node.path: (node.attributes, node.metadata().security_descriptor) for node in committed.nodes()}
    assert found == {"Files": (0x10, new), "Files/d": (0x12, new), "Files/f": (0x21, new)}
    # And what a layer on that changes keeps the rest.
    snapshots.prepare("more", "changed")
    (files(snapshots, "more") / "f").write_text("other")
    snapshots.commit("last", "more")
    with LayerFolder(next(snapshots.folder.glob("3.layer"))) as committed:
        node = committed.lookup("Files/f")
        assert node is not None
        assert node.metadata().security_descriptor == new


def test_remove_intermediate_snapshot(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    layer(snapshots, "middle", "base")
    layer(snapshots, "top", "middle")
    for name in ("base", "middle"):
        with pytest.raises(FailedPreconditionError):
            snapshots.remove(name)
    for name in ("top", "middle", "base"):
        snapshots.remove(name)


def test_deleted_files_in_child_snapshot(snapshots: Snapshotter) -> None:
    snapshots.prepare("1")
    for name in ("kept", "gone"):
        (files(snapshots, "1") / name).write_text(name)
    snapshots.commit("first", "1")
    snapshots.prepare("2", "first")
    (files(snapshots, "2") / "gone").unlink()
    snapshots.commit("second", "2")
    snapshots.prepare("3", "second")
    assert tree(files(snapshots, "3")) == {"kept": b"kept"}
    snapshots.commit("third", "3")
    assert shown(snapshots, "third") == {"kept": b"kept"}


def test_move_file_from_lower_layer_and_rename_25409_h20(snapshots: Snapshotter) -> None:
    descriptor = build(from_sddl("O:BAG:SYD:(A;;FA;;;SY)"))
    snapshots.prepare("extract-1")
    snapshots.apply(
        "extract-1",
        tar(
            [
                folder("Files"),
                folder("Files/dir1"),
                file("Files/dir1/f1", b"f1", security_descriptor=descriptor),
                file("Files/over", b"over"),
                file("Files/f2", b"f2", security_descriptor=descriptor),
                folder("Files/dir2"),
            ]
        ),
    )
    snapshots.commit("base", "extract-1")
    snapshots.prepare("active", "base")
    root = files(snapshots, "active")
    (root / "dir1").rename(root / "dir2" / "moved")
    (root / "f2").rename(root / "over")
    snapshots.commit("moved", "active")
    assert shown(snapshots, "moved") == {
        "dir2": None,
        "dir2/moved": None,
        "dir2/moved/f1": b"f1",
        "over": b"f2",
    }
    with LayerFolder(next(snapshots.folder.glob("2.layer"))) as committed:
        assert sorted(node.path for node in committed.tombstones()) == ["Files/dir1", "Files/f2"]
        for path in ("Files/dir2/moved/f1", "Files/over"):
            node = committed.lookup(path)
            assert node is not None
            assert node.metadata().security_descriptor == descriptor


def test_view_readonly_what_is_written_to_a_view_gets_nowhere(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.view("view", "base")
    root = files(snapshots, "view")
    assert all(path.stat().st_mode & 0o222 == 0 for path in (root, *root.rglob("*")))
    if os.geteuid():
        with pytest.raises(PermissionError):
            (root / "base").write_text("changed")
    else:  # whom modes do not stop
        (root / "base").write_text("changed")
    with pytest.raises(FailedPreconditionError, match="is not active"):
        snapshots.commit("other", "view")
    snapshots.remove("view")
    assert shown(snapshots, "base") == {"base": b"base"}
    with LayerFolder(next(snapshots.folder.glob("1.layer"))) as committed:
        assert verify_folder(committed) == []


def test_stat_in_walk(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("active", "base")
    for info in snapshots.walk():
        assert snapshots.stat(info.name) == info
        snapshots.update(SnapshotInfo(info.name, labels={"seen": "yes"}))
    assert [info.labels for info in snapshots.walk()] == [{"seen": "yes"}] * 2


def test_close_twice_b4(snapshots: Snapshotter) -> None:
    snapshots.close()
    snapshots.close()


def test_128_layers_mount(snapshots: Snapshotter) -> None:
    parent = ""
    for number in range(1, 129):
        key = f"extract-{number}"
        snapshots.prepare(key, parent)
        snapshots.apply(key, tar([folder("Files"), file("Files/bottom", b"%d" % number), file(f"Files/{number}", b"")]))
        snapshots.commit(str(number), key)
        parent = str(number)
    snapshots.prepare("active", parent)
    root = files(snapshots, "active")
    assert len(list(root.iterdir())) == 129
    assert (root / "bottom").read_text() == "128"
    (root / "64").unlink()
    snapshots.commit("top", "active")
    found = shown(snapshots, "top")
    assert "64" not in found
    assert len(found) == 128


# ---------------------------------------------------------------------- errors, ids, mounts


def test_b1_b6_numbers_are_not_used_twice_and_a_failure_leaves_no_folder(
    snapshots: Snapshotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer(snapshots, "base")
    assert [mount.source for mount in snapshots.prepare("a", "base")] == [str(snapshots.folder / "2")]
    assert (snapshots.folder / "2").stat().st_mode & 0o777 == 0o700
    snapshots.remove("a")

    def refuse(*_arguments: object, **_options: object) -> None:
        raise StoreError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("wclayer.store.snapshots.snapshotter.ReadWriteBody.make", refuse)
        with pytest.raises(StoreError, match="no space"):
            snapshots.prepare("b", "base")
    assert sorted(path.name for path in snapshots.folder.iterdir()) == [".wclayer", "1.layer"]
    with pytest.raises(NotFoundError):
        snapshots.stat("b")
    assert snapshots.prepare("c", "base")[0].source == str(snapshots.folder / "3")


def test_b3_every_failure_has_its_class(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    layer(snapshots, "other")
    snapshots.prepare("active", "base")
    snapshots.prepare("orphan")
    snapshots.view("view", "base")
    for make in (snapshots.prepare, snapshots.view):
        with pytest.raises(NotFoundError):
            make("new", "gone")
        with pytest.raises(InvalidArgumentError):
            make("new", "active")
        with pytest.raises(InvalidArgumentError):
            make("", "base")
    for key, error in (("gone", NotFoundError), ("view", FailedPreconditionError), ("base", FailedPreconditionError)):
        with pytest.raises(error):
            snapshots.commit("new", key)
    with pytest.raises(AlreadyExistsError):
        snapshots.commit("base", "active")
    with pytest.raises(InvalidArgumentError, match="cannot change parent of active snapshot"):
        snapshots.commit("new", "active", parent="other")
    with pytest.raises(NotFoundError):
        snapshots.commit("new", "orphan", parent="gone")
    with pytest.raises(FailedPreconditionError):
        snapshots.commit("new", "orphan", parent="active")
    with pytest.raises(FailedPreconditionError, match="not active or view"):
        snapshots.mounts("base")
    for look in (snapshots.stat, snapshots.mounts, snapshots.usage, snapshots.remove, snapshots.tree):
        with pytest.raises(NotFoundError):
            look("gone")
    with pytest.raises(NotFoundError):
        snapshots.stat("new")
    for key in ("active", "view", "base", "orphan"):
        assert snapshots.stat(key).name == key


def test_b3_a_parent_may_be_named_at_commit_when_there_was_none(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("orphan")
    (files(snapshots, "orphan") / "own").write_text("own")
    snapshots.commit("child", "orphan", parent="base")
    assert snapshots.stat("child").parent == "base"
    assert shown(snapshots, "child") == {"base": b"base", "own": b"own"}


def test_b4_labels_of_commit_replace_those_of_prepare(snapshots: Snapshotter) -> None:
    snapshots.prepare("active", labels={"a": "1"})
    created = snapshots.stat("active").created
    snapshots.commit("done", "active", labels={"b": "2"})
    info = snapshots.stat("done")
    assert (info.labels, info.created) == ({"b": "2"}, created)
    assert info.updated >= created


def test_b5_b13_h17_mounts_are_printed_as_containerd_prints_them(snapshots: Snapshotter) -> None:
    layer(snapshots, "one")
    layer(snapshots, "two", "one")
    snapshots.prepare("active", "two")
    snapshots.view("view", "two")
    root = r"C:\ProgramData\containerd\root\io.containerd.snapshotter.v1.windows"
    parents = (
        r'["C:\\ProgramData\\containerd\\root\\io.containerd.snapshotter.v1.windows\\snapshots\\2",'
        r'"C:\\ProgramData\\containerd\\root\\io.containerd.snapshotter.v1.windows\\snapshots\\1"]'
    )
    for key, number, mode in (("active", 3, "rw"), ("view", 4, "ro")):
        (mount,) = snapshots.mounts(key, windows_root=root)
        assert mount == (
            "windows-layer",
            rf"{root}\snapshots\{number}",
            (mode, f"parentLayerPaths={parents}"),
        )
    assert snapshots.prepare("base")[0].options == ("rw",)
    (mount,) = snapshots.mounts("active")
    assert mount.source == str(snapshots.folder / "3")
    assert mount.options[1] == f'parentLayerPaths=["{snapshots.folder}/2.layer","{snapshots.folder}/1.layer"]'


def test_b19_b24_h17_mounts_of_cims_are_printed_as_containerd_prints_them() -> None:
    assert cim_mount(r"C:\r", "3", ["2", "1"], read_only=False) == (
        "CimFS",
        r"C:\r\snapshots\3",
        (
            "rw",
            r"cimpath=C:\r\snapshots\cim-layers\3.cim",
            r'parentLayerPaths=["C:\\r\\snapshots\\2","C:\\r\\snapshots\\1"]',
            r'parentCimPaths=["C:\\r\\snapshots\\cim-layers\\2.cim","C:\\r\\snapshots\\cim-layers\\1.cim"]',
        ),
    )
    assert cim_mount(r"C:\r", "1", [], read_only=True).options == ("ro", r"cimpath=C:\r\snapshots\cim-layers\1.cim")
    scratch = block_cim_mount(r"C:\r&d", "3", ["2", "1"], scratch=True, integrity=True, footer=True)
    assert scratch == (
        "BlockCIM",
        r"C:\r&d\snapshots\3",
        (
            r'parentCimPaths=["C:\\r\u0026d\\snapshots\\2\\layer.vhd\\layer.cim",'
            r'"C:\\r\u0026d\\snapshots\\1\\layer.vhd\\layer.cim"]',
            "blockCIMType=file",
            "enable_layer_integrity",
            "append_vhd_footer",
            r"mergedCIMPath=C:\r&d\snapshots\2\merged.vhd\merged.cim",
        ),
    )
    assert block_cim_mount(r"C:\r", "1", [], scratch=False) == (
        "BlockCIM",
        r"C:\r\snapshots\1\layer.vhd\layer.cim",
        ("parentCimPaths=[]", "blockCIMType=file"),
    )


def test_b8_a_key_that_merely_contains_extract_is_no_snapshot_that_awaits_a_layer(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    snapshots.prepare("my-extracted-app", "base")
    (files(snapshots, "my-extracted-app") / "app").write_text("app")
    snapshots.commit("app", "my-extracted-app")
    assert shown(snapshots, "app") == {"app": b"app", "base": b"base"}
    snapshots.prepare("extract-123 sha256:abc", "base")
    with pytest.raises(FailedPreconditionError):
        snapshots.tree("extract-123 sha256:abc")
    snapshots.prepare("awaits", "base", extract=True)
    diff_id = snapshots.apply("awaits", tar([folder("Files"), file("Files/f", b"f")]))
    assert diff_id.startswith("sha256:")
    snapshots.commit("filled", "awaits")
    assert shown(snapshots, "filled") == {"base": b"base", "f": b"f"}
    snapshots.prepare("plain", "base", extract=False)
    with pytest.raises(FailedPreconditionError, match="does not await"):
        snapshots.apply("plain", tar([]))


def test_b8_a_snapshot_on_nothing_begins_with_an_empty_files_folder(snapshots: Snapshotter) -> None:
    snapshots.prepare("base")
    assert tree(snapshots.tree("base")) == {"Files": None}


def test_b11_sizes_are_read_from_the_two_labels(snapshots: Snapshotter) -> None:
    from wclayer.store.readwrite import ReadWriteBody

    snapshots.prepare("both", labels={OLD_SIZE_LABEL: "30", SIZE_LABEL: "42949672960"})
    snapshots.prepare("old", labels={OLD_SIZE_LABEL: "30"})
    snapshots.prepare("none")
    sizes = [ReadWriteBody(snapshots.folder / number).state.size for number in ("1", "2", "3")]
    assert sizes == [40 << 30, 30 << 30, 0]
    for labels in ({OLD_SIZE_LABEL: "-1"}, {OLD_SIZE_LABEL: str(1 << 32)}, {SIZE_LABEL: "much"}, {SIZE_LABEL: ""}):
        with pytest.raises(InvalidArgumentError, match="failed to parse label"):
            snapshots.prepare("wrong", labels=labels)


def test_b5_usage_of_a_committed_snapshot_is_that_at_its_commit(snapshots: Snapshotter) -> None:
    snapshots.prepare("active")
    empty = snapshots.usage("active")
    (files(snapshots, "active") / "f").write_bytes(os.urandom(1 << 20))
    grown = snapshots.usage("active")
    assert grown.size >= empty.size + (1 << 20)
    assert grown.inodes > empty.inodes
    snapshots.commit("done", "active")
    usage = snapshots.usage("done")
    assert usage.size >= 1 << 20
    shutil.rmtree(snapshots.folder / "1.layer" / "Files")
    assert snapshots.usage("done") == usage


def test_b14_leftovers_are_swept_when_the_snapshots_are_opened(snapshots: Snapshotter) -> None:
    layer(snapshots, "base")
    for name in ("7", "1.cafe.layer", "rm-3"):
        (snapshots.folder / name).mkdir()
    removed = Snapshotter(snapshots.root).cleanup()
    assert removed == []
    assert sorted(path.name for path in snapshots.folder.iterdir()) == [".wclayer", "1.layer"]


def test_b28_b46_any_two_snapshots_can_be_compared(snapshots: Snapshotter) -> None:
    layer(snapshots, "one")
    layer(snapshots, "two", "one")
    layer(snapshots, "three", "two")
    layer(snapshots, "other")

    def diff(key: str, against: str | None = None) -> list[str]:
        file_ = io.BytesIO()
        snapshots.write_diff(key, file_.write, against)
        return [f"{type(item).__name__} {item.path}" for item in TarLayerReader([file_.getvalue()])]

    assert diff("three") == diff("three", "two") == ["Entry Files", "Entry Files/three"]
    assert diff("three", "one")[1:] == ["Entry Files/three", "Entry Files/two"]
    assert diff("other", "one")[1:] == ["Tombstone Files/one", "Entry Files/other"]
    snapshots.prepare("active", "three")
    assert diff("active") == []
    with pytest.raises(WclayerError):
        diff("active", "one")
    with pytest.raises(FailedPreconditionError):
        diff("one", "active")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "snapshots.db").write_bytes(b"bolt" * 2000)
    with pytest.raises(WclayerError, match=r"damaged|not"):
        Snapshotter(tmp_path)
