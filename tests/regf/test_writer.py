"""A hive is written as Windows requires it: cells that fill their bins, ordered lists, shared descriptors."""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.regf.trees import CLOSED, NOW, OPEN, USUAL, any_names, deltas, trees
from wclayer.errors import LimitError, UsageError
from wclayer.ntfs.names import fold, to_utf16le
from wclayer.regf import Hive, HiveKey, HiveValue, first_difference, save_hive, write_hive


def cells(hive: bytes) -> Iterator[tuple[int, bytes]]:
    """The cells in use, by offset, of a hive whose bins are looked at on the way."""
    assert len(hive) % 4096 == 0
    assert struct.unpack_from("<I", hive, 40)[0] == len(hive) - 4096
    at = 4096
    while at < len(hive):
        mark, offset, size = struct.unpack_from("<4sII", hive, at)
        assert (mark, offset, size % 4096) == (b"hbin", at - 4096, 0)
        assert struct.unpack_from("<Q", hive, at + 20)[0] == (NOW if at == 4096 else 0)
        position, end = at + 32, at + size
        free = 0
        while position < end:
            (length,) = struct.unpack_from("<i", hive, position)
            assert length % 8 == 0
            assert 8 <= abs(length) <= end - position, "a cell leaves its bin"
            if length < 0:
                yield position - 4096, hive[position + 4 : position - length]
            free += length > 0
            position += abs(length)
        assert free <= 1, "free cells side by side"
        at = end


def written(root: HiveKey, *, delta: bool = False, minor: int | None = None) -> bytes:
    return write_hive(root, name="x", timestamp=NOW, delta=delta, minor=minor)


@settings(deadline=None)
@given(trees(any_names))
def test_every_cell_is_in_its_bin_and_used_once(tree: HiveKey) -> None:
    found = dict(cells(written(tree)))
    users: Counter[int] = Counter()
    reached: set[int] = set()
    waiting = [0x20]
    while waiting:
        offset = waiting.pop()
        assert offset not in reached
        reached.add(offset)
        node = found[offset]
        words = struct.unpack_from("<14I", node, 16)
        users[words[7]] += 1
        reached |= {words[3], words[6], words[8]} - {0xFFFFFFFF}
        below = struct.unpack_from(f"<{2 * words[1]}I", found[words[3]], 4)[::2] if words[1] else ()
        assert all(struct.unpack_from("<I", found[key], 16)[0] == offset for key in below)
        waiting += below
        for value in struct.unpack_from(f"<{words[5]}I", found[words[6]]) if words[5] else ():
            size, data = struct.unpack_from("<II", found[value], 4)
            reached |= {value} if size & 0x80000000 else {value, data}
    for offset, count in users.items():
        assert struct.unpack_from("<I", found[offset], 12)[0] == count
    assert reached | users.keys() == found.keys()


@settings(deadline=None)
@given(trees(any_names))
def test_a_tree_reads_back_as_it_was(tree: HiveKey) -> None:
    assert first_difference(Hive(written(tree)).tree(), tree, order_of_values=True) is None


@settings(deadline=None)
@given(deltas(any_names))
def test_a_delta_reads_back_with_all_its_marks(tree: HiveKey) -> None:
    found = Hive(written(tree, delta=True))
    assert found.is_delta
    assert first_difference(found.tree(), tree, order_of_values=True) is None


@settings(deadline=None)
@given(trees(any_names))
def test_the_same_tree_gives_the_same_bytes(tree: HiveKey) -> None:
    turned = replace(tree, subkeys=tree.subkeys[::-1])
    assert written(turned) == written(tree)
    assert written(Hive(written(tree)).tree()) == written(tree)


def test_a_hive_is_saved_to_a_file_as_it_is_written_to_bytes() -> None:
    root = HiveKey("ROOT", (HiveValue("large", 3, bytes(3 << 20)),))
    file = io.BytesIO()
    size = save_hive(file, root, name="x", timestamp=NOW)
    assert file.getvalue() == written(root)
    assert size == len(file.getvalue())


@pytest.mark.parametrize("minor", [3, 4, 5])
def test_lists_hold_the_marks_of_their_version(minor: int) -> None:
    names = ["abc", "Über", "日本語", "x", "Ab Long"]
    hive = written(HiveKey("ROOT", (), tuple(HiveKey(name) for name in names)), minor=minor)
    found = dict(cells(hive))
    leaf = next(cell for cell in found.values() if cell[:2] == (b"lh" if minor == 5 else b"lf"))
    for number, name in enumerate(sorted(names, key=fold)):
        offset, mark = struct.unpack_from("<I4s", leaf, 4 + 8 * number)
        assert Hive(hive).root.subkeys[number].name == name
        if minor == 5:
            total = 0
            for (unit,) in struct.iter_unpack("<H", to_utf16le(fold(name))):
                total = (37 * total + unit) % (1 << 32)
            assert mark == struct.pack("<I", total)
        else:
            hint = name[:4].encode("latin-1", "replace") if name != "日本語" else b""
            assert mark == hint.ljust(4, b"\0")
        assert found[offset][:2] == b"nk"


@pytest.mark.parametrize(("count", "leaves"), [(507, 0), (508, 2), (1014, 2), (1015, 3)])
def test_leaves_fill_a_bin_and_more_get_an_index(count: int, leaves: int) -> None:
    found = list(cells(written(HiveKey("ROOT", (), tuple(HiveKey(f"{n:05}") for n in range(count))))))
    indices = [cell for _, cell in found if cell[:2] == b"ri"]
    sizes = [struct.unpack_from("<H", cell, 2)[0] for _, cell in found if cell[:2] == b"lh"]
    assert sum(sizes) == count
    assert max(sizes) <= 507
    assert [struct.unpack_from("<H", cell, 2)[0] for cell in indices] == ([leaves] if leaves else [])


