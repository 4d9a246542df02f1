"""Is everything what it claims to be, and what is it made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.stacks import file, folder, link, make_image, tar
from wclayer.errors import NotFoundError
from wclayer.image.importing import import_layer
from wclayer.image.inspecting import inspect
from wclayer.image.unpack import unpack
from wclayer.image.verifying import verify
from wclayer.model import LayerItem

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"base" * 1000), file("Files/A")]
TOP: list[LayerItem] = [link("Files/b", "Files/a")]


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_image(tmp_path / "layout", BASE, TOP)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_a_good_image_is_good_in_every_form(image: str, tmp_path: Path) -> None:
    unpacked = unpack(image, tmp_path / "out")
    (tmp_path / "layer.tar").write_bytes(tar(BASE))
    for target in (image, str(tmp_path / "out"), str(unpacked.chain[0]), str(tmp_path / "layer.tar")):
        verdict = verify(target)
        assert verdict.ok
        assert not verdict.problems
        assert all(layer.checked for layer in verdict.layers)
    assert [layer.notices for layer in verify(str(tmp_path / "out")).layers] == [{"case-collision": 1}, {}]


def test_what_is_odd_is_a_problem_when_strict(tmp_path: Path) -> None:
    reference = make_image(tmp_path / "layout", [file("Files/a"), file("Files/b")], [file("Files/x."), file("Files/A")])
    unpack(reference, tmp_path / "out")
    for target in (reference, str(tmp_path / "out")):
        assert verify(target).ok
        verdict = verify(target, strict=True)
        assert [layer.ok for layer in verdict.layers] == [True, False]


def test_a_damaged_blob_is_found_and_the_others_are_looked_at(image: str, tmp_path: Path) -> None:
    manifest = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"][0]["digest"][7:]
    first = json.loads((tmp_path / "layout/blobs/sha256" / manifest).read_bytes())["layers"][0]["digest"][7:]
    path = tmp_path / "layout/blobs/sha256" / first
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    verdict = verify(image)
    assert [layer.ok for layer in verdict.layers] == [False, True]
    path.unlink()
    assert [layer.ok for layer in verify(image).layers] == [False, True]


def test_a_changed_file_a_new_one_and_a_missing_one_are_found(image: str, tmp_path: Path) -> None:
    base = unpack(image, tmp_path / "out").layers[0].path
    path = base / "Files" / "a"
    (base / "Files").chmod(0o755)
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    (problem,) = verify(str(tmp_path / "out")).layers[0].problems
    assert problem.startswith("Files/a: CRC-32")
    path.write_bytes(data)
    assert verify(str(tmp_path / "out")).ok
    (base / "Files/new").write_bytes(b"")
    assert len(verify(str(base)).layers[0].problems) == 1
    (base / "Files/new").unlink()
    path.unlink()
    assert not verify(str(base)).ok


def test_documents_of_an_unpacked_image_are_looked_at(image: str, tmp_path: Path) -> None:
    unpack(image, tmp_path / "out")
    manifest, config = tmp_path / "out/manifest.json", tmp_path / "out/config.json"
    good = manifest.read_bytes(), config.read_bytes()
    manifest.write_bytes(good[0] + b" ")
    assert "manifest.json does not have the digest" in verify(str(tmp_path / "out")).problems[0]
    manifest.unlink()
    assert "cannot read" in verify(str(tmp_path / "out")).problems[0]
    manifest.write_bytes(good[0])
    for text in (b"{", b"[]", b'{"rootfs": {"diff_ids": []}}'):
        config.write_bytes(text)
        assert "config.json" in verify(str(tmp_path / "out")).problems[0]
    config.write_bytes(good[1])
    assert verify(str(tmp_path / "out")).ok


def test_a_missing_layer_and_a_missing_parent_are_found(image: str, tmp_path: Path) -> None:
    result = unpack(image, tmp_path / "out")
    result.layers[0].path.rename(tmp_path / "elsewhere")
    assert [layer.ok for layer in verify(str(tmp_path / "out")).layers] == [False, True]
    assert "is not there" in verify(str(result.layers[1].path)).layers[0].problems[0]


def test_nothing_to_verify_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify(str(tmp_path / "nothing"))


# ------------------------------------------------------------------------------------------------------------- inspect


def test_every_form_of_an_image_is_described_in_the_same_words(sample: str, unpacked: Path, tmp_path: Path) -> None:
    image, folder_of_image = inspect(sample), inspect(str(unpacked))
    layer = inspect(str(next((unpacked / "layers").iterdir())))
    (tmp_path / "layer.tar").write_bytes(tar(BASE))
    import_layer(str(tmp_path / "layer.tar"), tmp_path / "layer")
    bare, imported = inspect(str(tmp_path / "layer.tar")), inspect(str(tmp_path / "layer"))
    documents = (image, folder_of_image, layer, bare, imported)
    assert [document["kind"] for document in documents] == [
        "image",
        "unpacked image",
        "layer folder",
        "layer tar",
        "layer folder",
    ]
    for document in documents:
        assert set(document) == set(image)
        for entry in document["layers"]:
            assert set(entry) == set(image["layers"][0])
    for key in ("digest", "platform", "config"):
        assert image[key] == folder_of_image[key]
    for one, other in zip(image["layers"], folder_of_image["layers"], strict=True):
        for key in ("index", "diff_id", "chain_id", "digest", "media_type", "blob_size"):
            assert one[key] == other[key]
    json.dumps(documents)


def test_a_layer_folder_is_described_with_what_it_stands_on(unpacked: Path) -> None:
    chain = json.loads((unpacked / "layerchain.json").read_bytes())
    assert [layer["path"] for layer in inspect(chain[0])["layers"]] == chain[::-1]
    assert [layer["path"] for layer in inspect(chain[1])["layers"]] == chain[:0:-1]
