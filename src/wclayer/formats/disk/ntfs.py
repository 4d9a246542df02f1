"""The files of an NTFS volume, read with libfsntfs, which is optional: ``pip install wclayer[disks]``.

Names are matched as Windows does, the exact spelling first. What is read is what the volume holds: files that only a
filter driver would show are not there, and a reparse point is what it says of itself.

Source: libfsntfs (github.com/libyal/libfsntfs); attributes and times as in MS-FSCC 2.4.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.formats.disk.partitions import ntfs_partition
from wclayer.formats.disk.window import Readable, Window
from wclayer.formats.raw_stream import RawStream
from wclayer.ntfs.names import fold

__all__ = ["NtfsFile", "NtfsVolume", "open_ntfs"]

_DIRECTORY: Final = 0x10
#: Flags of an index in the file's own names, which are no attributes.
_INDEX_FLAGS: Final = 0x30000000
_REPARSE_ATTRIBUTE: Final = 0xC0
_DEEPEST: Final = 1024
#: Records of the MFT below this are the volume's own files, which Windows does not list.
_FIRST_FILE: Final = 24
_RECORD: Final = (1 << 48) - 1


@dataclass(frozen=True, slots=True)
class NtfsFile:
    """A file or folder. Times are FILETIMEs; ``streams`` are the names of its alternate streams.

    ``is_reparse_point`` says that there is more to it than the volume shows: a link, or a file of a layer below.
    """

    path: str
    name: str
    is_directory: bool
    is_reparse_point: bool
    size: int
    attributes: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    file_reference: int
    streams: tuple[str, ...] = ()


class NtfsVolume:
    """An open volume. ``raw`` is the volume itself, not the disk that it is on, and stays open.

    Raises UnsupportedError without libfsntfs, FormatError for what is no volume or a damaged one.
    """

    def __init__(self, raw: Readable) -> None:
        try:
            library: Any = import_module("pyfsntfs")
        except ImportError:
            raise UnsupportedError(
                "NTFS is read with libfsntfs, which is not installed", hint="pip install 'wclayer[disks]'"
            ) from None
        self._volume = library.volume()
        try:
            self._volume.open_file_object(raw)
        except OSError as error:
            raise _damaged("the volume", error) from error

    @property
    def name(self) -> str:
        """The label of the volume."""
        try:
            return self._volume.get_name() or ""
        except OSError as error:
            raise _damaged("the label", error) from error

    def stat(self, path: str) -> NtfsFile:
        """What is at ``path``, which is ``/``-separated, ``""`` for the root. NotFoundError."""
        spelling, entry = self._find(path)
        return _file(spelling, entry)

    def list(self, path: str = "") -> Iterator[NtfsFile]:
        """What a folder holds, in the order of the volume, without the volume's own files such as ``$MFT``.

        NotFoundError; UsageError for what is no folder.
        """
        spelling, entry = self._find(path)
        if not _file(spelling, entry).is_directory:
            raise UsageError(f"{path} is no folder")
        for one, _ in self._listed(spelling, entry):
            yield one

    def walk(self, path: str = "") -> Iterator[NtfsFile]:
        """Everything below a folder, each folder before what it holds; reparse points are not followed."""
        spelling, entry = self._find(path)
        if not _file(spelling, entry).is_directory:
            raise UsageError(f"{path} is no folder")
        waiting = [self._listed(spelling, entry)]
        while waiting:
            found = next(waiting[-1], None)
            if found is None:
                waiting.pop()
                continue
            one, child = found
            yield one
            if one.is_directory and not one.is_reparse_point:
                if len(waiting) >= _DEEPEST:
                    raise FormatError(f"more than {_DEEPEST} folders in each other", kind="ntfs", path=one.path)
                waiting.append(self._listed(one.path, child))

    def _listed(self, path: str, entry: Any) -> Iterator[tuple[NtfsFile, Any]]:
        for child, name in self._children(path, entry):
            if child.file_reference & _RECORD >= _FIRST_FILE:
                yield _file(f"{path}/{name}" if path else name, child), child

    def open(self, path: str, stream: str = "") -> NtfsStream:
        """The data of a file, or of its alternate stream of that name. NotFoundError; UsageError for a folder."""
        spelling, entry = self._find(path)
        if stream:
            try:
                found = next((one for one in entry.alternate_data_streams if fold(one.name) == fold(stream)), None)
            except OSError as error:
                raise _damaged(spelling, error) from error
            if found is None:
                raise NotFoundError(f"{spelling} has no stream {stream}")
            return NtfsStream(found, f"{spelling}:{stream}")
        if _file(spelling, entry).is_directory:
            raise UsageError(f"{path or 'the root'} is a folder")
        return NtfsStream(entry, spelling)

    def _find(self, path: str) -> tuple[str, Any]:
        try:
            entry = self._volume.get_root_directory()
        except OSError as error:
            raise _damaged("the root folder", error) from error
        spelling = ""
        for part in filter(None, path.split("/")):
            wanted, found = fold(part), None
            for child, name in self._children(spelling, entry):
                if name == part:
                    found = child, name
                    break
                if found is None and fold(name) == wanted:
                    found = child, name
            if found is None:
                raise NotFoundError(f"there is no {path} on the volume")
            entry, name = found
            spelling = f"{spelling}/{name}" if spelling else name
        return spelling, entry

    def _children(self, path: str, entry: Any) -> Iterator[tuple[Any, str]]:
        try:
            for index in range(entry.number_of_sub_file_entries):
                child = entry.get_sub_file_entry(index)
                name = child.name
                if name and name != ".":
                    yield child, name
        except OSError as error:
            raise _damaged(path or "the root folder", error) from error

    def close(self) -> None:
        """Harmless when called twice."""
        if self._volume is not None:
            self._volume.close()
            self._volume = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_ntfs(raw: Readable, size: int, sector_size: int = 512, *, number: int | None = None) -> NtfsVolume:
    """The volume on a disk of ``size`` bytes: that of partition ``number``, else the largest. NotFoundError."""
    place = ntfs_partition(raw, size, sector_size, number=number)
    return NtfsVolume(Window(raw, place.offset, place.length))


def _file(path: str, entry: Any) -> NtfsFile:
    try:
        kinds = {entry.get_attribute(index).attribute_type for index in range(entry.number_of_attributes)}
        attributes = entry.file_attribute_flags
        times = (
            entry.get_creation_time_as_integer(),
            entry.get_access_time_as_integer(),
            entry.get_modification_time_as_integer(),
            entry.get_entry_modification_time_as_integer(),
        )
        is_directory = bool(entry.has_directory_entries_index())
        size = 0 if is_directory or not entry.has_default_data_stream() else entry.size
        streams = tuple(stream.name for stream in entry.alternate_data_streams)
        reference = entry.file_reference
    except OSError as error:
        raise _damaged(path or "the root folder", error) from error
    # What a damaged record does not say is None.
    if None in (attributes, size, reference, *times, *streams):
        raise _damaged(path or "the root folder", None)
    return NtfsFile(
        path,
        path.rpartition("/")[2],
        is_directory,
        _REPARSE_ATTRIBUTE in kinds,
        size,
        attributes & ~_INDEX_FLAGS | (_DIRECTORY if is_directory else 0),
        *times,
        reference,
        streams,
    )


def _damaged(path: str, error: OSError | None) -> FormatError:
    said = str(error or "").splitlines() or ["its record is damaged"]
    return FormatError(f"cannot read {path} of the NTFS volume: {said[0]}", kind="ntfs")


class NtfsStream(RawStream):
    """The data of a stream; each read gives at most 1 MiB."""

    def __init__(self, source: Any, path: str) -> None:
        super().__init__(source.size)
        self._source = source
        self._path = path

    def _read_at(self, position: int, length: int) -> bytes:
        try:
            self._source.seek_offset(position, io.SEEK_SET)
            piece: bytes = self._source.read_buffer(min(length, 1 << 20))
        except OSError as error:
            raise _damaged(self._path, error) from error
        return piece
