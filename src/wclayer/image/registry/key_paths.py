r"""Paths of registry keys, as people write them, and as the hives of an image have them.

``HKLM/SOFTWARE/Microsoft`` and ``HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft`` are the key ``Microsoft`` of the hive
SOFTWARE. A key may have a slash in its name, and then only a backslash can separate: where a path has a backslash
behind its root, slashes are letters.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wclayer.errors import NotFoundError, UsageError
from wclayer.ntfs.names import fold

__all__ = ["HIVES", "KeyPath", "long_path", "parse_key_path", "shown_path"]

#: The hives of an image, in the order in which they are listed.
HIVES: Final = ("SAM", "SECURITY", "SOFTWARE", "SYSTEM", "DEFAULT")

_MACHINE: Final = "HKEY_LOCAL_MACHINE"
_USERS: Final = "HKEY_USERS"
_ROOTS: Final = {
    "HKLM": "HKLM",
    _MACHINE: "HKLM",
    "HKU": "HKU",
    _USERS: "HKU",
    "HKCR": "HKCR",
    "HKEY_CLASSES_ROOT": "HKCR",
}
_DEFAULT_USERS: Final = (".DEFAULT", "S-1-5-18")


class KeyPath(NamedTuple):
    r"""A key: ``hive`` is one of :data:`HIVES`, or the name of a hive file; ``path`` is relative to its root.

    Without a hive it is what all of them lie in: ``path`` is then ``""``, ``HKLM`` or ``HKU``.
    """

    hive: str
    path: str

    def below(self, name: str) -> KeyPath:
        """The subkey ``name``."""
        return KeyPath(self.hive, f"{self.path}\\{name}" if self.path else name)


def parse_key_path(text: str, *, alone: str | None = None) -> KeyPath:
    """The key that ``text`` means.

    ``alone`` is the name of the only hive there is, when a hive file is looked at: a path without a root is then
    relative to it. Raises NotFoundError for a root that no image has (``HKCU``), UsageError for no path at all.
    """
    names = _names(text)
    if names and fold(names[0]) in ("COMPUTER", "REGISTRY::"):
        names = names[1:]
    if not names:
        return KeyPath(alone or "", "")
    root = _ROOTS.get(fold(names[0].removesuffix(":")))
    if root is None:
        hive = fold(names[0])
        if alone is not None:
            known = len(names) > 1 and hive == fold(alone) and hive in HIVES
            return KeyPath(alone, "\\".join(names[1:] if known else names))
        if hive in HIVES and hive != "DEFAULT":
            return KeyPath(hive, "\\".join(names[1:]))
        raise _unknown(text)
    if root == "HKCR":
        return KeyPath("SOFTWARE", "\\".join(["Classes", *names[1:]]))
    if len(names) == 1:
        return KeyPath("", root)
    if root == "HKU":
        if fold(names[1]) not in _DEFAULT_USERS:
            raise _unknown(text)
        return KeyPath("DEFAULT", "\\".join(names[2:]))
    hive = fold(names[1])
    if (hive not in HIVES or hive == "DEFAULT") and hive != fold(alone or ""):
        raise _unknown(text)
    return KeyPath(alone if alone and hive == fold(alone) else hive, "\\".join(names[2:]))


def shown_path(key: KeyPath) -> str:
    r"""How people read it: ``HKLM\SOFTWARE\Microsoft``, ``HKU\.DEFAULT\Environment``."""
    if not key.hive:
        return key.path
    mount = "HKU\\.DEFAULT" if key.hive == "DEFAULT" else f"HKLM\\{key.hive}"
    return f"{mount}\\{key.path}" if key.path else mount


def long_path(key: KeyPath) -> str:
    r"""How registry text writes it: ``HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft``."""
    root, _, rest = shown_path(key).partition("\\")
    return f"{_MACHINE if root == 'HKLM' else _USERS}\\{rest}"


def _names(text: str) -> list[str]:
    if "\0" in text:
        raise UsageError(f"{text!r} is not the path of a registry key")
    text = text.strip()
    if "\\" not in text:
        return [name for name in text.split("/") if name]
    head, *rest = (name for name in text.split("\\") if name) if text.strip("\\") else ("",)
    # HKLM/SOFTWARE\Classes: up to the hive no name has a slash.
    return [*(name for name in head.split("/") if name), *rest]


def _unknown(text: str) -> NotFoundError:
    return NotFoundError(
        f"no hive of an image holds the key {text!r}",
        hint="there are HKLM/SOFTWARE, HKLM/SYSTEM, HKLM/SAM, HKLM/SECURITY and HKU/.DEFAULT",
    )
