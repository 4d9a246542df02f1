"""The open files of this process, for tests that say that none stays open."""

from __future__ import annotations

import gc
import os
from pathlib import Path

_FOLDER = Path("/proc/self/fd")


def open_files() -> list[str]:
    """Each open file, by number and by what it is; nothing where the system doesn't tell.

    What earlier tests left in cycles of objects is collected first: if it went in the middle of a test, the counts
    would not be comparable.
    """
    gc.collect()
    found = []
    for number in os.listdir(_FOLDER) if _FOLDER.is_dir() else ():
        try:
            found.append(f"{number}: {os.readlink(_FOLDER / number)}")
        except FileNotFoundError:  # the listing itself
            continue
    return sorted(found)
