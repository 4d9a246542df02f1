"""What an image holds comes out as it went in; what no image holds is refused by name."""

from __future__ import annotations

import os
import struct
import uuid
from pathlib import Path

import pytest

from tests.formats.cim.images import (
    DATA,
    GUID,
    NULL_DACL,
    OWNED,
    SMALL,
    Builder,
    Node,
    Stream,
    build,
    ea_list,
    file,
    folder,
    reparse_buffer,
    rich,
)
from wclayer.errors import FormatError, LimitError, NotFoundError, StoreError, UnsupportedError
from wclayer.formats.cim.links import MAX_TABLE
from wclayer.formats.cim.reader import CimImage, read_header
from wclayer.ntfs.ea import ExtendedAttribute

GENERATIONS = [(2, 96), (3, 96), (3, 104), (3, 200)]
OTHER = uuid.UUID("99999999-8888-4777-8666-555555555555")


def paths(image: CimImage) -> list[str]:
    return [found.path for found in image.walk()]


def get(image: CimImage, path: str) -> bytes:
    found = image.lookup(path)
    assert found is not None
    return found.open().read() or b""


@pytest.mark.parametrize(("major", "entry_size"), GENERATIONS)
@pytest.mark.parametrize("kind", [SMALL, DATA])
@pytest.mark.parametrize("order", [True, False])
def test_every_generation_is_read_alike(tmp_path: Path, major: int, entry_size: int, kind: int, *, order: bool) -> None:
    root = rich(3000)
    path = build(tmp_path, root, major=major, entry_size=entry_size, data_kind=kind, region_order=order)
    with CimImage.open(path) as image:
        assert image.version == (major, 0)
        walked = list(image.walk())
        assert len(walked) == 3000 + 24
        assert walked[0].path == ""
        assert [found.file_id for found in walked].count(image.lookup("first").file_id) == 2  # type: ignore[union-attr]
        for found in walked:
            assert len(found.raw_record) == entry_size
        assert get(image, "file 02999") == b"2999"
        assert get(image, "DIR/INNER") == b"i" * 5000
        assert get(image, "app.exe") == b"H" * 512 + b"T" * 1024


def test_all_that_a_record_says_comes_out(tmp_path: Path) -> None:
    tag, link = reparse_buffer()
    eas = ea_list((b"ONE", b"1"), (b"TWO", b"22"))
    sd = OWNED
    all_of_it = file(
        b"data", flags=0x1F, times=(1, 2, 3, 1 << 62), sd=sd, ea=eas, reparse=link, tag=tag, tail=b"8 bytes."
    )
    root = folder({"f": all_of_it}, flags=0x06, sd=None)
    with CimImage.open(build(tmp_path, root, entry_size=104)) as image:
        found = image.lookup("F")
        assert found is not None
        assert (found.path, found.name, found.file_id, found.parent_id, found.flags) == ("f", "f", 2, 1, 0x1F)
        assert found.attributes == 0x1 | 0x2 | 0x4 | 0x20 | 0x200 | 0x400
        times = (found.creation_time, found.last_write_time, found.change_time, found.last_access_time)
        assert times == (1, 2, 3, 1 << 62)
        assert (found.size, found.is_directory, found.security_descriptor) == (4, False, sd)
        assert found.ea_bytes == eas
        assert found.extended_attributes == (ExtendedAttribute(b"ONE", b"1"), ExtendedAttribute(b"TWO", b"22"))
        assert (found.reparse_tag, found.reparse, found.tail) == (tag, link, b"8 bytes.")
        metadata = found.metadata
        assert (metadata.attributes, metadata.creation_time, metadata.last_access_time) == (0x627, 1, 1 << 62)
        assert (metadata.last_write_time, metadata.change_time, metadata.security_descriptor) == (2, 3, sd)
        assert (metadata.reparse, metadata.extended_attributes) == (link, found.extended_attributes)
        assert (image.root.attributes, image.root.security_descriptor) == (0x16, None)
        assert (image.root.ea_bytes, image.root.extended_attributes, image.root.reparse) == (b"", (), None)
        assert image.root.streams == ()


@pytest.mark.parametrize(
    ("flag", "attribute"), [(0, 0), (1, 0x1), (2, 0x2), (4, 0x4), (8, 0x20), (16, 0x200), (0x8000, 0)]
)
def test_each_flag_is_one_attribute(tmp_path: Path, flag: int, attribute: int) -> None:
    with CimImage.open(build(tmp_path, folder({"f": file(flags=flag)}))) as image:
        found = image.lookup("f")
        assert found is not None
        assert (found.attributes, found.flags) == (attribute, flag)


def test_a_short_record_is_filled_up_with_zeros(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, rich(), entry_size=88)) as image:
        walked = list(image.walk())
        assert {found.parent_id for found in walked} == {0}
        assert {len(found.raw_record) for found in walked} == {88}
        assert {found.tail for found in walked} == {b""}


