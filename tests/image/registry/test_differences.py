"""What differs between two registries, and the text that makes the second of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.registry.windows_images import ENVIRONMENT, UNINSTALL, WindowsBuilder, server_core
from wclayer.errors import NotFoundError
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.comparing import compare
from wclayer.image.registry.differences import RegistryChange, diff_registries, diff_text
from wclayer.regf import HiveKey, HiveValue, diff, first_difference, merge
from wclayer.regf.text import delta_of, parse_reg


def changes(one: str, two: str, path: str = "", *, security: bool = False) -> list[RegistryChange]:
    with ImageRegistry.open(one) as before, ImageRegistry.open(two) as after:
        return list(diff_registries(before, after, path, security=security))


def test_an_image_does_not_differ_from_itself_unpacked(windows: str, unpacked_windows: Path) -> None:
    assert changes(windows, str(unpacked_windows), security=True) == []


def test_keys_and_values_that_differ_are_told(tmp_path: Path) -> None:
    one, two = server_core(commit=False), server_core(commit=False)
    two.set("SYSTEM", ENVIRONMENT, HiveValue.sz("NUMBER_OF_PROCESSORS", "4"), HiveValue.sz("NEW", "1"))
    two.delete_value("SYSTEM", ENVIRONMENT, "TEMP")
    two.delete("SOFTWARE", UNINSTALL)
    two.set("DEFAULT", "Added\\Below", HiveValue.dword("n", 1))
    one.commit()
    two.commit()
    references = one.image(tmp_path, "one"), two.image(tmp_path, "two")
    found = changes(*references)
    lines = [change.line() for change in found]
    assert f"- HKLM\\SOFTWARE\\{UNINSTALL}" in lines
    assert f"+ HKLM\\SYSTEM\\{ENVIRONMENT}  NEW = REG_SZ 1" in lines
    assert f"~ HKLM\\SYSTEM\\{ENVIRONMENT}  NUMBER_OF_PROCESSORS = REG_SZ 2 -> REG_SZ 4" in lines
    assert f"- HKLM\\SYSTEM\\{ENVIRONMENT}  TEMP = REG_EXPAND_SZ %SystemRoot%\\TEMP" in lines
    assert lines[-3:] == [
        "+ HKU\\.DEFAULT\\Added",
        "+ HKU\\.DEFAULT\\Added\\Below",
        "+ HKU\\.DEFAULT\\Added\\Below  n = REG_DWORD 1",
    ]
    assert [change.as_dict()["action"] for change in found] == [
        {"+": "added", "-": "removed", "~": "changed"}[line[0]] for line in lines
    ]
    assert changes(*references, "HKLM/SYSTEM/Select") == []
    assert len(changes(*references, "HKU")) == 3
    with pytest.raises(NotFoundError):
        changes(*references, "HKLM/SOFTWARE/Nothing")


@pytest.mark.parametrize("swap", [False, True])
def test_the_text_makes_the_second_of_the_first(swap: bool, tmp_path: Path) -> None:
    one, two = server_core(commit=False), server_core(commit=False)
    two.delete("SOFTWARE", r"Microsoft\NET Framework Setup")
    two.set("SOFTWARE", r"Microsoft\New\Deep", HiveValue.multi_sz("list", "a", "b"), HiveValue("odd", 77, b"\1\2"))
    two.set("SOFTWARE", UNINSTALL, HiveValue.sz("", "the default value"))
    two.delete_value("SOFTWARE", r"Microsoft\Windows NT\CurrentVersion", "UBR")
    if swap:
        one, two = two, one
    for builder in (one, two):
        builder.commit()
    with (
        ImageRegistry.open(one.image(tmp_path, "one")) as before,
        ImageRegistry.open(two.image(tmp_path, "two")) as after,
    ):
        text = diff_text(diff_registries(before, after))
        old, new = before.tree("HKLM/SOFTWARE"), after.tree("HKLM/SOFTWARE")
    assert old is not None
    made = merge([old, delta_of(parse_reg(text), "HKEY_LOCAL_MACHINE\\SOFTWARE")])
    assert list(compare(made, new)) == []


def test_classes_and_descriptors_are_compared_and_times_are_not() -> None:
    one = HiveKey("ROOT", (), (HiveKey("K", class_name="a", security=b"1", timestamp=1),))
    two = HiveKey("ROOT", (), (HiveKey("k", class_name="b", security=b"2", timestamp=2),))
    assert [change[:4] for change in compare(one, two)] == [("changed", "class", "k", None)]
    assert [change.kind for change in compare(one, two, security=True)] == ["class", "security"]


def test_a_delta_between_builds_is_found_again(tmp_path: Path) -> None:
    builder = WindowsBuilder()
    builder.set("SOFTWARE", "A\\B", HiveValue.dword("n", 1))
    before = builder.hives["SOFTWARE"]
    builder.delete("SOFTWARE", "A\\B")
    after = builder.hives["SOFTWARE"]
    assert first_difference(merge([before, diff(before, after)]), after) is None
    assert [change[:3] for change in compare(before, after)] == [
        ("removed", "key", "A\\B"),
        ("removed", "value", "A\\B"),
    ]
