r"""The registry of an upper layer: what it changes, merged with the whole hive of the layer below.

Windows mounts whole hives. So the import of every layer makes ``Hives\X_BASE`` of the nearest ``X_BASE`` below and its
own ``X_DELTA``. hcsshim asks only the immediate parent and fails when that changed nothing of this hive; here the next
one that has it is taken: first the folders of the parents, nearest first, then the parent's image, which has inherited
the hive.

Source: hcsshim ``internal/wclayer/cim/process.go`` (``processNonBaseLayer``) and ``registry.go``.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from wclayer.errors import FormatError, NotFoundError, UsageError, WclayerError
from wclayer.formats.cim.layer_names import CimLayer, HiveNames
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.std_files import open_std_file
from wclayer.model import Notices
from wclayer.regf import Hive, merge, save_hive

__all__ = ["HiveFile", "HiveMerge", "HiveSink", "merge_hives", "parent_hive"]

_LARGEST = 1 << 31


class HiveSink(Protocol):
    """Where a merged hive goes."""

    def write(self, data: memoryview, /) -> object:
        """Append a piece."""


@dataclass(frozen=True, slots=True)
class HiveFile:
    """A hive that can be looked at: ``label`` says where, ``open`` gives a descriptor, which the caller closes."""

    label: str
    open: Callable[[], int]


HiveMerge: TypeAlias = Callable[[HiveNames, HiveFile, HiveFile, HiveSink, Notices], object]
"""What makes the whole hive of the one below and the delta, and writes it to the sink."""


def parent_hive(parents: Sequence[CimLayer], hive: HiveNames, *, images: bool = True) -> HiveFile:
    """The whole hive of the layers below, ``parents`` being nearest first; without ``images`` from folders only.

    Raises NotFoundError when none of them has it, StoreError.
    """
    for parent in parents:
        descriptor = open_std_file(parent.folder, hive.base_path)
        if descriptor is not None:
            os.close(descriptor)
            return HiveFile(f"{parent.folder}/{hive.base_path}", _in_folder(parent.folder, hive.base_path))
    for parent in parents[:1] if images else ():
        if parent.cim.exists():
            with CimImage.open(parent.cim) as image:
                found = image.lookup(hive.base_path)
                if found is not None and not found.is_directory:
                    return HiveFile(f"{parent.cim}:{hive.base_path}", _in_image(parent.cim, hive.base_path))
    searched = ", ".join(str(parent.folder) for parent in parents)
    raise NotFoundError(
        f"this layer changes the hive {hive.name}, but no layer below has {hive.base_path} (looked in {searched})",
        path=hive.delta_path,
        hint="import the layers below first, with their processing",
    )


def merge_hives(hive: HiveNames, base: HiveFile, delta: HiveFile, sink: HiveSink, notices: Notices) -> None:
    """Write the merged view of ``base`` and ``delta`` to ``sink``.

    Raises FormatError for what is no hive, naming it; LimitError.
    """
    try:
        with _mapped(base) as lower, _mapped(delta) as upper:
            below, above = Hive(lower, base.label), Hive(upper, delta.label)
            for warning in (*below.warnings, *above.warnings):
                notices.add("hive-dirty", hive.delta_path, warning)
            save_hive(sink, merge([below, above]), name=hive.base, timestamp=max(below.timestamp, above.timestamp))
    except UsageError as error:
        raise FormatError(f"{delta.label}: {error.message}", kind="hive", path=hive.delta_path) from error
    except WclayerError as error:
        if error.path is not None:  # a key of the hive; the path is that of the hive
            error.message = f"{error.path}: {error.message}"
            error.args = (error.message,)
        error.path = hive.delta_path
        raise


@contextmanager
def _mapped(file: HiveFile) -> Iterator[mmap.mmap]:
    descriptor = file.open()
    try:
        size = os.fstat(descriptor).st_size
        if not 0 < size <= _LARGEST:
            raise FormatError(f"{file.label} has {size} bytes, which no registry hive has", kind="hive")
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as content:
            yield content
    finally:
        os.close(descriptor)


def _in_folder(folder: Path, path: str) -> Callable[[], int]:
    def opened() -> int:
        descriptor = open_std_file(folder, path)
        if descriptor is None:
            raise NotFoundError(f"{folder}/{path} is gone")
        return descriptor

    return opened


def _in_image(cim: Path, path: str) -> Callable[[], int]:
    """A hive of an image is copied to a file without a name: it has to be mapped in one piece."""

    def opened() -> int:
        with CimImage.open(cim) as image, tempfile.TemporaryFile() as copy:
            found = image.lookup(path)
            if found is None:
                raise NotFoundError(f"{path} is gone from {cim}")
            for piece in found.pieces():
                copy.write(piece)
            copy.flush()
            return os.dup(copy.fileno())

    return opened
