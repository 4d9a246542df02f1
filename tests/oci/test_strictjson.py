from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.oci.strictjson import Node, parse_array, parse_object

LIMIT = 1 << 20


def parse(raw: bytes) -> Node:
    return parse_object(raw, what="doc", limit=LIMIT)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"1", b'{"a":NaN}', b'{"a":-Infinity}', b"\xef\xbb\xbf{}", b'{"a":"\xff"}', b"{}{}"],
)
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse(raw)


def test_utf_16_is_no_json_here() -> None:
    with pytest.raises(FormatError):
        parse('{"a":1}'.encode("utf-16"))


@pytest.mark.parametrize("raw", [b'{"a":1,"a":1}', b'{"x":{"b":[{"a":1,"c":2,"a":3}]}}'])
def test_a_key_given_twice_is_refused_at_any_depth(raw: bytes) -> None:
    with pytest.raises(FormatError, match="'a'") as caught:
        parse(raw)
    assert caught.value.kind == "json-duplicate-key"


def test_a_known_key_in_other_letters_is_refused() -> None:
    node = parse(b'{"Layers":[],"custom":1}')
    node.require_spelling(["config", "custom"])
    with pytest.raises(FormatError, match="'Layers' must be spelt 'layers'"):
        node.require_spelling(["layers"])


@pytest.mark.parametrize("depth", [64, 1000, 100_000])
def test_depth_is_bounded(depth: int) -> None:
    with pytest.raises(LimitError, match="deeper"):
        parse(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


def test_a_depth_within_bounds_is_read() -> None:
    parse(b'{"a":' + b"[" * 60 + b"]" * 60 + b"}")


def test_size_and_count_are_bounded() -> None:
    with pytest.raises(LimitError):
        parse_object(b'{"a":"' + b"x" * 100 + b'"}', what="doc", limit=100)
    with pytest.raises(LimitError, match="values"):
        parse_object(b'{"a":[' + b"0," * 600_000 + b"0]}", what="doc", limit=8 << 20)


def test_a_number_of_a_million_digits_is_refused() -> None:
    with pytest.raises(FormatError):
        parse(b'{"a":' + b"9" * 1_000_000 + b"}")


def test_errors_name_the_place() -> None:
    node = parse(b'{"layers":[{"size":1},{"size":"x"}]}')
    with pytest.raises(FormatError, match=r"doc\.layers\[1\]\.size: a size in bytes is expected"):
        [layer.size("size") for layer in node.array("layers")]


@pytest.mark.parametrize("value", ["true", "1.0", "-1", '"1"', str(1 << 63), "null", "[]"])
def test_a_size_is_a_natural_number(value: str) -> None:
    with pytest.raises(FormatError):
        parse(b'{"size":%s}' % value.encode()).size("size")
    assert parse(b'{"size":%d}' % ((1 << 63) - 1)).size("size") == (1 << 63) - 1


def test_null_is_absent() -> None:
    node = parse(b'{"a":null}')
    assert (
        node.array("a"),
        node.texts("a"),
        node.text_map("a"),
        node.optional("a"),
        node.text("a", "-"),
        node.flag("a"),
    ) == (
        [],
        (),
        {},
        None,
        "-",
        False,
    )
    with pytest.raises(FormatError):
        node.text("a")


@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.text("a"),
        lambda node: node.array("a"),
        lambda node: node.node("a"),
        lambda node: node.text_map("a"),
        lambda node: node.flag("a"),
    ],
)
def test_other_types_are_refused(call: object) -> None:
    with pytest.raises(FormatError):
        call(parse(b'{"a":1}'))  # type: ignore[operator]
    with pytest.raises(FormatError):
        parse(b'{"a":["x",1]}').texts("a")
    with pytest.raises(FormatError):
        parse(b'{"a":{"x":1}}').text_map("a")


def test_an_array_gives_its_elements_with_their_places() -> None:
    assert [node.place for node in parse_array(b"[{},{}]", what="list", limit=10)] == ["list[0]", "list[1]"]
    with pytest.raises(FormatError):
        parse_array(b"null", what="list", limit=10)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_what_json_writes_is_read_as_it_was(document: dict[str, object]) -> None:
    assert parse(json.dumps(document).encode()).value == document


@given(st.binary() | st.text().map(str.encode))
def test_bytes_raise_nothing_but_errors_of_the_package(raw: bytes) -> None:
    with suppress(WclayerError):
        parse(raw)
