"""A list of images kept at another place: what is there is skipped, what fails is told, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from wclayer.errors import UsageError, WclayerError
from wclayer.image.copying.copying import CopyOptions, CopyResult, copy_planned, plan_copy
from wclayer.image.copying.destinations import open_destination
from wclayer.image.copying.mirror_list import MirrorEntry, MirrorList
from wclayer.image.copying.naming import name_of, target_for
from wclayer.image.copying.sources import open_source
from wclayer.oci.network import NO_TRANSFERS, Network, TransferProgress
from wclayer.oci.registry.names import parse_registry_name

__all__ = ["MirrorReport", "MirroredImage", "mirror"]


@dataclass(frozen=True, slots=True)
class MirroredImage:
    """What became of an image: ``result`` when it went well, else ``error``; ``destination`` once that is known."""

    source: str
    destination: str | None
    result: CopyResult | None
    error: WclayerError | None

    @property
    def status(self) -> Literal["copied", "present", "planned", "failed"]:
        """In one word."""
        return self.result.status if self.result is not None else "failed"


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """What became of all images, in the order of the list."""

    images: tuple[MirroredImage, ...]

    @property
    def exit_code(self) -> int:
        """0, or that of the first failure."""
        return next((image.error.exit_code for image in self.images if image.error is not None), 0)


def mirror(
    wanted: MirrorList,
    options: CopyOptions = CopyOptions(),  # noqa: B008 - frozen
    *,
    to: str | None = None,
    source_network: Network | None = None,
    destination_network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
    told: Callable[[MirroredImage], None] = lambda _: None,
) -> MirrorReport:
    """Copy every image of the list that is not at its destination yet.

    ``to`` is the place of those without a destination, before what the list says: a registry with or without a path, or
    ``oci:DIR``. ``options`` hold where the list says nothing. ``told`` is told of each image as it is done. A failure
    is part of the report and stops nothing; only UsageError is raised, before anything is copied, for an image without
    any destination.
    """
    place = to or wanted.to
    for entry in wanted.entries:
        if entry.destination is None and place is None:
            raise UsageError(f"{entry.place}: {entry.source} has no destination", hint="give one, or --to PREFIX")
    with ExitStack() as held:
        networks = (
            source_network or held.enter_context(Network()),
            destination_network or held.enter_context(Network()),
        )
        images = []
        for entry in wanted.entries:
            for image in _mirrored(entry, options, place, networks, progress):
                images.append(image)
                told(image)
    return MirrorReport(tuple(images))


def _mirrored(
    entry: MirrorEntry,
    options: CopyOptions,
    place: str | None,
    networks: tuple[Network, Network],
    progress: TransferProgress,
) -> Iterator[MirroredImage]:
    own = replace(options, skip_present=True)
    if entry.platforms or entry.all_platforms:
        own = replace(own, platforms=entry.platforms, all_platforms=entry.all_platforms)
    if entry.foreign is not None:
        own = replace(own, foreign=entry.foreign)
    try:
        sources = [entry.source] if entry.tags is None else _tagged(entry, networks[0])
    except WclayerError as error:
        yield MirroredImage(entry.source, entry.destination, None, error)
        return
    for source in sources:
        yield _one(source, entry.destination, place, own, networks, progress)


def _tagged(entry: MirrorEntry, network: Network) -> list[str]:
    """The images of a repository whose tags are wanted; UsageError when there is none of them."""
    assert entry.tags is not None  # noqa: S101  # asked for by whoever has some
    name = parse_registry_name(entry.source)
    tags = sorted(tag for tag in network.client().repository(name).tags() if entry.tags.fullmatch(tag))
    if not tags:
        raise UsageError(f"{entry.place}: no tag of {name.repository_name} matches {entry.tags.pattern}")
    return [f"docker://{name.at(tag)}" for tag in tags]


def _one(
    text: str,
    destination: str | None,
    place: str | None,
    options: CopyOptions,
    networks: tuple[Network, Network],
    progress: TransferProgress,
) -> MirroredImage:
    try:
        source = open_source(text, network=networks[0], limits=options.limits)
        try:
            if destination is None:
                name = name_of(source)
                if name is None or place is None:
                    raise UsageError(f"{text} has no full name that it could keep", hint="give it a destination")
                destination = target_for(place, name)
            target, names = open_destination(destination, network=networks[1], limits=options.limits)
            plan = plan_copy(source, target, names, options)
            return MirroredImage(text, destination, copy_planned(plan, target, options, progress=progress), None)
        finally:
            source.close()
    except WclayerError as error:
        return MirroredImage(text, destination, None, error)
