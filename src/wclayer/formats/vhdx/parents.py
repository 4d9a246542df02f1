r"""Finding the parent that a differencing disk names, without letting the file decide where on this machine to look.

The paths of a parent locator are those of the machine that made it, and a hostile file may name any file. So a parent
is only taken from the folder of its child, from below it, or from folders that the caller names. There, a path that
leads elsewhere is looked for by its end: of ``C:\layers\base\blank-base.vhdx`` a folder may hold
``base\blank-base.vhdx`` or ``blank-base.vhdx``. Names are compared as NTFS does where the exact one is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from wclayer.errors import NotFoundError, UnsafeEntryError
from wclayer.formats.vhdx.locator import RELATIVE_PATH, ParentLocator
from wclayer.ntfs.names import fold

__all__ = ["Parents", "find_parent"]

Parents: TypeAlias = Literal["follow", "anywhere", "none"] | Sequence[Path]
"""Which parents are opened: those that the files name if they lie where they may; wherever they lie; none; or these,
nearest first."""

_HINT = "name the folder that holds its parents, or the parents themselves"


def find_parent(child: Path, locator: ParentLocator, *, within: Sequence[Path] = (), anywhere: bool = False) -> Path:
    """The file that ``locator``, of the disk ``child``, names.

    ``within`` are folders that may hold parents, besides that of the child. NotFoundError when there is none;
    UnsafeEntryError when there is one by that path, but only where nobody said that it may be.
    """
    home = Path(os.path.realpath(child)).parent
    roots = [home, *(Path(os.path.realpath(folder)) for folder in within)]
    outside = None
    for path in _candidates(home, locator, roots[1:]):
        real = Path(os.path.realpath(path))
        if not anywhere and not any(real.is_relative_to(root) for root in roots):
            outside = outside or path
        elif real.is_file():
            return path
    named = ", ".join(locator.paths) or "no path at all"
    if outside is not None:
        raise UnsafeEntryError(f"the disk names a parent outside its folder: {named}", image=str(child), hint=_HINT)
    raise NotFoundError(f"the parent of the disk is not there: it names {named}", image=str(child), hint=_HINT)


def _candidates(home: Path, locator: ParentLocator, folders: Sequence[Path]) -> Iterator[Path]:
    for text in locator.paths:
        if "\0" in text:
            continue
        relative = text == locator.entries.get(RELATIVE_PATH)
        if os.name == "nt" and not relative:
            yield Path(text)
        parts = _parts(text)
        if relative and parts:
            yield _spelt(home, parts)
    for text in locator.paths:
        tail = [part for part in _parts(text) if part != ".."] if "\0" not in text else []
        for folder in (*folders, home):
            for count in range(min(len(tail), 8), 0, -1):
                path = _spelt(folder, tail[-count:])
                if path.is_file():
                    yield path


def _parts(text: str) -> list[str]:
    r"""The names of a path, without ``.`` and without what stands for a volume (``\\?\C:``, ``\\?\Volume{…}``)."""
    plain = re.sub(r"^[\\/]{2}[?.][\\/](?:Volume\{[^\\/]*|(?=[A-Za-z]:))|^(?=[A-Za-z]:)", "", text)
    plain = re.sub(r"^[A-Za-z]:", "", plain)
    return [part for part in re.split(r"[\\/]+", plain) if part not in ("", ".")]


def _spelt(folder: Path, parts: Sequence[str]) -> Path:
    """The path below ``folder`` as it is spelt there."""
    path = folder
    for part in parts:
        exact = path / part
        if part != ".." and not exact.exists():
            wanted = fold(part)
            with suppress(OSError):  # no folder, or none to look into
                exact = next((path / name for name in os.listdir(path) if fold(name) == wanted), exact)
        path = exact
    return path
