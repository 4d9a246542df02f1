r"""``LegacyLayerWriter``: the entries of a diff layer become a transport folder, and what bypasses it.

hcsshim's writer, call for call. Entries below ``Files`` become blobs of the transport folder, hives plain files; the
utility VM goes to the layer's own folder at once. Deletions, hard links, folder times wait until ImportLayer has run:
:mod:`wclayer.formats.transport.commit` does them in the order that counts. A folder that turns out to be a reparse
point is taken away until the end, so that nothing can be written through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO, NamedTuple

from wclayer.errors import FormatError, UsageError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.transport.files import BlobApart, BlobFile, EntryFile, RestoredFile
from wclayer.formats.transport.names import (
    ATTRIBUTES_SIZE,
    FILES,
    HIVES,
    SIDECAR,
    TOMBSTONES,
    UTILITY_VM,
    UTILITY_VM_FILES,
    holds_links,
    is_sidecar,
)
from wclayer.formats.transport.utility_vm import clone_utility_vm
from wclayer.formats.volume import BasicInfo, OpenNode, Volume, VolumeError
from wclayer.formats.volume.data_process import DataProcess
from wclayer.formats.volume.paths import clean, is_below
from wclayer.model import Buffer, SharedSource
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.backup import BACKUP_REPARSE_DATA, BackupStreamReader

__all__ = ["ChangedFolder", "LegacyLayerWriter", "PendingFolder", "PendingLink"]

_TYPE_BITS = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT


class PendingLink(NamedTuple):
    """A hard link to make after the import: ``path`` becomes another name of ``target`` in ``root``."""

    path: str
    target: str
    root: Volume


class PendingFolder(NamedTuple):
    """A folder that is a reparse point: its placeholder comes back when the writer is closed."""

    path: str
    root: Volume


class ChangedFolder(NamedTuple):
    """A folder of the layer, named as the caller named it, and what to set on it when everything is there."""

    path: str
    basic: BasicInfo


class LegacyLayerWriter:
    """Writes a diff layer into the ``transport`` folder; its utility VM and its links go to ``layer``.

    ``parents`` are nearest first. For each entry call :meth:`add` and then :meth:`write` with its backup stream;
    :meth:`add_link` and :meth:`remove` take no stream. :meth:`close` ends the writing and imports nothing. Names are
    Windows paths; they are kept as given where the reference keeps them. The volumes are the caller's to close.

    With ``notices`` that are strict, what Windows' importer is not known to take is an error: other names at the top
    than ``Files``, ``Hives`` and ``UtilityVM``, and names that end like sidecars. ``apart`` makes the blobs, as soon as
    it is ready; it is the caller's to settle and to close. ``last_node`` is the number in the manifest of the blob that
    was begun last.
    """

    def __init__(
        self, transport: Volume, layer: Volume, parents: Sequence[Volume], apart: DataProcess | None = None
    ) -> None:
        self._apart = apart
        self.transport = transport
        self.layer = layer
        self.parents = tuple(parents)
        self.notices = layer.notices
        self.tombstones: list[str] = []
        self.pending_links: list[PendingLink] = []
        self.pending_folders: list[PendingFolder] = []
        self.changed_folders: list[ChangedFolder] = []
        self.added: set[str] = set()
        self.has_utility_vm = False
        self.last_node = 0
        self.committed: BaseException | bool | None = None
        self._current: EntryFile | None = None
        self._current_is_in_layer = False
        self._takes_data = False
        self._sidecar_of: PendingFolder | None = None
        self._flush_error: WclayerError | None = None
        self._closed = False

    # ------------------------------------------------------------------ entries

    def add(self, name: str, basic: BasicInfo) -> None:
        """Begin the entry ``name``. The attributes decide whether it is a folder.

        Raises FormatError with hcsshim's texts, VolumeError, UnsafePathError.
        """
        self._reset()
        path = clean(name)
        if path == UTILITY_VM:
            self._begin_utility_vm()
            return
        is_directory = bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY)
        if is_directory:
            self.changed_folders.append(ChangedFolder(name, basic))
        self._current_is_in_layer = is_below(path, UTILITY_VM)
        if self._current_is_in_layer:
            self._add_to_utility_vm(path, basic, is_directory=is_directory)
        else:
            self._add_to_transport(path, basic, is_directory=is_directory)
        self._takes_data = True
        self.added.add(path)

    def add_link(self, name: str, target: str) -> None:
        """Note that ``name`` is another name of ``target``, which was added before or is in a parent.

        Raises FormatError: ``invalid hard link in layer``, ``failed to find link target``.
        """
        self._reset()
        target = clean(target)
        if not holds_links(target) or not holds_links(clean(name)):
            raise FormatError("invalid hard link in layer", kind="link", path=name)
        roots = self.parents if is_below(target, FILES) else (self.layer,)
        root = self.layer if target in self.added else self._holder(roots, target)
        if root is None:
            searched = ", ".join(["this layer", *(volume.label for volume in roots if volume is not self.layer)])
            raise FormatError(
                f"failed to find link target for '{name}' -> '{target}'",
                kind="link-target",
                hint=f"looked in {searched}",
            )
        self.pending_links.append(PendingLink(name, target, root))
        self.added.add(clean(name))

    def remove(self, name: str) -> None:
        """Delete ``name``: below ``Files`` when the layer is imported, in the utility VM at once.

        The current entry takes no more data. One of the transport folder is closed with the next entry, as in the
        reference, so that what is restored is restored in its order.
        """
        if self._closed or self._current is None or self._current_is_in_layer:
            self._reset()
        self._takes_data = False
        path = clean(name)
        if is_below(path, FILES):
            self.tombstones.append(path)
        elif is_below(path, UTILITY_VM_FILES):
            if not self.has_utility_vm:
                self._begin_utility_vm()
            self.layer.lstat(path)
            self.layer.remove_all(path)
        else:
            raise FormatError(f"invalid tombstone {path}", kind="tombstone")

    def write(self, data: Buffer) -> None:
        """Write a piece of the backup stream of the entry that was added last. Raises UsageError ``closed``."""
        if self._current is None or not self._takes_data:
            raise UsageError("closed: there is no entry that takes data")
        self._current.write(data)

    def write_apart(self, source: SharedSource, size: int) -> bool:
        """Let another process write the next ``size`` bytes; False, and nothing is done, if that is not for it."""
        current = self._current
        if not self._takes_data or not isinstance(current, BlobApart):
            return False
        current.write_apart(source, size)
        return True

    def close(self) -> None:
        """End the writing: what ``tombstones.txt`` the layer brought goes, reparse folders come back."""
        if self._closed:
            return
        self._reset()
        self._closed = True
        try:
            self.transport.remove(TOMBSTONES)
        except VolumeError as error:
            if not error.is_missing:
                raise
        for folder in self.pending_folders:
            folder.root.mkdir(folder.path)

    def abandon(self) -> None:
        """Close what is open without caring for it; an error is on its way."""
        current, self._current = self._current, None
        self._closed = True
        if current is not None:
            current.abandon()

    # ------------------------------------------------------------------ the transport folder

    def _add_to_transport(self, path: str, basic: BasicInfo, *, is_directory: bool) -> None:
        self._look_at(path)
        name = path
        if is_directory:
            self.transport.mkdir(path)
            name = path + SIDECAR
        apart = self._apart
        if apart is not None and (not apart.is_ready() or is_below(path, HIVES)):
            apart = None
        node = self.transport.create(name, later=apart is not None)
        self.last_node = node.record.node
        try:
            node.set_times(basic)
            if apart is not None:
                self._current = BlobApart(node, basic.attributes, apart)
            elif is_below(path, HIVES):
                self._current = RestoredFile(node, security=False)
            else:
                self._current = BlobFile(node, basic.attributes)
        except BaseException:
            if apart is None:
                self._undo(node, name)
            raise
        if is_directory:
            self._sidecar_of = PendingFolder(path, self.transport)

    def _look_at(self, path: str) -> None:
        top = path.partition("\\")[0]
        if top not in (FILES, HIVES):
            self.notices.add("top-level-name", path, "only Files, Hives and UtilityVM belong at the top of a layer")
        if path.endswith("$") and is_sidecar(path.lower()):
            self.notices.add("sidecar-name", path, f"names that end in {SIDECAR} describe folders")

    # ------------------------------------------------------------------ the utility VM

    def _begin_utility_vm(self) -> None:
        if self.has_utility_vm:
            return
        if not self.parents:
            raise FormatError("cloning the parent utility VM image failed: there is no parent", kind="utility-vm")
        try:
            clone_utility_vm(self.parents[0], self.layer)
        except WclayerError as error:
            error.message = f"cloning the parent utility VM image failed: {error.message}"
            error.args = (error.message,)
            raise
        self.has_utility_vm = True

    def _add_to_utility_vm(self, path: str, basic: BasicInfo, *, is_directory: bool) -> None:
        if not self.has_utility_vm:
            raise FormatError("missing UtilityVM directory", kind="utility-vm", path=path)
        if path != UTILITY_VM_FILES and not is_below(path, UTILITY_VM_FILES):
            raise FormatError("invalid UtilityVM layer", kind="utility-vm", path=path)
        node = self._uvm_folder(path, basic) if is_directory else self._uvm_file(path)
        try:
            node.set_basic(basic)
            self._current = RestoredFile(node, security=True)
        except BaseException:
            self._undo(node, path)
            raise

    def _uvm_folder(self, path: str, basic: BasicInfo) -> OpenNode:
        try:
            old = self.layer.lstat(path)
        except VolumeError as error:
            if not error.is_missing:
                raise
        else:
            if not (old.basic.attributes ^ basic.attributes) & _TYPE_BITS:
                return self.layer.open_folder(path)
            self.layer.remove_all(path)
        self.layer.mkdir(path)
        return self.layer.open_folder(path)

    def _uvm_file(self, path: str) -> OpenNode:
        try:
            self.layer.remove(path)
        except VolumeError as error:
            if not error.is_missing:
                raise
        return self.layer.create(path)

    def _undo(self, node: OpenNode, path: str) -> None:
        node.abandon()
        node.volume.remove(path)

    def _holder(self, roots: Sequence[Volume], target: str) -> Volume | None:
        for root in roots:
            if root.exists(target):
                return root
        return None

    # ------------------------------------------------------------------ between entries

    def _reset(self) -> None:
        """End the current entry. An error of its last write stays: no layer with a hole may ever be committed."""
        if self._closed:
            raise UsageError("closed: the layer writer is done")
        if self._flush_error is not None:
            raise self._flush_error
        current, self._current = self._current, None
        folder, self._sidecar_of = self._sidecar_of, None
        if current is None:
            return
        try:
            current.close()
        except WclayerError as error:
            self._flush_error = error
            raise
        if folder is not None and not is_below(folder.path, HIVES):
            self._take_away_reparse_folder(folder, current.whole if isinstance(current, BlobFile | BlobApart) else None)

    def _take_away_reparse_folder(self, folder: PendingFolder, sidecar: bytearray | None) -> None:
        """Remove the placeholder of a folder whose sidecar holds reparse data, until the writer is closed.

        ``sidecar`` is what was just written to it, where that is still at hand.
        """
        volume = folder.root
        try:
            with self._opened_sidecar(folder) if sidecar is None else BytesIO(sidecar) as file:
                file.seek(ATTRIBUTES_SIZE)
                reader = BackupStreamReader(file.read)
                while (header := reader.next()) is not None:
                    if header.id == BACKUP_REPARSE_DATA:
                        volume.remove(folder.path)
                        self.pending_folders.append(folder)
        except OSError as error:
            raise store_error(error, "cannot read", folder.path.encode("utf-8", "replace"), volume.label) from error

    def _opened_sidecar(self, folder: PendingFolder) -> BinaryIO:
        volume = folder.root
        descriptor = volume.open_data(volume.lstat(folder.path + SIDECAR))
        return open(descriptor, "rb", buffering=1 << 14)
