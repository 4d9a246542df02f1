"""Copying an image from any place to any other: what was asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from wclayer.errors import UnsupportedError, WclayerError
from wclayer.image.copying.destinations import open_destination, registry_destination
from wclayer.image.copying.ends import Destination, Plan, Source
from wclayer.image.copying.engine import MovedBlob, move
from wclayer.image.copying.foreign import ForeignPolicy, is_foreign
from wclayer.image.copying.planning import PlanOptions, make_plan
from wclayer.image.copying.sources import MakeOptions, open_source
from wclayer.model import Notices
from wclayer.oci.digests import Digest
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST
from wclayer.oci.network import NO_TRANSFERS, Network, TransferProgress
from wclayer.oci.platforms import PlatformSpec, parse_platform

__all__ = ["CopiedBlob", "CopyOptions", "CopyResult", "copy_image", "copy_planned", "plan_copy"]


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What is copied, and how.

    ``platforms`` pick images of an index, in any spelling; ``all_platforms`` takes it whole. With ``preserve_digests``
    nothing is copied that would get another digest. With ``dry_run`` nothing is written. ``os_version`` is for an image
    that has to be made of a lone layer first. ``skip_present`` leaves an image alone that is there already, whole.
    """

    platforms: tuple[str | PlatformSpec, ...] = ()
    all_platforms: bool = False
    foreign: ForeignPolicy = "fetch"
    hyperv: bool = False
    preserve_digests: bool = False
    dry_run: bool = False
    skip_present: bool = False
    os_version: str = ""
    limits: Limits = Limits()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class CopiedBlob:
    """A blob of the image: ``outcome`` says how it came to be there, ``left`` that it was left where it is.

    In a dry run ``missing`` would be copied.
    """

    digest: Digest
    size: int
    media_type: str
    outcome: Literal["copied", "mounted", "present", "left", "missing"]


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What was copied.

    ``digest`` is that of the manifest or index at the destination and ``media_type`` its type; ``changed`` maps digests
    at the source to others at the destination. ``status`` is ``present`` when nothing had to be done.
    """

    source: str
    destination: str
    status: Literal["copied", "present", "planned"]
    digest: Digest
    media_type: str
    images: int
    blobs: tuple[CopiedBlob, ...]
    changed: Mapping[Digest, Digest]
    notes: tuple[str, ...]
    notices: Mapping[str, int] = field(default_factory=dict)

    @property
    def moved(self) -> int:
        """How many bytes of blobs were copied."""
        return sum(blob.size for blob in self.blobs if blob.outcome == "copied")


def copy_image(
    source: str,
    destination: str,
    options: CopyOptions = CopyOptions(),
    *,
    source_network: Network | None = None,
    destination_network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
    to_registry: bool = False,
) -> CopyResult:
    """Copy ``source`` to ``destination``; see :mod:`wclayer.image.copying.destinations` for what that may be.

    ``source`` is any image reference, or anything an image can be made of. The networks are the ways to registries;
    without one there is one with the usual settings. ``to_registry`` takes the destination for the name of an image in
    a registry, whatever else it could be.

    Nothing has a new name unless all of it is there. Raises whatever reading and writing raise.
    """
    own: Network | None = None
    if destination_network is None:
        destination_network = own = Network()
    try:
        if to_registry:
            target, names = registry_destination(destination, destination_network)
        else:
            target, names = open_destination(destination, network=destination_network, limits=options.limits)
        notices = Notices()
        making = MakeOptions(options.os_version, notices)
        opened = open_source(source, network=source_network, limits=options.limits, making=making)
        try:
            plan = plan_copy(opened, target, names, options)
            return replace(copy_planned(plan, target, options, progress=progress), notices=notices.counts)
        finally:
            opened.close()
    finally:
        if own is not None:
            own.close()


def plan_copy(source: Source, destination: Destination, names: Sequence[str], options: CopyOptions) -> Plan:
    """What copying ``source`` to ``destination`` consists of.

    Raises what planning raises, and UnsupportedError when digests change that must not.
    """
    platforms = tuple(parse_platform(one) if isinstance(one, str) else one for one in options.platforms)
    planned = PlanOptions(platforms, options.all_platforms, options.foreign, options.hyperv, destination.takes_tars)
    plan = make_plan(source, names, planned)
    if options.preserve_digests:
        if destination.takes_tars:
            raise UnsupportedError(
                f"{destination.reference} cannot hold the image as it is: layers are stored uncompressed there",
                hint="write oci-archive:FILE, or leave --preserve-digests out",
            )
        for old, new in plan.changed.items():
            raise UnsupportedError(
                f"{old} would become {new}", image=source.reference, hint="--all-platforms and --foreign fetch keep it"
            )
    return plan


def copy_planned(
    plan: Plan, destination: Destination, options: CopyOptions, *, progress: TransferProgress = NO_TRANSFERS
) -> CopyResult:
    """Do what ``plan`` says, and close ``destination``; in a dry run, say what it would do."""
    left = tuple(CopiedBlob(b.descriptor.digest, b.descriptor.size, b.descriptor.media_type, "left") for b in plan.left)
    try:
        if options.dry_run:
            blobs = tuple(
                CopiedBlob(
                    blob.descriptor.digest,
                    blob.descriptor.size,
                    blob.descriptor.media_type,
                    "present" if destination.has_blob(blob) else "missing",
                )
                for blob in plan.blobs
            )
            return _result(plan, destination, "planned", (*blobs, *left), {})
        if options.skip_present and destination.is_present(plan):
            blobs = tuple(_copied(MovedBlob(blob.descriptor, "present")) for blob in plan.blobs)
            return _result(plan, destination, "present", (*blobs, *left), {})
        moved, changed = move([plan], destination, progress=progress, may_retype=not options.preserve_digests)
        return _result(plan, destination, "copied", (*(_copied(one) for one in moved), *left), changed)
    except WclayerError as error:
        raise error.locate(image=plan.source.reference) from None
    finally:
        destination.close()


def _copied(moved: MovedBlob) -> CopiedBlob:
    descriptor = moved.descriptor
    return CopiedBlob(descriptor.digest, descriptor.size, descriptor.media_type, moved.outcome)


def _result(
    plan: Plan,
    destination: Destination,
    status: Literal["copied", "present", "planned"],
    blobs: tuple[CopiedBlob, ...],
    rewritten: Mapping[Digest, Digest],
) -> CopyResult:
    changed = {old: rewritten.get(new, new) for old, new in plan.changed.items()}
    known = set(changed.values())
    changed |= {old: new for old, new in rewritten.items() if new not in known and old != new}
    root = plan.root.descriptor
    return CopyResult(
        plan.source.reference,
        destination.reference,
        status,
        rewritten.get(root.digest, root.digest),
        _written_type(root.media_type, destination, rewritten),
        sum(1 for document in plan.documents if document.config is not None),
        blobs,
        changed,
        (*plan.notes, *_notes(plan, destination, rewritten)),
    )


def _written_type(planned: str, destination: Destination, rewritten: Mapping[Digest, Digest]) -> str:
    if not rewritten:
        return planned
    if destination.takes_tars:
        return OCI_MANIFEST
    return {OCI_MANIFEST: DOCKER_MANIFEST, OCI_INDEX: DOCKER_MANIFEST_LIST}.get(planned, planned)


def _notes(plan: Plan, destination: Destination, rewritten: Mapping[Digest, Digest]) -> list[str]:
    notes = []
    if plan.left:
        total = sum(blob.descriptor.size for blob in plan.left)
        notes.append(
            f"{len(plan.left)} foreign layers ({total} bytes) were left where they are; whoever uses the copy has to"
            " fetch them from their addresses"
        )
    taken = [blob for blob in plan.blobs if is_foreign(blob.origin)]
    if taken:
        notes.append(
            f"{len(taken)} foreign layers are copied as well: whether you may pass them on is said by their license"
        )
    notes += [f"{old} becomes {new}" for old, new in plan.changed.items()]
    why = "OCI manifests are refused there, so it is a Docker one"
    if destination.takes_tars:
        why = "an archive of docker save holds layers uncompressed; the image ID stays"
    notes += [f"{old} becomes {new}: {why}" for old, new in rewritten.items() if old != new]
    return notes
