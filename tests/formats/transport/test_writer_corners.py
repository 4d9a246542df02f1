"""Corners of writing a diff layer: the cases in which hcsshim's own writer once failed, and which file a link means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.transport.layers import DIRECTORY, Layer, content_of, info, paths_of, put, record, stream, volume
from tests.open_files import open_files
from wclayer.errors import FormatError
from wclayer.formats.transport import commit_layer, import_layer, process_nothing
from wclayer.formats.transport.writer import PendingFolder
from wclayer.formats.volume import VolumeError


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """A layer on a parent that has a file, begun."""
    parent = volume(tmp_path / "p", "{parent0}")
    put(parent, "Files\\old", b"of the parent")
    put(parent, "UtilityVM\\Files\\k.sys", b"kernel")
    made = Layer(tmp_path / "l", parent)
    made.folder("Files")
    return made


def test_22_attributes_are_in_the_blob_alone_and_times_are_those_of_the_file_with_it(layer: Layer) -> None:
    moment = 132_000_000_000_000_000
    layer.add("Files\\d", b"", info(DIRECTORY | 0x6, moment))
    layer.add("Files\\f", stream(b"x"), info(0x27, moment + 10))
    layer.writer.close()
    made = layer.transport
    assert content_of(made, "Files\\d.$wcidirs$")[:4] == b"\x16\0\0\0"
    assert content_of(made, "Files\\f")[:4] == b"\x27\0\0\0"
    assert made.lstat("Files\\d.$wcidirs$").basic == info(0x20, moment)
    assert made.lstat("Files\\f").basic == info(0x20, moment + 10)
    assert made.lstat("Files\\d").basic.attributes == DIRECTORY


def test_22_a_folder_below_hives_has_a_sidecar_that_is_restored_and_no_attributes_in_it(layer: Layer) -> None:
    layer.folder("Hives")
    layer.folder("Hives\\sub", stream(security=b"descriptor"))
    layer.writer.close()
    assert layer.transport.lstat("Hives\\sub").is_directory
    assert content_of(layer.transport, "Hives\\sub.$wcidirs$") == b""


def test_23_a_name_that_differs_in_case_is_there_already_for_folders_too(layer: Layer) -> None:
    layer.folder("Files\\Dir")
    for path in ("Files\\dir", "Files\\DIR"):
        with pytest.raises(VolumeError) as error:
            layer.folder(path)
        assert error.value.winerror == 183
    layer.writer.close()
    assert paths_of(layer.transport) == ["Files", "Files\\Dir", "Files\\Dir.$wcidirs$", "Files.$wcidirs$"]


def test_24_the_placeholder_cannot_come_back_when_its_name_is_taken(layer: Layer) -> None:
    from tests.formats.transport.layers import LINK

    layer.add("Files\\l", stream(reparse=LINK), info(DIRECTORY | 0x400))
    layer.writer.add("Files\\next", info())
    put(layer.transport, "Files\\l", b"taken")
    with pytest.raises(VolumeError) as error:
        layer.writer.close()
    assert error.value.winerror == 183


def test_25_a_folder_that_is_noted_without_an_open_file_harms_nothing(layer: Layer) -> None:
    layer.folder("Files\\d")
    current, layer.writer._current = layer.writer._current, None
    assert current is not None
    current.close()
    layer.writer._sidecar_of = PendingFolder("Files\\d", layer.transport)
    layer.add("Files\\e", stream(b"x"))
    layer.writer.close()
    assert layer.transport.exists("Files\\d")


def test_25_a_sidecar_that_makes_no_sense_is_told_once_and_its_folder_is_forgotten(layer: Layer) -> None:
    before = len(open_files())
    layer.folder("Files\\d", record(8, 100, b"cut"))
    with pytest.raises(FormatError):
        layer.writer.add("Files\\e", info())
    assert len(open_files()) <= before
    layer.add("Files\\e", stream(b"x"))
    layer.writer.close()
    assert content_of(layer.transport, "Files\\e") == b"\x20\0\0\0" + stream(b"x")


@pytest.mark.parametrize("name", ["UtilityVM/", "./UtilityVM", "UtilityVM/.", "Files/../UtilityVM"])
def test_27_the_utility_vm_is_recognised_with_the_slashes_of_a_tar(layer: Layer, name: str) -> None:
    layer.folder(name)
    layer.add("UtilityVM/Files/new", stream(b"x"))
    layer.writer.close()
    assert content_of(layer.layer, "UtilityVM\\Files\\new") == b"x"
    assert not layer.transport.exists("UtilityVM")


def test_29_an_empty_folder_gives_way_to_a_file_in_the_utility_vm(layer: Layer) -> None:
    layer.folder("UtilityVM")
    layer.folder("UtilityVM\\Files\\d")
    layer.add("UtilityVM\\Files\\d", stream(b"file"))
    layer.writer.close()
    assert content_of(layer.layer, "UtilityVM\\Files\\d") == b"file"


def test_30_a_target_that_comes_later_means_the_file_of_the_parent(layer: Layer) -> None:
    layer.writer.add_link("Files\\x", "Files\\old")
    layer.add("Files\\old", stream(b"of this layer"))
    layer.folder("Hives")
    commit_layer(layer.writer, import_layer, process_nothing)
    assert content_of(layer.layer, "Files\\x") == b"of the parent"
    assert content_of(layer.layer, "Files\\old") == b"of this layer"


def test_30_a_target_is_cleaned_before_it_is_looked_for(layer: Layer) -> None:
    layer.add("Files\\own", stream(b"of this layer"))
    for number, target in enumerate(("Files/own", "./Files/own", "Files\\d\\..\\own", "Files\\\\own\\.")):
        layer.writer.add_link(f"Files/x{number}", target)
    assert {link.target for link in layer.writer.pending_links} == {"Files\\own"}
    assert {link.root for link in layer.writer.pending_links} == {layer.layer}
    layer.writer.add_link("Files\\y", "Files\\x0")
    assert layer.writer.pending_links[-1].root is layer.layer


def test_30_a_target_that_the_layer_deletes_is_an_error_when_the_links_are_made(layer: Layer) -> None:
    layer.add("Files\\new", stream(b"x"))
    layer.folder("Hives")
    layer.writer.remove("Files\\new")
    layer.writer.add_link("Files\\x", "Files\\new")
    with pytest.raises(VolumeError) as error:
        commit_layer(layer.writer, import_layer, process_nothing)
    assert error.value.winerror == 2
    assert not layer.layer.exists("Files\\x")


def test_31_a_deletion_in_the_utility_vm_of_what_is_not_there_clones_it_all_the_same(layer: Layer) -> None:
    with pytest.raises(VolumeError) as error:
        layer.writer.remove("UtilityVM\\Files\\none")
    assert error.value.winerror == 2
    assert layer.writer.has_utility_vm
    assert layer.layer.exists("UtilityVM\\Files\\k.sys")
