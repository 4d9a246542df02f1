"""Places: what a name says of one, and how a result gets there: folders made on the way go if nothing came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.errors import StoreError

__all__ = ["CIM_PREFIX", "folder_made"]

CIM_PREFIX = "cim:"
"""So begins the name of CIM images."""


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """Make ``folder`` and those above it where there are none; after an error those that are empty are gone again.

    Raises StoreError.
    """
    missing: list[Path] = []
    try:
        try:
            for path in (folder, *folder.parents):
                if path.exists():
                    break
                missing.append(path)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {folder}: {error.strerror}") from error
        yield
    except BaseException:
        _remove(missing)
        raise


def _remove(folders: list[Path]) -> None:
    for path in folders:
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return  # not empty: somebody else uses it by now
