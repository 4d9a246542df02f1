"""A change of the registry becomes a layer: no more than the change, and everything else as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.image.registry.windows_images import ENVIRONMENT, UNINSTALL, server_core
from tests.registries.docker_registry import DockerRegistry
from tests.registries.watched import push_layout
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.copying import copy_image
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.applying import AppliedChange, apply_sections
from wclayer.image.registry.differences import diff_registries
from wclayer.image.registry.exporting import export_registry
from wclayer.image.unpack import unpack
from wclayer.image.unpacked import UnpackedImage
from wclayer.image.verifying import verify
from wclayer.ntfs.filetime import to_text
from wclayer.oci import LayoutWriter, open_image
from wclayer.oci.mediatypes import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST
from wclayer.oci.network import Network
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.regf import Hive, HiveValue
from wclayer.regf.text import parse_reg

HEAD = "Windows Registry Editor Version 5.00\r\n\r\n"
APPLICATION = f"{UNINSTALL}\\{{11111111-2222-3333-4444-555555555555}}"
CHANGE = (
    HEAD
    + '[HKEY_LOCAL_MACHINE\\SOFTWARE\\Example\\Deep]\r\n@="hello"\r\n"n"=dword:00000007\r\n'
    + '[HKLM\\SYSTEM\\CurrentControlSet\\Services\\Dhcp]\r\n"Start"=dword:00000004\r\n'
    + f"[-HKEY_LOCAL_MACHINE\\SOFTWARE\\{APPLICATION}]\r\n"
    + f'[HKEY_LOCAL_MACHINE\\SYSTEM\\{ENVIRONMENT}]\r\n"TEMP"=-\r\n"ComSpec"=hex(2):25,00,53,00,79,00,73,00,74,'
    + "00,65,00,6d,00,52,00,6f,00,6f,00,74,00,25,00,5c,00,73,00,79,00,73,00,74,00,65,00,6d,00,33,00,32,00,5c,00,"
    + "63,00,6d,00,64,00,2e,00,65,00,78,00,65,00,00,00\r\n"
)


def apply(image: str, text: str, destination: object) -> AppliedChange:
    with ImageRegistry.open(image) as registry:
        return apply_sections(registry, parse_reg(text), str(destination))


def check(place: str) -> None:
    with ImageRegistry.open(place) as registry:
        _, key = registry.require("HKLM/SOFTWARE/Example/Deep")
        assert key.values == (HiveValue.sz("", "hello"), HiveValue.dword("n", 7))
        assert registry.key(f"HKLM\\SOFTWARE\\{APPLICATION}") is None
        _, service = registry.require("HKLM/SYSTEM/ControlSet001/Services/Dhcp")
        assert service.values == (HiveValue.dword("Start", 4),)
        _, environment = registry.require(f"HKLM\\SYSTEM\\{ENVIRONMENT}")
        assert {value.name for value in environment.values} == {
            "ComSpec", "NUMBER_OF_PROCESSORS", "Path", "PROCESSOR_ARCHITECTURE"
        }  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a configuration that has more than is known here."""
    return server_core().image(
        tmp_path_factory.mktemp("base"), config={"Env": ["Path=C:\\app"], "Labels": {"a": "b"}, "Cmd": ["cmd"]}
    )


