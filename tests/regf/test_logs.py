"""A dirty hive becomes whole with its logs, as far as they are sound and belong to it."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from tests.regf.trees import NOW
from wclayer.errors import FormatError, UnsupportedError
from wclayer.regf import Hive, HiveKey, HiveValue, first_difference, write_hive
from wclayer.regf.logs import marvin32, replay


def state(number: int) -> HiveKey:
    """The tree after change ``number``; each is larger than the one before."""
    keys = tuple(HiveKey(f"key {n:04}", (HiveValue.dword("n", number),)) for n in range(30 * (number + 1)))
    return HiveKey("ROOT", (), keys, timestamp=NOW + number)


HIVES = [write_hive(state(number), name="SYSTEM", timestamp=NOW) for number in range(5)]


def with_head(block: bytes, first: int, second: int, kind: int = 0) -> bytes:
    changed = bytearray(block)
    struct.pack_into("<II", changed, 4, first, second)
    struct.pack_into("<I", changed, 28, kind)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", changed[:508]):
        checksum ^= word
    struct.pack_into("<I", changed, 508, checksum)
    return bytes(changed)


def entry(old: bytes, new: bytes, sequence: int) -> bytes:
    """What Windows writes before it changes ``old`` to ``new``: the sectors that differ."""
    old_bins, bins = old[4096:].ljust(len(new) - 4096, b"\xff"), new[4096:]
    pages = [at for at in range(0, len(bins), 512) if bins[at : at + 512] != old_bins[at : at + 512]]
    body = b"".join(struct.pack("<II", at, 512) for at in pages) + b"".join(bins[at : at + 512] for at in pages)
    body += bytes(-(40 + len(body)) % 512)
    head = struct.pack("<4sIIIIIQ", b"HvLE", 40 + len(body), 0, sequence, len(bins), len(pages), marvin32(body))
    return head + struct.pack("<Q", marvin32(head)) + body


def log(first: int, *entries: bytes) -> bytes:
    return with_head(HIVES[0][:512], first, first, kind=6) + b"".join(entries)


ENTRIES = [entry(old, new, number) for number, (old, new) in enumerate(pairwise(HIVES), 2)]
DIRTY = with_head(HIVES[0], 2, 1)


def replayed(*logs: bytes, hive: bytes = DIRTY) -> tuple[HiveKey, list[str]]:
    warnings: list[str] = []
    whole = Hive(replay(hive, logs, warnings=warnings))
    assert not whole.is_dirty
    return whole.tree(), warnings


def test_the_hash_is_marvin32() -> None:
    # The first three are test vectors of the .NET runtime, the others have the seed of hives.
    assert marvin32(b"", 0x4FB61A001BDBCC) == 0x30ED35C100CD3C7D
    assert marvin32(b"\xaf", 0x4FB61A001BDBCC) == 0x48E73FC77D75DDC1
    assert marvin32(b"\xe7\x0f", 0x4FB61A001BDBCC) == 0xB5F6E1FC485DBFF8
    assert marvin32(b"") == 0xB39EFCA403966E08
    assert marvin32(bytes(32)) == 0xDA91A06AC5359223


def test_a_clean_hive_is_left_alone() -> None:
    assert replay(HIVES[0], [log(2, *ENTRIES)]) is HIVES[0]


def test_all_entries_are_applied_and_the_hive_grows() -> None:
    tree, warnings = replayed(log(2, *ENTRIES))
    assert first_difference(tree, Hive(HIVES[4]).tree()) is None
    assert warnings == []
    assert replay(DIRTY, [log(2, *ENTRIES)])[4096:] == HIVES[4][4096:]


@pytest.mark.parametrize("turned", [False, True])
def test_two_logs_continue_each_other_in_any_order(turned: bool) -> None:
    logs = [log(2, *ENTRIES[:1]), log(3, *ENTRIES[1:])]
    tree, warnings = replayed(*(reversed(logs) if turned else logs))
    assert first_difference(tree, Hive(HIVES[4]).tree()) is None
    assert warnings == []


def test_a_damaged_entry_ends_the_replay() -> None:
    damaged = bytearray(ENTRIES[2])
    damaged[200] ^= 1
    tree, warnings = replayed(log(2, *ENTRIES[:2], bytes(damaged), ENTRIES[3]))
    assert first_difference(tree, Hive(HIVES[2]).tree()) is None
    assert warnings == ["log 1: the entry 4 is damaged: its hashes are others"]


def test_a_gap_ends_the_replay() -> None:
    tree, _ = replayed(log(2, ENTRIES[0], ENTRIES[2]))
    assert first_difference(tree, Hive(HIVES[1]).tree()) is None
    tree, warnings = replayed(log(2, ENTRIES[0]), log(4, *ENTRIES[2:]))
    assert first_difference(tree, Hive(HIVES[1]).tree()) is None
    assert "does not continue" in warnings[0]


def test_what_was_written_before_stays_out() -> None:
    hive = with_head(HIVES[1], 4, 3)
    tree, warnings = replayed(log(2, ENTRIES[0]), log(3, *ENTRIES[1:]), hive=hive)
    assert first_difference(tree, Hive(HIVES[4]).tree()) is None
    assert "entry 2 does not continue" in warnings[0]


def test_a_damaged_base_block_is_taken_from_the_log() -> None:
    hive = bytearray(DIRTY)
    hive[508] ^= 1
    tree, _ = replayed(log(2, *ENTRIES), hive=bytes(hive))
    assert first_difference(tree, Hive(HIVES[4]).tree()) is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"", "log 1 is empty"),
        (bytes(4096), "log 1 is empty"),
        (b"x" * 4096, "no log"),
        (with_head(HIVES[0][:512], 2, 2, kind=1) + bytes(512), "before Windows 8.1"),
        (with_head(HIVES[0][:512], 2, 2, kind=9) + bytes(512), "of type 9"),
        (with_head(HIVES[0][:512], 2, 3, kind=6) + ENTRIES[0], "damaged base block"),
        (log(2, ENTRIES[0][:600]), "cut off"),
        (log(9, ENTRIES[0]), "does not continue"),
    ],
)
def test_without_a_sound_log_the_hive_stays_dirty(bad: bytes, message: str) -> None:
    with pytest.raises(UnsupportedError, match="no log has an entry") as caught:
        replay(DIRTY, [bad])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("field", "number", "message"),
    [
        (16, 4095, "says that the bins have"),
        (16, 0x7FFFF000, "longer than"),
        (20, 1 << 30, "lists"),
        (40, 1 << 31, "outside"),
    ],
)
def test_a_hostile_entry_with_good_hashes_is_refused(field: int, number: int, message: str) -> None:
    hostile = bytearray(ENTRIES[0])
    struct.pack_into("<I", hostile, field, number)
    struct.pack_into("<Q", hostile, 24, marvin32(bytes(hostile[40:])))
    struct.pack_into("<Q", hostile, 32, marvin32(bytes(hostile[:32])))
    with pytest.raises(UnsupportedError) as caught:
        replay(DIRTY, [log(2, bytes(hostile))])
    assert message in str(caught.value)


def test_what_is_no_hive_is_refused() -> None:
    with pytest.raises(FormatError):
        replay(b"regf", [])
