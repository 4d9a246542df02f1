"""What can be read by position, as a file: the position is kept here, where the bytes lie is for others to say."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RawStream"]


class RawStream(io.RawIOBase):
    """``size`` bytes that can be read anywhere. Closing it closes nothing else."""

    def __init__(self, size: int) -> None:
        super().__init__()
        #: In bytes.
        self.size = size
        self._position = 0

    @abstractmethod
    def _read_at(self, position: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``position``, at least one; that many lie there, and ``length`` is not 0."""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place, also behind the end, where there is nothing to read. ValueError for one that cannot be."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
        if start is None or start + offset < 0:
            raise ValueError(f"no position: seek to {offset} from {whence}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as one read goes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), max(0, self.size - self._position))
        if not length:
            return 0
        piece = self._read_at(self._position, length)
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
