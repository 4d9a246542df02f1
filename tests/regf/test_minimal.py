"""A minimal hive is 8192 bytes that a reader with its own idea of the format walks without a gap or a doubt."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer import regf
from wclayer.errors import UnsupportedError, UsageError
from wclayer.ntfs.names import fold
from wclayer.regf import HiveKey, HiveValue, minimal_hive

NOW = 132223104123456789


@dataclass
class ReadKey:
    name: str
    flags: int
    layer: int
    written: int
    subkeys: list[ReadKey] = field(default_factory=list)
    values: list[tuple[str, int, bytes]] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)

    def __getitem__(self, path: str) -> ReadKey:
        head, _, rest = path.partition("\\")
        found = next(key for key in self.subkeys if key.name == head)
        return found[rest] if rest else found


class Reader:
    """Walks a hive from its cells up; every allocated cell must be reached exactly once."""

    def __init__(self, hive: bytes) -> None:
        self.hive = hive
        self.reached: set[int] = set()
        self.security_users = 0
        self.cells = dict(self.walk_cells())
        self.security = struct.unpack_from("<I", self.cells[0x20], 44)[0]
        self.root = self.key(0x20, None)
        kind, _, following, previous, references, length = struct.unpack_from("<2sHIIII", self.cell(self.security))
        assert (kind, following, previous) == (b"sk", self.security, self.security)
        assert references == self.security_users
        self.descriptor = self.cells[self.security][20 : 20 + length]
        assert self.reached == set(self.cells)

    def walk_cells(self) -> Iterator[tuple[int, bytes]]:
        assert self.hive[4096:4100] == b"hbin"
        assert struct.unpack_from("<II", self.hive, 4100) == (0, 4096)
        offset = 32
        while offset < 4096:
            (size,) = struct.unpack_from("<i", self.hive, 4096 + offset)
            assert size % 8 == 0
            assert size != 0
            if size < 0:
                yield offset, self.hive[4096 + offset + 4 : 4096 + offset - size]
            else:
                assert offset + size == 4096, "only the rest of the bin is free"
            offset += abs(size)
        assert offset == 4096

    def cell(self, offset: int) -> bytes:
        assert offset not in self.reached
        self.reached.add(offset)
        return self.cells[offset]

    def key(self, offset: int, parent: int | None) -> ReadKey:
        cell = self.cell(offset)
        kind, flags, written, access, layer, spare = struct.unpack_from("<2sHQBBH", cell)
        assert (kind, access, spare) == (b"nk", 0, 0)
        words = struct.unpack_from("<14I", cell, 16)
        if parent is not None:
            assert words[0] == parent
        assert (words[2], words[4], words[8]) == (0, 0xFFFFFFFF, 0xFFFFFFFF)
        assert words[7] == self.security
        self.security_users += 1
        name_length, class_length = struct.unpack_from("<HH", cell, 72)
        assert class_length == 0
        name = text(cell[76 : 76 + name_length], latin1=bool(flags & 0x20))
        key = ReadKey(name, flags, layer, written)
        if words[1]:
            entries = self.cell(words[3])
            assert entries[:4] == b"lh" + struct.pack("<H", words[1])
            for index in range(words[1]):
                child, name_hash = struct.unpack_from("<II", entries, 4 + 8 * index)
                key.subkeys.append(self.key(child, offset))
                key.hashes.append(name_hash)
        else:
            assert words[3] == 0xFFFFFFFF
        if words[5]:
            for (value,) in struct.iter_unpack("<I", self.cell(words[6])[: 4 * words[5]]):
                key.values.append(self.value(value))
        else:
            assert words[6] == 0xFFFFFFFF
        assert words[9] == max((utf16_size(child.name) for child in key.subkeys), default=0)
        assert words[11] == max((utf16_size(value[0]) for value in key.values), default=0)
        assert words[12] == max((len(value[2]) for value in key.values), default=0)
        return key

    def value(self, offset: int) -> tuple[str, int, bytes]:
        cell = self.cell(offset)
        kind, name_length, size, data, type_, flags, spare = struct.unpack_from("<2sHIIIHH", cell)
        assert (kind, spare) == (b"vk", 0)
        name = text(cell[20 : 20 + name_length], latin1=flags == 1)
        if size & 0x80000000:
            assert size & 0x7FFFFFFF <= 4
            return name, type_, cell[8:12][: size & 0x7FFFFFFF]
        assert size > 4
        return name, type_, self.cell(data)[:size]


def text(raw: bytes, *, latin1: bool) -> str:
    return raw.decode("latin-1") if latin1 else raw.decode("utf-16-le", "surrogatepass")


def utf16_size(name: str) -> int:
    return len(name.encode("utf-16-le", "surrogatepass"))


TREE = (
    HiveKey("zeta"),
    HiveKey("Alpha", values=(HiveValue.sz("", "default"), HiveValue.dword("four", 0x01020304))),
    HiveKey(
        "ünïcode",
        values=(HiveValue("none", regf.REG_BINARY, b""), HiveValue("two", regf.REG_BINARY, b"ab")),
        subkeys=(HiveKey("日本語", values=(HiveValue("値", regf.REG_BINARY, bytes(range(100))),)),),
    ),
    HiveKey("_under"),
    HiveKey("beta", subkeys=(HiveKey("deep", subkeys=(HiveKey("deeper"),)),)),
)


def test_an_empty_hive_is_two_pages_with_a_root_and_a_descriptor() -> None:
    hive = minimal_hive("SOFTWARE", timestamp=NOW)
    assert len(hive) == 8192 == regf.HIVE_SIZE
    reader = Reader(hive)
    assert (reader.root.name, reader.root.flags, reader.root.layer, reader.root.written) == ("ROOT", 0x2C, 0, NOW)
    assert reader.root.subkeys == []
    assert reader.root.values == []
    assert len(reader.cells) == 2


def test_the_base_block_is_clean_and_its_checksum_holds() -> None:
    hive = minimal_hive("SOFTWARE", timestamp=NOW)
    assert struct.unpack_from("<4sIIQ", hive) == (b"regf", 1, 1, NOW)
    assert struct.unpack_from("<7I", hive, 20) == (1, 5, 0, 1, 0x20, 4096, 1)
    assert hive[48:112].decode("utf-16-le").rstrip("\0") == "SOFTWARE"
    assert hive[112:508] == bytes(396)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", hive[:508]):
        checksum ^= word
    assert struct.unpack_from("<I", hive, 508)[0] == checksum
    assert hive[512:4096] == bytes(3584)
    assert struct.unpack_from("<Q", hive, 4096 + 20)[0] == NOW


def test_a_delta_hive_is_version_1_6_with_the_layered_flag() -> None:
    hive = minimal_hive("System_Delta", delta=True)
    assert struct.unpack_from("<II", hive, 20) == (1, 6)
    assert struct.unpack_from("<I", hive, 144)[0] == 2
    assert Reader(hive).root.layer == 0


def test_delta_and_ordinary_hives_differ_only_in_the_base_block() -> None:
    assert minimal_hive("X", delta=True)[4096:] == minimal_hive("X")[4096:]


def test_a_tree_reads_back_with_every_value() -> None:
    root = Reader(minimal_hive("X", subkeys=TREE, values=[HiveValue.sz("r", "root")], timestamp=NOW)).root
    assert root.values == [("r", regf.REG_SZ, "root\0".encode("utf-16-le"))]
    assert root["Alpha"].values == [
        ("", regf.REG_SZ, "default\0".encode("utf-16-le")),
        ("four", regf.REG_DWORD, b"\x04\x03\x02\x01"),
    ]
    assert root["ünïcode"].flags == 0x20, "Latin-1 suffices"
    assert root["ünïcode"].values == [("none", 3, b""), ("two", 3, b"ab")]
    assert root["ünïcode\\日本語"].flags == 0
    assert root["ünïcode\\日本語"].values == [("値", 3, bytes(range(100)))]
    assert root["beta\\deep\\deeper"].written == NOW


def test_subkeys_are_ordered_by_their_upper_cased_names() -> None:
    root = Reader(minimal_hive("X", subkeys=TREE)).root
    assert [key.name for key in root.subkeys] == ["Alpha", "beta", "zeta", "_under", "ünïcode"]


def test_subkeys_beyond_the_basic_plane_are_ordered_by_utf16_unit() -> None:
    root = Reader(minimal_hive("X", subkeys=(HiveKey("\uff21"), HiveKey("\U0001f600")))).root
    assert [key.name for key in root.subkeys] == ["\U0001f600", "\uff21"]


def test_hashes_ignore_case_and_follow_the_published_rule() -> None:
    first = Reader(minimal_hive("X", subkeys=(HiveKey("ControlSet001"), HiveKey("ä")))).root.hashes
    second = Reader(minimal_hive("X", subkeys=(HiveKey("CONTROLSET001"), HiveKey("Ä")))).root.hashes
    assert first == second
    expected = 0
    for letter in "CONTROLSET001":
        expected = (expected * 37 + ord(letter)) % 2**32
    assert first == [expected, 0xC4]


def test_the_same_tree_gives_the_same_bytes_whatever_its_order() -> None:
    assert minimal_hive("X", subkeys=TREE) == minimal_hive("X", subkeys=TREE)
    empty = (HiveKey("b"), HiveKey("a"))
    assert Reader(minimal_hive("X", subkeys=empty)).root == Reader(minimal_hive("X", subkeys=empty[::-1])).root


def test_a_long_file_name_keeps_its_tail() -> None:
    path = "\\SystemRoot\\System32\\config\\SOFTWARE"
    hive = minimal_hive(path)
    assert hive[48:112] == path[-31:].encode("utf-16-le") + b"\0\0"


def test_layer_bytes_stand_in_delta_hives_only() -> None:
    key = HiveKey("gone", layer=regf.LAYER_TOMBSTONE)
    assert Reader(minimal_hive("X", delta=True, subkeys=(key,))).root["gone"].layer == 1
    with pytest.raises(UsageError, match="layer byte"):
        minimal_hive("X", subkeys=(key,))


@pytest.mark.parametrize("name", ["", "a\\b", "x" * 256])
def test_names_that_no_key_may_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        minimal_hive("X", subkeys=(HiveKey(name),))


def test_two_names_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        minimal_hive("X", subkeys=(HiveKey("Key"), HiveKey("KEY")))
    with pytest.raises(UsageError, match="twice"):
        minimal_hive("X", values=(HiveValue.sz("v", ""), HiveValue.sz("V", "")))


def test_a_tree_beyond_one_bin_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="one bin"):
        minimal_hive("X", subkeys=[HiveKey(f"key{number}") for number in range(60)])
    with pytest.raises(UnsupportedError, match="one bin"):
        minimal_hive("X", values=[HiveValue("big", regf.REG_BINARY, bytes(5000))])


def test_a_bin_may_be_filled_to_its_last_byte() -> None:
    used = 4096 - max(offset for offset in Reader(minimal_hive("X")).cells) - 8
    hives = []
    for size in range(used - 400, used, 4):
        try:
            hives.append(minimal_hive("X", values=[HiveValue("v", regf.REG_BINARY, bytes(size))]))
        except UnsupportedError:
            break
    else:
        pytest.fail("the bin never filled up")
    last = Reader(hives[-1])
    final = max(last.cells)
    assert final + 4 + len(last.cells[final]) == 4096, "no free cell is left"


def test_a_checksum_of_zero_is_stored_as_one() -> None:
    # The name takes part in the sum, so a name can be chosen that makes it zero.
    hive = bytearray(minimal_hive("\0\0"))
    stored = struct.unpack_from("<I", hive, 508)[0]
    name = struct.pack("<I", stored).decode("utf-16-le", "surrogatepass")
    assert struct.unpack_from("<I", minimal_hive(name), 508)[0] == 1
    name = struct.pack("<I", stored ^ 0xFFFFFFFF).decode("utf-16-le", "surrogatepass")
    assert struct.unpack_from("<I", minimal_hive(name), 508)[0] == 0xFFFFFFFE


names = st.text(st.characters(exclude_characters="\\"), min_size=1, max_size=12)
values = st.builds(HiveValue, names, st.integers(0, 2**32 - 1), st.binary(max_size=20))


def distinct(item: HiveKey | HiveValue) -> str:
    return fold(item.name)


@given(
    st.recursive(
        st.builds(HiveKey, names, st.lists(values, max_size=2, unique_by=distinct).map(tuple)),
        lambda children: st.builds(
            HiveKey,
            names,
            st.lists(values, max_size=2, unique_by=distinct).map(tuple),
            st.lists(children, max_size=3, unique_by=distinct).map(tuple),
        ),
        max_leaves=8,
    )
)
def test_any_small_tree_survives(tree: HiveKey) -> None:
    root = Reader(minimal_hive("X", subkeys=(tree,))).root

    def same(read: ReadKey, given: HiveKey) -> None:
        assert read.name == given.name
        assert read.values == [(value.name, value.type, value.data) for value in given.values]
        assert {key.name for key in read.subkeys} == {key.name for key in given.subkeys}
        for key in given.subkeys:
            same(next(found for found in read.subkeys if found.name == key.name), key)

    same(root.subkeys[0], tree)


def test_regipy_reads_the_same_tree(tmp_path: Path) -> None:
    registry = pytest.importorskip("regipy.registry")
    file = tmp_path / "SOFTWARE"
    file.write_bytes(minimal_hive("SOFTWARE", subkeys=TREE, timestamp=NOW))
    hive = registry.RegistryHive(str(file))
    assert hive.header.checksum == struct.unpack_from("<I", file.read_bytes(), 508)[0]
    # regipy takes every Latin-1 name for UTF-8, so only the ASCII ones compare.
    assert [key.name for key in hive.root.iter_subkeys()][:4] == ["Alpha", "beta", "zeta", "_under"]
    found = {value.name: value.value for value in hive.get_key("\\Alpha").iter_values()}
    assert found == {"(default)": "default", "four": 0x01020304}
