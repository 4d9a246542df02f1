from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.formats.transport.layers import (
    DESCRIPTOR,
    DIRECTORY,
    LINK,
    REPARSE,
    Layer,
    content_of,
    info,
    paths_of,
    put,
    record,
    stream,
    volume,
)
from tests.open_files import open_files
from wclayer.errors import FormatError, StoreError, UnsafeEntryError, UsageError
from wclayer.formats.transport.names import is_mutated
from wclayer.formats.volume import Volume, VolumeError
from wclayer.model import Notices

BOOT = "UtilityVM\\Files\\EFI\\Microsoft\\Boot"


@pytest.fixture
def parent(tmp_path: Path) -> Volume:
    """A parent with a utility VM."""
    made = volume(tmp_path / "p0", "{parent0}")
    for name in ("BCD", "BCD.LOG", "bcd.log1", "BCD.LOG2", "bootmgfw.efi"):
        put(made, f"{BOOT}\\{name}", name.encode(), info(time=131_000_000_000_000_000))
    put(made, "UtilityVM\\Files\\d\\k.sys", b"old", info(time=131_000_000_000_000_000))
    put(made, "UtilityVM\\SystemTemplate.vhdx", b"disk")
    put(made, "Files\\base.dll", b"base")
    made.set_basic(made.lstat("UtilityVM\\Files\\d"), info(DIRECTORY, 130_000_000_000_000_000))
    return made


@pytest.fixture
def layer(tmp_path: Path, parent: Volume) -> Layer:
    """A layer on that parent."""
    return Layer(tmp_path / "l", parent)


# ---------------------------------------------------------------------- the transport folder


def test_22_files_are_blobs_folders_have_sidecars_hives_are_plain(layer: Layer) -> None:
    blob = stream(b"data", security=DESCRIPTOR)
    layer.folder("Files", stream(security=DESCRIPTOR))
    layer.folder("Files\\d")
    layer.add("Files\\d\\f", blob, info(0x27, 132_000_000_000_000_000))
    layer.folder("Hives")
    layer.add("Hives\\Sam_Delta", blob)
    layer.writer.close()
    made = layer.transport
    assert content_of(made, "Files.$wcidirs$") == struct.pack("<I", 0x10) + stream(security=DESCRIPTOR)
    assert content_of(made, "Files\\d.$wcidirs$") == struct.pack("<I", 0x10)
    assert content_of(made, "Hives.$wcidirs$") == struct.pack("<I", 0x10)
    assert content_of(made, "Files\\d\\f") == struct.pack("<I", 0x27) + blob
    assert content_of(made, "Hives\\Sam_Delta") == b"data"
    assert made.lstat("Files\\d\\f").basic == info(0x20, 132_000_000_000_000_000)
    assert made.lstat("Hives\\Sam_Delta").record.security_descriptor is None
    assert sorted(layer.writer.added) == ["Files", "Files\\d", "Files\\d\\f", "Hives", "Hives\\Sam_Delta"]
    assert [folder.path for folder in layer.writer.changed_folders] == ["Files", "Files\\d", "Hives"]


def test_22_a_blob_that_comes_in_small_pieces_is_whole(layer: Layer) -> None:
    blob = stream(os.urandom(300_000))
    layer.folder("Files")
    layer.writer.add("Files\\f", info())
    for start in range(0, len(blob), 777):
        layer.writer.write(blob[start : start + 777])
    layer.writer.close()
    assert content_of(layer.transport, "Files\\f")[4:] == blob


def test_23_a_name_comes_once_whatever_its_case_and_needs_its_folder(layer: Layer) -> None:
    layer.folder("Files")
    layer.add("Files\\a")
    for path in ("Files\\a", "Files\\A"):
        with pytest.raises(VolumeError) as error:
            layer.add(path)
        assert error.value.winerror == 183
    with pytest.raises(VolumeError) as error:
        layer.add("Files\\d\\f")
    assert error.value.winerror == 3


