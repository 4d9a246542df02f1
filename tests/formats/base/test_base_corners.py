"""Corners of base layers: times that are set again, errors that stick, and what may stand in the place of a hive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.transport.layers import DIRECTORY, LINK, content_of, info, paths_of, put, record, stream, volume
from wclayer.errors import FormatError, StoreError, UsageError, WclayerError
from wclayer.formats.base import HIVE_NAMES, BaseLayerReader, BaseLayerWriter, convert_to_base_layer
from wclayer.formats.volume import BasicInfo, Status, Volume, VolumeError

CONFIG = "Files\\Windows\\System32\\config"
BCD = "UtilityVM\\Files\\EFI\\Microsoft\\Boot\\BCD"


class Processing:
    """What Windows would do, recorded."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def base(self, _layer: Volume) -> None:
        self.calls.append("base")

    def utility(self, _layer: Volume) -> None:
        self.calls.append("utility")


def writer_of(layer: Volume) -> tuple[BaseLayerWriter, Processing]:
    processing = Processing()
    return BaseLayerWriter(layer, processing.base, processing.utility), processing


def reparse_point(layer: Volume, path: str) -> None:
    """A symbolic link of Windows in an otherwise finished volume."""
    put(layer, path)
    described = layer.described(layer.lstat(path))
    described.reparse = LINK
    layer.changed(described)


# ---------------------------------------------------------------------- the reader


