"""Environment variables in the registry: listed, set, and folders added to Path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.registry.windows_images import ENVIRONMENT, WindowsBuilder, server_core
from wclayer.errors import UsageError
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.applying import apply_sections, image_config
from wclayer.image.registry.environment import add_path, hidden_by_config, list_environment, set_variable
from wclayer.regf import REG_EXPAND_SZ, HiveValue


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    return server_core().image(tmp_path_factory.mktemp("env"), config={"Env": ["PATH=C:\\app", "MODE=test"]})


def path_of(registry: ImageRegistry, *folders: str, prepend: bool = False) -> str | None:
    sections = add_path(registry, folders, prepend=prepend)
    if not sections:
        return None
    ((value,),) = (section.values for section in sections)
    assert value.type == REG_EXPAND_SZ
    assert value.name == "Path"
    return value.text()


def test_variables_are_listed_with_references_put_in(image: str) -> None:
    with ImageRegistry.open(image) as registry:
        found = list_environment(registry, image_config(image))
    assert [(one.name, one.source) for one in found] == [
        ("ComSpec", "registry"),
        ("MODE", "config"),
        ("NUMBER_OF_PROCESSORS", "registry"),
        ("PATH", "config"),
        ("Path", "registry"),
        ("PROCESSOR_ARCHITECTURE", "registry"),
        ("TEMP", "registry"),
    ]
    assert found[0].value == "%SystemRoot%\\system32\\cmd.exe"
    assert found[0].expanded == "C:\\Windows\\system32\\cmd.exe"


def test_folders_are_added_to_path_once(image: str) -> None:
    before = "%SystemRoot%\\system32;%SystemRoot%;%SystemRoot%\\System32\\Wbem"
    with ImageRegistry.open(image) as registry:
        assert path_of(registry, "C:\\tools") == f"{before};C:\\tools"
        assert path_of(registry, "C:\\tools", "c:/TOOLS/", "C:\\more") == f"{before};C:\\tools;C:\\more"
        assert path_of(registry, "C:\\tools", "C:\\more", prepend=True) == f"C:\\tools;C:\\more;{before}"
        assert path_of(registry, "c:\\windows\\", "%SystemRoot%\\SYSTEM32") is None
        for bad in ("a;b", "", " ", 'a"b', "a\nb"):
            with pytest.raises(UsageError):
                add_path(registry, [bad])
        with pytest.raises(UsageError, match="32"):
            add_path(registry, ["C:\\" + "x" * 32760])


def test_a_variable_keeps_its_type_and_a_new_one_gets_the_right_one(image: str) -> None:
    def made(name: str, value: str) -> HiveValue:
        ((found,),) = (section.values for section in set_variable(registry, name, value))
        return found

    with ImageRegistry.open(image) as registry:
        assert made("temp", "C:\\t") == HiveValue.expand_sz("TEMP", "C:\\t")
        assert made("NEW", "plain 100%") == HiveValue.sz("NEW", "plain 100%")
        assert made("NEW", "%SystemRoot%\\x") == HiveValue.expand_sz("NEW", "%SystemRoot%\\x")
        for bad in ("", "a=b", "a\0"):
            with pytest.raises(UsageError):
                set_variable(registry, bad, "x")


def test_what_was_added_is_there_in_the_new_image(image: str, tmp_path: Path) -> None:
    made = f"oci:{tmp_path}:made"
    with ImageRegistry.open(image) as registry:
        apply_sections(registry, add_path(registry, ["C:\\tools"]), made)
    with ImageRegistry.open(made) as registry:
        _, key = registry.require(f"HKLM\\SYSTEM\\{ENVIRONMENT}")
        value = key.value("Path")
        assert value is not None
        assert value.layer == 1
        assert value.value.text().endswith(";C:\\tools")
        assert add_path(registry, ["c:\\Tools\\"]) == []


def test_a_path_of_the_configuration_hides_the_one_of_the_registry(image: str) -> None:
    config = image_config(image)
    assert "Path" in (hidden_by_config(config, "Path") or "")
    assert hidden_by_config(config, "TEMP") is None
    assert hidden_by_config(None, "Path") is None


def test_an_image_without_the_key_gets_one(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.set("SYSTEM", "Select", HiveValue.dword("Current", 1))
    windows.commit()
    with ImageRegistry.open(windows.image(tmp_path, "bare")) as registry:
        assert list_environment(registry) == []
        assert path_of(registry, "C:\\tools") == "C:\\tools"
        apply_sections(registry, add_path(registry, ["C:\\tools"]), f"oci:{tmp_path}:made")
    with ImageRegistry.open(f"oci:{tmp_path}:made") as registry:
        assert [one.expanded for one in list_environment(registry)] == ["C:\\tools"]
