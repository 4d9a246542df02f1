"""The registry hives of the sample image: as few keys as let a program find the version it is looking for.

The names of the keys are those that Windows uses, the values are made up.
"""

from __future__ import annotations

from typing import Final

from wclayer.regf import LAYER_INHERIT_CLASS, LAYER_SUPERSEDE_TREE, LAYER_TOMBSTONE, HiveKey, HiveValue, minimal_hive

__all__ = ["base_hives", "boot_configuration", "middle_deltas", "top_deltas"]

_HIVES: Final = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")
#: Delta hives bear the names of their hives, but for that of the default user.
_DELTAS: Final = ("DefaultUser", "Sam", "Security", "Software", "System")


def base_hives(timestamp: int) -> list[tuple[str, bytes]]:
    """The five hives of ``Windows/System32/config`` as ``(name, content)``, all written at ``timestamp`` (FILETIME)."""
    trees = {"SOFTWARE": _software(), "SYSTEM": _system()}
    return [
        (name, minimal_hive(f"\\System32\\config\\{name}", timestamp=timestamp, subkeys=trees.get(name, ())))
        for name in _HIVES
    ]


def boot_configuration(timestamp: int) -> bytes:
    """The hive of the boot configuration of a utility VM, with no boot entry in it."""
    description = HiveKey("Description", (HiveValue.sz("KeyName", "BCD00000000"), HiveValue.dword("System", 1)))
    return minimal_hive("\\Boot\\BCD", timestamp=timestamp, subkeys=(description, HiveKey("Objects")))


def middle_deltas(timestamp: int) -> list[tuple[str, bytes]]:
    """The five delta hives of the middle layer: two values changed or added, one key added."""
    added = HiveKey("Sample", (HiveValue.sz("", "new in the middle layer"),), layer=LAYER_SUPERSEDE_TREE)
    return _deltas(
        timestamp, (_changed_version(HiveValue.dword("UBR", 2), HiveValue.sz("SampleLayer", "middle")), added)
    )


def top_deltas(timestamp: int) -> list[tuple[str, bytes]]:
    """The five delta hives of the top layer: two values changed, the key of the middle layer deleted."""
    version = _changed_version(HiveValue.dword("UBR", 3), HiveValue.sz("ProductName", "wclayer sample, changed"))
    return _deltas(timestamp, (version, HiveKey("Sample", layer=LAYER_TOMBSTONE)))


def _deltas(timestamp: int, software: tuple[HiveKey, ...]) -> list[tuple[str, bytes]]:
    trees = {"Software": software}
    return [
        (
            f"{name}_Delta",
            minimal_hive(f"\\Hives\\{name}_Delta", delta=True, timestamp=timestamp, subkeys=trees.get(name, ())),
        )
        for name in _DELTAS
    ]


def _software() -> tuple[HiveKey, ...]:
    version = HiveKey(
        "CurrentVersion",
        (
            HiveValue.sz("ProductName", "wclayer sample"),
            HiveValue.sz("CurrentBuild", "20348"),
            HiveValue.sz("CurrentBuildNumber", "20348"),
            HiveValue.sz("CurrentVersion", "6.3"),
            HiveValue.dword("CurrentMajorVersionNumber", 10),
            HiveValue.dword("CurrentMinorVersionNumber", 0),
            HiveValue.sz("EditionID", "Sample"),
            HiveValue.sz("InstallationType", "Sample"),
            HiveValue.dword("UBR", 1),
        ),
    )
    return (HiveKey("Microsoft", subkeys=(HiveKey("Windows NT", subkeys=(version,)),)), HiveKey("Classes"))


def _changed_version(*values: HiveValue) -> HiveKey:
    touched = LAYER_INHERIT_CLASS
    version = HiveKey("CurrentVersion", values, layer=touched)
    return HiveKey("Microsoft", subkeys=(HiveKey("Windows NT", subkeys=(version,), layer=touched),), layer=touched)


def _system() -> tuple[HiveKey, ...]:
    select = tuple(
        HiveValue.dword(name, number)
        for name, number in (("Current", 1), ("Default", 1), ("Failed", 0), ("LastKnownGood", 1))
    )
    return (HiveKey("ControlSet001", subkeys=(HiveKey("Control"), HiveKey("Services"))), HiveKey("Select", select))
