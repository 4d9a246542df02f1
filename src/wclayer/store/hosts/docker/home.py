r"""The home of the windowsfilter graph driver: one folder for each layer, and ``layerchain.json`` in it.

``layerchain.json`` lists what the layer stands on, nearest first, as absolute paths of the host, which mean nothing
here: what counts is the last component, looked up in the home as Windows would. Docker writes ``null`` where there are
no parents; an empty list and no file at all say the same. Very old stores hold files ``layerId`` or ``layerID`` that
give a layer another name.

Source: moby, ``daemon/graphdriver/windows/windows.go`` (``getLayerChain``, ``setLayerChain``, ``resolveID``, ``dir``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wclayer.errors import FormatError, WclayerError
from wclayer.oci.strictjson import parse_array
from wclayer.store.hosts.files import HostEntry, HostTree, joined, last_component

__all__ = ["REMOVING", "Home", "HomeLayer", "looks_like_home"]

REMOVING = "-removing"
"""What the driver adds to the name of a folder that it removes."""

_INIT = "-init"
_CHAIN = "layerchain.json"
_ALIAS = "layerID"
_CHAIN_LIMIT = 1 << 20
_ALIAS_LIMIT = 1 << 10
_CACHE_ID = re.compile(r"[0-9a-f]{64}(?:-init)?", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class HomeLayer:
    """The folder of a layer."""

    id: str
    path: str
    modified: int
    chain: tuple[str, ...] | None = ()
    """What ``layerchain.json`` lists, nearest first; None when it cannot be read."""
    chain_problem: str = ""
    has_chain_file: bool = False
    chain_written: int | None = None
    parents: tuple[str | None, ...] = ()
    """The same as names of folders in this home; None for one that is not there."""
    alias: str | None = None
    """The id that the layer stands for, where a file says so."""
    alias_problem: str = ""
    has_files: bool = False
    scratch: HostEntry | None = None
    """``sandbox.vhdx``, in the layer of a container."""
    variants: list[list[str]] = field(default_factory=list)
    """Names in the folder that Windows cannot tell apart."""
    problem: str = ""
    """Why the folder cannot be read."""

    @property
    def is_init(self) -> bool:
        """Whether it is the layer below a container's, which has no files and stands in no chain."""
        return self.id.endswith(_INIT)


class Home:
    """The home at ``path``; where there is none it is empty. Raises StoreError, LimitError when it cannot be listed."""

    def __init__(self, tree: HostTree, path: str) -> None:
        self.path = path
        self.layers: dict[str, HomeLayer] = {}
        self.removing: dict[str, HostEntry] = {}
        """Folders whose removal began and did not end, by the id they had."""
        self.links: list[str] = []
        self.variants = tree.variants(path)
        self._tree = tree
        for entry in tree.entries(path):
            if entry.kind == "link":
                self.links.append(entry.name)
            elif entry.kind == "folder" and entry.name.endswith(REMOVING):
                self.removing[entry.name.removesuffix(REMOVING)] = entry
            elif entry.kind == "folder":
                self.layers[entry.name] = self._read(entry)
        for layer in self.layers.values():
            layer.parents = tuple(self.named(last_component(element)) for element in layer.chain or ())

    def named(self, name: str) -> str | None:
        """The folder of the layer ``name``, whatever its letter case; None where there is none."""
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            return None
        found = self._tree.find(joined(self.path, name))
        return found[1].name if found is not None and found[1].name in self.layers else None

    def resolve(self, layer_id: str) -> str | None:
        """The folder of ``layer_id`` as the driver finds it: by its name, then by what an alias in there says."""
        name = self.named(last_component(layer_id))
        if name is None or (alias := self.layers[name].alias) is None:
            return name
        return self.named(last_component(alias))

    def child_chain(self, layer_id: str) -> tuple[str | None, ...] | None:
        """The parents of a layer made on top of ``layer_id``: itself if it has files, and its own; None if unknown."""
        layer = self.layers[layer_id]
        if layer.chain is None:
            return None
        return ((layer_id, *layer.parents) if layer.has_files else layer.parents) or ()

    def _read(self, entry: HostEntry) -> HomeLayer:
        path = joined(self.path, entry.name)
        layer = HomeLayer(entry.name, path, entry.modified)
        try:
            layer.has_files = self._tree.is_folder(joined(path, "Files"))
            scratch = self._tree.find(joined(path, "sandbox.vhdx"))
            layer.scratch = scratch[1] if scratch is not None and scratch[1].kind == "file" else None
            layer.variants = self._tree.variants(path)
        except WclayerError as error:
            layer.problem = error.message
            layer.chain = None
            layer.chain_problem = error.message
            return layer
        self._read_chain(layer)
        self._read_alias(layer)
        return layer

    def _read_chain(self, layer: HomeLayer) -> None:
        try:
            found = self._tree.find(joined(layer.path, _CHAIN))
            raw = self._tree.read(joined(layer.path, _CHAIN), _CHAIN_LIMIT)
            layer.chain = () if raw is None else _elements(raw)
        except WclayerError as error:
            layer.chain, layer.chain_problem = None, error.message
            return
        layer.has_chain_file = raw is not None
        layer.chain_written = found[1].modified if found else None

    def _read_alias(self, layer: HomeLayer) -> None:
        try:
            raw = self._tree.read(joined(layer.path, _ALIAS), _ALIAS_LIMIT)
            # As it stands there: the driver takes no line end off.
            layer.alias = None if raw is None else raw.decode("utf-8")
        except UnicodeDecodeError:
            layer.alias_problem = f"{_ALIAS} is not UTF-8"
        except WclayerError as error:
            layer.alias_problem = error.message


def looks_like_home(tree: HostTree, path: str) -> bool:
    """Whether the folder ``path`` holds layers of the windowsfilter driver, by their names and by what is in them."""
    for entry in tree.entries(path):
        if entry.kind == "folder" and _CACHE_ID.fullmatch(entry.name.removesuffix(REMOVING)):
            below = joined(path, entry.name)
            if any(tree.find(joined(below, name)) for name in (_CHAIN, "Files", "sandbox.vhdx")):
                return True
    return False


def _elements(raw: bytes) -> tuple[str, ...]:
    if raw.strip() == b"null":
        return ()
    elements = parse_array(raw, what=_CHAIN, limit=_CHAIN_LIMIT)
    for element in elements:
        if not isinstance(element.value, str):
            raise FormatError(f"{element.place}: a path is expected", kind="json-type")
    return tuple(element.value for element in elements)