def test_23_a_file_named_like_a_sidecar_collides_with_its_folder_in_either_order(layer: Layer) -> None:
    layer.folder("Files")
    layer.folder("Files\\d")
    with pytest.raises(VolumeError):
        layer.add("Files\\d.$wcidirs$")
    layer.add("Files\\e.$wcidirs$")
    with pytest.raises(VolumeError):
        layer.folder("Files\\e")
    assert layer.transport.exists("Files\\e")  # the folder was made before its sidecar could not be
    assert layer.layer.notices.counts["sidecar-name"] == 2


def test_23_what_does_not_belong_at_the_top_is_noticed_and_strictly_refused(tmp_path: Path, layer: Layer) -> None:
    layer.add("foo.txt", b"content")
    layer.folder("Files")
    assert content_of(layer.transport, "foo.txt") == b"\x20\0\0\0content"
    assert layer.layer.notices.counts["top-level-name"] == 1
    layer.writer.notices = Notices(strict=True)
    with pytest.raises(FormatError) as error:
        layer.add("bar.txt")
    assert error.value.kind == "top-level-name"


@pytest.mark.parametrize(
    ("path", "text"), [("\\Files\\x", "expected relative path"), ("Files\\a:b", "invalid character"), ("C:\\x", "`:`")]
)
def test_23_paths_that_lead_elsewhere_are_refused(layer: Layer, path: str, text: str) -> None:
    layer.folder("Files")
    with pytest.raises(UnsafeEntryError, match=text):
        layer.add(path)


def test_24_a_reparse_folder_is_away_until_the_end(layer: Layer) -> None:
    layer.folder("Files")
    layer.add("Files\\l", stream(reparse=LINK), info(DIRECTORY | REPARSE))
    layer.folder("Files\\d")
    assert not layer.transport.exists("Files\\l")
    with pytest.raises(VolumeError) as error:
        layer.add("Files\\l\\child")
    assert error.value.winerror == 3
    layer.writer.close()
    assert layer.transport.lstat("Files\\l").is_directory
    assert [folder.path for folder in layer.writer.pending_folders] == ["Files\\l"]


def test_24_two_reparse_streams_or_a_cut_one_are_errors(tmp_path: Path, parent: Volume) -> None:
    twice = Layer(tmp_path / "twice", parent)
    twice.folder("Files")
    twice.add("Files\\l", stream(reparse=LINK) * 2, info(DIRECTORY))
    with pytest.raises(VolumeError) as error:
        twice.writer.close()
    assert error.value.winerror == 2
    cut = Layer(tmp_path / "cut", parent)
    cut.folder("Files")
    cut.add("Files\\l", record(8, 100, b"short"), info(DIRECTORY))
    with pytest.raises(FormatError):
        cut.writer.close()


# ---------------------------------------------------------------------- reset


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond ``size`` bytes, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_25_a_failed_flush_closes_the_file_and_no_later_call_succeeds(layer: Layer) -> None:
    layer.folder("Files")
    before = len(open_files())
    layer.add("Files\\f", stream(bytes(50_000)))
    with no_more_than(1000), pytest.raises(StoreError):
        layer.writer.add("Files\\g", info())
    assert len(open_files()) <= before
    for _ in range(2):
        with pytest.raises(StoreError):
            layer.writer.close()


def test_25_a_malformed_sidecar_does_not_make_the_next_reset_fail(layer: Layer) -> None:
    layer.folder("Files")
    layer.folder("Files\\d", b"\1\0\0")
    with pytest.raises(FormatError):
        layer.writer.add("Files\\e", info())
    layer.writer.close()


def test_25_after_an_entry_nothing_is_open(layer: Layer) -> None:
    layer.folder("Files")
    layer.writer.remove("Files\\gone")
    with pytest.raises(UsageError, match="closed"):
        layer.writer.write(b"x")


def test_26_data_is_taken_for_an_entry_only(layer: Layer) -> None:
    with pytest.raises(UsageError, match="closed"):
        layer.writer.write(b"x")
    layer.folder("UtilityVM")
    with pytest.raises(UsageError, match="closed"):
        layer.writer.write(b"x")
    layer.writer.add_link("Files\\x", "Files\\base.dll")
    with pytest.raises(UsageError, match="closed"):
        layer.writer.write(b"x")
    layer.writer.close()
    layer.writer.close()
    with pytest.raises(UsageError, match="closed"):
        layer.writer.write(b"x")
    with pytest.raises(UsageError, match="closed"):
        layer.writer.add("Files\\f", info())


