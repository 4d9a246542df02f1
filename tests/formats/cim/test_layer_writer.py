"""The import of a layer: what goes beside the image, what waits for the end, what processing makes; all or nothing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.formats.cim.layers import facts_of
from wclayer.errors import FormatError, NotFoundError, StoreError, UnsafeEntryError, UsageError, WclayerError
from wclayer.formats.cim.layer_folder import cim_layer_usage, destroy_cim_layer
from wclayer.formats.cim.layer_names import HIVES, LAYOUT_MARKER, CimLayer, cim_of_folder, is_std_file, layer_in
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.reader import CimImage
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.regf import REG_SZ, Hive, HiveValue, merge, minimal_hive

CONFIG = "Files/Windows/System32/config"
GUID = uuid.UUID("00112233-4455-4677-8899-aabbccddeeff")


def folder(path: str) -> Entry:
    return Entry(path, Metadata(0x10, 11, 12, 13, 14), is_directory=True)


def file(path: str, data: bytes = b"data", **metadata: Any) -> Entry:
    return Entry(path, Metadata(0x20, 21, 22, 23, 24, **metadata), data=Stream.from_bytes(data))


def text(name: str, value: str) -> HiveValue:
    return HiveValue(name, REG_SZ, value.encode("utf-16-le") + b"\0\0")


def hive(name: str, *values: str) -> bytes:
    return minimal_hive(name, timestamp=5, values=[text(value, value) for value in values])


def delta(name: str, *values: str) -> bytes:
    return minimal_hive(name, delta=True, timestamp=6, values=[text(value, value) for value in values])


def base_items(*more: LayerItem) -> list[LayerItem]:
    return [
        *(folder(path) for path in ("Files", "Files/Windows", "Files/Windows/System32", CONFIG)),
        *(file(f"{CONFIG}/{one.name}", hive(one.name, "base")) for one in HIVES),
        file("Files/a.txt"),
        *more,
    ]


def written(layer: CimLayer, items: Iterable[LayerItem], parents: Iterable[CimLayer] = (), **options: Any) -> Any:
    with CimLayerWriter(layer, parents=tuple(parents), **options) as writer:
        for item in items:
            writer.write(item)
    return writer


def content(layer: CimLayer, path: str) -> bytes | None:
    with CimImage.open(layer.cim) as image:
        found = image.lookup(path)
        return None if found is None else b"".join(found.pieces())


def beside(layer: CimLayer) -> dict[str, bytes]:
    return {
        str(path.relative_to(layer.folder)): path.read_bytes()
        for path in sorted(layer.folder.rglob("*"))
        if path.is_file()
    }


def values_of(data: bytes) -> list[str]:
    return sorted(value.name for value in Hive(data).root.values)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.name != ".wclayer-cim.lock")


# --------------------------------------------------------------------------------------------- standard files


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("Hives/SYSTEM_DELTA", True),
        ("hives/DefaultUser_Delta", True),
        ("FILES/windows/SYSTEM32/config/sam", True),
        ("Files/Windows/System32/config/DEFAULT", True),
        ("Hives/SYSTEM_BASE", False),
        ("Files/Windows/System32/config/COMPONENTS", False),
        ("Files/Windows/System32/config/SYSTEM/x", False),
        ("UtilityVM/Files/Windows/System32/config/SYSTEM", True),
        ("UtilityVM/Files/Windows/System32/config/system", False),
        ("UtilityVM/Files/Windows/System32/config/SAM", False),
        ("UtilityVM/Files/EFI/Microsoft/Boot/BCD", True),
        ("UtilityVM/Files/EFI/Microsoft/Boot/bootmgfw.efi", True),
        ("utilityvm/Files/EFI/Microsoft/Boot/BCD", False),
        ("SYSTEM_DELTA", False),
    ],
)
def test_standard_files_are_known_by_their_path(path: str, is_one: bool) -> None:
    assert is_std_file(path) is is_one


def test_standard_files_are_in_the_folder_and_in_the_image(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    boot = [folder(path) for path in ("UtilityVM", "UtilityVM/Files", "UtilityVM/Files/EFI")]
    boot += [folder("UtilityVM/Files/EFI/Microsoft"), folder("UtilityVM/Files/EFI/Microsoft/Boot")]
    bcd = file("UtilityVM/Files/EFI/Microsoft/Boot/BCD", b"boot", security_descriptor=b"\1\0\4\x80" + bytes(15) + b"\1")
    written(layer, base_items(*boot, bcd))
    files = beside(layer)
    assert files.pop("UtilityVM/Files/EFI/Microsoft/Boot/BCD") == b"boot"
    assert files.pop("layout") == LAYOUT_MARKER
    assert {path: values_of(data) for path, data in files.items()} == {
        path: ["base"] for one in HIVES for path in (one.config_path, one.base_path)
    }
    facts = facts_of(CimLayerReader(layer.cim))
    assert facts["UtilityVM/Files/EFI/Microsoft/Boot/BCD"]["descriptor"] == bcd.metadata.security_descriptor
    assert facts["UtilityVM/Files/EFI/Microsoft/Boot/BCD"]["creation"] == 21
    assert set(facts) == {item.path for item in base_items(*boot, bcd)}


def test_the_image_has_what_processing_adds_to_a_base(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items())
    facts = facts_of(CimLayerReader(layer.cim, processed=True))
    for one in HIVES:
        assert facts[one.base_path] is facts[one.config_path]
        assert os.path.samefile(layer.folder / one.base_path, layer.folder / one.config_path)
    assert facts["layout"] | {"data": None} == {
        "folder": False,
        "size": len(LAYOUT_MARKER),
        "data": None,
        "streams": {},
        "names": ["LAYOUT"],
        "attributes": 0,
        "creation": None,
        "access": None,
        "write": None,
        "change": None,
        "descriptor": None,
        "attributes-extended": (),
        "reparse": None,
    }
    assert (facts["Hives"]["folder"], facts["Hives"]["attributes"], facts["Hives"]["write"]) == (True, 0x10, None)
    assert content(layer, "layout") == LAYOUT_MARKER


def test_hives_of_a_base_layer_that_the_layer_describes_keeps_its_description(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items(folder("Hives")))
    facts = facts_of(CimLayerReader(layer.cim))
    assert facts["Hives"]["write"] == 13
    assert content(layer, "Hives/SAM_BASE") == content(layer, f"{CONFIG}/SAM")


def test_what_processing_replaces_is_told(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    writer = written(layer, base_items(folder("Hives"), file("Hives/sam_base"), file("layout", b"of the layer")))
    assert writer.notices.counts == {"processed-over": 2}
    assert content(layer, "layout") == LAYOUT_MARKER
    assert content(layer, "Hives/SAM_BASE") == content(layer, f"{CONFIG}/SAM")


def test_a_base_layer_spelt_otherwise_is_processed(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    items = [file(f"files/windows/system32/CONFIG/{one.name.lower()}", hive(one.name)) for one in HIVES]
    writer = written(layer, items)
    assert writer.notices.counts == {"folder-implied": 4}
    assert content(layer, "Hives/SOFTWARE_BASE") == hive("SOFTWARE")
    assert (layer.folder / "Hives" / "SOFTWARE_BASE").read_bytes() == hive("SOFTWARE")


@pytest.mark.parametrize("missing", [one.name for one in HIVES])
def test_a_base_layer_without_one_of_its_hives_is_refused_and_leaves_nothing(tmp_path: Path, missing: str) -> None:
    layer = layer_in(tmp_path, "base")
    with pytest.raises(NotFoundError, match=f"no hive {CONFIG}/{missing}"):
        written(layer, [item for item in base_items() if not item.path.endswith(f"/{missing}")])
    assert left(tmp_path) == []


def test_without_processing_a_layer_is_what_it_is(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "plain")
    written(layer, [folder("Files"), file("Files/a.txt")], process=False)
    assert [item.path for item in CimLayerReader(layer.cim, processed=True)] == ["Files", "Files/a.txt"]
    assert beside(layer) == {}


def test_processing_may_be_switched_off_until_the_end(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "plain")
    with CimLayerWriter(layer) as writer:
        writer.write(folder("Files"))
        writer.process = False
    assert content(layer, "layout") is None


# --------------------------------------------------------------------------------------------- upper layers


def test_the_hives_of_an_upper_layer_are_merged_with_those_below(tmp_path: Path) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    written(base, base_items())
    written(upper, [file("Hives/System_Delta", delta("SYSTEM", "more"))], [base])
    assert sorted(beside(upper)) == ["Hives/SYSTEM_BASE", "Hives/System_Delta"]
    merged = beside(upper)["Hives/SYSTEM_BASE"]
    assert values_of(merged) == ["base", "more"]
    assert content(upper, "Hives/SYSTEM_BASE") == merged
    expected = merge([Hive(hive("SYSTEM", "base")), Hive(delta("SYSTEM", "more"))])
    assert Hive(merged).tree() == Hive(minimal_hive("SYSTEM", timestamp=6, values=expected.values)).tree()
    assert set(facts_of(CimLayerReader(upper.cim))) == {"Hives/System_Delta"}
    assert values_of(content(upper, "Hives/SAM_BASE") or b"") == ["base"]


@pytest.mark.parametrize("without", ["nothing", "the folder of the parent", "all folders"])
def test_a_hive_that_the_parent_did_not_change_is_that_of_its_parent(tmp_path: Path, without: str) -> None:
    layers = [layer_in(tmp_path, name) for name in ("base", "middle", "top")]
    base, middle, top = layers
    written(base, base_items())
    written(middle, [file("Hives/Sam_Delta", delta("SAM", "middle"))], [base])
    if without != "nothing":
        destroy_folder(middle)
    if without == "all folders":
        destroy_folder(base)
    items = [file("Hives/Sam_Delta", delta("SAM", "top")), file("Hives/System_Delta", delta("SYSTEM", "top"))]
    written(top, items, [middle, base])
    # Without the folder of the parent the hive of the base is the nearest that a folder has.
    own = ["base", "middle", "top"] if without != "the folder of the parent" else ["base", "top"]
    assert values_of(beside(top)["Hives/SAM_BASE"]) == own
    assert values_of(beside(top)["Hives/SYSTEM_BASE"]) == ["base", "top"]


def destroy_folder(layer: CimLayer) -> None:
    for path in sorted(layer.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    layer.folder.rmdir()


def test_a_change_of_a_hive_that_nobody_below_has_is_an_error(tmp_path: Path) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    written(base, [folder("Files")], process=False)
    before = left(tmp_path)
    with pytest.raises(NotFoundError, match="no layer below has Hives/SAM_BASE"):
        written(upper, [file("Hives/SAM_DELTA", delta("SAM"))], [base])
    assert left(tmp_path) == before


@pytest.mark.parametrize("bad", [b"", b"no hive at all" * 1000, delta("SAM")[:4096] + bytes(4096)])
def test_a_change_that_is_no_hive_is_an_error_and_leaves_nothing(tmp_path: Path, bad: bytes) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    written(base, base_items())
    before = left(tmp_path)
    with pytest.raises(FormatError) as caught:
        written(upper, [file("Hives/SAM_DELTA", bad)], [base])
    assert caught.value.path == "Hives/SAM_DELTA"
    assert left(tmp_path) == before


def test_a_deletion_is_one_and_of_nothing_it_is_a_notice(tmp_path: Path) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    written(base, base_items(folder("Files/d"), file("Files/d/x")))
    writer = written(upper, [Tombstone("Files/d"), Tombstone("Files/A.TXT"), Tombstone("Files/none")], [base])
    assert writer.notices.counts == {"tombstone-of-nothing": 1}
    assert {item.path for item in CimLayerReader(upper.cim)} == {"Files/d", "Files/a.txt"}
    assert content(upper, "Files/d/x") is None
    assert content(base, "Files/d/x") == b"data"


# --------------------------------------------------------------------------------------------- links and streams


def test_a_link_to_a_standard_file_waits_for_it(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items(HardLink("Files/copy of sam", f"{CONFIG}/SAM")))
    facts = facts_of(CimLayerReader(layer.cim))
    assert facts["Files/copy of sam"] is facts[f"{CONFIG}/SAM"]
    assert facts_of(CimLayerReader(layer.cim, processed=True))["Hives/SAM_BASE"]["names"] == sorted(
        ["FILES/COPY OF SAM", f"{CONFIG}/SAM".upper(), "HIVES/SAM_BASE"]
    )


def test_a_standard_file_that_is_a_link_is_unexpected(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    with pytest.raises(FormatError, match=r"unexpected link .*config.SAM in layer"):
        written(layer, [folder("Files"), file("Files/x"), HardLink(f"{CONFIG}/SAM", "Files/x")])
    assert left(tmp_path) == []


def test_a_standard_file_that_is_a_folder_is_unexpected(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"unexpected folder Hives.SAM_Delta in layer"):
        written(layer_in(tmp_path, "base"), base_items(folder("Hives/SAM_Delta")))
    assert left(tmp_path) == []


def test_a_stream_of_a_standard_file_is_unexpected(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    stream = AlternateStream(f"{CONFIG}/SAM", ":s:$DATA", Stream.from_bytes(b"x"))
    with pytest.raises(FormatError, match=r"unexpected alternate stream .*config.SAM:s:.DATA in layer"):
        written(layer, base_items(stream))
    assert left(tmp_path) == []


def test_a_standard_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeEntryError, match="comes twice"):
        written(layer_in(tmp_path, "base"), base_items(file(f"{CONFIG}/sam", b"again")))
    assert left(tmp_path) == []


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"failed to find link target for 'Files.l' -> 'Files.none'"):
        written(layer_in(tmp_path, "base"), base_items(HardLink("Files/l", "Files/none")))
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", [":s:$DATA", ":s", ":s:$DATA:$DATA", ":s:$data"])
def test_streams_are_kept_under_any_spelling(tmp_path: Path, name: str) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items(AlternateStream("Files/a.txt", name, Stream.from_bytes(b"other"))))
    with CimImage.open(layer.cim) as image:
        found = image.lookup("Files/a.txt")
        assert found is not None
        assert [(stream.name, b"".join(stream.pieces())) for stream in found.streams] == [("s", b"other")]


def test_the_size_of_a_layer_is_that_of_its_files_without_their_streams(tmp_path: Path) -> None:
    stream = AlternateStream("Files/a.txt", ":s:$DATA", Stream.from_bytes(b"0123456789"))
    writer = written(layer_in(tmp_path, "base"), base_items(stream))
    assert writer.size == sum(item.data.size for item in base_items() if isinstance(item, Entry) and item.data)


def test_what_a_link_says_of_itself_and_its_file_does_not_is_told(tmp_path: Path) -> None:
    other = HardLink("Files/l", "Files/a.txt", Metadata(0x21, 21, 22, 23, 25))
    same = HardLink("Files/m", "Files/l", Metadata(0x20, 21, 22, 23, 24))
    writer = written(layer_in(tmp_path, "base"), base_items(other, same))
    assert writer.notices.counts == {"link-times": 1, "link-attributes": 1}


# --------------------------------------------------------------------------------------------- all or nothing


def test_the_same_layer_makes_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        layer = layer_in(tmp_path / name, "base")
        written(layer, base_items(), guid=GUID)
        contents.append({path.name: path.read_bytes() for path in layer.cim.parent.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) >= 5


@pytest.mark.parametrize("at", range(len(base_items()) + 1))
def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, at: int) -> None:
    def failing() -> Iterable[LayerItem]:
        yield from base_items()[:at]
        raise StoreError("the source broke")

    with pytest.raises(StoreError, match="broke"):
        written(layer_in(tmp_path, "base"), failing())
    assert left(tmp_path) == []
    assert not (tmp_path / "base").exists()


def test_a_writer_takes_nothing_after_an_error(tmp_path: Path) -> None:
    writer = CimLayerWriter(layer_in(tmp_path, "base"))
    with pytest.raises(FormatError):
        writer.write(HardLink("Files/l", "Files/none"))
    with pytest.raises(UsageError, match="broken"):
        writer.write(folder("Files"))
    with pytest.raises(UsageError, match="broken"):
        writer.commit()
    assert left(tmp_path) == []


def test_a_layer_that_exists_stays(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(WclayerError):
        written(layer, base_items())
    for path, data in before.items():
        assert path.read_bytes() == data


def test_a_folder_that_cannot_be_published_takes_the_image_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_in(tmp_path, "base")

    def refused(*_arguments: Any) -> None:
        raise StoreError("no such luck")

    monkeypatch.setattr("wclayer.formats.cim.std_files.Staging.publish", refused)
    with pytest.raises(StoreError, match="no such luck"):
        written(layer, base_items())
    assert left(tmp_path) == []


def test_the_image_of_a_layer_lies_with_that_of_its_parent(tmp_path: Path) -> None:
    base = layer_in(tmp_path / "here", "base")
    written(base, base_items())
    with pytest.raises(UsageError, match="in the folder of its parent"):
        CimLayerWriter(layer_in(tmp_path / "there", "upper"), parents=[base])


# --------------------------------------------------------------------------------------------- the layer as a whole


def test_names_are_those_of_the_reference(tmp_path: Path) -> None:
    assert layer_in(tmp_path, "12") == (tmp_path / "cim-layers" / "12.cim", tmp_path / "12")
    assert cim_of_folder(tmp_path / "snapshots" / "12") == tmp_path / "snapshots" / "cim-layers" / "12.cim"


def test_a_destroyed_layer_is_gone_and_its_parent_is_not(tmp_path: Path) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    written(base, base_items())
    before = left(tmp_path)
    written(upper, [file("Files/b")], [base])
    with pytest.raises(StoreError, match=r"forks.*upper\.cim"):
        destroy_cim_layer(base)
    destroy_cim_layer(upper)
    assert left(tmp_path) == before
    assert not upper.folder.exists()
    destroy_cim_layer(base)
    assert left(tmp_path) == []


def test_a_folder_without_an_image_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "precious").write_text("x")
    destroy_cim_layer(CimLayer(tmp_path / "none.cim", tmp_path / "snapshots"))
    assert (tmp_path / "snapshots" / "precious").read_text() == "x"
    with pytest.raises(NotFoundError):
        destroy_cim_layer(layer_in(tmp_path, "none"))


def test_what_a_layer_takes(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, "base")
    written(layer, base_items())
    regions = sum(path.stat().st_size for path in layer.cim.parent.glob("*_*"))
    hives = 5 * len(hive("SAM", "base"))
    assert cim_layer_usage(layer) == regions + hives + len(LAYOUT_MARKER)