def test_version_1_is_read_on_request_only(tmp_path: Path) -> None:
    path = build(tmp_path, folder({"f": file(b"old")}), major=1, entry_size=88)
    with pytest.raises(UnsupportedError, match=r"version 1\.0 .*on request"):
        CimImage.open(path)
    with CimImage.open(path, version_1=True) as image:
        assert image.version == (1, 0)
        assert get(image, "f") == b"old"


def test_version_1_has_no_sparse_bit(tmp_path: Path) -> None:
    path = build(tmp_path, folder({"f": Node(Stream(sparse_size=5))}), major=1, entry_size=88)
    with CimImage.open(path, version_1=True) as image:
        found = image.lookup("f")
        assert found is not None
        assert (found.default_stream.is_sparse, found.default_stream.kind) == (False, 0x100)
        with pytest.raises(UnsupportedError, match="0x100"):
            found.open()


@pytest.mark.parametrize("major", [0, 4, 0xFFFFFFFF])
def test_other_versions_are_refused(tmp_path: Path, major: int) -> None:
    path = build(tmp_path, folder(), major=major)
    with pytest.raises(UnsupportedError, match="version"):
        CimImage.open(path, version_1=True)


def test_a_walk_goes_depth_first_in_the_order_of_the_folders(tmp_path: Path) -> None:
    root = folder({"b": folder({"y": file(), "X": folder({"1": file()})}), "A": file(), "c": folder()})
    with CimImage.open(build(tmp_path, root)) as image:
        assert paths(image) == ["", "A", "b", "b/X", "b/X/1", "b/y", "c"]
        assert [child.path for child in image.root.children()] == ["A", "b", "c"]
        below = image.lookup("b")
        assert below is not None
        assert [child.path for child in below.children()] == ["b/X", "b/y"]
        assert [len(list(child.children())) for child in image.root.children()] == [0, 2, 0]


def test_a_name_is_found_whatever_its_case(tmp_path: Path) -> None:
    inner = folder({"ЖУК.txt": file(b"beetle")})
    root = folder({"Übung": inner, "\ud800x": file(b"lone"), "\U0001f600": file(b"pair")})
    with CimImage.open(build(tmp_path, root)) as image:
        found = image.lookup("üBUNG/жук.TXT")
        assert found is not None
        assert found.path == "Übung/ЖУК.txt"
        assert get(image, "\ud800X") == b"lone"
        assert get(image, "\ud83d\ude00") == b"pair"
        assert image.lookup("") is not None
        for missing in ("Übung/", "/Übung", "Übung/x", "Übung/ЖУК.txt/x", "x", ".", ".."):
            assert image.lookup(missing) is None


def test_a_lookup_does_not_depend_on_the_order_of_names(tmp_path: Path) -> None:
    class Unsorted(Builder):
        def ordered(self, children: dict[str, Node]) -> list[tuple[str, Node]]:
            return sorted(children.items(), reverse=True)

    root = folder({name: file(name.encode()) for name in ("b", "C", "a", "D")})
    with CimImage.open(Unsorted().build(tmp_path, root)) as image:
        assert [get(image, name) for name in ("A", "B", "c", "d")] == [b"a", b"b", b"C", b"D"]


def test_many_folders_are_found_with_few_of_them_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.formats.cim.reader._CACHED_NAMES", 10)
    monkeypatch.setattr("wclayer.formats.cim.file_tables._CACHED", 10)
    monkeypatch.setattr("wclayer.formats.cim.reader._CACHED_COUNTED", 10)
    root = folder({f"d{number}": folder({f"f{number}": file(b"%d" % number)}) for number in range(1200)})
    with CimImage.open(build(tmp_path, root)) as image:
        for number in (3, 1199, 3, 600, 5):
            assert get(image, f"d{number}/F{number}") == b"%d" % number
        assert len(image._folders) < 10
        assert [found.security_descriptor for found in image.walk()].count(NULL_DACL) == 2401


def test_the_names_of_each_file_are_counted(tmp_path: Path) -> None:
    shared = file(b"x")
    root = folder({"a": shared, "d": folder({"b": shared, "c": file()}), "e": shared})
    with CimImage.open(build(tmp_path, root)) as image:
        counts = image.link_counts()
        one = image.lookup("a")
        assert one is not None
        assert counts[one.file_id] == 3
        assert sorted(counts.values()) == [1, 1, 1, 3]


