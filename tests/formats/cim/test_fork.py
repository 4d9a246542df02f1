"""A fork is its parent with changes: it says what both say, stores only what is new, and needs the parent's regions."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.formats.cim import images
from tests.formats.cim.layout import Layout
from wclayer.errors import (
    FormatError,
    IntegrityError,
    LimitError,
    NotFoundError,
    StoreError,
    UnsupportedError,
    UsageError,
)
from wclayer.formats.cim.dump import dump
from wclayer.formats.cim.files import cim_usage, destroy_cim, forks_of
from wclayer.formats.cim.profiles import LTSC2022, LTSC2025
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.streams import CimStream
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.cim.writer import CimWriter
from wclayer.model import Metadata

PLAIN = Metadata()
GUID = uuid.UUID("00112233-5544-4677-8899-aabbccddeeff")
OTHER = uuid.UUID("11112233-5544-4677-8899-aabbccddeeff")


def add(writer: CimWriter, path: str, data: bytes, metadata: Metadata = PLAIN) -> None:
    writer.add_file(path, metadata, len(data)).write(data)


def base(directory: Path, name: str = "base.cim", **options: object) -> None:
    with CimWriter(directory, name, **options) as writer:  # type: ignore[arg-type]
        writer.add_directory("d", Metadata(0x12, 1, 2, 3, 4))
        add(writer, "d/a", b"of the base", Metadata(0x21, 5, 6, 7, 8))
        writer.add_stream("d/a", "s", 4).write(b"four")
        writer.add_link("d/link", "d/a")
        add(writer, "d/b", b"b" * 5000)
        writer.add_directory("e", PLAIN)
        add(writer, "e/x", b"x")


def content(stream: CimStream) -> bytes | int:
    return stream.size if stream.is_sparse else b"".join(stream.pieces())


def tree(path: Path) -> dict[str, object]:
    """What an image says, without where it lies."""
    with CimImage.open(path) as image:
        assert [one for one in verify_cim(image) if one.severity == "error"] == []
        links: dict[int, str] = {}
        return {
            file.path: (
                file.is_directory,
                file.metadata,
                b"" if file.is_directory else content(file.default_stream),
                [(one.name, content(one)) for one in file.streams],
                links.setdefault(file.file_id, file.path),
            )
            for file in image.walk()
        }


def test_an_empty_fork_says_what_its_parent_says(tmp_path: Path) -> None:
    base(tmp_path)
    with CimWriter(tmp_path, "fork.cim", parent="base.cim", check="all"):
        pass
    assert tree(tmp_path / "fork.cim") == tree(tmp_path / "base.cim")
    layout = Layout(tmp_path / "fork.cim")
    layout.check()
    assert layout.sets == [Layout(tmp_path / "base.cim").own]
    assert layout.own[1] == 1
    assert {one.what for one in layout.extents} >= {"filesystem", "directory", "file table", "link table", "streams"}
    assert "upcase" not in {one.what for one in layout.extents}
    assert "data" not in {one.what for one in layout.extents}


def test_a_fork_adds_replaces_links_and_removes(tmp_path: Path) -> None:
    base(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with CimWriter(tmp_path, "fork.cim", parent="base.cim", check="all") as writer:
        assert writer.contains("D/LINK")
        writer.remove("D/B")
        writer.remove("e")
        add(writer, "D/A", b"of the fork")
        writer.add_directory("d/new", PLAIN)
        add(writer, "d/new/file", b"new")
        writer.add_stream("d/link", "S", 5).write(b"other")
        writer.add_stream("d/link", "t", 1).write(b"t")
        writer.add_link("linked too", "d/link")
    found = tree(tmp_path / "fork.cim")
    assert list(found) == ["", "d", "d/A", "d/link", "d/new", "d/new/file", "linked too"]
    assert found["d/A"] == (False, found["d/A"][1], b"of the fork", [], "d/A")  # type: ignore[index]
    linked = found["d/link"]
    assert linked[2:] == (b"of the base", [("S", b"other"), ("t", b"t")], "d/link")  # type: ignore[index]
    assert found["linked too"] == linked
    assert found["d"] == tree(tmp_path / "base.cim")["d"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    Layout(tmp_path / "fork.cim").check()


def test_a_folder_that_is_added_again_keeps_what_is_in_it(tmp_path: Path) -> None:
    base(tmp_path)
    with CimWriter(tmp_path, "fork.cim", parent="base.cim") as writer:
        writer.add_directory("D", Metadata(0x11, 9, 9, 9, 9))
        add(writer, "E", b"a file now")
    found = tree(tmp_path / "fork.cim")
    assert list(found) == ["", "D", "D/a", "D/b", "D/link", "E"]
    assert found["D"][1].attributes == 0x11  # type: ignore[index]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("small_limit", [0, 1024])
def test_forks_of_forks_equal_their_layers_in_one(tmp_path: Path, depth: int, small_limit: int) -> None:
    def change(writer: CimWriter, level: int) -> None:
        add(writer, "d/a", b"a of %d" % level)
        add(writer, f"d/own {level}", b"%d" % level * 3000)
        if level > 1:
            writer.remove(f"d/own {level - 1}")
            writer.add_link(f"link {level}", "d/link")
        writer.add_stream(f"d/own {level}", f"s{level}", 2).write(b"ss")

    base(tmp_path, "0.cim", small_limit=small_limit)
    for level in range(1, depth + 1):
        with CimWriter(tmp_path, f"{level}.cim", parent=f"{level - 1}.cim", small_limit=small_limit) as writer:
            change(writer, level)
    (tmp_path / "one").mkdir()
    with CimWriter(tmp_path / "one", "all.cim") as writer:
        writer.add_directory("d", Metadata(0x12, 1, 2, 3, 4))
        add(writer, "d/a", b"of the base", Metadata(0x21, 5, 6, 7, 8))
        writer.add_stream("d/a", "s", 4).write(b"four")
        writer.add_link("d/link", "d/a")
        add(writer, "d/b", b"b" * 5000)
        writer.add_directory("e", PLAIN)
        add(writer, "e/x", b"x")
        for level in range(1, depth + 1):
            change(writer, level)
    fork, one = tmp_path / f"{depth}.cim", tmp_path / "one/all.cim"
    assert tree(fork) == tree(one)
    layout = Layout(fork)
    layout.check()
    assert [guid for guid, _ in layout.sets] == [Layout(tmp_path / f"{n}.cim").own[0] for n in range(depth)]
    where = {"dataregion", "dataoffset", "sdoffset", "datarun"}
    with CimImage.open(fork) as image, CimImage.open(one) as other:
        for left, right in zip(dump(image), dump(other), strict=True):
            assert {k: v for k, v in left.items() if k not in where} == {
                k: v for k, v in right.items() if k not in where
            }


def test_a_fork_stores_only_what_is_new(tmp_path: Path) -> None:
    base(tmp_path)
    with CimWriter(tmp_path, "fork.cim", parent="base.cim") as writer:
        add(writer, "f", b"f")
        counts = writer.commit().counts
    assert counts["stored"] == 1
    assert counts["bytes"] == 1 + 11 + 5000 + 1
    assert cim_usage(tmp_path / "fork.cim") == 4096 + 8192 + 2 * 48


@pytest.mark.parametrize("profile", [LTSC2022, LTSC2025])
def test_a_fork_has_the_version_and_the_records_of_its_parent(tmp_path: Path, profile: object) -> None:
    chosen = LTSC2025 if profile is LTSC2025 else LTSC2022
    base(tmp_path, profile=chosen)
    with CimWriter(tmp_path, "fork.cim", parent="base.cim"):
        pass
    layout = Layout(tmp_path / "fork.cim")
    assert (layout.major, layout.tables) == (chosen.major, [(6, chosen.entry_size)])
    other = LTSC2022 if chosen is LTSC2025 else LTSC2025
    with pytest.raises(UsageError, match="version"):
        CimWriter(tmp_path, "no.cim", parent="base.cim", profile=other)
    assert not [path for path in tmp_path.iterdir() if "no" in path.name or path.name.startswith(".")]


def test_images_of_another_writer_can_be_forked(tmp_path: Path) -> None:
    """Everything the format has: streams in both layouts, PE images, tails of records, another upper-case table."""
    path = images.build(tmp_path, images.rich())
    with CimWriter(tmp_path, "fork.cim", parent=path.name, check="all") as writer:
        add(writer, "new file", b"new")
    before, after = tree(path), tree(tmp_path / "fork.cim")
    assert after.pop("new file")[2] == b"new"  # type: ignore[index]
    assert after == before
    with CimImage.open(path) as parent, CimImage.open(tmp_path / "fork.cim") as fork:
        tails = {file.path: file.tail for file in parent.walk()}
        assert {file.path: file.tail for file in fork.walk() if file.path in tails} == tails
        assert fork.upcase.data == parent.upcase.data


def test_what_is_not_known_is_not_forked(tmp_path: Path) -> None:
    for number, node in enumerate((images.file(b"x", flags=0x20), images.file(b"x", base_region=1))):
        directory = tmp_path / str(number)
        directory.mkdir()
        path = images.build(directory, images.folder({"odd": node}))
        with pytest.raises(UnsupportedError) as caught:
            CimWriter(directory, "fork.cim", parent=path.name)
        assert "odd" in str(caught.value)
        assert not (directory / "fork.cim").exists()
        assert not [found for found in directory.iterdir() if found.name.startswith(".")]


def test_streams_of_no_known_kind_are_not_forked(tmp_path: Path) -> None:
    base(tmp_path, guid=GUID)
    region = tmp_path / f"region_{GUID}_0"
    data = bytearray(region.read_bytes())
    with CimImage.open(tmp_path / "base.cim") as image:
        found = image.lookup("d/a")
        assert found is not None
        table = found.record.stream_table_offset
    data[table + 8 + 14] = 3  # the kind of the first stream
    region.write_bytes(data)
    with pytest.raises(UnsupportedError, match="no known meaning"):
        CimWriter(tmp_path, "fork.cim", parent="base.cim")


def test_streams_that_many_files_share_are_no_bomb(tmp_path: Path) -> None:
    """One table of 300 streams, and 2000 records that lead to it: 10 MB of names from an image of a few hundred KB."""
    shared = {f"stream {number}": images.Stream(b"") for number in range(300)}
    files = {f"{number}": images.file(streams={"s": images.Stream(b"")}) for number in range(2000)}
    path = images.build(tmp_path, images.folder({**files, "shared": images.file(streams=shared)}))
    region = next(
        found for found in tmp_path.iterdir() if found.name.startswith("region") and found.name.endswith("_0")
    )
    data = bytearray(region.read_bytes())
    with CimImage.open(path) as image:
        table = next(file.record.stream_table_offset for file in image.walk() if file.name == "shared")
        for file in image.walk():
            if file.record.stream_table_offset:
                at = data.index(file.raw_record) + 80
                data[at : at + 8] = table.to_bytes(8, "little")
    region.write_bytes(data)
    with pytest.raises(LimitError, match="alternate streams"):
        CimWriter(tmp_path, "fork.cim", parent=path.name)


def test_the_parent_must_be_an_image_in_the_same_directory(tmp_path: Path) -> None:
    with pytest.raises((NotFoundError, StoreError)):
        CimWriter(tmp_path, "fork.cim", parent="base.cim")
    (tmp_path / "base.cim").write_bytes(b"no image" * 20)
    with pytest.raises(FormatError):
        CimWriter(tmp_path, "fork.cim", parent="base.cim")
    with pytest.raises(UsageError):
        CimWriter(tmp_path, "fork.cim", parent="../base.cim")
    with pytest.raises(UsageError, match="into itself"):
        CimWriter(tmp_path, "fork.cim", parent="fork.cim")
    assert [path.name for path in tmp_path.iterdir()] == ["base.cim"]


def test_destroying_removes_what_is_its_own(tmp_path: Path) -> None:
    base(tmp_path)
    before = sorted(tmp_path.iterdir())
    with CimWriter(tmp_path, "fork.cim", parent="base.cim") as writer:
        add(writer, "f", b"f")
    with CimWriter(tmp_path, "deep.cim", parent="fork.cim"):
        pass
    assert forks_of(tmp_path / "base.cim") == [tmp_path / "deep.cim", tmp_path / "fork.cim"]
    assert forks_of(tmp_path / "deep.cim") == []
    assert destroy_cim(tmp_path / "deep.cim")[-1] == tmp_path / "deep.cim"
    fork = tree(tmp_path / "fork.cim")
    assert fork["f"][2] == b"f"  # type: ignore[index]
    assert len(destroy_cim(tmp_path / "fork.cim")) == 5
    assert sorted(tmp_path.iterdir()) == before
    destroy_cim(tmp_path / "base.cim")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFoundError):
        destroy_cim(tmp_path / "base.cim")


def test_what_is_no_image_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"text" * 100)
    for call in (destroy_cim, cim_usage, forks_of):
        with pytest.raises(FormatError):
            call(tmp_path / "text")
    assert (tmp_path / "text").exists()


def test_regions_that_two_images_own_stay_until_the_last_is_destroyed(tmp_path: Path) -> None:
    base(tmp_path)
    (tmp_path / "copy.cim").write_bytes((tmp_path / "base.cim").read_bytes())
    assert destroy_cim(tmp_path / "copy.cim") == [tmp_path / "copy.cim"]
    assert tree(tmp_path / "base.cim")
    destroy_cim(tmp_path / "base.cim")
    assert list(tmp_path.iterdir()) == []


def test_the_self_check_refuses_a_fork_of_a_damaged_parent(tmp_path: Path) -> None:
    """The data of the parent is cut off behind the writer's back; nothing is published."""
    base(tmp_path, guid=GUID)
    writer = CimWriter(tmp_path, "fork.cim", parent="base.cim")
    (tmp_path / f"region_{GUID}_1").write_bytes((tmp_path / f"region_{GUID}_1").read_bytes()[:4096])
    with pytest.raises(IntegrityError, match="does not read back"):
        writer.commit()
    assert not (tmp_path / "fork.cim").exists()
    assert len(list(tmp_path.iterdir())) == 5


