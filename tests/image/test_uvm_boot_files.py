"""The boot files of a utility VM: found in the right layer, and missed precisely."""

from __future__ import annotations

from pathlib import Path

import pytest

from wclayer.errors import NotFoundError
from wclayer.image.windows_image import locate_uvm_boot_files


def windows_made(path: Path, *files: str) -> Path:
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
    path.mkdir(exist_ok=True)
    return path


BOOT = "UtilityVM/Files/EFI/Microsoft/Boot"


def test_boot_files_of_folders_that_windows_made(tmp_path: Path) -> None:
    base = windows_made(tmp_path / "base", f"{BOOT}/bootmgfw.efi", f"{BOOT}/BCD", "UtilityVM/SystemTemplate.vhdx")
    top = windows_made(tmp_path / "top")
    files = locate_uvm_boot_files([top, base])
    assert files.layer == base
    assert files.boot_manager == base / BOOT / "bootmgfw.efi"
    assert files.template == base / "UtilityVM/SystemTemplate.vhdx"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "utility VM folder could not be found in layers"),
        (("UtilityVM/x",), "has a UtilityVM, but no UtilityVM/Files/EFI/Microsoft/Boot/bootmgfw.efi"),
        ((f"{BOOT}/bootmgfw.efi",), "but no UtilityVM/Files/EFI/Microsoft/Boot/BCD"),
        ((f"{BOOT}/bootmgfw.efi", f"{BOOT}/BCD"), r"was not processed: it has no SystemTemplate\.vhdx"),
    ],
)
def test_the_error_says_which_file_is_missing_where(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        locate_uvm_boot_files([windows_made(tmp_path / "layer", *files)])
    assert str(tmp_path / "layer") in caught.value.message
