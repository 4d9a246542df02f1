"""An answer of a server: status and headers, and a body that is read when it is wanted, never whole by accident."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Self

from urllib3 import BaseHTTPResponse, HTTPHeaderDict
from urllib3.exceptions import HTTPError

from wclayer.errors import LimitError, NetworkError
from wclayer.oci.registry.broken import ConnectionBroken, explain_failure
from wclayer.oci.registry.redaction import shown_url

__all__ = ["Answer"]

_DRAINED = 64 << 10
_SMALL_DEADLINE = 120.0


class Answer:
    """One answer. A context manager: what is not read to its end must be closed.

    ``headers`` finds names in any case. ``url`` is where the answer came from in the end, which may hold a signature:
    messages show :attr:`place` instead.
    """

    def __init__(self, response: BaseHTTPResponse, url: str, *, method: str) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: HTTPHeaderDict = response.headers
        self.url = url
        self.method = method
        self._seen = b""

    def __repr__(self) -> str:
        return f"<Answer {self.status} from {self.place}>"

    @property
    def place(self) -> str:
        """The address for messages."""
        return shown_url(self.url)

    @property
    def content_length(self) -> int | None:
        """The size of the body in bytes, as the server announced it; None when it did not, or not in digits."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def header_values(self, name: str) -> list[str]:
        """The values of a header that may be given several times."""
        return list(self.headers.getlist(name))

    def read_some(self, size: int) -> bytes:
        """The next bytes of the body, as soon as some are there, at most ``size``; empty at its end.

        Raises NetworkError when the connection breaks, also when the body ends before its announced length.
        """
        if self._seen:
            piece, self._seen = self._seen[:size], self._seen[size:]
            return piece
        try:
            return self._response.read1(size, decode_content=False) or b""
        except (HTTPError, OSError, ValueError) as error:
            self.close()
            raise ConnectionBroken(f"{self.place}: {explain_failure(error)}", transient=True) from error

    def peek(self, size: int) -> bytes:
        """The first bytes of the body, at most ``size``, which will be read once more; raises as :meth:`read_some`."""
        pieces: list[bytes] = []
        while (left := size - sum(map(len, pieces))) > 0 and (piece := self.read_some(left)):
            pieces.append(piece)
        self._seen = b"".join(pieces)
        return self._seen

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill a part of ``buffer`` and return its length, 0 at the end of the body; raises as :meth:`read_some`."""
        view = memoryview(buffer)
        data = self.read_some(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, limit: int, what: str) -> bytes:
        """The whole body, and close; ``what`` names it in errors.

        Raises LimitError when it is, or is said to be, longer than ``limit`` bytes; NetworkError when it breaks off, or
        comes so slowly that it would take minutes.
        """
        try:
            announced = self.content_length
            if announced is not None and announced > limit and self.method != "HEAD":
                raise LimitError(f"{what} from {self.place} has {announced} bytes, more than the {limit} allowed")
            deadline = time.monotonic() + _SMALL_DEADLINE
            pieces, total = [], 0
            while piece := self.read_some(1 << 16):
                total += len(piece)
                if total > limit:
                    raise LimitError(f"{what} from {self.place} is larger than the {limit} bytes allowed")
                if time.monotonic() > deadline:
                    raise NetworkError(f"{what} from {self.place} takes longer than {_SMALL_DEADLINE:.0f} s to come")
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            self.close()

    def drain(self) -> None:
        """Let the connection be used again: read what little is left of the body, or close when it is much."""
        left = _DRAINED
        announced = self.content_length
        if announced is None or announced <= left or self.method == "HEAD":
            with contextlib.suppress(NetworkError):  # the next request makes a connection of its own
                while left > 0 and (piece := self.read_some(left)):
                    left -= len(piece)
                if left > 0:
                    self._response.release_conn()
                    return
        self.close()

    def close(self) -> None:
        """Let go of the connection; one whose body was not read to the end is not used again."""
        self._response.close()
        self._response.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
