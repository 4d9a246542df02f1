"""A layer that goes through an image comes back as it was, but for what the writer said it would lose."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.content import synthetic
from bench.corpus import Shape
from bench.corpus import items as corpus_items
from tests.formats.cim.layers import facts_of
from wclayer.errors import FormatError, LimitError, UnsupportedError, WclayerError
from wclayer.formats.cim.item_writer import CimItemWriter
from wclayer.formats.cim.layer_names import CimLayer, layer_in
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.image.sample_content import base_items, middle_items, top_items
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone, copy_layer
from wclayer.ntfs.names import fold

DATA = Path(__file__).parents[2] / "data"
TARS = sorted(
    path
    for pattern in ("layertar*/*/layer.tar", "folders*/*/*/input.tar", "folders*/*/*/output.tar")
    for path in DATA.glob(pattern)
    if not path.parent.name.startswith("block")  # their links wait for their targets, which no other image does
)

#: What no image can hold; the tars of the vectors that are damaged are refused by their reader, not by the image.
REFUSED: dict[str, type[WclayerError]] = {
    "folders/pub-07/colon/input.tar": UnsupportedError,  # a stream of a file that is not there
    "layertar/047-ads-apart/layer.tar": UnsupportedError,
    "layertar/039-case-collision/layer.tar": FormatError,
    "layertar-extra/525-ea-limits/layer.tar": LimitError,
    "layertar-extra/520-sparse-map-empty/layer.tar": FormatError,  # the tar is wrong, which only its data shows
    "folders-extra/extra-04/ads-orphan/input.tar": UnsupportedError,
}

#: Links to a file of the layer below that this layer takes away, or replaces later: they keep the file, and so come
#: back as what they have become, the only name of it.
PARTED = {
    "folders-extra/extra-02/own-later-parent/input.tar": "Files/l1",
    "folders-extra/extra-02/tombed-target_F/input.tar": "Files/l1",
}

#: Which notice speaks of which fact.
TOLD = {
    "attributes": {"attributes-lost", "attributes-and-type"},
    "data": {"empty-stream"},
    "descriptor": {"descriptor-unsaid"},
    "creation": {"times-filled"},
    "access": {"times-filled"},
    "write": {"times-filled"},
    "change": {"times-filled"},
}


def read(tar: Path) -> list[LayerItem] | None:
    """The items of a tar without their data, None when it is none."""
    try:
        return list(TarLayerReader([tar.read_bytes()]))
    except WclayerError:
        return None


def below(items: list[LayerItem]) -> list[LayerItem]:
    """A layer that has what ``items`` delete and link to and do not have themselves."""
    wanted = [item.path for item in items if isinstance(item, Tombstone)]
    own: set[str] = set()
    for item in items:
        if isinstance(item, HardLink) and fold(item.target) not in own:
            wanted.append(item.target)
        own.add(fold(item.path))
    paths = {fold(path): path for path in wanted}
    folders = {key[: match.start()] for key in paths for match in re.finditer("/", key)}
    metadata = Metadata(0x20, 1, 2, 3, 4)
    return [
        Entry(path, metadata, data=Stream.from_bytes(path.encode("utf-8", "surrogatepass")))
        for key, path in paths.items()
        if key not in folders
    ]


def untold(before: dict[str, Any], after: dict[str, Any], notices: Notices) -> list[str]:
    """The differences that no notice speaks of."""
    said: dict[str, set[str]] = {}
    for notice in notices.listed:
        said.setdefault(fold(notice.path), set()).add(notice.code)
    found = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path, {}), after.get(path, {})
        codes = {code for name in was.get("names", [fold(path)]) for code in said.get(name, ())}
        if was.get("deleted") and not now and "tombstone-of-nothing" in codes:
            continue
        found += [
            f"{path}, {key}: {was.get(key)} became {now.get(key)}"
            for key in sorted(was.keys() | now.keys())
            if was.get(key) != now.get(key) and not TOLD.get(key, set()) & codes
        ]
    return found


@pytest.mark.parametrize("tar", TARS, ids=lambda path: str(path.relative_to(DATA)))
def test_a_layer_tar_of_the_vectors(tmp_path: Path, tar: Path) -> None:
    items = read(tar)
    if items is None:
        with pytest.raises(WclayerError), CimItemWriter(tmp_path / "a.cim") as writer:
            copy_layer(TarLayerReader([tar.read_bytes()]), writer)
        assert not list(tmp_path.glob("*.cim"))
        return
    with CimItemWriter(tmp_path / "below.cim") as writer:
        copy_layer(below(items), writer)
    notices = Notices()
    writer = CimItemWriter(tmp_path / "a.cim", parent="below.cim", notices=notices)
    refusal = REFUSED.get(str(tar.relative_to(DATA)))
    if refusal is not None:
        with pytest.raises(refusal), writer:
            copy_layer(TarLayerReader([tar.read_bytes()]), writer)
        return
    with writer:
        copy_layer(TarLayerReader([tar.read_bytes()]), writer)
    assert [finding for finding in verify_cim(tmp_path / "a.cim") if finding.severity == "error"] == []
    before = facts_of(TarLayerReader([tar.read_bytes()]))
    after = facts_of(CimLayerReader(tmp_path / "a.cim"))
    parted = PARTED.get(str(tar.relative_to(DATA)))
    if parted is not None:
        became = after.pop(parted)
        assert became["names"] == [fold(parted)]
        assert became["size"] > 0
        before.pop(parted)
        said = {path: facts.get("deleted") for path, facts in before.items() if not facts.get("elsewhere")}
        assert said == {path: facts.get("deleted") for path, facts in after.items()}
        return
    assert untold(before, after, notices) == []


def test_most_vectors_are_layers() -> None:
    assert len([tar for tar in TARS if read(tar) is not None]) > 120


def test_the_sample_image(tmp_path: Path) -> None:
    parents: list[CimLayer] = []
    layers: list[Callable[[], list[LayerItem]]] = [base_items, middle_items, top_items]
    for number, items in enumerate(layers):
        layer = layer_in(tmp_path, f"layer{number}")
        with CimLayerWriter(layer, parents=parents) as writer:
            copy_layer(items(), writer)
        parents.insert(0, layer)
        assert untold(facts_of(items()), facts_of(CimLayerReader(layer.cim)), writer.notices) == []
        assert verify_cim(layer.cim) == []
        if number:
            assert writer.notices.counts == {}


def test_the_sample_image_through_tars(tmp_path: Path) -> None:
    parents: list[CimLayer] = []
    for number, items in enumerate((base_items, middle_items, top_items)):
        layer = layer_in(tmp_path, f"layer{number}")
        first = tar_of(items())
        with CimLayerWriter(layer, parents=parents) as writer:
            copy_layer(TarLayerReader([first]), writer)
        second = tar_of(CimLayerReader(layer.cim))
        parents.insert(0, layer)
        before, after = facts_of(TarLayerReader([first])), facts_of(TarLayerReader([second]))
        assert untold(before, after, writer.notices) == []


def test_a_layer_of_the_corpus(tmp_path: Path) -> None:
    shape, content = Shape(1500, 6_000_000, 7), synthetic(7)
    with CimItemWriter(tmp_path / "below.cim") as writer:
        copy_layer(below(list(corpus_items(shape, content))), writer)
    with CimItemWriter(tmp_path / "a.cim", parent="below.cim", notices=Notices(keep=5000)) as writer:
        copy_layer(corpus_items(shape, content), writer)
    before = facts_of(corpus_items(shape, content))
    after = facts_of(CimLayerReader(tmp_path / "a.cim"))
    assert len(before) > 1500
    assert {"deleted": True} in before.values()
    assert untold(before, after, writer.notices) == []


def tar_of(items: Any) -> bytes:
    """``items`` as a layer tar."""
    pieces: list[bytes] = []
    with TarLayerWriter(lambda piece: pieces.append(bytes(piece))) as writer:
        copy_layer(items, writer)
    return b"".join(pieces)
