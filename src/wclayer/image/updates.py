r"""Which updates are installed: the packages of Component Based Servicing, with their KB numbers, states and dates.

Every update is a package under ``Component Based Servicing\Packages``; ``Package_for_KB…`` names its article in the
Knowledge Base, ``Package_for_RollupFix`` is the cumulative update (its version ends in the revision that it brings, its
article stands in the place it came from), ``Package_for_ServicingStack`` the servicing stack. A package that an update
is made of (``Package_12_for_KB…``) is not listed beside it, and neither are the parts of Windows itself.

Source of the states: Microsoft, "CBS Servicing States Chart"; the install time is a FILETIME in two halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wclayer.ntfs.filetime import to_text
from wclayer.regf import LayeredKey

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry

__all__ = ["STATES", "Update", "installed_updates", "newest_update"]

STATES: Final = {
    0x00: "absent",
    0x05: "uninstall pending",
    0x10: "resolving",
    0x20: "resolved",
    0x30: "staging",
    0x40: "staged",
    0x50: "superseded",
    0x60: "install pending",
    0x65: "partially installed",
    0x70: "installed",
    0x80: "permanent",
}
"""The values of ``CurrentState`` of a package."""

_PRESENT: Final = frozenset((0x70, 0x80))
_PACKAGES: Final = "HKLM/SOFTWARE/Microsoft/Windows/CurrentVersion/Component Based Servicing/Packages"
_UPDATE = re.compile(r"Package_(?:\d+_)?for_([^~]+)~[^~]*~([^~]*)~([^~]*)~(.+)", re.IGNORECASE | re.ASCII)
_PART = re.compile(r"Package_\d+_for_", re.IGNORECASE | re.ASCII)
_KB = re.compile(r"KB\d{5,8}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Update:
    """An update. ``kb`` is None where nothing names the article; ``installed`` counts FILETIME ticks.

    ``kind`` is ``cumulative update``, ``servicing stack`` or ``update``; ``state`` one of :data:`STATES`, or the number
    in hexadecimal. ``layer`` is the number of the layer that brought it into this state.
    """

    package: str
    kind: str
    kb: str | None
    version: str
    architecture: str
    state: str
    is_installed: bool
    installed: int | None
    layer: int

    @property
    def installed_text(self) -> str | None:
        """The time of its installation in ISO 8601, UTC."""
        return to_text(self.installed) if self.installed is not None else None

    @property
    def name(self) -> str:
        """What people call it: its KB number, or what its package is for."""
        return self.kb or self.package.partition("~")[0].partition("_for_")[2]


def installed_updates(registry: ImageRegistry) -> list[Update]:
    """The updates that the registry knows, installed and not, by name of their packages.

    Raises what reading hives raises.
    """
    packages = registry.key(_PACKAGES)
    if packages is None:
        return []
    numbers = [file.layer for file in registry.files("SOFTWARE")]
    found = sorted(_updates(packages, numbers), key=lambda update: update.package.lower())
    whole = {(update.kb, update.version) for update in found if not _PART.match(update.package)}
    return [one for one in found if not _PART.match(one.package) or (one.kb, one.version) not in whole]


def newest_update(updates: list[Update]) -> Update | None:
    """The one that was installed last, of those that are installed and say when."""
    dated = [update for update in updates if update.is_installed and update.installed]
    return max(dated, key=lambda update: (update.installed or 0, update.package), default=None)


def _updates(packages: LayeredKey, numbers: list[int]) -> Iterator[Update]:
    for key in packages.subkeys:
        match = _UPDATE.fullmatch(key.name)
        if match is None:
            continue
        subject, architecture, _language, version = match.groups()
        values = {value.value.name.lower(): value for value in key.layered_values()}
        texts = [subject, *(_text(values[name].value.decoded()) for name in ("installlocation",) if name in values)]
        kb = next((hit[0].upper() for text in texts if (hit := _KB.search(text))), None)
        state = values.get("currentstate")
        code = state.value.number() if state is not None else None
        high, low = (values.get(f"installtime{half}") for half in ("high", "low"))
        installed = None
        if high is not None and low is not None:
            installed = (high.value.number() & 0xFFFFFFFF) << 32 | low.value.number() & 0xFFFFFFFF
        yield Update(
            package=key.name,
            kind=_kind(subject),
            kb=kb,
            version=version,
            architecture=architecture,
            state="unknown" if code is None else STATES.get(code, f"{code & 0xFFFFFFFF:#x}"),
            is_installed=code in _PRESENT,
            installed=installed or None,
            layer=numbers[state.layer if state is not None else key.layers[0]],
        )


def _kind(subject: str) -> str:
    lower = subject.lower()
    if lower.startswith("rollupfix"):
        return "cumulative update"
    return "servicing stack" if lower.startswith("servicingstack") else "update"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
