"""Bolt databases: what was written is read, and what nobody would write ends in an error, soon."""

from __future__ import annotations

import io
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.hosts.bolt_writer import Table, bolt_file, meta_page
from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.store.hosts.bolt import BoltDatabase, Bucket

PAGE = 4096
KEYS = st.binary(min_size=1, max_size=12)
TABLES: st.SearchStrategy[Table] = st.recursive(
    st.dictionaries(KEYS, st.binary(max_size=40), max_size=5),
    lambda below: st.dictionaries(KEYS, st.one_of(st.binary(max_size=40), below), max_size=6),
    max_leaves=30,
)


def opened(raw: bytes) -> BoltDatabase:
    return BoltDatabase(io.BytesIO(raw), len(raw), "db")


def whole(bucket: Bucket) -> Table:
    return {key: whole(value) if isinstance(value, Bucket) else value for key, value in bucket}


@settings(deadline=None, max_examples=150)
@given(TABLES, st.sampled_from([0, 64, 1024]), st.sampled_from([0, 1, 2, 3]), st.sampled_from([1024, 4096, 16384]))
def test_what_was_written_is_read(table: Table, inline: int, fill: int, page_size: int) -> None:
    raw = bolt_file(table, inline=inline, fill=fill, page_size=page_size)
    assert whole(opened(raw).root) == table


def test_values_that_overflow_their_page_are_whole() -> None:
    table: Table = {b"large": bytes(range(256)) * 1000, b"small": b"s", b"below": {b"larger": b"x" * 100_000}}
    assert whole(opened(bolt_file(table)).root) == table


def test_buckets_are_found_by_path_and_records_are_values() -> None:
    table: Table = {b"v1": {b"a": b"1", b"b": {b"c": b"2", b"d": {}}}}
    database = opened(bolt_file(table))
    found = database.bucket(b"v1", b"b")
    assert found is not None
    assert found.path == (b"v1", b"b")
    assert found.values() == {b"c": b"2"}
    assert database.bucket(b"v1", b"x", b"y") is None
    assert database.bucket(b"v1", b"a") is None
    assert [key for key, _ in found.buckets()] == [b"d"]


def test_the_meta_page_of_the_later_transaction_counts() -> None:
    for first, second, expected in ((4, 5, 5), (6, 5, 6)):
        raw = bytearray(bolt_file({b"k": b"v"}))
        raw[:PAGE] = meta_page(PAGE, 4, 5, first, 0)
        raw[PAGE : 2 * PAGE] = meta_page(PAGE, 4, 5, second, 1)
        assert opened(bytes(raw)).transaction == expected


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
@pytest.mark.parametrize("broken", [0, 1])
def test_a_meta_page_that_was_torn_is_told_of_and_the_other_serves(page_size: int, broken: int) -> None:
    raw = bytearray(bolt_file({b"k": b"v"}, page_size=page_size))
    raw[broken * page_size + 20] ^= 0xFF
    database = opened(bytes(raw))
    assert whole(database.root) == {b"k": b"v"}
    assert database.damage
    assert opened(bolt_file({})).damage == ""


@pytest.mark.parametrize("at", [16, 20, 24, 32, 56, 64, 72, 79])
def test_a_database_without_a_whole_meta_page_is_none(at: int) -> None:
    raw = bytearray(bolt_file({b"k": b"v"}))
    raw[at] ^= 0x40
    raw[PAGE + at] ^= 0x40
    with pytest.raises(FormatError, match="no bolt database") as caught:
        opened(bytes(raw))
    assert caught.value.kind == "bolt-meta"


@pytest.mark.parametrize("size", [0, 10, 79, 80, PAGE, 2 * PAGE, 4 * PAGE])
def test_a_database_that_was_cut_short_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        whole(opened(bolt_file({b"k": b"v"})[:size]).root)


def edited(at: int, data: bytes) -> bytes:
    """A database with one leaf page, number 4, of two values, with ``data`` at the place ``at`` of that page."""
    raw = bytearray(bolt_file({b"a": b"1", b"b": b"2"}))
    raw[4 * PAGE + at : 4 * PAGE + at + len(data)] = data
    return bytes(raw)