# ---------------------------------------------------------------------- the utility VM


def test_27_the_utility_vm_must_be_declared_and_has_only_files(layer: Layer) -> None:
    with pytest.raises(FormatError, match="missing UtilityVM directory"):
        layer.add("UtilityVM\\Files\\x")
    layer.folder("UtilityVM")
    with pytest.raises(FormatError, match="invalid UtilityVM layer"):
        layer.add("UtilityVM\\x")


@pytest.mark.parametrize("name", ["UtilityVM\\", ".\\UtilityVM", "UtilityVM\\."])
def test_27_its_name_is_cleaned_before_it_is_compared(layer: Layer, name: str) -> None:
    layer.folder(name)
    assert layer.writer.has_utility_vm


def test_27_a_utility_vm_that_is_there_or_missing_in_the_parent_is_an_error(tmp_path: Path, layer: Layer) -> None:
    layer.layer.mkdir("UtilityVM")
    with pytest.raises(VolumeError) as error:
        layer.folder("UtilityVM")
    assert error.value.winerror == 183
    bare = Layer(tmp_path / "bare", volume(tmp_path / "bare-parent"))
    with pytest.raises(VolumeError, match="cloning the parent utility VM image failed"):
        bare.folder("UtilityVM")


def test_28_files_are_shared_with_the_parent_but_not_what_windows_changes(layer: Layer, parent: Volume) -> None:
    layer.folder("UtilityVM")
    assert paths_of(layer.layer) == [p for p in paths_of(parent) if p.startswith("UtilityVM") and "vhdx" not in p]
    for status in layer.layer.walk("UtilityVM\\Files"):
        theirs = parent.lstat(status.path)
        assert status.basic == theirs.basic
        if not status.is_directory:
            assert (status.file_id == theirs.file_id) != is_mutated(status.path)
            assert content_of(layer.layer, status.path) == content_of(parent, status.path)
    assert sum(is_mutated(path) for path in paths_of(layer.layer)) == 4


def test_28_reparse_points_are_copied_and_not_entered(layer: Layer, parent: Volume) -> None:
    parent.mkdir("UtilityVM\\Files\\l")
    described = parent.described(parent.lstat("UtilityVM\\Files\\l"))
    described.reparse = LINK
    parent.changed(described)
    layer.folder("UtilityVM")
    assert layer.layer.lstat("UtilityVM\\Files\\l").record.reparse == LINK


def test_28_a_parent_whose_utility_vm_is_a_link_is_refused(tmp_path: Path, layer: Layer) -> None:
    (tmp_path / "p0" / "UtilityVM" / "Files").rename(tmp_path / "elsewhere")
    (tmp_path / "p0" / "UtilityVM" / "Files").symlink_to(tmp_path / "elsewhere")
    fresh = Volume(tmp_path / "p0")
    other = Layer(tmp_path / "other", fresh)
    with pytest.raises(UnsafeEntryError):
        other.folder("UtilityVM")
    fresh.close()


def test_29_what_changes_its_type_is_replaced(layer: Layer, parent: Volume) -> None:
    layer.folder("UtilityVM")
    layer.folder(f"{BOOT}\\bootmgfw.efi")
    assert layer.layer.lstat(f"{BOOT}\\bootmgfw.efi").is_directory
    with pytest.raises(VolumeError) as error:
        layer.add("UtilityVM\\Files\\d")
    assert error.value.winerror == 145
    layer.folder("UtilityVM\\Files\\d")
    assert layer.layer.exists("UtilityVM\\Files\\d\\k.sys")
    layer.add("UtilityVM\\Files\\d\\k.sys", stream(b"new"))
    layer.add("UtilityVM\\Files\\EFI", stream(reparse=LINK), info(DIRECTORY | REPARSE))
    layer.writer.close()
    assert content_of(layer.layer, "UtilityVM\\Files\\d\\k.sys") == b"new"
    assert content_of(parent, "UtilityVM\\Files\\d\\k.sys") == b"old"
    assert layer.layer.lstat("UtilityVM\\Files\\EFI").is_reparse_point
    with pytest.raises(UnsafeEntryError):
        layer.layer.lstat("UtilityVM\\Files\\EFI\\x")


