"""Every form of a layer into every other: what is the same afterwards, and what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.formats.folder.layers import tree
from tests.image.images import image, pigz
from tests.image.lint.tars import Layer
from wclayer.errors import (
    DigestMismatchError,
    FormatError,
    NotFoundError,
    StoreError,
    UsageError,
    WclayerError,
)
from wclayer.formats.plain import PlainFolderWriter
from wclayer.formats.tar import TarLayerReader
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.layer_places import parse_place
from wclayer.image.sample import make_sample
from wclayer.image.unpack import unpack
from wclayer.oci import Digest, open_image

TAR = Layer().base().file("Files/a", b"data").file("Files/a:s", b"stream").link("Files/b", "Files/a").bytes()


@pytest.fixture
def tar(tmp_path: Path) -> str:
    path = tmp_path / "layer.tar"
    path.write_bytes(TAR)
    return str(path)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    make_sample(tmp_path / "sample", "demo")
    return f"oci:{tmp_path / 'sample'}:demo"


@pytest.mark.parametrize(
    ("text", "writing", "kind"),
    [
        ("oci:x:y", True, "image"),
        ("oci:x:y", False, "image"),
        ("transport:x", True, "transport"),
        ("base:x", False, "base"),
        ("plain:x", True, "plain"),
        ("layer:x", True, "layer"),
        ("-", True, "tar"),
        ("x.tar", True, "tar"),
        ("x.TAR.GZ", True, "tar"),
        ("x.tzst", True, "tar"),
        ("x", True, "layer"),
        ("x.tar", False, "image"),
    ],
)
def test_places(text: str, writing: bool, kind: str) -> None:
    assert parse_place(text, writing=writing).kind == kind


@pytest.mark.parametrize("text", ["", "transport:", "base:"])
def test_no_places(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text)


def test_bare_folders_are_told_apart(tmp_path: Path, tar: str) -> None:
    for form in ("transport", "base", "plain", "layer"):
        convert(tar, f"{form}:{tmp_path / form}")
        assert parse_place(str(tmp_path / form)).kind == form
    reference = image(tmp_path / "oci", TAR)
    unpack(reference, tmp_path / "unpacked")
    assert parse_place(str(tmp_path / "unpacked")).kind == "unpacked"


@pytest.mark.parametrize("form", ["layer", "plain"])
def test_a_tar_through_a_form_that_holds_everything_is_the_same_tar(tmp_path: Path, sample: str, form: str) -> None:
    convert(sample + "-base", str(tmp_path / "a.tar"))
    convert(str(tmp_path / "a.tar"), f"{form}:{tmp_path / form}")
    convert(f"{form}:{tmp_path / form}", str(tmp_path / "b.tar"))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("first", ["layer", "plain", "base", "transport"])
@pytest.mark.parametrize("second", ["layer", "plain", "base", "transport"])
def test_any_form_into_any_other_keeps_the_files(tmp_path: Path, tar: str, first: str, second: str) -> None:
    convert(tar, f"{first}:{tmp_path / 'one'}")
    convert(f"{first}:{tmp_path / 'one'}", f"{second}:{tmp_path / 'two'}")
    done = convert(f"{second}:{tmp_path / 'two'}", str(tmp_path / "b.tar"))
    assert len(done.diff_ids) == 1
    found = {item.path for item in TarLayerReader([(tmp_path / "b.tar").read_bytes()])}
    given = {item.path for item in TarLayerReader([TAR])}
    # A base layer's Hives are made when it is processed, so its folder is not read.
    assert given - found <= ({"Hives"} if "base" in (first, second) else set())
    assert found <= given


def test_the_bytes_of_a_tar_are_kept_and_only_packed_anew(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(pigz(TAR))
    done = convert(str(tmp_path / "a.tar.gz"), str(tmp_path / "b.tar"))
    assert (tmp_path / "b.tar").read_bytes() == TAR
    convert(str(tmp_path / "b.tar"), str(tmp_path / "c.tar.zst"))
    again = convert(str(tmp_path / "c.tar.zst"), str(tmp_path / "d.tar"))
    assert done.diff_ids == again.diff_ids
    assert (tmp_path / "d.tar").read_bytes() == TAR


def test_a_tar_written_anew_is_the_one_of_hcsshim(tmp_path: Path, tar: str) -> None:
    convert(tar, str(tmp_path / "b.tar"), ConvertOptions("reference"))
    convert(str(tmp_path / "b.tar"), str(tmp_path / "c.tar"), ConvertOptions("reference"))
    assert (tmp_path / "b.tar").read_bytes() != TAR
    assert (tmp_path / "b.tar").read_bytes() == (tmp_path / "c.tar").read_bytes()


def test_an_image_into_a_layout_keeps_its_layers_and_its_configuration(tmp_path: Path, sample: str) -> None:
    done = convert(sample, f"oci:{tmp_path / 'out'}:copy", ConvertOptions(compression="zstd"))
    with open_image(sample) as before, open_image(f"oci:{tmp_path / 'out'}:copy") as after:
        assert before.config is not None
        assert after.config is not None
        assert before.config.raw == after.config.raw
        assert [str(layer.diff_id) for layer in after.layers] == done.diff_ids
        for layer in after.layers:
            with layer.stream() as stream:
                stream.finish()
                assert stream.compression == "zstd"


def test_an_unpacked_image_becomes_the_image_it_was(tmp_path: Path, sample: str) -> None:
    first = convert(sample, f"layer:{tmp_path / 'unpacked'}")
    second = convert(str(tmp_path / "unpacked"), f"oci:{tmp_path / 'out'}:x")
    assert first.diff_ids == second.diff_ids
    with open_image(sample) as before, open_image(f"oci:{tmp_path / 'out'}:x") as after:
        assert before.config is not None
        assert after.config is not None
        assert before.config.raw == after.config.raw


def test_a_lone_layer_becomes_an_image(tmp_path: Path, tar: str) -> None:
    convert(tar, f"plain:{tmp_path / 'p'}")
    for source in (tar, f"plain:{tmp_path / 'p'}"):
        done = convert(source, f"oci:{tmp_path / 'out'}:x", ConvertOptions(os_version="10.0.20348.1"))
        with open_image(f"oci:{tmp_path / 'out'}:x") as made:
            assert made.platform is not None
            assert (made.platform.os, made.platform.os_version) == ("windows", "10.0.20348.1")
            assert [str(layer.diff_id) for layer in made.layers] == done.diff_ids


@pytest.mark.parametrize("form", ["transport", "plain"])
def test_several_layers_become_numbered_folders(tmp_path: Path, sample: str, form: str) -> None:
    done = convert(sample, f"{form}:{tmp_path / 'many'}")
    assert done.layers == [str(tmp_path / "many" / str(number)) for number in range(3)]
    assert (tmp_path / "many/2/Files").is_dir()
    if form == "transport":
        assert done.notices["link-copied"] > 0
    assert [path for path in os.listdir(tmp_path) if path.startswith(".")] == []
    with pytest.raises(StoreError, match="not an empty folder"):
        convert(sample, f"{form}:{tmp_path / 'many'}")


def test_of_several_layers_all_are_there_or_none(tmp_path: Path, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = PlainFolderWriter.commit
    done: list[PlainFolderWriter] = []

    def fail_at_the_last(writer: PlainFolderWriter) -> None:
        if len(done) == 2:
            writer.abort()
            raise StoreError("no space left")
        commit(writer)
        done.append(writer)

    monkeypatch.setattr(PlainFolderWriter, "commit", fail_at_the_last)
    with pytest.raises(StoreError, match="no space left"):
        convert(sample, f"plain:{tmp_path / 'many'}")
    assert len(done) == 2
    assert os.listdir(tmp_path) == ["sample"]


@pytest.mark.parametrize("destination", ["base:{}", "{}.tar"])
def test_several_layers_do_not_fit_one(tmp_path: Path, sample: str, destination: str) -> None:
    with pytest.raises(UsageError, match="3 layers"):
        convert(sample, destination.format(tmp_path / "x"))


def test_a_link_into_a_parent_needs_the_parent(tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(TAR)
    (tmp_path / "top.tar").write_bytes(Layer().link("Files/c", "Files/a").bytes())
    convert(str(tmp_path / "base.tar"), str(tmp_path / "base"))
    top = str(tmp_path / "top.tar")
    with pytest.raises(NotFoundError, match="name the parents"):
        convert(top, f"transport:{tmp_path / 't'}")
    done = convert(top, f"transport:{tmp_path / 't'}", ConvertOptions(parents=(tmp_path / "base",)))
    assert done.notices["link-copied"] == 1
    assert convert(top, f"plain:{tmp_path / 'p'}").notices == {}


@pytest.mark.parametrize("destination", ["layer:{}", "transport:{}", "base:{}", "plain:{}", "{}.tar", "oci:{}:x"])
def test_a_damaged_source_leaves_no_layer(tmp_path: Path, destination: str) -> None:
    source = tmp_path / "damaged.tar"
    source.write_bytes(TAR[: len(TAR) // 2 + 100])
    with pytest.raises(FormatError):
        convert(str(source), destination.format(tmp_path / "out"))
    left = tree(tmp_path) - {"damaged.tar"}
    assert not any("Files" in name for name in left)
    assert not (tmp_path / "out.tar").exists()


def test_a_digest_that_is_wrong_leaves_nothing(tmp_path: Path) -> None:
    reference = image(tmp_path / "oci", TAR, diff_ids=[Digest("sha256", "0" * 64)])
    for destination in (f"plain:{tmp_path / 'p'}", str(tmp_path / "x.tar"), f"transport:{tmp_path / 't'}"):
        with pytest.raises(DigestMismatchError):
            convert(reference, destination)
    assert [path.name for path in tmp_path.iterdir()] == ["oci"]


def test_strict_refuses_what_would_get_lost(tmp_path: Path, sample: str) -> None:
    with pytest.raises(WclayerError, match="--strict"):
        convert(sample + "-base", f"base:{tmp_path / 'b'}", ConvertOptions(strict=True))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("destination", ["docker-archive:{}", "oci-archive:{}", "dir:{}"])
def test_images_are_written_to_layouts_only(tmp_path: Path, tar: str, destination: str) -> None:
    with pytest.raises(UsageError, match="OCI layout"):
        convert(tar, destination.format(tmp_path / "x"))
