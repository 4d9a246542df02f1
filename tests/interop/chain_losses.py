"""What a transport folder cannot hold, as rules: when it happens, what must be said then, and what stays comparable.

A rule looks at the data alone. What it predicts is what our code must tell, in number, and what it takes away from two
tars is all in which they may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.interop.members import TIMES, Member
from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Tombstone
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE, UNIX_EPOCH_TICKS
from wclayer.ntfs.names import encode_wtf8, fold

__all__ = ["LOSSES", "REFUSALS", "Layer", "Loss", "Refusal", "place_in_walk"]

Paths: TypeAlias = list[str]


@dataclass
class Layer:
    """A layer, and those below it, nearest first."""

    items: list[LayerItem]
    below: list[Layer] = field(default_factory=list)
    files: dict[str, Entry | HardLink] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {item.path: item for item in self.kept if isinstance(item, Entry | HardLink)}

    @property
    def kept(self) -> list[LayerItem]:
        """What is not of the utility VM."""
        return [item for item in self.items if not _is_of_utility_vm(item)]

    def own_file_of(self, link: HardLink) -> Entry | None:
        """The file of this layer that ``link`` is a name of."""
        found: Entry | HardLink | None = link
        while isinstance(found, HardLink):
            found = self.files.get(found.target)
        return found

    def file_of(self, link: HardLink) -> Entry | None:
        """The file that ``link`` is a name of, in this layer or below it."""
        own = self.own_file_of(link)
        if own is not None:
            return own
        for number, layer in enumerate(self.below):
            found = layer.files.get(link.target)
            if found is not None:
                here = Layer(layer.items, self.below[number + 1 :])
                return here.file_of(found) if isinstance(found, HardLink) else found
        return None


@dataclass(frozen=True)
class Refusal:
    """Data of which no transport folder can be made."""

    reason: str
    applies: Callable[[Layer], bool]
    error: tuple[type[WclayerError], ...]


@dataclass(frozen=True)
class Loss:
    """Data that a transport folder changes: on which paths, which notice says so, and what is the same nevertheless."""

    code: str
    reason: str
    paths: Callable[[Layer], Paths]
    comparable: Callable[[list[Member], Paths], list[Member]]


# ---------------------------------------------------------------------- refusals


def _has_twins(layer: Layer) -> bool:
    paths = [fold(item.path) for item in layer.kept if isinstance(item, Entry | HardLink)]
    return len(paths) != len(set(paths))


def _has_stream_apart(layer: Layer) -> bool:
    owner = ""
    for item in layer.kept:
        if isinstance(item, AlternateStream):
            if item.path != owner:
                return True
        else:
            owner = item.path if isinstance(item, Entry) else ""
    return False


def _deletes_outside(layer: Layer) -> bool:
    return any(isinstance(item, Tombstone) and not item.path.startswith("Files/") for item in layer.kept)


def _links_to_nothing(layer: Layer) -> bool:
    return any(layer.file_of(item) is None for item in layer.kept if isinstance(item, HardLink))


REFUSALS = (
    Refusal("two names of one folder that NTFS takes for the same", _has_twins, (UnsafeEntryError,)),
    Refusal(
        "a blob is one file, so its streams are all there is of it at once", _has_stream_apart, (UnsupportedError,)
    ),
    Refusal("tombstones.txt holds paths below Files, and nothing else", _deletes_outside, (FormatError,)),
    Refusal("a link is another name of a blob of the same folder", _links_to_nothing, (NotFoundError,)),
)


# ---------------------------------------------------------------------- losses


def place_in_walk(name: str, *, is_deletion: bool) -> tuple[bytes, ...]:
    """Folders before what is in them, names in byte order, deletions right behind their folder."""
    place = encode_wtf8(name).split(b"/")
    return (*place[:-1], b"") if is_deletion else tuple(place)


def _out_of_order(layer: Layer) -> Paths:
    places = [
        place_in_walk(item.path, is_deletion=isinstance(item, Tombstone))
        for item in layer.kept
        if not isinstance(item, AlternateStream)
    ]
    return ["the whole layer"] if places != sorted(places) else []


def _same(members: list[Member], _paths: Paths) -> list[Member]:
    return members


def _of_utility_vm(layer: Layer) -> Paths:
    return [item.path for item in layer.items if _is_of_utility_vm(item)]


def _is_of_utility_vm(item: LayerItem) -> bool:
    return fold(item.path.partition("/")[0]) == "UTILITYVM"


def _without_members(members: list[Member], _paths: Paths) -> list[Member]:
    return [member for member in members if fold(member.name.partition("/")[0]) != "UTILITYVM"]


def _folders_implied(layer: Layer) -> Paths:
    implied: dict[str, None] = {}
    seen = set()
    for item in layer.kept:
        folder = item.path.rpartition("/")[0]
        if isinstance(item, Tombstone | Entry | HardLink):
            while folder and folder not in seen:
                implied[folder] = None
                seen.add(folder)
                folder = folder.rpartition("/")[0]
            if not isinstance(item, Tombstone):
                seen.add(item.path)
    return list(implied)


def _times(metadata: Metadata) -> tuple[int | None, ...]:
    return (
        metadata.creation_time,
        metadata.last_access_time,
        metadata.last_write_time,
        metadata.change_time,
    )


def _filled(metadata: Metadata) -> tuple[int, ...]:
    write = ABSENT_IN_REFERENCE if metadata.last_write_time is None else metadata.last_write_time
    return tuple(write if moment is None else moment for moment in _times(metadata))


def _untimed(layer: Layer) -> Paths:
    files = [item for item in layer.kept if isinstance(item, Entry | HardLink)]
    return [item.path for item in files if not all(_times(item.metadata))]


def _links_with(layer: Layer, differ: Callable[[Metadata, Metadata], bool]) -> Paths:
    links = [item for item in layer.kept if isinstance(item, HardLink)]
    files = [(link, layer.file_of(link)) for link in links]
    return [link.path for link, file in files if file is not None and differ(link.metadata, file.metadata)]


def _links_with_times(layer: Layer) -> Paths:
    return _links_with(layer, lambda said, kept: _filled(said) != _filled(kept))


def _links_with_attributes(layer: Layer) -> Paths:
    return _links_with(layer, lambda said, kept: said.attributes != kept.attributes)


def _linked_into_parents(layer: Layer) -> Paths:
    links = [item for item in layer.kept if isinstance(item, HardLink)]
    return [link.path for link in links if layer.own_file_of(link) is None]


def _confused(layer: Layer) -> Paths:
    entries = [item for item in layer.kept if isinstance(item, Entry)]
    return [item.path for item in entries if item.is_directory != bool(item.metadata.attributes & 0x10)]


def _hives(layer: Layer) -> Iterable[Entry]:
    return (item for item in layer.kept if isinstance(item, Entry) and item.path.startswith("Hives/"))


def _secured_hives(layer: Layer) -> Paths:
    return [item.path for item in _hives(layer) if item.metadata.security_descriptor is not None]


def _marked_hives(layer: Layer) -> Paths:
    return [item.path for item in _hives(layer) if not item.is_directory and item.metadata.attributes != 0x20]


def _without_records(*keys: str) -> Callable[[list[Member], Paths], list[Member]]:
    def comparable(members: list[Member], paths: Paths) -> list[Member]:
        for member in members:
            if member.owner in paths:
                for key in keys:
                    member.records.pop(key, None)
        return members

    return comparable


def _without_paths(members: list[Member], paths: Paths) -> list[Member]:
    return [member for member in members if member.owner not in paths]


def _with_holes(layer: Layer) -> Paths:
    owners = [item for item in layer.kept if isinstance(item, Entry | AlternateStream)]
    return [item.path for item in owners if item.data is not None and item.data.ranges is not None]


def _outside_nanoseconds(layer: Layer) -> Paths:
    limit = (1 << 63) // 100
    files = [item for item in layer.kept if isinstance(item, Entry | HardLink)]
    return [item.path for item in files if any(abs(t - UNIX_EPOCH_TICKS) > limit for t in _filled(item.metadata))]


LOSSES = (
    Loss("holes-written", "the reference form writes them out as well", _with_holes, _same),
    Loss("time-wrapped", "the reference form wraps it as well", _outside_nanoseconds, _same),
    Loss("utility-vm-left-out", "it lies beside a transport folder, not in it", _of_utility_vm, _without_members),
    Loss("order-lost", "the order of a folder is that of a walk", _out_of_order, _same),
    Loss("folder-implied", "a blob is in a folder, which the manifest remembers as no entry", _folders_implied, _same),
    Loss("times-filled", "every file has four times", _untimed, _without_records(*TIMES)),
    Loss("link-times", "the names of a file share its times", _links_with_times, _without_records(*TIMES)),
    Loss(
        "link-attributes",
        "the names of a file share its attributes",
        _links_with_attributes,
        _without_records("MSWINDOWS.fileattr"),
    ),
    Loss("link-copied", "a transport folder has no names of files elsewhere", _linked_into_parents, _without_paths),
    Loss("attributes-and-type", "a blob has a folder or has none", _confused, _without_records("MSWINDOWS.fileattr")),
    Loss("hive-security", "hives are plain files", _secured_hives, _without_records("MSWINDOWS.rawsd")),
    Loss("hive-attributes", "hives are plain files", _marked_hives, _without_records("MSWINDOWS.fileattr")),
)
