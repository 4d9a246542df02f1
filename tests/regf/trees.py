"""Registry trees for the tests: of any shape by hypothesis, and of a given size by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from wclayer.ntfs.names import fold
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.regf import HiveKey, HiveValue

NOW = 132223104123456789
USUAL = build(from_sddl("O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)"))
CLOSED = build(from_sddl("O:SYG:SYD:P(A;CI;KA;;;SY)"))
OPEN = build(from_sddl("O:BAG:BAD:(A;CI;KA;;;WD)"))

DESCRIPTORS = (USUAL, CLOSED, OPEN)
CLASSES = (None, None, "class", "Klasse ü", "クラス")

# Few letters, so that names meet: in other spellings, in neither Latin-1 nor the basic plane, and as lone surrogates.
few_names = st.text(st.sampled_from("aAbBäÄ日\U0001f600\uff21\ud800"), min_size=1, max_size=2)
any_names = st.text(st.characters(exclude_characters="\\\0"), min_size=1, max_size=12) | few_names
small = st.integers(0, 3)


def by_name(item: HiveKey | HiveValue) -> str:
    return fold(item.name)


@st.composite
def _values(draw: st.DrawFn, names: st.SearchStrategy[str], *, tombstones: bool = False) -> tuple[HiveValue, ...]:
    found = draw(st.lists(names | st.just(""), max_size=3, unique_by=fold))
    return tuple(
        HiveValue.deleted(name)
        if tombstones and draw(st.booleans())
        else HiveValue(name, draw(st.integers(0, 12)), draw(st.binary(max_size=6)))
        for name in found
    )


@st.composite
def _key(draw: st.DrawFn, name: str, names: st.SearchStrategy[str], depth: int, *, layered: bool = False) -> HiveKey:
    layer = draw(st.sampled_from((0x80, 0, 1, 2, 3, 0x82, 0x83))) if layered and depth < 3 else 0
    key = HiveKey(name, layer=layer, security=DESCRIPTORS[draw(small) % 3], timestamp=NOW + draw(small))
    if layer == 1:
        return key
    key.values = draw(_values(names, tombstones=layered and layer & 3 != 3))
    key.class_name = CLASSES[draw(st.integers(0, 4))]
    key.flags = (0, 0, 0x10, 0x200010)[draw(small)]
    below = draw(st.lists(names, max_size=3, unique_by=fold)) if depth else []
    key.subkeys = tuple(draw(_key(name, names, depth - 1, layered=layered)) for name in below)
    return superseding_all(key) if layer & 3 == 3 else key


def trees(names: st.SearchStrategy[str] = few_names) -> st.SearchStrategy[HiveKey]:
    """Whole hives; the root has always the same name."""
    return _key("ROOT", names, 3)


def deltas(names: st.SearchStrategy[str] = few_names) -> st.SearchStrategy[HiveKey]:
    """Whole delta hives with every mark there is."""
    return _key("ROOT", names, 3, layered=True)


def superseding_all(key: HiveKey) -> HiveKey:
    """``key`` as Windows requires it: everything below a key that supersedes the tree does so too, or is deleted."""
    key.layer |= 3
    for below in key.subkeys:
        if below.layer & 3 != 1:
            superseding_all(below)
    return key


def large_tree(keys: int, seed: int = 1) -> HiveKey:
    """A tree of exactly ``keys`` keys, the root included, with two values for each, much like SOFTWARE.

    No value is so short that it stands in the cell of its name: for each of those, regipy 6.5 reads the hive to its
    end, which takes minutes.
    """
    source = random.Random(seed)

    def leaf(number: int) -> HiveKey:
        guid = f"{{{source.getrandbits(32):08x}-{source.getrandbits(16):04x}-4a2b-9c01-{number:012x}}}"
        text = HiveValue.sz("DisplayName", f"Component {number} of {source.getrandbits(20)}")
        return HiveKey(guid, (text, HiveValue.qword("State", source.getrandbits(64))), timestamp=NOW + number)

    def group(name: str, subkeys: Iterator[HiveKey]) -> HiveKey:
        blob = HiveValue("Data", 3, source.randbytes(source.randrange(5, 90)))
        return HiveKey(name, (HiveValue.sz("", name), blob), tuple(subkeys), timestamp=NOW)

    groups, rest = divmod(keys - 1, 100)
    subkeys = [group(f"Group {number}", (leaf(100 * number + n) for n in range(99))) for number in range(groups)]
    return group("ROOT", iter([*subkeys, *(leaf(10**9 + number) for number in range(rest))]))