def test_37_a_utility_vm_that_is_a_file_is_no_utility_vm(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    layer.mkdir("Files")
    put(layer, "UtilityVM")
    with BaseLayerReader(layer) as reader:
        assert [head.path for head in iter(reader.next, None)] == ["Files"]


def test_37_only_the_folder_of_the_recycle_bin_at_the_top_is_left_out(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    for path in ("Files\\$recycle.bin\\x", "Files\\d\\$Recycle.Bin\\y"):
        put(layer, path)
    with BaseLayerReader(layer) as reader:
        found = [head.path for head in iter(reader.next, None)]
    assert found == ["Files", "Files\\d", "Files\\d\\$Recycle.Bin", "Files\\d\\$Recycle.Bin\\y"]
    other = volume(tmp_path / "o")
    put(other, "Files\\$Recycle.Bin")
    with BaseLayerReader(other) as reader:
        assert [head.path for head in iter(reader.next, None)] == ["Files", "Files\\$Recycle.Bin"]


# ---------------------------------------------------------------------- the writer


def test_38_times_of_folders_are_set_again_children_first(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer, processing = writer_of(layer)
    wanted = {}
    for number, path in enumerate(("Files", "Files\\d", "Files\\d\\e")):
        wanted[path] = info(DIRECTORY, 130_000_000_000_000_000 + number)
        writer.add(path, wanted[path])
    writer.add("Files\\d\\e\\f", info())
    writer.write(stream(b"x"))
    for path in wanted:  # as NTFS does when something is made in a folder
        layer.set_basic(layer.lstat(path), info(DIRECTORY, 134_000_000_000_000_000))
    order: list[str] = []
    original = layer.set_basic

    def watched(status: Status, info: BasicInfo) -> None:
        assert processing.calls == []
        order.append(status.path)
        original(status, info)

    layer.set_basic = watched  # type: ignore[method-assign]
    writer.close()
    assert order == ["Files\\d\\e", "Files\\d", "Files"]
    assert {path: layer.lstat(path).basic for path in wanted} == wanted
    assert processing.calls == ["base"]


def test_38_an_error_sticks_and_nothing_is_processed(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer, processing = writer_of(layer)
    writer.add("Files", info(DIRECTORY))
    writer.add("Files\\f", info())
    with pytest.raises(FormatError, match="unknown stream ID 77") as first:
        writer.write(record(77, 1, b"x"))
    for _ in range(2):
        with pytest.raises(FormatError) as again:
            writer.close()
        assert again.value is first.value
    assert processing.calls == []
    with pytest.raises(UsageError, match="closed"):
        writer.add("Files\\g", info())


def test_38_an_entry_that_is_cut_short_fails_the_layer_when_it_ends(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer, processing = writer_of(layer)
    writer.add("Files", info(DIRECTORY))
    writer.add("Files\\f", info())
    writer.write(stream(b"data")[:-1])
    with pytest.raises(WclayerError):
        writer.close()
    assert processing.calls == []


@pytest.mark.parametrize("failing", ["base", "utility"])
def test_38_what_windows_says_no_to_ends_the_layer(tmp_path: Path, failing: str) -> None:
    calls: list[str] = []

    def call(name: str) -> None:
        calls.append(name)
        if name == failing:
            raise StoreError(name)

    writer = BaseLayerWriter(volume(tmp_path / "l"), lambda _layer: call("base"), lambda _layer: call("utility"))
    for path in ("Files", "UtilityVM", "UtilityVM\\Files"):
        writer.add(path, info(DIRECTORY))
    for _ in range(2):
        with pytest.raises(StoreError, match=failing):
            writer.close()
    assert calls == ["base", "utility"][: 1 + (failing == "utility")]


def test_38_a_utility_vm_that_is_a_reparse_point_is_not_processed(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer, processing = writer_of(layer)
    writer.add("Files", info(DIRECTORY))
    writer.add("UtilityVM", info(DIRECTORY))
    writer.add("UtilityVM\\Files", info(DIRECTORY))
    layer.remove_all("UtilityVM")
    layer.mkdir("UtilityVM")
    described = layer.described(layer.lstat("UtilityVM"))
    described.reparse = LINK
    layer.changed(described)
    writer.changed_folders.pop()
    with pytest.raises(WclayerError, match="reparse point"):
        writer.close()
    assert processing.calls == ["base"]


def test_38_a_link_needs_its_target_a_free_name_and_one_layer(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer, _ = writer_of(layer)
    writer.add("Files", info(DIRECTORY))
    writer.add("Files\\a", info())
    writer.write(stream(b"data"))
    writer.add_link("Files/b", "Files/./a")
    assert layer.lstat("Files\\b").file_id == layer.lstat("Files\\a").file_id
    with pytest.raises(UsageError, match="closed"):
        writer.write(b"x")
    for name, target, code in (("Files\\b", "Files\\a", 183), ("Files\\c", "Files\\later", 2)):
        with pytest.raises(VolumeError) as error:
            writer.add_link(name, target)
        assert error.value.winerror == code
    writer.abandon()


# ---------------------------------------------------------------------- from a folder of files


def test_39_a_reparse_point_in_the_place_of_a_hive_is_refused_and_not_followed(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    reparse_point(layer, f"{CONFIG}\\SECURITY")
    processing = Processing()
    with pytest.raises(FormatError, match=r"hcsshim::ConvertToBaseLayer - failed: .*SECURITY is no ordinary file"):
        convert_to_base_layer(layer, processing.base, processing.utility)
    assert processing.calls == []


def test_39_a_link_of_this_machine_on_the_way_to_the_hives_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "l" / "Files").mkdir(parents=True)
    (tmp_path / "l" / "Files" / "Windows").symlink_to(tmp_path / "outside")
    with pytest.raises(WclayerError):
        convert_to_base_layer(volume(tmp_path / "l"), lambda _layer: None, lambda _layer: None)
    assert list((tmp_path / "outside").iterdir()) == []


def test_39_a_boot_configuration_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for kind in ("folder", "reparse point"):
        layer = volume(tmp_path / kind)
        if kind == "folder":
            layer.mkdir_all(BCD)
        else:
            reparse_point(layer, BCD)
        processing = Processing()
        with pytest.raises(FormatError, match=r"BCD has unexpected file mode"):
            convert_to_base_layer(layer, processing.base, processing.utility)
        assert processing.calls == []


def test_39_without_a_utility_vm_only_the_base_is_processed_and_all_hives_are_ours(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    put(layer, "UtilityVM\\SystemTemplate.vhdx")
    processing = Processing()
    assert convert_to_base_layer(layer, processing.base, processing.utility) == list(HIVE_NAMES)
    assert processing.calls == ["base"]
    assert [path for path in paths_of(layer) if path.startswith(CONFIG + "\\")] == [
        f"{CONFIG}\\{name}" for name in HIVE_NAMES
    ]
    assert len({content_of(layer, f"{CONFIG}\\{name}") for name in HIVE_NAMES}) == len(HIVE_NAMES)
