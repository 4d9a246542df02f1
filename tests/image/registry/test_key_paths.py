"""Paths of keys, however people write them."""

from __future__ import annotations

import pytest

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.registry.key_paths import KeyPath, long_path, parse_key_path, shown_path


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("HKLM/SOFTWARE/Microsoft", KeyPath("SOFTWARE", "Microsoft")),
        ("HKLM\\Software\\Microsoft\\Windows NT", KeyPath("SOFTWARE", "Microsoft\\Windows NT")),
        ("hkey_local_machine\\system\\Select", KeyPath("SYSTEM", "Select")),
        ("HKLM:\\SAM\\SAM", KeyPath("SAM", "SAM")),
        ("HKLM/SOFTWARE\\Classes\\application/pdf", KeyPath("SOFTWARE", "Classes\\application/pdf")),
        ("Computer\\HKEY_LOCAL_MACHINE\\SECURITY", KeyPath("SECURITY", "")),
        ("software/Microsoft", KeyPath("SOFTWARE", "Microsoft")),
        ("HKU/.default/Environment", KeyPath("DEFAULT", "Environment")),
        ("HKEY_USERS\\S-1-5-18", KeyPath("DEFAULT", "")),
        ("HKCR/.txt", KeyPath("SOFTWARE", "Classes\\.txt")),
        ("HKLM", KeyPath("", "HKLM")),
        ("HKU", KeyPath("", "HKU")),
        ("", KeyPath("", "")),
        ("\\", KeyPath("", "")),
    ],
)
def test_a_path_is_understood(text: str, key: KeyPath) -> None:
    assert parse_key_path(text) == key


@pytest.mark.parametrize(
    "text", ["HKCU/Software", "HKLM/HARDWARE", "HKLM/DEFAULT", "HKU/S-1-5-21-1", "Microsoft", "DEFAULT"]
)
def test_a_root_that_no_image_has_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError, match="HKLM/SOFTWARE"):
        parse_key_path(text)


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_key_path("HKLM/a\0b")


def test_a_path_into_a_lone_hive_needs_no_root() -> None:
    assert parse_key_path("Microsoft/Windows", alone="SOFTWARE") == KeyPath("SOFTWARE", "Microsoft\\Windows")
    assert parse_key_path("HKLM/SOFTWARE/Microsoft", alone="SOFTWARE") == KeyPath("SOFTWARE", "Microsoft")
    assert parse_key_path("", alone="NTUSER.DAT") == KeyPath("NTUSER.DAT", "")
    assert parse_key_path("HKLM/ntuser.dat/Control Panel", alone="NTUSER.DAT") == KeyPath("NTUSER.DAT", "Control Panel")


def test_paths_are_shown_short_and_written_long() -> None:
    assert shown_path(KeyPath("SOFTWARE", "Microsoft")) == "HKLM\\SOFTWARE\\Microsoft"
    assert shown_path(KeyPath("DEFAULT", "")) == "HKU\\.DEFAULT"
    assert long_path(KeyPath("SYSTEM", "Select")) == "HKEY_LOCAL_MACHINE\\SYSTEM\\Select"
    assert long_path(KeyPath("DEFAULT", "Environment")) == "HKEY_USERS\\.DEFAULT\\Environment"
    assert parse_key_path(long_path(KeyPath("DEFAULT", "Environment"))) == KeyPath("DEFAULT", "Environment")
