"""``CimLayerReader``: the items of a layer out of its image.

The image of a base layer holds just that. That of an upper layer is a fork: it holds all layers below as well, and what
the layer itself says is what differs from the image of its parent. A file is the parent's when its record says the same
and points to the same data; one that was written again with the same content is the layer's. Folders say nothing that
tells whether a layer has them: one that is as the parent's is not the layer's. What is missing was deleted.

Names of one file: the first is its entry, the others are links. In a fork, a file that the parent has comes as links
to the name that it has there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError, WclayerError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.fork_links import ForkLinks
from wclayer.formats.cim.fork_records import ForkRecords
from wclayer.formats.cim.image_items import added_by_import, entry_of, link_of, streams_of
from wclayer.formats.cim.reader import CimImage, read_header
from wclayer.model import LayerItem, Tombstone
from wclayer.ntfs.names import checked_path

__all__ = ["CimLayerReader", "parent_of"]


def parent_of(cim: Path) -> Path | None:
    """The image beside ``cim`` that it was forked from; None when it is no fork.

    Raises NotFoundError when it is one and its parent is not there; what reading its header raises.
    """
    wanted = [one.guid for one in read_header(cim).parents]
    if not wanted:
        return None
    try:
        siblings = sorted(os.listdir(cim.parent))
    except OSError as error:
        raise StoreError(f"cannot list {cim.parent}: {error.strerror}") from error
    for name in siblings:
        if not name.casefold().endswith(".cim") or name == cim.name or name.startswith("."):
            continue
        try:
            header = read_header(cim.parent / name)
        except WclayerError:
            continue  # it is no image that anything could have been forked from
        guids = [one.guid for one in (*header.parents, header.own)]
        if sorted(guids) == sorted(wanted):
            return cim.parent / name
    raise NotFoundError(
        f"the image {cim} is a fork, and no image beside it is its parent",
        hint="what the layer itself holds is what differs from the parent; read it whole, or bring the parent back",
    )


class CimLayerReader:
    """Reads the layer in the image ``cim``, as often as it is iterated; data can be read until the next item.

    ``parent`` is the image of the layer below, found by itself for a fork. With ``whole`` a fork is read like a base,
    with all that it inherited. With ``processed`` what the import added comes, too: ``layout``, and the hives in
    ``Hives`` that are not of the layer itself.

    Iterating raises what :class:`~wclayer.formats.cim.reader.CimImage` raises, and UnsafeEntryError for a name that no
    layer may have.
    """

    def __init__(self, cim: Path, *, parent: Path | None = None, whole: bool = False, processed: bool = False) -> None:
        self.cim = cim
        self.processed = processed
        #: The image that this one is compared with; None when everything in it counts.
        self.parent = None if whole else parent or parent_of(cim)

    def __iter__(self) -> Iterator[LayerItem]:
        with ExitStack() as stack:
            image = stack.enter_context(CimImage.open(self.cim))
            if self.parent is None:
                yield from self._all(image)
            else:
                yield from self._changes(image, stack.enter_context(CimImage.open(self.parent)))

    def _all(self, image: CimImage) -> Iterator[LayerItem]:
        first: dict[int, str] = {}
        ordinal = 0
        for file in image.walk():
            if not file.path or (not self.processed and added_by_import(image, file)):
                continue
            target = None if file.is_directory else first.setdefault(file.file_id, file.path)
            if target is None or target == file.path:
                yield entry_of(file, ordinal)
                yield from streams_of(file, ordinal)
            else:
                yield link_of(file, target, ordinal)
            ordinal += 1

    def _changes(self, image: CimImage, parent: CimImage) -> Iterator[LayerItem]:
        records = ForkRecords(image, parent)
        links = ForkLinks(image, parent, records)
        key = image.upcase.key
        # The folders on the way down: the path of each, and what the parent has in it.
        above: list[tuple[str, dict[bytes, CimFile]]] = []
        ordinal = 0
        for file in image.walk():
            folder, _, name = file.path.rpartition("/")
            while above and above[-1][0] != folder:
                above.pop()
            old = above[-1][1].get(key(name)) if above else None if file.path else parent.root
            if file.path and (self.processed or not added_by_import(image, file)):
                for item in self._change(file, old, records, links, ordinal):
                    yield item
                    ordinal += 1
            if file.is_directory:
                inherited = {key(child.name): child for child in old.children()} if old is not None else {}
                above.append((file.path, inherited))
                for gone in _missing(file, inherited, key):
                    yield Tombstone(checked_path(gone.path), ordinal)
                    ordinal += 1

    def _change(
        self, file: CimFile, old: CimFile | None, records: ForkRecords, links: ForkLinks, ordinal: int
    ) -> Iterator[LayerItem]:
        if file.is_directory:
            if old is not None and records.same(file, old):
                return
        else:
            target = links.target_of(file, old)
            if target is None:
                return
            if target != file.path:
                yield link_of(file, target, ordinal)
                return
        yield entry_of(file, ordinal)
        yield from streams_of(file, ordinal)


def _missing(folder: CimFile, inherited: dict[bytes, CimFile], key: Callable[[str], bytes]) -> list[CimFile]:
    """What the parent has in ``folder`` and the fork has not, in the order of the parent."""
    if not inherited:
        return []
    present = {key(child.name) for child in folder.children()}
    return [child for name, child in inherited.items() if name not in present]
