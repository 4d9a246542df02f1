"""The databases that Debian's containerd writes. The schema is the same for every snapshotter and on every system."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.oci.samples import WINDOWS, layer_tar, write_image
from tests.store.hosts.containerd_daemon import Containerd
from wclayer.store.hosts import HostLayer, HostStore, open_host_stores
from wclayer.store.hosts.bolt import BoltDatabase
from wclayer.store.hosts.containerd import ContainerdStore

NAME = "registry.test/app"
TAGS = [f"{NAME}:tag-{number:04}" for number in range(80)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root with an image of two layers unpacked by the native snapshotter, and what ``ctr`` says of its snapshots."""
    folder = tmp_path_factory.mktemp("containerd")
    layout = folder / "layout"
    write_image(layout, [layer_tar("one"), layer_tar("two")], name="1")
    archive = Path(shutil.make_archive(str(folder / "image"), "tar", layout))
    with Containerd(folder / "root") as containerd:
        containerd.ctr(
            *("images", "import", "--base-name", NAME, "--snapshotter", "native"),
            *("--platform", "windows/amd64", archive),
        )
        containerd.ctr("snapshots", "--snapshotter", "native", "prepare", "base")
        containerd.ctr("snapshots", "--snapshotter", "native", "commit", "done", "base")
        containerd.ctr("snapshots", "--snapshotter", "native", "prepare", "active", "done")
        # Enough names for a tree with branches, and a record too large to stand inside another.
        containerd.ctr("images", "tag", f"{NAME}:1", *TAGS)
        containerd.ctr("images", "label", TAGS[7], f"note={'x' * 4000}")
        said = containerd.ctr("snapshots", "--snapshotter", "native", "ls")
    return folder / "root", said


@pytest.fixture
def root(written: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that root."""
    return Path(shutil.copytree(written[0], tmp_path / "root", symlinks=True))


def opened(root: Path) -> ContainerdStore:
    with open_host_stores(root) as stores:
        (store,) = stores
    assert isinstance(store, ContainerdStore)
    return store


def by_name(store: HostStore) -> dict[str, HostLayer]:
    return {str(layer.name): layer for layer in store.layers()}


def test_the_snapshots_are_those_that_ctr_lists(written: tuple[Path, str], root: Path) -> None:
    rows = [line.split() for line in written[1].splitlines()[1:]]
    wanted = {row[0]: (row[-1].lower(), row[1] if len(row) == 3 else None) for row in rows}
    layers = by_name(opened(root))
    names = {layer.id: layer.name for layer in layers.values()}
    found = {
        name: (layer.kind, names[layer.parents[0]] if layer.parents and layer.parents[0] else None)
        for name, layer in layers.items()
    }
    assert found == wanted
    assert {kind for kind, _ in wanted.values()} == {"committed", "active"}


def test_the_image_is_known_with_its_layers_and_what_holds_them(root: Path) -> None:
    store = opened(root)
    (image,) = store.images()
    assert image.names == (f"{NAME}:1", *TAGS)
    assert image.platform == f"windows({WINDOWS.os_version})/amd64"
    layers = {layer.id: layer for layer in store.layers()}
    bottom, top = (layers[str(identity)] for identity in image.layers)
    assert top.parents == (bottom.id,)
    assert bottom.chain_id == bottom.diff_id
    assert top.chain_id != top.diff_id
    assert top.held_by[:2] == [f"image {NAME}:1", f"image {TAGS[0]}"]
    assert top.images[0] == f"{NAME}:1"
    assert all(layer.created and layer.created > 1_600_000_000 * 10**9 for layer in layers.values())


def test_a_tree_with_branches_is_read_whole(root: Path) -> None:
    store = opened(root)
    (namespace,) = store.namespaces
    assert sorted(namespace.images) == sorted([f"{NAME}:1", *TAGS])
    assert namespace.images[TAGS[7]].labels["note"] == "x" * 4000
    digests = {image.digest for image in namespace.images.values()}
    assert digests == {store.images()[0].id}
    path = root / "io.containerd.metadata.v1.bolt" / "meta.db"
    with path.open("rb") as stream:
        database = BoltDatabase(stream, path.stat().st_size, "meta.db")
        images = database.bucket(b"v1", b"wclayer", b"images")
        assert images is not None
        assert len(list(images.buckets())) == len(TAGS) + 1
    raw = path.read_bytes()
    flags = {raw[at + 8] for at in range(0, len(raw), 4096)}
    assert {1, 2} <= flags, "containerd wrote no page of branches, so that nothing was tried"


def test_a_store_that_containerd_left_is_whole(root: Path) -> None:
    store = opened(root)
    # The index of the archive is nobody's once it is imported, and goes when containerd next collects garbage.
    assert {(finding.code, finding.severity) for finding in store.findings(content=True)} <= {
        ("blob-unused", "warning")
    }
    assert {step.kind for step in store.steps()} <= {"look"}
    events = store.events()
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert {"image-recorded", "snapshot-committed", "snapshot-made", "blob-stored"} <= {event.what for event in events}
    assert all(one.files for one in store.usage() if one.layer.images)


def test_what_is_taken_from_it_is_missed(root: Path) -> None:
    store = opened(root)
    (image,) = store.images()
    top = next(layer for layer in store.layers() if layer.id == image.layers[-1])
    assert top.path is not None
    shutil.rmtree(root / top.path)
    blob = sorted(store.content.blobs)[0]
    (root / store.content.blob_path(blob)).unlink()
    snapshots = root / "io.containerd.snapshotter.v1.native" / "snapshots"
    (snapshots / "rm-99").mkdir()
    (snapshots / "new-123").mkdir()
    (snapshots / "98").mkdir()
    codes = sorted(finding.code for finding in opened(root).findings())
    assert {"snapshot-folder-missing", "blob-missing", "half-removed", "half-made", "orphan"} <= set(codes)
    steps = opened(root).steps()
    pulled = [step.target for step in steps if step.kind == "pull"]
    assert f"{NAME}:1" in pulled
    aside = {step.target.rpartition("/")[2] for step in steps if step.kind == "move-aside"}
    assert aside == {"rm-99", "new-123", "98"}


def test_a_blob_that_rots_is_found_by_its_content_alone(root: Path) -> None:
    store = opened(root)
    digest = max(store.content.blobs, key=lambda one: store.content.blobs[one].size)
    path = root / store.content.blob_path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    names = opened(root).findings()
    (finding,) = (one for one in opened(root).findings(content=True) if one not in names)
    assert (finding.code, finding.subject) == ("blob-data-wrong", digest)
    assert "blob-data-wrong" not in {one.code for one in names}
