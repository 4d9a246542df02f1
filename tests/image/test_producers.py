"""Layers by BuildKit, crane and imgutil: each is imported as it is, and what is wrong with it is told where it matters.

Three ways lead in: into a layer folder, into a folder as hcsshim makes one, and into a transport folder for Windows.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.transport.layers import content_of, file, folder, tar_of
from tests.image.lint.tars import rules
from tests.image.producers import (
    ADMINISTRATORS,
    BOOT,
    CONFIG,
    FILE_DESCRIPTOR,
    FOLDER_DESCRIPTOR,
    HIVE_FILES,
    USERS,
    buildkit,
    crane,
    imgutil,
    imgutil_base,
)
from tests.image.transport_layers import names
from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, WclayerError
from wclayer.formats.folder import LayerFolder, Node
from wclayer.formats.tar import Members, SlabStream
from wclayer.formats.volume import VolumeError
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.importing import import_layer
from wclayer.image.lint import lint
from wclayer.image.transport_import import LayerCalls, import_layer_from_tar
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE, UNIX_EPOCH_TICKS
from wclayer.ntfs.reparse import link_target

SAMPLES: dict[str, Callable[[], bytes]] = {
    "buildkit": buildkit,
    "crane": crane,
    "imgutil": imgutil,
    "imgutil, another user": lambda: imgutil(root=False),
}
BELOW = tar_of(folder("Files"), folder("Files/app"), file("Files/app/gone", b"x"))


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """The layer below, as a layer folder."""
    (tmp_path / "below.tar").write_bytes(BELOW)
    return import_layer(str(tmp_path / "below.tar"), tmp_path / "below").path


def imported(tmp_path: Path, tar: bytes, *parents: Path, strict: bool = False) -> Path:
    (tmp_path / "layer.tar").write_bytes(tar)
    return import_layer(str(tmp_path / "layer.tar"), tmp_path / "layer", parents=parents, strict=strict).path


def as_hcsshim(tmp_path: Path, tar: bytes, *, strict: bool = False) -> Path:
    parent = import_layer_from_tar([BELOW], tmp_path / "parent").path
    return import_layer_from_tar([tar], tmp_path / "h", [parent], strict=strict).path


def for_windows(tmp_path: Path, tar: bytes, *, strict: bool = False) -> dict[str, int]:
    (tmp_path / "w.tar").write_bytes(tar)
    return convert(str(tmp_path / "w.tar"), f"transport:{tmp_path / 'w'}", ConvertOptions(strict=strict)).notices


def node(layer: LayerFolder, path: str) -> Node:
    found = layer.lookup(path)
    assert found is not None, path
    return found


# ---------------------------------------------------------------------- every one of them


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("sample", SAMPLES)
def test_49_a_layer_of_any_of_them_is_imported(tmp_path: Path, below: Path, sample: str, strict: bool) -> None:
    tar = SAMPLES[sample]()
    expected = {one.name.decode().rstrip("/") for one in Members(SlabStream([tar])) if b".wh." not in one.name}
    with LayerFolder(imported(tmp_path, tar, below, strict=strict)) as layer:
        assert {item.path for item in layer.nodes() if not item.is_tombstone} >= expected
    with open_layer_volume(as_hcsshim(tmp_path, tar, strict=strict)) as volume:
        assert {status.path.replace("\\", "/") for status in volume.walk("")} == expected


@pytest.mark.parametrize("sample", SAMPLES)
def test_49_for_windows_it_becomes_a_transport_folder_in_the_order_of_names(tmp_path: Path, sample: str) -> None:
    assert for_windows(tmp_path, SAMPLES[sample]())["order-lost"] == 1
    assert (tmp_path / "w" / "Hives").is_dir()
    assert (tmp_path / "w" / "tombstones.txt").is_file()


@pytest.mark.parametrize("sample", [*SAMPLES, "crane, no folders", "imgutil, base"])
def test_49_strictly_there_is_no_transport_folder_of_what_would_change_on_the_way(tmp_path: Path, sample: str) -> None:
    others = {"crane, no folders": lambda: crane(parents=False), "imgutil, base": imgutil_base}
    tar = (SAMPLES | others)[sample]()
    told = for_windows(tmp_path, tar)
    place = tmp_path / "strict"
    place.mkdir()
    with pytest.raises(FormatError, match="refused because of --strict") as error:
        for_windows(place, tar, strict=True)
    assert error.value.kind in told
    assert names(place) == ["w.tar"]


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ("buildkit", {"creation-time-unpadded": 6, "symlink-prefix": 1, "times-missing": 1}),
        ("crane", {"attributes-missing": 1, "times-missing": 1}),
        ("imgutil", {"attributes-missing": 1, "times-missing": 1}),
        ("imgutil, another user", {"attributes-missing": 1, "times-missing": 1}),
    ],
)
def test_49_lint_tells_what_its_producer_does_wrong(tmp_path: Path, sample: str, found: dict[str, int]) -> None:
    (tmp_path / "layer.tar").write_bytes(SAMPLES[sample]())
    assert rules(lint(str(tmp_path / "layer.tar"))) == found


# ---------------------------------------------------------------------- one after the other


def test_49_buildkit_is_taken_at_its_word(tmp_path: Path, below: Path) -> None:
    with LayerFolder(imported(tmp_path, buildkit(), below)) as layer:
        app, program, link = (node(layer, f"Files/app{name}").metadata() for name in ("", "/a.exe", "/link"))
        assert (app.attributes, program.attributes, link.attributes) == (16, 32, 0)
        assert app.security_descriptor == base64.b64decode(FOLDER_DESCRIPTOR)
        assert len(app.security_descriptor) == 216
        assert program.security_descriptor == base64.b64decode(FILE_DESCRIPTOR)
        assert len(program.security_descriptor) == 124
        assert node(layer, "Files").metadata().security_descriptor is None
        assert link.security_descriptor is None
        # Half a second instead of five milliseconds: what it wrote cannot be told from what it meant.
        assert program.last_write_time == UNIX_EPOCH_TICKS + 1_600_000_000 * 10**7 + 50_000
        assert program.creation_time == UNIX_EPOCH_TICKS + 1_600_000_000 * 10**7 + 5_000_000
        assert (program.last_access_time, program.change_time) == (None, None)
        assert link.reparse is not None
        assert link_target(link.reparse) == "Files\\a.exe"
        assert node(layer, "Files/app/hard.exe").is_link
        assert [one.path for one in layer.tombstones()] == ["Files/app/gone"]


def test_49_buildkit_as_hcsshim_imports_it(tmp_path: Path) -> None:
    with open_layer_volume(as_hcsshim(tmp_path, buildkit())) as volume:
        program = volume.lstat("Files\\app\\a.exe")
        assert content_of(volume, "Files\\app\\a.exe") == b"MZ"
        assert volume.lstat("Files\\app\\hard.exe").file_id == program.file_id
        assert (program.basic.last_access_time, program.basic.change_time) == (ABSENT_IN_REFERENCE,) * 2
        assert volume.lstat("Files\\app\\link").record.reparse is not None
        assert not volume.exists("Files\\app\\gone")


def test_49_crane_gives_every_entry_one_descriptor_and_no_attributes(tmp_path: Path, below: Path) -> None:
    with LayerFolder(imported(tmp_path, crane(), below)) as layer:
        for path, attributes in (("Files/app", 16), ("Files/app/a.exe", 0)):
            metadata = node(layer, path).metadata()
            assert metadata.attributes == attributes
            assert metadata.security_descriptor == base64.b64decode(USERS)
        assert node(layer, "Files").metadata().security_descriptor is None
        assert node(layer, "Files").metadata().last_write_time == UNIX_EPOCH_TICKS


def test_49_folders_that_crane_does_not_write_are_made(tmp_path: Path, below: Path) -> None:
    tar = crane(parents=False)
    with LayerFolder(imported(tmp_path, tar, below)) as layer:
        assert node(layer, "Files/app/a.exe").size == 2
    assert for_windows(tmp_path, tar)["folder-implied"] == 1
    assert (tmp_path / "w" / "Files" / "app.$wcidirs$").is_file()


def test_49_without_its_folder_a_file_is_nothing_to_hcsshim(tmp_path: Path) -> None:
    with pytest.raises(VolumeError) as error:
        as_hcsshim(tmp_path, crane(parents=False))
    assert error.value.winerror == 3
    assert (error.value.layer, error.value.path) == (str(tmp_path / "h"), "Files\\app\\a.exe")
    assert names(tmp_path) == ["parent"]


@pytest.mark.parametrize("strict", [False, True])
def test_49_a_hard_link_of_crane_leads_nowhere_and_every_way_says_so(tmp_path: Path, below: Path, strict: bool) -> None:
    tar = crane(hard_link=True)
    ways: list[tuple[Callable[[], object], type[WclayerError], str]] = [
        (lambda: imported(tmp_path, tar, below, strict=strict), UnsafeEntryError, r"the target app/a\.exe"),
        (lambda: as_hcsshim(tmp_path, tar, strict=strict), FormatError, "invalid hard link in layer"),
    ]
    if not strict:
        ways.append((lambda: for_windows(tmp_path, tar), NotFoundError, r"the target app/a\.exe"))
    for way, kind, text in ways:
        with pytest.raises(kind, match=text) as error:
            way()
        assert (error.value.path or "").replace("\\", "/") == "Files/app/b.exe"
    assert names(tmp_path) == ["below", "below.tar", "layer.tar", "parent", *([] if strict else ["w.tar"])]


def test_49_imgutil_describes_what_it_was_given_and_nothing_above(tmp_path: Path, below: Path) -> None:
    for number, (root, owner) in enumerate(((True, ADMINISTRATORS), (False, USERS))):
        place = tmp_path / str(number)
        place.mkdir()
        with LayerFolder(imported(place, imgutil(root=root), below)) as layer:
            assert node(layer, "Files/cnb").metadata().security_descriptor is None
            assert node(layer, "Files/cnb").metadata().last_write_time == UNIX_EPOCH_TICKS
            for path in ("Files/cnb/lifecycle", "Files/cnb/lifecycle/launcher.exe"):
                assert node(layer, path).metadata().security_descriptor == base64.b64decode(owner)


# ---------------------------------------------------------------------- a base that holds nothing


def test_49_the_base_of_imgutil_is_imported_with_its_empty_hives(tmp_path: Path) -> None:
    with LayerFolder(imported(tmp_path, imgutil_base(), strict=True)) as layer:
        for name in HIVE_FILES:
            assert node(layer, f"{CONFIG}/{name}").size == 0
        assert node(layer, f"{BOOT}/BCD").size == 8192


def test_49_to_hcsshim_it_is_a_base_with_a_utility_vm(tmp_path: Path) -> None:
    processed: list[str] = []
    calls = LayerCalls(
        process_base_image=lambda _layer: processed.append("base"),
        process_utility_image=lambda _layer: processed.append("utility"),
    )
    made = import_layer_from_tar([imgutil_base()], tmp_path / "h", calls=calls, strict=True)
    assert processed == ["base", "utility"]
    assert made.size == 8192
    with open_layer_volume(made.path) as volume:
        assert content_of(volume, "bcd.bak") == content_of(volume, f"{BOOT}/BCD".replace("/", "\\"))
        assert content_of(volume, f"{CONFIG}/SYSTEM".replace("/", "\\")) == b""


def test_49_lint_says_that_new_hosts_want_real_hives(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(imgutil_base())
    found = rules(lint(str(tmp_path / "layer.tar")))
    assert found == {"hive-empty": 5, "attributes-missing": 1, "times-missing": 1}


def test_49_a_transport_folder_of_it_lacks_the_utility_vm(tmp_path: Path) -> None:
    assert for_windows(tmp_path, imgutil_base())["utility-vm-left-out"] == 6
    assert not (tmp_path / "w" / "UtilityVM").exists()
