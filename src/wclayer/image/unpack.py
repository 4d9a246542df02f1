"""A whole image becomes layer folders, or one merged folder.

Layers go to disk side by side where there are processors for it, in processes (:mod:`wclayer.image.lane_process`), and
are committed base first (:mod:`wclayer.image.schedule`). Each layer is complete or absent. A layer that an earlier run
completed is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import FormatError, StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, sweep
from wclayer.image.importing import ImportedLayer
from wclayer.image.lane import Lane, LaneLostError, LaneOptions, LocalLane
from wclayer.image.places import CIM_PREFIX, folder_made
from wclayer.image.processors import WORTH_A_PROCESS, usable_processors
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.schedule import Schedule, Stopped
from wclayer.image.unpacked import (
    LAYERS,
    UnpackedImage,
    chain_ids,
    locked,
    refuse_others,
)
from wclayer.image.unpacked_documents import write_documents
from wclayer.oci import Digest, Image, LayerBlob, Limits, open_image
from wclayer.oci.platforms import format_platform
from wclayer.threads import Helper

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["UnpackOptions", "UnpackResult", "unpack", "unpack_image"]

_MOST_LANES = 8
_HELD_HERE, _HELD_APART = 2, 16  # poured layers that a lane may hold; each keeps up to a hundred folders open


@dataclass(frozen=True, slots=True)
class UnpackOptions:
    """How to unpack. ``jobs`` is how many layers go to disk at once, each in a process of its own but the first.

    None: as many as there are processors, where that is worth it; what is not needed for layers helps to inflate, hash
    and make files. With 1 all is done by one thread. The result is the same, whatever the number. ``network`` is the
    way to registries.
    """

    platform: str | None = None
    strict: bool = False
    sync: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    jobs: int | None = None
    network: Network | None = None

    def open_image(self, reference: str) -> Image:
        """Open the image that is to be unpacked."""
        return open_image(reference, self.platform, limits=self.limits, network=self.network)

    def lanes(self, sizes: Sequence[int]) -> int:
        """How many layers are written at once, out of those that have ``sizes`` bytes left to write."""
        todo = [size for size in sizes if size]
        wanted = self.jobs
        if wanted is None:
            wanted = min(usable_processors(), _MOST_LANES, 1 + (sum(todo) - max(todo, default=0)) // WORTH_A_PROCESS)
        wanted = min(wanted, len(todo))
        if wanted > 1:
            from wclayer.image.lane_process import can_start_processes  # most images have one layer of any size

            if can_start_processes():
                return wanted
        return 1


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
    image; then it is as it was. Of ``cim:…`` the layers of CIM images are unpacked.
    """
    if reference.startswith(CIM_PREFIX):
        from wclayer.image.unpacking_cims import unpack_cims

        try:
            layers, platform = unpack_cims(reference, folder, strict=options.strict, sync=options.sync)
        except WclayerError as error:
            raise error.locate(image=reference) from None
        chain = [layer.path for layer in reversed(layers)]
        return _counted(UnpackResult(reference, folder, layers, chain, platform, None))
    with options.open_image(reference) as image:
        try:
            return unpack_image(image, folder, options, progress)
        except WclayerError as error:
            raise error.locate(image=reference) from None


def unpack_image(image: Image, folder: Path, options: UnpackOptions, progress: Progress) -> UnpackResult:
    """The same for an open image."""
    for blob in image.layers:
        progress.expect(1, blob.locate().size)  # all must be there before anything is written
    layers = folder / LAYERS
    with folder_made(folder.absolute()), locked(folder) as lock:
        refuse_others(folder)
        _refuse_another_image(folder, image)
        layers.mkdir(exist_ok=True)
        sweep(layers)
        imported = _Layers(image, layers, options, progress, lock).run()
        chain = [layer.path for layer in reversed(imported)]
        write_documents(
            folder,
            imported,
            reference=image.reference,
            digest=image.digest,
            platform=_platform_text(image),
            manifest=None if image.manifest is None else image.manifest.raw,
            config=None if image.config is None else image.config.raw,
        )
    return _counted(
        UnpackResult(image.reference, folder, imported, chain, _platform_text(image), image.digest, notes=image.notes)
    )


def _counted(result: UnpackResult) -> UnpackResult:
    """The result with the notices of all its layers counted."""
    for layer in result.layers:
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


