"""The names of a layer as the rules remember them: what kind of thing each is, found as NTFS finds it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from wclayer.ntfs.names import fold

__all__ = ["LayerNames", "What"]

What: TypeAlias = Literal["folder", "file", "reparse"]


class LayerNames:
    """Paths without regard to case, each with its spelling and its kind.

    Some 200 bytes a name: a large base layer takes 40 MB for as long as its image is looked at.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, What]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, path: str, what: What) -> str | None:
        """Remember ``path``; the spelling that was there before, None for a new one."""
        key = fold(path)
        before = self._known.get(key)
        if before is not None:
            return before[0]
        self._known[key] = path, what
        return None

    def get(self, path: str) -> What | None:
        """What ``path`` is, None when it is not there."""
        found = self._known.get(fold(path))
        return found[1] if found else None

    def __contains__(self, path: str) -> bool:
        return fold(path) in self._known
