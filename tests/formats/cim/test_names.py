"""Names of every script: their order in a folder, and that a binary search through the image's own table finds each."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.cim.images import build, file, folder, name_key
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim

FORBIDDEN = '\0/\\:<>"|?*' + "".join(map(chr, range(1, 32)))
NAMES = st.text(
    st.one_of(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=FORBIDDEN + "."),
        st.characters(min_codepoint=0xA1, max_codepoint=0xFF),
        st.characters(min_codepoint=0x370, max_codepoint=0x3FF),
        st.characters(min_codepoint=0x400, max_codepoint=0x52F),
        st.characters(min_codepoint=0x10A0, max_codepoint=0x10FF),
        st.characters(min_codepoint=0x1C90, max_codepoint=0x1CBF),
        st.characters(min_codepoint=0x10000, max_codepoint=0x1FFFF),
        st.sampled_from("\ud800\udbff\udc00\udfff\ue000\uffff"),
    ),
    min_size=1,
    max_size=12,
)


@given(st.lists(NAMES, max_size=40, unique_by=name_key))
def test_every_name_is_found_in_the_order_of_the_image(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    # What NTFS sees of two adjacent halves is the pair.
    names = [name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") for name in names]
    directory = tmp_path_factory.mktemp("names")
    path = build(directory, folder({name: file(name.encode("utf-8", "surrogatepass")) for name in names}))
    with CimImage.open(path) as image:
        found = [child.name for child in image.root.children()]
        assert found == sorted(names, key=name_key)
        keys = [image.upcase.key(name) for name in found]
        for number, (name, key) in enumerate(zip(found, keys, strict=True)):
            assert bisect_left(keys, key) == number
            child = image.lookup(name.upper() if name.isascii() else name)
            assert child is not None
            assert child.name == name
            assert child.open().read() == name.encode("utf-8", "surrogatepass")
    codes = {finding.code for finding in verify_cim(path)}
    assert codes <= {"order-code-points", "name-win32"}
    if not any(unit >= 0xD800 for name in names for unit in name_key(name)):
        assert "order-code-points" not in codes
