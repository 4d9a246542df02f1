"""The history of a key or a value tells what each layer did to it, deletions and returns included."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.regf.trees import CLOSED, NOW, USUAL, deltas, trees
from wclayer.regf import Hive, HiveKey, HiveValue, KeyEvent, ValueEvent, key_history, merge, value_history, write_hive

VERSION = "App\\Settings"


def key(name: str, *values: HiveValue, layer: int = 0, subkeys: tuple[HiveKey, ...] = ()) -> HiveKey:
    return HiveKey(name, values, subkeys, layer, security=USUAL, timestamp=NOW)


def layer(*values: HiveValue, mark: int = 0x80, below: tuple[HiveKey, ...] = ()) -> HiveKey:
    settings = key("Settings", *values, layer=mark, subkeys=below)
    return key("ROOT", subkeys=(key("App", layer=3 if mark == 3 else 0x80, subkeys=(settings,)),))


GONE = key("ROOT", subkeys=(key("App", layer=1),))
STACK: list[HiveKey | None] = [
    key("ROOT", subkeys=(key("App", subkeys=(key("Settings", HiveValue.dword("n", 1)),)),)),
    layer(HiveValue.dword("N", 2)),
    layer(below=(key("Deeper", layer=3),)),
    None,
    layer(HiveValue.dword("N", 2)),
    GONE,
    key("ROOT"),
    layer(HiveValue.dword("n", 3), mark=3),
    layer(HiveValue.deleted("n")),
    layer(HiveValue.sz("other", "x"), mark=3),
]


def test_a_key_is_followed_through_its_layers() -> None:
    assert key_history(STACK, "app\\settings") == [
        KeyEvent(0, "created"),
        KeyEvent(1, "changed"),
        KeyEvent(5, "deleted"),
        KeyEvent(7, "created"),
        KeyEvent(8, "changed"),
        KeyEvent(9, "replaced"),
    ]
    assert key_history(STACK, "App\\Settings\\Deeper") == [KeyEvent(2, "created"), KeyEvent(5, "deleted")]
    assert key_history(STACK, "App\\Unknown") == []


def test_a_value_is_followed_through_its_layers() -> None:
    assert value_history(STACK, VERSION, "n") == [
        ValueEvent(0, HiveValue.dword("n", 1)),
        ValueEvent(1, HiveValue.dword("N", 2)),
        ValueEvent(5, None),
        ValueEvent(7, HiveValue.dword("n", 3)),
        ValueEvent(8, None),
    ]
    assert value_history(STACK, VERSION, "other") == [ValueEvent(9, HiveValue.sz("other", "x"))]
    assert value_history(STACK, VERSION, "unknown") == []


def test_lazy_hives_have_the_same_history() -> None:
    lazy = [
        hive if hive is None else Hive(write_hive(hive, name="x", delta=number > 0))
        for number, hive in enumerate(STACK)
    ]
    assert key_history(lazy, VERSION) == key_history(STACK, VERSION)
    assert value_history(lazy, VERSION, "n") == value_history(STACK, VERSION, "n")


def test_another_descriptor_is_a_change() -> None:
    base = key("ROOT", subkeys=(key("a"),))
    delta = key("ROOT", subkeys=(HiveKey("a", layer=0x80, security=CLOSED),))
    assert key_history([base, delta], "a") == [KeyEvent(0, "created"), KeyEvent(1, "changed")]


@settings(deadline=None, max_examples=50)
@given(trees(), st.lists(deltas(), max_size=3))
def test_the_history_ends_with_what_is_seen(base: HiveKey, above: list[HiveKey]) -> None:
    stack = [base, *above]
    flat = merge(stack)
    for name in {subkey.name for tree in stack for subkey in tree.subkeys}:
        events = key_history(stack, name)
        found = flat.subkey(name)
        assert (events[-1].action != "deleted" if events else False) == (found is not None)
        for value in found.values if found else ():
            assert value_history(stack, name, value.name)[-1].value == value
