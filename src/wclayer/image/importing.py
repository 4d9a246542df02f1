"""One layer tar becomes one layer folder: inflated, hashed, parsed, written in one pass, committed if all is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, sweep
from wclayer.formats.folder.shared_memory import MAX_HELD, SharedMemory
from wclayer.formats.tar import TarLayerReader
from wclayer.image.chain import is_layer_folder, open_all, with_ancestors
from wclayer.image.places import folder_made
from wclayer.image.processors import usable_processors, worth_a_process
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import Notice, Notices
from wclayer.oci import Digest, LayerStream, Limits, open_image, open_layer
from wclayer.oci.digests import digest_of
from wclayer.oci.workers import SLAB_SIZE, SLABS
from wclayer.processes import can_start_workers

__all__ = ["ImportedLayer", "Pour", "import_layer", "slab_memory", "written_apart"]

_FEW = 2
_HELD_APART = 16
_IN_USE = 2  # one that is filled or read, one with a piece of the blob
_ROOM = (SLABS + MAX_HELD) * SLAB_SIZE  # not more: what is used again soon is still in the processor's cache


@dataclass(slots=True)
class ImportedLayer:
    """A layer folder that an import made, or found made already (``reused``).

    ``size`` and ``blob_size`` are bytes of the uncompressed tar and of the blob; ``file_bytes`` is the sum of the sizes
    of the files, as hcsshim's import returns it. ``chain_id`` names the layer with all it stands on, None when that is
    not known. ``notices`` counts what was odd, ``listed`` has the first of each kind.
    """

    path: Path
    diff_id: Digest
    blob_digest: Digest | None = None
    chain_id: str | None = None
    compression: str = ""
    size: int = 0
    blob_size: int = 0
    file_bytes: int = 0
    reused: bool = False
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def slab_memory(size: int | None) -> SharedMemory | None:
    """Memory for the slabs of a blob of ``size`` bytes that another process sees too, where one is worth it."""
    if not worth_a_process(size) or not can_start_workers():
        return None
    # The better division of the work for two processors; with more, every thread has one.
    hashes = usable_processors() <= _FEW
    most = _ROOM // SLAB_SIZE - _IN_USE if hashes else MAX_HELD
    try:
        return SharedMemory(_ROOM, most_held=most, hashes=hashes)
    except OSError:
        return None  # one process can do it as well


def written_apart() -> SharedMemory | None:
    """Memory for slabs that one process inflates and of which another makes blobs, should there be enough; or None."""
    if not can_start_workers():
        return None
    try:
        return SharedMemory((SLABS + _HELD_APART) * SLAB_SIZE, most_held=_HELD_APART, inflated_apart=True)
    except OSError:
        return None  # one process can do it as well


class Pour:
    """A layer on its way from a stream into a folder, in two steps, so that several layers can take the first at once.

    :meth:`run` writes everything and verifies every digest; :meth:`commit`, once the parents are there, makes the layer
    exist. Leaving the ``with`` block without a commit leaves nothing. ``poured`` is what :meth:`run` found out. With
    ``memory``, which must be the keeper of the stream's slabs, another process makes the files.
    """

    poured: ImportedLayer

    def __init__(
        self,
        stream: LayerStream,
        destination: Path,
        *,
        strict: bool = False,
        sync: bool = False,
        memory: SharedMemory | None = None,
    ) -> None:
        self._stream: LayerStream | None = stream
        self._memory = memory
        self.notices = Notices(strict=strict)
        apart = memory is not None
        try:
            self.writer = LayerFolderWriter(
                destination, notices=self.notices, sync=sync, second_process=apart, memory=memory
            )
        except BaseException:
            stream.close()
            raise

    def __enter__(self) -> Pour:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing, unless it was committed."""
        if self._stream is not None:
            self._stream.close()
        self.writer.abort()

    def run(self, progress: Progress = NO_PROGRESS, part: str = "") -> None:
        """Read the whole stream, once. Raises whatever is wrong with it, or with its digests."""
        stream = self._stream
        if stream is None:
            raise UsageError(f"the layer {self.writer.path} was poured already")
        reader = TarLayerReader(
            watched(stream, progress, part),
            notices=self.notices,
            recorder=self.writer.header_record(),
            place=self._memory.place if self._memory is not None else None,
        )
        self.writer.write_all(reader)
        stream.finish()
        self.poured = ImportedLayer(
            self.writer.path,
            stream.diff_id,
            stream.blob_digest,
            compression=stream.compression,
            size=stream.uncompressed_size,
            blob_size=stream.blob_size,
            file_bytes=reader.size,
        )
        self._stream = self._memory = None  # they are large, and the commit may have to wait

    def commit(
        self, parents: Sequence[LayerFolder | Path], chain_id: str | None, facts: Mapping[str, str | None]
    ) -> ImportedLayer:
        """Resolve hard links in this layer and in ``parents``, nearest first, and publish the folder.

        ``chain_id`` and ``facts`` are recorded of the layer, with what :meth:`run` found out.
        """
        layer = self.poured
        self.writer.set_parents(parents)
        self.writer.set_facts(
            diff_id=str(layer.diff_id),
            blob_digest=str(layer.blob_digest),
            blob_size=layer.blob_size,
            tar_size=layer.size,
            compression=layer.compression,
            policy="faithful",
            **facts,
            chain_id=chain_id,
        )
        self.writer.commit()
        return replace(layer, chain_id=chain_id, notices=dict(self.notices.counts), listed=list(self.notices.listed))


def import_layer(
    source: str,
    destination: Path,
    *,
    parents: Sequence[Path] = (),
    diff_id: str | None = None,
    strict: bool = False,
    sync: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
) -> ImportedLayer:
    """Make the layer folder ``destination`` from the layer tar ``source``: a path, or ``-`` for standard input.

    ``parents`` are layer folders, nearest first; those that the last of them names in its ``layerchain.json`` follow by
    themselves. ``diff_id`` is the digest that the uncompressed tar must have. On any error nothing is left, and what
    was at ``destination`` stays.
    """
    promised = Digest.parse(diff_id) if diff_id else None
    if is_layer_folder(Path(source)) or UnpackedImage.is_one(Path(source)):
        raise UsageError(f"{source} is a folder that was unpacked or imported already, not a layer tar")
    opened = open_all(with_ancestors(parents))
    parent = destination.absolute().parent
    try:
        with open_image(source, limits=limits) as image, folder_made(parent):
            sweep(parent)
            if image.manifest is not None:
                raise UsageError(f"{source} is an image, not a layer", hint="unpack it: wclayer unpack IMAGE DIR")
            layer = image.layers[0]
            progress.expect(1, layer.locate().size)
            progress.begin(source)
            try:
                memory = slab_memory(layer.locate().size)
                stream = open_layer(layer.open(), diff_id=promised, limits=limits, layer=source, keeper=memory)
                with Pour(stream, destination, strict=strict, sync=sync, memory=memory) as pour:
                    pour.run(progress, source)
                    return pour.commit(opened, _chain_id(opened, pour.poured.diff_id), {"source": source})
            finally:
                progress.end(source)
    except WclayerError as error:
        raise error.locate(layer=source) from None
    finally:
        for folder in opened:
            folder.close()


def _chain_id(parents: Sequence[LayerFolder], diff_id: Digest) -> str | None:
    """The chain id of a layer on ``parents``, where the nearest of them knows its own."""
    if not parents:
        return str(diff_id)
    below = parents[0].facts.get("chain_id")
    return str(digest_of(f"{below} {diff_id}".encode())) if isinstance(below, str) else None
