"""A delta hive that Windows wrote is read for what it is, and comes back when it is written again.

The hive is ``hives_for_tests/System_Delta`` of the yarp project (github.com/msuhanov/yarp), under a licence that keeps
it out of here: WCLAYER_YARP_HIVES names the folder it is in.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from wclayer.ntfs.security import parse
from wclayer.regf import Hive, HiveKey, combine, first_difference, merge, write_hive
from wclayer.regf.logs import replay

FOLDER = Path(os.environ.get("WCLAYER_YARP_HIVES", ""))

pytestmark = pytest.mark.skipif(
    not (FOLDER / "System_Delta").is_file(), reason="WCLAYER_YARP_HIVES names no folder with System_Delta"
)


@pytest.fixture(scope="module")
def delta() -> Hive:
    return Hive((FOLDER / "System_Delta").read_bytes(), what="System_Delta")


def test_its_keys_values_and_marks_are_counted(delta: Hive) -> None:
    assert (delta.version, delta.is_delta, delta.is_dirty, delta.warnings) == ((1, 6), True, False, [])
    keys = [key for _, key in delta.walk()]
    assert len(keys) == 586
    assert sum(len(key.values) for key in keys) == 820
    assert Counter(key.layer for key in keys) == {0x80: 514, 0x03: 61, 0x00: 8, 0x01: 2, 0x83: 1}
    assert sum(value.tombstone for key in keys for value in key.values) == 3
    for key in keys:
        assert key.security is not None
        parse(key.security)


def test_it_comes_back_when_it_is_written_again(delta: Hive) -> None:
    tree = delta.tree()
    again = Hive(write_hive(tree, name=delta.name, delta=True, timestamp=delta.timestamp))
    assert first_difference(again.tree(), tree, order_of_values=True) is None


def test_every_key_is_found_by_its_path(delta: Hive) -> None:
    for path, key in delta.walk():
        found = delta.key(path.upper())
        assert (found.name, found.values, found.layer) == (key.name, key.values, key.layer)


def test_merged_it_has_neither_marks_nor_tombstones(delta: Hive) -> None:
    flat = merge([HiveKey("ROOT"), delta])
    waiting, keys, values = [flat], 0, 0
    while waiting:
        key = waiting.pop()
        assert key.layer == 0
        keys, values = keys + 1, values + len(key.values)
        assert not any(value.tombstone for value in key.values)
        waiting += key.subkeys
    assert (keys, values) == (584, 817)
    assert first_difference(merge([flat, delta]), flat) is None
    assert first_difference(merge([HiveKey("ROOT"), combine([delta, delta])]), flat) is None


@pytest.mark.parametrize("folder", ["NewDirtyHive1", "NewDirtyHive2"])
def test_logs_are_replayed_as_windows_10_did_it(folder: str) -> None:
    hive, *logs = ((FOLDER / folder / f"NewDirtyHive{end}").read_bytes() for end in ("", ".LOG1", ".LOG2"))
    recovered = (FOLDER / "NewDirtyHive1" / "RecoveredHive_Windows10").read_bytes()
    size = 4096 + int.from_bytes(recovered[40:44], "little")
    assert replay(hive, logs)[4096:size] == recovered[4096:size]
