"""Flows of items brought into the shape that a writer can take; what gets lost on the way is told in notices.

Each function is a filter: it takes items, and yields items. Streams pass through unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wclayer.errors import NotFoundError
from wclayer.formats.folder import LayerFolder, Node
from wclayer.formats.volume import BasicInfo, Record
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_NORMAL
from wclayer.ntfs.names import fold

__all__ = ["for_base", "for_transport", "with_hard_links"]


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
    ``utility-vm-left-out``, ``link-copied``. Raises NotFoundError for a link whose target is nowhere.
    """
    here: set[str] = set()
    for item in items:
        top = item.path.partition("/")[0]
        if fold(top) == "UTILITYVM":
            notices.add("utility-vm-left-out", item.path, "a transport folder has no utility VM")
        elif isinstance(item, HardLink) and item.target not in here:
            yield from _copied(item, parents, notices)
            here.add(item.path)
        else:
            if isinstance(item, Entry | HardLink):
                here.add(item.path)
            yield item


def _copied(link: HardLink, parents: Sequence[LayerFolder], notices: Notices) -> Iterator[LayerItem]:
    for parent in parents:
        node = parent.lookup(link.target)
        if node is None:
            continue
        file = _file_of(node)
        notices.add("link-copied", link.path, f"its file {link.target} is that of a parent; it was copied")
        yield Entry(link.path, file.metadata(), data=parent.open_data(node), ordinal=link.ordinal)
        for stream in parent.streams(file):
            yield AlternateStream(link.path, stream.name, parent.open_stream(stream))
        return
    raise NotFoundError(
        f"the target {link.target} of a hard link is not in this layer; a transport folder has no links into others",
        path=link.path,
        hint="name the parents, so that the file can be copied",
    )


def _file_of(node: Node) -> Node:
    """The file that a node of one layer is a name of, as far as that layer knows it."""
    seen = {node.id}
    while node.is_link and (target := node.target_node()) is not None and target.id not in seen:
        seen.add(target.id)
        node = target
    return node


def for_base(items: Iterable[LayerItem], notices: Notices) -> Iterator[LayerItem]:
    """The same items, with a notice for whatever the folder of a base layer does not give back.

    ``attributes-lost`` for attributes that cannot be set on a file, ``attribute-lost`` for an extended attribute
    without a value, ``empty-stream`` for a file whose stream is empty, ``beside-base`` for what lies beside ``Files``
    and ``UtilityVM``, which no reader of a base layer looks at.
    """
    for item in items:
        if isinstance(item, Entry):
            _tell_base_losses(item, notices)
        yield item


def _tell_base_losses(entry: Entry, notices: Notices) -> None:
    add, path, metadata = notices.add, entry.path, entry.metadata
    if path.partition("/")[0] not in ("Files", "UtilityVM"):
        add("beside-base", path, "it lies beside Files and UtilityVM, where nothing is read from a base layer")
    record = Record(FILE_ATTRIBUTE_ARCHIVE, reparse=metadata.reparse)
    record.set_basic(BasicInfo(metadata.attributes, 0, 0, 0, 0))
    record.ranges = None if entry.data is None else entry.data.ranges
    found = record.reported(is_directory=entry.is_directory)
    if found not in (metadata.attributes, metadata.attributes | FILE_ATTRIBUTE_NORMAL):
        add("attributes-lost", path, f"a file gets the attributes 0x{found:x} instead of 0x{metadata.attributes:x}")
    if any(not attribute.value for attribute in metadata.extended_attributes):
        add("attribute-lost", path, "NTFS keeps no extended attribute without a value")
    if entry.data is not None and not entry.data.size and entry.data.ranges is None:
        add("empty-stream", path, "BackupRead gives no stream for an empty file, so nobody can tell it from none")
