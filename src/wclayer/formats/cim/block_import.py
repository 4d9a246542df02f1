"""Importing a layer into an image that does not hold the layers below: what hcsshim asks of a block CIM.

Such an image is not forked. It says which names of lower layers are gone (tombstones) and which names are links to
files of lower layers (merge links); both are resolved when images are merged. Whether the target of a link is in this
layer is known only when everything has come, so all links wait for the end. Names are compared as they are written.

The container itself cannot be written here, see :mod:`wclayer.formats.cim.block`; whoever can brings the target.

Source: hcsshim ``internal/wclayer/cim/block_cim_writer.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wclayer.formats.cim.hives import HiveMerge
from wclayer.formats.cim.layer_import import LayerImport
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.cim.pouring import ImageTarget
from wclayer.formats.cim.std_files import StdFiles
from wclayer.model import Entry, HardLink, Notices, Tombstone

__all__ = ["BlockImageTarget", "BlockLayerImport"]


class BlockImageTarget(ImageTarget, Protocol):
    """What an image must be able to do that is to be merged with others."""

    def add_tombstone(self, path: str) -> None:
        """Say that ``path`` of the layers below is gone."""

    def add_merge_link(self, path: str, target: str) -> None:
        """Make ``path`` another name of the file ``target`` of a layer below."""


class BlockLayerImport(LayerImport):
    """Writes the items of one layer to ``image``, a block CIM, and ``files``; neither is committed here."""

    image: BlockImageTarget
    _images_hold_hives = False

    def __init__(
        self, image: BlockImageTarget, files: StdFiles, parents: Sequence[CimLayer], merge: HiveMerge, notices: Notices
    ) -> None:
        super().__init__(image, files, parents, merge, notices)
        self.added: set[str] = set()

    def entry(self, entry: Entry) -> None:
        """Write a file or folder, or keep it for the end."""
        self.added.add(entry.path)
        super().entry(entry)

    def link(self, link: HardLink) -> None:
        """Keep a link for the end. Links to standard files, and in their place, are links like all others."""
        self.pending.append(_DecidedLink(link.path, link.target, self))
        self.pouring.tell_link_losses(link)

    def remove(self, tombstone: Tombstone) -> None:
        """Say that something of the layers below is gone."""
        self.image.add_tombstone(tombstone.path)


@dataclass(slots=True)
class _DecidedLink:
    """A link that is one within the image or one to a layer below, depending on what was added until then."""

    path: str
    target: str
    layer: BlockLayerImport

    def apply(self, image: ImageTarget, _files: StdFiles) -> None:
        """Make it."""
        if self.target in self.layer.added:
            self.layer.added.add(self.path)
            image.add_link(self.path, self.target)
        else:
            self.layer.image.add_merge_link(self.path, self.target)
