"""Paths as text, cleaned as Go does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.formats.tar.lexical import clean, is_clean, join

PATHS = st.lists(st.sampled_from([b"a", b"b.c", b".d", b"..e", b".", b"..", b"", b"/", b"//"]), max_size=6).map(
    b"/".join
)


@given(PATHS)
def test_what_is_seen_to_be_clean_is_left_as_it_is(path: bytes) -> None:
    if is_clean(path):
        assert clean(path) == path
        at = path.rfind(b"/") + 1
        assert join(path[:at], b"x", path[at:]) == path[:at] + b"x/" + path[at:]


@pytest.mark.parametrize("path", [b"a", b"a/b", b"Files/Windows/System32/x.dll", b"a./b.."])
def test_plain_paths_are_seen_to_be_clean(path: bytes) -> None:
    assert is_clean(path)


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b"./a", b"../a", b"a/./b", b"a/..", b"."])
def test_others_are_not(path: bytes) -> None:
    assert not is_clean(path)
