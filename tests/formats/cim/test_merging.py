"""Layers flattened into one image are what the uppermost fork shows, and hold nothing that nobody sees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.formats.cim.layers import facts_of
from tests.formats.cim.test_layer_reader import BASE, file, folder, image, layers, shown, stream
from wclayer.errors import FormatError
from wclayer.formats.cim.item_writer import CimItemWriter
from wclayer.formats.cim.layer_names import CimLayer, layer_in
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.merging import flatten, merge_cims
from wclayer.formats.cim.verify import verify_cim
from wclayer.image.sample_content import base_items, middle_items, top_items
from wclayer.model import HardLink, LayerChain, LayerItem, Tombstone, copy_layer


def flat(place: Path, *contents: Iterable[LayerItem]) -> Path:
    """The image of layers, the base first."""
    with CimItemWriter(place) as writer:
        flatten(LayerChain.from_base_first([list(items).__iter__ for items in contents]), writer)
    assert [finding for finding in verify_cim(place) if finding.severity == "error"] == []
    assert writer.notices.counts.keys() <= {"folder-implied", "empty-stream"}
    return place


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ([Tombstone("a")], ["b", "b/c", "b/c/deep", "b/l3", "l1 -> b/l3", "l2 -> b/l3", "z"]),
        ([Tombstone("B/C")], ["a", "a/one", "a/two", "a/two:s:$DATA", "b", "b/l3", "l1 -> b/l3", "l2 -> b/l3", "z"]),
        (
            [Tombstone("b"), Tombstone("a"), file("l2", b"other")],
            ["l1", "l2", "z"],
        ),
        (
            [Tombstone("b"), Tombstone("a"), HardLink("k", "l1"), Tombstone("l1"), Tombstone("l2"), Tombstone("z")],
            ["k"],
        ),
        ([Tombstone("b"), folder("b"), Tombstone("a"), Tombstone("l1"), Tombstone("l2")], ["b", "z"]),
        ([Tombstone("b"), file("b"), file("a"), Tombstone("l1"), Tombstone("l2")], ["a", "b", "z"]),
        ([file("A/TWO"), Tombstone("b"), Tombstone("l1"), Tombstone("l2")], ["a", "a/one", "a/TWO", "z"]),
    ],
)
def test_deletions_and_replacements_are_applied(tmp_path: Path, upper: list[LayerItem], expected: list[str]) -> None:
    assert shown(flat(tmp_path / "flat.cim", BASE, upper)) == expected


def test_a_file_that_lost_the_name_of_its_layer_keeps_its_streams(tmp_path: Path) -> None:
    upper: list[LayerItem] = [folder("new"), HardLink("new/name", "a/two"), Tombstone("a")]
    cim = flat(tmp_path / "flat.cim", BASE, upper)
    assert [line for line in shown(cim) if "name" in line] == ["new/name", "new/name:s:$DATA"]


def test_a_stream_that_an_upper_layer_adds_or_replaces(tmp_path: Path) -> None:
    cim = flat(tmp_path / "flat.cim", BASE, [stream("a/two", "s", b"new"), stream("a/one", "t")])
    facts = facts_of(CimLayerReader(cim))
    assert facts["a/one"]["streams"].keys() == {":t:$DATA"}
    assert facts["a/two"]["streams"][":s:$DATA"][0] == 3


def test_what_is_replaced_takes_no_room(tmp_path: Path) -> None:
    big = file("big", b"x" * 10_000_000)
    cim = flat(tmp_path / "flat.cim", [big], [file("big", b"small")])
    assert sum(path.stat().st_size for path in tmp_path.glob("region_*")) < 1_000_000
    assert shown(cim) == ["big"]


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="failed to find link target"):
        flat(tmp_path / "flat.cim", BASE, [Tombstone("z"), HardLink("y", "z")])
    assert not (tmp_path / "flat.cim").exists()


def view(cim: Path, **options: Any) -> dict[str, Any]:
    return facts_of(CimLayerReader(cim, processed=True, **options))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers())
def test_flattened_layers_are_what_the_uppermost_fork_shows(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[LayerItem]]
) -> None:
    place = tmp_path_factory.mktemp("flat")
    forks: list[Path] = []
    for number, items in enumerate(contents):
        forks.insert(0, image(place / f"{number}.cim", items, forks[0] if forks else None))
    (place / "out").mkdir()
    expected = view(forks[0], whole=True)
    assert view(flat(place / "out" / "flat.cim", *contents)) == expected
    with CimItemWriter(place / "out" / "merged.cim") as writer:
        merge_cims(forks, writer)
    assert view(place / "out" / "merged.cim") == expected


def test_the_sample_image_as_one(tmp_path: Path) -> None:
    parents: list[CimLayer] = []
    for number, items in enumerate((base_items, middle_items, top_items)):
        layer = layer_in(tmp_path, f"layer{number}")
        with CimLayerWriter(layer, parents=parents) as writer:
            copy_layer(items(), writer)
        parents.insert(0, layer)
    cims = [parent.cim for parent in parents]
    expected = view(cims[0], whole=True)
    assert "layout" in expected
    for name, images in (("all.cim", cims), ("top.cim", cims[:1])):
        with CimItemWriter(tmp_path / "out" / name) as target:
            merge_cims(images, target)
        assert view(tmp_path / "out" / name) == expected


def test_forks_are_merged_in_their_order(tmp_path: Path) -> None:
    base = image(tmp_path / "base.cim", BASE)
    middle = image(tmp_path / "middle.cim", [file("m")], base)
    top = image(tmp_path / "top.cim", [file("t")], middle)
    for wrong in ([top, base], [top, base, middle], [middle, top, base], [top, middle]):
        with pytest.raises(FormatError, match="not the next image"), CimItemWriter(tmp_path / "out.cim") as writer:
            merge_cims(wrong, writer)
    assert not (tmp_path / "out.cim").exists()


def test_images_that_are_no_forks_are_laid_on_each_other(tmp_path: Path) -> None:
    below, above = image(tmp_path / "1.cim", BASE), image(tmp_path / "2.cim", [file("z", b"other"), file("y")])
    with CimItemWriter(tmp_path / "out.cim") as writer:
        merge_cims([above, below], writer)
    facts = view(tmp_path / "out.cim")
    assert facts["z"]["size"] == 5
    assert facts.keys() == view(below).keys() | {"y"}
