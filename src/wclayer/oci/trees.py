"""Where the files of a layout are: a folder, or an archive that is read as if it were one."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Protocol

from wclayer.errors import LimitError, NotFoundError
from wclayer.oci.sources import BinarySource, open_file, read_all, store_error

__all__ = ["FileTree", "FolderTree", "read_file"]


class FileTree(Protocol):
    """Ordinary files by their paths: relative, with ``/``. Paths come from checked digests or are resolved inside."""

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None when there is no such file."""

    def open(self, path: str) -> BinarySource:
        """The bytes of a file; NotFoundError when there is none."""

    def is_ambiguous(self, path: str) -> bool:
        """Whether the path is there more than once, so that two readers may see different files."""

    def close(self) -> None:
        """Let go of open files."""


class FolderTree:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None when there is no such file."""
        try:
            status = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(error, f"cannot look at {self.root / path}") from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open(self, path: str) -> BinarySource:
        """The bytes of a file."""
        return open_file(self.root / path)

    def is_ambiguous(self, path: str) -> bool:  # noqa: ARG002  # a folder has every name once
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to do: files are opened one by one."""


def read_file(tree: FileTree, path: str, limit: int, *, what: str) -> bytes:
    """A small file, whole; NotFoundError, LimitError."""
    size = tree.size(path)
    if size is None:
        raise NotFoundError(f"{what} is not here: there is no {path} in {tree}")
    if size > limit:
        raise LimitError(f"{what} has {size} bytes, more than the {limit} allowed")
    return read_all(tree.open(path), limit, what=what)
