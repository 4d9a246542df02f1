"""A layer tar becomes a layer folder, and the layer folder the same tar again."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from pathlib import Path

import pytest

from tests.image.stacks import data_of, file, folder, gone, link, make_image, stream, tar
from wclayer.errors import (
    DigestMismatchError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UnsafeEntryError,
    UsageError,
    WclayerError,
)
from wclayer.formats.folder import LayerFolder, LayerFolderWriter
from wclayer.image.chain import find_parents, open_chain
from wclayer.image.exporting import ExportForm, export_layer
from wclayer.image.flatten import unpack_merged
from wclayer.image.importing import import_layer
from wclayer.image.target import open_view
from wclayer.model import LayerItem

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"base"), stream("Files/a", "s", b"1")]
MIDDLE: list[LayerItem] = [folder("Files"), link("Files/b", "Files/a"), gone("Files/x")]
TOP: list[LayerItem] = [link("Files/c", "Files/b"), link("Files/d", "Files/a")]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entries(layer: LayerFolder) -> list[tuple[object, ...]]:
    return [(node.path, node.kind, node.size, node.target) for node in layer.nodes() if not node.is_synthesised]


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Three layer folders on each other, base first."""
    made: list[Path] = []
    for name, items in (("base", BASE), ("middle", MIDDLE), ("top", TOP)):
        (tmp_path / f"{name}.tar").write_bytes(tar(items))
        import_layer(str(tmp_path / f"{name}.tar"), tmp_path / name, parents=made[::-1])
        made.append(tmp_path / name)
    return made


def test_a_layer_is_written_again_byte_for_byte(layers: list[Path], tmp_path: Path) -> None:
    for layer in layers:
        result = export_layer(layer, str(tmp_path / "again.tar"))
        original = layer.with_suffix(".tar").read_bytes()
        assert (tmp_path / "again.tar").read_bytes() == original
        assert (result.form, result.same_diff_id, str(result.diff_id)) == ("original", True, digest(original))
        assert (result.size, result.blob_size, result.layer) == (len(original), len(original), layer)


@pytest.mark.parametrize("compressed", ["layer.tar.gz", "LAYER.TGZ", "layer.tar.zst", "layer"])
def test_the_name_of_the_file_says_how_to_compress(compressed: str, layers: list[Path], tmp_path: Path) -> None:
    result = export_layer(layers[0], str(tmp_path / compressed))
    data = (tmp_path / compressed).read_bytes()
    assert str(result.blob_digest) == digest(data)
    head = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "none": b"PaxHeaders"}[result.compression]
    assert data.startswith(head)
    imported = import_layer(str(tmp_path / compressed), tmp_path / "again")
    assert (imported.diff_id, imported.compression) == (result.diff_id, result.compression)
    with pytest.raises(UsageError, match="levels"):
        export_layer(layers[0], str(tmp_path / compressed), level=99)


@pytest.mark.parametrize("form", ["reference", "faithful"])
def test_a_new_tar_holds_the_same_layer(form: ExportForm, layers: list[Path], tmp_path: Path) -> None:
    for number, layer in enumerate(layers):
        result = export_layer(layer, str(tmp_path / "new.tar"), form=form)
        assert result.form == form
        import_layer(str(tmp_path / "new.tar"), tmp_path / f"again{number}", parents=layers[:number][::-1])
        with LayerFolder(layer) as first, LayerFolder(tmp_path / f"again{number}") as second:
            names = [
                (node.path, node.kind, node.size, node.target) for node in first.nodes() if not node.is_synthesised
            ]
            assert names == [
                (node.path, node.kind, node.size, node.target) for node in second.nodes() if not node.is_synthesised
            ]


def test_parents_follow_their_nearest_by_themselves(layers: list[Path], tmp_path: Path) -> None:
    base, middle, _ = layers
    import_layer(str(tmp_path / "top.tar"), tmp_path / "other", parents=[middle])
    assert find_parents(tmp_path / "other") == (middle, base)
    with open_view(str(tmp_path / "other")) as view:
        assert data_of(view, "Files/c") == data_of(view, "Files/d") == b"base"


def test_chain_ids_are_those_of_the_image_specification(layers: list[Path]) -> None:
    chain = ""
    for layer in layers:
        diff_id = digest(layer.with_suffix(".tar").read_bytes())
        chain = digest(f"{chain} {diff_id}".encode()) if chain else diff_id
        with LayerFolder(layer) as opened:
            assert opened.facts["chain_id"] == chain


def test_a_link_whose_parent_is_not_given_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "top.tar").write_bytes(tar(TOP))
    with pytest.raises(UnsafeEntryError, match="a base layer has none") as caught:
        import_layer(str(tmp_path / "top.tar"), tmp_path / "top")
    assert caught.value.layer == str(tmp_path / "top.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["top.tar"]


def test_a_promised_digest_is_kept_or_the_layer_is_refused(tmp_path: Path) -> None:
    data = tar(BASE)
    (tmp_path / "layer.tar.gz").write_bytes(gzip.compress(data))
    result = import_layer(str(tmp_path / "layer.tar.gz"), tmp_path / "good", diff_id=digest(data))
    assert (result.compression, result.size, result.file_bytes) == ("gzip", len(data), 4)
    with pytest.raises(DigestMismatchError):
        import_layer(str(tmp_path / "layer.tar.gz"), tmp_path / "bad", diff_id=digest(b""))
    assert not (tmp_path / "bad").exists()
    with pytest.raises(WclayerError, match="digest"):
        import_layer(str(tmp_path / "layer.tar.gz"), tmp_path / "bad", diff_id="sha256:abc")


def test_standard_input_is_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(BASE)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(data))))
    assert str(import_layer("-", tmp_path / "layer").diff_id) == digest(data)


