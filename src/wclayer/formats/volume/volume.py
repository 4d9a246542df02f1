"""A folder of this machine that behaves like a folder of an NTFS volume, for whoever prepares layers off Windows.

The operations are those of hcsshim's ``safefile``: each names a file by a path below the root, passes through no
reparse point, and fails as Windows fails. Names and data are plain files and folders, never links of this machine;
everything else that NTFS keeps is in a manifest. Every access goes through one door that cannot leave the root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.folder.door import DIRECTORY_FLAGS, Door, NameTakenError, check_platform, joined, store_error
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.volume.errors import (
    ERROR_ACCESS_DENIED,
    ERROR_ALREADY_EXISTS,
    ERROR_DIR_NOT_EMPTY,
    ERROR_DIRECTORY,
    ERROR_INVALID_NAME,
    ERROR_PATH_NOT_FOUND,
    ERROR_REPARSE_POINT_ENCOUNTERED,
    UnsafePathError,
    VolumeError,
)
from wclayer.formats.volume.manifest import Manifest
from wclayer.formats.volume.paths import check_length, clean, folder_of
from wclayer.formats.volume.record import BasicInfo, Record
from wclayer.formats.volume.tree import Place, Status, Tree
from wclayer.model import Notices
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_READONLY
from wclayer.ntfs.names import encode_wtf8

__all__ = ["OpenNode", "RestoreObserver", "Volume"]

RestoreObserver = Callable[["OpenNode", bool, bytes], None]
"""Told of every piece of a backup stream that is restored: to what, whether with its security, the bytes."""


class OpenNode:
    """A file or folder that is open for being written: its record, and a descriptor when it is a file made here."""

    __slots__ = ("_volume", "descriptor", "host", "is_directory", "path", "record")

    def __init__(
        self, volume: Volume, path: str, host: bytes, record: Record, descriptor: int, *, later: bool = False
    ) -> None:
        self._volume = volume
        self.path = path
        self.host = host
        self.record = record
        self.descriptor = descriptor
        self.is_directory = descriptor < 0 and not later

    @property
    def volume(self) -> Volume:
        """Where it lies."""
        return self._volume

    def set_basic(self, info: BasicInfo) -> None:
        """Set attributes and times; what is 0 stays."""
        self.record.set_basic(info)
        self._volume.changed(self.record)

    def set_times(self, info: BasicInfo) -> None:
        """Set the times alone; what is 0 stays."""
        self.record.set_times(info)
        self._volume.changed(self.record)

    def close(self) -> None:
        """Note what was set, and close. Times are set last, since every write changes those of this machine."""
        descriptor, self.descriptor = self.descriptor, -1
        self._volume.changed(self.record)
        if descriptor >= 0:
            try:
                os.utime(descriptor, ns=host_times(self.record.last_write_time))
            except OSError as error:
                raise store_error(error, "cannot set the times of", self.host, self._volume.label) from error
            finally:
                os.close(descriptor)

    def leave(self) -> int:
        """Note what was set, of a file that is made elsewhere; returns the time for that, in ns after 1970."""
        self._volume.changed(self.record)
        return host_times(self.record.last_write_time)[1]

    def abandon(self) -> None:
        """Close without caring for errors; another one is on its way."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


