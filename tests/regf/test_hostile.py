"""Hives made to trap their reader: circles, shared cells, counts and offsets that lie."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from wclayer.errors import FormatError, IntegrityError, LimitError, WclayerError
from wclayer.regf import Hive, HiveKey, HiveValue, write_hive

FUZZ = Path(__file__).parents[2] / "fuzz" / "hives.py"


class Forge:
    """A sound hive, and hands on its cells."""

    def __init__(self, root: HiveKey) -> None:
        self.data = bytearray(write_hive(root, name="x"))

    def word(self, cell: int, field: int) -> int:
        return int(struct.unpack_from("<I", self.data, 4100 + cell + field)[0])

    def put(self, cell: int, field: int, number: int) -> None:
        struct.pack_into("<I", self.data, 4100 + cell + field, number)

    def child(self, cell: int, number: int = 0) -> int:
        return self.word(self.word(cell, 28), 4 + 8 * number)

    def value(self, cell: int, number: int = 0) -> int:
        return self.word(self.word(cell, 40), 4 * number)

    def refused(self, message: str, error: type[WclayerError] = FormatError) -> None:
        """Neither the walk nor the tree nor single keys come through."""
        hive = Hive(bytes(self.data), what="Hives/X")
        for read in (hive.tree, lambda: list(hive.walk()), lambda: visit(hive)):
            with pytest.raises(error, match=message) as caught:
                read()
            assert "Hives/X" in str(caught.value)
            assert caught.value.path


def visit(hive: Hive) -> None:
    waiting = [hive.root]
    while waiting:
        key = waiting.pop()
        _ = (key.values, key.security, key.class_name)
        waiting += key.subkeys


ROOT = 0x20
VALUES = (HiveValue.sz("text", "text"), HiveValue("large", 3, bytes(40_000)), HiveValue.dword("n", 1))
TREE = HiveKey(
    "ROOT", VALUES, (HiveKey("a", (), (HiveKey("inner"),), class_name="class"), HiveKey("b"), HiveKey("日本"))
)


def a_circle(forge: Forge) -> None:
    inner = forge.child(forge.child(ROOT))
    forge.put(inner, 20, 1)
    forge.put(inner, 28, forge.word(ROOT, 28))


def a_key_of_two(forge: Forge) -> None:
    forge.put(forge.word(ROOT, 28), 4, forge.child(forge.child(ROOT)))


def twice(forge: Forge) -> None:
    forge.put(forge.word(ROOT, 28), 4, forge.child(ROOT, 1))


CASES: list[tuple[str, Callable[[Forge], None]]] = [
    ("another key than the one it names|more elements|subkeys", a_circle),
    ("listed by another key", a_key_of_two),
    ("names a key twice", twice),
    ("1 or more elements, the key 2", lambda forge: forge.put(forge.child(ROOT), 20, 2)),
    ("no cell can be", lambda forge: forge.put(forge.child(ROOT), 28, 0xFFFFFFF8)),
    ("no cell can be", lambda forge: forge.put(forge.child(ROOT), 28, 0x24)),
    ("marked b'nk'", lambda forge: forge.put(forge.child(ROOT), 28, ROOT)),
    ("marked", lambda forge: forge.put(forge.word(ROOT, 28), 4, forge.word(ROOT, 44))),
    ("list of values", lambda forge: forge.put(ROOT, 36, 0xFFFFFFFF)),
    ("list of values", lambda forge: forge.put(ROOT, 36, 40)),
    ("no cell can be", lambda forge: forge.put(ROOT, 40, 0xFFFFFFFF)),
    ("marked b'nk'", lambda forge: forge.put(forge.word(ROOT, 40), 0, ROOT)),
    ("data of a value", lambda forge: forge.put(forge.value(ROOT), 4, 30)),
    ("no cell can be", lambda forge: forge.put(forge.value(ROOT), 8, 0x7FFFFFF8)),
    ("more than the hive|more bytes than", lambda forge: forge.put(forge.value(ROOT), 4, 0x7FFFFFFF)),
    ("keeps 5 bytes", lambda forge: forge.put(forge.value(ROOT, 2), 4, 0x80000005)),
    ("segments", lambda forge: forge.put(forge.value(ROOT, 1), 4, 50_000)),
    ("a class", lambda forge: forge.put(forge.child(ROOT), 48, 0x0FFFFFF8)),
    ("marked b'nk'", lambda forge: forge.put(forge.child(ROOT), 44, ROOT)),
    ("security descriptor", lambda forge: forge.put(forge.word(ROOT, 44), 16, 0xFFFFFF)),
    ("name|key at", lambda forge: forge.put(forge.child(ROOT, 2), 72, 5)),
    ("a key at|no UTF-16|of bytes|has", lambda forge: forge.put(forge.child(ROOT), 72, 0xFFF0)),
    ("no cell in use", lambda forge: forge.put(forge.child(ROOT), -4, 96)),
    ("no cell in use", lambda forge: forge.put(forge.child(ROOT), -4, 0x80000000)),
    ("no cell in use", lambda forge: forge.put(forge.child(ROOT), -4, 0xFFFFFFFF - 0xFFFFFF)),
]


@pytest.mark.parametrize(("message", "change"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_lies_are_found_out(message: str, change: Callable[[Forge], None]) -> None:
    forge = Forge(TREE)
    change(forge)
    forge.refused(message, IntegrityError)


def test_the_root_cannot_be_anywhere() -> None:
    for offset in (0xFFFFFFFF, 0x21, 0x7FFFFFF8, 0):
        data = bytearray(write_hive(TREE, name="x"))
        struct.pack_into("<I", data, 36, offset)
        with pytest.raises(FormatError):
            Hive(bytes(data)).tree()


def test_a_value_list_that_all_keys_share_is_no_tree() -> None:
    # Two thousand keys with one list of two thousand values are four million values in 200 KB.
    keys = tuple(HiveKey(f"{number:04}") for number in range(2000))
    forge = Forge(HiveKey("ROOT", tuple(HiveValue.dword(f"{n:04}", n) for n in range(2000)), keys))
    leaves = forge.word(ROOT, 28)
    for number in range(4):
        leaf = forge.word(leaves, 4 + 4 * number)
        for element in range(struct.unpack_from("<H", forge.data, 4100 + leaf + 2)[0]):
            key = forge.word(leaf, 4 + 8 * element)
            forge.put(key, 36, 2000)
            forge.put(key, 40, forge.word(ROOT, 40))
    hive = Hive(bytes(forge.data))
    with pytest.raises(LimitError, match="more bytes than the hive has"):
        hive.tree()
    assert len(hive.key("0001").values) == 2000, "a single key is read for what it is"


def test_data_that_all_values_share_is_no_tree() -> None:
    values = (HiveValue("first", 3, bytes(1 << 20)), *(HiveValue(f"{n}", 3, bytes(5)) for n in range(1000)))
    forge = Forge(HiveKey("ROOT", values))
    for number in range(1, 1001):
        for field in (4, 8):
            forge.put(forge.value(ROOT, number), field, forge.word(forge.value(ROOT), field))
    with pytest.raises(LimitError, match="more bytes than the hive has"):
        Hive(bytes(forge.data)).tree()
    with pytest.raises(LimitError, match="more bytes than the hive has"):
        _ = Hive(bytes(forge.data)).root.values


def test_segments_may_not_make_more_of_the_hive_than_there_is() -> None:
    forge = Forge(HiveKey("ROOT", (HiveValue("v", 3, bytes(100_000)),)))
    big = forge.word(forge.value(ROOT), 8)
    segments = forge.word(big, 4)
    for number in range(7):
        forge.put(segments, 4 * number, forge.word(segments, 0))
    assert len(Hive(bytes(forge.data)).root.values[0].data) == 100_000, "that much is in the hive"
    forge.put(forge.value(ROOT), 4, 16344 * 0xFFFF)
    forge.refused("more than the hive|more bytes than", IntegrityError)


def test_an_index_that_names_a_leaf_many_times_is_refused_at_once() -> None:
    forge = Forge(HiveKey("ROOT", (), tuple(HiveKey(f"{number:04}") for number in range(508))))
    index = forge.word(ROOT, 28)
    forge.put(index, 8, forge.word(index, 4))
    forge.refused("names a key twice|elements", FormatError)


def test_a_tree_deeper_than_windows_allows_is_refused() -> None:
    key = HiveKey("leaf")
    for _ in range(511):
        key = HiveKey("k", subkeys=(key,))
    with patch("wclayer.regf.writer.MAX_DEPTH", 513):
        forge = Forge(HiveKey("ROOT", (), (key,)))
    forge.refused("more than 512 deep", LimitError)


def test_mutated_hives_give_an_error_or_a_result(tmp_path: Path) -> None:
    """A few of the hundred thousand that ``fuzz/hives.py`` goes through, in 256 MiB of address space."""
    command = [sys.executable, str(FUZZ), "--count", "1000", "--seed", "7", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "1000 hives, seed 7: 0 failures" in done.stdout
    assert "'result'" in done.stdout
    assert list(tmp_path.iterdir()) == []
