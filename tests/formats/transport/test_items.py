from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.transport.layers import DESCRIPTOR, LINK, ads, file, folder, gone, link, tar_of
from wclayer.errors import StoreError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter
from wclayer.formats.folder.door import Door
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.formats.transport import TransportFolderReader, TransportFolderWriter
from wclayer.formats.transport.publish import manifest_beside
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone, copy_layer
from wclayer.ntfs.ea import ExtendedAttribute

DATA = Path(__file__).parents[2] / "data"
TARS = sorted(
    [*DATA.glob("folders/*/*/input.tar"), *DATA.glob("folders/*/*/output.tar"), *DATA.glob("layertar/*/layer.tar")]
)
WHOLE = [
    folder("Files"),
    folder("Files/d"),
    file("Files/d/f", b"data"),
    folder("Hives"),
    file("Hives/System_Delta", b"h"),
]


def written(items: TarLayerReader | TransportFolderReader | LayerFolderReader) -> bytes:
    out = io.BytesIO()
    with TarLayerWriter(out.write) as writer:
        copy_layer(items, writer)
    return out.getvalue()


def members(tar: bytes) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for item in TarLayerReader([tar], policy="reference"):
        content = item.data.read(1 << 26) if isinstance(item, Entry | AlternateStream) and item.data else None
        found.append((item.path, getattr(item, "name", ""), repr(getattr(item, "metadata", "")), content))
    return sorted(found, key=repr)


@pytest.mark.parametrize("tar", TARS, ids=lambda tar: "-".join(tar.relative_to(DATA).parts[1:-1]))
def test_a_tar_through_a_transport_folder_is_the_same_or_what_is_lost_is_said(tmp_path: Path, tar: Path) -> None:
    source = tar.read_bytes()
    try:
        direct = written(TarLayerReader([source], policy="reference"))
    except WclayerError:
        return  # no tar that could be written again
    notices = Notices()
    try:
        with TransportFolderWriter(tmp_path / "t", notices=notices) as writer:
            copy_layer(TarLayerReader([source], policy="reference"), writer)
    except WclayerError:
        assert list(tmp_path.iterdir()) == []
        return
    again = written(TransportFolderReader(tmp_path / "t", notices=notices))
    lost = set(notices.counts) - {"folder-implied"}
    if not lost:
        assert again == direct or members(again) == members(direct)
    if lost <= {"order-lost"}:
        assert members(again) == members(direct)


def test_a_layer_folder_through_a_transport_folder_is_the_same(tmp_path: Path) -> None:
    tar = tar_of(
        folder("Files"),
        gone("Files/gone"),
        folder("Files/d"),
        gone("Files/d/gone"),
        file("Files/d/f", b"data"),
        ads("Files/d/f", "s", b"alternate"),
        folder("Files/l", reparse=LINK),
        folder("Hives"),
        file("Hives/Sam_Delta", b"sam", 0x20),
    )
    notices = Notices()
    with LayerFolderWriter(tmp_path / "one") as first:
        copy_layer(TarLayerReader([tar]), first)
    with LayerFolder(tmp_path / "one") as one, TransportFolderWriter(tmp_path / "t", notices=notices) as writer:
        copy_layer(LayerFolderReader(one), writer)
    with LayerFolderWriter(tmp_path / "two") as second:
        copy_layer(TransportFolderReader(tmp_path / "t", notices=notices), second)
    with LayerFolder(tmp_path / "two") as two:
        again = members(written(LayerFolderReader(two)))
    assert again == [m if m[0] != "Hives/Sam_Delta" else without_security(m) for m in members(tar)]
    assert notices.counts == {"hive-security": 1}


def without_security(member: tuple[object, ...]) -> tuple[object, ...]:
    return (*member[:2], str(member[2]).replace(repr(DESCRIPTOR), "None"), member[3])


def test_everything_is_carried_that_a_blob_can_hold(tmp_path: Path) -> None:
    sparse = Stream(1 << 20, lambda _stored: iter((b"ab", b"cd")), ((5, 2), (70_000, 2)))
    moment = 133_000_000_000_000_000
    eas = (ExtendedAttribute(b"ONE", b"1", 0x80),)
    items: list[LayerItem] = [
        folder("Files"),
        Entry("Files/s", Metadata(0x220, moment, moment + 1, moment + 2, moment + 3, None, eas), data=sparse),
        AlternateStream("Files/s", ":a:$DATA", Stream(100, lambda _stored: iter((b"x",)), ((99, 1),))),
        file("Files/none", None),
        ads("Files/none", "b", b"of a file without data"),
    ]
    with TransportFolderWriter(tmp_path / "t") as writer:
        copy_layer(items, writer)
    checked = []
    for item in TransportFolderReader(tmp_path / "t"):
        data = item.data if isinstance(item, Entry | AlternateStream) else None
        checked.append(f"{type(item).__name__} {item.path}")
        if checked[-1] == "Entry Files/s":
            assert isinstance(item, Entry)
            assert data is not None
            assert (data.size, data.ranges) == (1 << 20, ((5, 2), (70_000, 2)))
            assert b"".join(bytes(piece) for piece in data.stored_pieces()) == b"abcd"
            assert item.metadata.extended_attributes == eas
            assert item.metadata.change_time == moment + 3
        elif checked[-1] == "AlternateStream Files/s":
            assert data is not None
            assert data.ranges == ((99, 1),)
            assert data.read(100) == bytes(99) + b"x"
        elif checked[-1] == "Entry Files/none":
            assert data is None
        elif checked[-1] == "AlternateStream Files/none":
            assert data is not None
            assert data.read(100) == b"of a file without data"
    assert checked == [
        "Entry Files",
        "Entry Files/none",
        "AlternateStream Files/none",
        "Entry Files/s",
        "AlternateStream Files/s",
    ]


