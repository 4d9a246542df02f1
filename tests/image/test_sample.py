"""The sample image is the same everywhere, holds one of everything, and reads back as it was written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from wclayer.errors import UsageError
from wclayer.formats.tar import TarLayerReader
from wclayer.image.sample import SampleResult, make_sample
from wclayer.image.sample_content import LONG_FOLDER, base_items, middle_items, top_items
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Tombstone
from wclayer.ntfs.names import fold, path_notice
from wclayer.ntfs.reparse import MountPoint, SymbolicLink, parse_reparse
from wclayer.ntfs.security import validate
from wclayer.oci import open_image

DIFF_IDS = (
    "sha256:c19bcd303d7bc05d7adec33b591dd46b5db198540ba3e565d0661b36636d42e6",
    "sha256:f44dcf98a58fb01535574984bf585dc7ac4f7cc98d254aa3de5d38f73ca81d43",
    "sha256:bcbdef0a1892015c27ebde9ee1ae3f434fc002c805e4cf584e25b949d47b8375",
)
CONFIG_DIGESTS = (
    "sha256:ecae0d89dc2e374a8aada0d4ca2d681da2dbfc84550f61b65c8795dfef4c1731",
    "sha256:71f776d171ad4114e441dba6c78511318ec6e25bc58611762597008205afb10c",
)

Items: TypeAlias = Callable[[], list[LayerItem]]

ITEMS: tuple[Items, ...] = (base_items, middle_items, top_items)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleResult:
    return make_sample(tmp_path_factory.mktemp("layout"), "sample")


def entries(items: list[LayerItem]) -> dict[str, Entry]:
    return {item.path: item for item in items if isinstance(item, Entry)}


def described(item: LayerItem) -> tuple[object, ...]:
    """Everything about an item that a layer tar carries, in a form that compares; streams are read."""
    if isinstance(item, Entry):
        metadata = item.metadata
        attributes = tuple(sorted((ea.name, ea.value) for ea in metadata.extended_attributes))
        known = (metadata.attributes, times(item), metadata.security_descriptor, attributes, metadata.reparse)
        return "entry", item.path, item.is_directory, known, item.data and item.data.read(1 << 21)
    if isinstance(item, AlternateStream):
        return "stream", item.path, item.name, item.data.read(1 << 21)
    if isinstance(item, HardLink):
        return "link", item.path, item.target, item.metadata.attributes, times(item)
    return "tombstone", item.path


def times(item: Entry | HardLink) -> tuple[int | None, ...]:
    metadata = item.metadata
    return metadata.creation_time, metadata.last_access_time, metadata.last_write_time, metadata.change_time


# ------------------------------------------------------------------------------------------------ the same everywhere


def test_the_diff_ids_never_change(sample: SampleResult) -> None:
    assert tuple(map(str, sample.image.diff_ids)) == DIFF_IDS
    assert tuple(map(str, sample.base.diff_ids)) == DIFF_IDS[:1]
    assert (str(sample.image.config.digest), str(sample.base.config.digest)) == CONFIG_DIGESTS


def test_making_it_again_gives_the_same_files(
    sample: SampleResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    if hasattr(time, "tzset"):
        time.tzset()
    again = make_sample(tmp_path / "layout", "sample")
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()

    def files(folder: Path) -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(again.layout) == files(sample.layout)
    assert (again.image, again.base) == (sample.image, sample.base)


def test_making_it_twice_in_one_layout_changes_nothing(tmp_path: Path) -> None:
    first = make_sample(tmp_path, "a")
    index = (tmp_path / "index.json").read_bytes()
    assert make_sample(tmp_path, "a") == first
    assert (tmp_path / "index.json").read_bytes() == index


# ------------------------------------------------------------------------------------------------------ its documents


def test_the_layout_holds_the_image_and_its_base(sample: SampleResult) -> None:
    index = json.loads((sample.layout / "index.json").read_bytes())
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
    assert names == ["sample", "sample-base"]
    platform = {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1"}
    assert [entry["platform"] for entry in index["manifests"]] == [platform] * 2


def test_the_configuration_says_what_windows_asks(sample: SampleResult) -> None:
    config = json.loads((sample.layout / sample.image.config.digest.blob_path).read_bytes())
    assert (config["os"], config["architecture"], config["os.version"]) == ("windows", "amd64", "10.0.20348.1")
    assert config["rootfs"] == {"type": "layers", "diff_ids": list(DIFF_IDS)}
    assert (config["config"]["User"], config["config"]["Cmd"]) == ("ContainerUser", ["cmd.exe"])
    assert sum(not line.get("empty_layer") for line in config["history"]) == 3


def test_both_compressions_are_shown(sample: SampleResult) -> None:
    suffixes = [layer.descriptor.media_type.rpartition("+")[2] for layer in sample.image.layers]
    assert suffixes == ["gzip", "zstd", "gzip"]


def test_the_base_image_is_the_first_layer_of_the_other(sample: SampleResult) -> None:
    assert sample.base.layers == sample.image.layers[:1]


@pytest.mark.parametrize("tag", ["", "two words", "a/b", "-x", "x" * 124, "a:b"])
def test_what_is_no_tag_is_refused(tag: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a tag"):
        make_sample(tmp_path / "layout", tag)
    assert not (tmp_path / "layout").exists()


# ------------------------------------------------------------------------------------------------------- reading back


def test_every_layer_reads_back_as_it_was_written(sample: SampleResult) -> None:
    with open_image(f"oci:{sample.layout}:sample") as image:
        for layer, items in zip(image.layers, ITEMS, strict=True):
            notices = Notices()
            with layer.stream() as stream:
                read = [described(item) for item in TarLayerReader(stream, notices=notices)]
                stream.finish()
            assert read == [described(item) for item in items()]
            assert notices.counts == {}


def test_the_base_image_opens(sample: SampleResult) -> None:
    with open_image(f"oci:{sample.layout}:sample-base", "windows/amd64:10.0.20348.1") as image:
        assert len(image.layers) == 1


# ----------------------------------------------------------------------------------------------------- order and names


@pytest.mark.parametrize("items", ITEMS)
def test_parents_come_before_children_and_streams_right_after_their_file(items: Items) -> None:
    layer = items()
    folders: set[str] = set()
    owner = ""
    for item in layer:
        parent = item.path.rpartition("/")[0]
        assert not parent or parent in folders, item.path
        if isinstance(item, AlternateStream):
            assert item.path == owner
        elif isinstance(item, Entry):
            owner = item.path
            if item.is_directory:
                folders.add(item.path)


@pytest.mark.parametrize("items", ITEMS)
def test_no_layer_names_a_file_twice_even_in_another_case(items: Items) -> None:
    folded = [fold(item.path) for item in items() if not isinstance(item, AlternateStream)]
    assert len(folded) == len(set(folded))


@pytest.mark.parametrize("items", ITEMS)
def test_every_name_is_one_that_win32_can_open(items: Items) -> None:
    assert [path_notice(item.path) for item in items() if path_notice(item.path)] == []


def test_links_across_layers_lead_to_files_of_the_layers_below() -> None:
    seen: set[str] = set()
    across = []
    for items in ITEMS:
        layer = items()
        below = frozenset(seen)
        for item in layer:
            if isinstance(item, HardLink):
                assert item.target in seen, "a target comes before its links"
                if item.target in below:
                    across.append(item.target)
            if isinstance(item, Entry) and not item.is_directory:
                seen.add(item.path)
    assert len(across) == 3


def test_tombstones_are_of_what_a_layer_below_has() -> None:
    seen: set[str] = set()
    for items in ITEMS:
        layer = items()
        for item in layer:
            if isinstance(item, Tombstone):
                assert item.path in seen
        seen |= set(entries(layer))


# -------------------------------------------------------------------------------------------------- one of everything


def test_the_base_has_what_windows_asks_of_a_base() -> None:
    found = entries(base_items())
    for name in ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"):
        data = found[f"Files/Windows/System32/config/{name}"].data
        assert data is not None
        assert data.size == 8192
        assert data.read(8192).startswith(b"regf")
    boot = found["UtilityVM/Files/EFI/Microsoft/Boot/BCD"].data
    assert boot is not None
    assert boot.read(8192).startswith(b"regf")
    assert found["Hives"].is_directory


@pytest.mark.parametrize("items", [middle_items, top_items])
def test_upper_layers_carry_five_delta_hives(items: Items) -> None:
    found = entries(items())
    deltas = [path for path in found if path.startswith("Hives/")]
    assert [path[6:] for path in deltas] == [
        f"{x}_Delta" for x in ("DefaultUser", "Sam", "Security", "Software", "System")
    ]
    for path in deltas:
        data = found[path].data
        assert data is not None
        assert data.read(8192)[144] == 2


def test_the_base_shows_every_attribute_that_can_be_set() -> None:
    seen = 0
    for entry in entries(base_items()).values():
        seen |= entry.metadata.attributes
    assert seen == 0x1837B7 | 0x400


def test_all_four_times_of_every_entry_differ_and_have_odd_ticks_somewhere() -> None:
    for items in ITEMS:
        for entry in entries(items()).values():
            assert len(set(times(entry))) == 4, entry.path
    written = [entry.metadata.last_write_time or 0 for entry in entries(base_items()).values()]
    assert len({ticks % 10 for ticks in written}) == 10


def test_the_four_kinds_of_data_are_there() -> None:
    found = entries(base_items())
    folder = "Files/Sample/Data"
    assert found[f"{folder}/no stream.txt"].data is None
    empty = found[f"{folder}/empty stream.txt"].data
    assert empty is not None
    assert empty.size == 0
    sparse = found[f"{folder}/sparse.bin"].data
    assert sparse is not None
    assert sparse.ranges is not None
    assert sparse.stored < sparse.size == len(b"".join(map(bytes, sparse.pieces())))


def test_descriptors_come_in_many_forms_and_as_none_and_as_empty() -> None:
    found = entries(base_items())
    distinct = {entry.metadata.security_descriptor for entry in found.values()}
    assert {None, b""} < distinct
    assert len(distinct) >= 18
    for descriptor in distinct - {None, b""}:
        assert descriptor is not None
        validate(descriptor)


def test_extended_attributes_streams_and_links_of_each_sort_are_there() -> None:
    layer = base_items()
    attributes = [ea for entry in entries(layer).values() for ea in entry.metadata.extended_attributes]
    assert {ea.flags for ea in attributes} == {0, 0x80}
    assert any(not ea.value for ea in attributes)
    sizes = {item.data.size for item in layer if isinstance(item, AlternateStream)}
    assert 0 in sizes
    assert len(sizes) > 4
    links = [
        (entry.is_directory, parse_reparse(entry.metadata.reparse))
        for entry in entries(layer).values()
        if entry.metadata.reparse is not None
    ]
    symlinks = {(folder, link.flags) for folder, link in links if isinstance(link, SymbolicLink)}
    assert symlinks == {(False, 0), (False, 1), (True, 0), (True, 1)}
    assert all(folder for folder, link in links if isinstance(link, MountPoint))
    junction = entries(layer)["Files/Documents and Settings"].metadata.reparse
    assert junction is not None
    assert parse_reparse(junction) == MountPoint("\\??\\C:\\Users", "C:\\Users")
    assert sum(isinstance(item, HardLink) for item in layer) == 2


def test_paths_are_long_and_in_many_scripts() -> None:
    paths = list(entries(base_items()))
    assert len(LONG_FOLDER) > 260
    assert LONG_FOLDER in paths
    assert max(len(part.encode()) for part in LONG_FOLDER.split("/")) > 100
    assert max(len(part.encode()) for path in paths for part in path.split("/")) <= 255, "what Linux can store"
    text = "".join(paths)
    assert all(sign in text for sign in "ßüé世語한й\U0001f41f")


def test_the_upper_layers_replace_delete_and_recreate() -> None:
    base, middle, top = (items() for items in ITEMS)
    folder = "Files/Sample/Changed"
    gone = {item.path for item in middle if isinstance(item, Tombstone)}
    assert f"{folder}/deleted file.txt" in gone
    assert f"{folder}/deleted folder" in gone
    assert entries(base)[f"{folder}/deleted folder"].is_directory
    assert f"{folder}/recreated folder" in gone
    assert f"{folder}/recreated folder" in entries(top)
    assert not entries(base)[f"{folder}/file, then folder"].is_directory
    assert entries(top)[f"{folder}/file, then folder"].is_directory
    before, after = entries(base)[f"{folder}/replaced.txt"], entries(middle)[f"{folder}/replaced.txt"]
    assert described(before)[-1] != described(after)[-1]
    assert "Files/windows/notes.txt" in entries(middle)
    assert "Files/Windows/notes.txt" in entries(base)
    assert any(isinstance(item, Tombstone) for item in top)
