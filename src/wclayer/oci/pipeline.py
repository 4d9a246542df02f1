"""Reading a layer blob: read, inflate and hash at the same time, and let the tar go by in reused slabs.

Three threads at most, joined by queues that can never block a sender, because what travels in them is a fixed number
of buffers: one thread reads the source ahead (and hashes the blob), one inflates into slabs, one hashes the slabs (the
DiffID). The consumer gets each slab as a read-only view and gives it back by asking for the next. All the work is in
calls of a quarter of a megabyte and more that release the interpreter lock. Where another process sees the slabs and
hashes what lies in them, the consumer's thread inflates instead (:mod:`wclayer.oci.shared_slabs`); and where another
one may fill them, that one reads, inflates and hashes (:mod:`wclayer.oci.inflate_process`).

Nothing is trusted until :meth:`LayerStream.finish` returns: only then size, digest and DiffID are known to be right.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from wclayer.errors import DigestMismatchError, WclayerError
from wclayer.oci.compression import HEAD_SIZE, open_decoder, sniff
from wclayer.oci.counting import CountingSource
from wclayer.oci.digests import Digest, Hash, new_hash
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import Compression
from wclayer.oci.shared_slabs import shared_slabs
from wclayer.oci.sources import BinarySource
from wclayer.oci.workers import SLAB_SIZE, Outcome, SlabHash, SlabKeeper, Workers, fill

if TYPE_CHECKING:
    from wclayer.oci.inflate_process import InflateProcess

__all__ = ["LayerStream", "Limits", "open_layer"]

_HASHED_APART: frozenset[Compression] = frozenset(["gzip"])
"""Of which compressions also the blob is hashed by the keeper of the slabs: where inflating is most of the work."""


def open_layer(
    source: BinarySource,
    *,
    descriptor_digest: Digest | None = None,
    descriptor_size: int | None = None,
    diff_id: Digest | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    threads: bool = True,
    layer: str | None = None,
    keeper: SlabKeeper | None = None,
    digests: bool = True,
) -> LayerStream:
    """Open the layer blob that ``source`` holds, whatever its compression, and take ``source`` over.

    ``descriptor_digest``, ``descriptor_size`` (bytes) and ``diff_id`` are what was promised, where it was; they are
    verified by :meth:`LayerStream.finish`, and a blob longer or shorter than promised is refused as soon as that shows.
    Without ``threads`` everything happens in the caller's thread. ``layer`` names the layer in errors. ``keeper`` has
    the memory for the slabs, and may hash what lies in them, with ``threads`` only. Without ``digests`` only what was
    promised is hashed.

    Raises UnsupportedError for an unknown compression, StoreError when the source cannot be read.
    """
    blob = CountingSource(source, expected_size=descriptor_size)
    try:
        return LayerStream(
            blob,
            sniff(blob.peek(HEAD_SIZE)),
            descriptor_digest=descriptor_digest,
            diff_id=diff_id,
            limits=limits,
            threads=threads,
            layer=layer,
            keeper=keeper,
            digests=digests,
        )
    except BaseException as error:
        blob.close()
        _locate(error, layer)
        raise


class _Known(Protocol):
    """A digest, whoever computes it."""

    def hexdigest(self) -> str:
        """The hash in lower-case hexadecimal."""


class LayerStream:
    """The uncompressed tar of a layer, once, front to back.

    Iterating yields read-only memoryviews of up to a megabyte; each is valid until the next one is asked for. Errors
    of the source and of the content (FormatError, LimitError, DigestMismatchError, StoreError) are raised here, in the
    consumer. Use it as a context manager, or call :meth:`close`: that stops the threads, whatever happened.
    """

    compression: Compression
    """What the content was found to be."""

    def __init__(
        self,
        blob: CountingSource,
        compression: Compression,
        *,
        descriptor_digest: Digest | None,
        diff_id: Digest | None,
        limits: Limits,
        threads: bool,
        layer: str | None,
        keeper: SlabKeeper | None = None,
        digests: bool = True,
    ) -> None:
        self.compression = compression
        self._promised_digest = descriptor_digest
        self._promised_diff_id = diff_id
        self._blob = blob
        self._outcome = Outcome()
        blob_algorithm = descriptor_digest.algorithm if descriptor_digest else "sha256"
        diff_algorithm = diff_id.algorithm if diff_id else "sha256"
        self._blob_algorithm, self._diff_algorithm = blob_algorithm, diff_algorithm
        is_same = compression == "none" and blob_algorithm == diff_algorithm  # the same bytes: hashed once
        wants_diff = digests or diff_id is not None or (is_same and descriptor_digest is not None)
        wants_blob = not is_same and (digests or descriptor_digest is not None)
        self._layer = layer
        self._error: BaseException | None = None
        self._closed = False
        self._finished = False
        self._workers: Workers | InflateProcess | None = None
        self._blob_hash: _Known | None = None
        self._diff_hash: _Known | None = None
        shared_blob: SlabHash | None = None
        sharer = keeper if threads and keeper is not None and keeper.hashes else None
        process = None
        if threads and keeper is not None:
            algorithms = blob_algorithm if wants_blob else None, diff_algorithm if wants_diff else None
            process = _inflated_apart(blob, compression, keeper, limits, self._outcome, *algorithms)
        if process is not None:
            self._blob_hash, self._diff_hash = process.blob_hash, process.diff_hash
        elif wants_blob:  # before anything is read
            if sharer is not None and compression in _HASHED_APART:
                self._blob_hash = shared_blob = sharer.new_hash(blob_algorithm, late=True)
            else:
                self._blob_hash = blob.hash = new_hash(blob_algorithm)
        if process is not None:
            self._workers = process
            self._slabs = process.slabs()
        elif sharer is not None:
            shared_diff = self._diff_hash = sharer.new_hash(diff_algorithm) if wants_diff else None
            self._slabs = shared_slabs(blob, compression, sharer, shared_blob, shared_diff, limits, self._outcome)
        else:
            diff_hash = self._diff_hash = new_hash(diff_algorithm) if wants_diff else None
            if threads:
                self._workers = Workers(blob, compression, diff_hash, limits, self._outcome, keeper)
                self._slabs = self._workers.slabs()
            else:
                self._slabs = _inline(blob, compression, diff_hash, limits, self._outcome)
        if self._workers is not None:
            self._abandoned = weakref.finalize(self, self._workers.stop)  # a stream nobody closed
        if is_same:
            self._blob_hash = self._diff_hash

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        if self._error is not None:
            raise self._error
        if self._closed and not self._finished:
            raise ValueError("the layer stream is closed")
        try:
            return next(self._slabs)
        except StopIteration:
            raise
        except BaseException as error:
            _locate(error, self._layer)
            self._error = error
            raise

    def finish(self) -> None:
        """Read what is left, stop the threads and verify everything that was promised.

        Bytes after the end of the tar belong to the DiffID, so they are read too. Raises DigestMismatchError with both
        digests, and whatever reading may raise. May be called again.
        """
        if self._finished:
            return
        for _ in self:
            pass
        self.close()
        for what, promised, actual in (
            ("the blob", self._promised_digest, self._known_digest(self._blob_algorithm, self._blob_hash)),
            (
                "the uncompressed layer",
                self._promised_diff_id,
                self._known_digest(self._diff_algorithm, self._diff_hash),
            ),
        ):
            if promised is not None and promised != actual:
                self._error = DigestMismatchError(
                    f"{what} has the digest {actual} where {promised} was promised",
                    hint="the content is not what the image names; fetch it again, or do not trust where it is from",
                    layer=self._layer,
                )
                raise self._error
        self._finished = True

    def close(self) -> None:
        """Stop and join the threads and close the source; harmless when called twice. Verifies nothing.

        A read of the source that is going on is waited for.
        """
        if self._closed:
            return
        self._closed = True
        self._slabs.close()
        if self._workers is not None:
            self._workers.stop()
            self._blob.interrupt()
            self._workers.join()
            self._abandoned.detach()
        self._blob.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def consumed(self) -> int:
        """How many bytes of the blob were read so far."""
        return self._blob.count

    @property
    def blob_digest(self) -> Digest:
        """The digest of the blob as it was stored; known when everything was read, and digests were asked for."""
        return _asked_for(self._known_digest(self._blob_algorithm, self._blob_hash))

    @property
    def blob_size(self) -> int:
        """The size of the blob as it was stored, in bytes; known when everything was read."""
        self._require_end()
        return self._blob.count

    @property
    def diff_id(self) -> Digest:
        """The digest of the uncompressed content; known when everything was read, and digests were asked for."""
        return _asked_for(self._known_digest(self._diff_algorithm, self._diff_hash))

    @property
    def uncompressed_size(self) -> int:
        """The size of the uncompressed content in bytes; known when everything was read."""
        self._require_end()
        return self._outcome.size

    def _known_digest(self, algorithm: str, known: _Known | None) -> Digest | None:
        self._require_end()
        return None if known is None else Digest(algorithm, known.hexdigest())

    def _require_end(self) -> None:
        if not self._outcome.complete:
            raise ValueError("the layer was not read to its end yet: call finish() first")


def _inflated_apart(
    blob: CountingSource,
    compression: Compression,
    keeper: SlabKeeper,
    limits: Limits,
    outcome: Outcome,
    blob_algorithm: str | None,
    diff_algorithm: str | None,
) -> InflateProcess | None:
    """A process that inflates, where it is worth one and one can be had."""
    part = blob.part
    if compression == "none" or keeper.region is None or part is None:
        return None
    from wclayer.oci.inflate_process import InflateProcess, is_worth_a_process  # most layers need no other process

    try:
        if not is_worth_a_process(part):
            return None
        return InflateProcess(
            blob,
            part,
            compression,
            keeper,
            limits,
            outcome,
            blob_algorithm=blob_algorithm,
            diff_algorithm=diff_algorithm,
        )
    except OSError:
        return None  # threads can do it as well


def _asked_for(digest: Digest | None) -> Digest:
    if digest is None:
        raise ValueError("nobody asked for this digest when the layer was opened")
    return digest


def _locate(error: BaseException, layer: str | None) -> None:
    if isinstance(error, WclayerError):
        error.locate(layer=layer)


def _inline(
    blob: CountingSource, compression: Compression, diff_hash: Hash | None, limits: Limits, outcome: Outcome
) -> Generator[memoryview]:
    """Everything in the caller's thread, one slab."""
    decoder = open_decoder(compression, blob, is_alone=True)
    slab = memoryview(bytearray(SLAB_SIZE))
    while count := fill(decoder, slab):
        outcome.size += count
        limits.check(blob.count, outcome.size)
        if diff_hash is not None:
            diff_hash.update(slab[:count])
        yield slab[:count].toreadonly()
    outcome.complete = True