def test_an_image_or_a_folder_is_no_layer(layers: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an image, not a layer"):
        import_layer(make_image(tmp_path / "layout", BASE), tmp_path / "new")
    with pytest.raises(UsageError, match="imported already"):
        import_layer(str(layers[0]), tmp_path / "new")


def test_a_folder_that_is_taken_stays_as_it_is(layers: list[Path], tmp_path: Path) -> None:
    before = (layers[0] / "layer.db").read_bytes()
    with pytest.raises(StoreError, match="not an empty folder"):
        import_layer(str(tmp_path / "base.tar"), layers[0])
    assert (layers[0] / "layer.db").read_bytes() == before


def test_one_layer_of_an_unpacked_image_is_named_by_its_number(sample: str, unpacked: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--layer 0, the base, to --layer 2"):
        export_layer(unpacked, str(tmp_path / "x"))
    with pytest.raises(UsageError, match="no layer 3"):
        export_layer(unpacked, str(tmp_path / "x"), layer=3)
    ids = [str(export_layer(unpacked, str(tmp_path / "x"), layer=number).diff_id) for number in (0, 1, 2)]
    assert ids == [str(export_layer(unpacked, str(tmp_path / "x"), layer=number).diff_id) for number in (-3, -2, -1)]
    with open_view(str(unpacked)) as view:
        recorded = [layer.index.facts["diff_id"] for layer in reversed(view.layers)]
    assert ids == recorded


def test_a_layer_below_a_layer_folder_is_named_by_its_number(layers: list[Path], tmp_path: Path) -> None:
    assert export_layer(layers[2], str(tmp_path / "x"), layer=0).layer == layers[0]
    assert export_layer(layers[2], str(tmp_path / "x"), layer=-1).layer == layers[2]


def test_a_layer_that_came_from_no_tar_has_no_original(unpacked: Path, tmp_path: Path) -> None:
    unpack_merged(str(unpacked), tmp_path / "merged")
    with pytest.raises(NotFoundError, match="--as reference") as caught:
        export_layer(tmp_path / "merged", str(tmp_path / "x.tar"), form="original")
    assert caught.value.layer == str(tmp_path / "merged")
    assert not (tmp_path / "x.tar").exists()
    result = export_layer(tmp_path / "merged", str(tmp_path / "x.tar"))
    assert (result.form, result.same_diff_id) == ("reference", None)


def test_a_changed_file_is_an_error_and_no_file_appears(layers: list[Path], tmp_path: Path) -> None:
    path = layers[0] / "Files" / "a"
    path.chmod(0o644)
    path.write_bytes(b"BASE")
    (tmp_path / "x.tar").write_bytes(b"was here")
    with pytest.raises(IntegrityError):
        export_layer(layers[0], str(tmp_path / "x.tar"))
    path.write_bytes(b"longer than before")
    with pytest.raises(IntegrityError):
        export_layer(layers[0], str(tmp_path / "x.tar"), form="reference")
    assert (tmp_path / "x.tar").read_bytes() == b"was here"
    assert not list(tmp_path.glob(".*"))


def test_a_pipe_is_written_as_it_is(layers: list[Path], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = export_layer(layers[0], str(pipe))
        assert result.same_diff_id is True
        assert os.read(reader, 3) == b"Pax"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


# ---------------------------------------------------------------------------------------------------- layers on layers


def test_a_parent_that_is_gone_is_missed(layers: list[Path], tmp_path: Path) -> None:
    layers[1].rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="middle is not there"):
        open_view(str(layers[2]))


def test_another_layer_in_the_place_of_a_parent_is_noticed(layers: list[Path], tmp_path: Path) -> None:
    layers[0].rename(tmp_path / "elsewhere")
    (tmp_path / "other.tar").write_bytes(tar([file("Files/a", b"other")]))
    import_layer(str(tmp_path / "other.tar"), layers[0])
    with pytest.raises(StoreError, match="another layer than the parent"):
        open_view(str(layers[2]))


def test_a_moved_parent_is_preferred_to_another_layer_in_its_old_place(layers: list[Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for layer in layers:
        layer.rename(moved / layer.name)
    (tmp_path / "other.tar").write_bytes(tar([file("Files/a", b"other")]))
    import_layer(str(tmp_path / "other.tar"), layers[0])
    assert find_parents(moved / "top") == (moved / "middle", moved / "base")


def test_a_layer_that_names_itself_is_refused(layers: list[Path]) -> None:
    chain = layers[1] / "layerchain.json"
    chain.chmod(0o644)
    layers[1].chmod(0o755)
    chain.write_text(f'["{layers[1]}"]')
    with pytest.raises(FormatError, match="its own parents"):
        open_chain(layers[1])


def test_a_parent_without_identity_is_taken_as_it_is(tmp_path: Path) -> None:
    with LayerFolderWriter(tmp_path / "base") as writer:
        writer.write(file("Files/a", b"x"))
    with LayerFolderWriter(tmp_path / "top", parents=[tmp_path / "base"]) as writer:
        writer.write(link("Files/b", "Files/a"))
    with open_view(str(tmp_path / "top")) as view:
        assert data_of(view, "Files/b") == b"x"
