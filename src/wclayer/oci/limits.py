"""How much output a compressed blob may make before it is taken for a bomb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wclayer.errors import LimitError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on decompression; None lifts one.

    ``ratio``: output may be this many times the input that was read for it, checked once there are more than
    ``ratio_after`` bytes of output (a small layer of zeros is honest). ``output``: bytes of output in all.
    """

    ratio: int | None = 200
    ratio_after: int = 256 << 20
    output: int | None = None

    @classmethod
    def none(cls) -> Self:
        """No limits at all."""
        return cls(ratio=None, output=None)

    def check(self, input_size: int, output_size: int) -> None:
        """Raise LimitError when ``output_size`` bytes of output out of ``input_size`` bytes are too many."""
        if self.ratio is not None and output_size > self.ratio_after and output_size > self.ratio * input_size:
            raise LimitError(
                f"a decompression bomb: {input_size} bytes became more than {output_size} (over {self.ratio} times)",
                hint="lift the limits if you trust where it comes from",
            )
        if self.output is not None and output_size > self.output:
            raise LimitError(f"more than {self.output} bytes of uncompressed content")
