"""A delta holds what changed and nothing else, and merging it gives the new tree again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from tests.regf.trees import CLOSED, NOW, OPEN, USUAL, trees
from wclayer.errors import UsageError
from wclayer.regf import Hive, HiveKey, HiveValue, diff, first_difference, merge, write_hive


def key(name: str, *values: HiveValue, subkeys: tuple[HiveKey, ...] = (), layer: int = 0) -> HiveKey:
    return HiveKey(name, values, subkeys, layer, security=USUAL, timestamp=NOW)


@settings(deadline=None)
@given(trees(), trees())
def test_merging_the_difference_gives_the_new_tree(base: HiveKey, new: HiveKey) -> None:
    delta = diff(base, new)
    assert first_difference(merge([base, delta]), new, timestamps=False) is None
    written = Hive(write_hive(delta, name="d", delta=True, timestamp=NOW))
    assert first_difference(merge([base, written]), new, timestamps=False) is None


@settings(deadline=None)
@given(trees(), trees())
def test_times_that_are_later_are_kept_too(base: HiveKey, new: HiveKey) -> None:
    merged = merge([base, diff(base, later(new))])
    assert first_difference(merged, later(new)) is None


def later(tree: HiveKey) -> HiveKey:
    assert tree.timestamp is not None
    return replace(tree, timestamp=tree.timestamp + 10, subkeys=tuple(later(key) for key in tree.subkeys))


@settings(deadline=None)
@given(trees())
def test_equal_trees_have_an_empty_delta(tree: HiveKey) -> None:
    delta = diff(tree, Hive(write_hive(tree, name="x")))
    assert (delta.values, delta.subkeys, delta.layer) == ((), (), 0)


BASE = key(
    "ROOT",
    subkeys=(
        key("Gone", HiveValue.dword("n", 1), subkeys=(key("Below"),)),
        key("Same", HiveValue.dword("n", 1), subkeys=(key("Deep", subkeys=(key("Deeper"),)),)),
        key("Changed", HiveValue.dword("a", 1), HiveValue.dword("b", 1), HiveValue.dword("c", 1)),
    ),
)


def changed(**subkeys: HiveKey | None) -> HiveKey:
    """What the difference says of the three keys when some are replaced, left out or added."""
    keys = {key.name: key for key in BASE.subkeys} | subkeys
    return diff(BASE, key("ROOT", subkeys=tuple(found for found in keys.values() if found is not None)))


def test_a_key_that_is_gone_is_one_tombstone() -> None:
    delta = changed(Gone=None)
    (tombstone,) = delta.subkeys
    assert (tombstone.name, tombstone.layer, tombstone.values, tombstone.subkeys) == ("Gone", 1, (), ())


def test_a_new_key_supersedes_the_tree_with_all_its_descendants() -> None:
    (new,) = changed(New=key("New", HiveValue.dword("n", 1), subkeys=(key("In"),))).subkeys
    assert (new.layer, new.subkeys[0].layer, new.values) == (3, 3, (HiveValue.dword("n", 1),))


def test_only_the_values_that_changed_are_said() -> None:
    (found,) = changed(
        Changed=key("Changed", HiveValue.dword("a", 1), HiveValue.dword("b", 2), HiveValue.dword("d", 1))
    ).subkeys
    assert (found.name, found.layer) == ("Changed", 0x80)
    assert found.values == (HiveValue.dword("b", 2), HiveValue.dword("d", 1), HiveValue.deleted("c"))


def test_ancestors_of_a_change_merge_and_inherit() -> None:
    deep = key("Deep", subkeys=(key("Deeper", HiveValue.sz("", "new")),))
    (same,) = changed(Same=key("Same", HiveValue.dword("n", 1), subkeys=(deep,))).subkeys
    assert (same.layer, same.values, [below.layer for below in same.subkeys]) == (0x80, (), [0x80])
    assert same.subkeys[0].subkeys[0].values == (HiveValue.sz("", "new"),)


def test_another_class_or_descriptor_is_a_change() -> None:
    (found,) = changed(Gone=replace(BASE.subkeys[0], class_name="c")).subkeys
    assert (found.layer, found.class_name, found.subkeys) == (0, "c", ())
    (found,) = changed(Gone=replace(BASE.subkeys[0], security=CLOSED)).subkeys
    assert (found.layer, found.security) == (0x80, CLOSED)


def test_another_spelling_begins_the_key_anew() -> None:
    delta = changed(Gone=None, GONE=replace(BASE.subkeys[0], name="GONE", security=OPEN))
    assert [(found.name, found.layer) for found in delta.subkeys] == [("GONE", 3)]


def test_a_delta_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="delta"):
        diff(BASE, key("ROOT", subkeys=(key("x", layer=3),)))
    with pytest.raises(UsageError, match="delta"):
        diff(key("ROOT", HiveValue.deleted("x")), BASE)
