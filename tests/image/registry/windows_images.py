r"""Images that have the registry of Windows, as far as its layout is published, and nothing else of it.

:class:`WindowsBuilder` holds the registry as it is now; each :meth:`~WindowsBuilder.commit` makes a layer of it: the
first the base layer with the five hives, every further one a layer with delta hives of what changed since. So a test
says what an installer would do, and gets the layers that Windows would write::

    windows = server_core()
    patch(windows)
    remove_application(windows)
    reference = windows.image(tmp_path)

The keys are those that Microsoft documents: ``Windows NT\CurrentVersion``, ``Component Based Servicing``,
``CurrentVersion\Uninstall``, ``NET Framework Setup\NDP``, ``InetStp``, ``Session Manager\Environment``. The values are
made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.image.stacks import TIME, file, folders
from wclayer.formats.tar import TarLayerWriter
from wclayer.model import LayerItem
from wclayer.ntfs.names import fold
from wclayer.oci import Descriptor, Digest, LayoutWriter, Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG
from wclayer.regf import HiveKey, HiveValue, diff, write_hive

CONFIG = "Files/Windows/System32/config"
HIVES = ("SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT")
DELTAS = {
    "SYSTEM": "System_Delta",
    "SOFTWARE": "Software_Delta",
    "SAM": "Sam_Delta",
    "SECURITY": "Security_Delta",
    "DEFAULT": "DefaultUser_Delta",
}
VERSION = r"Microsoft\Windows NT\CurrentVersion"
PACKAGES = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
ENVIRONMENT = r"ControlSet001\Control\Session Manager\Environment"
INSTALLED = 112
"""``CurrentState`` of a package that is installed; 80 is staged by a pending restart, 64 is only staged."""


class WindowsBuilder:
    """A registry on its way through the layers of an image. ``hives`` are the trees as they are now."""

    def __init__(self) -> None:
        self.hives = {name: HiveKey("ROOT") for name in HIVES}
        self.layers: list[list[LayerItem]] = []
        self._before = dict(self.hives)

    def set(self, hive: str, path: str, *values: HiveValue) -> None:
        """Make the key at ``path`` of ``hive`` if it is not there, and set these values of it."""
        self.hives[hive] = _set(self.hives[hive], path.split("\\") if path else [], values)

    def delete(self, hive: str, path: str) -> None:
        """Delete a key with all below it."""
        self.hives[hive] = _delete(self.hives[hive], path.split("\\"))

    def delete_value(self, hive: str, path: str, name: str) -> None:
        """Delete one value."""
        self.hives[hive] = _set(self.hives[hive], path.split("\\"), (HiveValue.deleted(name),))

    def commit(self, files: Mapping[str, bytes] | None = None, *, all_deltas: bool = True) -> None:
        """Make a layer of what is new. ``files`` are put into it as well, their folders are made."""
        contents = dict(files or {})
        if not self.layers:
            contents |= {
                f"{CONFIG}/{name}": write_hive(tree, name=f"\\System32\\config\\{name}", timestamp=TIME)
                for name, tree in self.hives.items()
            }
            made = ["Hives"]
        else:
            for name, tree in self.hives.items():
                if all_deltas or tree is not self._before[name]:
                    delta = diff(self._before[name], tree)
                    contents[f"Hives/{DELTAS[name]}"] = write_hive(
                        delta, name=f"\\Hives\\{DELTAS[name]}", delta=True, timestamp=TIME
                    )
            made = ["Files", "Hives"]
        parents = {path.rsplit("/", n)[0] for path in contents for n in range(1, path.count("/") + 1)} | set(made)
        items = [*folders(*parents), *(file(path, data) for path, data in contents.items())]
        self.layers.append(sorted(items, key=lambda item: item.path.split("/")))
        self._before = dict(self.hives)

    def image(
        self,
        layout: Path,
        tag: str = "windows",
        *,
        os_version: str = "10.0.20348.2227",
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the layers so far as an image to the OCI layout ``layout``; its reference."""
        writer = LayoutWriter(layout)
        descriptors: list[Descriptor] = []
        diff_ids: list[Digest] = []
        for layer in self.layers:
            with writer.new_layer("gzip") as sink, TarLayerWriter(sink.write, policy="faithful") as tar:
                for item in layer:
                    tar.write(item)
            descriptors.append(sink.descriptor)
            diff_ids.append(sink.diff_id)
        platform = Platform("windows", "amd64", os_version=os_version)
        stored = writer.put_bytes(encode_config(platform, diff_ids, config=config), OCI_CONFIG)
        writer.put_manifest(encode_manifest(stored, descriptors), name=tag, platform=platform)
        return f"oci:{layout}:{tag}"


