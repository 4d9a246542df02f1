"""An image is written in two passes: data as it comes, and at the end everything that says where it is.

::

    with CimWriter("layers", "base.cim") as writer:
        writer.add_directory("Files", metadata)
        writer.add_file("Files/a.txt", metadata, 5).write(b"hello")

The first pass keeps a node for each file and folder and nothing of their data. The second, in :meth:`CimWriter.commit`,
numbers what has a name, writes the tables, reads the result back with the reader, and only then gives it its name: an
image that is wrong can stop the machine that mounts it, so none leaves this module unread.

With the same GUID the same calls make the same bytes. A fork starts with the tree of its parent, an image in the same
directory, and stores only what is new.

Source: hcsshim ``pkg/cimfs`` (what the calls mean), Windows CimFS API reference. What is not public, and how sure it
is, stands in :mod:`wclayer.formats.cim.profiles`. No Windows kernel has confirmed what is written here.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

from wclayer.errors import (
    FormatError,
    LimitError,
    NotFoundError,
    StoreError,
    UnsafeEntryError,
    UnsupportedError,
    UsageError,
    WclayerError,
)
from wclayer.formats.cim.files import is_reserved
from wclayer.formats.cim.inherited import entry_size_of, load_tree, parent_sets
from wclayer.formats.cim.metadata import RecordEncoder, RecordFields
from wclayer.formats.cim.objects import ObjectStore
from wclayer.formats.cim.profiles import LTSC2022, Profile
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.self_check import Check, SelfCheck
from wclayer.formats.cim.sink import CimSink, Finish
from wclayer.formats.cim.staged import StagedImage
from wclayer.formats.cim.structures import LENGTH_MASK, FilesystemHeader, RegionSet
from wclayer.formats.cim.tables import MetadataWriter
from wclayer.formats.cim.tree import Node, Place, Tree
from wclayer.formats.cim.upcase import standard_upcase
from wclayer.formats.folder.door import store_error
from wclayer.model import Metadata, Notices, Transaction
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_SPARSE_FILE
from wclayer.ntfs.names import checked_path, checked_stream_name, encode_wtf8

__all__ = ["Check", "CimSink", "CimWriter", "CimWritten", "ImageSettings"]

_LARGEST_SMALL: Final = 1 << 20
_DATA: Final = "$DATA"
_NO_FILE_NAME: Final = re.compile(r"[/\\\0\ud800-\udfff]").search
_LONGEST_NAME: Final = 255  # bytes, in every file system of note


class CimWritten(NamedTuple):
    """A published image: its file, the GUID of its own regions, and how much there is of what.

    ``counts`` has ``files`` and ``folders`` (records), ``names``, ``streams`` (alternate ones), ``regions`` (own ones),
    ``bytes`` (of all data, inherited included), ``stored`` (of data in own regions) and ``shared`` (not stored again).
    """

    path: Path
    guid: uuid.UUID
    counts: dict[str, int]


class ImageSettings(TypedDict, total=False):
    """Arguments of :class:`CimWriter` that concern an image of any kind, for writers that hand them on."""

    profile: Profile | None
    guid: uuid.UUID | None
    deduplicate: bool
    small_limit: int | None
    check: Check
    wait: float


class CimWriter(Transaction):
    r"""Writes the image ``name`` into ``directory``, whole or not at all.

    ``profile`` says for which Windows, LTSC2022 unless given; a fork has the version of its ``parent``, which is named
    by its file name in the same directory. ``guid`` names the region files, a random one unless given; the same calls
    with the same GUID write the same bytes. ``deduplicate`` stores equal data once. ``small_limit`` is the number of
    bytes from which on data lies at whole pages, at most 1 MiB, the profile's unless given. ``replace`` allows to
    replace an image that no other one needs. ``check`` says how much data is read back before the image is published,
    besides all metadata: that of a ``sample``, of ``all`` files, or ``none``, and no metadata either. One process at a
    time writes in a directory; another one is waited for ``wait`` seconds. ``notices`` collects what the format cannot
    hold.

    Paths are relative, separated by ``/`` or ``\``, and pass :func:`~wclayer.ntfs.names.checked_path`; ``""`` is the
    root. Folders must be added before what is in them. An entry takes the place of what had its name; only of two
    spellings that differ in case and are both added, none can: that is a FormatError of kind ``case-collision``. The
    data of what is replaced or removed again keeps its room in the region files, and no name.

    Raises UsageError, StoreError, NotFoundError when there is no such directory or parent, UnsupportedError for a
    parent that cannot be forked, and IntegrityError in :meth:`commit` when the image does not read back.
    """

    def __init__(
        self,
        directory: Path | str,
        name: str,
        *,
        profile: Profile | None = None,
        parent: str | None = None,
        guid: uuid.UUID | None = None,
        deduplicate: bool = True,
        small_limit: int | None = None,
        replace: bool = False,
        check: Check = "sample",
        wait: float = 0.0,
        notices: Notices | None = None,
    ) -> None:
        directory = Path(os.path.abspath(directory))
        self.path = directory / _file_name(name)
        self.guid = guid or uuid.uuid4()
        self.notices = notices if notices is not None else Notices()
        #: What was published, once it is.
        self.written: CimWritten | None = None
        self._share = deduplicate
        self._check = SelfCheck(check)
        self._sink: CimSink | None = None
        if small_limit is not None and not 0 <= small_limit <= _LARGEST_SMALL:
            raise UsageError(f"a limit of {small_limit} bytes for small data; 0 to {_LARGEST_SMALL} are possible")
        if parent is not None and _file_name(parent) == name:
            raise UsageError(f"{name} cannot be forked into itself", hint="choose another name for the fork")
        self._staged = StagedImage(self.path, self.guid, replace=replace, wait=wait)
        self._store: ObjectStore | None = None
        with self._whole():
            self._begin(None if parent is None else directory / parent, profile, small_limit)

    def _begin(self, parent: Path | None, profile: Profile | None, small_limit: int | None) -> None:
        chosen = profile or LTSC2022
        self._major, self._entry_size = chosen.major, chosen.entry_size
        self._parents: tuple[RegionSet, ...] = ()
        self._upcase = 0
        tree = None
        if parent is not None:
            with CimImage.open(parent) as image:
                if profile is not None and profile.major != image.version[0]:
                    raise UsageError(
                        f"the parent has version {image.version[0]}, and a fork for {profile.name} version "
                        f"{profile.major}",
                        hint="a fork has the version of its parent",
                    )
                self._major, self._entry_size = image.version[0], entry_size_of(image)
                self._parents, self._upcase = parent_sets(image), image.filesystem.upcase
                tree = load_tree(image, self._entry_size)
        self._staged.write(FilesystemHeader.of(self._major, RegionSet(self.guid, 0), 0, self._parents))
        self._store = store = ObjectStore(
            self.path.parent,
            self.guid,
            major=self._major,
            inherited=sum(one.size for one in self._parents),
            small_limit=chosen.small_limit if small_limit is None else small_limit,
        )
        self._encoder = RecordEncoder(store, self.notices, entry_size=self._entry_size)
        if tree is None:
            root = self._encoder.folder(self._encoder.fields(Metadata(), "", is_directory=True))
            tree = Tree(root, standard_upcase())
        self._tree = tree

    # ------------------------------------------------------------------------------------------- what goes in

    def add_directory(self, path: str, metadata: Metadata) -> None:
        """Add a folder, or give one that is there new metadata: what is in it stays, its alternate streams go."""
        path = self._next(path, may_be_root=True)
        place = self._tree.check(path) if path else None
        node = self._encoder.folder(self._fields(metadata, path, is_directory=True))
        there = self._tree.find(path)
        if there is not None and there.children is not None:
            there.head, there.tail, there.streams = node.head, node.tail, None
            node = there
        if place is not None:
            self._tree.put(place, node)

    def add_file(self, path: str, metadata: Metadata, size: int, *, sparse: bool = False) -> CimSink:
        """Add a file of ``size`` bytes, which the sink takes; it is there when the sink is closed.

        A file with FILE_ATTRIBUTE_SPARSE_FILE whose sink gets no byte at all, and any with ``sparse``, is one of zeros
        that takes no room.
        """
        path = self._next(path)
        place = self._tree.check(path)
        fields = self._fields(metadata, path, is_directory=False)
        may_be_sparse = bool(metadata.attributes & FILE_ATTRIBUTE_SPARSE_FILE)
        return self._open(path, size, partial(self._file_done, place, fields), sparse, may_be_sparse)

    def add_stream(self, path: str, name: str, size: int, *, sparse: bool = False) -> CimSink:
        """Add the alternate stream ``name`` (``name`` or ``:name:$DATA``) to the file or folder ``path``.

        An inherited one of that name is replaced. With ``sparse`` it is one of zeros that takes no room. Raises
        NotFoundError for a path that is not there, UnsupportedError for a stream of another type than ``$DATA``.
        """
        path = self._next(path, may_be_root=True)
        node = self._tree.need(path)
        bare = _stream_name(name, path)
        key = self._tree.upcase.key(bare)
        there = (node.streams or {}).get(key)
        if there is not None and there[3] and there[0] != bare:
            raise FormatError(
                f"the streams {there[0]} and {bare} differ only in case, and an image can hold only one of them",
                kind="case-collision",
                path=path,
            )
        return self._open(f"{path}:{bare}", size, partial(self._stream_done, node, key, bare), sparse, False)

    def add_link(self, path: str, target: str) -> None:
        """Make ``path`` another name of the file ``target``.

        Raises NotFoundError when there is no such file, UnsafeEntryError when it is a folder.
        """
        path = self._next(path)
        target = checked_path(target)
        node = self._tree.need(target)
        if node.children is not None:
            raise UnsafeEntryError(f"a hard link to {target}, which is a folder", path=path)
        self._tree.put(self._tree.check(path), node)

    def remove(self, path: str) -> None:
        """Remove the name ``path`` with all below it; other names of a file stay. Raises NotFoundError."""
        self._tree.remove(self._next(path))

    def remove_stream(self, path: str, name: str) -> None:
        """Remove the alternate stream ``name`` of ``path``. Raises NotFoundError."""
        path = self._next(path, may_be_root=True)
        node = self._tree.need(path)
        bare = _stream_name(name, path)
        if node.streams is None or node.streams.pop(self._tree.upcase.key(bare), None) is None:
            raise NotFoundError(f"there is no alternate stream {bare}", path=path)

    def contains(self, path: str) -> bool:
        """Whether ``path`` names something, whatever its case. A file is there when its sink is closed."""
        return self._tree.find(checked_path(path) if path else path) is not None

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` names a folder."""
        node = self._tree.find(checked_path(path) if path else path)
        return node is not None and node.children is not None

    # ------------------------------------------------------------------------------------------- the end

    def commit(self) -> CimWritten:
        """Write the metadata, read everything back, and give the image its name, durably.

        Raises FormatError when the last stream lacks bytes, IntegrityError when the image does not read back,
        StoreError, LimitError; then nothing is left behind, and what was to be replaced is as it was.
        """
        with self._whole():
            self._refuse_unless_open()
            self._end_sink()
            written = self._publish()
        self._state = "committed"
        self.written = written
        return written

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice. Raises StoreError."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        if self._store is not None:
            self._store.close()
        self._staged.discard()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Leave nothing behind when the block fails, and name the image."""
        try:
            yield
        except OSError as error:
            self.abort()
            raise self._refused(error) from error
        except WclayerError as error:
            self.abort()
            raise error.locate(image=str(self.path)) from None
        except BaseException:
            self.abort()
            raise

    def _publish(self) -> CimWritten:
        store = self._store
        if store is None:
            raise UsageError(f"the writer of {self.path} was never begun")
        metadata = MetadataWriter(self._tree, store, entry_size=self._entry_size, upcase=self._upcase)
        filesystem = metadata.write()
        regions = store.finish()
        self._staged.write(FilesystemHeader.of(self._major, RegionSet(self.guid, regions), filesystem, self._parents))
        self._check.run(self._staged.hidden, metadata)
        self._staged.publish()
        counts = {
            "files": metadata.records - metadata.folders,
            "folders": metadata.folders,
            "names": metadata.names,
            "streams": metadata.streams,
            "regions": regions,
            "bytes": metadata.bytes,
            "stored": store.stored,
            "shared": store.shared,
        }
        return CimWritten(self.path, self.guid, counts)

    # ------------------------------------------------------------------------------------------- the ways there

    def _next(self, path: str, *, may_be_root: bool = False) -> str:
        """Before each call: the last stream ends, and ``path`` is what it should be."""
        self._refuse_unless_open()
        self._end_sink()
        return path if may_be_root and not path else checked_path(path)

    def _end_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _fields(self, metadata: Metadata, path: str, *, is_directory: bool) -> RecordFields:
        try:
            return self._encoder.fields(metadata, path, is_directory=is_directory)
        except OSError as error:
            self._break()
            raise self._refused(error) from error

    def _open(self, where: str, size: int, finish: Finish, sparse: bool, may_be_sparse: bool) -> CimSink:
        if not 0 <= size <= LENGTH_MASK:
            raise LimitError(f"a stream of {size} bytes, {LENGTH_MASK} are the most", path=where)
        store = self._store
        if store is None:
            raise UsageError(f"the writer of {self.path} was never begun")
        self._sink = sink = CimSink(
            store,
            where,
            size,
            finish,
            self._break,
            share=self._share,
            digest=self._check.wants_digest(size),
            sparse=sparse,
            may_be_sparse=may_be_sparse,
        )
        return sink

    def _file_done(
        self, place: Place, fields: RecordFields, data_offset: int, length_and_kind: int, digest: bytes | None
    ) -> None:
        node = self._encoder.file(fields, data_offset, length_and_kind)
        self._tree.put(place, node)
        if digest is not None:
            self._check.remember(node, digest)

    @staticmethod
    def _stream_done(
        node: Node, key: bytes, name: str, data_offset: int, length_and_kind: int, digest: bytes | None
    ) -> None:
        del digest  # streams are few, and checked with the metadata
        if node.streams is None:
            node.streams = {}
        node.streams[key] = name, data_offset, length_and_kind, True

    def _break(self) -> None:
        if self._state == "open":
            self._state = "broken"

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of {self.path} is {self._state}")

    def _refused(self, error: OSError) -> StoreError:
        return store_error(error, "cannot write", encode_wtf8(str(self.path)), "")


def _file_name(name: str) -> str:
    if name in ("", ".", "..") or _NO_FILE_NAME(name) or len(encode_wtf8(name)) > _LONGEST_NAME or is_reserved(name):
        raise UsageError(f"{name!a} cannot be the file name of an image")
    return name


def _stream_name(name: str, path: str) -> str:
    """The name of an alternate stream without colon and type. Raises UnsafeEntryError, UnsupportedError."""
    full = checked_stream_name(name if name.startswith(":") else f":{name}", path=path)
    bare, _, kind = full[1:].partition(":")
    if kind not in ("", _DATA):
        raise UnsupportedError(f"a stream of type {kind}, where an image holds {_DATA} only", path=path)
    return bare