@pytest.mark.parametrize(
    ("at", "data", "kind"),
    [
        (0, struct.pack("<Q", 5), "bolt-page"),  # another page's number
        (8, struct.pack("<H", 0x10), "bolt-page"),  # a freelist
        (8, struct.pack("<H", 0x03), "bolt-page"),  # a branch and a leaf
        (10, struct.pack("<H", 0xFFFF), "bolt-element"),
        (12, struct.pack("<I", 0xFFFFFFFF), "bolt-page"),
        (12, struct.pack("<I", 1), "bolt-page"),
        (20, struct.pack("<I", 0), "bolt-element"),  # the key within the elements
        (20, struct.pack("<I", 0xFFFFFFF0), "bolt-element"),
        (24, struct.pack("<I", 0xFFFFFFFF), "bolt-element"),
        (28, struct.pack("<I", 0xFFFFFFFF), "bolt-element"),
        (36, struct.pack("<I", 16), "bolt-element"),  # both elements have the same data
        (48, b"b1a2", "bolt-element"),  # not in order
        (48, b"a1a2", "bolt-element"),  # twice
    ],
)
def test_a_number_that_is_wrong_is_found(at: int, data: bytes, kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        whole(opened(edited(at, data)).root)
    assert caught.value.kind == kind
    assert str(caught.value).startswith("db: ")


def branch_to(*pages: int) -> bytes:
    """A database whose root is a branch page to ``pages``; page 5 is a leaf."""
    keys = [bytes([97 + index]) for index in range(len(pages))]
    head = b"".join(
        struct.pack("<IIQ", 16 * len(pages) - 16 * index + index, 1, page) for index, page in enumerate(pages)
    )
    root = struct.pack("<QHHI", 4, 1, len(pages), 0) + head + b"".join(keys)
    leaf = struct.pack("<QHHI", 5, 2, 0, 0)
    metas = [meta_page(PAGE, 4, 6, 1 + number, number) for number in (0, 1)]
    return b"".join([*metas, bytes(2 * PAGE), root.ljust(PAGE, b"\0"), leaf.ljust(PAGE, b"\0")])


@pytest.mark.parametrize(("pages", "kind"), [((4,), "bolt-loop"), ((5, 4), "bolt-loop")])
def test_pages_that_go_round_end_in_an_error(pages: tuple[int, ...], kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        whole(opened(branch_to(*pages)).root)
    assert caught.value.kind == kind


@pytest.mark.parametrize("page", [0, 1, 6, 1 << 60])
def test_a_page_that_is_none_is_not_followed(page: int) -> None:
    with pytest.raises(FormatError) as caught:
        whole(opened(branch_to(page)).root)
    assert caught.value.kind == "bolt-page"


def test_a_page_that_two_buckets_share_is_refused() -> None:
    raw = bytearray(bolt_file({b"a": {b"k": b"v"}, b"b": {b"k": b"v"}}, inline=0))
    first, second = struct.pack("<QQ", 4, 1), struct.pack("<QQ", 5, 1)
    assert raw.count(first) == raw.count(second) == 1
    shared = bytes(raw).replace(second, first)
    with pytest.raises(FormatError) as caught:
        whole(opened(shared).root)
    assert caught.value.kind == "bolt-loop"


def test_a_bucket_that_is_its_own_root_is_refused() -> None:
    raw = bolt_file({b"a": {b"k": b"v"}}, inline=0)
    with pytest.raises(FormatError):
        whole(opened(raw.replace(struct.pack("<QQ", 4, 1), struct.pack("<QQ", 5, 1))).root)


def test_buckets_in_buckets_have_a_limit() -> None:
    table: Table = {b"k": b"v"}
    for _ in range(70):
        table = {b"b": table}
    with pytest.raises(LimitError):
        whole(opened(bolt_file(table, inline=0)).root)


@pytest.mark.parametrize("value", [b"", b"\0" * 15, b"\0" * 16, b"\0" * 31, struct.pack("<QQQHHI", 0, 0, 0, 1, 0, 0)])
def test_an_inline_bucket_that_is_damaged_is_refused(value: bytes) -> None:
    raw = bytearray(bolt_file({b"b": value}))
    raw[4 * PAGE + 16 : 4 * PAGE + 20] = struct.pack("<I", 1)  # the value is said to be a bucket
    if value[16:] == struct.pack("<QHHI", 0, 1, 0, 0):
        # An empty page of branches has no leaves either.
        assert whole(opened(bytes(raw)).root) == {b"b": {}}
        return
    with pytest.raises(FormatError):
        whole(opened(bytes(raw)).root)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_damage_leads_to_anything_but_an_error_of_ours(data: st.DataObject) -> None:
    table: Table = {
        b"v1": {b"a": {b"id": b"\x01", b"labels": {b"l": b"m"}}, b"b": {b"x": b"y" * 600}},
        b"long": b"z" * 5000,
    }
    raw = bytearray(bolt_file(table, page_size=1024, inline=data.draw(st.sampled_from([0, 300])), fill=2))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(2 * 1024, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    with suppress(WclayerError):
        whole(opened(bytes(raw)).root)
    cut = data.draw(st.integers(0, len(raw)))
    with suppress(WclayerError):
        whole(opened(bytes(raw[:cut])).root)
