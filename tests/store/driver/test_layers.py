"""Layers by chain id: kept once for all images that have them, written again byte for byte, collected when unneeded."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.stacks import file, folder
from tests.store.tars import diff_id, tar, tar_bytes
from wclayer.errors import DigestMismatchError, FormatError, NotFoundError, StoreError
from wclayer.model import LayerItem, Tombstone
from wclayer.oci.digests import digest_of
from wclayer.store.driver import layers, records
from wclayer.store.driver.layers import LayerStore
from wclayer.store.driver.records import StoredImage, StoredLayer
from wclayer.store.roots import open_root

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"a" * 1000)]
TOP: list[LayerItem] = [folder("Files"), file("Files/b", b"bb"), Tombstone("Files/a")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    with LayerStore(tmp_path / "root", patience=5) as opened:
        yield opened


def names(store: LayerStore) -> set[str]:
    return set(store.driver.home.names())


def test_a31_chain_ids_and_the_layer_database_are_those_of_moby(store: LayerStore) -> None:
    base = store.register(lambda: tar(BASE))
    top = store.register(lambda: tar(TOP), base.chain_id)
    assert base.chain_id == base.diff_id == diff_id(BASE)
    assert top.diff_id == diff_id(TOP)
    assert top.chain_id == str(digest_of(f"{base.chain_id} {top.diff_id}".encode()))
    database = store.root / "image" / "windowsfilter" / "layerdb" / "sha256"
    place = database / top.chain_id.removeprefix("sha256:")
    assert (place / "parent").read_text() == base.chain_id
    assert (place / "diff").read_text() == top.diff_id
    assert (place / "cache-id").read_text() == top.cache_id
    assert (place / "size").read_text() == str(top.size) == "2"
    assert not (database / base.chain_id.removeprefix("sha256:") / "parent").exists()
    assert store.layer(top.chain_id) == top
    assert store.layers() == sorted([base, top], key=lambda layer: layer.chain_id)


def test_a31_a_layer_of_several_images_is_kept_once(store: LayerStore) -> None:
    opened = 0

    def counted() -> io.BytesIO:
        nonlocal opened
        opened += 1
        return tar(BASE)

    first = store.register(counted)
    again = store.register(counted)
    told = store.register(counted, diff_id=first.diff_id)
    assert opened == 2  # who knows the DiffID need not even read it
    assert [layer.shared for layer in (first, again, told)] == [False, True, True]
    assert {layer.cache_id for layer in (first, again, told)} == names(store) == {first.cache_id}
    # The same layer on another one is another layer.
    top = store.register(lambda: tar(TOP), first.chain_id)
    other = store.register(lambda: tar(TOP))
    assert top.diff_id == other.diff_id
    assert top.chain_id != other.chain_id


def test_a32_the_tar_of_a_layer_comes_back_byte_for_byte_and_is_verified(store: LayerStore) -> None:
    base = store.register(lambda: tar(BASE))
    out = io.BytesIO()
    store.write_tar(base.chain_id, out.write)
    assert out.getvalue() == tar_bytes(BASE)
    changed = store.driver.layer_path(base.cache_id) / "Files" / "a"
    changed.chmod(0o644)
    changed.write_bytes(b"x" * 1000)
    with pytest.raises(DigestMismatchError):
        store.write_tar(base.chain_id, lambda _piece: None)
    assert [finding.code for finding in open_root(store.root).check(contents=True)] == ["wrong-content"]


def test_a33_layer_folders_are_given_nearest_first(store: LayerStore) -> None:
    base = store.register(lambda: tar(BASE))
    top = store.register(lambda: tar(TOP), base.chain_id)
    assert [path.name for path in store.layer_folders(top.chain_id)] == [top.cache_id, base.cache_id]


def test_a_layer_that_is_not_what_was_promised_leaves_nothing(store: LayerStore) -> None:
    with pytest.raises(DigestMismatchError):
        store.register(lambda: tar(BASE), diff_id=diff_id(TOP))
    with pytest.raises(NotFoundError):
        store.register(lambda: tar(BASE), diff_id(TOP))
    assert names(store) == set()
    assert store.layers() == []


def test_layers_are_collected_when_no_image_has_them_and_no_program_uses_them(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with LayerStore(root) as first:
        base = first.register(lambda: tar(BASE))
        top = first.register(lambda: tar(TOP), base.chain_id)
        first.hold("image", [base.chain_id, top.chain_id])
        first.hold("other", [base.chain_id])
        with LayerStore(root) as second:
            first.release("image")
            assert second.collect() == []  # the program that put them in still lives
    with LayerStore(root) as store:
        assert store.collect(dry_run=True) == [top]
        assert store.collect() == [top]
        assert names(store) == {base.cache_id}
        store.release("other")
        with pytest.raises(NotFoundError):
            store.release("other")
        store.driver.get(base.cache_id)
        assert store.collect() == []  # mounted
        store.driver.put(base.cache_id)
        assert store.collect() == [base]
        assert names(store) == set()


def test_a_layer_that_a_container_stands_on_is_not_collected(tmp_path: Path) -> None:
    with LayerStore(tmp_path / "root") as store:
        base = store.register(lambda: tar(BASE))
        store.driver.create_read_write("container", base.cache_id)
    with LayerStore(tmp_path / "root") as store:
        assert store.collect() == []
        store.driver.remove("container")
        assert store.collect() == [base]


def test_a_record_without_its_layer_is_found_out_and_replaced(tmp_path: Path) -> None:
    with LayerStore(tmp_path / "root") as store:
        base = store.register(lambda: tar(BASE))
        store.driver.remove(base.cache_id)  # what a program leaves that dies between the two
        assert [finding.code for finding in open_root(store.root).check(contents=False)] == ["record"]
        with pytest.raises(NotFoundError, match="is recorded, but it is not there"):
            store.hold("image", [base.chain_id])
        assert store.images() == []
        again = store.register(lambda: tar(BASE), diff_id=base.diff_id)
        assert again.cache_id != base.cache_id
        assert not again.shared
        assert store.layer(base.chain_id) == again
        assert list(open_root(store.root).check(contents=True)) == []


def test_damaged_records_are_told_from_missing_ones(store: LayerStore) -> None:
    base = store.register(lambda: tar(BASE))
    place = store.root / "image" / "windowsfilter" / "layerdb" / "sha256" / base.chain_id.removeprefix("sha256:")
    (place / "cache-id").write_text("../../etc")
    with pytest.raises(FormatError, match="names no layer"):
        store.layer(base.chain_id)
    (place / "cache-id").write_text(base.cache_id)
    (place / "size").write_text("much")
    with pytest.raises(FormatError, match="damaged"):
        store.layers()
    assert [finding.code for finding in open_root(store.root).check(contents=False)] == ["record"]
    with pytest.raises(NotFoundError):
        store.layer(f"sha256:{'0' * 64}")


def test_an_image_that_is_released_while_images_are_listed_is_none(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = store.register(lambda: tar(BASE))
    for name in ("one", "two", "three"):
        store.hold(name, [base.chain_id])
    released: list[str] = []

    def read(path: Path) -> StoredImage | None:
        """Read after another program came by, once."""
        if not released:
            name = json.loads(path.read_bytes())["name"]
            store.release(name)
            released.append(name)
        return records.read_image(path)

    monkeypatch.setattr(layers, "read_image", read)
    assert {image.name for image in store.images()} == {"one", "two", "three"} - set(released)
    assert len(released) == 1


class Meanwhile:
    """Does something to a record once, just before the file ``name`` of it is read."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, place: Path, name: str, action: Callable[[Path], object]
    ) -> None:
        self.done = 0
        text = records._text

        def read(folder: int, file: str) -> str:
            if file == name and not self.done and os.path.samestat(os.fstat(folder), place.stat()):
                self.done += 1
                action(place)
            return text(folder, file)

        monkeypatch.setattr(records, "_text", read)


