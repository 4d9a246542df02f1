r"""The layer writer without the detour over blobs, for a layer that this package itself imports afterwards.

What lies below ``Files`` would become blobs in the transport folder, and ImportLayer would make of each blob the file
that it describes. Where ImportLayer is ours, that file can be made at once, so every byte is written once. Everything
else, and a layer whose ``Files`` is not what it should be, goes through the transport folder as ever.

A transport folder has one more name for each folder, its sidecar, and no folder behind a reparse point; what would have
failed for that fails here as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.errors import FormatError
from wclayer.formats.transport.files import BlobFile, RestoredFile
from wclayer.formats.transport.names import FILES, SIDECAR, is_sidecar
from wclayer.formats.transport.writer import LegacyLayerWriter
from wclayer.formats.volume import BasicInfo, OpenNode, UnsafePathError, Volume, VolumeError
from wclayer.formats.volume.errors import (
    ERROR_ALREADY_EXISTS,
    ERROR_PATH_NOT_FOUND,
    ERROR_REPARSE_POINT_ENCOUNTERED,
)
from wclayer.formats.volume.paths import components
from wclayer.ntfs.names import fold

__all__ = ["DirectLayerWriter"]

_FILES = fold(FILES)
_BELOW = f"{FILES}\\"
_SIDECAR = fold(SIDECAR)


class DirectLayerWriter(LegacyLayerWriter):
    """Writes a diff layer for :func:`~wclayer.formats.transport.portable.import_layer`, and most of it to its place."""

    def __init__(self, transport: Volume, layer: Volume, parents: Sequence[Volume]) -> None:
        super().__init__(transport, layer, parents)
        self._is_direct: bool | None = None
        self._like_sidecars: set[str] = set()
        self._misnamed_folder = ""
        self._never_imported = ""
        self._passed_over: set[str] = set()

    def close(self) -> None:
        """End the writing; see :meth:`LegacyLayerWriter.close`. Raises FormatError for a folder called as a sidecar."""
        super().close()
        if self._misnamed_folder:
            text = f"a folder whose name ends in {SIDECAR}"
            raise FormatError(text, kind="sidecar", path=self._misnamed_folder)

    def _add_to_transport(self, path: str, basic: BasicInfo, *, is_directory: bool) -> None:
        if path.startswith(_BELOW) or fold(path.partition("\\")[0]) == _FILES:
            if self._is_direct is None:
                self._is_direct = path == FILES and is_directory
            if self._is_direct:
                self._add_to_layer(path, basic, is_directory=is_directory)
                return
        super()._add_to_transport(path, basic, is_directory=is_directory)

    def _add_to_layer(self, path: str, basic: BasicInfo, *, is_directory: bool) -> None:
        self._look_at(path)
        try:
            node = self._made(path, is_directory=is_directory)
        except UnsafePathError as error:
            if error.winerror != ERROR_REPARSE_POINT_ENCOUNTERED:
                raise
            raise VolumeError(error.op, path, ERROR_PATH_NOT_FOUND, where=self.layer.label) from error
        try:
            node.set_basic(basic)
            if self._never_imported:
                self._current = BlobFile(node, basic.attributes)
            else:
                self._current = RestoredFile(node, security=True, buffered=False, observed=False)
        except BaseException:
            self._undo(node, path)
            raise

    def _made(self, path: str, *, is_directory: bool) -> OpenNode:
        layer = self.layer
        if path[-1:] == "$" and fold(path).endswith(_SIDECAR):
            self._look_at_sidecar(path, is_directory=is_directory)
        if not is_directory:
            return layer.create(path)
        node = layer.make_folder(path)
        components(path + SIDECAR, "open")
        if self._like_sidecars and fold(path) + _SIDECAR in self._like_sidecars:
            raise VolumeError("open", path + SIDECAR, ERROR_ALREADY_EXISTS, where=layer.label)
        return node

    def _look_at_sidecar(self, path: str, *, is_directory: bool) -> None:
        """See to a name that a sidecar has, or has but for the case of its letters."""
        layer, owner = self.layer, path[: -len(SIDECAR)]
        folded = fold(path)
        if folded in self._passed_over or (layer.exists(owner) and layer.lstat(owner).is_directory):
            op = "mkdir" if is_directory else "open"
            raise VolumeError(op, path, ERROR_ALREADY_EXISTS, where=layer.label)
        self._like_sidecars.add(folded)
        if is_sidecar(path):
            if is_directory:
                self._misnamed_folder = self._misnamed_folder or path
            else:
                self._never_imported = path

    def _reset(self) -> None:
        super()._reset()
        path, self._never_imported = self._never_imported, ""
        if path:
            self.layer.remove(path)
            self._passed_over.add(fold(path))  # in a transport folder it would still be there
