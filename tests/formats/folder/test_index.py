"""Entries are found as Windows would find them, and a damaged database says so."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from tests.formats.folder.layers import LINK_BUFFER, alternate, file, folder, plain, read, sparse, symlink, write
from wclayer.errors import (
    FormatError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UnsupportedError,
    UsageError,
    WclayerError,
)
from wclayer.formats.folder import (
    IndexWriter,
    LayerFolder,
    LayerFolderReader,
    LayerIndex,
    read_layer_chain,
    verify_folder,
)
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute


def test_a_lookup_takes_no_notice_of_case(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("Files/Windows/Straße/ÄÖÜ.txt"), file("top"))
    with LayerFolder(path) as opened:
        for spelling in (
            "Files/Windows/Straße/ÄÖÜ.txt",
            "FILES/windows/sTRAßE/äöü.TXT",
            "files/WINDOWS/straße/Äöü.txt",
        ):
            node = opened.lookup(spelling)
            assert node is not None
            assert node.path == "Files/Windows/Straße/ÄÖÜ.txt"
        # NTFS folds one unit to one unit: "SS" is not "ß".
        assert opened.lookup("files/windows/strasse/äöü.txt") is None
        for missing in ("", "Files/other", "Files/Windows/x/y", "top/below", "Files/Windows/Straße/ÄÖÜ.txt/x"):
            assert opened.lookup(missing) is None


def test_a_lookup_follows_all_spellings_of_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("Files/a", b"1"), file("files/b", b"2"), file("FILES/b", b"3"))
    with LayerFolder(path) as opened:
        assert [node.path for node in opened.spellings("fILES/A")] == ["Files/a"]
        assert [node.path for node in opened.spellings("FILES/B")] == ["files/b", "FILES/b"]
        node = opened.lookup("FILES/b")
        assert node is not None
        assert node.path == "FILES/b"


def test_children_are_listed_in_folded_order(tmp_path: Path) -> None:
    names = ["b", "A", "_", "a2", "Z", "ä"]
    path = write(tmp_path / "layer", *(file(f"d/{name}") for name in names), Tombstone("d/gone"))
    with LayerFolder(path) as opened:
        node = opened.lookup("d")
        assert [child.name for child in opened.children(node)] == ["A", "a2", "b", "gone", "Z", "_", "ä"]
        assert [child.name for child in opened.children()] == ["d"]


def test_a_deletion_is_known_for_the_path_and_all_below(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", Tombstone("Files/gone"), file("Files/here"), file("Files/gone/again"))
    with LayerFolder(path) as opened:
        assert opened.is_deleted("files/GONE")
        assert opened.is_deleted("Files/gone/below/it")
        assert not opened.is_deleted("Files/here")
        assert not opened.is_deleted("Files")
        assert [node.path for node in opened.tombstones()] == ["Files/gone"]
        node = opened.lookup("Files/Gone")
        assert node is not None
        assert node.is_folder


def test_a_reparse_point_on_the_way_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", symlink("Files/Link", is_directory=True))
    with LayerFolder(path) as opened:
        found = opened.reparse_point_above("files/link/x/y")
        assert found is not None
        assert found.path == "Files/Link"
        assert opened.reparse_point_above("Files/Link") is None
        assert opened.reparse_point_above("other/x") is None


def test_what_has_no_data_gives_none(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", folder("d"), file("none", None), file("empty"), Tombstone("gone"))
    with LayerFolder(path) as opened:
        sizes = {}
        for node in opened.nodes():
            data = opened.open_data(node)
            sizes[node.path] = None if data is None else data.size
    assert sizes == {"d": None, "none": None, "empty": 0, "gone": None}


def test_data_names_the_file_that_holds_it(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("d/a", b"1"))
    with LayerFolder(path) as opened:
        node = opened.lookup("d/a")
        assert node is not None
        data = opened.open_data(node)
        assert data is not None
        assert data.host_path == bytes(path / "d/a")
        assert [data.read(9), data.read(9)] == [b"1", b"1"]


def test_a_layer_can_be_poured_into_another(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        folder("Files", security_descriptor=b"1"),
        file("Files/a", b"x" * 100_000),
        alternate("Files/a", ":s:$DATA", bytes(70_000)),
        sparse("Files/s", 1 << 20, (4096, b"abc")),
        HardLink("Files/l", "Files/a"),
        Tombstone("Files/t"),
    ]
    path = write(tmp_path / "first", *items)
    with LayerFolder(path) as opened:
        for linked in (False, True):
            second = write(tmp_path / f"second{linked}", *LayerFolderReader(opened), link_host_files=linked)
            assert read(second) == read(path) == plain(items)
            with LayerFolder(second) as copied:
                assert verify_folder(copied) == []


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError):
        LayerFolder(tmp_path / "missing")
    with pytest.raises(NotFoundError):
        LayerFolder(tmp_path / "empty")
    with pytest.raises(StoreError):
        LayerFolder(tmp_path / "file")
    with pytest.raises(NotFoundError):
        LayerIndex.open(tmp_path / "missing.db")


def test_a_layer_of_another_program_is_told_from_no_layer(tmp_path: Path) -> None:
    (tmp_path / "layer/Files").mkdir(parents=True)
    with pytest.raises(UnsupportedError, match="another program"):
        LayerFolder(tmp_path / "layer")


def changed(path: Path, *statements: str) -> None:
    """Change the database of a layer behind its back."""
    (path / "layer.db").chmod(0o644)
    database = sqlite3.connect(path / "layer.db", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "layer")
    changed(path, "PRAGMA user_version = 2")
    with pytest.raises(UnsupportedError, match="version 2"):
        LayerFolder(path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "layer")
    changed(path, "PRAGMA application_id = 1")
    with pytest.raises(FormatError, match="not that of a layer"):
        LayerFolder(path)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, b"SQLite format 3\0" + bytes(4080)])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "layer")
    (path / "layer.db").chmod(0o644)
    (path / "layer.db").write_bytes(content)
    with pytest.raises(FormatError):
        LayerFolder(path)


ITEMS: list[LayerItem] = [
    folder("Files", security_descriptor=b"1" * 50),
    file("Files/a", b"x" * 10, extended_attributes=(ExtendedAttribute(b"A", b"1"),), last_access_time=1 << 63),
    alternate("Files/a", ":s:$DATA", b"y" * 10),
    sparse("Files/s", 1 << 20, (4096, b"abc")),
    HardLink("Files/l", "Files/a"),
    file("Files/\ud800", b"z", reparse=LINK_BUFFER),
    alternate("orphan", ":s:$DATA", b"z"),
    Tombstone("Files/t"),
]

DAMAGES = [
    "UPDATE entry SET parent = id",
    "UPDATE entry SET parent = 'x'",
    "UPDATE entry SET parent = 12345",
    "UPDATE entry SET parent = 4 WHERE id = 1",
    "UPDATE entry SET name = 5",
    "UPDATE entry SET name = NULL",
    "UPDATE entry SET name = '../../../etc/passwd'",
    "UPDATE entry SET host = '../../../etc/passwd'",
    "UPDATE entry SET host = x'2e2e'",
    "UPDATE entry SET host = 7",
    "UPDATE entry SET kind = 'file'",
    "UPDATE entry SET attributes = 'none'",
    "UPDATE entry SET last_write_time = 'yesterday'",
    "UPDATE entry SET last_write_time = 1.5",
    "UPDATE entry SET security = 99",
    "UPDATE security SET descriptor = 7",
    "UPDATE entry SET ea = x'ffffffff'",
    "UPDATE entry SET ea = 'text'",
    "UPDATE entry SET reparse = 5",
    "UPDATE entry SET size = -1",
    "UPDATE entry SET size = 'x'",
    "UPDATE entry SET size = 1 << 62",
    "UPDATE entry SET ranges = x'0102'",
    "UPDATE entry SET ranges = 'x'",
    "UPDATE entry SET ranges = 12",
    "UPDATE entry SET ranges = x'ffffffffffffffffffffffffffffffff'",
    "UPDATE entry SET target = 5 WHERE kind = 3",
    "UPDATE entry SET target_entry = 77 WHERE kind = 3",
    "UPDATE entry SET target_entry = id WHERE kind = 3",
    "UPDATE entry SET ordinal = 'x'",
    "UPDATE stream SET entry = 99",
    "UPDATE stream SET name = 5",
    "UPDATE stream SET owner = 5",
    "UPDATE stream SET size = 5",
    "UPDATE stream SET size = NULL",
    "UPDATE stream SET content = NULL",
    "UPDATE stream SET content = NULL, host = '../layer.db'",
    "UPDATE stream SET content = 'text'",
    "UPDATE stream SET ranges = x'00'",
    "UPDATE layer SET value = '[' WHERE key = 'parents'",
    "UPDATE layer SET value = NULL WHERE key = 'parents'",
    "DELETE FROM entry WHERE id = 1",
    "DROP TABLE stream",
    "DROP TABLE entry",
    "DROP TABLE layer",
]


def used(path: Path) -> None:
    """Everything that can be read of a layer."""
    with LayerFolder(path) as opened:
        opened.facts  # noqa: B018 - read for what it raises
        opened.notices()
        for node in opened.nodes():
            node.metadata()
            opened.streams(node)
            opened.lookup(node.path)
        plain(LayerFolderReader(opened))


@pytest.mark.parametrize("statement", DAMAGES)
def test_a_damaged_database_is_an_integrity_error_and_never_leaves_the_layer(tmp_path: Path, statement: str) -> None:
    path = write(tmp_path / "layer", *ITEMS)
    used(path)
    changed(path, statement)
    with suppress(WclayerError):
        used(path)
    with LayerFolder(path) as opened:
        try:
            findings = verify_folder(opened)
        except WclayerError:
            return
    assert findings or statement == "UPDATE entry SET target_entry = id WHERE kind = 3"


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_never_anything_but_an_error_of_this_package(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path / "layer", *ITEMS, *(file(f"Files/{number}", b"1") for number in range(100)))
    generator = random.Random(seed)
    content = bytearray((path / "layer.db").read_bytes())
    for _ in range(generator.randrange(1, 30)):
        content[generator.randrange(len(content))] = generator.randrange(256)
    (path / "layer.db").chmod(0o644)
    (path / "layer.db").write_bytes(content[: generator.choice([len(content), generator.randrange(len(content))])])
    try:
        used(path)
        with LayerFolder(path) as opened:
            verify_folder(opened)
    except WclayerError:
        pass


@pytest.mark.parametrize(
    ("text", "parents"),
    [
        (b"null", ()),
        (b"[]", ()),
        (b'["/b", "/a"]\n', (Path("/b"), Path("/a"))),
        (rb'["C:\\layers\\b"]', (Path("C:\\layers\\b"),)),
    ],
)
def test_layerchain_json_is_read_as_docker_writes_it(tmp_path: Path, text: bytes, parents: tuple[Path, ...]) -> None:
    assert read_layer_chain(tmp_path) == ()
    (tmp_path / "layerchain.json").write_bytes(text)
    assert read_layer_chain(tmp_path) == parents


@pytest.mark.parametrize(
    "text", [b"", b"{", b"5", b'{"a": 1}', b"[5]", b'[""]', b"\xff", b"[" * 100_000, b" " * (2 << 20)]
)
def test_a_damaged_layerchain_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "layerchain.json").write_bytes(text)
    with pytest.raises(IntegrityError):
        read_layer_chain(tmp_path)


def test_an_index_is_written_without_the_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", *ITEMS)
    with IndexWriter(tmp_path / "index.db", facts={"diff_id": "sha256:0"}) as writer:
        for item in ITEMS:
            writer.write(item)
    writer.index.close()
    with LayerIndex.open(tmp_path / "index.db") as index, LayerFolder(path) as opened:
        assert index.facts["diff_id"] == "sha256:0"
        described = [
            [(node.path, node.kind, node.size, node.metadata()) for node in each.nodes()] for each in (index, opened)
        ]
        assert described[0] == described[1]
        node = index.lookup("files/L")
        assert node is not None
        target = node.target_node()
        assert target is not None
        assert target.path == "Files/a"


def test_a_private_index_holds_checksums_when_asked_for() -> None:
    import zlib

    for checksums in (False, True):
        with IndexWriter(checksums=checksums) as writer:
            writer.write(file("a", b"data"))
        with writer.index as index:
            node = index.lookup("A")
            assert node is not None
            assert node.size == 4
            assert node.crc32 == (zlib.crc32(b"data") if checksums else None)


def indexed(path: Path, items: list[LayerItem]) -> None:
    with IndexWriter(path) as writer:
        for item in items:
            writer.write(item)


def test_an_index_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    for items in (
        [file("a"), file("a")],
        [file("A"), file("a/b")],
        [folder("d"), folder("d")],
        [file("a"), folder("a")],
    ):
        with pytest.raises(WclayerError):
            indexed(tmp_path / "index.db", items)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "index.db").write_text("precious")
    with pytest.raises(StoreError):
        IndexWriter(tmp_path / "index.db")
    assert (tmp_path / "index.db").read_text() == "precious"


def test_data_is_not_read_for_an_index() -> None:
    def source(_stored: int) -> None:
        raise AssertionError

    with IndexWriter() as writer:
        writer.write(Entry("a", Metadata(), data=Stream(5, source)))  # type: ignore[arg-type]
        writer.write(AlternateStream("a", ":s:$DATA", Stream(5, source)))  # type: ignore[arg-type]
    writer.index.close()


def test_an_index_writer_can_be_given_up_and_used_once(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "index.db")
    writer.write(file("a"))
    with pytest.raises(UsageError):
        writer.index  # noqa: B018 - read for what it raises
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError):
        writer.write(file("b"))
    with pytest.raises(UsageError):
        writer.commit()
    with IndexWriter() as second:
        second.set_facts(tar_size=5)
    with second.index as index:
        assert index.facts["tar_size"] == 5
    second.abort()


def test_layers_larger_than_what_is_remembered_of_them_are_read_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wclayer.formats.folder.index._CACHED_BYTES", 100)
    monkeypatch.setattr("wclayer.formats.folder.index_builder._RECENT", 3)
    items = [
        file(f"{number % 7}/{number % 5}/{number}", security_descriptor=bytes([number % 9]) * 60)
        for number in range(99)
    ]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        for item in items:
            node = opened.lookup(item.path)
            assert node is not None
            assert node.path == item.path
        assert verify_folder(opened) == []