def make_anew(place: Path) -> None:
    """As another program that collects the layer and puts it in again: the same layer under another name."""
    other = place.with_name("other")
    shutil.copytree(place, other)
    (other / "cache-id").write_text("e" * 64)
    shutil.rmtree(place)
    other.rename(place)


def place_of(store: LayerStore, layer: StoredLayer) -> Path:
    return store.root / "image" / "windowsfilter" / "layerdb" / "sha256" / layer.chain_id.removeprefix("sha256:")


@pytest.mark.parametrize("name", ["diff", "cache-id", "size", "parent"])
def test_a_record_that_is_made_anew_while_it_is_read_is_read_whole(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    base = store.register(lambda: tar(BASE))
    top = store.register(lambda: tar(TOP), base.chain_id)
    meanwhile = Meanwhile(monkeypatch, place_of(store, top), name, make_anew)
    assert store.layer(top.chain_id) == dataclasses.replace(top, cache_id="e" * 64)
    assert meanwhile.done


@pytest.mark.parametrize("name", ["diff", "cache-id", "size", "parent"])
def test_a_record_that_is_removed_while_it_is_read_is_none(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    base = store.register(lambda: tar(BASE))
    top = store.register(lambda: tar(TOP), base.chain_id)
    meanwhile = Meanwhile(monkeypatch, place_of(store, top), name, shutil.rmtree)
    assert store.layers() == [base]
    assert meanwhile.done
    with pytest.raises(NotFoundError):
        store.layer(top.chain_id)


def test_damaged_images_are_told(store: LayerStore) -> None:
    images = store.root / "image" / "windowsfilter" / "images"
    for content in (
        b"",
        b"[]",
        b"{}",
        b'{"name": "a", "layers": [1]}',
        b'{"name": "a", "layers": null}',
        b"[" * 100000,
    ):
        (images / f"{'0' * 64}.json").write_bytes(content)
        with pytest.raises(FormatError, match=f"image .*{'0' * 64}.json is damaged"):
            store.images()


def test_a_record_that_cannot_be_read_is_not_called_damaged(store: LayerStore) -> None:
    base = store.register(lambda: tar(BASE))
    place = place_of(store, base)
    (place / "size").unlink()
    with pytest.raises(FormatError, match="damaged"):
        store.layer(base.chain_id)
    (place / "size").mkdir()
    with pytest.raises(StoreError, match=f"cannot read the record .*{place.name}: Is a directory"):
        store.layer(base.chain_id)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(f"sha256:{'0' * 64}"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["schema", "name", "layers"]), inner),
    max_leaves=10,
)


@given(content=st.binary(max_size=200) | JSON.map(lambda document: json.dumps(document).encode()))
def test_fuzz_images_are_read_or_damaged(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "image.json"
    path.write_bytes(content)
    with contextlib.suppress(FormatError):
        image = records.read_image(path)
        assert image is not None
        assert json.loads(content)["name"] == image.name or not isinstance(json.loads(content)["name"], str)
