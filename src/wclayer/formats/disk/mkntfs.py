"""NTFS is made and enlarged by the programs of ntfs-3g, which are optional: who lacks them is told the package's name.

They are run on plain files, so neither root nor a mount is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from wclayer.errors import StoreError, UnsupportedError

__all__ = ["find_program", "format_ntfs", "has_mkntfs"]

_PACKAGE = "ntfs-3g"
_HINT = f"install the package {_PACKAGE} (Fedora: ntfsprogs; macOS: {_PACKAGE}-mac)"
# Administrators' programs are not on everybody's PATH.
_MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_SECONDS = 600


def find_program(name: str) -> str:
    """Where a program of ntfs-3g is. UnsupportedError, which names the package, when it is not installed."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), *_MORE_FOLDERS]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise UnsupportedError(f"the program {name} is not installed, which makes NTFS volumes", hint=_HINT)
    return found


def has_mkntfs() -> bool:
    """Whether volumes can be made here."""
    try:
        find_program("mkntfs")
    except UnsupportedError:
        return False
    return True


def format_ntfs(file: Path, start: int, *, label: str = "") -> None:
    """Make an empty NTFS volume in ``file``, as large as that is, with clusters of 4096 bytes.

    ``start`` is where the volume will be on its disk, in sectors of 512 bytes; its boot sector says so. Raises
    UnsupportedError without ``mkntfs``, StoreError when that fails.
    """
    program = find_program("mkntfs")
    options = ["-s", "512", "-c", "4096", "-p", str(start), "-H", "255", "-S", "63"]
    if label:
        options += ["-L", label]
    run_program([program, "-F", "-Q", "-q", *options, str(file)], "make an NTFS volume")


def run_program(arguments: list[str], what: str) -> None:
    """Run a program that says nothing when all is well. StoreError otherwise, with the last line of what it says."""
    try:
        done = subprocess.run(  # noqa: S603 - found by find_program, and no shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"cannot {what}: {error}") from error
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()
        name = os.path.basename(arguments[0])
        raise StoreError(f"cannot {what}: {name} says: {said[-1] if said else f'exit code {done.returncode}'}")