def documents(reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with open_image(reference) as image:
        assert image.manifest is not None
        assert image.config is not None
        return json.loads(image.manifest.raw), json.loads(image.config.raw)


def test_on_top_of_an_image(base: str, tmp_path: Path) -> None:
    destination = f"oci:{tmp_path}:changed"
    done = apply(base, CHANGE, destination)
    check(destination)
    assert done.hives == ("SOFTWARE", "SYSTEM")
    assert verify(destination).ok
    old_manifest, old_config = documents(base)
    manifest, config = documents(destination)
    assert manifest["layers"][:-1] == old_manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [*old_config["rootfs"]["diff_ids"], str(done.diff_id)]
    for document, old in ((manifest, old_manifest), (config, old_config)):
        changed = {key for key in document.keys() | old.keys() if document.get(key) != old.get(key)}
        assert changed <= {"layers", "config", "rootfs", "history"}
    assert config["config"] == old_config["config"]
    assert (config["os"], config["os.version"]) == ("windows", "10.0.20348.2227")


def test_only_the_layer_says_what_changes(base: str, tmp_path: Path) -> None:
    apply(base, CHANGE, f"oci:{tmp_path}:changed")
    unpack(f"oci:{tmp_path}:changed", tmp_path / "out")
    top = UnpackedImage.load(tmp_path / "out").layers[0]
    names = sorted(path.name for path in (top / "Hives").iterdir())
    assert names == ["DefaultUser_Delta", "Sam_Delta", "Security_Delta", "Software_Delta", "System_Delta"]
    assert list((top / "Files").iterdir()) == []
    deltas = {name: Hive((top / "Hives" / name).read_bytes()) for name in names}
    assert all(hive.is_delta and not hive.is_dirty and hive.minor == 6 for hive in deltas.values())
    keys = [(path, key.layer, [value.name for value in key.values]) for path, key in deltas["System_Delta"].walk()]
    assert keys == [
        ("", 0, []),
        ("ControlSet001", 0x80, []),
        ("ControlSet001\\Control", 0x80, []),
        ("ControlSet001\\Control\\Session Manager", 0x80, []),
        (ENVIRONMENT, 0x80, ["TEMP"]),
        ("ControlSet001\\Services", 0x80, []),
        ("ControlSet001\\Services\\Dhcp", 0x80, ["Start"]),
    ]
    assert {path: key.layer for path, key in deltas["Software_Delta"].walk()}[APPLICATION] == 1
    assert len(list(deltas["Sam_Delta"].walk())) == 1


def test_twice_the_same_gives_the_same_bytes(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {apply(base, CHANGE, f"oci:{tmp_path / name}:x").digest for name in ("a", "b")}
    assert len(digests) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert apply(base, CHANGE, f"oci:{tmp_path / 'c'}:x").digest not in digests
    _, config = documents(f"oci:{tmp_path / 'c'}:x")
    with ImageRegistry.open(f"oci:{tmp_path / 'c'}:x") as registry:
        _, key = registry.require("HKLM/SOFTWARE/Example")
        assert key.timestamp == 116_444_736_000_000_000 + 1_700_000_000 * 10**7
    assert "history" not in config  # the image has none, and one line would not tell of its layers


def test_what_is_so_already_needs_no_layer(base: str, tmp_path: Path) -> None:
    first = f"oci:{tmp_path}:first"
    apply(base, CHANGE, first)
    again = apply(first, CHANGE, f"oci:{tmp_path}:second")
    assert (again.hives, again.diff_id) == ((), None)
    assert documents(first) == documents(f"oci:{tmp_path}:second")


def test_into_the_layout_that_the_image_is_in(base: str) -> None:
    destination = base.rpartition(":")[0] + ":beside"
    before = documents(base)
    apply(base, CHANGE, destination)
    check(destination)
    assert documents(base) == before


def test_as_a_layer_tar_and_as_a_layer_folder(base: str, tmp_path: Path) -> None:
    unpack(base, tmp_path / "out")
    for number, source in enumerate((str(tmp_path / "out"), str(UnpackedImage.load(tmp_path / "out").layers[0]))):
        made = apply(source, CHANGE, tmp_path / f"layer{number}")
        check(str(tmp_path / f"layer{number}"))
        assert made.digest is None
        tar = apply(source, CHANGE, tmp_path / f"layer{number}.tar.gz")
        assert tar.diff_id == made.diff_id
    with ImageRegistry.open(str(tmp_path / "layer0.tar.gz")) as registry:
        assert registry.is_delta("SYSTEM")
    with pytest.raises(UsageError, match="not unpacked"):
        apply(base, CHANGE, tmp_path / "another")


def test_of_an_unpacked_image_an_image_is_made(base: str, tmp_path: Path) -> None:
    unpack(base, tmp_path / "out")
    apply(str(tmp_path / "out"), CHANGE, f"oci:{tmp_path / 'layout'}:made")
    check(f"oci:{tmp_path / 'layout'}:made")
    assert documents(f"oci:{tmp_path / 'layout'}:made")[1]["config"] == documents(base)[1]["config"]


def test_an_exported_text_applied_to_another_image_leaves_no_difference(base: str, tmp_path: Path) -> None:
    changed = f"oci:{tmp_path}:changed"
    apply(base, CHANGE, changed)
    data = bytearray()
    with ImageRegistry.open(changed) as registry:
        export_registry(registry, "HKLM/SYSTEM/ControlSet001/Services", "reg", data.extend)
        export = bytes(data)
    other = f"oci:{tmp_path}:other"
    apply(base, export.decode("utf-16"), other)
    with ImageRegistry.open(changed) as one, ImageRegistry.open(other) as two:
        assert list(diff_registries(one, two, "HKLM/SYSTEM/ControlSet001/Services", security=True)) == []
        assert list(diff_registries(one, two, "HKLM/SOFTWARE")) != []


def test_a_layer_on_a_layer_on_a_layer(base: str, tmp_path: Path) -> None:
    here = base
    for number in range(3):
        text = f'{HEAD}[HKLM\\SOFTWARE\\Count]\r\n"n"=dword:{number:08x}\r\n[-HKLM\\SOFTWARE\\Was{number - 1}]\r\n'
        text += f"[HKLM\\SOFTWARE\\Was{number}]\r\n"
        apply(here, text, f"oci:{tmp_path}:v{number}")
        here = f"oci:{tmp_path}:v{number}"
    with ImageRegistry.open(here) as registry:
        assert [file.layer for file in registry.files("SOFTWARE")] == [0, 1, 2, 3]
        root = registry.root("SOFTWARE")
        assert root is not None
        assert [key.name for key in root.subkeys if key.name.startswith(("Was", "Count"))] == ["Count", "Was2"]
        assert [event.layer for event in registry.history("HKLM/SOFTWARE/Count") if event.name == "n"] == [1, 2, 3]
    assert verify(here).ok


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[HKEY_CURRENT_USER\\Software]", NotFoundError),
        ("[HKEY_LOCAL_MACHINE]", UsageError),
        ("[-HKEY_LOCAL_MACHINE\\SOFTWARE]", UsageError),
    ],
)
def test_what_cannot_be_applied_is_an_error_and_leaves_nothing(
    text: str, error: type[Exception], base: str, tmp_path: Path
) -> None:
    with pytest.raises(error):
        apply(base, HEAD + text, f"oci:{tmp_path / 'layout'}:x")
    assert not (tmp_path / "layout").exists()


