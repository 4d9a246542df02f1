"""A hive is read where it lies: lazily, by path, as a walk and as a whole, and all of them see the same."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.regf.trees import CLOSED, NOW, USUAL, any_names, trees
from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.regf import Hive, HiveKey, HiveValue, Key, first_difference, write_hive

DEEP = HiveKey("Windows NT", (), (HiveKey("CurrentVersion", (HiveValue.dword("UBR", 17763),)),))
TREE = HiveKey(
    "ROOT",
    (HiveValue.sz("", "the root"),),
    (
        HiveKey("Microsoft", (), (DEEP,)),
        HiveKey("Straße", (HiveValue.sz("Größe", "groß"),), class_name="Klasse", security=CLOSED, timestamp=NOW + 5),
        HiveKey("Link", flags=0x10),
    ),
)


def hive() -> Hive:
    return Hive(write_hive(TREE, name="SOFTWARE", timestamp=NOW), what="SOFTWARE")


def patched(offset: int, content: bytes) -> bytes:
    data = bytearray(write_hive(TREE, name="SOFTWARE", timestamp=NOW))
    data[offset : offset + len(content)] = content
    return bytes(data)


def test_the_base_block_says_what_the_hive_is() -> None:
    found = hive()
    assert (found.version, found.timestamp, found.name, found.is_delta, found.is_dirty) == (
        (1, 5),
        NOW,
        "SOFTWARE",
        False,
        False,
    )
    assert found.warnings == []
    delta = Hive(write_hive(HiveKey("ROOT"), name="d", delta=True))
    assert (delta.version, delta.is_delta) == ((1, 6), True)


def test_keys_are_found_by_path_whatever_the_case() -> None:
    found = hive().key("microsoft\\WINDOWS nt\\currentversion")
    assert (found.name, found.path) == ("CurrentVersion", "Microsoft\\Windows NT\\CurrentVersion")
    value = found.value("ubr")
    assert value is not None
    assert value.number() == 17763
    assert found.value("nothing") is None
    assert hive().key("").name == "ROOT"
    assert hive().key("STRAßE").name == "Straße"
    with pytest.raises(NotFoundError, match="no key 'strasse'"):
        hive().key("strasse")
    with pytest.raises(NotFoundError, match="'Microsoft'"):
        hive().key("Microsoft\\Nothing\\Below")


def test_a_key_has_class_descriptor_time_and_flags() -> None:
    found = hive().key("Straße")
    assert (found.class_name, found.security, found.timestamp, found.layer) == ("Klasse", CLOSED, NOW + 5, 0)
    link = hive().key("Link")
    assert (link.class_name, link.security, link.flags) == (None, USUAL, 0x10)
    assert [value.name for value in found.values] == ["Größe"]
    root = hive().root
    assert [key.name for key in root.subkeys] == ["Link", "Microsoft", "Straße"]
    default = root.value("")
    assert default is not None
    assert default.text() == "the root"


@settings(deadline=None)
@given(trees(any_names))
def test_every_way_of_reading_sees_the_same(tree: HiveKey) -> None:
    found = Hive(write_hive(tree, name="x"))
    assert first_difference(found.tree(), tree, order_of_values=True) is None
    walked = [(path, key) for path, key in found.walk()]
    lazily = list(down(found.root))
    assert [path for path, _ in walked] == [key.path for key in lazily]
    for (_, values), key in zip(walked, lazily, strict=True):
        for what in ("name", "values", "layer", "class_name", "security", "timestamp", "flags"):
            assert getattr(key, what) == getattr(values, what)
        for value in key.values:
            assert key.value(value.name) == value
        for below in key.subkeys:
            again = key.subkey(below.name)
            assert again is not None
            assert again.path == below.path
        assert first_difference(key.tree(), values, timestamps=False) is None or key.subkeys


def down(key: Key) -> list[Key]:
    return [key, *(found for below in key.subkeys for found in down(below))]


@pytest.mark.parametrize("minor", [3, 4, 5, 6])
@pytest.mark.parametrize("count", [1, 507, 508, 2000])
def test_a_subkey_is_found_in_every_kind_of_list(minor: int, count: int) -> None:
    root = HiveKey("ROOT", (), tuple(HiveKey(f"Key {number}") for number in range(count)))
    found = Hive(write_hive(root, name="x", minor=minor)).root
    for number in {0, count // 2, count - 1}:
        key = found.subkey(f"KEY {number}")
        assert key is not None
        assert key.name == f"Key {number}"
    assert found.subkey(f"Key {count}") is None


def test_lists_without_hints_are_read_too() -> None:
    # Windows writes li where all it needs are offsets; the same list as lh, by hand.
    data = bytearray(write_hive(TREE, name="x"))
    at = data.index(b"lh\3\0")
    offsets = struct.unpack_from("<6I", data, at + 4)[::2]
    struct.pack_into("<2sH3I", data, at, b"li", 3, *offsets)
    found = Hive(bytes(data))
    assert first_difference(found.tree(), Hive(write_hive(TREE, name="x")).tree()) is None
    assert found.key("straße").name == "Straße"


def test_a_hive_is_read_from_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "SOFTWARE"
    path.write_bytes(write_hive(TREE, name="SOFTWARE", timestamp=NOW))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        found = Hive(buffer, what="SOFTWARE")
        assert found.key("Straße").security == CLOSED
        tree = found.tree()
    assert first_difference(tree, hive().tree()) is None
    for buffer_type in (bytearray, memoryview):
        assert first_difference(Hive(buffer_type(path.read_bytes())).tree(), tree) is None


def test_values_say_what_they_hold() -> None:
    assert HiveValue.sz("", "text\0rest").text() == "text"
    assert HiveValue("", 1, b"a\0b").text() == "a"
    assert HiveValue.multi_sz("", "a", "", "b").texts() == ["a"]
    assert HiveValue("", 7, b"a\0b\0").texts() == ["ab"]
    assert HiveValue("", 5, b"\0\0\1\0").number() == 256
    cases = [
        (HiveValue.sz("", "t"), "t"),
        (HiveValue.expand_sz("", "%t%"), "%t%"),
        (HiveValue.multi_sz("", "a", "b"), ["a", "b"]),
        (HiveValue.dword("", 7), 7),
        (HiveValue.qword("", 1 << 63), 1 << 63),
        (HiveValue("", 4, b"abc"), b"abc"),
        (HiveValue("", 3, b"abc"), b"abc"),
    ]
    for value, decoded in cases:
        assert value.decoded() == decoded


def test_a_dirty_hive_is_read_with_a_warning() -> None:
    for data in (patched(8, b"\2"), patched(508, b"\0\0\0\0")):
        found = Hive(data, what="Hives/Software_Base")
        assert found.is_dirty
        assert found.warnings == ["Hives/Software_Base is dirty: its last write was not completed"]
        assert found.key("Microsoft").name == "Microsoft"


def test_a_cut_hive_is_read_as_far_as_it_goes() -> None:
    root = HiveKey("ROOT", (), tuple(HiveKey(f"k{number:04}") for number in range(500)))
    data = write_hive(root, name="x")
    found = Hive(data[:-4096])
    assert found.warnings == [
        f"the hive is cut off: {len(data) - 8192} of {len(data) - 4096} bytes of its bins are there"
    ]
    with pytest.raises(FormatError):
        found.tree()


def test_a_padded_hive_is_read() -> None:
    assert Hive(write_hive(TREE, name="x") + bytes(100_000)).warnings == []


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"regf", FormatError, "too few"),
        (bytes(8192), FormatError, "no registry hive"),
        (patched(20, b"\2"), UnsupportedError, "version 2.5"),
        (patched(24, b"\2"), UnsupportedError, "version 1.2"),
        (patched(24, b"\7"), UnsupportedError, "version 1.7"),
        (patched(28, b"\6"), UnsupportedError, "type 6"),
        (patched(32, b"\2"), UnsupportedError, "format 2"),
    ],
)
def test_what_is_no_hive_is_refused(data: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Hive(data)


def test_the_tombstones_of_values_are_read() -> None:
    root = HiveKey("ROOT", (HiveValue.deleted("gone"), HiveValue.dword("here", 1)))
    found = Hive(write_hive(root, name="d", delta=True)).root
    assert [(value.name, value.tombstone, value.type, value.data) for value in found.values] == [
        ("gone", True, 0, b""),
        ("here", False, 4, b"\1\0\0\0"),
    ]
    assert found.value("GONE") == HiveValue.deleted("gone")
