"""The registry of an image is its base hives seen through the deltas of all layers, wherever the image is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.image.registry.windows_images import CONFIG, UNINSTALL, VERSION, WindowsBuilder, patch, server_core
from tests.image.stacks import file, folders, make_image
from tests.registries.docker_registry import DockerRegistry
from tests.registries.watched import push_layout
from wclayer.errors import FormatError, IntegrityError, NotFoundError, UsageError, WclayerError
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.registry import HIVES, ImageRegistry
from wclayer.image.unpack import unpack
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import Entry
from wclayer.oci.network import Network
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.regf import REG_DWORD, Hive, HiveKey, HiveValue, write_hive

CURRENT = f"HKLM\\SOFTWARE\\{VERSION}"
APPLICATION = f"HKLM\\SOFTWARE\\{UNINSTALL}\\{{11111111-2222-3333-4444-555555555555}}"


def number(registry: ImageRegistry, path: str, name: str) -> int | None:
    key = registry.key(path)
    value = key.value(name) if key is not None else None
    return None if value is None else value.value.number()


def check_all(registry: ImageRegistry) -> None:
    assert registry.hives == HIVES
    assert number(registry, CURRENT, "UBR") == 2322
    assert number(registry, "hklm/software/MICROSOFT/windows nt/currentversion", "ubr") == 2322
    assert registry.key(APPLICATION) is None
    assert number(registry, "HKLM/SYSTEM/Select", "Current") == 1
    assert registry.notes == []


def test_of_an_image(windows: str) -> None:
    with ImageRegistry.open(windows) as registry:
        check_all(registry)
        assert [file.layer for file in registry.files("SOFTWARE")] == [0, 1, 2]
        assert len(registry.layers) == 3


def test_of_an_unpacked_image(unpacked_windows: Path) -> None:
    with ImageRegistry.open(str(unpacked_windows)) as registry:
        check_all(registry)


def test_of_a_layer_folder_with_its_parents(unpacked_windows: Path) -> None:
    top, middle, _ = UnpackedImage.load(unpacked_windows).layers
    with ImageRegistry.open(str(top)) as registry:
        check_all(registry)
    with ImageRegistry.open(f"layer:{middle}") as registry:
        assert number(registry, CURRENT, "UBR") == 2322
        assert registry.key(APPLICATION) is not None


def test_of_an_image_in_a_registry(windows: str, registry: DockerRegistry, tmp_path: Path) -> None:
    name = registry.name("image-registry/windows:1")
    push_layout(windows, name)
    with (
        Network(RegistrySettings(plain_http=True, anonymous=True), tmp_path / "store") as network,
        ImageRegistry.open(f"docker://{name}", network=network) as opened,
    ):
        assert number(opened, CURRENT, "UBR") == 2322


def test_of_a_layer_tar_and_of_a_base_folder(windows: str, tmp_path: Path) -> None:
    base = server_core().image(tmp_path / "base-image")
    convert(base, str(tmp_path / "base.tar.gz"), ConvertOptions())
    convert(base, f"base:{tmp_path / 'base'}", ConvertOptions())
    for place in (str(tmp_path / "base.tar.gz"), f"base:{tmp_path / 'base'}", str(tmp_path / "base")):
        with ImageRegistry.open(place) as registry:
            assert registry.hives == HIVES
            assert number(registry, CURRENT, "UBR") == 2227
            assert registry.key(APPLICATION) is not None


def test_of_one_layer_alone(windows: str, unpacked_windows: Path) -> None:
    for place in (windows, str(unpacked_windows)):
        with ImageRegistry.open(place, layer=0) as registry:
            assert number(registry, CURRENT, "UBR") == 2227
            assert not registry.is_delta("SOFTWARE")
        with ImageRegistry.open(place, layer=-1) as registry:
            assert registry.is_delta("SOFTWARE")
            assert number(registry, CURRENT, "UBR") is None
        with pytest.raises(UsageError):
            ImageRegistry.open(place, layer=3)


def test_of_a_hive_file(tmp_path: Path) -> None:
    tree = HiveKey("ROOT", (), (HiveKey("Key", (HiveValue.dword("n", 7),)),))
    for name, path in (("software_base", "HKLM/SOFTWARE/Key"), ("NTUSER.DAT", "HKLM/NTUSER.DAT/Key")):
        (tmp_path / name).write_bytes(write_hive(tree, name="x"))
        with ImageRegistry.open(str(tmp_path / name)) as registry:
            assert number(registry, path, "n") == 7
            assert number(registry, "Key", "N") == 7
        with pytest.raises(UsageError):
            ImageRegistry.open(str(tmp_path / name), layer=0)


def test_only_the_hives_that_are_asked_for_are_read(tmp_path: Path) -> None:
    windows = server_core()
    damaged = [*windows.layers[0], file(f"{CONFIG}/sam", b"no hive at all")]
    items = [item for item in damaged if item.path != f"{CONFIG}/SAM"]
    with ImageRegistry.open(make_image(tmp_path, items)) as registry:
        assert "SAM" in registry.hives
        assert number(registry, CURRENT, "UBR") == 2227
        with pytest.raises(FormatError) as caught:
            registry.key("HKLM/SAM")
    assert caught.value.image == registry.reference
    assert caught.value.path == f"{CONFIG}/sam"
    assert "1 of 1" in (caught.value.layer or "")


@pytest.mark.parametrize("cut", [10, 4096, 5000])
def test_a_hive_that_is_cut_off_is_an_error_that_names_it(cut: int, tmp_path: Path) -> None:
    windows = server_core()
    patch(windows)
    layers = [list(layer) for layer in windows.layers]
    content = write_hive(HiveKey("ROOT", (), (HiveKey("a" * 200),) * 1), name="x", delta=True)
    layers[1] = [item for item in layers[1] if item.path != "Hives/Software_Delta"]
    layers[1].append(file("Hives/Software_Delta", content[:cut]))
    if cut == 5000:
        layers[1][-1] = file("Hives/Software_Delta", content[:4096] + b"\xff" * 4096)
    with pytest.raises(FormatError) as caught, ImageRegistry.open(make_image(tmp_path, *layers)) as registry:
        registry.key(CURRENT)
    text = str(caught.value)
    assert caught.value.image is not None
    assert "Hives/Software_Delta" in text
    assert "layer 1" in text or "2 of 2" in text


def test_a_dirty_hive_is_read_with_a_note(tmp_path: Path) -> None:
    windows = server_core()
    dirty = dirtied(write_hive(windows.hives["SOFTWARE"], name="SOFTWARE"))
    layer = [item for item in windows.layers[0] if item.path != f"{CONFIG}/SOFTWARE"]
    with ImageRegistry.open(make_image(tmp_path, [*layer, file(f"{CONFIG}/SOFTWARE", dirty)])) as registry:
        assert number(registry, CURRENT, "UBR") == 2227
        (note,) = registry.notes
    assert f"{CONFIG}/SOFTWARE" in note
    assert "dirty" in note


@pytest.mark.parametrize("place", ["image", "file"])
def test_a_dirty_hive_is_made_whole_with_its_logs(place: str, tmp_path: Path) -> None:
    from tests.regf.test_logs import DIRTY, ENTRIES, HIVES, log

    logs = log(2, *ENTRIES)
    if place == "file":
        (tmp_path / "SOFTWARE").write_bytes(DIRTY)
        (tmp_path / "software.log1").write_bytes(logs)
        reference = str(tmp_path / "SOFTWARE")
    else:
        items = folders("Files", "Files/Windows", "Files/Windows/System32", CONFIG)
        items += [file(f"{CONFIG}/SOFTWARE", DIRTY), file(f"{CONFIG}/SOFTWARE.LOG1", logs)]
        reference = make_image(tmp_path, items)
    with ImageRegistry.open(reference) as registry:
        root = registry.root("SOFTWARE")
        assert root is not None
        assert len(root.subkeys) == len(Hive(HIVES[4]).root.subkeys)
        (note,) = registry.notes
    assert "made whole" in note


def test_logs_that_do_not_belong_are_told_and_the_hive_read_as_it_lies(tmp_path: Path) -> None:
    from tests.regf.test_logs import DIRTY

    (tmp_path / "SYSTEM").write_bytes(DIRTY)
    (tmp_path / "SYSTEM.LOG1").write_bytes(b"nothing of this is a log" * 100)
    with ImageRegistry.open(str(tmp_path / "SYSTEM")) as registry:
        assert registry.root("SYSTEM") is not None
        assert any("without its logs" in note for note in registry.notes)


def dirtied(hive: bytes) -> bytes:
    changed = bytearray(hive)
    struct.pack_into("<I", changed, 4, struct.unpack_from("<I", changed, 8)[0] + 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", changed[:508]):
        checksum ^= word
    struct.pack_into("<I", changed, 508, checksum)
    return bytes(changed)


@pytest.mark.parametrize("spelling", [str.upper, str.lower, str.swapcase])
def test_hives_are_found_however_they_are_spelt(spelling: object, tmp_path: Path) -> None:
    assert callable(spelling)
    windows = server_core()
    patch(windows)
    layers = [
        [
            file(spelling(item.path), b"".join(bytes(piece) for piece in item.data.pieces()))
            for item in layer
            if isinstance(item, Entry) and item.data
        ]
        for layer in windows.layers
    ]
    with ImageRegistry.open(make_image(tmp_path, *layers)) as registry:
        assert registry.hives == HIVES
        assert number(registry, CURRENT, "UBR") == 2322


def test_a_processed_base_layer_has_its_hives_in_hives(tmp_path: Path) -> None:
    windows = server_core()
    hive = write_hive(windows.hives["DEFAULT"], name="x")
    with ImageRegistry.open(
        make_image(tmp_path, [*folders("Hives"), file("Hives/DefaultUser_Base", hive)])
    ) as registry:
        assert registry.hives == ("DEFAULT",)
        assert registry.key("HKU/.DEFAULT/Environment") is not None
        assert registry.key("HKLM/SOFTWARE") is None


def test_a_whole_hive_in_an_upper_layer_does_not_count_and_is_told(tmp_path: Path) -> None:
    windows = server_core()
    other = write_hive(HiveKey("ROOT"), name="SOFTWARE")
    upper = [*folders("Files", "Files/Windows", "Files/Windows/System32", CONFIG), file(f"{CONFIG}/SOFTWARE", other)]
    with ImageRegistry.open(make_image(tmp_path, windows.layers[0], upper)) as registry:
        assert number(registry, CURRENT, "UBR") == 2227
        assert any("layer 1 has a whole hive" in note for note in registry.notes)


def test_an_image_without_hives_has_none(tmp_path: Path) -> None:
    with ImageRegistry.open(make_image(tmp_path, folders("Files"))) as registry:
        assert registry.hives == ()
        assert registry.key("HKLM/SOFTWARE/Microsoft") is None
        with pytest.raises(NotFoundError):
            registry.require("HKLM/SOFTWARE/Microsoft")


def test_the_current_control_set_is_the_one_that_select_names(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.set("SYSTEM", "Select", HiveValue.dword("Current", 2))
    windows.set("SYSTEM", r"ControlSet001\Control", HiveValue.dword("n", 1))
    windows.set("SYSTEM", r"ControlSet002\Control", HiveValue.dword("n", 2))
    windows.commit()
    with ImageRegistry.open(windows.image(tmp_path)) as registry:
        assert number(registry, "HKLM/SYSTEM/currentcontrolset/Control", "n") == 2
        assert registry.path("HKLM/SYSTEM/CurrentControlSet").path == "ControlSet002"


def test_a_current_control_set_that_is_no_number_is_refused(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.set("SYSTEM", "Select", HiveValue("Current", REG_DWORD, b"\xff" * 100_000))
    windows.commit()
    with ImageRegistry.open(windows.image(tmp_path)) as registry, pytest.raises(NotFoundError, match="Select"):
        registry.path("HKLM/SYSTEM/CurrentControlSet/Control")


def test_a_missing_key_is_told_as_far_as_the_path_exists(windows: str) -> None:
    with ImageRegistry.open(windows) as registry:
        with pytest.raises(NotFoundError, match=r"HKLM\\SOFTWARE\\Microsoft\\Nothing$"):
            registry.require("HKLM/SOFTWARE/microsoft/Nothing/below")
        with pytest.raises(UsageError):
            registry.require("HKLM")


def test_an_error_names_the_image(windows: str) -> None:
    with pytest.raises(WclayerError) as caught, ImageRegistry.open(windows) as registry:
        registry.require("HKLM/SOFTWARE/Nothing")
    assert caught.value.image == windows


def test_of_a_transport_folder(unpacked_windows: Path, tmp_path: Path) -> None:
    _, middle, _ = UnpackedImage.load(unpacked_windows).layers
    convert(str(middle), f"transport:{tmp_path / 'layer'}", ConvertOptions())
    with ImageRegistry.open(f"transport:{tmp_path / 'layer'}") as registry:
        assert registry.is_delta("SOFTWARE")
        assert number(registry, CURRENT, "UBR") == 2322
    with pytest.raises(UsageError, match="one layer"):
        ImageRegistry.open(f"transport:{tmp_path / 'layer'}", layer=1)
    with pytest.raises(NotFoundError):
        ImageRegistry.open(f"transport:{tmp_path / 'nothing'}")


def test_a_link_in_a_folder_is_no_hive(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(write_hive(HiveKey("ROOT"), name="x"))
    (tmp_path / "layer" / "Hives").mkdir(parents=True)
    (tmp_path / "layer" / "hives").mkdir()
    (tmp_path / "layer" / "Hives" / "Software_Delta").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "layer" / "Hives" / "SAM_DELTA").write_bytes(b"")
    with ImageRegistry.open(str(tmp_path / "layer")) as registry:
        assert registry.hives == ("SAM",)
        with pytest.raises(FormatError, match="0 bytes"):
            registry.root("SAM")


def test_a_hive_whose_file_changed_since_is_an_error(windows: str, tmp_path: Path) -> None:
    unpack(windows, tmp_path / "out")
    top, *_ = UnpackedImage.load(tmp_path / "out").layers
    path = top / "Hives" / "Software_Delta"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(IntegrityError) as caught, ImageRegistry.open(str(tmp_path / "out")) as registry:
        registry.key(CURRENT)
    assert caught.value.path == "Hives/Software_Delta"


def test_a_root_that_is_deleted_is_an_error(tmp_path: Path) -> None:
    windows = server_core()
    gone = bytearray(write_hive(HiveKey("ROOT"), name="x", delta=True))
    gone[gone.index(b"nk") + 13] = 1
    upper = [*folders("Hives"), file("Hives/Sam_Delta", bytes(gone))]
    with (
        pytest.raises(FormatError) as caught,
        ImageRegistry.open(make_image(tmp_path, windows.layers[0], upper)) as one,
    ):
        one.key("HKLM/SAM/x")
    assert "SAM" in str(caught.value)
    assert caught.value.image is not None


def test_logs_in_the_blob_of_a_layer_that_do_not_fit_are_told(tmp_path: Path) -> None:
    from tests.regf.test_logs import DIRTY

    items = [*folders("Hives"), file("Hives/System_Base", DIRTY), file("Hives/System_Base.LOG2", b"x" * 2000)]
    with ImageRegistry.open(make_image(tmp_path, items)) as registry:
        assert registry.root("SYSTEM") is not None
        assert any("without its logs" in note for note in registry.notes)
