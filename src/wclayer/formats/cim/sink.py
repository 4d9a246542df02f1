"""The data of one stream on its way into an image: announced with its size, counted, hashed, stored once.

What fits into memory is looked up before it is written, so a duplicate costs no writing at all; what does not is
written as it comes and taken back when the image has it already. A sink takes exactly as many bytes as were announced.

Source: hcsshim ``pkg/cimfs`` (one stream is open at a time; too few and too many bytes are errors).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeAlias

from wclayer.errors import FormatError, StoreError, UsageError
from wclayer.formats.cim.objects import ObjectStore
from wclayer.formats.cim.profiles import DATA_REGION
from wclayer.formats.cim.structures import SPARSE
from wclayer.formats.folder.door import store_error
from wclayer.model import Buffer, Stream
from wclayer.ntfs.names import encode_wtf8

if TYPE_CHECKING:
    from hashlib import _Hash

    from wclayer.formats.cim.region_writer import RegionWriter

__all__ = ["CimSink", "Finish"]

Finish: TypeAlias = Callable[[int, int, bytes | None], None]
"""Called with data offset and length with kind, as a stream record has them, and the SHA-256 if it was wanted."""

_IN_MEMORY: Final = 1 << 20
_ZEROS: Final = memoryview(bytes(1 << 20))


class CimSink:
    """Takes the ``size`` bytes of the stream ``where`` and puts them into ``store``.

    ``share`` looks for the same data in the image, ``digest`` tells ``finish`` its SHA-256. Without a byte a sink with
    ``may_be_sparse`` closes as a stream that is all zeros and has no data; with ``sparse`` it takes none. ``finish`` is
    called at the end, ``failed`` when there will be none. Made by :class:`~wclayer.formats.cim.writer.CimWriter`.
    """

    __slots__ = (
        "_before",
        "_failed",
        "_finish",
        "_hash",
        "_may_be_sparse",
        "_open",
        "_pieces",
        "_position",
        "_received",
        "_region",
        "_share",
        "_sparse",
        "_store",
        "_tells_digest",
        "size",
        "where",
    )

    def __init__(
        self,
        store: ObjectStore,
        where: str,
        size: int,
        finish: Finish,
        failed: Callable[[], None],
        *,
        share: bool,
        digest: bool,
        sparse: bool,
        may_be_sparse: bool,
    ) -> None:
        self.where = where
        self.size = size
        self._store = store
        self._finish = finish
        self._failed = failed
        self._share = share
        self._tells_digest = digest
        self._sparse = sparse
        self._may_be_sparse = may_be_sparse or sparse
        self._open = True
        self._received = 0
        self._pieces: list[bytes] = []
        self._region: RegionWriter | None = None
        self._hash: _Hash | None = None

    def write(self, data: Buffer) -> None:
        """Take the next bytes. Raises FormatError of kind ``size`` when they are too many, StoreError."""
        self._account(len(data))
        if self.size <= _IN_MEMORY:
            self._pieces.append(bytes(data))
            return
        region = self._region or self._begin()
        if self._hash is not None:
            self._hash.update(data)
        try:
            region.write(data)
        except OSError as error:
            raise self._refused(error) from error

    def hole(self, length: int) -> None:
        """Take ``length`` zeros, as :meth:`write` would, without anybody having to make them."""
        self._account(length)
        if self.size <= _IN_MEMORY:
            self._pieces.append(bytes(length))
            return
        region = self._region or self._begin()
        if self._hash is not None:
            for _ in range(length // len(_ZEROS)):
                self._hash.update(_ZEROS)
            self._hash.update(_ZEROS[: length % len(_ZEROS)])
        try:
            region.hole(length)
        except OSError as error:
            raise self._refused(error) from error

    def copy(self, stream: Stream) -> None:
        """Take all of ``stream`` and close. An error in it, too, ends the stream."""
        with self:
            if stream.ranges is None:
                for piece in stream.source(stream.size):
                    self.write(piece)
            elif stream.ranges:
                position = 0
                for offset, piece in stream.extents():
                    if offset > position:
                        self.hole(offset - position)
                    self.write(piece)
                    position = offset + len(piece)
                if stream.size > position:
                    self.hole(stream.size - position)
            elif stream.size != self.size or not self._may_be_sparse:
                self.hole(stream.size)

    def close(self) -> None:
        """End the stream. Raises FormatError of kind ``size`` when bytes are missing, StoreError. Harmless twice."""
        if not self._open:
            return
        if self._received != self.size:
            if self._received or not self._may_be_sparse:
                self._fail(f"{self._received} bytes of data where {self.size} were announced")
            self._open = False
            self._finish(0, self.size | SPARSE, None)
            return
        self._open = False
        if not self.size:
            self._finish(0, 0, None)
            return
        try:
            offset, digest = self._stored()
        except OSError as error:
            raise self._refused(error) from error
        self._finish(offset, self.size, digest if self._tells_digest else None)

    def abandon(self) -> None:
        """End the stream without a file; its writer cannot go on. Harmless twice."""
        if self._open:
            self._open = False
            self._pieces.clear()
            self._failed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, or abandon the stream when an error is on its way."""
        if error is None:
            self.close()
        else:
            self.abandon()

    def _stored(self) -> tuple[int, bytes | None]:
        """The region offset of the data, and its digest."""
        region = self._region
        if region is None:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            digest = hashlib.sha256(data).digest() if self._share or self._tells_digest else None
            return self._store.data(data, digest if self._share else None), digest
        digest = self._hash.digest() if self._hash is not None else None
        return self._store.share(region, self._position, self._before, digest if self._share else None), digest

    def _account(self, length: int) -> None:
        if not self._open:
            raise UsageError(f"the stream {self.where} is closed; one stream is written at a time")
        self._received += length
        if self._received > self.size:
            self._fail(f"more data than the {self.size} bytes that were announced")
        if self._sparse and length:
            self._fail("data for a stream that was announced to have none")

    def _begin(self) -> RegionWriter:
        """Data that is too large for memory goes to its region at once; it is never small data."""
        try:
            region = self._store.region(DATA_REGION)
            self._position, self._before = region.begin()
        except OSError as error:
            raise self._refused(error) from error
        self._region = region
        if self._share or self._tells_digest:
            self._hash = hashlib.sha256()
        return region

    def _fail(self, reason: str) -> NoReturn:
        self.abandon()
        raise FormatError(reason, kind="size", path=self.where)

    def _refused(self, error: OSError) -> StoreError:
        self._open = False
        self._pieces.clear()
        self._failed()
        return store_error(error, "cannot write the data of", encode_wtf8(self.where), "")
