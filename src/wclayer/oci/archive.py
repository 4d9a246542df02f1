"""A tar as a tree of files: indexed once, then read in place; nothing is ever extracted.

Members that are no files (folders, devices) are left out, links are resolved within the archive, and the names of
members lead nowhere but into this index. A compressed archive is first inflated into a temporary file.
"""

from __future__ import annotations

import posixpath
import tarfile
import tempfile
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO, cast

from wclayer.errors import FormatError, LimitError, NotFoundError, StoreError, UnsafeEntryError
from wclayer.oci.compression import HEAD_SIZE, sniff
from wclayer.oci.limits import Limits
from wclayer.oci.pipeline import open_layer
from wclayer.oci.sources import BinarySource, SharedFile, open_file, store_error
from wclayer.writing import write_whole

__all__ = ["ArchiveTree", "first_name", "has_tar_header"]

_MEMBERS = 100_000
_LINKS = 16
_HEADER_LIMIT = 1 << 20
"""How large an extended header may be, in bytes."""

# What tarfile lets through when numbers, names or records in a header make no sense.
_TAR_ERRORS = (tarfile.TarError, EOFError, ValueError, IndexError, OverflowError)


class ArchiveTree:
    """The files of a tar. Made by :meth:`from_file`, or by :meth:`spool` from a source that cannot seek."""

    def __init__(self, file: FileIO, name: str) -> None:
        self._name = name
        self._shared = SharedFile(file)
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._twice: set[str] = set()
        try:
            self._read_index(file)
        except BaseException:
            file.close()
            raise

    @classmethod
    def from_file(cls, path: Path, *, limits: Limits) -> ArchiveTree:
        """The archive ``path``; NotFoundError, StoreError, FormatError, LimitError."""
        file = open_file(path)
        try:
            compression = sniff(file.read(HEAD_SIZE))
            file.seek(0)
        except OSError as error:
            file.close()
            raise store_error(error, f"cannot read {path}") from error
        except BaseException:
            file.close()
            raise
        return cls(file, str(path)) if compression == "none" else cls.spool(file, str(path), limits=limits)

    @classmethod
    def spool(cls, source: BinarySource, name: str, *, limits: Limits) -> ArchiveTree:
        """The archive that ``source`` holds, by way of a temporary file, which goes away with it."""
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the tree owns it
        try:
            with open_layer(source, limits=limits) as stream:
                for slab in stream:
                    _write_all(file, slab)
                stream.finish()
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return cls(file, name)

    def __str__(self) -> str:
        return self._name

    def __contains__(self, path: str) -> bool:
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None when there is no such file. UnsafeEntryError for a link that leads out."""
        place = self._resolve(path)
        return None if place is None else place[1]

    def open(self, path: str) -> BinarySource:
        """The bytes of a file."""
        place = self._resolve(path)
        if place is None:
            raise NotFoundError(f"there is no {path} in {self._name}")
        return self._shared.section(*place)

    def is_ambiguous(self, path: str) -> bool:
        """Whether more than one member has this name. The last one counts, as when extracting."""
        return path in self._twice

    def close(self) -> None:
        """Close the archive; blobs that are being read then fail."""
        self._shared.close()

    def _resolve(self, path: str) -> tuple[int, int] | None:
        for _ in range(_LINKS):
            place = self._files.get(path)
            if place is not None:
                return place
            target = self._links.get(path)
            if target is None:
                return None
            if target.startswith(("/", "../")) or target == ".." or "\\" in target:
                raise UnsafeEntryError(f"a link that leads out of the archive, to {target!r}", path=path)
            path = target
        raise UnsafeEntryError("a chain of links without end", path=path)

    def _read_index(self, file: FileIO) -> None:
        size = self._shared.size
        file.seek(0)
        try:
            with tarfile.open(name="", fileobj=cast(BinaryIO, _SmallReads(file)), mode="r:") as tar:
                count = 0
                while (member := tar.next()) is not None:
                    count += 1
                    if count > _MEMBERS:
                        raise LimitError(f"more than {_MEMBERS} members in {self._name}")
                    self._add(member, size)
                    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                end = tar.offset
            file.seek(end)
            if file.read(512).strip(b"\0"):
                raise FormatError(f"{self._name}: a damaged header at byte {end}", kind="tar-header")
        except OSError as error:
            raise store_error(error, f"cannot read {self._name}") from error
        except _TAR_ERRORS as error:
            raise FormatError(f"{self._name}: not a tar: {error}", kind="tar-header") from error

    def _add(self, member: tarfile.TarInfo, archive_size: int) -> None:
        name = _normal(member.name)
        if not member.isfile() and not member.issym() and not member.islnk():
            return
        if member.issparse():
            raise FormatError("a sparse member, which no image archive has", kind="tar-sparse", path=name)
        if name in self._files or name in self._links:
            self._twice.add(name)
            self._files.pop(name, None)
            self._links.pop(name, None)
        if member.issym():
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            self._links[name] = _normal(member.linkname)
        elif member.size < 0 or member.offset_data + member.size > archive_size:
            raise FormatError("the archive ends inside this member", kind="unexpected-eof", path=name)
        else:
            self._files[name] = (member.offset_data, member.size)


def first_name(head: bytes) -> str:
    """The name of the first member of a tar that starts with ``head``; FormatError when that is no tar.

    A member for the top itself (``./``), which archivers put first, is passed over.
    """
    try:
        with tarfile.open(name="", fileobj=BytesIO(head), mode="r:") as tar:
            member = tar.next()
            while member is not None and _normal(member.name) == ".":
                member = tar.next()
    except _TAR_ERRORS as error:
        raise FormatError(f"not a tar: {error}", kind="tar-header") from error
    return "" if member is None else _normal(member.name)


def has_tar_header(head: bytes) -> bool:
    """Whether ``head`` starts with a tar header whose checksum is right."""
    try:
        checksum = int(head[148:156].strip(b"\0 "), 8)
    except ValueError:
        return False
    return len(head) >= 512 and checksum == sum(head[:148]) + 8 * ord(" ") + sum(head[156:512])


def _normal(name: str) -> str:
    return posixpath.normpath(name.lstrip("/")) if name else name


def _write_all(file: FileIO, piece: memoryview) -> None:
    try:
        write_whole(file.write, piece)
    except OSError as error:
        raise StoreError(
            f"cannot write to the temporary folder: {error.strerror or error}",
            hint="point TMPDIR at a place with room, or decompress the archive first",
        ) from error


class _SmallReads:
    """The file as tarfile may read it: headers only, for it would read an extended header of any size into memory."""

    def __init__(self, file: FileIO) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._read = file.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_LIMIT:
            raise LimitError(f"a tar header of {size} bytes")
        return self._read(size)