def test_a_layer_alone_cannot_be_changed(windows: str, unpacked_windows: Path, tmp_path: Path) -> None:
    with ImageRegistry.open(windows, layer=-1) as registry, pytest.raises(UsageError, match="only a delta"):
        apply_sections(registry, parse_reg(CHANGE), f"oci:{tmp_path}:x")
    top = UnpackedImage.load(unpacked_windows).layers[0]
    with pytest.raises(UsageError, match="one layer"):
        apply(str(top), CHANGE, f"oci:{tmp_path}:x")
    with pytest.raises(UsageError):
        apply(windows, CHANGE, f"docker-archive:{tmp_path / 'x'}")


def test_a_history_gets_one_line_more_and_times_come_from_the_image(sample: str, tmp_path: Path) -> None:
    made = f"oci:{tmp_path}:made"
    apply(sample, HEAD + '[HKLM\\SOFTWARE\\New]\r\n"n"=dword:1\r\n', made)
    (_, before), (_, after) = documents(sample), documents(made)
    assert after["history"][:-1] == before["history"]
    assert after["history"][-1] == {"created": before["created"], "created_by": "wclayer reg apply"}
    with ImageRegistry.open(made) as registry:
        _, key = registry.require("HKLM/SOFTWARE/New")
        assert to_text(key.timestamp or 0) == "2022-10-01T00:00:00.0000000Z"
        _, old = registry.require("HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion")
        assert old.layers == (0, 1, 2)


@pytest.mark.parametrize("form", ["docker-archive", "dir", "oci-archive"])
def test_on_an_image_of_another_form(form: str, base: str, tmp_path: Path) -> None:
    source = f"{form}:{tmp_path / 'source'}" + ("" if form == "dir" else ":example/app:1")
    copy_image(base, source)
    made = f"oci:{tmp_path / 'layout'}:made"
    done = apply(source, CHANGE, made)
    check(made)
    assert verify(made).ok
    assert documents(made)[1]["rootfs"]["diff_ids"] == [*documents(base)[1]["rootfs"]["diff_ids"], str(done.diff_id)]


