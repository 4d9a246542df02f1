"""Images made: of any layer, as a fork of another one, by the import of a layer as hcsshim does it, or out of several.

Nothing of this has been mounted by Windows yet, see the documentation of CIM images.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wclayer.errors import UsageError
from wclayer.formats.cim.item_writer import CimItemWriter
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.merging import flatten
from wclayer.formats.cim.profiles import COMPACT_LIMIT, LTSC2022, PROFILES, Profile, profile_for_build
from wclayer.formats.cim.reader import read_header
from wclayer.formats.cim.self_check import Check
from wclayer.formats.cim.writer import CimWritten, ImageSettings
from wclayer.formats.shaping import with_hard_links
from wclayer.image.cim_places import find_cims, layer_folder_of
from wclayer.image.comparing_sides import is_host_tree
from wclayer.image.host_tree import read_host_tree
from wclayer.image.layer_places import parse_place
from wclayer.image.layer_sources import SourceOptions, open_layers
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.model import LayerChain, LayerItem, Notice, Notices, copy_layer

__all__ = [
    "CimOptions",
    "WrittenCim",
    "create_cim",
    "import_cim",
    "merge_cims",
    "profile_for",
    "profile_names",
    "written_cim",
]


@dataclass(frozen=True, slots=True)
class CimOptions:
    """How an image is written.

    ``profile`` is ``ltsc2022`` or ``ltsc2025``, None for what the layer says, else the first. ``guid`` names the region
    files, a random one unless given. With ``compact`` files of less than 1024 bytes lie closely packed, and with
    ``replace`` an image that is there is replaced.
    """

    profile: str | None = None
    guid: str | None = None
    compact: bool = False
    deduplicate: bool = True
    check: Check = "sample"
    replace: bool = False
    strict: bool = False
    source: SourceOptions = SourceOptions()  # noqa: RUF009 - frozen


@dataclass(slots=True)
class WrittenCim:
    """An image that was written. ``size`` is the sum of the sizes of the files, as hcsshim's import returns it."""

    path: Path
    guid: str
    version: str
    counts: dict[str, int]
    size: int
    folder: Path | None = None
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def profile_names() -> list[str]:
    """The names of the profiles there are."""
    return list(PROFILES)


def profile_for(name: str | None, os_version: str = "") -> Profile:
    """The profile called ``name``; without one that of the Windows with this ``os.version``, else of Server 2022.

    Raises UsageError for a name that is none.
    """
    if name is not None:
        if name not in PROFILES:
            raise UsageError(f"{name!r} is no profile", hint=f"known are {', '.join(PROFILES)}")
        return PROFILES[name]
    build = os_version.split(".")[2:3]
    return profile_for_build(int(build[0])) if build and build[0].isdecimal() else LTSC2022


def create_cim(
    source: str,
    cim: Path,
    options: CimOptions = CimOptions(),
    progress: Progress = NO_PROGRESS,
    *,
    parent: Path | None = None,
) -> WrittenCim:
    """Write the layer ``source``, or a folder of ordinary files, as the image ``cim``, as it is.

    With ``parent``, an image in the same folder, it is a fork of that: the layer is what changes. A layer of several is
    a UsageError. Nothing is left when anything goes wrong.
    """
    notices = Notices(strict=options.strict)
    if parent is not None and parent.absolute().parent != cim.absolute().parent:
        raise UsageError(f"a fork must be in the folder of its parent: {parent.absolute().parent}")
    writer = CimItemWriter(
        cim,
        parent=None if parent is None else parent.name,
        replace=options.replace,
        notices=notices,
        **_settings(options, is_fork=parent is not None),
    )
    with writer:
        copy_layer(_items(source, options, notices, progress), writer)
    return written_cim(writer.written, writer.size, notices)


