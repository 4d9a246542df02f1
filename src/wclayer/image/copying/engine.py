"""Moving what was planned: blobs first and several at once, then documents, children first, and names at the end.

Every byte is verified on its way. The first error stops everything; what has arrived by then is used by the next run
wherever the destination can keep it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from wclayer.errors import WclayerError
from wclayer.image.copying.ends import Destination, Outcome, Plan, PlannedBlob, TypesRefusedError
from wclayer.image.copying.retyping import with_docker_types
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest
from wclayer.oci.image import LayerBlob, StoredBlob
from wclayer.oci.network import NO_TRANSFERS, TransferProgress

__all__ = ["JOBS", "MovedBlob", "move"]

JOBS = 4
"""How many blobs are copied at the same time, where the destination does not say less."""


@dataclass(frozen=True, slots=True)
class MovedBlob:
    """A blob, and how it came to be at the destination."""

    descriptor: Descriptor
    outcome: Outcome


class _Stopped(Exception):  # not an error: another thread has it
    """The work is called off."""


def move(
    plans: Sequence[Plan],
    destination: Destination,
    *,
    progress: TransferProgress = NO_TRANSFERS,
    may_retype: bool = False,
) -> tuple[list[MovedBlob], Mapping[Digest, Digest]]:
    """Do what ``plans`` say. Returns the blobs, each once, and the documents that the destination wrote as others.

    With ``may_retype`` a destination that refuses OCI manifests gets Docker ones. The caller closes ``destination``.

    Raises NotFoundError for a blob that the source lacks, DigestMismatchError for one that is not what it must be, and
    whatever the two ends raise; then the destination has no new name.
    """
    destination.begin(plans)
    blobs = list({blob.descriptor.digest: blob for plan in plans for blob in plan.blobs}.values())
    moved = _move_blobs(blobs, destination, progress)
    try:
        return moved, _put_documents(plans, destination)
    except TypesRefusedError:
        others = [with_docker_types(plan) for plan in plans] if may_retype else []
        retyped = [other for other in others if other is not None]
        if not retyped or len(retyped) < len(others):
            raise
    _put_documents(retyped, destination)
    pairs = zip(plans, retyped, strict=True)
    changed = [pair for old, new in pairs for pair in zip(old.documents, new.documents, strict=True)]
    return moved, {old.descriptor.digest: new.descriptor.digest for old, new in changed}


def _put_documents(plans: Sequence[Plan], destination: Destination) -> Mapping[Digest, Digest]:
    written: set[Digest] = set()
    for plan in plans:
        for document in plan.documents:
            if document.descriptor.digest not in written:
                written.add(document.descriptor.digest)
                destination.put_document(document, plan)
    return destination.finish(plans)


def _move_blobs(blobs: Sequence[PlannedBlob], destination: Destination, progress: TransferProgress) -> list[MovedBlob]:
    stop = threading.Event()

    def one(blob: PlannedBlob) -> MovedBlob:
        part = str(blob)

        def advance(count: int) -> None:
            if stop.is_set():
                raise _Stopped
            progress.advance_blob(part, count)

        if stop.is_set():
            raise _Stopped
        progress.start_blob(part, blob.descriptor.size, 0)
        try:
            stored = _located(blob, any_form=destination.takes_tars)
            return MovedBlob(blob.descriptor, destination.put_blob(blob, stored, advance))
        except WclayerError as error:
            raise error.locate(image=blob.source.reference, layer=part) from None
        finally:
            progress.end_blob(part)

    if destination.jobs == 1 or len(blobs) < 2:
        small_first = sorted(blobs, key=lambda blob: blob.descriptor.type.role == "layer")
        return [one(blob) for blob in small_first]
    with ThreadPoolExecutor(destination.jobs or JOBS, thread_name_prefix="wclayer-blob") as pool:
        largest_first = sorted(blobs, key=lambda blob: -blob.descriptor.size)
        running = {pool.submit(one, blob): blob for blob in largest_first}
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
        finally:  # also when a person interrupts: the threads end at their next piece
            if not all(future.done() and future.exception() is None for future in running):
                stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        failed = [error for future in done if (error := future.exception()) is not None]
        for error in sorted(failed, key=lambda error: isinstance(error, _Stopped)):
            raise error
        by_digest = {future.result().descriptor.digest: future.result() for future in done}
    return [by_digest[blob.descriptor.digest] for blob in blobs]


def _located(blob: PlannedBlob, *, any_form: bool) -> StoredBlob:
    stored = blob.locate(any_form=any_form)
    if stored is None or not (stored.original or any_form or blob.descriptor.digest != blob.origin.digest):
        return LayerBlob(0, 1, blob.origin, blob.diff_id, lambda: None).locate()  # says what is missing
    return stored
