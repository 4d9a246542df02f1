"""Layered keys are seen as Windows shows them: one layer over the other, by the marks in the delta hives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.regf.trees import CLOSED, NOW, OPEN, USUAL, deltas, trees
from wclayer.errors import UsageError
from wclayer.ntfs.names import fold
from wclayer.regf import (
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_LOCAL,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    Hive,
    HiveKey,
    HiveValue,
    combine,
    first_difference,
    merge,
    resolve,
    write_hive,
)


def merged_pair(base: HiveKey | None, delta: HiveKey) -> HiveKey | None:
    """The rule for two layers, as plainly as it can be said; what stands in ``wclayer`` is held against it."""
    semantics = delta.layer & 3
    if semantics == 1:
        return None
    if base is None or semantics == 3:
        subkeys = [merged_pair(None, key) for key in delta.subkeys]
        values = tuple(value for value in delta.values if not value.tombstone)
        return replace(delta, layer=0, values=values, subkeys=tuple(key for key in subkeys if key is not None))
    below = {fold(value.name): value for value in base.values} if semantics == 0 else {}
    below |= {fold(value.name): value for value in delta.values}
    named = {fold(key.name): key for key in delta.subkeys}
    keys = {fold(key.name): key for key in base.subkeys}
    subkeys = [merged_pair(keys.get(folded), key) for folded, key in named.items()]
    assert base.timestamp is not None
    assert delta.timestamp is not None
    return HiveKey(
        base.name,
        tuple(value for value in below.values() if not value.tombstone),
        (*(key for key in subkeys if key is not None), *(keys[name] for name in keys if name not in named)),
        0,
        base.class_name if delta.layer & 0x80 else delta.class_name,
        delta.security,
        max(base.timestamp, delta.timestamp),
        delta.flags,
    )


def folded_left(stack: list[HiveKey]) -> HiveKey:
    merged = merged_pair(None, stack[0])
    for delta in stack[1:]:
        assert merged is not None
        merged = merged_pair(merged, delta)
    assert merged is not None
    return merged


def key(name: str, *values: HiveValue, layer: int = 0, subkeys: tuple[HiveKey, ...] = ()) -> HiveKey:
    return HiveKey(name, values, subkeys, layer, security=USUAL, timestamp=NOW)


def root(*subkeys: HiveKey) -> HiveKey:
    return key("ROOT", subkeys=subkeys)


def names(tree: HiveKey) -> list[str]:
    return [subkey.name for subkey in tree.subkeys]


BASE = root(
    key(
        "App",
        HiveValue.dword("Version", 1),
        HiveValue.sz("Name", "app"),
        subkeys=(key("Inner", HiveValue.dword("n", 1)), key("Other")),
    ),
    key("Kept", HiveValue.dword("n", 7)),
)


@settings(deadline=None)
@given(trees(), st.lists(deltas(), max_size=4))
def test_a_stack_is_merged_as_if_layer_by_layer(base: HiveKey, above: list[HiveKey]) -> None:
    assert first_difference(merge([base, *above]), folded_left([base, *above])) is None


@settings(deadline=None)
@given(trees(), st.lists(deltas(), min_size=2, max_size=4), st.data())
def test_merging_is_associative(base: HiveKey, above: list[HiveKey], data: st.DataObject) -> None:
    whole = merge([base, *above])
    cut = data.draw(st.integers(1, len(above)))
    assert first_difference(merge([merge([base, *above[:cut]]), *above[cut:]]), whole) is None
    first, last = sorted([data.draw(st.integers(0, len(above))), cut])
    if first < last:
        squashed = combine(above[first:last])
        assert first_difference(merge([base, *above[:first], squashed, *above[last:]]), whole) is None


@settings(deadline=None)
@given(st.lists(deltas(), min_size=1, max_size=3))
def test_a_combined_delta_may_be_written(above: list[HiveKey]) -> None:
    combined = combine(above)
    written = Hive(write_hive(combined, name="x", delta=True)).tree()
    assert first_difference(written, combined) is None


@settings(deadline=None)
@given(trees(), st.lists(deltas(), max_size=3))
def test_lazy_hives_resolve_to_the_merged_tree(base: HiveKey, above: list[HiveKey]) -> None:
    stack = [Hive(write_hive(base, name="b")), *(Hive(write_hive(delta, name="d", delta=True)) for delta in above)]
    view = resolve(stack)
    flat = merge(stack)
    assert first_difference(view.tree(), flat) is None
    for found in view.walk():
        there = flat.key(found.path)
        assert there is not None
        assert (found.name, found.class_name, found.security) == (there.name, there.class_name, there.security)
        assert sorted(value.name for value in found.values) == sorted(value.name for value in there.values)
        again = view.key(found.path.swapcase() if found.path.isascii() else found.path)
        assert again is not None
        assert again.layers == found.layers


def test_the_base_alone_is_itself() -> None:
    assert merge([BASE]) is BASE


def test_a_key_that_no_delta_names_is_shared_with_the_base() -> None:
    flat = merge([BASE, root(key("App", layer=LAYER_INHERIT_CLASS))])
    assert flat.subkey("Kept") is BASE.subkey("Kept")


def test_a_tombstone_hides_the_whole_subtree() -> None:
    flat = merge([BASE, root(key("APP", layer=LAYER_TOMBSTONE))])
    assert names(flat) == ["Kept"]
    view = resolve([BASE, root(key("APP", layer=LAYER_TOMBSTONE))])
    assert view.key("App\\Inner") is None
    assert view.deleted_subkeys() == [("APP", 1)]


def test_a_tombstone_of_nothing_is_nothing() -> None:
    view = resolve([BASE, root(key("Unknown", layer=LAYER_TOMBSTONE))])
    assert [subkey.name for subkey in view.subkeys] == ["App", "Kept"]
    assert view.deleted_subkeys() == []


def test_supersede_tree_cuts_everything_below() -> None:
    anew = key("App", HiveValue.dword("Version", 2), layer=3, subkeys=(key("New", layer=3),))
    flat = merge([BASE, root(anew)])
    app = flat.subkey("app")
    assert app is not None
    assert names(app) == ["New"]
    assert app.values == (HiveValue.dword("Version", 2),)
    assert {found.layer for found in (app, *app.subkeys)} == {0}


def test_supersede_local_replaces_the_values_and_keeps_the_subkeys() -> None:
    stack = [BASE, root(key("App", HiveValue.dword("Only", 1), layer=LAYER_SUPERSEDE_LOCAL))]
    app = merge(stack).subkey("App")
    assert app is not None
    assert app.values == (HiveValue.dword("Only", 1),)
    assert names(app) == ["Inner", "Other"]
    view = resolve(stack).key("App")
    assert view is not None
    assert [(value.value.name, value.layer) for value in view.deleted_values()] == [("Version", 1), ("Name", 1)]


def test_a_deleted_and_recreated_key_has_nothing_of_the_old_one() -> None:
    gone, back = root(key("App", layer=1)), root(key("App", layer=0x80, subkeys=(key("Inner", layer=0x80),)))
    app = merge([BASE, gone, back]).subkey("App")
    assert app is not None
    assert (app.values, names(app)) == ((), ["Inner"])
    assert app.subkeys[0].values == ()


def test_values_are_overlaid_and_deleted_whatever_their_case() -> None:
    delta = root(key("App", HiveValue.dword("VERSION", 2), HiveValue.deleted("name"), layer=0x80))
    app = merge([BASE, delta]).subkey("App")
    assert app is not None
    assert app.values == (HiveValue.dword("VERSION", 2),)


@pytest.mark.parametrize(("layer", "expected"), [(0, None), (LAYER_INHERIT_CLASS, "base"), (0x82, "base"), (2, None)])
def test_the_class_is_inherited_by_the_mark_only(layer: int, expected: str | None) -> None:
    base = root(HiveKey("k", class_name="base", security=CLOSED, timestamp=NOW))
    above = root(HiveKey("K", layer=layer, security=OPEN, timestamp=NOW - 5))
    found = merge([base, above]).subkey("k")
    assert found is not None
    assert (found.name, found.class_name, found.security, found.timestamp) == ("k", expected, OPEN, NOW)


def test_the_class_passes_through_several_layers() -> None:
    middle = root(HiveKey("k", class_name="middle", layer=0))
    top = root(HiveKey("k", layer=LAYER_INHERIT_CLASS))
    view = resolve([root(HiveKey("k", class_name="base")), middle, top, top]).key("k")
    assert view is not None
    assert view.class_name == "middle"


def test_names_meet_by_the_table_of_windows_and_not_by_that_of_python() -> None:
    base = root(key("ß"), key("ﬁ"), key("ı"), key("ÿ"))
    delta = root(*(key(name, HiveValue.dword("n", 1), layer=0x80) for name in ("SS", "FI", "I", "Ÿ")))
    assert sorted(names(merge([base, delta]))) == sorted(["ß", "ﬁ", "ı", "ÿ", "SS", "FI", "I"])


def test_each_key_and_value_says_which_layer_it_is_from() -> None:
    one = root(key("App", HiveValue.dword("Version", 2), layer=0x80), key("Added", layer=3))
    two = root(key("App", HiveValue.deleted("Name"), layer=0x80, subkeys=(key("Inner", layer=1),)))
    view = resolve([BASE, one, None, two])
    app = view.key("App")
    assert app is not None
    assert app.layers == (0, 1, 3)
    version = app.value("version")
    assert version is not None
    assert (version.layer, version.value.number()) == (1, 2)
    assert [(layer, value.number()) for layer, value in version.history] == [(0, 1), (1, 2)]
    (name,) = app.deleted_values()
    assert (name.value.name, name.layer, [layer for layer, _ in name.history]) == ("Name", 3, [0, 3])
    assert app.deleted_subkeys() == [("Inner", 3)]
    added = view.key("added")
    assert added is not None
    assert added.layers == (1,)
    assert [found.path for found in view.walk()] == ["", "Added", "App", "App\\Other", "Kept"]


def test_a_hundred_and_twenty_seven_layers() -> None:
    stack = [BASE]
    for number in range(1, 127):
        changes = [key("App", HiveValue.dword("Version", number), layer=0x80), key(f"In {number}", layer=3)]
        if number > 1:
            changes.append(key(f"In {number - 1}", layer=LAYER_TOMBSTONE))
        stack.append(Hive(write_hive(root(*changes), name="d", delta=True)).tree())
    assert len(stack) == 127
    flat = merge(stack)
    assert sorted(names(flat)) == ["App", "In 126", "Kept"]
    view = resolve(stack)
    app = view.key("App")
    assert app is not None
    assert len(app.layers) == 127
    version = app.value("Version")
    assert version is not None
    assert (version.layer, version.value.number(), len(version.history)) == (126, 126, 127)
    assert first_difference(merge([stack[0], combine(stack[1:])]), flat) is None


def test_a_tree_as_deep_as_windows_allows_is_merged() -> None:
    deep, above = key("leaf"), key("leaf", HiveValue.dword("n", 1), layer=LAYER_INHERIT_CLASS)
    for number in range(510):
        deep = key(f"k{number}", subkeys=(deep,))
        above = key(f"K{number}", layer=LAYER_INHERIT_CLASS, subkeys=(above,))
    flat = merge([root(deep), root(above)])
    path = "\\".join(f"k{number}" for number in reversed(range(510))) + "\\leaf"
    leaf = flat.key(path)
    assert leaf is not None
    assert leaf.values == (HiveValue.dword("n", 1),)


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no hive"):
        resolve([None, None])
    with pytest.raises(UsageError, match="no delta"):
        combine([])
    with pytest.raises(UsageError, match="tombstone"):
        merge([BASE, key("ROOT", layer=LAYER_TOMBSTONE)])


def test_supersede_tree_at_the_root_starts_the_hive_anew() -> None:
    assert names(merge([BASE, key("ROOT", layer=LAYER_SUPERSEDE_TREE, subkeys=(key("only", layer=3),))])) == ["only"]
