"""Hives written here are read alike by six readers of other people, key for key and value for value.

What a reader has no notion of is said in ``other_readers``: hivexml knows no classes, times in full or descriptors,
reglookup no fractions of a second, and three of the others give no descriptor.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import missing
from tests.regf.other_readers import READERS, Reader, Seen, expected
from tests.regf.trees import CLOSED, NOW, OPEN, USUAL, large_tree
from wclayer.ntfs.security import parse
from wclayer.regf import HiveKey, HiveValue, minimal_hive, write_hive

every_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.label)


@pytest.fixture(autouse=True)
def installed(reader: Reader) -> None:
    if not reader.available:
        missing(reader.label)


def owner(descriptor: bytes) -> str:
    return str(parse(descriptor).owner)


def key(name: str, *values: HiveValue, subkeys: tuple[HiveKey, ...] = (), security: bytes = USUAL) -> HiveKey:
    return HiveKey(name, values, subkeys, security=security, timestamp=NOW)


def check(reader: Reader, tree: HiveKey, folder: Path, *, minor: int | None = None) -> None:
    path = folder / "hive"
    path.write_bytes(write_hive(tree, name="SOFTWARE", timestamp=NOW, minor=minor))
    assert_same(reader.read(path, True), expected(reader, tree, owner), reader.knows)


def assert_same(seen: dict[str, Seen], wanted: dict[str, Seen], facts: frozenset[str]) -> None:
    assert seen.keys() == wanted.keys()
    for where, should in wanted.items():
        assert seen[where].values == should.values, where
        for fact in facts:
            assert getattr(seen[where], fact) == getattr(should, fact), where


COMMON = (
    HiveValue.sz("", "the default value"),
    HiveValue.sz("text", "some text"),
    HiveValue.sz("other text", "ünïcode, 日本語"),
    HiveValue.expand_sz("path", "%SystemRoot%\\System32"),
    HiveValue.multi_sz("list", "one", "two"),
    HiveValue("binary", 3, bytes(range(100))),
    HiveValue("short", 3, b"ab"),
    HiveValue("empty", 3, b""),
    HiveValue("nothing", 0, b""),
    HiveValue("untyped", 0, b"123456"),
    HiveValue.dword("dword", 0x01020304),
    HiveValue.qword("qword", 0x0102030405060708),
)


@every_reader
@pytest.mark.parametrize("minor", [3, 4, 5, 6])
def test_values_of_the_usual_types(reader: Reader, minor: int, tmp_path: Path) -> None:
    check(reader, key("ROOT", subkeys=(key("Values", *COMMON), key("None"))), tmp_path, minor=minor)


@every_reader
def test_values_of_unusual_types(reader: Reader, tmp_path: Path) -> None:
    if reader.label == "regipy":
        pytest.skip("regipy shows no data of a big-endian DWORD and guesses at types that it does not know")
    odd = (
        HiveValue("big-endian", 5, b"\0\0\1\2"),
        HiveValue("unknown", 0x1234, b"any bytes"),
        HiveValue("3", 3, b"abc"),
    )
    check(reader, key("ROOT", *odd), tmp_path)


@every_reader
def test_an_empty_hive_of_a_base_layer(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "hive"
    path.write_bytes(minimal_hive("SOFTWARE", timestamp=NOW))
    assert list(reader.read(path, True)) == [""]
    check(reader, key("ROOT"), tmp_path)


@every_reader
def test_names_beyond_latin1(reader: Reader, tmp_path: Path) -> None:
    names = ("日本語", "Ωmega", "\U0001f600", "ﬁ", "Straße", "ÿ", "mixed ü and Ж")
    subkeys = tuple(key(name, HiveValue.sz(name, name)) for name in names)
    check(reader, key("ROOT", subkeys=subkeys), tmp_path)


@every_reader
def test_classes_and_distinct_descriptors(reader: Reader, tmp_path: Path) -> None:
    subkeys = tuple(
        HiveKey(f"k{number}", (), (), 0, named, security, NOW + number)
        for number, (named, security) in enumerate(
            [("Class", USUAL), (None, CLOSED), ("a longer class", OPEN), (None, USUAL), (None, OPEN)]
        )
    )
    check(reader, key("ROOT", subkeys=subkeys), tmp_path)


@every_reader
def test_data_of_a_megabyte(reader: Reader, tmp_path: Path) -> None:
    values = tuple(
        HiveValue(f"{size} bytes", 3, (bytes(range(251)) * (size // 251 + 1))[:size])
        for size in (16344, 16345, 16348, 2 * 16344, 2 * 16344 + 1, 1 << 20)
    )
    check(reader, key("ROOT", subkeys=(key("Large", *values),)), tmp_path)


@every_reader
@pytest.mark.parametrize("count", [506, 507, 508, 1014, 1015, 5000])
def test_as_many_subkeys_as_need_an_index_of_lists(reader: Reader, count: int, tmp_path: Path) -> None:
    subkeys = tuple(key(f"{(number * 7919) % 99991:05}") for number in range(count))
    check(reader, key("ROOT", subkeys=subkeys), tmp_path)


@every_reader
@pytest.mark.slow
def test_a_hundred_thousand_keys(reader: Reader, tmp_path: Path) -> None:
    tree = large_tree(100_000)
    path = tmp_path / "hive"
    path.write_bytes(write_hive(tree, name="SOFTWARE", timestamp=NOW))
    seen = reader.read(path, False)
    assert (len(seen), sum(len(found.values) for found in seen.values())) == (100_000, 200_000)
    assert_same(seen, expected(reader, tree, None), reader.knows & {"timestamp"})
