"""The short ways of import and export do what the long ones through a transport folder do, for odd layers too."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.formats.transport.layers import LINK, ads, file, folder, gone, link, tar_of
from tests.image.transport_layers import BASE, DIFF
from wclayer.errors import WclayerError
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.transport import LegacyLayerReader, export_layer, import_layer
from wclayer.formats.transport.exported import ExportedLayerReader, read_exported
from wclayer.formats.transport.pour import pour_layer
from wclayer.formats.volume import Manifest, Volume
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.image.transport_import import PORTABLE, LayerCalls, import_layer_from_tar
from wclayer.model import Entry, LayerItem, Metadata, Notices
from wclayer.ntfs.ea import ExtendedAttribute

LONG_WAY = LayerCalls(lambda layer, transport, parents: import_layer(layer, transport, parents))
SIDECAR = ".$wcidirs$"


def with_attributes(path: str, data: bytes | None, *names: bytes) -> Entry:
    """A file with extended attributes, one of them without a value."""
    entry = file(path, data)
    entry.metadata = Metadata(0x21, 1, 2, 3, 4, None, tuple(ExtendedAttribute(name, name) for name in (*names, b"")))
    return entry


NAMES = ("x", "X", "y", f"x{SIDECAR}", f"X{SIDECAR.upper()}", f"y{SIDECAR}", "$Recycle.Bin", ".wcl-a", "z" * 250)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
tops = st.sampled_from(("Files", "Files", "Files", "Files", "files", "Hives", "other"))
below = st.tuples(tops, paths).map("/".join)
ITEMS: st.SearchStrategy[LayerItem] = st.one_of(
    below.map(folder),
    below.map(lambda path: folder(path, reparse=LINK)),
    below.map(lambda path: file(path, b"data of " + path.encode())),
    below.map(lambda path: file(path, None)),
    below.map(lambda path: with_attributes(path, b"1", b"A", b"B")),
    st.tuples(below, below).map(lambda pair: link(*pair)),
    below.map(gone),
)
FOLDERS = st.sets(st.sampled_from(["Files/x", "Files/x/y", "Files/y", "Files/$Recycle.Bin"]))
LAYERS = st.tuples(FOLDERS, st.lists(ITEMS, max_size=12)).map(lambda made: [*map(folder, sorted(made[0])), *made[1]])
KNOWN = ("Files", "Hives", "Hives/System_Delta")
START: list[LayerItem] = [folder("Files"), folder("Hives"), file("Hives/System_Delta", b"delta")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base layer."""
    made = tmp_path_factory.mktemp("base") / "base"
    import_layer_from_tar([tar_of(*BASE)], made)
    return made


def is_folder(item: LayerItem) -> bool:
    """Whether it is a folder."""
    return isinstance(item, Entry) and item.is_directory


def held(volume: Volume, path: str = "") -> Iterator[tuple[object, ...]]:
    """All that a volume knows, but moments at which something was made."""
    manifest = volume.manifest
    assert manifest is not None
    first: dict[bytes, str] = {}
    for status in volume.walk(path):
        record = status.record
        content = b""
        if not status.is_directory:
            descriptor = volume.open_data(status)
            content = os.read(descriptor, 1 << 20)
            os.close(descriptor)
        streams = [
            (row.name, row.size, b"".join(manifest.stream_pieces(row.stream))) for row in manifest.streams_of(record)
        ]
        known = (record.security_descriptor, record.extended_attributes, record.reparse, record.ranges)
        name = first.setdefault(status.file_id, status.path)
        yield status.path, status.basic, status.size, status.links, known, streams, content, name
    yield tuple(manifest.tombstones()), manifest.implied()


