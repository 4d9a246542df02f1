"""The tree of an image that is being written: names in folders, as Windows would compare them, and what they name.

A node is what a file record describes, and several names may lead to one. Names are kept by the key that sorts them,
so two spellings of one name meet here: a later one takes the place of an inherited one, while two different spellings
that are both added cannot both be meant, and are refused.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError
from wclayer.formats.cim.upcase import UpcaseTable

__all__ = ["PARENT_AT", "STREAM_AT", "STREAM_TABLE_AT", "Link", "Node", "Place", "StreamLink", "Tree"]

# Where things that are known last stand in a file record.
STREAM_AT: Final = struct.calcsize("<HHI4Q")
STREAM_TABLE_AT: Final = struct.calcsize("<HHI4Q2Q3Q")
PARENT_AT: Final = STREAM_TABLE_AT + 8


class Node:
    """What one file record describes; ``children`` is None for a file, else its names by their keys.

    ``head`` is the record up to the id of the parent, ``tail`` what comes behind that. ``streams`` are the alternate
    ones by the keys of their names. ``file_id`` is 0 until it is numbered.
    """

    __slots__ = ("children", "file_id", "head", "streams", "tail")

    def __init__(self, head: bytes, tail: bytes, children: dict[bytes, Link] | None = None) -> None:
        self.head = head
        self.tail = tail
        self.children = children
        self.streams: dict[bytes, StreamLink] | None = None
        self.file_id = 0


Link: TypeAlias = tuple[str, Node, bool]
"""A name as it is spelt, what it names, and whether it was added rather than inherited."""

StreamLink: TypeAlias = tuple[str, int, int, bool]
"""The name of a stream, data offset and length with kind, and whether it was added rather than inherited."""

Place: TypeAlias = tuple[dict[bytes, Link], bytes, str]
"""Where a name belongs: the names of its folder, its key there, and how it is spelt."""


class Tree:
    """Folders and names below ``root``, compared by ``upcase``."""

    def __init__(self, root: Node, upcase: UpcaseTable) -> None:
        self.root = root
        self.upcase = upcase
        self._folders: dict[str, dict[bytes, Link]] = {}

    def find(self, path: str) -> Node | None:
        """What ``path`` names, if anything. ``""`` is the root."""
        node = self.root
        for name in path.split("/") if path else ():
            link = node.children.get(self.upcase.key(name)) if node.children is not None else None
            if link is None:
                return None
            node = link[1]
        return node

    def need(self, path: str) -> Node:
        """The same; raises NotFoundError when it names nothing."""
        node = self.find(path)
        if node is None:
            raise NotFoundError("there is no such file or folder in the image", path=path)
        return node

    def place(self, path: str) -> Place:
        """Where the name ``path`` belongs: the names of its folder, its key there, and its last component.

        Raises NotFoundError when there is no such folder, UnsafeEntryError when it is a file.
        """
        parent, _, leaf = path.rpartition("/")
        children = self._folders.get(parent)
        if children is None:
            node = self.find(parent)
            if node is None:
                raise NotFoundError(f"there is no folder {parent} in the image", path=path)
            if node.children is None:
                raise UnsafeEntryError(f"it lies below {parent}, which is no folder", path=path)
            children = self._folders[parent] = node.children
        return children, self.upcase.key(leaf), leaf

    def check(self, path: str) -> Place:
        """The same, for a name that is to be added.

        Raises FormatError of kind ``case-collision`` too, when another spelling of the name was added.
        """
        children, key, leaf = place = self.place(path)
        there = children.get(key)
        if there is not None and there[2] and there[0] != leaf:
            raise FormatError(
                f"the names {there[0]} and {leaf} differ only in case, and an image can hold only one of them",
                kind="case-collision",
                path=path,
            )
        return place

    def put(self, place: Place, node: Node) -> None:
        """Let the name at ``place`` be that of ``node``; what it named before is gone under it."""
        children, key, leaf = place
        there = children.get(key)
        if there is not None and there[1].children is not None and there[1] is not node:
            self._folders.clear()
        children[key] = leaf, node, True

    def remove(self, path: str) -> None:
        """Remove the name ``path``, with all below it. Raises NotFoundError."""
        children, key, _ = self.place(path)
        link = children.pop(key, None)
        if link is None:
            raise NotFoundError("there is no such file or folder in the image", path=path)
        if link[1].children is not None:
            self._folders.clear()
