"""A layer becomes a plain folder, whole or not at all.

Files are written as they come; names that this machine cannot hold, or that two entries would share here, get another
one, which their line tells. A hard link within the layer is one here too, where the file system has such links.
"""

from __future__ import annotations

import os
from io import BufferedWriter, FileIO
from pathlib import Path

from wclayer.errors import LimitError, UnsafeEntryError, UsageError
from wclayer.formats.folder.content import host_leaf, host_wants_escape, write_stream
from wclayer.formats.folder.door import Door, NameRefusedError, NameTakenError, store_error
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.folder.index_builder import MAX_DEPTH
from wclayer.formats.folder.staging import Staging
from wclayer.formats.plain.lines import DescriptorTexts, encode_item
from wclayer.formats.plain.names import METADATA, SCHEMA, STREAMS
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Stream, Tombstone, Transaction
from wclayer.ntfs.names import encode_wtf8, fold

__all__ = ["PlainFolderWriter"]

_INLINE_LIMIT = 1 << 16
_RESERVED = "WCLAYER."


class PlainFolderWriter(Transaction):
    """Writes the plain folder ``destination``, which appears with :meth:`commit`.

    Raises StoreError when ``destination`` is taken or the file system refuses, UnsafeEntryError for a path that comes
    twice or lies below something other than a folder of the layer.
    """

    def __init__(self, destination: Path | str) -> None:
        self._staging = Staging(Path(destination))
        self.path = self._staging.destination
        self._door = Door(self._staging.root, where=str(self.path))
        self._texts = DescriptorTexts()
        self._folders: dict[str, bytes] = {"": b""}
        self._described: set[str] = set()
        self._files: dict[str, tuple[bytes, bytes, int]] = {}
        self._times: list[tuple[bytes, int | None]] = []
        self._streams = 0
        self._state = "open"
        try:
            raw = FileIO(self._door.create(b"", METADATA.encode()), "w")
        except BaseException:
            self._staging.discard()
            raise
        self._lines = BufferedWriter(raw, 1 << 20)
        self._lines.write(b'{"schema": "%b"}\n' % SCHEMA.encode())

    def write(self, item: LayerItem) -> None:
        """Take one item; its stream is read before this returns."""
        self._refuse_unless_open()
        try:
            self._take(item)
        except OSError as error:
            self._state = "broken"
            raise store_error(error, "cannot write", encode_wtf8(item.path), str(self.path)) from error
        except UnsafeEntryError as error:
            self._state = "broken"
            error.path = item.path
            raise
        except BaseException:
            self._state = "broken"
            raise

    def commit(self) -> None:
        """Make the folder exist. Raises StoreError; then nothing is left behind."""
        try:
            self._refuse_unless_open()
            for host, time in reversed(self._times):
                os.utime(self._door.directory(host), ns=host_times(time))
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._lines.close()
            self._door.close()
            self._staging.publish()
        except OSError as error:
            self.abort()
            raise store_error(error, "cannot finish", b".", str(self.path)) from error
        except BaseException:
            self.abort()
            raise
        self._state = "committed"

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        if not self._lines.closed:
            self._lines.raw.close()  # what is gathered is not wanted any more, nor could a full disk take it
        self._door.close()
        self._staging.discard()

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of the plain folder {self.path} is {self._state}")

    # ------------------------------------------------------------------ the kinds of item

    def _take(self, item: LayerItem) -> None:
        if item.path.count("/") >= MAX_DEPTH:
            raise LimitError(f"the path has more than {MAX_DEPTH} components", path=item.path)
        if isinstance(item, Tombstone):
            self._lines.write(encode_item(item, self._texts))
        elif isinstance(item, AlternateStream):
            self._stream(item)
        elif isinstance(item, HardLink):
            self._link(item)
        elif item.is_directory:
            if item.path in self._described:
                raise UnsafeEntryError("the path comes twice", path=item.path)
            self._described.add(item.path)
            host = self._make_folder(item.path)
            self._times.append((host, item.metadata.last_write_time))
            self._lines.write(encode_item(item, self._texts, host=_told(host, item.path)))
        else:
            self._file(item)

    def _file(self, entry: Entry) -> None:
        parent, leaf, descriptor = self._create(entry.path)
        try:
            if entry.data is not None:
                write_stream(descriptor, entry.data, entry.path)
            os.fchmod(descriptor, 0o644 & self._staging.mask)
            os.utime(descriptor, ns=host_times(entry.metadata.last_write_time))
        finally:
            os.close(descriptor)
        self._files[entry.path] = parent, leaf, entry.data.size if entry.data else 0
        host = parent + b"/" + leaf if parent else leaf
        self._lines.write(encode_item(entry, self._texts, host=_told(host, entry.path)))

    def _link(self, link: HardLink) -> None:
        self._refuse_known(link.path)
        host = None
        target = self._files.get(link.target)
        if target is not None:
            parent, leaf = self._place(link.path)
            folder, name, size = target
            try:
                linked = self._door.link(self._door, folder, name, parent, leaf, size=size)
            except (NameTakenError, NameRefusedError):
                leaf = host_leaf(link.path.rpartition("/")[2], escape=True)
                linked = self._door.link(self._door, folder, name, parent, leaf, size=size)
            if linked:
                self._files[link.path] = parent, leaf, size
                host = _told(parent + b"/" + leaf if parent else leaf, link.path)
        self._lines.write(encode_item(link, self._texts, host=host))

    def _stream(self, item: AlternateStream) -> None:
        data = item.data
        if data.stored <= _INLINE_LIMIT:
            content = b"".join(bytes(piece) for piece in data.stored_pieces())
            self._lines.write(encode_item(item, self._texts, content=content))
            return
        if not self._streams:
            self._door.make_directory(b"", STREAMS.encode())
        leaf = f"{self._streams:06d}"
        self._streams += 1
        descriptor = self._door.create(STREAMS.encode(), leaf.encode())
        try:
            write_stream(descriptor, Stream(data.size, data.source, data.ranges), item.path)
            os.fchmod(descriptor, 0o644 & self._staging.mask)
        finally:
            os.close(descriptor)
        self._lines.write(encode_item(item, self._texts, host=f"{STREAMS}/{leaf}"))

    # ------------------------------------------------------------------ names on this machine

    def _make_folder(self, path: str) -> bytes:
        known = self._folders.get(path)
        if known is not None:
            return known
        missing = [path]
        while (above := missing[-1].rpartition("/")[0]) not in self._folders:
            if above in self._files:
                raise UnsafeEntryError(f"it lies below {above}, which is no folder", path=path)
            missing.append(above)
        for folder in reversed(missing):
            known = self._make_one(folder)
        return known or b""

    def _make_one(self, path: str) -> bytes:
        parent, leaf = self._place(path)
        try:
            self._door.make_directory(parent, leaf)
        except (NameTakenError, NameRefusedError):
            self._refuse_known(path)
            leaf = host_leaf(path.rpartition("/")[2], escape=True)
            self._door.make_directory(parent, leaf)
        host = self._folders[path] = parent + b"/" + leaf if parent else leaf
        return host

    def _create(self, path: str) -> tuple[bytes, bytes, int]:
        self._refuse_known(path)
        parent, leaf = self._place(path)
        try:
            return parent, leaf, self._door.create(parent, leaf)
        except (NameTakenError, NameRefusedError):
            leaf = host_leaf(path.rpartition("/")[2], escape=True)
            return parent, leaf, self._door.create(parent, leaf)

    def _place(self, path: str) -> tuple[bytes, bytes]:
        """The folder of this machine for ``path``, made if need be, and the name in it."""
        folder, _, name = path.rpartition("/")
        if folder in self._files:
            raise UnsafeEntryError(f"it lies below {folder}, which is no folder", path=path)
        parent = self._folders[folder] if folder in self._folders else self._make_folder(folder)
        escape = host_wants_escape(name, top=False) or (not folder and fold(name).startswith(_RESERVED))
        return parent, host_leaf(name, escape=escape)

    def _refuse_known(self, path: str) -> None:
        if path in self._files or path in self._folders:
            raise UnsafeEntryError("the path comes twice", path=path)


def _told(host: bytes, path: str) -> str | None:
    """What a line says of the place of its file: nothing where that is the path itself."""
    return None if host == encode_wtf8(path) else host.decode("utf-8", "surrogatepass")