# ---------------------------------------------------------------------- links and deletions


def test_30_a_link_is_searched_in_the_layer_then_in_the_parents_nearest_first(tmp_path: Path) -> None:
    near, far = volume(tmp_path / "near", "near"), volume(tmp_path / "far", "far")
    put(near, "Files\\both", b"near")
    put(far, "Files\\both", b"far")
    put(far, "Files\\only", b"far")
    layer = Layer(tmp_path / "l", near, far)
    layer.folder("Files")
    layer.add("Files\\own", stream(b"own"))
    for name, target in (("a", "own"), ("b", "both"), ("c", "ONLY"), ("d", "a")):
        layer.writer.add_link(f"Files\\{name}", f"Files\\{target}")
    assert [link.root for link in layer.writer.pending_links] == [layer.layer, near, far, layer.layer]
    with pytest.raises(FormatError) as error:
        layer.writer.add_link("Files\\e", "Files\\later")
    assert "failed to find link target for 'Files\\e' -> 'Files\\later'" in str(error.value)
    assert "this layer, near, far" in str(error.value)


def test_30_links_lead_from_and_to_files_of_the_container_and_of_the_utility_vm(layer: Layer) -> None:
    layer.folder("Files")
    layer.folder("UtilityVM")
    layer.writer.add_link("Files\\k", "UtilityVM\\Files\\d\\k.sys")
    layer.writer.add_link("UtilityVM\\Files\\b", "Files\\base.dll")
    assert [link.root for link in layer.writer.pending_links] == [layer.layer, layer.parents[0]]
    for name, target in (("Hives\\x", "Files\\base.dll"), ("Files\\x", "Hives\\y"), ("Files", "Files\\base.dll")):
        with pytest.raises(FormatError, match="invalid hard link in layer"):
            layer.writer.add_link(name, target)


def test_31_deletions_wait_for_the_import_but_not_in_the_utility_vm(layer: Layer, parent: Volume) -> None:
    layer.writer.remove("Files\\a\\..\\b")
    assert layer.writer.tombstones == ["Files\\b"]
    layer.writer.remove("UtilityVM\\Files\\d")
    assert layer.writer.has_utility_vm
    assert not layer.layer.exists("UtilityVM\\Files\\d")
    assert content_of(parent, "UtilityVM\\Files\\d\\k.sys") == b"old"
    with pytest.raises(VolumeError) as error:
        layer.writer.remove("UtilityVM\\Files\\d")
    assert error.value.winerror == 2
    for path in ("Files", "Hives\\x", "UtilityVM\\Files", "."):
        with pytest.raises(FormatError, match="invalid tombstone"):
            layer.writer.remove(path)


@pytest.mark.replaces_methods
def test_32_an_entry_that_cannot_begin_leaves_no_file(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    layer.folder("Files")
    layer.folder("UtilityVM")
    layer.writer.remove("Files\\x")
    before = len(open_files())

    def fail(*_arguments: object, **_options: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr("wclayer.formats.transport.writer.BlobFile", fail)
    monkeypatch.setattr("wclayer.formats.transport.writer.RestoredFile", fail)
    for path in ("Files\\f", "UtilityVM\\Files\\f"):
        with pytest.raises(StoreError):
            layer.add(path)
        assert path not in layer.writer.added
    assert not layer.transport.exists("Files\\f")
    assert not layer.layer.exists("UtilityVM\\Files\\f")
    with pytest.raises(StoreError):
        layer.folder("Files\\d")
    assert layer.transport.exists("Files\\d")  # only its sidecar is taken back, as in the reference
    assert not layer.transport.exists("Files\\d.$wcidirs$")
    assert len(open_files()) <= before + 2


def test_32_a_stream_that_cannot_be_restored_fails_the_layer_for_good(layer: Layer) -> None:
    layer.folder("UtilityVM")
    layer.add("UtilityVM\\Files\\new", record(77, 1, b"x"))
    for _ in range(2):
        with pytest.raises(FormatError, match="unknown stream ID 77"):
            layer.writer.close()
