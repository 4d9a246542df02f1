from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.formats.transport.layers import (
    DESCRIPTOR,
    DIRECTORY,
    LINK,
    ads,
    all_of_base,
    content_of,
    file,
    folder,
    gone,
    info,
    link,
    paths_of,
    put,
    stream,
    volume,
)
from wclayer.errors import FormatError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.base import (
    HIVE_NAMES,
    BaseFolderReader,
    BaseFolderWriter,
    BaseLayerReader,
    BaseLayerWriter,
    convert_to_base_layer,
)
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.formats.volume import Volume, VolumeError
from wclayer.model import LayerItem, Notices, copy_layer

CONFIG = "Files\\Windows\\System32\\config"


class Processing:
    """What Windows would do, recorded."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def base(self, _layer: Volume) -> None:
        self.calls.append("base")

    def utility(self, _layer: Volume) -> None:
        self.calls.append("utility")


def read(layer: Volume) -> list[str]:
    with BaseLayerReader(layer) as reader:
        return [head.path for head in iter(reader.next, None)]


# ---------------------------------------------------------------------- the reader


def test_37_files_then_the_files_of_the_utility_vm_and_nothing_else(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    for path in (
        "Files\\a",
        "Files\\$Recycle.BIN\\x",
        "Files\\x.$wcidirs$",
        "UtilityVM\\Files\\b",
        "UtilityVM\\SystemTemplate.vhdx",
        "UtilityVM\\other\\c",
        "Hives\\SYSTEM_BASE",
        "blank.vhdx",
        "layout",
        "bcd.bak",
    ):
        put(layer, path)
    assert read(layer) == [
        "Files",
        "Files\\a",
        "Files\\x.$wcidirs$",
        "UtilityVM",
        "UtilityVM\\Files",
        "UtilityVM\\Files\\b",
    ]


def test_37_a_utility_vm_without_files_is_none_and_files_must_be_there(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    put(layer, "UtilityVM\\x")
    with pytest.raises(VolumeError) as error:
        read(layer)
    assert error.value.winerror == 2
    layer.mkdir("Files")
    assert read(layer) == ["Files"]


def test_37_a_closed_reader_says_so(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    layer.mkdir("Files")
    reader = BaseLayerReader(layer)
    assert reader.next() is not None
    assert reader.next() is None
    assert reader.next() is None
    reader.close()
    with pytest.raises(UsageError, match="BaseLayerReader closed"):
        reader.next()


def test_37_a_file_is_read_with_its_security_and_no_data_if_it_is_empty(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer = BaseLayerWriter(layer, lambda _layer: None, lambda _layer: None)
    writer.add("Files", info(DIRECTORY))
    writer.add("Files\\a", info())
    writer.write(stream(b"", security=DESCRIPTOR, alternates=[(":s:$DATA", b"x")]))
    writer.close()
    with BaseLayerReader(layer) as reader:
        reader.next()
        reader.next()
        found = all_of_base(reader)
    descriptor = stream(security=DESCRIPTOR)
    assert found == descriptor[:4] + b"\2" + descriptor[5:] + stream(alternates=[(":s:$DATA", b"x")])


# ---------------------------------------------------------------------- the writer


def test_38_entries_come_once_and_after_their_folders(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    for name, winerror in (("Files\\d\\f", 3), ("files", 183)):
        writer = BaseLayerWriter(layer, lambda _layer: None, lambda _layer: None)
        if winerror == 3:
            writer.add("Files", info(DIRECTORY))
        with pytest.raises(VolumeError) as error:
            writer.add(name, info(DIRECTORY))
        assert error.value.winerror == winerror
        writer.abandon()


@pytest.mark.parametrize("name", ["UtilityVM\\Files", "UtilityVM\\Files\\", "UtilityVM/Files", ".\\UtilityVM\\Files"])
def test_38_the_utility_vm_is_recognised_however_it_is_spelt(tmp_path: Path, name: str) -> None:
    processing = Processing()
    writer = BaseLayerWriter(volume(tmp_path / "l"), processing.base, processing.utility)
    for path in ("Files", "UtilityVM", name):
        writer.add(path, info(DIRECTORY))
    writer.close()
    writer.close()
    assert processing.calls == ["base", "utility"]


def test_38_links_are_made_at_once(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    writer = BaseLayerWriter(layer, lambda _layer: None, lambda _layer: None)
    writer.add("Files", info(DIRECTORY))
    writer.add("Files\\a", info())
    writer.write(stream(b"data"))
    writer.add_link("Files\\b", "Files\\A")
    assert layer.lstat("Files\\b").file_id == layer.lstat("Files\\a").file_id
    with pytest.raises(VolumeError) as error:
        writer.add_link("Files\\c", "Files\\none")
    assert error.value.winerror == 2
    writer.abandon()


def test_38_a_deletion_is_refused_and_nothing_is_processed_then(tmp_path: Path) -> None:
    processing = Processing()
    writer = BaseLayerWriter(volume(tmp_path / "l"), processing.base, processing.utility)
    writer.add("Files", info(DIRECTORY))
    with pytest.raises(FormatError, match="base layer cannot have tombstones"):
        writer.remove("Files\\x")
    with pytest.raises(FormatError, match="base layer cannot have tombstones"):
        writer.close()
    assert processing.calls == []


def test_38_data_without_an_entry_is_refused(tmp_path: Path) -> None:
    writer = BaseLayerWriter(volume(tmp_path / "l"), lambda _layer: None, lambda _layer: None)
    with pytest.raises(UsageError, match="closed"):
        writer.write(b"x")


def test_38_files_must_not_be_a_reparse_point_when_it_is_processed(tmp_path: Path) -> None:
    processing = Processing()
    writer = BaseLayerWriter(volume(tmp_path / "l"), processing.base, processing.utility)
    writer.add("Files", info(DIRECTORY | 0x400))
    writer.write(stream(reparse=LINK))
    with pytest.raises(WclayerError, match="reparse point"):
        writer.close()
    assert processing.calls == []


# ---------------------------------------------------------------------- from a folder of files


def test_39_missing_hives_are_made_and_existing_ones_kept(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    put(layer, f"{CONFIG}\\sam", b"mine")
    processing = Processing()
    made = convert_to_base_layer(layer, processing.base, processing.utility)
    assert made == [name for name in HIVE_NAMES if name != "SAM"]
    assert content_of(layer, f"{CONFIG}\\SAM") == b"mine"
    for name in made:
        hive = content_of(layer, f"{CONFIG}\\{name}")
        assert (len(hive), hive[:4], hive[4096:4100]) == (8192, b"regf", b"hbin")
        checksum = 0
        for at in range(0, 508, 4):
            checksum ^= int.from_bytes(hive[at : at + 4], "little")
        assert checksum == int.from_bytes(hive[508:512], "little")
    assert processing.calls == ["base"]
    assert convert_to_base_layer(layer, processing.base, processing.utility) == []


def test_39_a_hive_that_is_no_file_is_refused(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    layer.mkdir_all(f"{CONFIG}\\SYSTEM")
    with pytest.raises(FormatError, match=r"ConvertToBaseLayer - failed: .*SYSTEM is no ordinary file"):
        convert_to_base_layer(layer, lambda _layer: None, lambda _layer: None)


def test_39_a_utility_vm_needs_its_boot_configuration(tmp_path: Path) -> None:
    layer = volume(tmp_path / "l")
    layer.mkdir_all("UtilityVM\\Files\\EFI\\Microsoft\\Boot")
    processing = Processing()
    with pytest.raises(FormatError, match=r"UtilityVM must contain 'EFI\\Microsoft\\Boot\\BCD'"):
        convert_to_base_layer(layer, processing.base, processing.utility)
    put(layer, "UtilityVM\\Files\\EFI\\Microsoft\\Boot\\BCD", b"regf")
    convert_to_base_layer(layer, processing.base, processing.utility)
    assert processing.calls == ["base", "utility"]
    other = volume(tmp_path / "o")
    put(other, "UtilityVM\\Files")
    with pytest.raises(FormatError, match="unexpected file mode"):
        convert_to_base_layer(other, processing.base, processing.utility)


# ---------------------------------------------------------------------- as a layer format


def tar_of(items: list[LayerItem]) -> bytes:
    out = io.BytesIO()
    with TarLayerWriter(out.write, policy="faithful") as writer:
        for item in items:
            writer.write(item)
    return out.getvalue()


def test_a_base_folder_gives_back_what_it_took(tmp_path: Path) -> None:
    tar = tar_of(
        [
            folder("Files"),
            file("Files/a", b"data", 0x21),
            ads("Files/a", "s", b"alternate"),
            folder("Files/d"),
            ads("Files/d", "of a folder", b"kept"),
            folder("Files/l", reparse=LINK),
            file("Files/none", None),
            link("Files/z", "Files/a"),
        ]
    )
    notices = Notices()
    with BaseFolderWriter(tmp_path / "b", notices=notices) as writer:
        copy_layer(TarLayerReader([tar]), writer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]
    out = io.BytesIO()
    with TarLayerWriter(out.write, policy="faithful") as again:
        copy_layer(BaseFolderReader(tmp_path / "b", notices=notices), again)

    def seen(data: bytes) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for item in TarLayerReader([data]):
            content = getattr(item, "data", None)
            found.append(
                (
                    type(item).__name__,
                    item.path,
                    getattr(item, "name", ""),
                    content and content.read(1 << 20),
                    getattr(item, "target", ""),
                )
            )
        return found

    assert seen(out.getvalue()) == seen(tar)


def test_a_base_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError), BaseFolderWriter(tmp_path / "b") as writer:
        copy_layer([folder("Files"), gone("Files/x")], writer)
    assert list(tmp_path.iterdir()) == []


def test_no_entry_can_take_the_name_of_the_manifest(tmp_path: Path) -> None:
    for name in ("layer.ntfs", "LAYER.NTFS", "layer.ntfs-journal"):
        with pytest.raises(WclayerError, match="own records"), BaseFolderWriter(tmp_path / "b") as writer:
            writer.write(file(name))
    assert paths_of(volume(tmp_path / "v")) == []