def test_a_child_reads_the_regions_of_its_parents(tmp_path: Path) -> None:
    build(tmp_path, folder({"f": file(b"base")}), guid=OTHER)

    class Child(Builder):
        def put_data(self, data: bytes) -> int:
            return 1 << 48 | 40 if data == b"base" else super().put_data(data)

    child = Child(parents=((OTHER, 2),)).build(tmp_path, folder({"f": file(b"base"), "g": file(b"own")}), "child.cim")
    with CimImage.open(child) as image:
        assert image.region_names == tuple(f"region_{guid}_{number}" for guid in (OTHER, GUID) for number in (0, 1))
        assert [region.own for region in image.regions.regions] == [False, False, True, True]
        assert [parent.guid for parent in image.header.parents] == [OTHER]
        found = image.lookup("f")
        assert found is not None
        assert found.record.data_offset >> 48 == 1
        assert (get(image, "f"), get(image, "g")) == (b"base", b"own")


def test_a_missing_region_is_told_when_the_image_is_opened(tmp_path: Path) -> None:
    path = build(tmp_path, folder(), parents=((OTHER, 1),))
    with pytest.raises(FormatError, match=f"region_{OTHER}_0 is missing, a region of a parent") as caught:
        CimImage.open(path)
    assert caught.value.kind == "cim-region-missing"
    assert caught.value.image == str(path)
    build(tmp_path, folder())
    (tmp_path / f"region_{GUID}_1").unlink()
    with pytest.raises(FormatError, match=f"region_{GUID}_1 is missing, a region of the image"):
        CimImage.open(path)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        CimImage.open(tmp_path / "none.cim")
    (tmp_path / "short.cim").write_bytes(b"cimfile0" + bytes(63))
    with pytest.raises(FormatError, match="71 bytes"):
        CimImage.open(tmp_path / "short.cim")
    (tmp_path / "other.cim").write_bytes(b"MSWIM\0\0\0" + bytes(100))
    with pytest.raises(FormatError, match="does not begin with cimfile0"):
        CimImage.open(tmp_path / "other.cim")
    build(tmp_path, folder())
    with pytest.raises(FormatError, match="type 1"):
        CimImage.open(tmp_path / f"region_{GUID}_0")
    with pytest.raises(StoreError, match="no ordinary file"):
        CimImage.open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cim")
    with pytest.raises(StoreError, match="no ordinary file"):
        CimImage.open(tmp_path / "pipe.cim")
    path = build(tmp_path, folder({"f": file(b"x")}))
    (tmp_path / f"region_{GUID}_1").unlink()
    os.mkfifo(tmp_path / f"region_{GUID}_1")
    with pytest.raises(StoreError, match=f"region_{GUID}_1 is no ordinary file"):
        CimImage.open(path)


def test_the_header_alone_needs_no_regions(tmp_path: Path) -> None:
    path = build(tmp_path, folder(), parents=((OTHER, 1), (GUID, 2)))
    header = read_header(path)
    assert [(regions.guid, regions.size) for regions in (*header.parents, header.own)] == [
        (OTHER, 1),
        (GUID, 2),
        (GUID, 2),
    ]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="cut off in the list of its parents"):
        read_header(path)


def test_an_image_of_nothing_has_a_root(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder())) as image:
        assert paths(image) == [""]
        assert list(image.root.children()) == []


def test_a_folder_has_no_data(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"d": folder({"f": file()})}))) as image:
        found = image.lookup("d")
        assert found is not None
        assert found.size == 0
        for read in (found.open, found.pieces):
            with pytest.raises(UnsupportedError, match="type 0x1"):
                read()


def test_a_name_as_long_as_windows_allows_is_read_and_a_longer_one_refused(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"n" * 255: file(), "\U0001f600" * 127: file()}))) as image:
        assert sorted(map(len, paths(image))) == [0, 127, 255]
    path = build(tmp_path, folder({"n" * 256: file()}))
    with CimImage.open(path) as image, pytest.raises(FormatError, match="256 units"):
        list(image.walk())


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a:b", "a\0b"])
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, name: str) -> None:
    with CimImage.open(build(tmp_path, folder({"ok": file(), name: file()}))) as image:
        with pytest.raises(FormatError) as caught:
            list(image.walk())
        assert caught.value.kind == "cim-name"
        with pytest.raises(FormatError):
            image.lookup("ok")
        with pytest.raises(FormatError):
            list(image.root.children())


def test_a_table_larger_than_any_folder_is_refused_before_it_is_read(tmp_path: Path) -> None:
    builder = Builder()
    path = builder.build(tmp_path, folder({"f": file()}))
    region = tmp_path / f"region_{GUID}_0"
    with region.open("r+b") as data:
        data.seek(builder.objects["file table 0"] + 48)
        data.write(struct.pack("<Q", MAX_TABLE + 1 | 1 << 48))
        data.truncate(MAX_TABLE * 2)
    with CimImage.open(path) as image, pytest.raises(LimitError, match="a link table of"):
        list(image.walk())
