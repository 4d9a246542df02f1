"""The files of a layer as they come into being on this machine: names, data, links, times and modes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any, TypeAlias

from wclayer.errors import StoreError
from wclayer.formats.folder.content import (
    STREAM_FOLDER,
    copy_beside,
    copy_file,
    crc32,
    file_at,
    host_leaf,
    host_wants_escape,
    write_stream,
)
from wclayer.formats.folder.door import Door, NameRefusedError, NameTakenError, joined, store_error
from wclayer.formats.folder.folder import LayerFolder
from wclayer.formats.folder.folder_times import FolderTimes, seal_folders
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.folder.links import Target
from wclayer.formats.folder.node import Node
from wclayer.formats.folder.staging import Staging
from wclayer.model import Stream
from wclayer.ntfs.names import encode_wtf8

__all__ = ["HostTree", "Places", "host_name"]

Places: TypeAlias = tuple[int, int]
"""Where in a row the checksum of a stream stands, and its name on this machine."""

_SHORT = 63  # characters: 252 bytes of WTF-8 at most
_PROBE = b".wcl-probe"
_SEALED = 0o555  # the mode of a folder when all is done


class HostTree:
    """The tree in the folder of ``staging``. ``where`` names the layer in errors.

    Where a name cannot stand for itself, the method that makes it returns the name it got instead.
    """

    def __init__(self, staging: Staging, *, where: str, link_host_files: bool = False) -> None:
        self.door = Door(staging.root, where=where)
        self.parents: Sequence[LayerFolder] = ()  # the layers below, nearest first, into which links may lead
        self._root = staging.root
        self._where = where
        self._mask = staging.mask
        self._link_host_files = link_host_files
        self._has_stream_folder = False
        self._times = FolderTimes()
        self._folds_case = self._probe()
        if self._can_fill_sealed():
            self.door.folder_mode = _SEALED

    def make_folder(self, parent: bytes, name: str, last_write_time: int | None) -> bytes | None:
        """Make the folder ``name`` in ``parent``; :meth:`seal` sets its time. Raises NameTakenError, StoreError."""
        host = host_name(parent, name)
        leaf = host or encode_wtf8(name)
        try:
            self.door.make_directory(parent, leaf)
        except (NameRefusedError, NameTakenError) as error:
            if host or not self._may_escape(error):
                raise
            leaf = host = host_leaf(name, escape=True)
            self.door.make_directory(parent, leaf)
        self._times.note(joined(parent, leaf), last_write_time)
        return host

    def date_folder(self, path: bytes, last_write_time: int | None) -> None:
        """The time of the folder ``path``, which was not known when it was made."""
        self._times.note(path, last_write_time)

    def add_file(
        self, parent: bytes, name: str, data: Stream | None, last_write_time: int | None, path: str
    ) -> tuple[int | None, bytes | None]:
        """Make the file ``name`` of entry ``path`` in ``parent``: the CRC-32 of its stored bytes, and its other name.

        Raises NameTakenError, StoreError, and FormatError when ``data`` is not as long as it says.
        """
        host = host_name(parent, name)
        if data is not None and data.host_path is not None and self._link_host_files:
            leaf = host or encode_wtf8(name)
            if self.door.adopt(data.host_path, data.size, parent, leaf):
                return _checksum(data), host
        try:
            descriptor = self.door.create(parent, host or name.encode("utf-8", "surrogatepass"))
        except (NameRefusedError, NameTakenError) as error:
            if host or not self._may_escape(error):
                raise
            host = host_leaf(name, escape=True)
            descriptor = self.door.create(parent, host)
        return self._fill(descriptor, data, host_times(last_write_time), path), host

    def add_stream(self, number: int, data: Stream, path: str) -> tuple[int | None, str]:
        """Put the alternate stream ``number`` of entry ``path`` into a file: its CRC-32 and the name of the file."""
        if not self._has_stream_folder:
            self.door.make_directory(b"", STREAM_FOLDER)
            self._times.note(STREAM_FOLDER, None)
            self._has_stream_folder = True
        leaf = f"{number:08x}"
        descriptor = self.door.create(STREAM_FOLDER, leaf.encode())
        return self._fill(descriptor, data, host_times(None), path), leaf

    def expect(self, row: list[Any], places: Places, path: str, taken: str) -> None:
        """Complete ``row`` once what was asked for last is done, which here it is.

        ``taken`` says what is wrong with the entry ``path`` if its name turns out to be taken.
        """

    def unsettled(self) -> int | None:
        """The number of the first row that is not complete yet."""
        return None

    def settle(self) -> None:
        """Wait until everything is done that was asked for. Raises what went wrong with it."""

    def make_link(self, link: Node, target: Target, row: list[Any], places: Places) -> bytes | None:  # noqa: ARG002
        """Make ``link`` another name of the file of ``target``, or a copy where the file system has no such link."""
        index, parents = link.index, self.parents
        node = target.node
        parent = index.folder_path(link.parent)[1]
        folder, leaf = node.index.folder_path(node.parent)[1], node.host_leaf
        source = self.door if target.layer is None else parents[target.layer].door
        size = node.size or 0
        host, linked = self._linked(source, folder, leaf, parent, link.name, size)
        if not linked:
            if target.layer is None:
                data = file_at(source, folder, leaf, size, node.ranges)
            else:
                copied = parents[target.layer].open_data(node)
                data = Stream.from_bytes(b"") if copied is None else copied
            descriptor = self.door.create(parent, host or encode_wtf8(link.name))
            copy_file(descriptor, data, host_times(node.last_write_time), link.path, self._where)
        return host

    def link_file(self, parent: bytes, name: str, folder: bytes, leaf: bytes, path: str) -> bytes | None:
        """Make ``name`` of entry ``path`` in ``parent`` another name of the file ``leaf`` in ``folder``.

        A copy where the file system has no such link. Returns the other name that it got. Raises NameTakenError.
        """
        made, linked = self._linked(self.door, folder, leaf, parent, name, None)
        if not linked:
            copy_beside(self.door, folder, leaf, parent, made or encode_wtf8(name), ranges=None, path=path)
        return made

    def _linked(
        self, source: Door, folder: bytes, leaf: bytes, parent: bytes, name: str, size: int | None
    ) -> tuple[bytes | None, bool]:
        """The other name that the link must have, and whether it was made."""
        host = host_name(parent, name)
        try:
            return host, self.door.link(source, folder, leaf, parent, host or encode_wtf8(name), size=size)
        except (NameRefusedError, NameTakenError) as error:
            if host or not self._may_escape(error):
                raise
            host = host_leaf(name, escape=True)
            return host, self.door.link(source, folder, leaf, parent, host, size=size)

    def open_new(self, path: str, _flags: int) -> int:
        """An opener for :func:`open` that creates a file at the top of the layer, whatever folder ``path`` names."""
        return self.door.create(b"", os.path.basename(os.fsencode(path)))

    def put(self, leaf: bytes, content: bytes) -> None:
        """Make the small file ``leaf`` at the top of the layer."""
        descriptor = self.door.create(b"", leaf)
        self._fill(descriptor, Stream.from_bytes(content), None, leaf.decode())

    def seal(self) -> None:
        """Set the times of the folders, and make them read-only; nothing can be added any more.

        The top folder stays as it is, see :meth:`seal_top`. It is done when :meth:`settle` returns.
        """
        seal_folders(self.door, self._times, self._last_mode())

    def seal_top(self) -> None:
        """Make the top folder read-only."""
        try:
            os.fchmod(self._root, _SEALED & self._mask)
        except OSError as error:
            raise store_error(error, "cannot seal the folder", b".", self._where) from error

    def close(self) -> None:
        """Close the folders held open."""
        self.door.close()

    def _fill(self, descriptor: int, data: Stream | None, times: tuple[int, int] | None, path: str) -> int | None:
        """Write ``data`` into the new file ``descriptor`` and close it; returns the CRC-32 of the stored bytes."""
        checksum = None
        try:
            try:
                if data is not None:
                    if data.host_path is not None and self.door.clone(data.host_path, data.size, descriptor):
                        checksum = _checksum(data)
                    else:
                        checksum = write_stream(descriptor, data, path)
                if times is not None:
                    os.utime(descriptor, ns=times)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise store_error(error, "cannot write the file", encode_wtf8(path), self._where) from error
        return checksum

    def _last_mode(self) -> int | None:
        """The mode that folders get in the end; None when they have it from the start."""
        return None if self.door.folder_mode == _SEALED else _SEALED & self._mask

    def _may_escape(self, error: NameRefusedError | NameTakenError) -> bool:
        """Whether another name may help: not when this very name is taken on a file system that tells cases apart."""
        return self._folds_case or isinstance(error, NameRefusedError)

    def _probe(self) -> bool:
        """Whether this file system takes names for the same that differ in case."""
        self.put(_PROBE, b"")
        try:
            os.stat(_PROBE.upper(), dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        else:
            return True
        finally:
            os.unlink(_PROBE, dir_fd=self._root)

    def _can_fill_sealed(self) -> bool:
        """Whether folders can be read-only from the start, as they can for the superuser: one step less for each.

        Not where they would turn out in any way different (a default ACL, an inherited group).
        """
        if os.geteuid():
            return False
        try:
            os.mkdir(_PROBE, _SEALED, dir_fd=self._root)
            try:
                status = os.stat(_PROBE, dir_fd=self._root, follow_symlinks=False)
                os.close(self.door.create(_PROBE, _PROBE))
                os.unlink(_PROBE, dir_fd=self.door.directory(_PROBE))
            except (PermissionError, StoreError):
                return False  # the usual way may do; if not, what it says names an entry of the layer
            finally:
                self.door.forget(_PROBE)
                os.rmdir(_PROBE, dir_fd=self._root)
        except OSError as error:
            raise store_error(error, "cannot make a folder", _PROBE, self._where) from error
        return stat.S_IMODE(status.st_mode) == _SEALED & self._mask


def host_name(parent: bytes, name: str) -> bytes | None:
    """The other name that ``name`` must have in ``parent``; None where it can stand for itself, as nearly all do."""
    if name[0] != "." and len(name) <= _SHORT and parent:
        return None
    return host_leaf(name, escape=True) if host_wants_escape(name, top=not parent) else None


def _checksum(data: Stream) -> int:
    checksum = 0
    for piece in data.stored_pieces():
        checksum = crc32(piece, checksum)
    return checksum