def test_a_replaced_image_is_gone_with_its_regions(tmp_path: Path) -> None:
    base(tmp_path, guid=GUID)
    with pytest.raises(StoreError, match="exists"):
        CimWriter(tmp_path, "base.cim")
    with CimWriter(tmp_path, "base.cim", replace=True, guid=OTHER) as writer:
        add(writer, "new", b"new")
        assert list(tree(tmp_path / "base.cim"))[1] == "d"
    assert list(tree(tmp_path / "base.cim")) == ["", "new"]
    assert all(str(OTHER) in path.name or path.name == "base.cim" for path in tmp_path.iterdir())
    with CimWriter(tmp_path, "fork.cim", parent="base.cim"):
        pass
    with pytest.raises(StoreError, match=r"fork\.cim would lose their parent"):
        CimWriter(tmp_path, "base.cim", replace=True)
    with pytest.raises(StoreError, match="GUID"):
        CimWriter(tmp_path, "more.cim", guid=OTHER)
    (tmp_path / "text").write_bytes(b"text")
    with pytest.raises(StoreError, match="no image"):
        CimWriter(tmp_path, "text", replace=True)
    (tmp_path / "folder").mkdir()
    for replace in (False, True):
        with pytest.raises(StoreError):
            CimWriter(tmp_path, "folder", replace=replace)


def test_an_image_that_is_to_be_replaced_survives_an_error(tmp_path: Path) -> None:
    base(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FormatError), CimWriter(tmp_path, "base.cim", replace=True) as writer:
        writer.add_file("short", PLAIN, 5).write(b"1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_regions_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    orphan = tmp_path / f"region_{GUID}_0"
    orphan.write_bytes(b"mine")
    with pytest.raises(StoreError, match="already"):
        CimWriter(tmp_path, "a.cim", guid=GUID)
    assert orphan.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [orphan]
