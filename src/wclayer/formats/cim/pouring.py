"""Layer items into an image: what each of them asks of it, and what an image cannot hold of them.

An image keeps four times of every file and a descriptor of each. What a source does not say is written as 0 and as the
descriptor without a list, and read back as not said; so nothing is lost but a time that really is 0 and a descriptor
that really is that one. Whatever else cannot be kept is a notice.

The rules for the attributes are those of hcsshim (``pkg/ociwclayer/cim``): the reparse bit says that there is a reparse
buffer, nothing else. Unlike hcsshim's reading of a tar, streams are kept under any of their spellings, and so is every
kind of reparse buffer.
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct
from typing import Final, Protocol

from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, UnsupportedError
from wclayer.formats.cim.layer_names import windows_path
from wclayer.formats.cim.profiles import DEFAULT_SECURITY_DESCRIPTOR
from wclayer.model import AlternateStream, Entry, HardLink, Metadata, Notices, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.names import fold

__all__ = ["DataSink", "ImageTarget", "Pouring", "image_time", "is_unsaid_descriptor", "told_time"]

_BASIC = Struct("<I4q")
_SIGN: Final = 1 << 63
_TIMES: Final = 1 << 64
_DATA: Final = ":$DATA"


class DataSink(Protocol):
    """The stream of an image that takes data now."""

    def copy(self, stream: Stream, /) -> None:
        """Write all of ``stream``, and end it."""

    def close(self) -> None:
        """End it; all that was announced must have been written."""


class ImageTarget(Protocol):
    """What an image must be able to do to take a layer: a part of :class:`~wclayer.formats.cim.writer.CimWriter`."""

    def add_directory(self, path: str, metadata: Metadata) -> None:
        """Make a folder, or give the one that is there this metadata."""

    def add_file(self, path: str, metadata: Metadata, size: int, *, sparse: bool = False) -> DataSink:
        """Make a file, in place of what has its name."""

    def add_stream(self, path: str, stream_name: str, size: int, *, sparse: bool = False) -> DataSink:
        """Give a file or folder a named stream."""

    def add_link(self, path: str, target: str) -> None:
        """Give a file another name."""

    def remove(self, path: str) -> None:
        """Take a file, a name of one, or a whole folder away. Raises NotFoundError."""

    def contains(self, path: str) -> bool:
        """Whether there is something of this name."""

    def commit(self) -> object:
        """Make the image exist."""

    def abort(self) -> None:
        """Leave nothing."""


class Pouring:
    """Writes entries, streams, links and deletions to ``target``, one after the other."""

    def __init__(self, target: ImageTarget, notices: Notices) -> None:
        self.target = target
        self.notices = notices
        #: The sum of the sizes of all files, in bytes, without their other streams: what hcsshim returns.
        self.size = 0
        self._said: dict[str, bytes] = {}
        self._implied: dict[str, str] = {}
        self._last_parent = ""

    def entry(self, entry: Entry) -> None:
        """Write a file or folder with its data."""
        path, data = entry.path, entry.data
        metadata = self.metadata(entry)
        self.make_parents(path)
        if entry.is_directory:
            if data is not None:
                if data.size:
                    raise UnsupportedError("a CIM cannot hold the data of a folder", path=path)
                self._notice_empty(path)
            self._implied.pop(fold(path), None)
            self.target.add_directory(path, metadata)
            return
        if f"{self._last_parent}/".startswith(f"{path}/"):
            self._last_parent = ""
        if data is None:
            if metadata.reparse is None and not entry.reported_size:
                self._notice_empty(path)
            self.target.add_file(path, metadata, entry.reported_size, sparse=bool(entry.reported_size)).close()
        else:
            if metadata.reparse is not None and not data.size:
                self._notice_empty(path)
            self.size += data.size
            self._copy(self.target.add_file(path, metadata, data.size, sparse=_is_hole(data)), data, path)

    def stream(self, item: AlternateStream) -> None:
        """Write an alternate stream. Raises UnsupportedError when its file is not there."""
        if not self.target.contains(item.path):
            raise UnsupportedError(f"the stream {item.name} belongs to a file that is not there", path=item.path)
        name, data = item.name, item.data
        while name[-len(_DATA) :].upper() == _DATA:
            name = name[: -len(_DATA)]
        self._copy(self.target.add_stream(item.path, name, data.size, sparse=_is_hole(data)), data, item.path + name)

    def link(self, link: HardLink) -> None:
        """Make a hard link. Raises FormatError of kind ``link-target``."""
        self.make_parents(link.path)
        try:
            self.target.add_link(link.path, link.target)
        except NotFoundError as error:
            raise FormatError(
                f"failed to find link target for '{windows_path(link.path)}' -> '{windows_path(link.target)}'",
                kind="link-target",
                path=link.path,
            ) from error
        self.tell_link_losses(link)

    def remove(self, path: str) -> None:
        """Delete; what is not there is a notice, as it is nothing to hcsshim."""
        self._last_parent = ""
        try:
            self.target.remove(path)
        except NotFoundError:
            self.notices.add(
                "tombstone-of-nothing", path, "a deletion of what no layer below has, which a CIM cannot hold"
            )

    def tell_link_losses(self, link: HardLink) -> None:
        """Tell what the source says of a link and not of its file, which is all that is kept."""
        kept = self._said.get(link.target)
        if kept is None:
            return
        said = _basic(link.metadata)
        if said[4:] != kept[4:]:
            self.notices.add("link-times", link.path, "a link has the times of its file; the source has others")
        if said[:4] != kept[:4]:
            self.notices.add(
                "link-attributes", link.path, "a link has the attributes of its file; the source has others"
            )
        self._said[link.path] = kept

    def metadata(self, entry: Entry) -> Metadata:
        """The metadata of ``entry`` as the image holds it; what that loses is told."""
        metadata, path = entry.metadata, entry.path
        attributes = metadata.attributes
        if entry.is_directory != bool(attributes & FILE_ATTRIBUTE_DIRECTORY):
            self.notices.add("attributes-and-type", path, "its attributes now say what its type says")
            attributes ^= FILE_ATTRIBUTE_DIRECTORY
        if bool(attributes & FILE_ATTRIBUTE_REPARSE_POINT) != (metadata.reparse is not None):
            self.notices.add("attributes-and-type", path, "its attributes now say whether it is a reparse point")
            attributes ^= FILE_ATTRIBUTE_REPARSE_POINT
        descriptor = metadata.security_descriptor
        if descriptor is not None and is_unsaid_descriptor(descriptor):
            self.notices.add("descriptor-unsaid", path, "a security descriptor that a CIM cannot tell from none")
            descriptor = None
        times = (metadata.creation_time, metadata.last_access_time, metadata.last_write_time, metadata.change_time)
        if 0 in times:
            self.notices.add("times-filled", path, "a time of 0, which a CIM cannot tell from one that nobody said")
        if not entry.is_directory:
            self._said[path] = _basic(metadata)
        creation, access, write, change = (self._time(moment, path) for moment in times)
        return replace(
            metadata,
            attributes=attributes,
            creation_time=creation,
            last_access_time=access,
            last_write_time=write,
            change_time=change,
            security_descriptor=descriptor,
        )

    def make_parents(self, path: str) -> None:
        """Make the folders above ``path`` that are not there."""
        parent = path.rpartition("/")[0]
        if parent == self._last_parent:
            return
        if parent and not self.target.contains(parent):
            names = parent.split("/")
            for depth in range(1, len(names) + 1):
                folder = "/".join(names[:depth])
                if not self.target.contains(folder):
                    self.target.add_directory(folder, _bare_folder())
                    self._implied[fold(folder)] = folder
        self._last_parent = parent

    def finish(self) -> None:
        """Tell of the folders that had to be made."""
        for path in self._implied.values():
            self.notices.add("folder-implied", path, "the layer has no such folder, only something in it; it was made")
        self._implied.clear()

    def _copy(self, sink: DataSink, data: Stream, path: str) -> None:
        if data.ranges is None:
            sink.copy(data)
        elif _is_hole(data):
            for _ in data.stored_pieces():  # a source whose stored bytes are not none says so when it is asked
                raise FormatError("data in a file that is one hole", kind="size", path=path)
            sink.close()
        else:
            self.notices.add("holes-written", path, "a CIM holds the holes of a sparse file as zeros")
            sink.copy(data)

    def _notice_empty(self, path: str) -> None:
        self.notices.add("empty-stream", path, "a CIM cannot tell an empty data stream from none")

    def _time(self, moment: int | None, path: str) -> int:
        if moment is None:
            return 0
        if not -_SIGN <= moment < _SIGN:
            raise UnsafeEntryError(f"{moment} is no FILETIME", path=path)
        return image_time(moment)


def image_time(moment: int) -> int:
    """A FILETIME as the unsigned number of a record: one before 1601 is far beyond all others."""
    return moment % _TIMES


def told_time(number: int) -> int | None:
    """What the number of a record says: the reverse of :func:`image_time`; 0 says nothing."""
    return (number - _TIMES if number >= _SIGN else number) or None


def is_unsaid_descriptor(descriptor: bytes) -> bool:
    """Whether this is how an image says that a file has no descriptor of its own."""
    return not descriptor or descriptor == DEFAULT_SECURITY_DESCRIPTOR


def _basic(metadata: Metadata) -> bytes:
    times = (metadata.creation_time, metadata.last_access_time, metadata.last_write_time, metadata.change_time)
    return _BASIC.pack(metadata.attributes, *(max(min(moment or 0, _SIGN - 1), -_SIGN) for moment in times))


def _bare_folder() -> Metadata:
    return Metadata(FILE_ATTRIBUTE_DIRECTORY, 0, 0, 0, 0)


def _is_hole(data: Stream) -> bool:
    return data.ranges == () and data.size > 0
