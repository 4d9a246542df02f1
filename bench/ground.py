"""Where things are unpacked to: an ext4 that nobody has used before, in memory, new for every single run.

On a file system that was used before, the kernel looks at each recently deleted inode again before it gives it out,
which makes the creation of files five to ten times slower, for whoever happens to come next.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["can_mount", "file_system_name", "new_file_system", "scratch_folder"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps files in memory
_ROOM = 4
"""How many times the data a file system has room for. On one that could become full, ext4 gives up delayed allocation
and waits for the disk as soon as half of what is free is not written yet, which stops the fast before the slow."""


def can_mount() -> bool:
    """Whether file systems can be made and mounted here: root on Linux, with the tools of ext4."""
    return os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None


def file_system_name() -> str:
    """What :func:`new_file_system` gives here, for the report."""
    return "a new ext4 in memory for every run" if can_mount() else "a new folder for every run (mounting needs root)"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory, where there is one, that is removed at the end."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as folder:
        yield Path(folder)


@contextmanager
def new_file_system(scratch: Path, size: int, names: int) -> Iterator[Path]:
    """An empty file system with room for ``size`` bytes in ``names`` files, below ``scratch``."""
    place = Path(tempfile.mkdtemp(prefix="ground-", dir=scratch))
    image, mounted = place / "image", place / "mounted"
    mounted.mkdir()
    if not can_mount():
        yield mounted
        return
    inodes = names * 5 // 4 + 20_000
    with image.open("wb") as file:
        file.truncate(_ROOM * (size + names * 5120) + inodes * 256 + (1 << 30))
    try:
        # Tables that are initialised later are initialised during the measurement.
        lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(inodes), "-E", lazy, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
        try:
            yield mounted
        finally:
            _unmount(mounted)
    finally:
        image.unlink()


def _unmount(mounted: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(["umount", str(mounted)], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            subprocess.run(["umount", str(mounted)], check=True)
        time.sleep(0.2)
