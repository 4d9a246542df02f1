"""The whole import and the whole export: right, or nothing at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.formats.transport.layers import DESCRIPTOR, LINK, content_of, file, folder, gone, link, tar_of
from tests.image.transport_layers import BASE, BOOT, DIFF, UTILITY_VM, names
from wclayer.errors import FormatError, StoreError, UnsupportedError, WclayerError
from wclayer.formats.folder import LayerFolderWriter
from wclayer.formats.tar import TarLayerReader
from wclayer.formats.volume import Volume
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.image.transport_export import export_layer_to_tar
from wclayer.image.transport_import import LayerCalls, import_layer_from_tar
from wclayer.model import Entry, HardLink, Notices, copy_layer


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base layer."""
    return import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path


def test_a_base_layer_and_one_on_it(tmp_path: Path, base: Path) -> None:
    made = import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM)], tmp_path / "layer", [base])
    assert made.size == 5 + 3
    assert names(tmp_path) == ["base", "layer"]
    with open_layer_volume(made.path) as layer, open_layer_volume(base) as below:
        assert content_of(layer, "Files\\far") == b"base" * 100
        assert layer.lstat("Files\\far").file_id == below.lstat("Files\\d\\base.dll").file_id
        assert layer.lstat("Files\\d\\linked").file_id == layer.lstat("Files\\d\\own").file_id
        assert layer.lstat("Files\\d\\own").record.security_descriptor == DESCRIPTOR
        assert layer.lstat("Files\\l").record.reparse == LINK
        boot = BOOT.replace("/", "\\")
        for name, shared in (("BCD", False), ("boot.efi", True)):
            theirs = below.lstat(f"{boot}\\{name}").file_id
            assert (layer.lstat(f"{boot}\\{name}").file_id == theirs) == shared


def test_45_the_boot_files_are_saved_pristine_for_base_and_diff_layers(tmp_path: Path, base: Path) -> None:
    with open_layer_volume(base) as layer:
        assert content_of(layer, "bcd.bak") == b"regf"
    tar = tar_of(
        folder("Files"),
        *UTILITY_VM,
        file(f"{BOOT}/BCD", b"new"),
        file(f"{BOOT}/BCD.LOG1", b"log"),
        file(f"{BOOT}/bcd.log2", b"other spelling"),
    )
    with open_layer_volume(import_layer_from_tar([tar], tmp_path / "layer", [base]).path) as layer:
        assert content_of(layer, "bcd.bak") == b"new"
        assert content_of(layer, "bcd.log1.bak") == b"log"
        assert not layer.exists("bcd.log2.bak")
        assert layer.lstat("bcd.bak").record.security_descriptor is None


def test_45_a_link_in_the_place_of_the_copy_is_replaced_and_not_followed(tmp_path: Path) -> None:
    secret = file("bcd.bak", None, 0x420)
    secret.metadata.reparse = LINK
    tar = tar_of(folder("Files"), secret, *UTILITY_VM, file(f"{BOOT}/BCD", b"regf"))
    with open_layer_volume(import_layer_from_tar([tar], tmp_path / "b").path) as layer:
        assert not layer.lstat("bcd.bak").is_reparse_point
        assert content_of(layer, "bcd.bak") == b"regf"


def test_46_a_tar_cut_anywhere_leaves_nothing(tmp_path: Path, base: Path) -> None:
    tar = tar_of(*DIFF)
    for end in range(512, len(tar) - 1024, 512):
        try:
            import_layer_from_tar([tar[:end]], tmp_path / "layer", [base])
        except WclayerError:
            assert names(tmp_path) == ["base"]
        else:
            # Without its end a tar is accepted, as Go's reader does, when it stops between two entries.
            assert sum(1 for _ in TarLayerReader([tar[:end]])) < len(DIFF) or end >= len(tar) - 2048
            assert names(tmp_path) == ["base", "layer"]
            from wclayer.formats.folder import remove_layer_folder

            remove_layer_folder(tmp_path / "layer")


def test_46_a_check_that_raises_stops_the_import(tmp_path: Path) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_layer_from_tar([tar_of(*BASE)], tmp_path / "b", check=check)
    assert names(tmp_path) == []


@pytest.mark.parametrize("failing", ["import_layer", "process_utility_image"])
def test_46_a_call_of_windows_that_fails_leaves_nothing(tmp_path: Path, base: Path, failing: str) -> None:
    def fail(*_volumes: object) -> None:
        raise StoreError("no")

    calls = LayerCalls(import_layer=fail) if failing == "import_layer" else LayerCalls(process_utility_image=fail)
    with pytest.raises(StoreError, match="no"):
        import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM)], tmp_path / "layer", [base], calls=calls)
    assert names(tmp_path) == ["base"]


@pytest.mark.parametrize("how", ["Files\\x", "process"])
def test_38_a_refused_base_is_not_processed(tmp_path: Path, how: str) -> None:
    processed: list[Volume] = []
    with pytest.raises(FormatError, match="base layer cannot have tombstones"):
        import_layer_from_tar(
            [tar_of(*BASE, gone("Files/x"))], tmp_path / "b", calls=LayerCalls(process_base_image=processed.append)
        )
    assert processed == []
    assert names(tmp_path) == []


def test_an_unresolvable_link_names_all_that_was_searched(tmp_path: Path, base: Path) -> None:
    with pytest.raises(FormatError) as error:
        import_layer_from_tar([tar_of(folder("Files"), link("Files/x", "Files/none"))], tmp_path / "layer", [base])
    for part in ("Files\\x", "Files\\none", "this layer", str(base)):
        assert part in str(error.value)
    assert names(tmp_path) == ["base"]