class Volume:
    r"""The volume in the folder ``root``, which may itself be reached through links.

    ``manifest`` is a :class:`Manifest`, closed with the volume; without one the volume can be read only. ``label`` is
    what error texts and recorded operations call the root (``{layer}``, ``\\?\C:\layer``); the path if empty. With
    ``observer`` every restore is told to it. ``notices`` collects what is odd. ``hidden`` are names at the top that are
    not part of the volume, as its manifest's; nothing can be made of such a name. ``is_whole`` is False where a utility
    VM holds only what its layer changes.
    """

    def __init__(
        self,
        root: Path | str,
        manifest: Manifest | None = None,
        *,
        label: str = "",
        notices: Notices | None = None,
        observer: RestoreObserver | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        check_platform()
        self.root = Path(os.path.abspath(root))
        self.label = label or str(self.root)
        self.manifest = manifest
        self.notices = Notices() if notices is None else notices
        self.observer = observer
        self.is_whole = True
        self._first_names: dict[bytes, str] = {}
        try:
            self._descriptor = os.open(self.root, DIRECTORY_FLAGS)
        except OSError as error:
            raise store_error(error, "cannot open the folder", os.fsencode(self.root), "") from error
        self.tree = Tree(self._descriptor, manifest, self.label, hidden)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(commit=error is None)

    def close(self, *, commit: bool = True) -> None:
        """Close everything; with ``commit`` the manifest becomes durable. Harmless when called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            self.tree.door.close()
        finally:
            os.close(descriptor)
            if self.manifest is not None:
                self.manifest.close(commit=commit)

    # ------------------------------------------------------------------ looking

    def lstat(self, path: str, op: str = "stat") -> Status:
        """What is at ``path``; a reparse point is itself. Raises VolumeError, UnsafePathError."""
        return self.tree.find(path, op)

    def exists(self, path: str) -> bool:
        """Whether something is at ``path``. Raises UnsafePathError."""
        try:
            self.lstat(path)
        except VolumeError as error:
            if error.is_missing:
                return False
            raise
        return True

    def ensure_not_reparse_point(self, path: str, op: str = "open") -> Status:
        """What is at ``path``, which is no reparse point. Raises UnsafePathError, VolumeError."""
        status = self.lstat(path, op)
        if status.is_reparse_point:
            raise UnsafePathError(op, path, "it is a reparse point", ERROR_REPARSE_POINT_ENCOUNTERED, where=self.label)
        return status

    def walk(self, path: str, skip: Callable[[Status], bool] | None = None) -> Iterator[Status]:
        """``path`` and everything below it: a folder before its contents, each folder in byte order of its names.

        What ``skip`` says yes to is left out with all below it. Reparse points are not entered.
        """
        stack = [iter((self.lstat(path),))]
        while stack:
            status = next(stack[-1], None)
            if status is None:
                stack.pop()
            elif skip is None or not skip(status):
                if status.path:
                    yield status
                if status.is_directory and not status.is_reparse_point:
                    stack.append(self.tree.entries(status))

    def first_name(self, status: Status) -> str:
        """The name under which this file was first asked for here, for finding the names of one file in a walk."""
        return self._first_names.setdefault(status.file_id, status.path)

    def open_data(self, status: Status) -> int:
        """A descriptor that reads the main stream of a file; the caller closes it."""
        return self.tree.door.open(status.parent, status.leaf)

    def open_sized(self, status: Status) -> tuple[int, int]:
        """The same, and how many bytes it has now."""
        return self.tree.door.open_sized(status.parent, status.leaf)

    # ------------------------------------------------------------------ making

    def mkdir(self, path: str) -> None:
        """Make the folder ``path``; its parent must exist, and nothing of that name. Raises VolumeError."""
        self.make_folder(path)

    def make_folder(self, path: str) -> OpenNode:
        """Make the folder ``path`` as :meth:`mkdir` does, and open it."""
        place = self._vacant(path, "mkdir")
        leaf = self.tree.host_leaf(place.name)
        try:
            self.tree.door.make_directory(place.folder.host, leaf)
        except NameTakenError as error:
            raise VolumeError("mkdir", path, ERROR_ALREADY_EXISTS, where=self.label) from error
        folder, host = place.folder, joined(place.folder.host, leaf)
        self.tree.added(folder, place.name, leaf)
        self.tree.entered(f"{folder.path}\\{place.name}" if folder.path else place.name, host)
        return OpenNode(self, path, host, self._writable().put(host, Record.new(is_directory=True)), -1)

    def mkdir_all(self, path: str) -> None:
        """Make the folder ``path`` and those above it, as far as they are missing, from the top down.

        Raises VolumeError, UnsafePathError; what was made above the place of the error stays, as in ``safefile``.
        """
        cleaned = clean(path)
        check_length(cleaned, "mkdir")
        parts = cleaned.split("\\")
        for depth in range(1, len(parts) + 1):
            part = "\\".join(parts[:depth])
            if not part:
                raise UnsafePathError("stat", cleaned, "the name is invalid", ERROR_INVALID_NAME, where=self.label)
            try:
                status = self.lstat(part)
            except VolumeError as error:
                if not error.is_missing:
                    raise
                self.mkdir(part)
                continue
            if not status.is_directory or status.is_reparse_point:
                raise VolumeError("mkdir", part, ERROR_PATH_NOT_FOUND, where=self.label, reason="it is no folder")

    def create(self, path: str, *, later: bool = False) -> OpenNode:
        """Make the file ``path``, which must not exist, and open it. Raises VolumeError.

        With ``later`` somebody else makes it, which is :attr:`Tree.pending`.
        """
        place = self._vacant(path, "open")
        parent = place.folder.host
        leaf = self.tree.host_leaf(place.name)
        try:
            descriptor = -1 if later else self.tree.door.create(parent, leaf)
        except NameTakenError as error:
            raise VolumeError("open", path, ERROR_ALREADY_EXISTS, where=self.label) from error
        try:
            self.tree.added(place.folder, place.name, leaf)
            host = joined(parent, leaf)
            record = self._writable().put(host, Record.new(is_directory=False))
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        return OpenNode(self, path, host, record, descriptor, later=later)

    def open_folder(self, path: str, *, op: str = "open") -> OpenNode:
        """Open the folder ``path`` for being described; it may be a reparse point. Raises VolumeError."""
        status = self.lstat(path, op)
        if not status.is_directory:
            raise VolumeError(op, path, ERROR_DIRECTORY, where=self.label)
        return OpenNode(self, path, status.host, self.described(status), -1)

    def described(self, status: Status) -> Record:
        """The record of ``status`` for being changed: the manifest gets one if it had none."""
        manifest = self._writable()
        return status.record if status.described else manifest.put(status.host, status.record.copy())

    def changed(self, record: Record) -> None:
        """Note that a record was changed in place."""
        self._writable().changed(record)

    def set_basic(self, status: Status, info: BasicInfo) -> None:
        """Set attributes and times of what is there."""
        record = self.described(status)
        record.set_basic(info)
        self.changed(record)

    def is_empty(self, path: str) -> bool:
        """Whether the folder ``path`` has nothing in it."""
        return next(self.tree.entries(self.lstat(path)), None) is None

    # ------------------------------------------------------------------ removing

    def remove(self, path: str) -> None:
        """Remove the file, empty folder or reparse point ``path``. A read-only one loses that attribute first."""
        self._remove(self.lstat(path, "remove"))

    def _remove(self, status: Status) -> None:
        path = status.path
        if not path:
            raise VolumeError("remove", path, ERROR_ACCESS_DENIED, where=self.label)
        if status.record.attributes & FILE_ATTRIBUTE_READONLY and self.manifest is not None:
            # Windows refuses to delete it and safefile clears the attribute, for all names of the file.
            record = self.described(status)
            record.attributes &= ~FILE_ATTRIBUTE_READONLY
            self.changed(record)
        self._writable()
        self.tree.forget_folder(status)
        here = self.tree.door.directory(status.parent)
        try:
            if status.is_directory:
                os.rmdir(status.leaf, dir_fd=here)
            else:
                os.unlink(status.leaf, dir_fd=here)
        except OSError as error:
            if status.is_directory and self._has_entries(status):
                raise VolumeError("remove", path, ERROR_DIR_NOT_EMPTY, where=self.label) from error
            raise store_error(error, "cannot remove", status.host, self.label) from error
        self.tree.removed(status)
        self._writable().remove(status.host)

    def remove_all(self, path: str) -> None:
        """Remove ``path`` with everything below it; that nothing is there is fine. The first error counts."""
        try:
            status = self.lstat(path)
        except VolumeError as error:
            if error.is_missing:
                return
            raise
        if not status.path:
            raise VolumeError("remove", path, ERROR_ACCESS_DENIED, where=self.label, reason="it is the root")
        first: WclayerError | None = None
        # Without recursion: a layer may nest folders as deep as a path is long.
        stack = [(status, self._inside(status))]
        while stack:
            here, inside = stack[-1]
            found = next(inside, None)
            if found is not None:
                stack.append((found, self._inside(found)))
                continue
            stack.pop()
            try:
                self._remove(here)
            except WclayerError as error:
                if not (isinstance(error, VolumeError) and error.is_missing):
                    first = first or error
        if first is not None:
            raise first

    def _inside(self, status: Status) -> Iterator[Status]:
        """What is to be removed before ``status`` can be."""
        if status.is_directory and not status.is_reparse_point:
            return iter(list(self.tree.entries(status)))
        return iter(())

    # ------------------------------------------------------------------ linking

    def link(self, source: Volume, target: str, path: str) -> Status | None:
        """Make ``path`` another name of the file ``target`` of ``source``; returns what that was before.

        None when this machine cannot link them: another file system, too many links. Nothing is made then. Raises
        VolumeError, UnsafePathError: the target must be a file and no reparse point, and ``path`` must not exist.
        """
        old = source.ensure_not_reparse_point(target, "link")
        self._check_above(path)
        if old.is_directory:
            raise VolumeError("link", path, ERROR_ACCESS_DENIED, where=self.label, reason=f"{target} is a folder")
        host = self._make_link(source.tree.door, old.parent, old.leaf, old.size, path)
        if host is None:
            return None
        manifest = self._writable()
        if source is self:
            manifest.link(host, self.described(old).node)
        else:
            record = manifest.put(host, old.record.copy())
            if source.manifest is not None and old.described:
                manifest.copy_streams(source.manifest, old.record, record)
        return old

    def link_made(self, target: str, node: int, path: str) -> bool:
        """:meth:`link` for a file that :meth:`create` made as ``target``, with the number ``node`` in the manifest.

        The file is not looked at again. Where names have aliases (:meth:`Tree.host_leaf`), :meth:`link` is needed.
        """
        self._check_above(path)
        parent, _, leaf = encode_wtf8(target.replace("\\", "/")).rpartition(b"/")
        if self.tree.pending is not None:
            self.tree.pending.finish_file(joined(parent, leaf))
        host = self._make_link(self.tree.door, parent, leaf, None, path)
        if host is not None:
            self._writable().link(host, node)
        return host is not None

    def _check_above(self, path: str) -> None:
        above = folder_of(clean(path))
        if above != "." and not self.tree.is_in_use(above):
            parent = self.ensure_not_reparse_point(above, "link")
            if not parent.is_directory:
                raise VolumeError("link", path, ERROR_DIRECTORY, where=self.label)

    def _make_link(self, door: Door, parent: bytes, leaf: bytes, size: int | None, path: str) -> bytes | None:
        """Link and note the name ``path``; what it is called on this machine, None where that cannot link."""
        place = self._vacant(path, "link")
        new = self.tree.host_leaf(place.name)
        try:
            if not self.tree.door.link(door, parent, leaf, place.folder.host, new, size=size):
                return None
        except NameTakenError as error:
            raise VolumeError("link", path, ERROR_ALREADY_EXISTS, where=self.label) from error
        self.tree.added(place.folder, place.name, new)
        return joined(place.folder.host, new)

    # ------------------------------------------------------------------ within

    def _vacant(self, path: str, op: str) -> Place:
        self._writable()
        place = self.tree.locate(path, op)
        if not place.name:
            raise VolumeError(op, path, ERROR_INVALID_NAME, where=self.label, reason="it is the root")
        if place.leaf is not None:
            raise VolumeError(op, path, ERROR_ALREADY_EXISTS, where=self.label)
        if not place.folder.host and self.tree.is_hidden(place):
            raise UnsafePathError(op, path, "the name is taken by the layer's own records", where=self.label)
        return place

    def _has_entries(self, status: Status) -> bool:
        return next(self.tree.entries(status), None) is not None

    def _writable(self) -> Manifest:
        if self.manifest is None or self.manifest.read_only:
            raise UsageError(f"{self.label} is open for reading only")
        return self.manifest
