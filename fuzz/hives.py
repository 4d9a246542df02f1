"""Mutated hives: whatever is done to the bytes, an error of wclayer or a result comes out, soon and in little memory.

Not part of the tests, but for a short run. To go through a hundred thousand::

    python fuzz/hives.py --count 100000 --seed 1

Sound hives of every structure are damaged (bits, words, cells that point to other cells, pieces moved and cut off),
then read in every way, merged, written again and replayed with damaged logs, with the address space limited to 256 MiB.
A failing one is written to the folder of ``--keep``, and read again with ``python fuzz/hives.py FILE``.
"""

from __future__ import annotations

import random
import struct
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from driver import Subject, drive

from wclayer.errors import WclayerError
from wclayer.regf import Hive, HiveKey, HiveValue, diff, merge, resolve, write_hive
from wclayer.regf.logs import marvin32, replay
from wclayer.regf.text import delta_of, parse_reg, sections_of, write_reg

INTERESTING = (0, 1, 3, 4, 5, 7, 8, 0x20, 0xFF, 0x3FD8, 0x3FD9, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0x80000004, 0xFFFFFFFF)


def sound_hives() -> list[bytes]:
    """Hives small enough to be hit where it hurts, which have lists of all kinds between them."""
    many = tuple(HiveKey(f"key {number}", (HiveValue.dword("n", number),)) for number in range(20))
    values = (
        HiveValue.sz("", "default"),
        HiveValue.sz("text", "some text"),
        HiveValue.multi_sz("日本", "a", "b"),
        HiveValue("large", 3, bytes(17000)),
        HiveValue("empty", 3, b""),
    )
    classes = tuple(HiveKey(f"c{number}", class_name="Class", security=bytes(20 + number)) for number in range(4))
    deep = HiveKey("leaf")
    for _ in range(30):
        deep = HiveKey("deep", subkeys=(deep,))
    base = HiveKey("ROOT", values, (HiveKey("Many", (), many), HiveKey("Ж", values[:2], classes), deep))
    delta = HiveKey(
        "ROOT",
        (HiveValue.deleted("text"),),
        (
            HiveKey("Many", (), tuple(HiveKey(f"key {number}", layer=number % 4) for number in range(12)), 0x80),
            HiveKey("ж", (HiveValue.deleted("x"),), layer=0x82),
        ),
    )
    small = HiveKey("ROOT", values[:3], (HiveKey("Many", (), many[:5]), HiveKey("Ж", (), classes)))
    hives = [write_hive(base, name="base"), write_hive(base, name="old", minor=3)]
    # Indices of lists, without the hundreds of keys that they usually take.
    with patch("wclayer.regf.writer.LEAF_ELEMENTS", 3):
        hives += [write_hive(base, name="base"), write_hive(small, name="small")]
        hives += [write_hive(small, name="s", minor=4), write_hive(delta, name="delta", delta=True)]
    return hives


def mutated(hive: bytes, source: random.Random) -> bytes:
    """``hive`` with a few things changed, most of them where they are used."""
    data = bytearray(hive)
    cells = [at for at in range(4128, len(data) - 8, 8) if struct.unpack_from("<i", data, at)[0] < -7]
    for _ in range(source.choice((1, 1, 2, 3, 8))):
        kind = source.randrange(8)
        cell = source.choice(cells)
        if kind == 0:
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        elif kind == 1:
            struct.pack_into("<I", data, cell + 4 * source.randrange(20), source.choice(INTERESTING))
        elif kind == 2:
            struct.pack_into("<I", data, cell + 4 * source.randrange(20), source.choice(cells) - 4096)
        elif kind == 3:
            struct.pack_into("<H", data, cell + 2 * source.randrange(40), source.choice(INTERESTING) & 0xFFFF)
        elif kind == 4:
            struct.pack_into("<i", data, cell, -source.choice(INTERESTING) & 0x7FFFFFFF)
        elif kind == 5:
            other, length = source.choice(cells), source.randrange(4, 80)
            data[cell : cell + length] = data[other : other + length]
        elif kind == 6:
            struct.pack_into("<I", data, 4 * source.randrange(40), source.choice(INTERESTING))
        elif source.random() < 0.2:
            del data[source.randrange(len(data)) :]
            data += bytes(max(0, 4200 - len(data)))
            cells = [at for at in cells if at < len(data) - 160] or [4128]
        if len(data) < 4300:
            break
    return bytes(data)


