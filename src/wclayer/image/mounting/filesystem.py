"""The requests of the kernel, answered out of an overlay.

Errors of the layers below (a file that is gone, a damaged index) become EIO, and what they say goes to the log of the
process; the mount goes on.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.image.mounting.editing import Editor, ticks_now
from wclayer.image.mounting.fuse import RENAME_NOREPLACE, Stat
from wclayer.image.mounting.links import relative_target, reparse_for
from wclayer.image.mounting.lower import mode_of, stat_times
from wclayer.image.mounting.overlay import Item, Overlay
from wclayer.image.mounting.upper import UpperNode
from wclayer.image.mounting.xattrs import STREAM_PREFIX, encode, is_metadata, stream_of, with_value, without
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE

__all__ = ["INFORMATION", "FileSystem"]

INFORMATION = "system.wclayer_mount"
"""The attribute of the top of a mount that says, as JSON, what is mounted there."""

_IS_UNNAMED = re.compile(r"(?:.*/)?\.fuse_hidden[0-9a-f]{16,}", re.DOTALL).fullmatch
_MAX_VALUE, _MAX_NAME = 1 << 16, 255
_WRITES = os.O_WRONLY | os.O_RDWR


class _Handle:
    """An open file. ``item`` is what was opened; ``node`` appears with the first change."""

    __slots__ = ("descriptor", "item", "node", "writes")

    def __init__(self, item: Item, node: UpperNode | None, descriptor: int, *, writes: bool) -> None:
        self.item = item
        self.node = node
        self.descriptor = descriptor
        self.writes = writes


class FileSystem:
    """Answers for ``overlay``, which is mounted on ``mount``; ``information`` is what :data:`INFORMATION` says.

    ``started`` is called when the mount answers. Every method raises OSError to say no. Paths begin with a slash.
    """

    def __init__(
        self, overlay: Overlay, mount: Path, information: bytes, started: Callable[[], None] = lambda: None
    ) -> None:
        self.overlay = overlay
        self.mount = mount
        self._editor = Editor(overlay, overlay.upper) if overlay.upper is not None else None
        self._information = information
        self._handles: dict[int, _Handle] = {}
        self._next = 1
        self._unnamed: dict[str, list[int]] = {}
        self.started = started

    def ended(self) -> None:
        """Let go of what is still open: the mount is gone."""
        for handle in list(self._handles):
            self.release(handle)

    @property
    def editor(self) -> Editor:
        """What changes things. Raises OSError, EROFS, where nothing can be changed."""
        if self._editor is None:
            raise OSError(errno.EROFS, "this mount is read-only")
        return self._editor

    # ------------------------------------------------------------------ looking

    def stat(self, path: str | None, handle: int | None) -> Stat:
        """What ``stat`` shows."""
        try:  # of all requests the most frequent, so without a context manager
            if self._unnamed and (unnamed := self._opened_unnamed(path or "")) is not None:
                return self._stat_of_unnamed(unnamed)
            if handle is not None and (opened := self._handles.get(handle)) is not None and opened.node is not None:
                return self.overlay.stat(Item("", opened.node, None))
            return self.overlay.stat(self._find(path))
        except WclayerError as error:
            raise OSError(errno.EIO, str(error)) from error

    def _stat_of_unnamed(self, opened: _Handle) -> Stat:
        metadata = opened.node.metadata if opened.node is not None else self.overlay.metadata(opened.item)
        node = opened.node
        if node is not None and node.links:
            return self.overlay.stat(Item("", node, None))
        inode = node.inode if node is not None else self.overlay.stat(opened.item).inode
        size = os.fstat(opened.descriptor).st_size
        return Stat(mode_of(metadata, is_folder=False), inode, 0, size, *stat_times(metadata))

    def listing(self, path: str) -> Iterator[tuple[str, Stat]]:
        """The names in a folder, each with its attributes."""
        with _layer_errors():
            folder = self._find(path)
            if not folder.is_folder:
                return  # a reparse point of an unknown kind
            for child in list(self.overlay.children(folder)):
                yield child.name, self._listed(child)

    def _listed(self, child: Item) -> Stat:
        try:
            return self.overlay.stat(child)
        except WclayerError:  # a hard link without a file is listed, and fails when it is looked at
            return Stat(0o100000, 0, 1, 0, 0, 0, 0)

    def readlink(self, path: str) -> str:
        """Where a link leads, as seen from its folder."""
        with _layer_errors():
            item = self._find(path)
            return relative_target(item.path, self.overlay.metadata(item).reparse or b"")

    def space(self) -> os.statvfs_result:
        """The room where the upper folder, or the nearest layer, lies."""
        return os.statvfs(self.overlay.upper.path if self.overlay.upper is not None else self.mount.parent)

    # ------------------------------------------------------------------ open files

    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        with _layer_errors():
            item = self._find(path)
            if not flags & _WRITES and not flags & os.O_TRUNC:
                return self._opened(_Handle(item, item.node, self._reader(item), writes=False))
            node = self._owned(item, empty=bool(flags & os.O_TRUNC))
            return self._opened(self._writer(item, node))

    def create(self, path: str, mode: int) -> int:
        """Make a file and open it."""
        with _layer_errors():
            node = self.editor.create(path[1:])
            if not mode & 0o222:
                self.editor.set_mode(path[1:], mode)
            return self._opened(self._writer(Item(path[1:], node, None), node))

    def readable(self, handle: int) -> int:
        """The descriptor that an open file is read from."""
        return self._handles[handle].descriptor

    def write(self, handle: int, data: bytes, offset: int) -> int:
        """Write to an open file; all of ``data``."""
        opened = self._handles[handle]
        written = os.pwrite(opened.descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(opened.descriptor, data[written:], offset + written)
        self._written(opened.node)
        return written

    def truncate(self, path: str | None, size: int, handle: int | None) -> None:
        """Set the size of a file, open or not."""
        with _layer_errors():
            opened = self._handles.get(handle) if handle is not None else None
            opened = opened or self._opened_unnamed(path or "")
            if opened is not None and opened.writes:
                os.ftruncate(opened.descriptor, size)
                self._written(opened.node)
                return
            node = self._owned(self._find(path), empty=not size)
            descriptor = self.editor.upper.open_data(node, os.O_RDWR)
            try:
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)
            self._written(node)
            self._save(node)

    def flush(self, handle: int) -> None:
        """A descriptor of the file was closed: what is remembered about it is written down."""
        self._save(self._handles[handle].node)

    def fsync(self, handle: int) -> None:
        """Make a file, and all changes of names and metadata, survive a loss of power."""
        opened = self._handles[handle]
        self._save(opened.node)
        if opened.descriptor >= 0:
            os.fsync(opened.descriptor)
        self.sync_folder()

    def sync_folder(self) -> None:
        """The same for names and metadata alone."""
        if self.overlay.upper is not None:
            with _layer_errors():
                self.overlay.upper.sync()

    def release(self, handle: int) -> None:
        """The last descriptor of an open file is closed."""
        opened = self._handles.pop(handle)
        if opened.descriptor >= 0:
            os.close(opened.descriptor)
        self._save(opened.node)

    def _opened(self, handle: _Handle) -> int:
        number = self._next
        self._next += 1
        self._handles[number] = handle
        return number

    def _reader(self, item: Item) -> int:
        upper = self.overlay.upper
        if item.node is not None and item.node.data and upper is not None:
            return upper.open_data(item.node, os.O_RDONLY)
        origin = self.overlay.origin(item)
        if origin is None or self.overlay.lower.size(origin) is None:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self.overlay.lower.open(origin)

    def _writer(self, item: Item, node: UpperNode) -> _Handle:
        descriptor = self.editor.upper.open_data(node, os.O_RDWR)
        return _Handle(item, node, descriptor, writes=True)

    def _owned(self, item: Item, *, empty: bool) -> UpperNode:
        """The node of a file, with content of its own. Who has it open for reading goes on with that."""
        editor = self.editor
        if item.is_directory or self.overlay.is_symlink(item):
            raise OSError(errno.EISDIR, "that has no content")
        readers = [opened for opened in self._handles.values() if not opened.writes and self._same(opened.item, item)]
        had_own = item.node is not None and item.node.data
        with editor.change():
            node = editor.raised(item)
            editor.owned(node, empty=empty)
        if empty:
            self._written(node)
            self._save(node)
        for opened in readers:
            opened.node = node
            if not had_own:
                os.close(opened.descriptor)
                opened.descriptor = editor.upper.open_data(node, os.O_RDONLY)
        return node

    def _same(self, one: Item, other: Item) -> bool:
        if one.node is not None or other.node is not None:
            return one.node is other.node
        if one.below is None or other.below is None:
            return False
        return self.overlay.lower.holder(one.below) == self.overlay.lower.holder(other.below)

    def _written(self, node: UpperNode | None) -> None:
        if node is not None:
            metadata = node.metadata
            metadata.attributes |= FILE_ATTRIBUTE_ARCHIVE
            metadata.last_write_time = metadata.change_time = ticks_now()
            node.dirty = True

    def _save(self, node: UpperNode | None) -> None:
        upper = self.overlay.upper
        if node is not None and node.dirty and upper is not None and upper.nodes.get(node.id) is node:
            with _layer_errors(), upper.change():
                upper.save(node)

    # ------------------------------------------------------------------ names

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        with _layer_errors():
            self.editor.mkdir(path[1:])

    def unlink(self, path: str) -> None:
        """Remove a file or a link."""
        with _layer_errors():
            if self._unnamed.pop(path, None) is not None:
                return
            self.editor.remove(path[1:], folder=False)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        with _layer_errors():
            self.editor.remove(path[1:], folder=True)

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link; to Windows it is one to a directory when it leads to one now."""
        with _layer_errors():
            inside = path[1:]
            reparse = reparse_for(inside, target, os.fspath(self.mount))
            folder = inside.rpartition("/")[0]
            leads_to = os.path.normpath(f"{folder}/{relative_target(inside, reparse)}")
            try:
                is_directory = self.overlay.find(leads_to).is_directory
            except OSError:
                is_directory = False  # it leads nowhere yet
            self.editor.symlink(inside, reparse, is_directory=is_directory)

    def link(self, path: str, existing: str) -> None:
        """Make another name of a file."""
        with _layer_errors():
            self.editor.link(path[1:], existing[1:])

    def rename(self, old: str, new: str, flags: int) -> None:
        """Rename; of the flags only that nothing may be replaced is known."""
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "files cannot be exchanged")
        with _layer_errors():
            if _IS_UNNAMED(new):
                self._take_name(old, new)
                return
            self.editor.rename(old[1:], new[1:], replacing=not flags)

    def _take_name(self, old: str, new: str) -> None:
        """Remove the name of an open file. libfuse calls it ``new`` until it is closed; nobody else sees that."""
        item = self._find(old)
        handles = [number for number, opened in self._handles.items() if self._is_open(opened, item)]
        self.editor.remove(old[1:], folder=False)
        if handles:
            self._unnamed[new] = sorted(handles, key=lambda number: not self._handles[number].writes)

    def _opened_unnamed(self, path: str) -> _Handle | None:
        """The file without a name that libfuse calls ``path``, writable if it was opened so at all."""
        return next((self._handles[number] for number in self._unnamed.get(path, ()) if number in self._handles), None)

    def _is_open(self, opened: _Handle, item: Item) -> bool:
        return opened.node is item.node if opened.node is not None else self._same(opened.item, item)

    # ------------------------------------------------------------------ metadata

    def chmod(self, path: str | None, mode: int) -> None:
        """Set permissions, see :meth:`wclayer.image.mounting.editing.Editor.set_mode`."""
        with _layer_errors():
            if path is not None and path not in self._unnamed:  # a file without a name is nobody's business
                self.editor.set_mode(path[1:], mode)

    def utimens(self, path: str | None, accessed: int | None, modified: int | None) -> None:
        """Set times in ns after 1970; None leaves one as it is."""
        with _layer_errors():
            if path is not None and path not in self._unnamed:
                self.editor.set_times(path[1:], accessed, modified)

    def getxattr(self, path: str, name: str) -> bytes:
        """The value of an extended attribute."""
        with _layer_errors():
            item = self._find(path)
            if name == INFORMATION and not item.path:
                return self._information
            if is_metadata(name) and item.path:
                return encode(self.overlay.metadata(item), name)
            if not name.startswith(STREAM_PREFIX):
                raise OSError(errno.ENODATA, f"there is no {name}")
            stream = self.overlay.stream(item, stream_of(name))
            if stream is None:
                raise OSError(errno.ENODATA, f"there is no {name}")
            if stream.size > _MAX_VALUE:
                raise OSError(errno.E2BIG, "the stream is too large for an extended attribute")
            return stream.read(_MAX_VALUE)

    def listxattr(self, path: str) -> list[str]:
        """The names of the extended attributes that stand for alternate streams."""
        with _layer_errors():
            names = [
                STREAM_PREFIX + stream[1:].removesuffix(":$DATA")
                for stream in self.overlay.stream_names(self._find(path))
                if stream.removesuffix(":$DATA").count(":") == 1
            ]
            return [name for name in names if len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME]

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        """Set metadata, or an alternate stream."""
        with _layer_errors():
            editor, inside = self.editor, path[1:]
            if is_metadata(name):
                editor.set_metadata(inside, lambda metadata: with_value(metadata, name, value))
                return
            stream = stream_of(name)
            is_there = self.overlay.stream(self._find(path), stream) is not None
            if flags & os.XATTR_CREATE and is_there:
                raise OSError(errno.EEXIST, f"there is a {name}")
            if flags & os.XATTR_REPLACE and not is_there:
                raise OSError(errno.ENODATA, f"there is no {name}")
            editor.set_stream(inside, stream, value)

    def removexattr(self, path: str, name: str) -> None:
        """Remove metadata, or an alternate stream."""
        with _layer_errors():
            editor, inside = self.editor, path[1:]
            if is_metadata(name):
                editor.set_metadata(inside, lambda metadata: without(metadata, name))
                return
            if self.overlay.stream(self._find(path), stream_of(name)) is None:
                raise OSError(errno.ENODATA, f"there is no {name}")
            editor.set_stream(inside, stream_of(name), None)

    def _find(self, path: str | None) -> Item:
        if path is None:
            raise OSError(errno.ENOENT, "the file has no name any more")
        return self.overlay.find(path[1:])


@contextmanager
def _layer_errors() -> Iterator[None]:
    try:
        yield
    except WclayerError as error:
        raise OSError(errno.EIO, str(error)) from error
