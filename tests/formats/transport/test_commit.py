from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.formats.transport.layers import DIRECTORY, LINK, Layer, content_of, info, paths_of, put, stream, volume
from wclayer.errors import StoreError, WclayerError
from wclayer.formats.transport import commit_layer, import_layer, process_nothing
from wclayer.formats.volume import Volume, VolumeError


@pytest.fixture
def parent(tmp_path: Path) -> Volume:
    """A parent with a file and a utility VM."""
    made = volume(tmp_path / "p", "{parent0}")
    put(made, "Files\\base.dll", b"base", info(time=131_000_000_000_000_000))
    put(made, "UtilityVM\\Files\\EFI\\Microsoft\\Boot\\BCD", b"regf")
    return made


@pytest.fixture
def layer(tmp_path: Path, parent: Volume) -> Layer:
    """A layer on that parent, begun."""
    made = Layer(tmp_path / "l", parent)
    made.folder("Files")
    made.folder("Hives")
    made.add("Hives\\System_Delta", stream(b"regf"))
    return made


def commit(layer: Layer) -> None:
    commit_layer(layer.writer, import_layer, process_nothing)


class Watched:
    """ImportLayer and ProcessUtilityImage that say what they found, and fail where they should."""

    def __init__(self, failing: str = "") -> None:
        self.seen: list[str] = []
        self.failing = failing

    def step(self, name: str) -> None:
        self.seen.append(name)
        if name == self.failing:
            raise StoreError(name)

    def import_layer(self, layer: Volume, transport: Volume, parents: Sequence[Volume]) -> None:
        assert not transport.exists("tombstones.txt")
        self.step("import")
        import_layer(layer, transport, parents)

    def process(self, layer: Volume) -> None:
        assert not layer.exists("Files\\gone")
        assert layer.exists("Files\\link")
        assert layer.lstat("Files").basic == info(DIRECTORY)
        self.step("process")


def fill(layer: Layer) -> None:
    layer.add("Files\\gone", stream(b"x"))
    layer.folder("UtilityVM")
    layer.writer.remove("Files\\gone")
    layer.writer.add_link("Files\\link", "Files\\base.dll")


def test_33_import_then_deletions_links_times_and_the_utility_vm(layer: Layer) -> None:
    fill(layer)
    watched = Watched()
    commit_layer(layer.writer, watched.import_layer, watched.process)
    assert watched.seen == ["import", "process"]


def test_33_a_step_that_fails_ends_the_rest(layer: Layer) -> None:
    fill(layer)
    watched = Watched("import")
    with pytest.raises(StoreError, match="import"):
        commit_layer(layer.writer, watched.import_layer, watched.process)
    assert watched.seen == ["import"]
    assert not layer.layer.exists("Files")


@pytest.mark.replaces_methods
def test_33_folders_get_their_times_children_first(layer: Layer) -> None:
    layer.folder("Files\\d")
    layer.folder("Files\\d\\e")
    order: list[str] = []
    original = layer.layer.set_basic

    def watched(status, basic):  # type: ignore[no-untyped-def]
        order.append(status.path)
        original(status, basic)

    layer.layer.set_basic = watched  # type: ignore[method-assign]
    commit(layer)
    assert order == ["Files\\d\\e", "Files\\d", "Hives", "Files"]


def test_34_a_deletion_of_nothing_is_fine_of_a_full_folder_not(layer: Layer) -> None:
    layer.writer.remove("Files\\nothing")
    layer.writer.remove("Files\\no\\where")
    layer.add("Files\\f", stream(b"x"))
    layer.writer.remove("Files\\f")
    commit(layer)
    assert not layer.layer.exists("Files\\f")


def test_34_a_full_folder_is_not_deleted(layer: Layer) -> None:
    layer.folder("Files\\d")
    layer.add("Files\\d\\f")
    layer.writer.remove("Files\\d")
    with pytest.raises(VolumeError) as error:
        commit(layer)
    assert error.value.winerror == 145


def test_34_a_deletion_of_a_reparse_point_removes_only_that(layer: Layer) -> None:
    layer.add("Files\\l", stream(reparse=LINK), info(0x420))
    layer.writer.remove("Files\\l")
    commit(layer)
    assert not layer.layer.exists("Files\\l")


def test_35_a_folder_that_is_added_and_deleted_is_an_error(layer: Layer) -> None:
    layer.folder("Files\\d")
    layer.writer.remove("Files\\d")
    with pytest.raises(VolumeError) as error:
        commit(layer)
    assert error.value.winerror == 2


def test_35_links_replace_what_is_there_and_share_the_file(layer: Layer, parent: Volume) -> None:
    layer.add("Files\\own", stream(b"own"))
    layer.add("Files\\taken", stream(b"old"))
    layer.writer.add_link("Files\\taken", "Files\\own")
    layer.writer.add_link("Files\\base2", "Files\\BASE.dll")
    layer.writer.add_link("Files\\base3", "Files\\base2")
    commit(layer)
    made = layer.layer
    assert content_of(made, "Files\\taken") == b"own"
    assert made.lstat("Files\\taken").file_id == made.lstat("Files\\own").file_id
    assert made.lstat("Files\\base3").file_id == parent.lstat("Files\\base.dll").file_id
    assert made.lstat("Files\\base2").basic == parent.lstat("Files\\base.dll").basic


def test_35_a_link_to_what_the_layer_deletes_is_an_error(layer: Layer) -> None:
    layer.add("Files\\own", stream(b"own"))
    layer.writer.add_link("Files\\x", "Files\\own")
    layer.writer.remove("Files\\own")
    with pytest.raises(VolumeError, match=r"Files\\own is not in \{layer\}"):
        commit(layer)


def test_35_deletions_are_kept_for_an_export(layer: Layer) -> None:
    layer.writer.remove("Files\\one")
    layer.writer.remove("Files\\two")
    commit(layer)
    assert layer.layer.manifest is not None
    assert layer.layer.manifest.tombstones() == ["Files\\one", "Files\\two"]


def test_what_is_imported_is_what_the_blobs_say(layer: Layer) -> None:
    blob = stream(b"data", reparse=None, security=b"descriptor", alternates=[(":s:$DATA", b"alternate")])
    layer.add("Files\\f", blob, info(0x21, 132_000_000_000_000_000))
    layer.add("Files\\l", stream(reparse=LINK), info(DIRECTORY | 0x400))
    commit(layer)
    made = layer.layer
    status = made.lstat("Files\\f")
    assert status.basic == info(0x21, 132_000_000_000_000_000)
    assert status.record.security_descriptor == b"descriptor"
    assert content_of(made, "Files\\f") == b"data"
    assert made.manifest is not None
    (row,) = made.manifest.streams_of(status.record)
    assert (row.name, b"".join(made.manifest.stream_pieces(row.stream))) == (":s:$DATA", b"alternate")
    assert made.lstat("Files\\l").record.reparse == LINK
    assert "Files.$wcidirs$" not in paths_of(made)


def test_a_folder_without_its_sidecar_is_not_imported(layer: Layer) -> None:
    layer.transport.mkdir("Files\\d")
    with pytest.raises(WclayerError, match="without the file that describes it"):
        commit(layer)
