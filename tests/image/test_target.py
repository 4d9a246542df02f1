"""Whatever holds an image is looked into in the same way."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.stacks import data_of, file, folder, gone, link, make_image, stream, tar
from wclayer.errors import NotFoundError, UnsupportedError, UsageError
from wclayer.image.describe import describe, list_row
from wclayer.image.listing import list_path, read_path
from wclayer.image.target import open_view
from wclayer.image.unpack import unpack
from wclayer.model import LayerItem

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"base"), stream("Files/a", "s", b"1"), file("Files/x")]
TOP: list[LayerItem] = [link("Files/b", "Files/a"), gone("Files/x"), file("Hives/h", b"hive")]


def oci(work: Path) -> str:
    return make_image(work / "layout", BASE, TOP)


def bare_path(work: Path) -> str:
    oci(work)
    return str(work / "layout")


def oci_archive(work: Path) -> str:
    oci(work)
    with tarfile.open(work / "image.tar", "w") as archive:
        archive.add(work / "layout", ".")
    return f"oci-archive:{work / 'image.tar'}"


def _documents(work: Path) -> tuple[bytes, bytes, list[bytes], list[str]]:
    oci(work)
    blobs = work / "layout/blobs/sha256"
    manifest = (
        blobs / json.loads((work / "layout/index.json").read_bytes())["manifests"][0]["digest"][7:]
    ).read_bytes()
    document = json.loads(manifest)
    names = [layer["digest"][7:] for layer in document["layers"]]
    config = (blobs / document["config"]["digest"][7:]).read_bytes()
    return manifest, config, [(blobs / name).read_bytes() for name in names], names


def directory(work: Path) -> str:
    manifest, config, layers, names = _documents(work)
    place = work / "dir"
    place.mkdir()
    (place / "version").write_text("Directory Transport Version: 1.1\n")
    (place / "manifest.json").write_bytes(manifest)
    (place / json.loads(manifest)["config"]["digest"][7:]).write_bytes(config)
    for name, layer in zip(names, layers, strict=True):
        (place / name).write_bytes(layer)
    return f"dir:{place}"


def docker_archive(work: Path) -> str:
    _, config, _, _ = _documents(work)
    members = {"config.json": config, "0/layer.tar": tar(BASE), "1/layer.tar": tar(TOP)}
    listed = [{"Config": "config.json", "RepoTags": ["demo:1"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
    members["manifest.json"] = json.dumps(listed).encode()
    with tarfile.open(work / "saved.tar", "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return f"docker-archive:{work / 'saved.tar'}:demo:1"


def unpacked_image(work: Path) -> str:
    unpack(oci(work), work / "out")
    return str(work / "out")


def top_layer_folder(work: Path) -> str:
    return str(unpack(oci(work), work / "out").chain[0])


@pytest.mark.parametrize(
    "place",
    [oci, bare_path, oci_archive, directory, docker_archive, unpacked_image, top_layer_folder],
    ids=lambda place: place.__name__,
)
def test_every_place_an_image_can_be_in_shows_the_same(place: Callable[[Path], str], tmp_path: Path) -> None:
    target = place(tmp_path)
    with open_view(target) as view:
        rows = [(row.path, row.kind, row.size, row.layer) for row in list_path(view, ".", recursive=True)]
        assert rows == [
            ("Files", "directory", None, 0),
            ("Files/a", "file", 4, 0),
            ("Files/b", "hardlink", 4, 1),
            ("Hives", "directory", None, 1),
            ("Hives/h", "file", 4, 1),
        ]
        assert data_of(view, "Files/b") == b"base"
        read: list[bytes] = []
        read_path(view, "/b", lambda piece: read.append(bytes(piece)), stream="S")
        assert read == [b"1"]
    with open_view(target, layer=1) as view:
        assert [(row.path, row.kind) for row in list_path(view, "/")] == [
            ("Files/b", "hardlink"),
            ("Files/x", "deleted"),
        ]
        assert data_of(view, "Files/b") == b"base"
    with open_view(target, layer=-2) as view:
        assert [row.path for row in list_path(view, "/")] == ["Files/a", "Files/x"]
    with pytest.raises(UsageError, match="there is no layer 2"):
        open_view(target, layer=2)


def stdin(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_listed_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(tar(BASE), monkeypatch)
    with open_view("-", data=False) as view:
        assert [row.path for row in list_path(view, "/")] == ["Files/a", "Files/x"]
        assert describe(view, view.find("Files/a")).size == 4


def test_standard_input_is_kept_where_data_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stdin(tar(BASE), monkeypatch)
    with open_view("-") as view:
        assert data_of(view, "Files/a") == b"base"
        assert data_of(view, "Files/a") == b"base"
        assert list(tmp_path.iterdir()) == [], "the file has no name"


def test_an_archive_on_standard_input_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = oci_archive(tmp_path).removeprefix("oci-archive:")
    stdin(Path(place).read_bytes(), monkeypatch)
    with open_view("oci-archive:-") as view:
        assert data_of(view, "Files/b") == b"base"


def test_a_single_layer_is_read_without_those_below_until_a_link_asks(tmp_path: Path) -> None:
    reference = oci(tmp_path)
    manifest = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"][0]["digest"][7:]
    base = json.loads((tmp_path / "layout/blobs/sha256" / manifest).read_bytes())["layers"][0]["digest"][7:]
    shutil.move(tmp_path / "layout/blobs/sha256" / base, tmp_path / "away")
    with open_view(reference, layer=1) as view:
        assert data_of(view, "Hives/h") == b"hive"
        with pytest.raises(NotFoundError, match="is not here"):
            list_row(view, view.find("Files/b"))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("./nowhere", NotFoundError),
        ("oci:nowhere", NotFoundError),
        ("docker-daemon:windows/nanoserver:ltsc2022", UnsupportedError),
        (".", UnsupportedError),
    ],
)
def test_what_is_no_image_says_so(
    target: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        open_view(target)
    assert target in str(caught.value)


def test_reading_a_folder_or_a_stream_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with open_view(oci(tmp_path)) as view:
        with pytest.raises(UsageError, match="wclayer ls"):
            read_path(view, "/", bytes)
        with pytest.raises(NotFoundError, match="it has :s:"):
            read_path(view, "/a", bytes, stream="other")
        with pytest.raises(NotFoundError, match="it has none"):
            read_path(view, "Hives/h", bytes, stream="other")
