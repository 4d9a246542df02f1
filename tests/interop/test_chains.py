"""Layers on their way through several forms: the same bytes in the end, or every difference was told.

Chain a is tar, transport folder, tar; chain b is tar, layer folder, transport folder, layer folder, tar. What comes out
is compared with the reference form of the layer: what its layer folder is exported as.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.chain_losses import LOSSES, REFUSALS, Layer, place_in_walk
from tests.interop.members import TIMES, Member, members
from wclayer.errors import WclayerError
from wclayer.formats.tar import TarLayerReader
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.exporting import export_layer
from wclayer.image.importing import import_layer
from wclayer.image.sample import make_sample
from wclayer.model import AlternateStream, Entry, Notices, Tombstone
from wclayer.oci import open_image

_DATA = Path(__file__).parents[1] / "data"
_VECTORS = [
    path.parent for folder in ("layertar", "layertar-extra") for path in sorted((_DATA / folder).glob("*/layer.tar"))
]
_CHAINS = {
    "a": ("transport:{}", "{}.tar"),
    "b": ("layer:{}", "transport:{}", "layer:{}", "{}.tar"),
}
# What changes no member, or the reference form as well.
_HARMLESS = ("order-lost", "folder-implied", "holes-written", "time-wrapped")


@dataclass
class Passed:
    """The tar at the end of a chain, and everything that was told on the way."""

    tar: bytes
    told: Counter[str]


def reference_of(source: Path, folder: Path, parents: Sequence[Path] = ()) -> bytes:
    """The reference form of a tar. Raises what importing and exporting raise."""
    import_layer(str(source), folder / "imported", parents=parents)
    export_layer(folder / "imported", str(folder / "reference.tar"), form="reference")
    return (folder / "reference.tar").read_bytes()


def passed(chain: str, source: Path, folder: Path, parents: tuple[Path, ...] = ()) -> Passed:
    """Send ``source`` through a chain; every form is deleted once the next one is there."""
    here, told = str(source), Counter[str]()
    for number, form in enumerate(_CHAINS[chain]):
        place = folder / f"{chain}{number}"
        there = form.format(place)
        result = convert(here, there, ConvertOptions(parents=() if there.endswith(".tar") else parents))
        told.update(result.notices)
        here = there
    return Passed(Path(here).read_bytes(), told)


def read(source: Path, below: Sequence[Layer] = ()) -> tuple[Layer, Notices]:
    """The layer in a tar, and what its reader has to tell."""
    notices = Notices()
    items = []
    for item in TarLayerReader([source.read_bytes()], notices=notices):
        if isinstance(item, Entry | AlternateStream) and item.data is not None:
            for _ in item.data.stored_pieces():
                pass
        items.append(item)
    return Layer(items, list(below)), notices


def check(chain: str, source: Path, reference: bytes, layer: Layer, notices: Notices, done: Passed) -> str:
    """Compare what came out with the reference form, but for what the rules say. Returns in which way it is the same.

    What is told is exactly what the rules predict, with the notices that the reader of the source has anyway, so a
    difference without a notice fails, and so does a notice without a difference to expect.
    """
    concerned = {loss: loss.paths(layer) for loss in LOSSES}
    expected = Counter({loss.code: len(paths) for loss, paths in concerned.items() if paths})
    assert done.told == expected + Counter(notices.counts), f"{chain} of {source}"
    if done.tar == reference:
        return "identical"
    ours, theirs = members(done.tar), members(reference)
    _assert_order_of_a_walk(ours)
    if sorted(member.raw for member in ours) == sorted(member.raw for member in theirs):
        assert expected["order-lost"]
        return "reordered"
    assert sum(expected.values()) > sum(expected[code] for code in _HARMLESS), "a difference without a reason"
    for loss, paths in concerned.items():
        if paths:
            ours, theirs = loss.comparable(ours, paths), loss.comparable(theirs, paths)
    assert _sorted_parts(ours) == _sorted_parts(theirs)
    return "told"


def _sorted_parts(found: list[Member]) -> list[str]:
    return sorted(repr(member.parts) for member in found)


def _assert_order_of_a_walk(found: list[Member]) -> None:
    places = []
    for member in found:
        is_deletion = member.name.rpartition("/")[2].startswith(".wh.")
        if ":" not in member.name:
            places.append(place_in_walk(member.name.rstrip("/"), is_deletion=is_deletion))
    assert places == sorted(places)


@pytest.mark.parametrize("chain", _CHAINS)
@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector.name)
def test_a_vector_comes_back_or_says_what_it_lost(vector: Path, chain: str, tmp_path: Path) -> None:
    source = vector / "layer.tar"
    try:
        layer, notices = read(source)
    except WclayerError as error:
        # No layer at all: whatever reads it says the same, and leaves nothing.
        with pytest.raises(type(error)):
            passed(chain, source, tmp_path)
        assert not any(tmp_path.iterdir())
        return
    refusals = [refusal for refusal in REFUSALS if refusal.applies(layer)]
    if refusals:
        with pytest.raises(
            tuple(kind for refusal in refusals for kind in refusal.error) + _of_import(source, tmp_path)
        ):
            passed(chain, source, tmp_path)
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".tar" or path.name.startswith(".")]
        return
    reference = reference_of(source, tmp_path)
    if _is_written_by_the_reference(vector):
        assert reference == source.read_bytes()
    check(chain, source, reference, layer, notices, passed(chain, source, tmp_path))


def _of_import(source: Path, folder: Path) -> tuple[type[WclayerError], ...]:
    """What a layer folder has against the layer, which chain b meets first."""
    try:
        import_layer(str(source), folder / "tried")
    except WclayerError as error:
        return (type(error),)
    shutil.rmtree(folder / "tried")
    return ()


def _is_written_by_the_reference(vector: Path) -> bool:
    """Whether the vector has the bytes that hcsshim would write again.

    Times that it wrapped into 64-bit nanoseconds have digits below 100 ns, which no file keeps.
    """
    if json.loads((vector / "case.json").read_bytes())["kind"] != "encode":
        return False
    found = members((vector / "layer.tar").read_bytes())
    digits = [member.records.get(key, b"").partition(b".")[2] for member in found for key in TIMES]
    return all(len(fraction) <= 7 for fraction in digits)


def test_the_rules_are_all_met_by_some_layer(tmp_path: Path) -> None:
    layers = [found[0] for found in map(_readable, _VECTORS) if found is not None]
    met = {loss.code for layer in layers for loss in LOSSES if loss.paths(layer)}
    # Links into parents, and hives with descriptors, are in the sample and in the layer below.
    assert {loss.code for loss in LOSSES} - met <= {"link-copied", "hive-security", "hive-attributes"}
    refused = [refusal for refusal in REFUSALS if any(refusal.applies(layer) for layer in layers)]
    assert len(refused) >= len(REFUSALS) - 1


def _readable(vector: Path) -> tuple[Layer, Notices] | None:
    try:
        return read(vector / "layer.tar")
    except WclayerError:
        return None


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The layers of the sample image as tars, base first, with a layer folder beside each."""
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder / "image", "demo")
    tars: list[Path] = []
    with open_image(f"oci:{folder / 'image'}:demo") as image:
        for number, layer in enumerate(image.layers):
            tars.append(folder / f"{number}.tar")
            with layer.stream() as stream, tars[-1].open("wb") as file:
                for slab in stream:
                    file.write(slab)
            parents = [folder / f"layer{below}" for below in reversed(range(number))]
            import_layer(str(tars[-1]), folder / f"layer{number}", parents=parents)
    return tars