def test_without_its_manifest_a_folder_still_reads_with_a_warning(tmp_path: Path) -> None:
    with TransportFolderWriter(tmp_path / "t") as writer:
        copy_layer(WHOLE, writer)
    manifest_beside(tmp_path / "t").unlink()
    notices = Notices()
    times = {
        item.path: item.metadata.creation_time
        for item in TransportFolderReader(tmp_path / "t", notices=notices)
        if isinstance(item, Entry)
    }
    assert times["Files/d/f"] == 133_000_000_000_000_000
    assert notices.counts["times-from-mtime"] == 2


@pytest.mark.parametrize(
    "item", [folder("UtilityVM"), link("Files/x", "Files/of a parent"), ads("Files/d/f", "late", b"x")]
)
def test_what_it_cannot_hold_is_refused_and_nothing_is_left(tmp_path: Path, item: LayerItem) -> None:
    with pytest.raises(UnsupportedError), TransportFolderWriter(tmp_path / "t") as writer:
        copy_layer([*WHOLE, item], writer)
    assert list(tmp_path.iterdir()) == []


def test_names_of_one_file_stay_such(tmp_path: Path) -> None:
    with TransportFolderWriter(tmp_path / "t") as writer:
        copy_layer([*WHOLE, link("Files/z", "Files/d/f")], writer)
    items = [item for item in TransportFolderReader(tmp_path / "t") if isinstance(item, Entry)]
    by_id = [item.path for item in items if item.file_id]
    assert by_id == ["Files/d/f", "Files/z"]
    assert [
        item.path
        for item in TarLayerReader([written(TransportFolderReader(tmp_path / "t"))])
        if isinstance(item, HardLink)
    ] == ["Files/z"]


def test_a_link_finds_its_file_in_any_case(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/A", b"1"),
        link("Files/b", "FILES/a"),
        link("Files/c", "files/B"),
    ]
    with TransportFolderWriter(tmp_path / "t") as writer:
        copy_layer(items, writer)
    for name in ("b", "c"):
        assert (tmp_path / "t" / "Files" / name).samefile(tmp_path / "t" / "Files" / "A")


def test_links_to_files_before_and_after_them_are_the_same(tmp_path: Path) -> None:
    items: list[LayerItem] = [folder("Files"), file("Files/before", b"1"), file("Files/sparse", b"2")]
    for number in range(50):
        items.append(folder(f"Files/{number}"))
        items.append(link(f"Files/{number}/b", "Files/before"))
        items.append(link(f"Files/{number}/s", "Files/sparse" if number % 2 else f"Files/{number}/b"))
    notices = Notices()
    with TransportFolderWriter(tmp_path / "t", notices=notices) as writer:
        copy_layer(items, writer)
    place = tmp_path / "t" / "Files"
    for number in range(50):
        assert (place / str(number) / "b").samefile(place / "before")
        assert (place / str(number) / "s").samefile(place / ("sparse" if number % 2 else "before"))
    assert not notices.counts.keys() & {"link-times", "link-attributes", "folder-implied"}


@pytest.mark.parametrize("others", [0, 100])
def test_what_a_link_says_of_its_own_is_told(tmp_path: Path, others: int) -> None:
    time = 133_000_000_000_000_000
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/a", b"1"),
        HardLink("Files/later", "Files/a", Metadata(0x20, time, time, time, time + 1)),
        HardLink("Files/readonly", "Files/a", Metadata(0x21, time, time, time, time)),
        HardLink("Files/second", "Files/later", Metadata(0x21, time, time, time, time)),
        *(link(f"Files/{number}", "Files/a") for number in range(others)),
    ]
    notices = Notices()
    with TransportFolderWriter(tmp_path / "t", notices=notices) as writer:
        copy_layer(items, writer)
    told = {(notice.code, notice.path.replace("\\", "/")) for notice in notices.listed}
    assert told >= {
        ("link-times", "Files/later"),
        ("link-attributes", "Files/readonly"),
        ("link-attributes", "Files/second"),
    }
    assert notices.counts["link-times"] == 1
    assert notices.counts["link-attributes"] == 2


