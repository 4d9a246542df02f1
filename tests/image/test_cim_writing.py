"""Images are made of layers and folders, forked, imported and merged; looked into by their own paths."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.image.stacks import TIME, file, folder, folders, gone, junction, link, make_image, stream, symlink, tar
from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError, UsageError
from wclayer.formats.cim.block import VhdFooter
from wclayer.image.cim_actions import check_cim, destroy, extract_cim, extract_cim_tar, usage_of
from wclayer.image.cim_listing import block_facts, cim_facts, describe_cim_file, list_cim, open_cim, read_cim_file
from wclayer.image.cim_writing import CimOptions, create_cim, import_cim, merge_cims, profile_for
from wclayer.image.comparing import compare
from wclayer.image.comparing_sides import open_side
from wclayer.image.converting import convert
from wclayer.model import LayerItem
from wclayer.ntfs import security
from wclayer.ntfs.sddl import from_sddl

DESCRIPTOR = security.build(from_sddl("O:SYG:SYD:(A;;FA;;;SY)"))
LAYER: list[LayerItem] = [
    *folders("Files", "Files/d"),
    file("Files/d/f", b"data", attributes=0x27, security_descriptor=DESCRIPTOR),
    file("Files/two", b"two"),
    stream("Files/two", "extra", b"more"),
    link("Files/other", "Files/two"),
    symlink("Files/soft", "two"),
    junction("Files/junction", "C:\\d"),
]


def layer(folder: Path, items: list[LayerItem], name: str = "layer.tar") -> str:
    (folder / name).write_bytes(tar(items))
    return str(folder / name)


@pytest.fixture
def cim(tmp_path: Path) -> Path:
    create_cim(layer(tmp_path, LAYER), tmp_path / "a.cim")
    return tmp_path / "a.cim"


def same(a: str, b: str, **options: Any) -> bool:
    one, other = open_side(a), open_side(b)
    with one.view, other.view:
        return compare(one, other, **options) == []


# --------------------------------------------------------------------------------------------------------- looking in


def test_a_folder_is_listed_by_its_own_paths(cim: Path) -> None:
    with open_cim(cim) as image:
        assert [row.path for row in list_cim(image)] == ["Files"]
        rows = {row.path: row for row in list_cim(image, "\\files\\")}
        assert list(rows) == ["Files/d", "Files/junction", "Files/other", "Files/soft", "Files/two"]
        assert (rows["Files/soft"].kind, rows["Files/soft"].target) == ("symlink", "two")
        assert (rows["Files/junction"].kind, rows["Files/junction"].target) == ("junction", "C:\\d")
        assert rows["Files/two"].file_id == rows["Files/other"].file_id
        assert rows["Files/two"].size == 3
        (row,) = list_cim(image, "files/D/F")
        assert (row.attribute_letters, row.last_write_time) == ("--ASHR", "2020-01-01T00:00:00.0000000Z")
        assert [one.path for one in list_cim(image, "Files", itself=True)] == ["Files"]
        assert len(list(list_cim(image, recursive=True))) == 7
        with pytest.raises(NotFoundError, match="there is no nowhere"):
            list(list_cim(image, "nowhere"))


def test_a_file_is_described_and_read(cim: Path) -> None:
    with open_cim(cim) as image:
        about = describe_cim_file(image, "Files\\two")
        assert about["names"] == ["Files/other", "Files/two"]
        assert about["streams"] == [{"name": "extra", "size": 4}]
        assert about["times"]["last_write_time"]["filetime"] == TIME
        assert about["times"]["creation_time"] is None
        assert about["security"] is None
        assert about["data"]["region"] == 1
        assert describe_cim_file(image)["kind"] == "directory"
        read: list[bytes] = []
        read_cim_file(image, "Files/other", lambda piece: read.append(bytes(piece)))
        read_cim_file(image, "Files/other", lambda piece: read.append(bytes(piece)), stream=":EXTRA:$DATA")
        assert read == [b"two", b"more"]
        with pytest.raises(NotFoundError, match="no stream x; it has extra"):
            read_cim_file(image, "Files/other", print, stream="x")
        with pytest.raises(UsageError, match="is a folder"):
            read_cim_file(image, "Files", print)


def test_an_image_is_told_about(cim: Path, tmp_path: Path) -> None:
    create_cim(layer(tmp_path, [file("Files/new", b"x")], "b.tar"), tmp_path / "b.cim", parent=cim)
    with open_cim(cim) as image:
        facts = cim_facts(image)
    assert (facts["version"], facts["entry_size"], facts["parent"], facts["forks"]) == ("2.0", 96, None, ["b.cim"])
    assert (facts["files"], facts["names"], facts["streams"], facts["size"]) == (3, 5, 1, 7)
    with open_cim(tmp_path / "b.cim") as image:
        facts = cim_facts(image)
    assert (facts["parent"], facts["forks"], len(facts["parents"])) == ("a.cim", [], 1)
    assert [region["own"] for region in facts["regions"]] == [False, False, True, True]
    assert facts["usage"] == usage_of(tmp_path / "b.cim").usage > 0


def test_an_image_in_one_file_is_told_apart_from_damage(tmp_path: Path) -> None:
    block = tmp_path / "layer.bcim"
    data = bytes(4096)
    block.write_bytes(data + VhdFooter(len(data), uuid.UUID(int=1)).pack())
    (tmp_path / "integrity_checksum").write_text("ab" * 32)
    assert block_facts(block)["root_hash"] == "ab" * 32
    assert block_facts(block)["footer"]
    for call in (lambda: open_cim(block), lambda: check_cim(block)):
        with pytest.raises(UnsupportedError, match="on Windows"):
            call()
    (tmp_path / "integrity_checksum").unlink()
    block.write_bytes(data)
    with pytest.raises(FormatError):
        open_cim(block)


# ------------------------------------------------------------------------------------------------------------- making


def test_what_was_made_is_the_layer(cim: Path, tmp_path: Path) -> None:
    assert check_cim(cim) == []
    assert same(f"cim:{cim}", str(tmp_path / "layer.tar"), times=True)


def test_a_guid_makes_the_same_bytes_and_its_absence_a_random_one(tmp_path: Path) -> None:
    source = layer(tmp_path, LAYER)
    guid = str(uuid.UUID(int=7))
    written = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        done = create_cim(source, tmp_path / name / "a.cim", CimOptions(guid=guid))
        assert done.guid == guid
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    guids = {create_cim(source, tmp_path / f"{number}.cim").guid for number in range(2)}
    assert len(guids) == 2
    with pytest.raises(UsageError, match="is no GUID"):
        create_cim(source, tmp_path / "z.cim", CimOptions(guid="x"))


def test_profiles_are_chosen_by_name_and_by_version(tmp_path: Path) -> None:
    assert profile_for("ltsc2025").entry_size == 104
    assert profile_for(None, "10.0.26100.32").name == "ltsc2025"
    assert profile_for(None, "10.0.20348.1").name == profile_for(None, "nonsense").name == "ltsc2022"
    with pytest.raises(UsageError, match="known are"):
        profile_for("ltsc2019")
    done = create_cim(layer(tmp_path, LAYER), tmp_path / "a.cim", CimOptions(profile="ltsc2025", compact=True))
    assert done.version == "3.0"
    assert check_cim(tmp_path / "a.cim") == []


def test_a_folder_of_ordinary_files_becomes_an_image(tmp_path: Path) -> None:
    (tmp_path / "plain" / "sub").mkdir(parents=True)
    (tmp_path / "plain" / "sub" / "x").write_bytes(b"x")
    create_cim(str(tmp_path / "plain"), tmp_path / "a.cim")
    with open_cim(tmp_path / "a.cim") as image:
        assert [row.path for row in list_cim(image, recursive=True)] == ["sub", "sub/x"]


def test_an_image_that_is_there_stays_unless_it_is_to_be_replaced(cim: Path, tmp_path: Path) -> None:
    source = layer(tmp_path, [folder("Files"), file("Files/new")], "new.tar")
    with pytest.raises(StoreError):
        create_cim(source, cim)
    assert same(f"cim:{cim}", str(tmp_path / "layer.tar"))
    create_cim(source, cim, CimOptions(replace=True))
    assert same(f"cim:{cim}", source)


def test_nothing_is_left_when_the_source_is_bad(tmp_path: Path) -> None:
    raw = bytearray(tar(LAYER))
    raw[raw.index(b"Files/two\0") + 150] ^= 1  # the checksum of a header
    (tmp_path / "bad.tar").write_bytes(raw)
    (tmp_path / "there").mkdir()
    with pytest.raises(FormatError):
        create_cim(str(tmp_path / "bad.tar"), tmp_path / "there" / "a.cim")
    assert [path.name for path in (tmp_path / "there").iterdir() if not path.name.endswith(".lock")] == []


def test_a_fork_is_its_parent_with_the_changes(cim: Path, tmp_path: Path) -> None:
    changes = layer(tmp_path, [gone("Files/d"), file("Files/new", b"new")], "changes.tar")
    create_cim(changes, tmp_path / "b.cim", parent=cim)
    both = make_image(tmp_path / "layout", LAYER, [gone("Files/d"), file("Files/new", b"new")])
    assert same(f"cim:{tmp_path / 'b.cim'}", both, times=True)
    with pytest.raises(UsageError, match="in the folder of its parent"):
        create_cim(changes, tmp_path / "elsewhere" / "b.cim", parent=cim)


def test_layers_are_imported_as_hcsshim_does_it(sample: str, tmp_path: Path) -> None:
    convert(sample, f"cim:{tmp_path / 'cims'}")
    layers = [f"cim:{tmp_path / 'cims' / 'cim-layers'}/{number}.cim" for number in range(2)]
    cims = tmp_path / "own" / "cim-layers"
    first = import_cim(layers[0], cims / "0.cim")
    assert first.folder == tmp_path / "own" / "0"
    assert (tmp_path / "own" / "0" / "Hives" / "SYSTEM_BASE").is_file()
    second = import_cim(layers[1], cims / "1.cim", parent=cims / "0.cim")
    assert (tmp_path / "own" / "1" / "Hives" / "SYSTEM_BASE").is_file()
    assert second.size > 0
    assert same(f"cim:{cims / '1.cim'}", layers[1], times=True)
    with pytest.raises(NotFoundError, match=r"(?i)system"):
        import_cim(layer(tmp_path, LAYER), tmp_path / "no" / "cim-layers" / "0.cim")
    import_cim(layer(tmp_path, LAYER), tmp_path / "no" / "cim-layers" / "0.cim", process=False)


def test_several_layers_become_one_image(tmp_path: Path) -> None:
    top: list[LayerItem] = [gone("Files/d"), file("Files/two", b"TWO"), file("Files/new", b"new")]
    image = make_image(tmp_path / "layout", LAYER, top)
    sources = [layer(tmp_path, LAYER, "0.tar"), layer(tmp_path, top, "1.tar")]
    merge_cims([image], tmp_path / "image.cim")
    merge_cims(sources, tmp_path / "tars.cim")
    convert(image, f"cim:{tmp_path / 'cims'}")
    merge_cims([f"cim:{tmp_path / 'cims'}"], tmp_path / "cims.cim")
    for name in ("image", "tars", "cims"):
        assert same(f"cim:{tmp_path / name}.cim", image, times=True), name
        with open_cim(tmp_path / f"{name}.cim") as opened:
            assert cim_facts(opened)["parents"] == []


# -------------------------------------------------------------------------------------------------------- taking apart


def test_the_tar_of_an_image_makes_it_again(cim: Path, tmp_path: Path) -> None:
    diff_id, notices = extract_cim_tar(cim, str(tmp_path / "out.tar.gz"))
    assert notices.counts == {}
    assert diff_id.startswith("sha256:")
    guid = str(uuid.UUID(int=9))
    for name, source in (("x", str(tmp_path / "out.tar.gz")), ("y", f"cim:{cim}")):
        create_cim(source, tmp_path / name / "a.cim", CimOptions(guid=guid))
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("x", "y"))
    assert one == other


def test_files_are_written_under_their_own_paths(cim: Path, tmp_path: Path) -> None:
    done = extract_cim(cim, [], tmp_path / "all", streams=True)
    assert done.files == [
        "Files/d/f",
        "Files/other",
        "Files/other:extra",
        "Files/soft",
        "Files/soft:extra",
        "Files/two",
        "Files/two:extra",
    ]
    assert (tmp_path / "all" / "Files" / "two").read_bytes() == b"two"
    done = extract_cim(cim, ["files\\D"], tmp_path / "some")
    assert done.files == ["Files/d/f"]
    with pytest.raises(NotFoundError):
        extract_cim(cim, ["nowhere"], tmp_path / "none")


def test_what_has_forks_is_not_destroyed_by_mistake(cim: Path, tmp_path: Path) -> None:
    create_cim(layer(tmp_path, [file("Files/new", b"x")], "b.tar"), tmp_path / "b.cim", parent=cim)
    with pytest.raises(StoreError, match=r"has forks .*: b\.cim"):
        destroy(cim)
    destroy(tmp_path / "b.cim")
    assert same(f"cim:{cim}", str(tmp_path / "layer.tar"))
    assert cim in destroy(cim)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(("region", "objectid"))] == []


def test_a_layer_is_destroyed_with_its_folder(sample: str, tmp_path: Path) -> None:
    convert(sample, f"cim:{tmp_path / 'cims'}")
    top = tmp_path / "cims" / "cim-layers" / "2.cim"
    assert usage_of(top).layer_usage > usage_of(top).usage
    assert destroy(top, folder=True) == [top, tmp_path / "cims" / "2"]
    assert not (tmp_path / "cims" / "2").exists()
    assert (tmp_path / "cims" / "1").exists()