class _Layers:
    """The layers of one image on their way to disk. ``lock`` is the descriptor that holds the lock of the image."""

    def __init__(self, image: Image, folder: Path, options: UnpackOptions, progress: Progress, lock: int) -> None:
        self.image = image
        self.folder = folder
        self.options = options
        self.progress = progress
        self.lock = lock
        known = [layer.diff_id for layer in image.layers]
        self.chain = chain_ids([diff_id for diff_id in known if diff_id]) if all(known) else None
        self.diff_ids: list[Digest | None] = [None] * len(image.layers)
        self.done: list[ImportedLayer | None] = [None] * len(image.layers)
        sizes = [self._cost(layer) for layer in image.layers]
        self._lanes = options.lanes(sizes)
        self._schedule = Schedule(sizes, largest_first=self._lanes > 1)
        for index in self._schedule.order:
            if sizes[index]:
                image.layers[index].prefetch()

    def run(self) -> list[ImportedLayer]:
        """All layers, base first. Raises the error of the lowest bad layer, whatever the number of lanes."""
        with ExitStack() as stack:
            lanes = self._open_lanes(stack)
            others = [Helper(partial(self._work_beside, lane), "layer") for lane in lanes[1:]]
            try:
                for other in others:
                    other.start()
                self._work(lanes[0])
                for other in others:
                    other.join()
            except BaseException as error:
                self._schedule.fail(-1, error)  # interrupted: nobody goes on
                self.image.interrupt()  # nor waits for what is still to come
                raise
            finally:
                for other in others:
                    other.join()
        if self._schedule.error is not None:
            raise self._schedule.error
        return [layer for layer in self.done if layer is not None]

    def _open_lanes(self, stack: ExitStack) -> list[Lane]:
        """One in this process, the others in their own; where none can be started there are fewer."""
        options = self.options
        # What inflates, hashes and makes files beside a lane only helps where there is a processor for it.
        helpers = options.jobs != 1 and usable_processors() >= 2 * self._lanes
        shared = LaneOptions(options.strict, options.sync, options.limits, helpers, _HELD_APART)
        lanes: list[Lane] = [LocalLane(replace(shared, capacity=_HELD_HERE))]
        if self._lanes == 1:
            return lanes
        from wclayer.image.lane_process import ProcessLane

        with suppress(OSError):
            while len(lanes) < self._lanes:
                lane = ProcessLane(shared, self.lock)
                stack.callback(lane.close)
                lanes.append(lane)
        return lanes

    def _work_beside(self, lane: Lane) -> None:
        try:
            self._work(lane)
        except BaseException as error:  # for the thread that waits for this one to raise
            self._schedule.fail(-1, error)

    def _work(self, lane: Lane) -> None:
        """Let a lane do what it can. Raises nothing but interruptions; errors go to the schedule."""
        held: set[int] = set()
        index = -1
        try:
            if not lane.is_ready():
                return
            while (step := self._schedule.next_step(held, lane.options.capacity)) is not None:
                index = step.layer
                held.discard(index)
                try:
                    if step.action == "commit":
                        self._commit(lane, index)
                    elif self._pour(lane, index):
                        held.add(index)
                except Stopped:
                    continue
                except LaneLostError as error:
                    index = min({index, *held})
                    self._schedule.fail(index, error.locate(layer=str(self.image.layers[index])))
                    return
                except Exception as error:
                    self._schedule.fail(index, error)
        except BaseException as error:
            self._schedule.fail(-1, error)
            raise
        finally:
            for index in held:
                lane.drop(index)
                self.progress.end(str(self.image.layers[index]))

    def _pour(self, lane: Lane, index: int) -> bool:
        """Whether the layer is on disk now and waits for its commit; otherwise it was there already."""
        layer = self.image.layers[index]
        self._schedule.check(index)
        done = self._done_before(layer)
        if done is not None:
            self._settle(index, done)
            return False
        part = str(layer)
        progress = _Stoppable(self.progress, lambda: self._schedule.check(index))
        progress.begin(part)
        try:
            self.diff_ids[index] = lane.pour(layer, self._destination(layer), progress)
        except BaseException as error:
            progress.end(part)
            if isinstance(error, WclayerError):
                error.locate(layer=part)
            raise
        return True

    def _commit(self, lane: Lane, index: int) -> None:
        layer = self.image.layers[index]
        part = str(layer)
        try:
            parents = [below.path for below in reversed(self.done[:index]) if below is not None]
            media_type = layer.descriptor.media_type if layer.descriptor else None
            chain_id = str(self.chain[index] if self.chain else self.diff_ids[index])
            done = lane.commit(index, parents, chain_id, {"media_type": media_type})
        except WclayerError as error:
            raise error.locate(layer=part) from None
        finally:
            self.progress.end(part)
        self._settle(index, done)

    def _settle(self, index: int, done: ImportedLayer) -> None:
        self.done[index] = done
        self._schedule.settle(index)

    def _done_before(self, layer: LayerBlob) -> ImportedLayer | None:
        """The layer as an earlier run left it."""
        path = self._destination(layer)
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

    def _destination(self, layer: LayerBlob) -> Path:
        """Its folder, named by the chain id; where the DiffID is not known beforehand, by a number."""
        return self.folder / (self.chain[layer.index].hex if self.chain else f"layer-{layer.index}")

    def _cost(self, layer: LayerBlob) -> int:
        """The bytes that are left to do for it."""
        return 0 if self._destination(layer).is_dir() else layer.locate().size or 0


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
