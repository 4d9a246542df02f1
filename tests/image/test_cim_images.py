"""Images and layers become CIM images, are seen in them, and come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.stacks import data_of, file, folder, folders, gone, junction, link, make_image, paths, stream, symlink
from wclayer.errors import FormatError, NotFoundError, StoreError, UsageError
from wclayer.image.cim_places import find_cims
from wclayer.image.comparing import Change, compare
from wclayer.image.comparing_sides import open_side
from wclayer.image.converting import Converted, ConvertOptions, convert
from wclayer.image.flatten import unpack_merged
from wclayer.image.target import open_view
from wclayer.image.unpack import unpack
from wclayer.image.unpacked import UnpackedImage
from wclayer.image.verifying import verify
from wclayer.model import LayerItem
from wclayer.oci import open_image

BASE: list[LayerItem] = [
    *folders("Files", "Files/d", "Files/d/e", "Files/Windows"),
    file("Files/d/kept", b"kept"),
    file("Files/d/changed", b"before"),
    file("Files/d/gone", b"gone"),
    file("Files/d/e/deep", b"deep"),
    file("Files/two", b"two"),
    stream("Files/two", "extra", b"more"),
    link("Files/two names", "Files/two"),
    symlink("Files/soft", "d\\kept"),
    junction("Files/junction", "C:\\d"),
]
MIDDLE: list[LayerItem] = [
    *folders("Files", "Files/d"),
    file("Files/d/changed", b"after"),
    gone("Files/d/gone"),
    gone("Files/d/e"),
    link("Files/d/third", "Files/two"),
]
TOP: list[LayerItem] = [file("Files/new", b"new"), file("Files/d/e", b"a file now")]


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_image(tmp_path / "layout", BASE, MIDDLE, TOP)


@pytest.fixture
def cims(image: str, tmp_path: Path) -> str:
    convert(image, f"cim:{tmp_path / 'cims'}")
    return f"cim:{tmp_path / 'cims'}"


def difference(a: str, b: str, *, times: bool = True) -> list[Change]:
    one, other = open_side(a), open_side(b)
    with one.view, other.view:
        return compare(one, other, times=times)


# ------------------------------------------------------------------------------------------------------ what is written


def test_every_layer_becomes_a_fork_of_the_one_below(image: str, tmp_path: Path) -> None:
    done = convert(image, f"cim:{tmp_path / 'cims'}")
    folder = tmp_path / "cims"
    assert done.layers == [str(folder / "cim-layers" / f"{number}.cim") for number in range(3)]
    assert done.notices == {"hives-missing": 1, "link-times": 1}
    with open_image(image) as opened:
        assert done.diff_ids == [str(layer.diff_id) for layer in opened.layers]
        assert opened.manifest is not None
        assert opened.config is not None
        assert (folder / "manifest.json").read_bytes() == opened.manifest.raw
        assert (folder / "config.json").read_bytes() == opened.config.raw
    document = json.loads((folder / "cim-image.json").read_text())
    assert document["schema"] == "wclayer.cim-image/1"
    assert [layer["name"] for layer in document["layers"]] == ["0", "1", "2"]
    stack = find_cims(folder / "cim-layers" / "2.cim")
    assert [layer.cim.name for layer in stack.layers] == ["0.cim", "1.cim", "2.cim"]
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_same_image_makes_the_same_bytes(image: str, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        convert(image, f"cim:{tmp_path / name}")
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        written.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert written[0] == written[1]


def test_hives_lie_beside_the_images_of_a_windows_image(sample: str, tmp_path: Path) -> None:
    done = convert(sample, f"cim:{tmp_path / 'cims'}")
    assert "hives-missing" not in done.notices
    assert sorted(path.name for path in (tmp_path / "cims" / "0" / "Hives").iterdir()) == [
        "DEFAULTUSER_BASE",
        "SAM_BASE",
        "SECURITY_BASE",
        "SOFTWARE_BASE",
        "SYSTEM_BASE",
    ]
    assert (tmp_path / "cims" / "2" / "Hives" / "SOFTWARE_BASE").read_bytes()[:4] == b"regf"
    assert verify(f"cim:{tmp_path / 'cims'}").ok


def test_the_profile_is_that_of_the_windows_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.image import stacks
    from wclayer.oci import Platform

    versions = {"10.0.20348.1": 2, "10.0.26100.1": 3, "": 2}
    for number, (version, major) in enumerate(versions.items()):
        monkeypatch.setattr(stacks, "PLATFORM", Platform("windows", "amd64", os_version=version))
        image = make_image(tmp_path / f"layout{number}", BASE)
        convert(image, f"cim:{tmp_path / str(number)}")
        raw = (tmp_path / str(number) / "cim-layers" / "0.cim").read_bytes()
        assert int.from_bytes(raw[16:20], "little") == major


def test_a_layer_folder_brings_the_layers_below_along(image: str, tmp_path: Path) -> None:
    unpack(image, tmp_path / "out")
    top = UnpackedImage.load(tmp_path / "out").layers[0]
    done = convert(f"layer:{top}", f"cim:{tmp_path / 'cims'}")
    assert len(done.layers) == 3
    assert difference(f"cim:{tmp_path / 'cims'}", image) == []


def test_a_lone_tar_stands_on_the_parents_that_are_named(image: str, tmp_path: Path) -> None:
    unpack(image, tmp_path / "out")
    layers = UnpackedImage.load(tmp_path / "out").layers
    convert(str(layers[0]), str(tmp_path / "top.tar"))
    options = ConvertOptions(parents=(layers[1],))
    done = convert(str(tmp_path / "top.tar"), f"cim:{tmp_path / 'cims'}", options)
    assert len(done.layers) == 3
    assert difference(f"cim:{tmp_path / 'cims'}", image, times=False) == []


def test_one_file_is_one_layer(image: str, tmp_path: Path) -> None:
    lone = make_image(tmp_path / "lone", BASE)
    done = convert(lone, f"cim:{tmp_path / 'one.cim'}")
    assert (done.kind, done.layers) == ("cim", [str(tmp_path / "one.cim")])
    assert difference(f"cim:{tmp_path / 'one.cim'}", lone) == []
    with pytest.raises(UsageError, match=r"3 layers, and several\.cim is one image"):
        convert(image, f"cim:{tmp_path / 'several.cim'}")


def test_what_is_there_stays(image: str, cims: str, tmp_path: Path) -> None:
    before = sorted(path.name for path in (tmp_path / "cims").rglob("*"))
    with pytest.raises(StoreError, match="not an empty folder"):
        convert(image, cims)
    assert sorted(path.name for path in (tmp_path / "cims").rglob("*")) == before


def test_nothing_is_left_of_an_image_with_a_bad_layer(tmp_path: Path) -> None:
    bad = make_image(tmp_path / "layout", BASE, [link("Files/x", "Files/nowhere")])
    with pytest.raises(FormatError, match="failed to find link target"):
        convert(bad, f"cim:{tmp_path / 'there' / 'cims'}")
    assert not (tmp_path / "there").exists()


# ------------------------------------------------------------------------------------------------------- what is seen


def test_a_container_sees_the_same_in_images_and_cims(image: str, cims: str) -> None:
    assert difference(image, cims) == []
    with open_view(image) as one, open_view(cims) as other:
        assert paths(one) == paths(other)
        assert data_of(other, "Files/d/third") == b"two"
        assert data_of(other, "files/D/CHANGED") == b"after"
        assert data_of(other, "Files/soft") == b"kept"
        (extra,) = other.streams(other.find("Files/d/third"))
        assert extra[1].name == ":extra:$DATA"


def test_one_layer_is_what_an_image_changes(cims: str) -> None:
    with open_view(cims, layer=1) as view:
        shown = {found.path: found.is_tombstone for found in view.walk(view.root)}
        assert shown == {
            "Files": False,
            "Files/d": False,
            "Files/d/changed": False,
            "Files/d/e": True,
            "Files/d/gone": True,
            "Files/d/third": False,
        }
        assert data_of(view, "Files/d/third") == b"two"
    with pytest.raises(UsageError, match="there is no layer 3"):
        open_view(cims, layer=3)


def test_a_damaged_image_is_a_finding(cims: str, tmp_path: Path) -> None:
    assert verify(cims).ok
    (region,) = (tmp_path / "cims" / "cim-layers").glob(f"region_{_guid(tmp_path / 'cims', 1)}_0")
    region.unlink()
    verdict = verify(cims)
    assert verdict.layers[0].ok
    assert not verdict.ok


def _guid(folder: Path, number: int) -> str:
    document = json.loads((folder / "cim-image.json").read_text())
    guid: str = document["layers"][number]["guid"]
    return guid


def test_a_folder_of_images_without_a_document_is_its_one_stack(cims: str, image: str, tmp_path: Path) -> None:
    for name in ("cim-image.json", "config.json", "manifest.json"):
        (tmp_path / "cims" / name).unlink()
    assert difference(cims, image) == []
    make = make_image(tmp_path / "lone", BASE)
    convert(make, f"cim:{tmp_path / 'cims' / 'cim-layers' / 'other.cim'}")
    with pytest.raises(UsageError, match=r"several images: 2\.cim, other\.cim"):
        open_view(cims)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ("{", "no JSON"),
        ("[]", "damaged"),
        ('{"layers": [{}]}', "damaged"),
        ('{"layers": [{"name": "../x"}]}', "outside"),
    ],
)
def test_a_damaged_document_is_an_error(cims: str, tmp_path: Path, document: str, error: str) -> None:
    (tmp_path / "cims" / "cim-image.json").write_text(document)
    with pytest.raises(FormatError, match=error):
        open_view(cims)


def test_nothing_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere", "nowhere.cim"):
        with pytest.raises(NotFoundError):
            open_view(f"cim:{tmp_path / name}")
    with pytest.raises(UsageError, match="expected after cim:"):
        open_view("cim:")


# --------------------------------------------------------------------------------------------------------- and back


def test_an_image_comes_back_with_its_documents(image: str, cims: str, tmp_path: Path) -> None:
    done = convert(cims, f"oci:{tmp_path / 'back'}:v1")
    back = f"oci:{tmp_path / 'back'}:v1"
    assert verify(back).ok
    assert difference(image, back) == []
    with open_image(image) as one, open_image(back) as other:
        assert one.config is not None
        assert other.config is not None
        before, after = json.loads(one.config.raw), json.loads(other.config.raw)
        assert after["rootfs"]["diff_ids"] == done.diff_ids
        before["rootfs"] = after["rootfs"] = None
        assert before == after


def test_a_layer_comes_back_as_what_it_changed(cims: str, tmp_path: Path) -> None:
    convert(cims.replace("cims", "cims/cim-layers/1.cim"), str(tmp_path / "one.tar"))
    with open_view(str(tmp_path / "one.tar"), layer=0) as view:
        assert [found.path for found in view.walk(view.root) if found.is_tombstone] == ["Files/d/e", "Files/d/gone"]


def test_images_are_unpacked(image: str, cims: str, tmp_path: Path) -> None:
    done = unpack(cims, tmp_path / "out")
    assert verify(str(tmp_path / "out")).ok
    assert difference(image, str(tmp_path / "out")) == []
    assert [str(layer.diff_id) for layer in done.layers] == list(UnpackedImage.load(tmp_path / "out").diff_ids)
    faithful = convert(cims, f"oci:{tmp_path / 'back'}:v1", ConvertOptions(form="faithful"))
    assert faithful.diff_ids == [str(layer.diff_id) for layer in done.layers]
    with pytest.raises(StoreError, match="holds an image already"):
        unpack(cims, tmp_path / "out")


def test_images_are_unpacked_into_one_tree(image: str, cims: str, tmp_path: Path) -> None:
    result = unpack_merged(cims, tmp_path / "merged")
    assert result.layers == 3
    assert difference(image, str(tmp_path / "merged")) == []
    assert [path.name for path in tmp_path.iterdir() if "layers" in path.name] == []


@pytest.mark.parametrize("form", ["transport", "plain", "layer"])
def test_images_become_other_forms(form: str, cims: str, tmp_path: Path) -> None:
    done: Converted = convert(cims, f"{form}:{tmp_path / form}")
    assert len(done.layers) == 3
    place = f"{form}:{done.layers[0]}"
    # A transport folder copies the files that links name.
    expected = {"links"} if form == "transport" else set()
    changes = difference(f"{cims}/cim-layers/0.cim", place, times=False)
    assert {what for one in changes for what in one.what} == expected


def test_a_layer_of_a_windows_image_comes_back_without_what_the_import_added(sample: str, tmp_path: Path) -> None:
    convert(sample, f"cim:{tmp_path / 'cims'}")
    changes = difference(sample, f"cim:{tmp_path / 'cims'}")
    assert {one.path: one.what for one in changes if one.what != ("attributes",)} == {
        "Files/Sample/Data/no stream.txt": ("data",),
        "Files/Sample/Security/empty descriptor.txt": ("security",),
    }
    with open_view(f"cim:{tmp_path / 'cims'}") as view:
        assert view.find("layout").name == "layout"
        assert view.find("Hives/SYSTEM_BASE").is_folder is False
    convert(f"cim:{tmp_path / 'cims'}", f"oci:{tmp_path / 'back'}:v1")
    assert difference(f"cim:{tmp_path / 'cims'}", f"oci:{tmp_path / 'back'}:v1") == []
    convert(f"oci:{tmp_path / 'back'}:v1", f"cim:{tmp_path / 'again'}")
    assert difference(f"cim:{tmp_path / 'cims'}", f"cim:{tmp_path / 'again'}") == []


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "layout", [folder("Files"), file("Files/a"), file("Files/A")])
    with pytest.raises(FormatError, match="differ only in case"):
        convert(image, f"cim:{tmp_path / 'cims'}")
