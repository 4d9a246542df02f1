"""``ImportLayerFromTar``: a layer tar becomes a layer folder as hcsshim makes one, or nothing at all.

The tar goes into a transport folder, ImportLayer takes that apart into the layer's folder, then come deletions, hard
links, times of folders and the utility VM. hcsshim does all of that even after a tar that was cut short; here the
layer grows under a hidden name and gets its own only when everything was right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.formats.base import BaseLayerWriter
from wclayer.formats.folder import sweep
from wclayer.formats.folder.staging import Staging
from wclayer.formats.tar import Members, Policy, SlabStream
from wclayer.formats.transport import LegacyLayerWriter, commit_layer, import_layer, process_nothing
from wclayer.formats.transport.direct import DirectLayerWriter
from wclayer.formats.transport.pour import pour_tar
from wclayer.formats.volume import Manifest, RestoreObserver, Volume
from wclayer.formats.volume.layer import open_layer_volume, synchronise
from wclayer.model import Notice, Notices

__all__ = ["PORTABLE", "ImportedTar", "LayerCalls", "import_layer_from_tar"]


@dataclass(frozen=True, slots=True)
class LayerCalls:
    """What Windows would do to a layer, as functions of volumes."""

    import_layer: Callable[[Volume, Volume, Sequence[Volume]], None] = import_layer
    process_base_image: Callable[[Volume], None] = process_nothing
    process_utility_image: Callable[[Volume], None] = process_nothing


PORTABLE = LayerCalls()
"""The answers of this package: what can be done off Windows is done, the rest is left for Windows to do."""


@dataclass(slots=True)
class ImportedTar:
    """A layer folder that was made: where, the sum of its file sizes as hcsshim returns it, and what was odd."""

    path: Path
    size: int
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def import_layer_from_tar(
    slabs: Iterable[bytes | bytearray | memoryview],
    destination: Path,
    parents: Sequence[Path] = (),
    *,
    calls: LayerCalls = PORTABLE,
    policy: Policy = "reference",
    strict: bool = False,
    sync: bool = False,
    check: Callable[[], object] = lambda: None,
    observer: RestoreObserver | None = None,
) -> ImportedTar:
    """Make the layer folder ``destination`` of the uncompressed tar that ``slabs`` yields.

    ``parents`` are the folders of the layers below, nearest first; none makes it a base layer. ``destination`` must not
    exist, or be empty; its parent must exist. ``check`` is called before each entry; what it raises ends the import.
    On any error, the death of this process included, ``destination`` stays as it was; what is left of a dead process
    goes with the next import beside it.
    """
    notices = Notices(strict=strict)
    destination = destination.absolute()
    sweep(destination.parent)
    staging = Staging(destination)
    try:
        with ExitStack() as held:
            layer = open_layer_volume(
                staging.path, label=str(destination), writable=True, notices=notices, observer=observer
            )
            held.push(layer)
            members = Members(SlabStream(slabs))
            if parents:
                size = _import_diff(members, layer, parents, calls, policy, check, held)
            else:
                size = _import_base(members, layer, calls, policy, check)
        synchronise(staging.path, everything=sync)
        staging.publish()
    except WclayerError as error:
        raise error.locate(layer=str(destination)) from None
    finally:
        staging.discard()
    return ImportedTar(destination, size, dict(notices.counts), list(notices.listed))


def _import_base(
    members: Members, layer: Volume, calls: LayerCalls, policy: Policy, check: Callable[[], object]
) -> int:
    writer = BaseLayerWriter(layer, calls.process_base_image, calls.process_utility_image)
    try:
        size = pour_tar(members, writer, policy=policy, check=check)
        writer.close()
    finally:
        writer.abandon()
    return size


def _import_diff(
    members: Members,
    layer: Volume,
    parents: Sequence[Path],
    calls: LayerCalls,
    policy: Policy,
    check: Callable[[], object],
    held: ExitStack,
) -> int:
    below = []
    for parent in parents:
        below.append(open_layer_volume(Path(parent), label=str(parent)))
        held.push(below[-1])
    scratch = Staging(layer.root.parent / f"{layer.root.name[1:40]}-transport")
    held.callback(scratch.discard)
    (scratch.path / "transport").mkdir()
    manifest = Manifest(scratch.path / "manifest")
    transport = Volume(scratch.path / "transport", manifest, label=layer.label, notices=layer.notices)
    transport.observer = layer.observer
    held.callback(transport.close, commit=False)
    is_ours = calls.import_layer is import_layer
    writer = (DirectLayerWriter if is_ours else LegacyLayerWriter)(transport, layer, below)
    try:
        size = pour_tar(members, writer, policy=policy, check=check)
        commit_layer(writer, calls.import_layer, calls.process_utility_image)
    finally:
        writer.abandon()
    return size