def import_cim(
    source: str,
    cim: Path,
    options: CimOptions = CimOptions(),
    progress: Progress = NO_PROGRESS,
    *,
    folder: Path | None = None,
    parent: Path | None = None,
    parent_folder: Path | None = None,
    process: bool = True,
) -> WrittenCim:
    """Import the layer ``source`` as hcsshim does: the image ``cim``, and ``folder`` with what is kept beside it.

    Without a ``parent`` it is a base layer, whose hives are linked into ``Hives``; on a parent it is a fork of that
    image, and its hive deltas are merged with the parent's hives, which are in ``parent_folder``. Where folders are not
    named they are where hcsshim has them, see :mod:`wclayer.image.cim_places`. Without ``process`` the hives stay what
    they are.

    Raises NotFoundError for a base layer without its hives, and what reading and writing raise.
    """
    notices = Notices(strict=options.strict)
    parents = list(reversed(find_cims(parent).layers)) if parent is not None else []
    if parents and parent_folder is not None:
        parents[0] = CimLayer(parents[0].cim, parent_folder)
    writer = CimLayerWriter(
        CimLayer(cim, folder or layer_folder_of(cim)),
        parents=parents,
        process=process,
        notices=notices,
        **_settings(options, is_fork=bool(parents)),
    )
    with writer:
        copy_layer(_items(source, options, notices, progress), writer)
    written = written_cim(writer.written, writer.size, notices)
    written.folder = writer.layer.folder
    return written


def merge_cims(
    sources: Sequence[str],
    cim: Path,
    options: CimOptions = CimOptions(),
    progress: Progress = NO_PROGRESS,
) -> WrittenCim:
    """Write several layers as one image: ``sources`` base first, each an image with all its layers, or one layer.

    Deletions are applied, and what is replaced is not stored. Of a lone CIM image all that it inherited comes along,
    so that it needs no other one any more. Hives are taken as they are. Nothing is left when anything goes wrong.
    """
    notices = Notices(strict=options.strict)
    with ExitStack() as held:
        layers: list[Callable[[], Iterable[LayerItem]]] = []
        for text in sources:
            place = parse_place(text)
            if place.kind == "cim" and len(sources) == 1:
                layers.append(CimLayerReader(find_cims(place.path).top.cim, whole=True, processed=True).__iter__)
            elif place.kind in ("image", "unpacked") or len(sources) == 1:
                opened = held.enter_context(open_layers(place, options.source, notices=notices, progress=progress))
                layers += [source.read for source in opened.layers]
            else:
                layers.append(partial(_items, text, options, notices, progress))
        writer = CimItemWriter(cim, replace=options.replace, notices=notices, **_settings(options))
        with writer:
            flatten(LayerChain.from_base_first([partial(_linked, read) for read in layers]), writer)
    return written_cim(writer.written, writer.size, notices)


def _linked(read: Callable[[], Iterable[LayerItem]]) -> Iterable[LayerItem]:
    return with_hard_links(read())


def _items(source: str, options: CimOptions, notices: Notices, progress: Progress) -> Iterator[LayerItem]:
    """The items of one layer, its names of one file as hard links."""
    place = parse_place(source)
    if is_host_tree(place):
        yield from read_host_tree(place.path, notices)
        return
    with options.source.open_items(place, notices, progress) as items:
        yield from with_hard_links(items)


def written_cim(written: CimWritten | None, size: int, notices: Notices) -> WrittenCim:
    """What was written, as the image says it. UsageError when nothing was."""
    if written is None:
        raise UsageError("no image was written")
    common = read_header(written.path).common
    return WrittenCim(
        written.path,
        str(written.guid),
        f"{common.major}.{common.minor}",
        dict(written.counts),
        size,
        notices=dict(notices.counts),
        listed=list(notices.listed),
    )


def _settings(options: CimOptions, *, is_fork: bool = False) -> ImageSettings:
    """What the writer of an image is told; a fork has the profile of its parent."""
    return {
        "profile": None if is_fork else profile_for(options.profile),
        "guid": _guid(options),
        "deduplicate": options.deduplicate,
        "small_limit": COMPACT_LIMIT if options.compact else None,
        "check": options.check,
    }


def _guid(options: CimOptions) -> uuid.UUID | None:
    if options.guid is None:
        return None
    try:
        return uuid.UUID(options.guid)
    except ValueError:
        raise UsageError(f"{options.guid!r} is no GUID", hint="write 8-4-4-4-12 hexadecimal digits") from None