def test_a_destination_that_is_taken_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("mine")
    with pytest.raises(StoreError):
        import_layer_from_tar([tar_of(*BASE)], tmp_path / "b")
    assert (tmp_path / "b" / "mine").read_text() == "mine"


def test_missing_access_times_are_those_of_the_last_write_when_faithful(tmp_path: Path) -> None:
    entry = file("Files/a", b"x")
    entry.metadata.last_access_time = None
    from wclayer.formats.tar import TarLayerWriter

    out = io.BytesIO()
    with TarLayerWriter(out.write, policy="faithful") as writer:
        copy_layer([folder("Files"), entry], writer)
    for policy, expected in (("faithful", entry.metadata.last_write_time), ("reference", 48491090211286549)):
        made = import_layer_from_tar([out.getvalue()], tmp_path / policy, policy=policy)  # type: ignore[arg-type]
        with open_layer_volume(made.path) as layer:
            assert layer.lstat("Files\\a").basic.last_access_time == expected


def test_a_layer_folder_can_be_a_parent(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "store") as writer:
        copy_layer(BASE, writer)
    made = import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM)], tmp_path / "layer", [tmp_path / "store"])
    with open_layer_volume(made.path) as layer:
        assert content_of(layer, "Files\\far") == b"base" * 100
        assert layer.lstat("Files\\far").record.security_descriptor == DESCRIPTOR
        assert content_of(layer, f"{BOOT}/boot.efi".replace("/", "\\")) == b"efi"


def test_a_layer_folder_that_holds_only_changes_has_no_utility_vm_to_clone(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "base") as writer:
        copy_layer(BASE, writer)
    with LayerFolderWriter(tmp_path / "diff", parents=[tmp_path / "base"]) as writer:
        copy_layer([folder("Files"), *UTILITY_VM], writer)
    with pytest.raises(UnsupportedError, match="only what that layer changes"):
        import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM)], tmp_path / "l", [tmp_path / "diff", tmp_path / "base"])


# ---------------------------------------------------------------------- the way back


def exported(path: Path, *, is_base: bool, hard_links: bool = True, notices: Notices | None = None) -> bytes:
    out = io.BytesIO()
    export_layer_to_tar(path, out.write, is_base=is_base, hard_links=hard_links, notices=notices)
    return out.getvalue()


def test_44_names_of_one_file_become_hard_links_or_files(tmp_path: Path, base: Path) -> None:
    made = import_layer_from_tar([tar_of(*DIFF)], tmp_path / "layer", [base])
    items = list(TarLayerReader([exported(made.path, is_base=False)]))
    links = [item for item in items if isinstance(item, HardLink)]
    assert [(item.path, item.target) for item in links] == [("Files/d/own", "Files/d/linked")]
    assert [item.path for item in items if item.path == "Files/gone"] == ["Files/gone"]
    again = import_layer_from_tar([exported(made.path, is_base=False)], tmp_path / "again", [base])
    assert exported(again.path, is_base=False) == exported(made.path, is_base=False)
    without = list(TarLayerReader([exported(made.path, is_base=False, hard_links=False)]))
    assert not any(isinstance(item, HardLink) for item in without)
    own = next(item for item in without if item.path == "Files/d/own" and isinstance(item, Entry))
    assert own.data is not None
    assert own.data.size == 3
    assert names(tmp_path) == ["again", "base", "layer"]


def test_44_a_hard_link_has_the_bytes_of_the_reference(tmp_path: Path) -> None:
    made = import_layer_from_tar(
        [tar_of(folder("Files"), file("Files/a", b"x"), link("Files/b", "Files/a"))], tmp_path / "b"
    )
    tar = exported(made.path, is_base=True)
    at = tar.rindex(b"Files/b\0")
    assert tar[at + 100 : at + 108] == b"0000644\0"
    assert tar[at + 156 : at + 165] == b"1Files/a\0"


def test_a_base_layer_comes_back_byte_for_byte(tmp_path: Path, base: Path) -> None:
    again = import_layer_from_tar([exported(base, is_base=True)], tmp_path / "again")
    assert exported(again.path, is_base=True) == exported(base, is_base=True)


def test_that_a_utility_vm_is_not_exported_with_a_diff_layer_is_noticed(tmp_path: Path, base: Path) -> None:
    made = import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM)], tmp_path / "layer", [base])
    notices = Notices()
    exported(made.path, is_base=False, notices=notices)
    assert notices.counts == {"utility-vm-left-out": 1}
    with pytest.raises(FormatError):
        exported(made.path, is_base=False, notices=Notices(strict=True))


def test_the_parents_are_searched_nearest_first(tmp_path: Path) -> None:
    def layer(name: str, content: bytes, parents: Sequence[Path] = ()) -> Path:
        items = [folder("Files"), file("Files/both", content)]
        if parents:
            items += [folder("Hives"), file("Hives/System_Delta", b"delta")]
        return import_layer_from_tar([tar_of(*items)], tmp_path / name, parents).path

    far = layer("far", b"far")
    near = layer("near", b"near", [far])
    made = import_layer_from_tar([tar_of(folder("Files"), link("Files/x", "Files/both"))], tmp_path / "l", [near, far])
    with open_layer_volume(made.path) as volume:
        assert content_of(volume, "Files\\x") == b"near"
