"""Several images in one file, for where there is no network, and out of it again.

The file is an OCI layout in a tar, with Docker's list beside it: whoever reads either of them can use it. It holds
every blob, also those of foreign layers, and nothing twice. Loading goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, UsageError, WclayerError
from wclayer.image.copying.archive_destinations import LayoutArchiveDestination
from wclayer.image.copying.copying import CopyOptions, CopyResult, copy_planned, plan_copy
from wclayer.image.copying.destinations import open_destination
from wclayer.image.copying.ends import Plan, Source
from wclayer.image.copying.engine import move
from wclayer.image.copying.naming import full_name, name_of, target_for
from wclayer.image.copying.saved import saved_images
from wclayer.image.copying.sources import STORE_PREFIX, open_source, spooled_stdin
from wclayer.oci.digests import Digest
from wclayer.oci.docker_archive import DockerArchive
from wclayer.oci.image import Image
from wclayer.oci.layout import Layout, entry_names
from wclayer.oci.network import NO_TRANSFERS, Network, TransferProgress
from wclayer.oci.open import OpenStore, open_place
from wclayer.oci.references import Reference

__all__ = ["Bundled", "BundledImage", "bundle_images", "load_images"]


@dataclass(frozen=True, slots=True)
class BundledImage:
    """An image in the file: its name there, None without one, and the digest of its manifest or index."""

    source: str
    name: str | None
    digest: Digest
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was written: ``size`` is that of all blobs together, in bytes, each counted once."""

    file: str
    images: tuple[BundledImage, ...]
    blobs: int
    size: int


def bundle_images(
    references: Sequence[str],
    file: str,
    options: CopyOptions = CopyOptions(),  # noqa: B008 - frozen
    *,
    network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
) -> Bundled:
    """Write the images that ``references`` name to ``file``, ``-`` being standard output.

    Raises UsageError when two of them have one name, and whatever opening and reading raise; then there is no file.
    """
    with ExitStack() as held:
        if network is None:
            network = held.enter_context(Network())
        target = LayoutArchiveDestination(file, file, for_docker=True)
        held.callback(target.close)
        plans: list[Plan] = []
        taken: dict[str, str] = {}
        for text in references:
            source = open_source(text, network=network, limits=options.limits)
            held.callback(source.close)
            name = name_of(source)
            names = () if name is None or name.tag is None else (str(replace(name, digest=None)),)
            for one in names:
                if one in taken:
                    raise UsageError(f"{taken[one]} and {text} are both called {one}")
                taken[one] = text
            plans.append(plan_copy(source, target, names, options))
        moved, _ = move(plans, target, progress=progress)
        images = tuple(
            BundledImage(plan.source.reference, next(iter(plan.names), None), plan.root.descriptor.digest, plan.notes)
            for plan in plans
        )
        return Bundled(file, images, len(moved), sum(blob.descriptor.size for blob in moved))


def load_images(
    file: str,
    destination: str = STORE_PREFIX,
    options: CopyOptions = CopyOptions(),  # noqa: B008 - frozen
    *,
    network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
) -> list[CopyResult]:
    """Copy all images of the archive ``file``, or of a layout folder, to ``destination``, each under its name there.

    That is the content store, a registry with or without a path (``docker://HOST/PATH``), or ``oci:DIR``. What is
    there is skipped, so a run that was interrupted goes on when it is repeated.

    Raises NotFoundError for an archive without images, UsageError for an image without a name, and whatever reading and
    writing raise.
    """
    options = replace(options, all_platforms=True, platforms=(), skip_present=True)
    results = []
    with ExitStack() as held:
        if network is None:
            network = held.enter_context(Network())
        path = held.enter_context(spooled_stdin()) if file == "-" else Path(file)
        try:
            opened = open_place(Reference("path", str(path)), limits=options.limits)
            if isinstance(opened, Image):
                opened.close()
                raise FormatError("this is a layer, not an archive of images", kind="media-type")
            store, _ = opened
            held.callback(store.close)
            sources = _sources(store, file)
            if not sources:
                raise NotFoundError("there is no image in it")
        except WclayerError as error:
            raise error.locate(image=file) from None
        for source, text in sources:
            name = full_name(text)
            if name is None and not _is_tag_of(destination, text):
                raise UsageError(
                    f"the image {source.roots[0].digest} has no full name in {file}",
                    hint=f"copy it by its digest: wclayer copy oci-archive:{file}@{source.roots[0].digest} DST",
                )
            reference = target_for(destination, name) if name is not None else f"{destination}:{text}"
            target, names = open_destination(reference, network=network, limits=options.limits)
            plan = plan_copy(source, target, names, options)
            results.append(copy_planned(plan, target, options, progress=progress))
    return results


def _is_tag_of(destination: str, text: str) -> bool:
    """Whether an image that has only a tag can keep it: in a layout."""
    return bool(text) and destination.startswith("oci:")


def _sources(store: OpenStore, file: str) -> list[tuple[Source, str]]:
    """Every image of an archive, with each of its names."""
    found: list[tuple[Source, str]] = []
    if isinstance(store, Layout):
        for entry in store.index.manifests:
            names = entry_names(entry)
            name = next((name for name in names if full_name(name)), next(iter(names), ""))
            found.append((Source(file, store, (entry,), lambda: None), name))
    elif isinstance(store, DockerArchive):
        for number, saved in enumerate(store.images):
            images, roots = saved_images(store, Reference("docker-archive", file, number=number))
            found += [(Source(file, images, roots, lambda: None), name) for name in saved.names or ("",)]
    return found
