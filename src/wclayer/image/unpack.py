"""A whole image becomes layer folders, or one merged folder.

Layers go to disk side by side where there are processors for it; they are committed base first, because a hard link may
lead into a parent. Each layer is complete or absent. A layer that an earlier run completed is taken as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from wclayer.errors import FormatError, StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, sweep
from wclayer.formats.folder.folder import layer_chain_text
from wclayer.image.importing import ImportedLayer, Pour
from wclayer.image.places import folder_made
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.unpacked import (
    CHAIN_FILE,
    CONFIG_FILE,
    IMAGE_FILE,
    LAYERS,
    MANIFEST_FILE,
    SCHEMA,
    UnpackedImage,
    chain_ids,
    locked,
    refuse_others,
)
from wclayer.image.whole import new_file
from wclayer.oci import Digest, Image, LayerBlob, Limits, open_image
from wclayer.oci.platforms import format_platform

__all__ = ["UnpackOptions", "UnpackResult", "unpack", "unpack_image"]


@dataclass(frozen=True, slots=True)
class UnpackOptions:
    """How to unpack. ``jobs`` is how many layers go to disk at once; None: as many as the processors can feed."""

    platform: str | None = None
    strict: bool = False
    sync: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    jobs: int | None = None

    def workers(self, layers: int) -> int:
        """One layer keeps two processors busy: one inflates, one writes and hashes."""
        wanted = self.jobs if self.jobs is not None else (os.cpu_count() or 2) // 2
        return max(1, min(wanted, layers))


@dataclass(slots=True)
class UnpackResult:
    """What was unpacked. ``layers`` are base first, ``chain`` is nearest first."""

    reference: str
    folder: Path
    layers: list[ImportedLayer]
    chain: list[Path]
    platform: str | None
    digest: Digest | None
    notes: tuple[str, ...] = ()
    notices: dict[str, int] = field(default_factory=dict)


def unpack(
    reference: str,
    folder: Path,
    options: UnpackOptions = UnpackOptions(),
    progress: Progress = NO_PROGRESS,
) -> UnpackResult:
    """Unpack the image ``reference`` to ``folder`` (see :mod:`wclayer.image.unpacked` for what is there afterwards).

    Running it again completes what is missing. Raises StoreError when ``folder`` holds something else, or another
    image; then it is as it was.
    """
    with open_image(reference, options.platform, limits=options.limits) as image:
        try:
            return unpack_image(image, folder, options, progress)
        except WclayerError as error:
            raise error.locate(image=reference) from None


def unpack_image(image: Image, folder: Path, options: UnpackOptions, progress: Progress) -> UnpackResult:
    """The same for an open image."""
    for blob in image.layers:
        progress.expect(1, blob.locate().size)  # all must be there before anything is written
    layers = folder / LAYERS
    with folder_made(folder.absolute()), locked(folder):
        refuse_others(folder)
        _refuse_another_image(folder, image)
        layers.mkdir(exist_ok=True)
        sweep(layers)
        imported = _Layers(image, layers, options, progress).run()
        chain = [layer.path for layer in reversed(imported)]
        _write_documents(folder, image, imported, chain)
    result = UnpackResult(
        image.reference, folder, imported, chain, _platform_text(image), image.digest, notes=image.notes
    )
    for layer in imported:
        for code, count in layer.notices.items():
            result.notices[code] = result.notices.get(code, 0) + count
    return result


def _refuse_another_image(folder: Path, image: Image) -> None:
    if not UnpackedImage.is_one(folder):
        return
    there = UnpackedImage.load(folder)
    diff_ids = tuple(str(layer.diff_id) for layer in image.layers)
    if there.diff_ids != diff_ids and all(layer.diff_id for layer in image.layers):
        raise StoreError(
            f"{folder} holds another image, {there.reference}", hint="unpack to another folder, or remove that one"
        )


def _platform_text(image: Image) -> str | None:
    return format_platform(image.platform) if image.platform else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _write_documents(folder: Path, image: Image, layers: list[ImportedLayer], chain: list[Path]) -> None:
    if image.manifest is not None:
        _write(folder / MANIFEST_FILE, image.manifest.raw)
    if image.config is not None:
        _write(folder / CONFIG_FILE, image.config.raw)
    _write(folder / CHAIN_FILE, layer_chain_text(path.absolute() for path in chain))
    document = {
        "schema": SCHEMA,
        "reference": image.reference,
        "digest": str(image.digest) if image.digest else None,
        "platform": _platform_text(image),
        "layers": [
            {
                "folder": layer.path.name,
                "diff_id": str(layer.diff_id),
                "digest": str(layer.blob_digest) if layer.blob_digest else None,
                "compression": layer.compression,
                "size": layer.size,
                "blob_size": layer.blob_size,
            }
            for layer in layers
        ],
    }
    # Last: an unpacked image is one that has this file.
    _write(folder / IMAGE_FILE, json.dumps(document, indent=1).encode() + b"\n")


def _write(path: Path, data: bytes) -> None:
    with new_file(path) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


class _Layers:
    """The layers of one image on their way to disk."""

    def __init__(self, image: Image, folder: Path, options: UnpackOptions, progress: Progress) -> None:
        self.image = image
        self.folder = folder
        self.options = options
        self.progress = progress
        known = [layer.diff_id for layer in image.layers]
        self.chain = chain_ids([diff_id for diff_id in known if diff_id]) if all(known) else None
        self.paths: list[Path | None] = [None] * len(image.layers)
        self.settled = [Event() for _ in image.layers]  # committed or failed
        self._failed = len(image.layers)  # the lowest layer that failed
        self._lock = Lock()

    def run(self) -> list[ImportedLayer]:
        """All layers, base first.

        When one fails, those above it stop and those below it go on: they are complete then, and another run takes them
        as they are. So the error that is raised is that of the lowest bad layer, however many are unpacked at once.
        """
        count = len(self.image.layers)
        with ThreadPoolExecutor(self.options.workers(count), thread_name_prefix="layer") as pool:
            futures: list[Future[ImportedLayer]] = [pool.submit(self._one, layer) for layer in self.image.layers]
            try:
                return [future.result() for future in futures]
            except BaseException as error:
                if not isinstance(error, Exception):
                    self._stop(-1)  # interrupted: nobody goes on
                raise

    def _one(self, layer: LayerBlob) -> ImportedLayer:
        index = layer.index
        try:
            self._check(index)
            done = self._done_before(layer) or self._pour(layer)
        except BaseException:
            self._stop(index)
            raise
        self.paths[index] = done.path
        self.settled[index].set()
        return done

    def _stop(self, index: int) -> None:
        """Layer ``index`` failed (-1: all did): none above it can be committed."""
        with self._lock:
            self._failed = min(self._failed, index)
        for event in self.settled[max(index, 0) :]:
            event.set()

    def _check(self, index: int) -> None:
        if self._failed < index:
            raise StoreError("stopped, because a layer below it failed")

    def _done_before(self, layer: LayerBlob) -> ImportedLayer | None:
        """The layer as an earlier run left it."""
        path = self.folder / self._name(layer)
        if not path.is_dir():
            return None
        with LayerFolder(path) as folder:
            facts = folder.facts
            counts, listed = folder.notices()
        diff_id = layer.diff_id
        if diff_id is None:
            with layer.stream(limits=self.options.limits) as stream:
                stream.finish()
                diff_id = stream.diff_id
        if facts.get("diff_id") != str(diff_id):
            raise StoreError(f"{path} holds another layer than its name says", hint="remove it and unpack again")
        if self.options.strict and listed:
            first = listed[0]
            hint = "refused because of --strict; an earlier run kept it"
            raise FormatError(first.detail, kind=first.code, layer=str(layer), path=first.path, hint=hint)
        self._count_as_read(layer)
        blob, chain_id = facts.get("blob_digest"), facts.get("chain_id")
        return ImportedLayer(
            path,
            diff_id,
            Digest.parse(blob) if isinstance(blob, str) else None,
            chain_id if isinstance(chain_id, str) else None,
            str(facts.get("compression", "")),
            _number(facts.get("tar_size")),
            _number(facts.get("blob_size")),
            reused=True,
            notices=counts,
            listed=listed,
        )

    def _count_as_read(self, layer: LayerBlob) -> None:
        part = str(layer)
        self.progress.begin(part)
        self.progress.advance(part, layer.locate().size or 0)
        self.progress.end(part)

    def _pour(self, layer: LayerBlob) -> ImportedLayer:
        part = str(layer)
        progress = _Stoppable(self.progress, lambda: self._check(layer.index))
        progress.begin(part)
        try:
            stream = layer.stream(limits=self.options.limits)
            destination = self.folder / self._name(layer)
            with Pour(stream, destination, strict=self.options.strict, sync=self.options.sync) as pour:
                pour.run(progress, part)
                parents = self._parents(layer.index)
                media_type = layer.descriptor.media_type if layer.descriptor else None
                chain_id = str(self.chain[layer.index] if self.chain else stream.diff_id)
                return pour.commit(parents, {"media_type": media_type, "chain_id": chain_id})
        except WclayerError as error:
            raise error.locate(layer=part) from None
        finally:
            progress.end(part)

    def _name(self, layer: LayerBlob) -> str:
        """The name of its folder: of a layer whose DiffID is not known beforehand, a number."""
        return self.chain[layer.index].hex if self.chain else f"layer-{layer.index}"

    def _parents(self, index: int) -> list[Path]:
        """The layers below, nearest first, once they are committed."""
        parents = []
        for below in reversed(range(index)):
            self.settled[below].wait()
            path = self.paths[below]
            if path is None:
                raise StoreError("stopped, because a layer below it failed")
            parents.append(path)
        return parents


class _Stoppable:
    """Progress that raises when ``check`` does, so that nobody finishes work in vain."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._check = check
        self.expect = progress.expect
        self.begin = progress.begin
        self.end = progress.end
        self._advance = progress.advance

    def advance(self, part: str, count: int) -> None:
        self._check()
        self._advance(part, count)
