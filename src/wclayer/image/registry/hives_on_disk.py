"""Hives that lie on disk as plain files: a hive file alone, or those of a folder that hcsshim or Windows made."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import NotFoundError, StoreError
from wclayer.image.registry.hive_files import HiveFile, hive_paths, named_hive, require_size
from wclayer.image.registry.hives_of_view import map_file
from wclayer.ntfs.names import fold

if TYPE_CHECKING:
    from wclayer.regf.reader import Buffer

__all__ = ["DiskHives", "is_hive_file"]


def is_hive_file(path: Path) -> bool:
    """Whether ``path`` is a file that begins as a registry hive does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"regf"
    except (OSError, ValueError):
        return False


class DiskHives:
    """The hive file ``place``, or the hives below the folder ``place``, which is one layer.

    Names of folders and files are matched without regard to case; links are not followed.
    """

    def __init__(self, place: Path, reference: str) -> None:
        self.reference = reference
        self.notes: tuple[str, ...] = ()
        self.labels: tuple[str, ...] = (place.name,)
        self.alone: str | None = None
        self._place = place
        self._held = ExitStack()
        self._files: dict[str, Path] = {}
        if not place.is_dir():
            hive, role = named_hive(place) or (fold(place.name), "base")
            self.alone = hive
            self._alone = HiveFile(hive, role, 0, place.name, place.name)
            self._files[place.name] = place

    def candidates(self, hive: str) -> Sequence[HiveFile]:
        """All files that are called like a part of ``hive``."""
        if self.alone is not None:
            return [self._alone] if hive == self.alone else []
        found = []
        for path, role in hive_paths(hive):
            names = self._spelt(path.split("/"))
            if names is not None:
                spelt = "/".join(names)
                self._files[spelt] = self._place.joinpath(*names)
                found.append(HiveFile(hive, role, 0, self.labels[0], spelt))
        return found

    def load(self, files: Sequence[HiveFile]) -> Sequence[Buffer]:
        """What is in these files, in their order."""
        return [self._load(file) for file in files]

    def logs(self, file: HiveFile) -> Sequence[bytes]:
        """The transaction logs that lie beside a hive."""
        path = self._files[file.path]
        wanted = [f"{fold(path.name)}.LOG{number}" for number in (1, 2)]
        try:
            beside = {fold(other.name): other for other in path.parent.iterdir() if fold(other.name) in wanted}
            return [beside[name].read_bytes() for name in wanted if name in beside and beside[name].is_file()]
        except OSError as error:
            raise StoreError(f"cannot read the logs beside {path}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the files."""
        self._held.close()

    def _load(self, file: HiveFile) -> Buffer:
        path = self._files[file.path]
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        if self.alone is None:
            flags |= getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {path}") from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        try:
            require_size(os.fstat(descriptor).st_size, file)
            return map_file(descriptor, self._held)
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        finally:
            os.close(descriptor)

    def _spelt(self, names: Sequence[str]) -> list[str] | None:
        """A path as the disk spells it, the last being an ordinary file; None when there is none."""
        spelt: list[str] = []
        for number, name in enumerate(names, 1):
            wanted = stat.S_ISREG if number == len(names) else stat.S_ISDIR
            try:
                below = [one.name for one in self._place.joinpath(*spelt).iterdir() if fold(one.name) == fold(name)]
                alike = name if name in below else min(below, default=None)
                if alike is None or not wanted(os.lstat(self._place.joinpath(*spelt, alike)).st_mode):
                    return None
            except OSError as error:
                raise StoreError(f"cannot look into {self._place}: {error.strerror}") from error
            spelt.append(alike)
        return spelt