def log_for(hive: bytes, source: random.Random) -> bytes:
    """A log that belongs to ``hive`` and puts pages of it in other places, under good hashes."""
    pages = [(source.randrange(0, 9) << 12, 512) for _ in range(source.randrange(4))]
    bins = source.choice((len(hive) - 4096 & -4096, 0x7FFFF000, 4096))
    body = b"".join(struct.pack("<II", *page) for page in pages) + source.randbytes(512 * len(pages))
    body += bytes(-(40 + len(body)) % 512)
    head = struct.pack("<4sIIIIIQ", b"HvLE", 40 + len(body), 0, 2, bins, len(pages), marvin32(body))
    base = bytearray(hive[:512])
    struct.pack_into("<II", base, 4, 2, 2)
    struct.pack_into("<I", base, 28, 6)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", base[:508]):
        checksum ^= word
    struct.pack_into("<I", base, 508, checksum)
    return bytes(base) + head + struct.pack("<Q", marvin32(head)) + body


def one_hive(data: bytes, other: bytes, source: random.Random) -> Counter[str]:
    """Do with a hive all that can be done; returns how often what came of it."""
    outcomes: Counter[str] = Counter()

    def lazily() -> None:
        waiting = [Hive(data).root]
        for _ in range(500):
            if not waiting:
                break
            key = waiting.pop()
            for value in key.values:
                value.decoded()
            _ = (key.value("text"), key.subkey("Key 3"), key.security, key.class_name)
            waiting += key.subkeys

    def again() -> None:
        hive = Hive(data)
        tree = hive.tree()
        write_hive(tree, name=hive.name, delta=hive.is_delta)
        delta_of(parse_reg(write_reg(sections_of(tree, "HKLM", skipped=[]), skipped=[])), "HKLM")

    def layered() -> None:
        stack = [Hive(other), Hive(data)]
        for _, key in zip(range(500), resolve(stack).walk(), strict=False):
            _ = (key.layered_values(), key.deleted_subkeys())
        diff(Hive(other), merge(stack))

    def logs() -> None:
        dirty = data[:4] + b"\1" + data[5:8] + b"\2" + data[9:]
        Hive(replay(dirty, [log_for(data, source)])).tree()

    for work in (lazily, again, layered, logs, lambda: sum(1 for _ in Hive(data).walk())):
        try:
            work()
            outcomes["result"] += 1
        except WclayerError as error:
            outcomes[type(error).__name__] += 1
    return outcomes


class Hives(Subject[tuple[bytes, bytes]]):
    """A mutated hive, and a sound one to put it on."""

    name = "hive"
    memory = 256 << 20
    kept = "this one hive"

    def prepare(self, scratch: Path) -> None:  # noqa: ARG002
        self.sound = sound_hives()

    def mutated(self, source: random.Random) -> tuple[bytes, bytes]:
        data = mutated(source.choice(self.sound), source)
        return data, source.choice(self.sound)

    def outcomes(self, case: tuple[bytes, bytes], source: random.Random) -> Counter[str]:
        return one_hive(*case, source)

    def keep(self, case: tuple[bytes, bytes], folder: Path, number: str) -> None:
        (folder / f"hive-{number}").write_bytes(case[0])

    def again(self, path: Path, source: random.Random) -> Counter[str]:
        return one_hive(path.read_bytes(), self.sound[0], source)


if __name__ == "__main__":
    sys.exit(drive(Hives(), __doc__))
