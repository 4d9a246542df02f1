"""Rules about hard links and symbolic links."""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.errors import WclayerError
from wclayer.image.lint.findings import Findings
from wclayer.image.lint.names import LayerNames, What
from wclayer.image.paths import link_destination
from wclayer.ntfs.names import fold

__all__ = ["LinkChecks"]

_MAX_FURTHER_NAMES = 1023
_LINKABLE = ("Files/", "UtilityVM/Files/")


class LinkChecks:
    """Looks at the links of one layer, whose entries so far are ``names``."""

    def __init__(self, findings: Findings, names: LayerNames, parents: Sequence[LayerNames] | None) -> None:
        self._findings = findings
        self._names = names
        self._parents = parents
        self._files: dict[str, str] = {}  # of a hard link: the file it is a name of
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, tuple[str, str, bool]] = {}
        self._prefixed: list[tuple[str, str, str]] = []

    def look_at_hard_link(self, path: str, spelt: str) -> None:
        """A hard link to ``spelt``."""
        add = self._findings.add
        target = "/".join(part for part in spelt.replace("\\", "/").split("/") if part not in ("", "."))
        if not path.startswith(_LINKABLE) or not target.startswith(_LINKABLE) or ".." in target.split("/"):
            add("hard-link-outside", path, f"to {spelt}")
            return
        what = self._names.get(target)
        if fold(target) == fold(path):  # its own name, which it has just got: a file of a parent is meant
            what = None
        if what is not None:
            self._refuse_kind(path, target, what)
            self._count(path, target)
            return
        found = self._in_parents(target)
        if found is not None:
            self._refuse_kind(path, target, found)
            self._count(path, target)
        self._waiting.setdefault(fold(target), (path, target, found is not None))

    def look_at_symbolic_link(self, path: str, target: str) -> None:
        """A symbolic link or a junction to ``target``, as the container sees it."""
        spelt = target.replace("\\", "/")
        folder = path.rpartition("/")[0]
        if spelt.startswith("Files/"):
            self._prefixed.append((path, target, f"{folder}/{spelt}"))
            return
        try:
            link_destination(target, folder)
        except WclayerError as error:
            self._findings.add("symlink-outside", path, f"to {target}: {error.message}")
            return
        if not spelt.startswith("/") and _climbs_out(folder, spelt):
            self._findings.add("symlink-outside", path, f"to {target}, above the root of the drive")

    def finish(self, *, is_base: bool) -> None:
        """What is known when all entries are."""
        add = self._findings.add
        for target_key, (path, target, in_parent) in self._waiting.items():
            if target_key != fold(path) and target in self._names:
                add("hard-link-order", path, f"{target} comes after it")
            elif in_parent:
                continue
            elif self._parents is None and not is_base:
                add("hard-link-unknown", path, f"to {target}")
            else:
                add("hard-link-target", path, f"to {target}, which is nowhere")
        for path, target, meant in self._prefixed:
            if meant not in self._names and (self._in_parents(meant) is None):
                add("symlink-prefix", path, f"to {target}")

    def _in_parents(self, path: str) -> What | None:
        for parent in self._parents or ():
            what = parent.get(path)
            if what is not None:
                return what
        return None

    def _refuse_kind(self, path: str, target: str, what: What) -> None:
        if what != "file":
            kind = "a folder" if what == "folder" else "a reparse point"
            self._findings.add("hard-link-kind", path, f"to {target}, which is {kind}")

    def _count(self, path: str, target: str) -> None:
        key = fold(target)
        file = self._files[fold(path)] = self._files.get(key, key)
        count = self._counts[file] = self._counts.get(file, 0) + 1
        if count == _MAX_FURTHER_NAMES + 1:
            self._findings.add("hard-link-count", path, f"it is the 1025th name of {target}")


def _climbs_out(folder: str, target: str) -> bool:
    """Whether the relative ``target`` leads above the container's root, which is the first name of ``folder``."""
    depth = folder.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False
