"""Flows of items brought into the shape that a writer can take; what gets lost on the way is told in notices.

Each function is a filter: it takes items, and yields items. Streams pass through unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wclayer.errors import NotFoundError
from wclayer.formats.folder import LayerFolder
from wclayer.formats.hard_links import file_behind, written_out
from wclayer.formats.tar import Policy
from wclayer.formats.volume import BasicInfo, Record
from wclayer.formats.volume.paths import place_in_walk
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Tombstone
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import fold

__all__ = ["for_base", "for_tar", "for_transport", "with_hard_links"]

_UTILITY_VM = fold("UtilityVM")
_EARLIEST, _LATEST = UNIX_EPOCH_TICKS - (1 << 63) // 100, UNIX_EPOCH_TICKS + ((1 << 63) - 1) // 100


def with_hard_links(items: Iterable[LayerItem]) -> Iterator[LayerItem]:
    """Files that share an identity as one file and hard links to it, for writers that know links and no identities."""
    names: dict[bytes, str] = {}
    passed = ""
    for item in items:
        if isinstance(item, Entry) and item.file_id is not None and not item.is_directory:
            first = names.setdefault(item.file_id, item.path)
            if first != item.path:
                passed = item.path
                yield HardLink(item.path, first, item.metadata, item.ordinal)
                continue
        if isinstance(item, AlternateStream) and item.path == passed:
            continue  # the first name has brought it
        passed = ""
        yield item


def for_transport(items: Iterable[LayerItem], parents: Sequence[LayerFolder], notices: Notices) -> Iterator[LayerItem]:
    """What a transport folder can hold: no utility VM, and no hard links into other layers.

    A file that the layer only links to is copied out of ``parents``, which are nearest first. Notices:
    ``utility-vm-left-out``, ``link-copied``, ``times-filled``. Raises NotFoundError for a link whose target is nowhere.
    """
    here: set[int] = set()  # hashes of paths: a fifth of what the paths themselves would take
    for item in items:
        top = item.path.partition("/")[0]
        if len(top) == len(_UTILITY_VM) and fold(top) == _UTILITY_VM:
            notices.add(
                "utility-vm-left-out",
                item.path,
                "a transport folder has no utility VM; a base folder, a plain folder, a tar or a layer folder keeps it",
            )
            continue
        if isinstance(item, HardLink) and _key(item.target) not in here:
            for copied in _copied(item, parents, notices):
                _tell_times(copied, notices)
                yield copied
            here.add(_key(item.path))
            continue
        if isinstance(item, Entry | HardLink):
            here.add(_key(item.path))
        _tell_times(item, notices)
        yield item


def _key(path: str) -> int:
    """What to know ``path`` by. Should two have the same, the writer misses the target of a link, and says so."""
    return hash(fold(path))


def _copied(link: HardLink, parents: Sequence[LayerFolder], notices: Notices) -> Iterator[Entry | AlternateStream]:
    """The file of a parent that ``link`` names; what of it is further below is fetched from there."""
    for number, parent in enumerate(parents):
        node = parent.lookup(link.target)
        if node is None:
            continue
        notices.add("link-copied", link.path, f"its file {link.target} is that of a parent; it was copied")
        yield from written_out(link, parents, file_behind(parents, number, node), notices)
        return
    raise NotFoundError(
        f"the target {link.target} of a hard link is not in this layer; a transport folder has no links into others",
        path=link.path,
        hint="name the parents, so that the file can be copied",
    )


def for_base(items: Iterable[LayerItem], notices: Notices) -> Iterator[LayerItem]:
    """The same items, with a notice for whatever the folder of a base layer does not give back.

    ``attributes-lost`` for attributes that cannot be set on a file, ``attribute-lost`` for an extended attribute
    without a value, ``empty-stream`` for a file whose stream is empty, ``beside-base`` for what lies beside ``Files``
    and ``UtilityVM``, which no reader of a base layer looks at, ``times-filled``, and ``order-lost`` once.
    """
    last: list[bytes] = []
    in_order = True
    for item in items:
        if isinstance(item, Entry):
            _tell_base_losses(item, notices)
        if in_order and not isinstance(item, AlternateStream):
            place = place_in_walk(item.path.replace("/", "\\"), is_deletion=isinstance(item, Tombstone))
            in_order = place >= last
            last = place
            if not in_order:
                notices.add("order-lost", item.path, "a base layer has its entries in byte order, the source has not")
        _tell_times(item, notices)
        yield item


def for_tar(items: Iterable[LayerItem], policy: Policy, notices: Notices) -> Iterator[LayerItem]:
    """The same items, with a notice for what a tar does not give back; the writer itself tells the rest.

    ``holes-written`` for sparse data. With the policy ``reference`` also ``times-filled``, and ``time-wrapped`` for a
    time that 64-bit nanoseconds since 1970 do not hold.
    """
    is_reference = policy == "reference"
    for item in items:
        if isinstance(item, Entry | AlternateStream) and item.data is not None and item.data.ranges is not None:
            notices.add("holes-written", item.path, "a layer tar has no holes; they are written out as zeros")
        if is_reference and isinstance(item, Entry | HardLink):
            _tell_reference_times(item, notices)
        yield item


def _tell_reference_times(item: Entry | HardLink, notices: Notices) -> None:
    metadata = item.metadata
    times = (
        metadata.creation_time,
        metadata.last_access_time,
        metadata.last_write_time,
        metadata.change_time,
    )
    if None in times:
        notices.add(
            "times-filled", item.path, "for a time that is not known hcsshim writes that of the last write, or 1754"
        )
    if any(moment is not None and not _EARLIEST <= moment <= _LATEST for moment in times):
        notices.add("time-wrapped", item.path, "a time outside of 1677 to 2262 wraps into another one as in hcsshim")


def _tell_times(item: LayerItem, notices: Notices) -> None:
    """Tell that a file gets a time that its source does not say: NTFS has no files without times."""
    if not isinstance(item, Entry | HardLink):
        return
    metadata = item.metadata
    created, accessed, written, changed = (
        metadata.creation_time,
        metadata.last_access_time,
        metadata.last_write_time,
        metadata.change_time,
    )
    if created and accessed and written and changed:
        return
    if None in (created, accessed, written, changed):
        detail = "not all of its times are known; the others are the time of its last write now"
        if written is None:
            detail = "the time of its last write is not known; it is the day in 1754 now that hcsshim makes of that"
    else:
        detail = "a time of 0 sets nothing; it is the time of this moment now"
    notices.add("times-filled", item.path, detail)


def _tell_base_losses(entry: Entry, notices: Notices) -> None:
    add, path, metadata = notices.add, entry.path, entry.metadata
    if path.partition("/")[0] not in ("Files", "UtilityVM"):
        add("beside-base", path, "it lies beside Files and UtilityVM, where nothing is read from a base layer")
    record = Record(FILE_ATTRIBUTE_ARCHIVE, reparse=metadata.reparse)
    record.set_basic(BasicInfo(metadata.attributes, 0, 0, 0, 0))
    record.ranges = None if entry.data is None else entry.data.ranges
    found = record.reported(is_directory=entry.is_directory)
    if found != metadata.attributes:
        add("attributes-lost", path, f"a file gets the attributes 0x{found:x} instead of 0x{metadata.attributes:x}")
    if any(not attribute.value for attribute in metadata.extended_attributes):
        add("attribute-lost", path, "NTFS keeps no extended attribute without a value")
    if entry.data is not None and not entry.data.size and entry.data.ranges is None:
        add("empty-stream", path, "BackupRead gives no stream for an empty file, so nobody can tell it from none")
