"""Which layer set, changed and deleted what."""

from __future__ import annotations

from pathlib import Path

from tests.image.registry.windows_images import PACKAGES, UNINSTALL, VERSION, WindowsBuilder
from wclayer.image.registry import ImageRegistry, shown_path
from wclayer.regf import HiveValue


def test_a_patched_value_has_two_layers(windows: str) -> None:
    with ImageRegistry.open(windows) as registry:
        events = registry.history(f"HKLM/SOFTWARE/{VERSION.replace(chr(92), '/')}")
    assert [
        (one.layer, one.action, one.value.number() if one.value else None) for one in events if one.name == "UBR"
    ] == [(0, "set", 2227), (1, "changed", 2322)]
    assert {one.layer for one in events if one.name != "UBR"} == {0}


def test_an_update_and_a_deleted_application_have_theirs(windows: str) -> None:
    with ImageRegistry.open(windows) as registry:
        packages = registry.history(f"HKLM\\SOFTWARE\\{PACKAGES}")
        applications = registry.history(f"HKLM\\SOFTWARE\\{UNINSTALL}")
        gone = registry.history(f"HKLM\\SOFTWARE\\{UNINSTALL}\\{{11111111-2222-3333-4444-555555555555}}")
    keys = {
        (shown_path(one.path).rpartition("\\")[2].partition("~")[0], one.layer) for one in packages if one.kind == "key"
    }
    assert {("Package_for_KB5034129", 0), ("Package_for_KB5034770", 1)} <= keys
    assert [(one.layer, one.action) for one in gone if one.kind == "key"] == [(0, "set"), (2, "deleted")]
    assert [(one.layer, one.action) for one in gone if one.name == "DisplayName"] == [(0, "set"), (2, "deleted")]
    assert [one for one in applications if one.path == gone[0].path] == gone


def test_without_recursion_only_the_coming_and_going_of_subkeys_is_told(windows: str) -> None:
    with ImageRegistry.open(windows) as registry:
        events = registry.history(f"HKLM\\SOFTWARE\\{UNINSTALL}", recursive=False)
    assert [(one.kind, one.layer, one.action) for one in events] == [
        ("key", 0, "set"),
        ("key", 0, "set"),
        ("key", 2, "deleted"),
    ]


def test_what_is_deleted_and_comes_again_is_told_in_order(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.set("SOFTWARE", "A", HiveValue.dword("n", 1), HiveValue.dword("m", 1))
    windows.commit()
    windows.delete_value("SOFTWARE", "A", "n")
    windows.commit()
    windows.commit()
    windows.delete("SOFTWARE", "A")
    windows.commit()
    windows.set("SOFTWARE", "A", HiveValue.dword("N", 2))
    windows.commit()
    with ImageRegistry.open(windows.image(tmp_path)) as registry:
        events = registry.history("HKLM/SOFTWARE/A")
        nothing = registry.history("HKLM/SOFTWARE/B")
    assert [(one.kind, one.name, one.layer, one.action) for one in events] == [
        ("key", None, 0, "set"),
        ("key", None, 3, "deleted"),
        ("key", None, 4, "set"),
        ("value", "m", 0, "set"),
        ("value", "m", 3, "deleted"),
        ("value", "n", 0, "set"),
        ("value", "n", 1, "deleted"),
        ("value", "N", 4, "set"),
    ]
    assert nothing == []
