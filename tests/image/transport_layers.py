"""A base layer and one on it, as items, for the tests of whole imports."""

from __future__ import annotations

from pathlib import Path

from tests.formats.transport.layers import LINK, ads, file, folder, gone, link
from wclayer.model import LayerItem

BOOT = "UtilityVM/Files/EFI/Microsoft/Boot"
UTILITY_VM = [folder("UtilityVM")] + [
    folder(f"UtilityVM/{path}") for path in ("Files", "Files/EFI", "Files/EFI/Microsoft", "Files/EFI/Microsoft/Boot")
]
UTILITY_VM[0].metadata.security_descriptor = None  # nothing of the folder itself is taken, as in the reference
BASE: list[LayerItem] = [
    folder("Files"),
    folder("Files/d"),
    file("Files/d/base.dll", b"base" * 100),
    file("Files/gone", b"x"),
    *UTILITY_VM,
    file(f"{BOOT}/BCD", b"regf"),
    file(f"{BOOT}/boot.efi", b"efi"),
]
DIFF: list[LayerItem] = [
    folder("Files"),
    folder("Hives"),
    file("Hives/System_Delta", b"delta"),
    folder("Files/d"),
    file("Files/d/own", b"own"),
    ads("Files/d/own", "s", b"alternate"),
    folder("Files/l", reparse=LINK),
    gone("Files/gone"),
    link("Files/d/linked", "Files/d/own"),
    link("Files/far", "Files/d/base.dll"),
]


def names(tmp_path: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in tmp_path.iterdir())
