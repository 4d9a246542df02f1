"""A new image is read back by the reader before it gets its name, and compared with what was asked for.

All metadata is checked by :mod:`wclayer.formats.cim.verify`, all of it counted, and the data of some files, or of all,
is hashed again. A malformed image can stop a machine that mounts it, and no test on this side can prove that one will
not; but what this reader finds wrong is certainly wrong.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal, TypeAlias

from wclayer.errors import IntegrityError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import LENGTH_MASK
from wclayer.formats.cim.tables import MetadataWriter
from wclayer.formats.cim.tree import Node
from wclayer.formats.cim.verify import verify_cim

__all__ = ["Check", "SelfCheck"]

Check: TypeAlias = Literal["sample", "all", "none"]

_ONE_IN: Final = 64
# What was asked for may be odd; everything else that is odd in an image without parents is this writer's doing. A fork
# also has what its parent had.
_GIVEN: Final = frozenset({"name-win32", "order-code-points", "reparse-length", "sd", "time"})
_SAMPLE_LIMIT: Final = 16 << 20


class SelfCheck:
    """Remembers the digests of the files to look at again.

    ``mode`` is ``sample`` (one in 64 of those of at most 16 MiB), ``all`` or ``none``.
    """

    def __init__(self, mode: Check) -> None:
        self._mode = mode
        self._every = {"sample": _ONE_IN, "all": 1, "none": 0}[mode]
        self._seen = 0
        self._expected: list[tuple[Node, bytes]] = []

    def wants_digest(self, size: int) -> bool:
        """Whether the next file, of ``size`` bytes, is one to look at again."""
        if not self._every or (self._every > 1 and size > _SAMPLE_LIMIT):
            return False
        self._seen += 1
        return (self._seen - 1) % self._every == 0

    def remember(self, node: Node, digest: bytes) -> None:
        """``node`` is a file whose data has that SHA-256."""
        self._expected.append((node, digest))

    def run(self, path: Path, written: MetadataWriter) -> None:
        """Check the image at ``path``, which ``written`` wrote the metadata of. Raises IntegrityError."""
        if self._mode == "none":
            return
        with CimImage.open(path) as image:
            self._metadata(image)
            self._counts(image, written)
            self._data(image)

    def _metadata(self, image: CimImage) -> None:
        is_fork = bool(image.header.parents)
        for finding in verify_cim(image):
            harmless = finding.severity == "note" or (finding.severity == "warning" and is_fork)
            if not harmless and finding.code not in _GIVEN:
                raise self._wrong(f"{finding.code}: {finding.detail}", finding.path)

    def _counts(self, image: CimImage, written: MetadataWriter) -> None:
        names = -1  # the root has none
        folders = 0
        sizes: dict[int, int] = {}
        for file in image.walk():
            names += 1
            if file.is_directory:
                folders += 1
            else:
                sizes[file.file_id] = file.record.length_and_kind & LENGTH_MASK
        found = names, folders, len(sizes), sum(sizes.values())
        expected = written.names, written.folders, written.records - written.folders, written.bytes
        if found != expected:
            raise self._wrong(f"names, folders, files and bytes are {found} instead of {expected}", None)

    def _data(self, image: CimImage) -> None:
        for node, digest in self._expected:
            if not node.file_id:
                continue  # removed again, or replaced
            file = CimFile(image, "", node.file_id, image.record(node.file_id))
            found = hashlib.sha256()
            for piece in file.pieces():
                found.update(piece)
            if found.digest() != digest:
                raise self._wrong("the data read back is not the data written", f"file {node.file_id}")

    @staticmethod
    def _wrong(reason: str, path: str | None) -> IntegrityError:
        return IntegrityError(
            f"the image does not read back as it was written: {reason}",
            path=path,
            hint="nothing was published; report this, if the disk and the parent (of a fork) are sound",
        )