@pytest.mark.parametrize(
    ("size", "segments"), [(16344, 0), (16345, 2), (2 * 16344, 2), (2 * 16344 + 1, 3), (1 << 20, 65)]
)
def test_large_data_is_cut_into_segments_of_full_cells(size: int, segments: int) -> None:
    hive = written(HiveKey("ROOT", (HiveValue("v", 3, b"\xa5" * size),)))
    found = dict(cells(hive))
    big = [cell for cell in found.values() if cell[:2] == b"db"]
    assert [struct.unpack_from("<H", cell, 2)[0] for cell in big] == ([segments] if segments else [])
    if segments:
        listed = found[struct.unpack_from("<I", big[0], 4)[0]]
        for offset in struct.unpack_from(f"<{segments}I", listed):
            assert len(found[offset]) == 16348
    assert Hive(hive).root.values[0].data == b"\xa5" * size


def test_version_1_3_keeps_large_data_in_one_cell() -> None:
    hive = written(HiveKey("ROOT", (HiveValue("v", 3, bytes(40_000)),)), minor=3)
    assert not any(cell[:2] == b"db" for _, cell in cells(hive))
    assert Hive(hive).root.values[0].data == bytes(40_000)


def test_equal_descriptors_share_a_cell_in_a_ring() -> None:
    keys = tuple(HiveKey(f"k{number}", security=(USUAL, CLOSED, OPEN)[number % 3]) for number in range(9))
    found = {offset: cell for offset, cell in cells(written(HiveKey("ROOT", (), keys))) if cell[:2] == b"sk"}
    ring = {offset: struct.unpack_from("<III", cell, 4) for offset, cell in found.items()}
    assert sorted(users for _, _, users in ring.values()) == [3, 3, 4]
    offset, seen = next(iter(ring)), []
    for _ in ring:
        seen.append(offset)
        following = ring[offset][0]
        assert ring[following][1] == offset
        offset = following
    assert (sorted(seen), offset) == (sorted(ring), seen[0])


def test_a_key_without_a_descriptor_has_that_of_the_key_above() -> None:
    root = HiveKey("ROOT", (), (HiveKey("a", (), (HiveKey("b"),), security=CLOSED), HiveKey("c")))
    hive = Hive(written(root))
    assert hive.key("a\\b").security == CLOSED
    assert hive.key("c").security == hive.root.security == USUAL


def test_node_fields_say_what_is_longest_below() -> None:
    below = (HiveKey("abc", class_name="class"), HiveKey("日本語日本語"))
    values = (HiveValue("", 3, bytes(9)), HiveValue("long name", 3, bytes(70_000)))
    node = dict(cells(written(HiveKey("ROOT", values, below, flags=0x12340010))))[0x20]
    name, named, value, data = struct.unpack_from("<4I", node, 52)
    assert (name, named, value, data) == (0x1234000C, 10, 18, 70_000)
    assert struct.unpack_from("<H", node, 2)[0] == 0x3C


def test_a_tree_as_deep_as_windows_allows_and_one_deeper() -> None:
    key = HiveKey("leaf")
    for _ in range(510):
        key = HiveKey("k", subkeys=(key,))
    root = HiveKey("ROOT", subkeys=(key,))
    hive = Hive(written(root))
    assert sum(1 for _ in hive.walk()) == 512
    assert first_difference(hive.tree(), root, timestamps=False) is not None  # descriptors are filled in
    with pytest.raises(LimitError, match="512 deep"):
        written(HiveKey("ROOT", subkeys=(HiveKey("one more", subkeys=(key,)),)))


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (HiveKey(""), "cannot be the name"),
        (HiveKey("R", subkeys=(HiveKey("a\\b"),)), "cannot be the name"),
        (HiveKey("R", subkeys=(HiveKey("x" * 256),)), "cannot be the name"),
        (HiveKey("R", (HiveValue.sz("x" * 16384, ""),)), "16384 UTF-16 units"),
        (HiveKey("R", (HiveValue("v", -1, b""),)), "has the type -1"),
        (HiveKey("R", (HiveValue.deleted("v"),)), "cannot be a tombstone"),
        (HiveKey("R", security=b"short"), "descriptor of 5 bytes"),
        (HiveKey("R", timestamp=-1), "does not fit"),
        (HiveKey("R", class_name="x" * 40_000), "does not fit"),
        (HiveKey("R", layer=3), "layer byte"),
        (HiveKey("R", (HiveValue.sz("ß", ""), HiveValue.sz("SS", ""), HiveValue.sz("sS", ""))), "twice"),
    ],
)
def test_what_no_hive_may_hold_is_refused(root: HiveKey, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        written(root)


def test_a_tombstone_holds_nothing() -> None:
    for key in (HiveKey("k", (HiveValue.sz("", ""),), layer=1), HiveKey("k", subkeys=(HiveKey("x"),), layer=0x81)):
        with pytest.raises(UsageError, match="tombstone"):
            written(HiveKey("ROOT", subkeys=(key,)), delta=True)


@pytest.mark.parametrize(("delta", "minor"), [(True, 5), (False, 2), (False, 7)])
def test_versions_that_do_not_exist_are_refused(delta: bool, minor: int) -> None:
    with pytest.raises(UsageError, match="version"):
        written(HiveKey("ROOT"), delta=delta, minor=minor)
