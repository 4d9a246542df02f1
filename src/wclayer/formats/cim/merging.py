"""Several layers become one: what the upper ones replace and delete is gone, what is left stands for itself.

All layers are read twice. The first time only names count: every entry is a file, links are further names of it, what
an upper layer says takes names away. What still has a name in the end is written the second time, from the base up, so
nothing is stored that nobody will see. Links come last, as a file may be called in the end what it was not called in
its own layer.

Names are compared as NTFS compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from wclayer.errors import FormatError
from wclayer.formats.cim.layer_names import windows_path
from wclayer.formats.cim.layer_reader import CimLayerReader, parent_of
from wclayer.model import (
    AlternateStream,
    Entry,
    HardLink,
    LayerChain,
    LayerItem,
    LayerWriter,
    Tombstone,
)
from wclayer.ntfs.names import fold

__all__ = ["LayerSource", "flatten", "merge_cims", "merged_chain"]

LayerSource: TypeAlias = Callable[[], Iterable[LayerItem]]
"""What gives the items of a layer, from the start, each time it is called."""


def flatten(layers: LayerChain[LayerSource], writer: LayerWriter) -> None:
    """Write ``layers`` as one into ``writer``, which is neither committed nor aborted.

    Raises FormatError of kind ``link-target`` for a link to what is not there, and what the layers raise.
    """
    sources = layers.base_first()
    view = _View()
    for number, source in enumerate(sources):
        for index, item in enumerate(source()):
            view.see(number, index, item)
    links: list[HardLink] = []
    for number, source in enumerate(sources):
        for item in _written(number, source(), view, links):
            writer.write(item)
    for link in links:
        writer.write(link)


def merge_cims(cims: Sequence[Path], writer: LayerWriter) -> None:
    """Write the layers in the images ``cims``, nearest first, as one into ``writer``.

    One image is read with all that it inherited. Of several each is read as the layer that it is: a fork as what it
    adds to its parent, which must be the next image then.
    """
    if len(cims) == 1:
        for item in CimLayerReader(cims[0], whole=True, processed=True):
            writer.write(item)
        return
    readers = merged_chain(cims)
    flatten(LayerChain([reader.__iter__ for reader in readers]), writer)


def merged_chain(cims: Sequence[Path]) -> list[CimLayerReader]:
    """The readers of the layers in ``cims``, nearest first. Raises FormatError when a fork is not that of the next."""
    readers = []
    for number, cim in enumerate(cims):
        parent = parent_of(cim)
        below = cims[number + 1] if number + 1 < len(cims) else None
        if parent is not None and (below is None or parent.resolve() != below.resolve()):
            raise FormatError(
                f"{cim} was forked from {parent}, which is not the next image of the list",
                kind="cim-order",
                hint="list the images from the uppermost to the base, or give only the uppermost fork",
            )
        readers.append(CimLayerReader(cim, parent=parent, processed=True))
    return readers


@dataclass(slots=True, eq=False)
class _File:
    """A file or folder of one layer; ``names`` are those that it has in the merged view."""

    layer: int
    index: int
    is_directory: bool
    names: dict[str, str] = field(default_factory=dict)


class _View:
    """The names of the merged view, each with what it names; folders know what is in them."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._inside: dict[str, set[str]] = {}
        self.kept: dict[tuple[int, int], _File] = {}
        # Alternate streams that stand apart from the entry of their file, and those of lower layers.
        self._streams: dict[tuple[int, int], tuple[_File, str]] = {}
        self._current: dict[tuple[_File, str], tuple[int, int]] = {}
        # Folders by folded path, as they are spelt in the end.
        self._spelt: dict[str, str] = {"": ""}

    def see(self, layer: int, index: int, item: LayerItem) -> None:
        key = fold(item.path)
        if isinstance(item, Entry):
            self._entry(key, item.path, _File(layer, index, item.is_directory))
        elif isinstance(item, HardLink):
            file = self._files.get(fold(item.target))
            if file is None or file.is_directory:
                raise FormatError(
                    f"failed to find link target for '{windows_path(item.path)}' -> '{windows_path(item.target)}'",
                    kind="link-target",
                    path=item.path,
                )
            if self._files.get(key) is not file:
                self._forget(key)
                self._name(key, item.path, file)
        elif isinstance(item, AlternateStream):
            owner = self._files.get(key)
            if owner is None:
                raise FormatError(f"the stream {item.name} of a file that is not there", kind="stream", path=item.path)
            stream = (owner, fold(item.name))
            before = self._current.get(stream)
            if before is not None:
                self._streams.pop(before, None)
            self._current[stream] = (layer, index)
            self._streams[layer, index] = owner, item.name
        elif isinstance(item, Tombstone):
            self._forget(key)

    def stream_owner(self, layer: int, index: int) -> _File | None:
        """The file of the stream with this index, if it is still wanted and the file has a name."""
        found = self._streams.get((layer, index))
        return found[0] if found is not None and found[0].names else None

    def file(self, layer: int, index: int) -> _File | None:
        """The file whose entry has this index, if it has a name."""
        found = self.kept.get((layer, index))
        return found if found is not None and found.names else None

    def paths(self, file: _File) -> list[str]:
        """The names of ``file`` in the end, each folder spelt as the uppermost layer that says it does.

        To be asked when all layers were seen.
        """
        found = []
        for key, path in file.names.items():
            folder, _, leaf = path.rpartition("/")
            above = self._folder(key.rpartition("/")[0], folder)
            found.append(f"{above}/{leaf}" if above else leaf)
        return found

    def _folder(self, key: str, path: str) -> str:
        """How the folder ``key`` is spelt that one of its files calls ``path``."""
        missing = []
        while key not in self._spelt:
            missing.append((key, path))
            key, path = key.rpartition("/")[0], path.rpartition("/")[0]
        above = self._spelt[key]
        for key, path in reversed(missing):
            file = self._files.get(key)
            leaf = (path if file is None else file.names[key]).rpartition("/")[2]
            above = self._spelt[key] = f"{above}/{leaf}" if above else leaf
        return above

    def _entry(self, key: str, path: str, file: _File) -> None:
        old = self._files.get(key)
        if old is not None and old.is_directory and file.is_directory:
            # A folder that is said again keeps what is in it; its streams are those that are said with it.
            old.names.clear()
            self.kept.pop((old.layer, old.index), None)
            self._files.pop(key)
        else:
            self._forget(key)
        self._name(key, path, file)
        self.kept[file.layer, file.index] = file

    def _name(self, key: str, path: str, file: _File) -> None:
        self._files[key] = file
        file.names[key] = path
        self._inside.setdefault(key.rpartition("/")[0], set()).add(key)

    def _forget(self, key: str) -> None:
        """Take a name away, with all below it."""
        waiting = [key]
        while waiting:
            name = waiting.pop()
            waiting += self._inside.pop(name, ())
            file = self._files.pop(name, None)
            if file is not None:
                file.names.pop(name, None)
                if not file.names:
                    self.kept.pop((file.layer, file.index), None)
        self._inside.get(key.rpartition("/")[0], set()).discard(key)


def _written(number: int, items: Iterable[LayerItem], view: _View, links: list[HardLink]) -> Iterator[LayerItem]:
    """What is left of one layer, under the names of the merged view; links are put off."""
    for index, item in enumerate(items):
        if isinstance(item, Entry):
            file = view.file(number, index)
            if file is None:
                continue
            first, *others = view.paths(file)
            links += [HardLink(name, first, item.metadata) for name in others]
            yield Entry(
                first,
                item.metadata,
                is_directory=item.is_directory,
                data=item.data,
                ordinal=item.ordinal,
                reported_size=item.reported_size,
            )
        elif isinstance(item, AlternateStream):
            owner = view.stream_owner(number, index)
            if owner is not None:
                yield replace(item, path=view.paths(owner)[0])
