"""Whatever differs between two registries, its text makes the delta that makes one of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.changing import delta_hives, delta_trees, parse_sections
from wclayer.image.registry.comparing import compare
from wclayer.image.registry.differences import diff_registries, diff_text
from wclayer.regf import Hive, HiveKey, HiveValue, merge, write_hive

names = st.sampled_from(["a", "B", "ß", "with space", 'quote"mark', "semi;colon", "-dash", "[x]"])
value_names = st.sampled_from(["", "n", "N2", 'quo"te', "back\\slash", "= equals", "@"])
data = st.one_of(
    st.builds(HiveValue.sz, value_names, st.sampled_from(["", "text", "two\nlines", 'quo"te\\'])),
    st.builds(HiveValue.dword, value_names, st.integers(0, 2**32 - 1)),
    st.builds(HiveValue, value_names, st.sampled_from([0, 3, 7, 11, 0x9999]), st.binary(max_size=60)),
)


def unique(values: list[HiveValue]) -> tuple[HiveValue, ...]:
    return tuple({value.name.upper(): value for value in values}.values())


def make(name: str, values: list[HiveValue], subkeys: list[HiveKey]) -> HiveKey:
    return HiveKey(name, unique(values), tuple({key.name.upper(): key for key in subkeys}.values()))


leaves = st.builds(make, names, st.lists(data, max_size=3), st.just([]))
keys = st.recursive(
    leaves, lambda below: st.builds(make, names, st.lists(data, max_size=2), st.lists(below, max_size=3))
)
roots = st.builds(make, st.just("ROOT"), st.lists(data, max_size=2), st.lists(keys, max_size=4))


@given(before=roots, after=roots)
def test_the_text_of_a_difference_makes_the_delta(
    before: HiveKey, after: HiveKey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "changing"
    places = folder / "one" / "SOFTWARE", folder / "two" / "SOFTWARE"
    for place, tree in zip(places, (before, after), strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(write_hive(tree, name="x"))
    with ImageRegistry.open(str(places[0])) as one, ImageRegistry.open(str(places[1])) as two:
        changes = list(diff_registries(one, two))
        for utf16 in (True, False):
            deltas = delta_trees(one, parse_sections(diff_text(changes, utf16=utf16)))
            assert bool(deltas) == bool(changes)
            stack = [Hive(delta_hives(deltas, 0)["Software_Delta"]).tree()] if deltas else []
            assert list(compare(merge([before, *stack]), after)) == []


def test_a_delta_says_nothing_that_is_so_already(tmp_path: Path) -> None:
    tree = HiveKey("ROOT", (), (HiveKey("A", (HiveValue.dword("n", 1),)),))
    (tmp_path / "SOFTWARE").write_bytes(write_hive(tree, name="x"))
    text = 'REGEDIT4\n[HKLM\\SOFTWARE\\a]\n"N"=dword:1\n[-HKLM\\SOFTWARE\\b]\n[HKLM\\SOFTWARE\\A]\n"m"=-\n'
    with ImageRegistry.open(str(tmp_path / "SOFTWARE")) as registry:
        assert delta_trees(registry, parse_sections(text.encode())) == {}


def test_the_five_deltas_are_always_there() -> None:
    hives = delta_hives({}, 7)
    assert list(hives) == ["DefaultUser_Delta", "Sam_Delta", "Security_Delta", "Software_Delta", "System_Delta"]
    for name, content in hives.items():
        hive = Hive(content)
        assert hive.is_delta
        assert hive.name == f"\\Hives\\{name}"
        assert [(path, key.layer, key.timestamp) for path, key in hive.walk()] == [("", 0, 7)]
