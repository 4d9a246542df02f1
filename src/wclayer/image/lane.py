"""A lane writes layers of an image, one after the other: in two steps, so that layers can wait for their parents.

:class:`LocalLane` does it in this process; :class:`~wclayer.image.lane_process.ProcessLane` has another one do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wclayer.errors import IntegrityError, StoreError
from wclayer.image.importing import ImportedLayer, Pour, slab_memory
from wclayer.image.progress import Progress
from wclayer.oci import Digest, LayerBlob, Limits

__all__ = ["Lane", "LaneLostError", "LaneOptions", "LocalLane"]


class LaneLostError(StoreError):
    """The process of a lane died, and with it all layers that it held."""


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How a lane works. It may hold ``capacity`` poured layers.

    With ``helpers`` threads inflate and hash beside it, and for large layers another process makes the files.
    """

    strict: bool
    sync: bool
    limits: Limits
    helpers: bool
    capacity: int


class Lane(Protocol):
    """Used by one thread."""

    options: LaneOptions

    def is_ready(self) -> bool:
        """Wait until it can begin; False when it never can."""

    def pour(self, blob: LayerBlob, destination: Path, progress: Progress) -> Digest:
        """Write a layer and verify it; returns its DiffID. Whatever this raises, nothing of the layer is left.

        ``progress`` may raise to stop it. Raises LaneLostError.
        """

    def commit(
        self, index: int, parents: Sequence[Path], chain_id: str, facts: Mapping[str, str | None]
    ) -> ImportedLayer:
        """Make the poured layer ``index`` exist, on ``parents``, nearest first. After an error it is gone."""

    def drop(self, index: int) -> None:
        """Leave nothing of the poured layer ``index``."""

    def close(self) -> None:
        """Leave nothing of what is still held."""


class LocalLane:
    """A lane in this process."""

    def __init__(self, options: LaneOptions) -> None:
        self.options = options
        self._held: dict[int, Pour] = {}

    def is_ready(self) -> bool:
        """Always."""
        return True

    def pour(self, blob: LayerBlob, destination: Path, progress: Progress) -> Digest:
        """Write a layer and verify it, while it comes where it is not all here yet."""
        arriving = blob.locate().arriving
        try:
            return self._pour(blob, destination, progress, following=arriving is not None)
        except IntegrityError:
            if arriving is None:
                raise
        # What was read was not verified yet. If it came damaged it was fetched once more; if not, the layer is bad.
        arriving.wait(lambda: progress.advance(str(blob), 0))
        return self._pour(blob, destination, progress, following=False)

    def _pour(self, blob: LayerBlob, destination: Path, progress: Progress, *, following: bool) -> Digest:
        options = self.options
        memory = slab_memory(blob.locate().size) if options.helpers else None
        stream = blob.stream(limits=options.limits, threads=options.helpers, following=following, keeper=memory)
        pour = Pour(stream, destination, strict=options.strict, sync=options.sync, memory=memory)
        try:
            pour.run(progress, str(blob))
        except BaseException:
            pour.close()
            raise
        self._held[blob.index] = pour
        return pour.poured.diff_id

    def commit(
        self, index: int, parents: Sequence[Path], chain_id: str, facts: Mapping[str, str | None]
    ) -> ImportedLayer:
        """Make a poured layer exist."""
        with self._held.pop(index) as pour:
            return pour.commit(parents, chain_id, facts)

    def drop(self, index: int) -> None:
        """Leave nothing of a poured layer, if it is one."""
        pour = self._held.pop(index, None)
        if pour is not None:
            pour.close()

    def close(self) -> None:
        """Leave nothing of what is still held."""
        for index in tuple(self._held):
            self.drop(index)
