"""What two views differ in is found, and nothing else."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from tests.image.stacks import TIME, file, folder, folders, gone, junction, link, make_image, stream, symlink
from wclayer.errors import IntegrityError, NotFoundError
from wclayer.image.comparing import Change, compare
from wclayer.image.comparing_sides import open_side
from wclayer.image.converting import convert
from wclayer.image.extract import extract
from wclayer.image.target import open_view
from wclayer.image.unpack import unpack
from wclayer.model import LayerItem
from wclayer.ntfs.ea import ExtendedAttribute


def changes_of(a: str | Path, b: str | Path, path: str = "", **options: Any) -> list[Change]:
    layers = options.pop("layers", (None, None))
    one, other = open_side(str(a), layer=layers[0]), open_side(str(b), layer=layers[1])
    with one.view, other.view:
        return compare(one, other, path, **options)


def lines(changes: list[Change]) -> list[str]:
    signs = {"added": "+", "deleted": "-", "modified": "~"}
    return [f"{signs[one.change]} {one.path}" + (f" {','.join(one.what)}" if one.what else "") for one in changes]


@pytest.fixture(params=["scanned", "unpacked"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """``images(layers, layers)``: two images, as they are or unpacked."""

    count = itertools.count()

    def make(*images: list[list[LayerItem]]) -> list[str]:
        places = []
        for layers in images:
            number = next(count)
            reference = make_image(tmp_path / "layout", *layers, tag=f"image{number}")
            if request.param == "unpacked":
                unpack(reference, tmp_path / f"out{number}")
                reference = str(tmp_path / f"out{number}")
            places.append(reference)
        return places

    return make


BASE: list[LayerItem] = [
    *folders("Files", "Files/d", "Files/d/e"),
    file("Files/d/same", b"same"),
    file("Files/d/data", b"old!"),
    file("Files/d/size", b"old"),
    file("Files/d/gone", b"gone"),
    file("Files/d/e/deep", b"deep"),
    file("Files/two", b"two"),
    link("Files/two names", "Files/two"),
]


def test_every_kind_of_change_is_found_between_images(images: Any) -> None:
    after = [
        *folders("Files", "Files/d"),
        file("Files/d/same", b"same"),
        file("Files/d/data", b"new!"),
        file("Files/d/size", b"longer"),
        file("Files/d/e", b"now a file"),
        file("Files/new", b"new"),
        file("Files/two", b"two"),
    ]
    a, b = images([BASE], [after])
    assert lines(changes_of(a, b)) == [
        "~ Files/d/data data",
        "~ Files/d/e kind,attributes",
        "- Files/d/e/deep",
        "- Files/d/gone",
        "~ Files/d/size data",
        "+ Files/new",
        "~ Files/two links",
        "- Files/two names",
    ]
    assert changes_of(a, a) == []
    assert changes_of(b, b) == []


def test_a_layer_that_deletes_and_adds_is_the_changes_it_makes(images: Any) -> None:
    top = [gone("Files/d/gone"), gone("Files/d/e"), file("Files/d/new/file", b"x"), link("Files/third", "Files/two")]
    a, b = images([BASE], [BASE, top])
    assert lines(changes_of(a, b)) == [
        "- Files/d/e",
        "- Files/d/e/deep",
        "- Files/d/gone",
        "+ Files/d/new",
        "+ Files/d/new/file",
        "+ Files/third",
        "~ Files/two links",
        "~ Files/two names links",
    ]


METADATA = [
    ("attributes", {"attributes": 0x22}),
    ("security", {"security_descriptor": bytes.fromhex("01000480") + bytes(16)}),
    ("ea", {"extended_attributes": (ExtendedAttribute(b"A", b"1"),)}),
    ("times", {"at": TIME + 1}),
]


@pytest.mark.parametrize(("what", "metadata"), METADATA, ids=[what for what, _ in METADATA])
def test_one_thing_that_differs_is_what_is_said(what: str, metadata: dict[str, Any], images: Any) -> None:
    a, b = images([[file("Files/f", b"x")]], [[file("Files/f", b"x", **metadata)]])
    assert lines(changes_of(a, b, times=True)) == [f"~ Files/f {what}"]
    assert changes_of(a, b, ignored=[what]) == []


def test_the_name_the_stream_and_where_a_link_leads_are_compared(images: Any) -> None:
    before = [file("Files/Name"), file("Files/f"), stream("Files/f", "s", b"one"), symlink("Files/l", "f")]
    after = [file("Files/NAME"), file("Files/f"), stream("Files/f", "s", b"two"), symlink("Files/l", "g")]
    a, b = images([before], [after])
    assert lines(changes_of(a, b)) == ["~ Files/f streams", "~ Files/l reparse", "~ Files/NAME name"]
    a, b = images([[junction("Files/l", "C:\\d")]], [[symlink("Files/l", "C:\\d", directory=True)]])
    assert lines(changes_of(a, b)) == ["~ Files/l kind,reparse"]


def test_no_stream_and_an_empty_one_differ(images: Any) -> None:
    a, b = images([[file("Files/f", None)]], [[file("Files/f", b"")]])
    assert lines(changes_of(a, b)) in ([], ["~ Files/f data"])  # a tar may not tell them apart, a layer folder does
    one, other = (open_side(place) for place in (a, b))
    with one.view, other.view:
        sizes = [side.view.size(side.view.find("Files/f")) for side in (one, other)]
    assert (sizes[0] == sizes[1]) == (changes_of(a, b) == [])


def test_a_time_that_one_side_does_not_know_is_no_difference(images: Any) -> None:
    a, b = images([[file("Files/f", at=TIME)]], [[file("Files/f", at=TIME, creation_time=TIME - 5)]])
    assert changes_of(a, b, times=True) == [] or changes_of(a, b, times=True)[0].what == ("times",)
    assert changes_of(a, b) == []


def test_data_in_the_same_layer_is_not_read(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    top = [file("Files/new", b"new")]
    a, b = images([BASE], [BASE, top])
    read: list[str] = []
    monkeypatch.setattr("wclayer.image.comparing_data._hashing", lambda *_: read.append("read"))
    assert lines(changes_of(a, b)) == ["+ Files/new"]
    assert read == []


def test_one_path_can_be_asked_for(images: Any) -> None:
    after = [*folders("Files", "Files/d"), file("Files/d/same", b"SAME")]
    a, b = images([BASE], [after])
    assert lines(changes_of(a, b, "C:\\D\\Same")) == ["~ Files/d/same data"]
    assert lines(changes_of(a, b, "Files/d/e")) == ["- Files/d/e", "- Files/d/e/deep"]
    with pytest.raises(NotFoundError, match="neither side"):
        changes_of(a, b, "C:\\nowhere")


def test_layers_that_do_not_stand_on_each_other_are_compared_alone(images: Any) -> None:
    middle, top = [file("Files/m", b"1"), gone("Files/two")], [file("Files/m", b"2"), gone("Files/d")]
    (a,) = images([BASE, middle, top])
    alone = changes_of(a, a, layers=(1, 2))
    assert lines(alone) == ["+ Files/d", "~ Files/m data", "- Files/two"]
    assert alone[0].after is not None
    assert alone[0].after.kind == "deleted"


# ------------------------------------------------------------------------------------------------------ other forms


@pytest.mark.parametrize("form", ["transport", "base", "plain", "layer"])
def test_a_layer_that_was_converted_is_the_same(form: str, tmp_path: Path) -> None:
    reference = make_image(
        tmp_path / "layout", [folder("Files"), file("Files/f", b"data"), stream("Files/f", "s", b"x")]
    )
    convert(reference, f"{form}:{tmp_path / form}")
    assert lines(changes_of(reference, f"{form}:{tmp_path / form}", ignored=["security"])) == []
    (tmp_path / form / "Files").mkdir(exist_ok=True)
    other = make_image(
        tmp_path / "layout", [folder("Files"), file("Files/f", b"DATA"), stream("Files/f", "s", b"y")], tag="o"
    )
    assert lines(changes_of(f"{form}:{tmp_path / form}", other, ignored=["security"])) == ["~ Files/f data,streams"]


def test_of_a_folder_of_ordinary_files_names_and_data_are_compared(tmp_path: Path) -> None:
    items = [
        *folders("Files", "Files/d"),
        file("Files/d/f", b"data", attributes=0x27),
        file("Files/d/empty", None),
        file("Files/g", b"gone"),
        folder("Hives"),
        file("Hives/x", b"x"),
    ]
    reference = make_image(tmp_path / "layout", items)
    plain = tmp_path / "plain"
    with open_view(reference) as view:
        extract(view, ["C:/*"], plain)
    assert changes_of(reference, plain) == []
    (plain / "g").unlink()
    (plain / "d" / "f").write_bytes(b"DATA")
    (plain / "new").mkdir()
    assert lines(changes_of(reference, plain)) == ["~ Files/d/f data", "- Files/g", "+ Files/new"]
    assert lines(changes_of(plain, reference)) == ["~ Files/d/f data", "+ Files/g", "- Files/new"]


def test_a_folder_of_a_whole_layer_is_one(tmp_path: Path) -> None:
    for name in ("Files", "Hives"):
        (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "a" / "Hives" / "x").write_bytes(b"1")
    (tmp_path / "b").mkdir()
    assert lines(changes_of(tmp_path / "a", tmp_path / "a")) == []
    side = open_side(str(tmp_path / "a"))
    with side.view:
        assert [one.path for one in side.view.walk(side.view.root)] == ["Files", "Hives", "Hives/x"]


def test_links_of_ordinary_files_are_not_followed_and_what_no_layer_holds_is_told(tmp_path: Path) -> None:
    plain, outside = tmp_path / "plain", tmp_path / "outside"
    plain.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (plain / "link").symlink_to(outside)
    (plain / "a:b").write_bytes(b"")
    os.mkfifo(plain / "pipe")
    side = open_side(str(plain))
    with side.view:
        assert [one.path for one in side.view.walk(side.view.root)] == ["Files", "Files/link"]
    assert side.notices.counts == {"name-refused": 1, "special-file": 1}


def test_a_file_that_changes_while_it_is_compared_is_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"1234")
    one, other = open_side(str(tmp_path / "a")), open_side(str(tmp_path / "b"))
    with one.view, other.view:
        assert one.view.find("Files/f").name == "f"
        (tmp_path / "a" / "f").write_bytes(b"12345")
        with pytest.raises(IntegrityError):
            compare(one, other)