def test_on_an_image_of_docker_with_its_media_types(base: str, tmp_path: Path) -> None:
    with open_image(base) as image:
        assert image.manifest is not None
        assert image.config is not None
        manifest = json.loads(image.manifest.raw)
        layout = LayoutWriter(tmp_path)
        for layer in image.layers:
            layout.put_blob(layer.open(), "x")
        layout.put_bytes(image.config.raw, "x")
    manifest |= {"mediaType": DOCKER_MANIFEST, "annotations": {"kept": "as it is"}}
    manifest["config"]["mediaType"] = DOCKER_CONFIG
    for one in manifest["layers"]:
        one["mediaType"] = DOCKER_LAYER_GZIP
    layout.put_manifest(json.dumps(manifest).encode(), name="docker")
    apply(f"oci:{tmp_path}:docker", CHANGE, f"oci:{tmp_path}:made")
    check(f"oci:{tmp_path}:made")
    made, _ = documents(f"oci:{tmp_path}:made")
    assert made["mediaType"] == DOCKER_MANIFEST
    assert made["annotations"] == {"kept": "as it is"}
    assert [one["mediaType"] for one in made["layers"]] == [DOCKER_LAYER_GZIP] * 2


def test_on_an_image_in_a_registry(base: str, registry: DockerRegistry, tmp_path: Path) -> None:
    name = registry.name("image-registry/applied:1")
    push_layout(base, name)
    made = f"oci:{tmp_path / 'layout'}:made"
    with (
        Network(RegistrySettings(plain_http=True, anonymous=True), tmp_path / "store") as network,
        ImageRegistry.open(f"docker://{name}", network=network) as opened,
    ):
        apply_sections(opened, parse_reg(CHANGE), made, network=network)
    check(made)
    assert verify(made).ok


def test_a_foreign_layer_that_is_not_here_stays_where_it_is(base: str, tmp_path: Path) -> None:
    with open_image(base) as image:
        assert image.manifest is not None
        assert image.config is not None
        manifest = json.loads(image.manifest.raw)
        source = LayoutWriter(tmp_path / "source")
        source.put_bytes(image.config.raw, "x")
        source.put_blob(image.layers[0].open(), "x")
        manifest["layers"][0] |= {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "urls": ["https://example.invalid/layer"],
        }
        source.put_manifest(json.dumps(manifest).encode(), name="foreign")
    with ImageRegistry.open(f"oci:{tmp_path / 'source'}:foreign") as registry:
        registry.load(["SOFTWARE", "SYSTEM"])
        (tmp_path / "source" / "blobs" / "sha256" / image.layers[0].descriptor.digest.hex).unlink()  # type: ignore[union-attr]
        done = apply_sections(registry, parse_reg(CHANGE), f"oci:{tmp_path / 'made'}:x")
    made, _ = documents(f"oci:{tmp_path / 'made'}:x")
    assert made["layers"][0] == manifest["layers"][0]
    assert any("foreign layer" in note for note in done.notes)


def test_a_layer_tar_becomes_an_image_of_two_layers(base: str, tmp_path: Path) -> None:
    convert(base, str(tmp_path / "base.tar"), ConvertOptions())
    apply(str(tmp_path / "base.tar"), CHANGE, f"oci:{tmp_path / 'layout'}:made")
    check(f"oci:{tmp_path / 'layout'}:made")
    assert len(documents(f"oci:{tmp_path / 'layout'}:made")[1]["rootfs"]["diff_ids"]) == 2


def test_a_destination_is_looked_at_before_anything_is_read(base: str, tmp_path: Path) -> None:
    with ImageRegistry.open(base) as registry:
        for destination in ("docker://example.invalid/x:y", f"dir:{tmp_path / 'x'}", f"plain:{tmp_path / 'x'}"):
            with pytest.raises(UsageError):
                apply_sections(registry, parse_reg(CHANGE), destination)
        registry.reference = "-"
        with pytest.raises(UsageError, match="only once"):
            apply_sections(registry, parse_reg(CHANGE), f"oci:{tmp_path}:x")
