"""Names of one file in a fork: which of them are the layer's, and what they are links to.

A layer may give a file of the layers below another name, write one of several names anew and so part it from the
others, or make one file of two. All of this shows in which names share a file in the parent and which do in the fork.
"""

from __future__ import annotations

from collections import Counter

from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.fork_records import ForkRecords
from wclayer.formats.cim.reader import CimImage

__all__ = ["ForkLinks"]


class ForkLinks:
    """Says of each file of ``image`` what the layer says of it."""

    def __init__(self, image: CimImage, parent: CimImage, records: ForkRecords) -> None:
        self._parent = parent
        self._records = records
        self._groups = _names_of_one_file(image)
        self._image = image
        self._shared = {number for number, count in parent.link_counts().items() if count > 1}
        # Which file of the fork is, unchanged, a file of the parent that has several names there.
        self._claimed: dict[int, int] = {}
        self._decided: dict[str, str | None] = {}

    def target_of(self, file: CimFile, old: CimFile | None) -> str | None:
        """None when the layer says nothing of the name; its own path for an entry; another path for a link to that."""
        group = self._groups.get(file.file_id)
        if group is None:
            return None if self._is_kept(file, old) else file.path
        if file.path not in self._decided:
            self._decide(group)
        return self._decided.pop(file.path)

    def _decide(self, group: list[str]) -> None:
        files = [(path, self._image.lookup(path), self._parent.lookup(path)) for path in group]
        leader: str | None = None
        origin = -1
        for path, file, old in files:
            if file is not None and self._is_kept(file, old) and old is not None:
                leader, origin = path, old.file_id
                break
        target = leader or group[0]
        for path, _file, old in files:
            if path == leader or (leader is not None and old is not None and old.file_id == origin):
                self._decided[path] = None
            else:
                self._decided[path] = target

    def _is_kept(self, file: CimFile, old: CimFile | None) -> bool:
        if old is None or not self._records.same(file, old):
            return False
        if old.file_id not in self._shared:
            return True
        return self._claimed.setdefault(old.file_id, file.file_id) == file.file_id


def _names_of_one_file(image: CimImage) -> dict[int, list[str]]:
    """The paths of the files that have several, by file id, in the order of a walk."""
    counts = Counter(file.file_id for file in image.walk() if not file.is_directory)
    several = {number for number, count in counts.items() if count > 1}
    groups: dict[int, list[str]] = {}
    if several:
        for file in image.walk():
            if file.file_id in several and not file.is_directory:
                groups.setdefault(file.file_id, []).append(file.path)
    return groups
