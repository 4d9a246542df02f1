"""The rules applied to one layer, entry by entry, and at its end to what only the whole shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wclayer.image.lint.content import ContentChecks
from wclayer.image.lint.examined import Examined
from wclayer.image.lint.findings import Findings
from wclayer.image.lint.links import LinkChecks
from wclayer.image.lint.names import LayerNames, What
from wclayer.ntfs.names import MAX_COMPONENT, MAX_PATH, fold, name_notice, utf16_length

__all__ = ["LayerLint"]

_ROOTS = {"FILES": "Files", "HIVES": "Hives", "UTILITYVM": "UtilityVM"}
_DRIVE = re.compile(r"[A-Za-z]:").match
_ILLEGAL = re.compile(r'[<>:"|?*\x00-\x1f]').search
_SIDECAR = ".$WCIDIRS$"
_WIN32_PATH = 260
_BOOT_CONFIGURATION = "UtilityVM/Files/EFI/Microsoft/Boot/BCD"
_UPPER_ONLY = (
    "no-hives-root",
    "uvm-outside",
    "uvm-metadata",
    "uvm-without-parent",
    "uvm-in-upper-layer",
    "hard-link-outside",
)
_KINDS: dict[str, What] = {"folder": "folder", "symlink": "reparse", "junction": "reparse", "reparse": "reparse"}


class LayerLint:
    """Looks at one layer. ``parents`` are the names of the layers below, nearest first, None when they are not known.

    ``is_base`` None: the layer itself decides, by whether it holds hives of a base and deletes nothing.
    """

    def __init__(
        self, findings: Findings, *, parents: Sequence[LayerNames] | None = None, is_base: bool | None = None
    ) -> None:
        self.findings = findings
        self.names = LayerNames()
        self._parents = parents
        self._is_base = is_base
        self._links = LinkChecks(findings, self.names, parents)
        self._content = ContentChecks(findings)
        self._owner = ""
        self._entries = 0
        self._tops: set[str] = set()
        self._missing: dict[str, tuple[str, str]] = {}
        self._deleted: dict[str, str] = {}

    def look_at(self, entry: Examined) -> None:
        """Apply the rules to one entry."""
        add = self.findings.add
        for rule, evidence in entry.problems:
            add(rule, entry.name, evidence)
        if entry.kind == "global":
            add("global-header", entry.name, "a header of type g")
            return
        path = self._path(entry)
        if path is None:
            return
        self._entries += 1
        if entry.kind == "whiteout":
            self._look_at_whiteout(entry, path)
        elif entry.kind == "stream":
            owner = path.partition(":")[0]
            if fold(owner) != fold(self._owner):
                after = f"it follows {self._owner}" if self._owner else "no file comes before it"
                add("orphan-stream", entry.name, after)
        else:
            self._look_at_entry(entry, path)

    def finish(self) -> bool:
        """Apply the rules that need the whole layer; whether it was taken for a base layer."""
        add = self.findings.add
        is_base = self._is_base
        if is_base is None:
            is_base = not self._parents and not self._deleted and bool(self._content.base_hives)
        if not self._tops & _ROOTS.keys() and self._entries:
            some = sorted(self._tops)[:3]
            add("not-a-windows-layer", "", f"{self._entries} entries, below {', '.join(some) or 'nothing'}")
        else:
            self._finish_shape(is_base)
        self._links.finish(is_base=is_base)
        self._content.finish(is_base=is_base)
        for key, path in self._deleted.items():
            if key in self.names:
                add("whiteout-of-own-entry", path, "the layer has an entry of that name, too")
        if is_base:
            for path in self._deleted.values():
                add("whiteout-in-base", path, "a whiteout")
            self.findings.drop(_UPPER_ONLY)
        self._finish_utility_vm(is_base)
        return is_base

    # ------------------------------------------------------------------ names

    def _path(self, entry: Examined) -> str | None:
        """The path that the name means; None when it means none."""
        add, name = self.findings.add, entry.name
        if "\\" in name:
            add("name-backslash", name, "Windows takes it for a separator")
            name = name.replace("\\", "/")
        if name.startswith("/") or _DRIVE(name):
            add("name-absolute", entry.name, f"it begins with {name[:2]!r}")
            return None
        parts = [part for part in name.split("/") if part]
        if ".." in parts:
            add("name-parent", entry.name, "a .. component")
            return None
        if "." in parts:
            add("name-dot", entry.name, "a . component")
            parts = [part for part in parts if part != "."]
        return "/".join(parts) or None

    def _look_at_name(self, entry: Examined, path: str) -> None:
        add = self.findings.add
        for part in path.split("/"):
            if (illegal := _ILLEGAL(part)) is not None:
                add("name-illegal", path, f"the name {part!r} holds {illegal[0]!r}")
            elif (notice := name_notice(part)) is not None:
                add("name-reserved", path, notice)
            if len(part) > MAX_COMPONENT // 2 and (length := utf16_length(part)) > MAX_COMPONENT:
                add("component-too-long", path, f"{length} UTF-16 units")
            if fold(part).endswith(_SIDECAR):
                add("sidecar-name", path, f"the name {part!r}")
        if len(path) > _WIN32_PATH // 2:
            length = utf16_length(path)
            if length > MAX_PATH:
                add("path-too-long", path, f"{length} UTF-16 units")
            elif length - len("Files") + len("C:") >= _WIN32_PATH and path.startswith("Files/"):
                add("path-long", path, f"{length - len('Files') + len('C:')} characters as C:\\…")
        if fold(path) == "FILES/FILES" and entry.is_folder:
            add("files-in-files", path, "a folder Files below Files")

    # ------------------------------------------------------------------ entries

    def _look_at_entry(self, entry: Examined, path: str) -> None:
        add = self.findings.add
        self._owner = path
        self._look_at_name(entry, path)
        self._look_at_top(path)
        self._look_at_parents(path)
        if entry.kind in ("device", "dataless"):
            rule = "entry-type" if entry.kind == "device" else "entry-without-data"
            add(rule, path, f"an entry of kind {entry.kind}")
        before = self.names.add(path, _KINDS.get(entry.kind, "file"))
        if before is not None:
            if before == path:
                add("duplicate-entry", path, "it comes twice")
            else:
                add("case-collision", path, f"the layer also has {before}")
        key = fold(path)
        if entry.is_folder and key in self._missing:
            child, _ = self._missing.pop(key)
            rule = "uvm-order" if key == "UTILITYVM" else "parent-after-child"
            add(rule, path, f"{child} comes before it")
        if path == "UtilityVM" and entry.has_descriptor:
            add("uvm-metadata", path, "it has a security descriptor")
        if entry.kind == "link":
            self._links.look_at_hard_link(path, entry.target)
        elif entry.kind in ("symlink", "junction"):
            self._links.look_at_symbolic_link(path, entry.target)
        elif entry.kind == "reparse":
            add("reparse-tag", path, entry.target)
        self._content.look_at(entry, path)

    def _look_at_top(self, path: str) -> None:
        top, _, rest = path.partition("/")
        key = fold(top)
        if key not in self._tops:
            self._tops.add(key)
            if key == "TOMBSTONES.TXT":
                self.findings.add("tombstones-txt", path, "a file of that name at the top")
            elif key in _ROOTS:
                if top != _ROOTS[key]:
                    self.findings.add("root-spelling", path, f"{top} instead of {_ROOTS[key]}")
            else:
                self.findings.add("top-level-entry", path, f"{top} beside Files and Hives")
        if key == "UTILITYVM" and rest and fold(rest.partition("/")[0]) != "FILES":
            self.findings.add("uvm-outside", path, "it does not lie below UtilityVM/Files")

    def _look_at_parents(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        while folder:
            what = self.names.get(folder)
            if what == "folder":
                return
            if what is not None:
                rule = "below-reparse-point" if what == "reparse" else "below-file"
                self.findings.add(rule, path, f"{folder} is a {what}")
                return
            self._missing.setdefault(fold(folder), (path, folder))
            folder = folder.rpartition("/")[0]

    def _look_at_whiteout(self, entry: Examined, path: str) -> None:
        add = self.findings.add
        self._owner = ""
        folder, _, base = path.rpartition("/")
        name = base[4:]
        if entry.name.endswith(("/", "\\")):
            add("whiteout-slash", entry.name, "the name ends in a separator")
        if name == ".wh..opq":
            add("whiteout-opaque", entry.name, f"all of {folder or 'the layer'}")
            return
        if name in ("", ".", ".."):
            add("whiteout-nameless", entry.name, f"it would delete {folder or 'the layer'}, or a folder above")
            return
        target = f"{folder}/{name}" if folder else name
        self._tops.add(fold(target.partition("/")[0]))
        if not target.startswith(("Files/", "UtilityVM/Files/")):
            add("whiteout-outside", entry.name, f"it deletes {target}")
            return
        self._deleted.setdefault(fold(target), target)
        if self._parents and not any(target in parent for parent in self._parents):
            add("whiteout-of-nothing", target, "no parent has it")

    # ------------------------------------------------------------------ the whole

    def _finish_shape(self, is_base: bool) -> None:
        add = self.findings.add
        for key, (child, folder) in self._missing.items():
            if key == "FILES":
                continue
            rule = "uvm-order" if key == "UTILITYVM" and not is_base else "parent-missing"
            add(rule, child, f"{folder} has no entry")
        if "Files" not in self.names:
            child = self._missing.get("FILES", ("", ""))[0]
            add("no-files-root", child, "no entry for the folder Files")
        if "Hives" not in self.names and not is_base:
            add("no-hives-root", "", "no entry for the folder Hives")

    def _finish_utility_vm(self, is_base: bool) -> None:
        add = self.findings.add
        if "UTILITYVM" not in self._tops or "UtilityVM" not in self.names:
            return
        if is_base:
            if _BOOT_CONFIGURATION not in self.names:
                add("uvm-boot-configuration", _BOOT_CONFIGURATION, "there is no such entry")
            return
        add("uvm-in-upper-layer", "UtilityVM", "the layer has a UtilityVM")
        if self._parents is not None and not any("UtilityVM/Files" in parent for parent in self._parents):
            add("uvm-without-parent", "UtilityVM", "no parent has a UtilityVM/Files")
