r"""What is installed on top of Windows, as its registry lists it: programs, .NET, IIS, features of the server.

Programs are the keys under ``CurrentVersion\Uninstall``, of 64-bit and of 32-bit installers; one without a
``DisplayName`` is not shown by Windows either. What was copied without an installer is in no such list.

Sources: Microsoft, "Uninstall Registry Key" and "How to: Determine which .NET Framework versions are installed";
``InetStp`` is where IIS says what it is, ``ServerComponentCache`` where Server Manager keeps which features are on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wclayer.image.updates import Update, installed_updates
from wclayer.regf import LayeredKey

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry

__all__ = [
    "DotNet",
    "InternetInformationServices",
    "Software",
    "Update",
    "dotnet",
    "iis",
    "installed_software",
    "installed_updates",
    "server_features",
]

_SOFTWARE: Final = "HKLM/SOFTWARE"
_VIEWS: Final = (("64-bit", _SOFTWARE), ("32-bit", f"{_SOFTWARE}/WOW6432Node"))
_UNINSTALL: Final = "Microsoft/Windows/CurrentVersion/Uninstall"
_FEATURES: Final = f"{_SOFTWARE}/Microsoft/ServerManager/ServicingStorage/ServerComponentCache"
_NDP: Final = "Microsoft/NET Framework Setup/NDP"
_GUID = re.compile(r"\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)

# The lowest value of Release for each version, newest first.
_RELEASES: Final = (
    (533320, "4.8.1"),
    (528040, "4.8"),
    (461808, "4.7.2"),
    (461308, "4.7.1"),
    (460798, "4.7"),
    (394802, "4.6.2"),
    (394254, "4.6.1"),
    (393295, "4.6"),
    (379893, "4.5.2"),
    (378675, "4.5.1"),
    (378389, "4.5"),
)


@dataclass(frozen=True, slots=True)
class Software:
    """A program. ``view`` is ``64-bit`` or ``32-bit``, ``key`` the name of its key, ``product_code`` that of its MSI.

    ``installed`` is a date as ISO 8601 has it. ``layer`` is the number of the layer that says which version it is.
    """

    name: str
    version: str | None
    publisher: str | None
    installed: str | None
    view: str
    key: str
    product_code: str | None
    is_hidden: bool
    layer: int


@dataclass(frozen=True, slots=True)
class DotNet:
    """A version of .NET: ``product`` is ``.NET Framework`` or the name of a shared framework."""

    product: str
    version: str
    full_version: str | None
    release: int | None
    layer: int


@dataclass(frozen=True, slots=True)
class InternetInformationServices:
    """IIS, and which of its components are installed."""

    version: str | None
    components: tuple[str, ...]
    layer: int


def installed_software(registry: ImageRegistry) -> list[Software]:
    """The programs of both views, by name. Raises what reading hives raises, as all below do."""
    found = []
    numbers = _numbers(registry)
    for view, root in _VIEWS:
        key = registry.key(f"{root}/{_UNINSTALL}")
        for subkey in key.subkeys if key is not None else ():
            software = _software(subkey, view, numbers)
            if software is not None:
                found.append(software)
    return sorted(found, key=lambda one: (one.name.lower(), one.version or "", one.view, one.key))


def _software(key: LayeredKey, view: str, numbers: Sequence[int]) -> Software | None:
    values = _Values(key, numbers)
    name = values.text("DisplayName")
    if name is None:
        return None
    date = _DATE.fullmatch(values.text("InstallDate") or "")
    return Software(
        name=name,
        version=values.text("DisplayVersion"),
        publisher=values.text("Publisher"),
        installed="-".join(date.groups()) if date else None,
        view=view,
        key=key.name,
        product_code=key.name if _GUID.fullmatch(key.name) else None,
        is_hidden=values.number("SystemComponent") == 1,
        layer=values.layer("DisplayVersion", "DisplayName"),
    )


def dotnet(registry: ImageRegistry) -> list[DotNet]:
    """The versions of the .NET Framework, and the shared frameworks that installers of .NET registered."""
    found = []
    numbers = _numbers(registry)
    framework = registry.key(f"{_SOFTWARE}/{_NDP}")
    for key in framework.subkeys if framework is not None else ():
        if not re.fullmatch(r"v\d[\d.]*", key.name, re.IGNORECASE | re.ASCII):
            continue
        full = key.subkey("Full")
        one = _framework(full if full is not None else key, numbers)
        if one is not None:
            found.append(one)
    seen = set()
    for _, root in _VIEWS:
        installed = registry.key(f"{root}/dotnet/Setup/InstalledVersions")
        for one in _shared(installed, numbers) if installed is not None else ():
            if (one.product, one.version) not in seen:
                seen.add((one.product, one.version))
                found.append(one)
    return sorted(found, key=lambda one: (one.product.lower(), one.version))


def _framework(key: LayeredKey, numbers: Sequence[int]) -> DotNet | None:
    values = _Values(key, numbers)
    if values.number("Install") != 1:
        return None
    release, full = values.number("Release"), values.text("Version")
    if release is not None:
        version = next((name for lowest, name in _RELEASES if release >= lowest), None)
    else:
        version = ".".join(full.split(".")[:2]) if full else None
    return DotNet(
        ".NET Framework", version or full or f"release {release}", full, release, values.layer("Release", "Version")
    )


def _shared(installed: LayeredKey, numbers: Sequence[int]) -> Iterator[DotNet]:
    r"""``InstalledVersions\x64\sharedfx\NAME`` has a value for each version."""
    for architecture in installed.subkeys:
        frameworks = architecture.subkey("sharedfx")
        for framework in frameworks.subkeys if frameworks is not None else ():
            for value in framework.layered_values():
                yield DotNet(framework.name, value.value.name, value.value.name, None, numbers[value.layer])


def iis(registry: ImageRegistry) -> InternetInformationServices | None:
    """IIS, None when it is not installed."""
    key = registry.key(f"{_SOFTWARE}/Microsoft/InetStp")
    if key is None:
        return None
    numbers = _numbers(registry)
    values = _Values(key, numbers)
    major, minor = values.number("MajorVersion"), values.number("MinorVersion")
    if not major:
        return None
    components = key.subkey("Components")
    names = sorted(
        (one.name for one in components.values if one.decoded() == 1) if components is not None else (), key=str.lower
    )
    return InternetInformationServices(f"{major}.{minor or 0}", tuple(names), values.layer("MajorVersion"))


def server_features(registry: ImageRegistry) -> list[tuple[str, int]]:
    """The roles and features that Server Manager knows to be installed, each with the number of its layer."""
    cache = registry.key(_FEATURES)
    numbers = _numbers(registry)
    found = []
    for key in cache.subkeys if cache is not None else ():
        values = _Values(key, numbers)
        if values.number("InstallState") == 1:
            found.append((key.name, values.layer("InstallState")))
    return sorted(found, key=lambda one: one[0].lower())


def _numbers(registry: ImageRegistry) -> list[int]:
    """The numbers of the layers that the hives of the stack are in."""
    return [file.layer for file in registry.files("SOFTWARE")]


class _Values:
    """The values of a key, taken apart once."""

    def __init__(self, key: LayeredKey, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._first = key.layers[0]
        self._values = {value.value.name.lower(): value for value in key.layered_values()}

    def text(self, name: str) -> str | None:
        value = self._decoded(name)
        return value.strip() or None if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        value = self._decoded(name)
        return value if isinstance(value, int) else None

    def layer(self, *names: str) -> int:
        """The number of the layer that set the first of the values that is there, else of the one that made the key."""
        found = (self._values.get(name.lower()) for name in names)
        return self._numbers[next((value.layer for value in found if value is not None), self._first)]

    def _decoded(self, name: str) -> object:
        found = self._values.get(name.lower())
        return found.value.decoded() if found is not None else None
