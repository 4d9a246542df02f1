r"""Paths inside an image, as people write them, and as the layer has them.

A container's ``C:\Windows`` is ``Files/Windows`` in its layers, beside ``Hives`` and ``UtilityVM``. Whoever asks may
write ``C:\Windows``, ``/Windows``, ``Windows`` or ``Files/Windows``, in any case.
"""

from __future__ import annotations

import re

from wclayer.errors import NotFoundError, UsageError
from wclayer.ntfs.names import fold

__all__ = ["VOLUME", "layer_path", "link_destination", "windows_path"]

VOLUME = "Files"
"""The folder of a layer that is the container's drive C."""

_ROOTS = {"FILES", "HIVES", "UTILITYVM"}
_DRIVE = re.compile(r"(?:[/\\]{2}[?.][/\\]|[/\\]\?\?[/\\])?([A-Za-z]):(.*)", re.DOTALL)


def layer_path(text: str) -> str:
    """The layer path that ``text`` means; "" is the layer's own root, which is written ``.``.

    Raises NotFoundError for another drive, UsageError for a name no file can have.
    """
    drive = _DRIVE.fullmatch(text)
    if drive:
        if drive[1].upper() != "C":
            raise NotFoundError(f"{text} is on drive {drive[1].upper()}:, and an image has only C:")
        return _join([VOLUME], drive[2])
    if "\0" in text or ":" in text:
        hint = "write C:\\Windows, /Windows or Files/Windows; an alternate stream is named apart: cat --stream NAME"
        raise UsageError(f"{text!r} is not a path", hint=hint)
    if text[:1] in ("/", "\\") or not text:
        return _join([VOLUME], text)
    parts = _split(text)
    if parts == ["."] or (parts and fold(parts[0]) in _ROOTS):
        return _join([], text)
    return _join([VOLUME], text)


def windows_path(path: str) -> str:
    r"""How people read a layer path: ``C:\…`` for what the container sees, the layer path itself for the rest."""
    root, _, rest = path.partition("/")
    if root != VOLUME and fold(root) != "FILES":
        return path or "."
    return "C:\\" + rest.replace("/", "\\")


def link_destination(target: str, folder: str) -> str:
    """Where a link with this target, in the layer folder ``folder``, leads: a layer path.

    A link below ``UtilityVM/Files`` stays there, for that is drive C of the utility VM. Raises NotFoundError for what
    no image holds: shares, other drives, volumes by name.
    """
    volume = _volume(folder)
    drive = _DRIVE.fullmatch(target)
    if drive:
        if drive[1].upper() != "C":
            raise NotFoundError(f"a link leads to {target}, and an image has only drive C:")
        return _join(volume, drive[2])
    if re.match(r"[\\/]{2}|[\\/]\?\?[\\/]", target):
        raise NotFoundError(f"a link leads to {target}, which is outside of any image")
    if target[:1] in ("\\", "/"):
        return _join(volume, target)
    return _join(folder.split("/") if folder else [], target, floor=len(volume))


def _volume(folder: str) -> list[str]:
    """The folder that is the root of the drive in which the layer folder ``folder`` lies."""
    parts = folder.split("/")
    return parts[:2] if [fold(part) for part in parts[:2]] == ["UTILITYVM", "FILES"] else [VOLUME]


def _split(text: str) -> list[str]:
    return [part for part in text.replace("\\", "/").split("/") if part]


def _join(base: list[str], text: str, floor: int | None = None) -> str:
    """``base`` with the components of ``text`` applied; ``..`` stops at the root, as it does on Windows."""
    lowest = len(base) if floor is None else min(floor, len(base))
    parts = list(base)
    for part in _split(text):
        if part == "..":
            if len(parts) > lowest:
                parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