@pytest.mark.parametrize("chain", _CHAINS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_sample_comes_back_or_says_what_it_lost(
    sample: list[Path], number: int, chain: str, tmp_path: Path
) -> None:
    source = sample[number]
    parents = tuple(source.parent / f"layer{below}" for below in reversed(range(number)))
    layer, notices = read(source, [read(sample[below])[0] for below in reversed(range(number))])
    reference = reference_of(source, tmp_path, parents)
    assert reference == source.read_bytes()
    assert check(chain, source, reference, layer, notices, passed(chain, source, tmp_path, parents)) == "told"
    assert number == 0 or any(isinstance(item, Tombstone) for item in layer.items)


def test_in_hcsshims_own_reading_no_time_is_missing(tmp_path: Path) -> None:
    # With --as reference a tar is read as hcsshim does, to whom a time that is not said is a day in 1754.
    # Types of entries that it imports without their data are another matter, which the notice entry-type tells.
    vectors = [vector for vector in _VECTORS if (found := _readable(vector)) and _loses_only_times(*found)]
    assert len(vectors) > 10
    for vector in vectors:
        folder = tmp_path / vector.name
        folder.mkdir()
        reference = reference_of(vector / "layer.tar", folder)
        done = convert(str(vector / "layer.tar"), f"transport:{folder / 't'}", ConvertOptions("reference"))
        assert "times-filled" not in done.notices
        convert(f"transport:{folder / 't'}", str(folder / "again.tar"))
        assert (folder / "again.tar").read_bytes() == reference, vector


def _loses_only_times(layer: Layer, notices: Notices) -> bool:
    if "entry-type" in notices.counts or any(refusal.applies(layer) for refusal in REFUSALS):
        return False
    # A time that hcsshim wraps into 64-bit nanoseconds loses digits each time that it is read and written again.
    told = {loss.code for loss in LOSSES if loss.paths(layer)}
    return "times-filled" in told and told <= {"times-filled", "folder-implied"}