def server_core(*, build: int = 20348, ubr: int = 2227, commit: bool = True) -> WindowsBuilder:
    """A base layer: Windows Server Core with one update, .NET Framework 4.8 and an application."""
    windows = WindowsBuilder()
    windows.set(
        "SOFTWARE",
        VERSION,
        HiveValue.sz("BuildBranch", "fe_release"),
        HiveValue.sz("BuildLab", f"{build}.fe_release.210507-1500"),
        HiveValue.sz("BuildLabEx", f"{build}.1.amd64fre.fe_release.210507-1500"),
        HiveValue.sz("CurrentBuild", str(build)),
        HiveValue.sz("CurrentBuildNumber", str(build)),
        HiveValue.dword("CurrentMajorVersionNumber", 10),
        HiveValue.dword("CurrentMinorVersionNumber", 0),
        HiveValue.sz("CurrentType", "Multiprocessor Free"),
        HiveValue.sz("CurrentVersion", "6.3"),
        HiveValue.sz("DisplayVersion", "21H2"),
        HiveValue.sz("EditionID", "ServerDatacenter"),
        HiveValue.sz("InstallationType", "Server Core"),
        HiveValue.dword("InstallDate", 1_704_758_400),
        HiveValue.sz("ProductName", "Windows Server 2022 Datacenter"),
        HiveValue.sz("ReleaseId", "2009"),
        HiveValue.sz("SystemRoot", "C:\\Windows"),
        HiveValue.dword("UBR", ubr),
    )
    package(windows, f"Package_for_RollupFix~31bf3856ad364e35~amd64~~{build}.{ubr}.1.4")
    package(windows, "Package_for_KB5034129~31bf3856ad364e35~amd64~~20348.2227.1.4")
    package(windows, "Package_for_ServicingStack_2200~31bf3856ad364e35~amd64~~20348.2200.1.1")
    package(windows, "Microsoft-Windows-ServerCore-Package~31bf3856ad364e35~amd64~~10.0.20348.1")
    application(windows, "{11111111-2222-3333-4444-555555555555}", "Example Runtime", "1.2.3", "Example Corp")
    windows.set(
        "SOFTWARE",
        r"Microsoft\NET Framework Setup\NDP\v4\Full",
        HiveValue.dword("Install", 1),
        HiveValue.dword("Release", 528449),
        HiveValue.sz("Version", "4.8.04161"),
        HiveValue.sz("InstallPath", "C:\\Windows\\Microsoft.NET\\Framework64\\v4.0.30319\\"),
    )
    windows.set("SOFTWARE", "Classes")
    for name, number in (("Current", 1), ("Default", 1), ("Failed", 0), ("LastKnownGood", 1)):
        windows.set("SYSTEM", "Select", HiveValue.dword(name, number))
    windows.set(
        "SYSTEM",
        ENVIRONMENT,
        HiveValue.expand_sz("ComSpec", "%SystemRoot%\\system32\\cmd.exe"),
        HiveValue.sz("NUMBER_OF_PROCESSORS", "2"),
        HiveValue.expand_sz("Path", "%SystemRoot%\\system32;%SystemRoot%;%SystemRoot%\\System32\\Wbem"),
        HiveValue.sz("PROCESSOR_ARCHITECTURE", "AMD64"),
        HiveValue.expand_sz("TEMP", "%SystemRoot%\\TEMP"),
    )
    windows.set("SYSTEM", r"ControlSet001\Control\ProductOptions", HiveValue.sz("ProductType", "ServerNT"))
    windows.set("SYSTEM", r"ControlSet001\Services\Dhcp", HiveValue.dword("Start", 2))
    windows.set("DEFAULT", "Environment", HiveValue.expand_sz("TEMP", "%USERPROFILE%\\AppData\\Local\\Temp"))
    if commit:
        windows.commit()
    return windows


