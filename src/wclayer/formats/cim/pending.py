"""What goes into an image only at the end of an import, in the order in which it came.

The files that are kept beside the image go into it when the layer has been processed, with the size that they have
then; and so do the links to them, since nothing can be linked that is not there.

Source: hcsshim ``internal/wclayer/cim/pending.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wclayer.formats.cim.pouring import ImageTarget
from wclayer.formats.cim.std_files import StdFiles
from wclayer.model import Metadata, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY

__all__ = ["PendingAdd", "PendingLink", "PendingOperation"]


class PendingOperation(Protocol):
    """Something to do to an image. ``path`` is what will be there then."""

    path: str

    def apply(self, image: ImageTarget, files: StdFiles, /) -> None:
        """Do it."""


@dataclass(slots=True)
class PendingAdd:
    """Put the file ``source`` of the folder into the image as ``path``; an empty folder is put there as such."""

    path: str
    source: str
    metadata: Metadata

    def apply(self, image: ImageTarget, files: StdFiles) -> None:
        """Write it. Raises what the image raises, StoreError."""
        if self.metadata.attributes == FILE_ATTRIBUTE_DIRECTORY:
            image.add_directory(self.path, self.metadata)
            return
        size = files.size(self.source)
        image.add_file(self.path, self.metadata, size).copy(Stream(size, lambda _stored: files.pieces(self.source)))


@dataclass(slots=True)
class PendingLink:
    """Make ``path`` another name of ``target``."""

    path: str
    target: str

    def apply(self, image: ImageTarget, _files: StdFiles) -> None:
        """Make it. Raises NotFoundError when the image has no such target."""
        image.add_link(self.path, self.target)