@pytest.mark.parametrize("others", [0, 40, 100])
@pytest.mark.parametrize("bad", [link("Files/TAKEN", "Files/a"), link("Files/junction/x", "Files/a")])
def test_an_error_of_a_link_names_the_link(tmp_path: Path, bad: HardLink, others: int) -> None:
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/a", b"1"),
        file("Files/taken"),
        folder("Files/junction", reparse=LINK),
        bad,
        *(link(f"Files/{number}", "Files/a") for number in range(others)),
        file("Files/z"),
    ]
    with (
        pytest.raises(UnsafeEntryError) as raised,
        TransportFolderWriter(tmp_path / "t") as writer,
    ):
        copy_layer(items, writer)
    assert raised.value.path == bad.path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.replaces_methods
@pytest.mark.parametrize("others", [0, 40])
def test_where_the_system_has_no_links_the_link_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    monkeypatch.setattr(Door, "link", lambda *_arguments, **_options: False)
    links = [link(f"Files/{number}", "Files/a") for number in range(others + 1)]
    with (
        pytest.raises(UnsupportedError, match="another name") as raised,
        TransportFolderWriter(tmp_path / "t") as writer,
    ):
        copy_layer([folder("Files"), file("Files/a", b"1"), *links, file("Files/z")], writer)
    assert (raised.value.layer, raised.value.path) == (str(tmp_path / "t"), "Files/0")
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_is_taken_stays(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine").write_text("mine")
    with pytest.raises(StoreError):
        TransportFolderWriter(tmp_path / "t")
    assert (tmp_path / "t" / "mine").read_text() == "mine"


_CONTROLS: tuple[Literal["Cc"]] = ("Cc",)
_NAMES = st.text(st.characters(exclude_characters='\\/:*?"<>|.', exclude_categories=_CONTROLS), min_size=1, max_size=6)
_TIMES = st.integers(1, 1 << 62)
_METADATA = st.builds(
    Metadata,
    st.sampled_from([0x20, 0x21, 0x2020, 0x80]),
    _TIMES,
    _TIMES,
    _TIMES,
    _TIMES,
    st.one_of(st.none(), st.binary(max_size=40)),
    st.lists(
        st.builds(ExtendedAttribute, st.sampled_from([b"A", b"BC"]), st.binary(min_size=1, max_size=9), st.just(0)),
        max_size=1,
    ).map(tuple),
    st.one_of(st.none(), st.just(LINK)),
)


@given(
    st.dictionaries(
        _NAMES.map(str.casefold),
        st.tuples(
            _METADATA, st.one_of(st.none(), st.binary(max_size=300)), st.lists(st.binary(max_size=9), max_size=2)
        ),
        max_size=5,
    ),
    st.lists(_NAMES, max_size=3),
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, tuple[Metadata, bytes | None, list[bytes]]],
    deleted: list[str],
) -> None:
    place = tmp_path_factory.mktemp("round") / "t"
    items: list[LayerItem] = [folder("Files"), *(Tombstone(f"Files/{name}") for name in deleted)]
    for name, (metadata, data, streams) in sorted(
        files.items(), key=lambda pair: pair[0].encode("utf-8", "surrogatepass")
    ):
        items.append(Entry(f"Files/{name}", metadata, data=None if data is None else Stream.from_bytes(data)))
        items += [ads(f"Files/{name}", f"s{number}", content) for number, content in enumerate(streams)]

    def seen(found: list[LayerItem] | TransportFolderReader) -> list[object]:
        return [
            (
                type(i).__name__,
                i.path,
                repr(getattr(i, "metadata", "")),
                getattr(i, "name", ""),
                (d := getattr(i, "data", None)) and d.read(1 << 20),
            )
            for i in found
        ]

    from wclayer.ntfs.names import fold

    if len({fold(name) for name in files}) != len(files):
        return
    with TransportFolderWriter(place) as writer:
        copy_layer(items, writer)
    assert seen(TransportFolderReader(place)) == seen(items)


@given(st.binary(max_size=120))
def test_whatever_a_blob_holds_only_our_errors_come_out(tmp_path_factory: pytest.TempPathFactory, blob: bytes) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    (place / "Files").mkdir()
    (place / "Files" / "f").write_bytes(b"\x20\0\0\0" + blob)
    (place / "tombstones.txt").write_bytes(b"\xef\xbb\xbfVersion 1.0\n")
    for policy in ("faithful", "reference"):
        try:
            for item in TransportFolderReader(place, policy=policy):
                if isinstance(item, Entry | AlternateStream) and item.data and item.data.size < 1 << 20:
                    item.data.read(1 << 20)
        except WclayerError:
            pass
