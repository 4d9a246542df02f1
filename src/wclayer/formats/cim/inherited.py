"""What a fork inherits: the whole tree of its parent as nodes whose data stays where it is.

Every pointer in a record counts through the regions of all sets, and a fork lists the sets of its parent in the same
order and behind them the parent's own. So an inherited record means the same in the fork, byte for byte, and only the
tables over the records are written anew.

Source: hcsshim ``pkg/cimfs`` and ``format.go`` (parent region sets).
"""

from __future__ import annotations

from wclayer.errors import FormatError, LimitError, UnsupportedError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.profiles import KNOWN_FLAGS, MAX_REGIONS
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import (
    FILE_RECORD,
    STREAM,
    STREAM_DATA,
    STREAM_LINK_TABLE,
    STREAM_PE_IMAGE,
    RegionSet,
)
from wclayer.formats.cim.tree import PARENT_AT, STREAM_TABLE_AT, Node, Tree

__all__ = ["entry_size_of", "load_tree", "parent_sets"]


def parent_sets(image: CimImage) -> tuple[RegionSet, ...]:
    """The region sets that a fork of ``image`` lists. Raises LimitError when no region of its own would be left."""
    sets = (*image.header.parents, image.header.own)
    if sum(one.size for one in sets) >= MAX_REGIONS:
        raise LimitError(f"the image has {MAX_REGIONS} regions already, a fork needs one more", image=str(image.path))
    return sets


def entry_size_of(image: CimImage) -> int:
    """The size of the longest file records of ``image``, which those of a fork have, too; in bytes."""
    tables = range(image.filesystem.table_count)
    return max([FILE_RECORD.size, *(image.file_table(number).entry_size for number in tables)])


def load_tree(image: CimImage, entry_size: int) -> Tree:
    """The tree of ``image`` with records of ``entry_size`` bytes.

    Raises UnsupportedError for records that hold what is not known, since a fork might change its meaning, and
    FormatError, LimitError for an image that cannot be read.
    """
    key = image.upcase.key
    nodes: dict[int, Node] = {}
    walk = image.walk()
    root = next(walk)
    nodes[root.file_id] = node = _node(image, root, entry_size)
    tree = Tree(node, image.upcase)
    children = node.children if node.children is not None else {}
    # Only the folders on the way to where the walk is: all their paths together may be larger than the image.
    folders = [("", children)]
    left = image.regions.size  # what all tables of streams may take together, in honest images
    for file in walk:
        parent, _, leaf = file.path.rpartition("/")
        known = nodes.get(file.file_id)
        if known is None:
            known = nodes[file.file_id] = _node(image, file, entry_size)
            left -= STREAM.size * len(known.streams or ())
            if left < 0:
                raise LimitError("the parent's alternate streams take more bytes than it has", image=str(image.path))
        while folders[-1][0] != parent:
            folders.pop()
        names = folders[-1][1]
        folded = key(leaf)
        if folded in names:
            raise FormatError(
                f"the parent has two names, {names[folded][0]} and {leaf}, which are the same to Windows",
                kind="case-collision",
                image=str(image.path),
                path=file.path,
            )
        names[folded] = leaf, known, False
        if known.children is not None:
            folders.append((file.path, known.children))
    return tree


def _node(image: CimImage, file: CimFile, entry_size: int) -> Node:
    record = file.record
    described = [one.record for one in file.streams]
    if (
        record.flags & ~KNOWN_FLAGS
        or record.stream.kind not in (STREAM_DATA, STREAM_LINK_TABLE, STREAM_PE_IMAGE)
        or any(one.kind != STREAM_DATA for one in described)
        or any(one.unused_bits for one in (record.stream, *described))
    ):
        raise UnsupportedError(
            "the parent's record holds bits of no known meaning, which a fork might not carry on rightly",
            image=str(image.path),
            path=file.path,
        )
    raw = image.raw_record(file.file_id).ljust(entry_size, b"\0")
    head = raw[:PARENT_AT]
    streams = None
    if record.stream_table_offset:
        streams = {
            image.upcase.key(one.name): (one.name, one.record.data_offset, one.record.length_and_kind, False)
            for one in file.streams
        }
        head = head[:STREAM_TABLE_AT] + bytes(PARENT_AT - STREAM_TABLE_AT)
    node = Node(head, raw[PARENT_AT + 4 :], {} if file.is_directory else None)
    node.streams = streams
    return node