def imported(items: Sequence[LayerItem], base: Path, calls: LayerCalls) -> object:
    """What is in the layer folder that an import makes, and what was odd; or the error."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "layer"
        try:
            done = import_layer_from_tar([tar_of(*items)], target, [base], calls=calls)
        except WclayerError as error:
            assert list(Path(scratch).iterdir()) == []
            return type(error), getattr(error, "winerror", None), getattr(error, "kind", None)
        with open_layer_volume(target) as volume:
            return list(held(volume)), done.notices, done.size


def exported(layer: Path, *, short: bool, hard_links: bool) -> object:
    """The tar of a layer and what was odd, or the error."""
    scratch = Path(tempfile.mkdtemp())
    out, notices = io.BytesIO(), Notices()
    try:
        (scratch / "transport").mkdir()
        with (
            open_layer_volume(layer, notices=notices) as volume,
            Volume(scratch / "transport", Manifest(None), notices=notices) as transport,
        ):
            if short:
                reader = read_exported(volume, transport)
            else:
                export_layer(volume, transport)
                reader = LegacyLayerReader(transport)
            with reader:
                pour_layer(reader, TarLayerWriter(out.write, notices=notices), hard_links=hard_links)
    except WclayerError as error:
        return type(error), getattr(error, "winerror", None), getattr(error, "kind", None)
    finally:
        shutil.rmtree(scratch)
    return out.getvalue(), notices.counts


@given(LAYERS)
@example([])
@example([folder("Files/x"), file(f"Files/x{SIDECAR}", b"")])
@example([file(f"Files/x{SIDECAR}", b""), folder("Files/x")])
@example([file(f"Files/x{SIDECAR}", b""), link("Files/y", f"Files/x{SIDECAR}")])
@example([file(f"Files/X{SIDECAR.upper()}", b""), folder("Files/x")])
@example([folder(f"Files/x{SIDECAR}")])
@example([folder("Files/x", reparse=LINK), file("Files/x/y", b"")])
@example([folder("Files/x", reparse=LINK), folder("Files/x")])
@example([folder("Files/x"), file("files/X/y", b"1")])
@example([folder("Files/" + "z" * 250)])
@example([file("Files/x", b"a" * 70000), ads("Files/x", "s", b"b" * 70000), gone("Files/y")])
@example(list(DIFF))
@example([folder("Files/y", reparse=LINK), file("Files/y", b""), folder("Files/x/x")])
@example([file(f"Files/x{SIDECAR}", b""), folder(f"Files/X{SIDECAR.upper()}")])
def test_an_import_that_leaves_out_the_blobs_makes_the_same_layer(base: Path, items: list[LayerItem]) -> None:
    layer = [*START, *(item for item in items if item.path not in KNOWN)]
    short, long = imported(layer, base, PORTABLE), imported(layer, base, LONG_WAY)
    if short != long:
        # Of several faults the short way may meet another one first: what the long way finds at the end of an entry,
        # or of the layer. Then the long way finds it too where the layer ends there.
        assert all(isinstance(outcome, tuple) and isinstance(outcome[0], type) for outcome in (short, long))
        assert short in [imported(layer[:count], base, LONG_WAY) for count in range(len(START), len(layer))]


@pytest.mark.parametrize("first", [[], [folder("files")], [file("Files", b"")], [folder("Files", reparse=LINK)]])
def test_files_that_is_not_what_it_should_be_is_imported_as_ever(base: Path, first: list[LayerItem]) -> None:
    items = [*first, file("Files/x", b"1"), folder("other")]
    assert imported(items, base, PORTABLE) == imported(items, base, LONG_WAY)


@given(LAYERS, st.booleans())
@example([file("Files/x", b""), with_attributes("Files/y", None, b"A"), with_attributes("Files/z", b"1", b"A")], True)
@example([file("Files/x", b"1"), link("Files/y", "Files/x"), link("Files/a", "Files/x")], False)
@example([folder("Files/$Recycle.Bin"), file("Files/$Recycle.Bin/x", b"1"), gone("Files/$Recycle.Bin/y")], True)
@example([gone("Files/x/y"), file("Files/y", b"a" * 3_000_000), ads("Files/y", "s", b"b")], True)
def test_an_export_that_leaves_out_the_blobs_writes_the_same_tar(
    base: Path, items: list[LayerItem], hard_links: bool
) -> None:
    # A folder among the hives gets the time of the export.
    layer = [
        *START,
        *(
            item
            for item in items
            if item.path not in KNOWN and not (item.path.startswith("Hives/") and is_folder(item))
        ),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "layer"
        try:
            import_layer_from_tar([tar_of(*layer)], target, [base])
        except WclayerError:
            return  # there is nothing to export
        found = exported(target, short=True, hard_links=hard_links)
        assert found == exported(target, short=False, hard_links=hard_links)


@pytest.mark.parametrize(
    "name", ["n", f"d{SIDECAR}", f"D{SIDECAR.upper()}", f"e{SIDECAR}", f"sub{SIDECAR}/x", "a?b", "N", "pipe", "link"]
)
def test_what_somebody_put_into_a_layer_is_exported_or_refused_the_same_way(
    base: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "layer"
    import_layer_from_tar([tar_of(*START, folder("Files/d"), file("Files/n", b"1"))], target, [base])
    place = target / "Files" / name
    if name == "pipe":
        os.mkfifo(place)
    elif name == "link":
        place.symlink_to(base)
    else:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"put")
        os.utime(place, ns=(10**18, 10**18))
    os.utime(place.parent, ns=(10**18, 10**18))
    found = exported(target, short=True, hard_links=True)
    assert found == exported(target, short=False, hard_links=True)


def test_an_export_reads_the_layer_itself(base: Path, tmp_path: Path) -> None:
    target = tmp_path / "layer"
    import_layer_from_tar([tar_of(*DIFF)], target, [base])
    (tmp_path / "transport").mkdir()
    with (
        open_layer_volume(target) as layer,
        Volume(tmp_path / "transport", Manifest(None)) as transport,
        read_exported(layer, transport) as reader,
    ):
        assert isinstance(reader, ExportedLayerReader)
        while reader.next() is not None:
            pass
        assert sorted(path.name for path in transport.root.iterdir()) == [
            "Files",
            f"Files{SIDECAR}",
            "Hives",
            f"Hives{SIDECAR}",
            "tombstones.txt",
        ]
        assert list((transport.root / "Files").iterdir()) == []
