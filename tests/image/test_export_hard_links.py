"""Exports with hard links and without: the same tree, and another tar; out of every form that a layer has."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.formats.folder.layers import alternate, file, folder, write
from tests.image.transport_layers import BASE, DIFF
from tests.interop.members import members
from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.formats.folder import LayerFolder
from wclayer.formats.hard_links import without_hard_links
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.image.converting import convert
from wclayer.image.exporting import ExportedLayer, export_layer
from wclayer.image.importing import import_layer
from wclayer.image.transport_import import import_layer_from_tar
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Tombstone, copy_layer

TIMES: dict[str, Any] = {
    "creation_time": 132_223_104_000_000_001,
    "last_access_time": 132_223_104_000_000_002,
    "last_write_time": 132_223_104_000_000_003,
    "change_time": 132_223_104_000_000_004,
}
ITEMS: list[LayerItem] = [
    folder("Files", **dict.fromkeys(TIMES, TIMES["last_write_time"])),
    folder("Files/d", **TIMES),
    file("Files/d/a", b"data", security_descriptor=b"sd", **TIMES),
    alternate("Files/d/a", ":s:$DATA", b"stream"),
    HardLink("Files/d/b", "Files/d/a", Metadata(0x20, **TIMES)),
    HardLink("Files/d/c", "Files/d/a", Metadata(0x20, **TIMES)),
    file("Files/d/single", b"one name", **TIMES),
]


def tar_of(*items: LayerItem) -> bytes:
    out = io.BytesIO()
    with TarLayerWriter(out.write) as writer:
        copy_layer(items, writer)
    return out.getvalue()


def exported(folder: Path | str, output: Path, **options: Any) -> tuple[bytes, ExportedLayer]:
    done = export_layer(folder, str(output), form="reference", **options)
    return output.read_bytes(), done


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer.tar").write_bytes(tar_of(*ITEMS))
    import_layer(str(tmp_path / "layer.tar"), tmp_path / "layer")
    return tmp_path / "layer"


def contents(tar: bytes) -> dict[str, tuple[object, ...]]:
    """What every path of a tar is, whether a file or a link to one."""
    found: dict[str, tuple[object, ...]] = {}
    streams: dict[str, list[tuple[str, bytes]]] = {}
    links: dict[str, str] = {}
    for item in TarLayerReader([tar]):
        if isinstance(item, HardLink):
            links[item.path] = item.target
        elif isinstance(item, AlternateStream):
            streams.setdefault(item.path, []).append((item.name, item.data.read(1 << 20)))
        elif isinstance(item, Entry):
            found[item.path] = (item.metadata, item.data.read(1 << 20) if item.data else None)
    whole = {path: (*what, streams.get(path)) for path, what in found.items()}
    return whole | {path: whole[target] for path, target in links.items()}


@pytest.mark.parametrize("form", ["layer", "transport", "base"])
def test_both_exports_hold_the_same_tree(layer: Path, form: str, tmp_path: Path) -> None:
    source = f"{form}:{layer}"
    if form != "layer":
        source = f"{form}:{tmp_path / form}"
        convert(str(layer), source)
    linked, first = exported(source, tmp_path / "linked.tar")
    single, second = exported(source, tmp_path / "single.tar", hard_links=False)
    assert [member.name for member in members(linked) if member.kind == "1"] == ["Files/d/b", "Files/d/c"]
    assert [member.name for member in members(single) if member.kind == "1"] == []
    assert contents(linked) == contents(single)
    assert first.diff_id != second.diff_id
    # And unpacked they are the same, but for who shares a file with whom.
    for name in ("linked", "single"):
        import_layer(str(tmp_path / f"{name}.tar"), tmp_path / name)
    for path in ("Files/d/a", "Files/d/b", "Files/d/c", "Files/d/single"):
        assert (tmp_path / "linked" / path).read_bytes() == (tmp_path / "single" / path).read_bytes()
    again, _ = exported(tmp_path / "single", tmp_path / "again.tar")
    assert again == single


def test_every_form_of_a_layer_gives_the_same_two_tars(layer: Path, tmp_path: Path) -> None:
    # hcsshim does not read how Files was made, only when it was written last; the layer is such that this is the same.
    convert(str(layer), f"transport:{tmp_path / 't'}")
    convert(str(layer), f"base:{tmp_path / 'b'}")
    for hard_links in (True, False):
        sources = [f"layer:{layer}", f"transport:{tmp_path / 't'}", f"base:{tmp_path / 'b'}"]
        tars = {
            exported(source, tmp_path / f"{number}{hard_links}.tar", hard_links=hard_links)[0]
            for number, source in enumerate(sources)
        }
        assert len(tars) == 1


def test_a_folder_of_windows_is_recognised_by_a_look(layer: Path, tmp_path: Path) -> None:
    convert(str(layer), f"transport:{tmp_path / 't'}")
    convert(str(layer), f"base:{tmp_path / 'b'}")
    expected, _ = exported(layer, tmp_path / "x.tar")
    for name in ("t", "b"):
        assert exported(str(tmp_path / name), tmp_path / f"{name}.tar")[0] == expected


def test_a_link_into_a_parent_becomes_the_file_with_all_it_has(layer: Path, tmp_path: Path) -> None:
    middle = write(tmp_path / "middle", HardLink("Files/m", "Files/d/a", Metadata(0x20, **TIMES)), parents=[layer])
    top = write(tmp_path / "top", HardLink("Files/t", "Files/m", Metadata(0x20, **TIMES)), parents=[middle, layer])
    tar, done = exported(top, tmp_path / "x.tar", hard_links=False)
    assert contents(tar) == {"Files/t": contents(tar_of(*ITEMS))["Files/d/a"]}
    assert done.notices == {}
    with LayerFolder(top) as alone, pytest.raises(NotFoundError, match="neither in this layer nor in those below"):
        list(without_hard_links([HardLink("Files/t", "Files/m")], [alone], Notices()))


def test_what_a_link_says_of_its_own_is_told_when_it_becomes_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "l",
        file("Files/a", b"x", **TIMES),
        HardLink("Files/b", "Files/a", Metadata(0x21, **{**TIMES, "change_time": 5})),
    )
    tar, done = exported(path, tmp_path / "x.tar", hard_links=False)
    assert done.notices == {"link-times": 1, "link-attributes": 1}
    assert contents(tar)["Files/b"] == contents(tar)["Files/a"]
    with pytest.raises(FormatError, match="--strict"):
        exported(path, tmp_path / "y.tar", hard_links=False, strict=True)
    assert not (tmp_path / "y.tar").exists()


def test_names_that_share_an_identity_become_files_of_their_own(tmp_path: Path) -> None:
    items = [Entry(f"Files/{name}", Metadata(0x20, **TIMES), file_id=b"1") for name in "ab"]
    path = write(tmp_path / "l", *items)
    linked, _ = exported(path, tmp_path / "1.tar")
    single, _ = exported(path, tmp_path / "0.tar", hard_links=False)
    assert [member.kind for member in members(linked)] == ["0", "1"]
    assert [member.kind for member in members(single)] == ["0", "0"]


def test_the_original_has_the_links_that_it_has(layer: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the original tar"):
        export_layer(layer, str(tmp_path / "x.tar"), form="original", hard_links=False)
    assert export_layer(layer, str(tmp_path / "x.tar"), hard_links=False).form == "reference"
    assert export_layer(layer, str(tmp_path / "x.tar"), form="faithful", hard_links=False).form == "faithful"


def test_the_folder_of_a_diff_layer_is_exported_with_its_deletions(tmp_path: Path) -> None:
    base = import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path
    import_layer_from_tar([tar_of(*DIFF)], tmp_path / "top", [base])
    linked, _ = exported(f"layer:{tmp_path / 'top'}", tmp_path / "linked.tar")
    single, done = exported(f"layer:{tmp_path / 'top'}", tmp_path / "single.tar", hard_links=False)
    for tar in (linked, single):
        assert [item.path for item in TarLayerReader([tar]) if isinstance(item, Tombstone)] == ["Files/gone"]
    assert any(member.kind == "1" for member in members(linked))
    assert not any(member.kind == "1" for member in members(single))
    assert done.same_diff_id is None
    # A reader of base layers would leave the deletions out, so it does not begin.
    for refused in (f"base:{tmp_path / 'top'}", str(tmp_path / "top")):
        with pytest.raises(UnsupportedError, match="no base layer"):
            exported(refused, tmp_path / "x.tar")
        with pytest.raises(UnsupportedError, match="no base layer"):
            convert(refused, str(tmp_path / "x.tar"))
    assert not (tmp_path / "x.tar").exists()


def test_the_folder_of_a_base_layer_has_a_utility_vm_as_a_diff_layer_has_not(tmp_path: Path) -> None:
    base = import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path
    whole, done = exported(f"base:{base}", tmp_path / "whole.tar")
    assert "UtilityVM/Files" in contents(whole)
    assert done.notices == {}


@pytest.mark.parametrize("prefix", ["transport", "base", "plain"])
def test_a_layer_folder_is_not_read_as_something_else(layer: Path, prefix: str, tmp_path: Path) -> None:
    for call in (convert, export_layer) if prefix != "plain" else (convert,):
        with pytest.raises(UsageError, match="is a layer folder"):
            call(f"{prefix}:{layer}", str(tmp_path / "x.tar"))


def test_what_is_read_as_hcsshim_does_has_no_other_form(layer: Path, tmp_path: Path) -> None:
    convert(str(layer), f"transport:{tmp_path / 't'}")
    source, output = f"transport:{tmp_path / 't'}", str(tmp_path / "x.tar")
    with pytest.raises(NotFoundError, match="no original"):
        export_layer(source, output, form="original")
    with pytest.raises(UnsupportedError, match="as hcsshim does"):
        export_layer(source, output, form="faithful")
    with pytest.raises(UsageError, match="is one layer"):
        export_layer(source, output, layer=0)
    with pytest.raises(NotFoundError, match="no folder"):
        export_layer(f"base:{tmp_path / 'nowhere'}", output)