def package(
    windows: WindowsBuilder, name: str, *, state: int = INSTALLED, installed: int = TIME, client: str = "DISM Package"
) -> None:
    """A package of Component Based Servicing, installed at ``installed`` (FILETIME ticks)."""
    windows.set(
        "SOFTWARE",
        f"{PACKAGES}\\{name}",
        HiveValue.dword("CurrentState", state),
        HiveValue.sz("InstallClient", client),
        HiveValue.sz("InstallName", f"{name}.mum"),
        HiveValue.dword("InstallTimeHigh", installed >> 32),
        HiveValue.dword("InstallTimeLow", installed & 0xFFFFFFFF),
        HiveValue.dword("Visibility", 1),
    )


def application(
    windows: WindowsBuilder, key: str, name: str, version: str, publisher: str = "", *, wow64: bool = False
) -> None:
    """An application in the list of programs; ``wow64`` puts it where 32-bit installers do."""
    path = UNINSTALL.replace("Microsoft", r"WOW6432Node\Microsoft", 1) if wow64 else UNINSTALL
    values = [HiveValue.sz("DisplayName", name), HiveValue.sz("DisplayVersion", version)]
    if publisher:
        values.append(HiveValue.sz("Publisher", publisher))
    windows.set("SOFTWARE", f"{path}\\{key}", *values, HiveValue.sz("InstallDate", "20240109"))


def patch(windows: WindowsBuilder, *, ubr: int = 2322, kb: str = "KB5034770", commit: bool = True) -> None:
    """A patch layer: the UBR changes, and the update is in the list of packages, by delta hive."""
    windows.set("SOFTWARE", VERSION, HiveValue.dword("UBR", ubr))
    package(windows, f"Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.{ubr}.1.4", installed=TIME + 10**13)
    package(windows, f"Package_for_{kb}~31bf3856ad364e35~amd64~~20348.{ubr}.1.4", installed=TIME + 10**13)
    if commit:
        windows.commit()


def install_application(windows: WindowsBuilder, *, commit: bool = True) -> None:
    """A layer that installs another application, 32-bit, and IIS."""
    application(windows, "Example Tool", "Example Tool (x86)", "2.0", "Example Corp", wow64=True)
    windows.set(
        "SOFTWARE",
        r"Microsoft\InetStp",
        HiveValue.dword("MajorVersion", 10),
        HiveValue.dword("MinorVersion", 0),
        HiveValue.sz("VersionString", "Version 10.0"),
    )
    windows.set(
        "SOFTWARE", r"Microsoft\InetStp\Components", HiveValue.dword("W3SVC", 1), HiveValue.dword("ASPNET45", 1)
    )
    if commit:
        windows.commit()


def remove_application(windows: WindowsBuilder, *, commit: bool = True) -> None:
    """A layer that deletes the key of the application that the base layer has."""
    windows.delete("SOFTWARE", f"{UNINSTALL}\\{{11111111-2222-3333-4444-555555555555}}")
    if commit:
        windows.commit()


def three_layers(layout: Path) -> str:
    """The reference of an image of a base layer, a patch layer, and one that removes the application."""
    windows = server_core()
    patch(windows)
    remove_application(windows)
    return windows.image(layout, os_version="10.0.20348.2322")


def _set(key: HiveKey, names: list[str], values: tuple[HiveValue, ...]) -> HiveKey:
    if not names:
        merged = {fold(value.name): value for value in key.values}
        merged |= {fold(value.name): value for value in values}
        return replace(key, values=tuple(value for value in merged.values() if not value.tombstone))
    below = {fold(subkey.name): subkey for subkey in key.subkeys}
    found = below.get(fold(names[0])) or HiveKey(names[0])
    below[fold(names[0])] = _set(found, names[1:], values)
    return replace(key, subkeys=tuple(below.values()))


def _delete(key: HiveKey, names: list[str]) -> HiveKey:
    below = {fold(subkey.name): subkey for subkey in key.subkeys}
    if names[1:]:
        below[fold(names[0])] = _delete(below[fold(names[0])], names[1:])
    else:
        del below[fold(names[0])]
    return replace(key, subkeys=tuple(below.values()))
